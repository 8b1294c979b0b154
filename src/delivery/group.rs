//! Byte layout of the log's segments: a header, then groups of records, each in a frame.
//!
//! Integers are little-endian. A segment is a header of 40 bytes, then frames without a gap:
//!
//! ```text
//! header  magic "WAYMLOG\n" | layout (u32 = 1) | base (u64)
//!         previous base (u64) | previous end (u64) | crc32 of the 36 bytes before it (u32)
//! frame   magic FA 5E 47 D1 | kind (u8: 1 records, 2 closing mark) | payload bytes (u32)
//!         n records (u32) | synced (u64) | crc32 (u32) | payload
//! payload for each record: its bytes (u32), then the record as in `delivery::frame`
//! ```
//!
//! - **base**: log offset of the segment's first byte. Byte `n` of the file has the offset
//!   `base + n`, so the header takes part in the offsets and no two segments share a base.
//! - **previous base, previous end**: the segment before this one, and up to where it was synced.
//!   What lies in it beyond that, and in any file between the two, is void. A segment without a
//!   predecessor has its own base as previous base; then nothing below previous end is needed.
//! - **synced**: the offset up to which all bytes of the segment were known to be on the disk
//!   before this frame was written.
//! - The checksum of a frame covers, before the stored bytes, the base of its segment and its own
//!   offset (u64 each), which are not stored: a frame that turns up in another place is none.
//!
//! Size and checksum of the header hold for all layouts to come, so that a later one is named and
//! not taken for damage. This file must not know files or how records are kept.

use bytes::{Buf, BufMut};

use crate::{
    delivery::frame::{RecordError, decode_record},
    types::record::Record,
};

/// Version of the layout that is written.
pub const SEGMENT_LAYOUT: u32 = 1;

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 40;

/// Bytes of a frame before its payload.
pub const FRAME_HEAD_BYTES: usize = 25;

/// First bytes of each frame.
pub const FRAME_MAGIC: [u8; 4] = [0xFA, 0x5E, 0x47, 0xD1];

const HEADER_MAGIC: [u8; 8] = *b"WAYMLOG\n";
const CHECKSUM_BYTES: usize = 4;

/// Bytes of a record's length, before it.
pub(super) const LENGTH_BYTES: usize = 4;
const KIND_RECORDS: u8 = 1;
const KIND_CLOSING: u8 = 2;

/// What a segment says of itself; all numbers are log offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Offset of its first byte.
    pub base: u64,
    /// Base of the segment before it; none if it starts a chain.
    pub previous_base: Option<u64>,
    /// Where what is before it ends; at most `base`.
    pub previous_end: u64,
}

/// Why bytes are no header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Whole, but written by a later version of the program.
    #[error("segment layout {0} is not known to this version")]
    UnknownLayout(u32),
    /// Cut, altered, or never written.
    #[error("damaged segment header")]
    Damaged,
}

/// Where a frame lies; its checksum covers this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// Base of its segment.
    pub base: u64,
    /// Offset of its first byte.
    pub offset: u64,
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// It holds records.
    Records,
    /// It says that the log was closed in order; no payload.
    Closing,
}

/// The numbers at the front of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// What the frame is for.
    pub kind: FrameKind,
    /// Records in the payload.
    pub n_records: u32,
    /// Offset up to which the segment was synced before this frame was written.
    pub synced: u64,
}

/// A frame whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The numbers at its front.
    pub head: FrameHead,
    /// Bytes of the whole frame.
    pub bytes: usize,
    payload: &'a [u8],
}

/// Why bytes are no frame, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// It would take this many bytes in all, if its front is right.
    Short(usize),
    /// Altered, or no frame of this place.
    Damaged,
}

impl SegmentHeader {
    /// The bytes of this header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (body, mut checksum) = bytes.split_at_mut(HEADER_BYTES - CHECKSUM_BYTES);
        let mut rest = &mut *body;
        rest.put_slice(&HEADER_MAGIC);
        rest.put_u32_le(SEGMENT_LAYOUT);
        rest.put_u64_le(self.base);
        rest.put_u64_le(self.previous_base.unwrap_or(self.base));
        rest.put_u64_le(self.previous_end);
        checksum.put_u32_le(crc32fast::hash(body));
        bytes
    }

    /// Reads a header from the front of `bytes`.
    ///
    /// # Errors
    /// [`HeaderError`] says whether it is damaged or of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderError::Damaged)?;
        let (mut body, mut checksum) = header.split_at(HEADER_BYTES - CHECKSUM_BYTES);
        if crc32fast::hash(body) != checksum.get_u32_le() || !body.starts_with(&HEADER_MAGIC) {
            return Err(HeaderError::Damaged);
        }
        body.advance(HEADER_MAGIC.len());
        let layout = body.get_u32_le();
        if layout != SEGMENT_LAYOUT {
            return Err(HeaderError::UnknownLayout(layout));
        }
        let (base, previous_base, previous_end) =
            (body.get_u64_le(), body.get_u64_le(), body.get_u64_le());
        if previous_base > base || previous_end > base {
            return Err(HeaderError::Damaged);
        }
        Ok(Self {
            base,
            previous_base: (previous_base != base).then_some(previous_base),
            previous_end,
        })
    }
}

/// Appends one record, that `record` holds in the layout of [`crate::delivery::frame`], to a
/// payload.
///
/// # Panics
/// If the record is longer than 4 GiB.
pub fn push_record(record: &[u8], payload: &mut Vec<u8>) {
    push_with(payload, |payload| payload.put_slice(record));
}

/// Appends one record, that `encode` appends in the layout of [`crate::delivery::frame`], to a
/// payload.
///
/// # Panics
/// If the record is longer than 4 GiB.
pub(super) fn push_with(payload: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = payload.len();
    payload.put_u32_le(0);
    encode(payload);
    let n_bytes = payload.len() - start - LENGTH_BYTES;
    let n_bytes = u32::try_from(n_bytes).expect("a record is shorter than 4 GiB");
    if let Some(length) = payload.get_mut(start..start + LENGTH_BYTES) {
        length.copy_from_slice(&n_bytes.to_le_bytes());
    }
}

/// Fills in the first [`FRAME_HEAD_BYTES`] of `frame`, whose payload stands behind them already.
///
/// # Panics
/// If `frame` is shorter than its head or longer than 4 GiB.
pub fn seal_frame(frame: &mut [u8], place: FramePlace, head: FrameHead) {
    let (front, payload) = frame.split_at_mut(FRAME_HEAD_BYTES);
    let (fields, mut checksum) = front.split_at_mut(FRAME_HEAD_BYTES - CHECKSUM_BYTES);
    let mut rest = &mut *fields;
    rest.put_slice(&FRAME_MAGIC);
    rest.put_u8(match head.kind {
        FrameKind::Records => KIND_RECORDS,
        FrameKind::Closing => KIND_CLOSING,
    });
    rest.put_u32_le(u32::try_from(payload.len()).expect("a frame is shorter than 4 GiB"));
    rest.put_u32_le(head.n_records);
    rest.put_u64_le(head.synced);
    checksum.put_u32_le(checksum_of(place, fields, payload));
}

/// Reads the head of the frame that `bytes` start with, without looking at checksum and payload.
/// Returns it with the bytes of the whole frame. A first look only: it may be chance.
pub fn peek_frame(bytes: &[u8]) -> Result<(FrameHead, usize), FrameFault> {
    let Some(head) = bytes.first_chunk::<FRAME_HEAD_BYTES>() else {
        return Err(FrameFault::Short(FRAME_HEAD_BYTES));
    };
    let mut rest = head.strip_prefix(&FRAME_MAGIC).ok_or(FrameFault::Damaged)?;
    let kind = match rest.get_u8() {
        KIND_RECORDS => FrameKind::Records,
        KIND_CLOSING => FrameKind::Closing,
        _ => return Err(FrameFault::Damaged),
    };
    let payload_bytes = rest.get_u32_le() as usize;
    let head = FrameHead {
        kind,
        n_records: rest.get_u32_le(),
        synced: rest.get_u64_le(),
    };
    Ok((head, FRAME_HEAD_BYTES.saturating_add(payload_bytes)))
}

/// Reads the frame that `bytes` start with and that lies at `place`.
///
/// # Errors
/// [`FrameFault::Short`] when more bytes are needed to tell, else [`FrameFault::Damaged`].
pub fn open_frame(bytes: &[u8], place: FramePlace) -> Result<Frame<'_>, FrameFault> {
    let (head, frame_bytes) = peek_frame(bytes)?;
    let whole = bytes
        .get(..frame_bytes)
        .ok_or(FrameFault::Short(frame_bytes))?;
    let (front, payload) = whole.split_at(FRAME_HEAD_BYTES);
    let (fields, mut checksum) = front.split_at(FRAME_HEAD_BYTES - CHECKSUM_BYTES);
    if checksum.get_u32_le() != checksum_of(place, fields, payload) {
        return Err(FrameFault::Damaged);
    }
    Ok(Frame {
        head,
        bytes: frame_bytes,
        payload,
    })
}

impl Frame<'_> {
    /// Hands each record of this frame to `each`, in order.
    ///
    /// # Errors
    /// [`RecordError`] where a record was written by a later version, or where the payload is not
    /// what its head says, which a right checksum makes a bug. Records before it were handed out.
    pub fn for_each_record(&self, mut each: impl FnMut(Record)) -> Result<(), RecordError> {
        let damaged = |what: &str| RecordError::Damaged(what.to_owned());
        let mut rest = self.payload;
        for _ in 0..self.head.n_records {
            let n_bytes = rest
                .try_get_u32_le()
                .map_err(|_| damaged("fewer records than counted"))?;
            let (record, behind) = rest
                .split_at_checked(n_bytes as usize)
                .ok_or_else(|| damaged("longer than its frame"))?;
            each(decode_record(record)?);
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(damaged("more records than counted"));
        }
        Ok(())
    }
}

fn checksum_of(place: FramePlace, fields: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.base.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(fields);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: FramePlace = FramePlace {
        base: 7_000,
        offset: 7_040,
    };

    const HEAD: FrameHead = FrameHead {
        kind: FrameKind::Records,
        n_records: 2,
        synced: 7_040,
    };

    fn frame() -> Vec<u8> {
        let mut bytes = vec![0; FRAME_HEAD_BYTES];
        push_record(b"first", &mut bytes);
        push_record(b"second", &mut bytes);
        seal_frame(&mut bytes, PLACE, HEAD);
        bytes
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        for previous_base in [None, Some(40)] {
            let header = SegmentHeader {
                base: 900,
                previous_base,
                previous_end: 850,
            };
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn a_header_with_any_altered_byte_is_damaged_and_a_later_layout_is_named() {
        let header = SegmentHeader {
            base: 900,
            previous_base: Some(40),
            previous_end: 850,
        };
        let bytes = header.encode();
        for position in 0..bytes.len() {
            let mut altered = bytes;
            altered[position] ^= 0x10;
            let fault = SegmentHeader::decode(&altered);
            assert_eq!(fault, Err(HeaderError::Damaged), "byte {position}");
            let cut = SegmentHeader::decode(&bytes[..position]);
            assert_eq!(cut, Err(HeaderError::Damaged), "cut at {position}");
        }
        let mut later = bytes;
        later[8] = 9;
        let checksum = crc32fast::hash(&later[..36]).to_le_bytes();
        later[36..].copy_from_slice(&checksum);
        assert_eq!(
            SegmentHeader::decode(&later),
            Err(HeaderError::UnknownLayout(9))
        );
    }

    #[test]
    fn a_frame_is_whole_only_at_its_own_place() {
        let bytes = frame();
        let opened = open_frame(&bytes, PLACE).unwrap();
        assert_eq!((opened.head, opened.bytes), (HEAD, bytes.len()));
        let elsewhere = FramePlace {
            offset: PLACE.offset + 1,
            ..PLACE
        };
        assert_eq!(open_frame(&bytes, elsewhere), Err(FrameFault::Damaged));
    }

    #[test]
    fn a_frame_with_any_altered_byte_is_none() {
        let bytes = frame();
        for position in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[position] ^= 1;
            assert!(open_frame(&altered, PLACE).is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_cut_frame_says_how_much_it_takes() {
        let bytes = frame();
        for n_bytes in 0..bytes.len() {
            let expected = if n_bytes < FRAME_HEAD_BYTES {
                FRAME_HEAD_BYTES
            } else {
                bytes.len()
            };
            assert_eq!(
                open_frame(&bytes[..n_bytes], PLACE),
                Err(FrameFault::Short(expected))
            );
        }
    }
}
