//! Frames: how what two nodes say is cut into pieces inside the encrypted stream.
//!
//! The plain texts of a direction's Noise messages, one behind the other, are one stream of bytes. In
//! it stand frames: the kind (a byte), the length of the payload (LEB128, at most four bytes and as
//! few as it needs), the payload. Frames need not end where messages end: many small ones share a
//! message, a long one takes several. A kind that is not known is passed over by its length, so a
//! later version can add kinds.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Bytes of the longest header.
const HEADER_BYTES_MAX: usize = 5;

/// Longest payload of a kind that is passed over.
const UNKNOWN_BYTES_MAX: usize = 1024 * 1024;

/// Longest payload of a frame of records, which must hold one record of any size.
pub const RECORDS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest payload of a question or a piece of an answer.
pub const BULK_BYTES_MAX: usize = 64 * 1024;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKind(pub u8);

/// What the receiver must have granted credit for, each with an account of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Records on their way to their owner.
    Records,
    /// Questions and the pieces of answers.
    Bulk,
}

/// When a frame is written, among those that wait: lower ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Acknowledgements of records.
    Acks,
    /// What keeps links and members going.
    Control,
    /// Records.
    Records,
    /// Questions and answers.
    Bulk,
}

/// A frame that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is about.
    pub kind: FrameKind,
    /// What it says; memory of its own, not a part of a larger buffer.
    pub payload: Bytes,
}

/// What stood next in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A frame of a known kind.
    Frame(Frame),
    /// The header of a frame that is passed over.
    Skipped(FrameKind),
}

/// What breaks the rules of frames; the link must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FrameFault(pub &'static str);

impl FrameKind {
    /// Who speaks; the first frame of each direction, and no other.
    pub const HELLO: Self = Self(0);
    /// A sign of life, with a payload of the cluster's.
    pub const HEARTBEAT: Self = Self(1);
    /// Leave to send: flow (u8), bytes (u32, little-endian).
    pub const CREDIT: Self = Self(2);
    /// A message about members.
    pub const MEMBERS: Self = Self(3);
    /// The last frame of a direction: why.
    pub const CLOSE: Self = Self(4);
    /// To be answered with its payload, 8 bytes.
    pub const PING: Self = Self(5);
    /// The answer to a ping.
    pub const PONG: Self = Self(6);
    /// Records.
    pub const RECORDS: Self = Self(16);
    /// Acknowledgements of records.
    pub const RECORD_ACKS: Self = Self(17);
    /// The first of the kinds that are questions and answers; all above are, too.
    pub const BULK: Self = Self(32);

    /// Whether this version knows what to do with it.
    pub const fn is_known(self) -> bool {
        self.0 <= Self::PONG.0 || self.0 == 16 || self.0 == 17 || self.0 >= Self::BULK.0
    }

    /// Bytes of its longest payload.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::HELLO => 1024,
            Self::HEARTBEAT => 16 * 1024,
            Self::CREDIT | Self::PING | Self::PONG => 8,
            Self::MEMBERS => 256 * 1024,
            Self::CLOSE => 256,
            Self::RECORDS => RECORDS_BYTES_MAX,
            Self::RECORD_ACKS => 64 * 1024,
            kind if kind.0 >= Self::BULK.0 => BULK_BYTES_MAX,
            _ => UNKNOWN_BYTES_MAX,
        }
    }

    /// The account that pays for it; absent where it needs no credit.
    pub const fn flow(self) -> Option<Flow> {
        match self {
            Self::RECORDS => Some(Flow::Records),
            kind if kind.0 >= Self::BULK.0 => Some(Flow::Bulk),
            _ => None,
        }
    }

    /// When it is written.
    pub const fn priority(self) -> Priority {
        match self {
            Self::RECORD_ACKS => Priority::Acks,
            Self::RECORDS => Priority::Records,
            kind if kind.0 >= Self::BULK.0 => Priority::Bulk,
            _ => Priority::Control,
        }
    }
}

/// Writes a frame behind what is in `out`.
///
/// # Panics
/// If the payload is longer than its kind may be: whoever makes payloads checks before.
pub fn write_frame(kind: FrameKind, payload: &[u8], out: &mut BytesMut) {
    assert!(
        payload.len() <= kind.payload_bytes_max(),
        "a payload of {} bytes is over the limit of kind {}",
        payload.len(),
        kind.0
    );
    out.reserve(HEADER_BYTES_MAX + payload.len());
    out.put_u8(kind.0);
    let mut left = payload.len();
    while left >= 0x80 {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
    out.put_slice(payload);
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// Bytes of a payload that is passed over and has not come in yet.
    skip_bytes: usize,
}

impl FrameReader {
    /// Takes what stands next out of `stream`; `None` when more bytes must come in first.
    ///
    /// # Errors
    /// A length that its kind may not have, as soon as the header is there. What follows cannot be
    /// read any more.
    pub fn next(&mut self, stream: &mut BytesMut) -> Result<Option<Item>, FrameFault> {
        if self.skip_bytes > 0 {
            let skipped = self.skip_bytes.min(stream.len());
            stream.advance(skipped);
            self.skip_bytes -= skipped;
            if self.skip_bytes > 0 {
                return Ok(None);
            }
        }
        let Some(header) = Header::read(stream)? else {
            return Ok(None);
        };
        if header.payload_bytes > header.kind.payload_bytes_max() {
            return Err(FrameFault("a frame is longer than its kind may be"));
        }
        if !header.kind.is_known() {
            stream.advance(header.bytes);
            self.skip_bytes = header.payload_bytes;
            return Ok(Some(Item::Skipped(header.kind)));
        }
        let end = header.bytes + header.payload_bytes;
        let Some(payload) = stream.get(header.bytes..end) else {
            return Ok(None);
        };
        // A copy: a payload that is kept for long must not keep a whole buffer.
        let payload = Bytes::copy_from_slice(payload);
        stream.advance(end);
        let kind = header.kind;
        Ok(Some(Item::Frame(Frame { kind, payload })))
    }
}

struct Header {
    kind: FrameKind,
    payload_bytes: usize,
    /// Of the header itself.
    bytes: usize,
}

impl Header {
    fn read(stream: &[u8]) -> Result<Option<Self>, FrameFault> {
        let Some((kind, rest)) = stream.split_first() else {
            return Ok(None);
        };
        let mut payload_bytes = 0;
        for (at, byte) in rest.iter().take(HEADER_BYTES_MAX - 1).enumerate() {
            payload_bytes |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if *byte == 0 && at > 0 {
                    return Err(FrameFault("a length with more bytes than it needs"));
                }
                return Ok(Some(Self {
                    kind: FrameKind(*kind),
                    payload_bytes,
                    bytes: at + 2,
                }));
            }
        }
        if rest.len() >= HEADER_BYTES_MAX - 1 {
            return Err(FrameFault("a length of more than four bytes"));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All items of a stream that comes in pieces of `step` bytes.
    fn read_in_steps(bytes: &[u8], step: usize) -> Result<Vec<Item>, FrameFault> {
        let (mut reader, mut stream) = (FrameReader::default(), BytesMut::new());
        let mut items = Vec::new();
        for piece in bytes.chunks(step) {
            stream.extend_from_slice(piece);
            while let Some(item) = reader.next(&mut stream)? {
                items.push(item);
            }
        }
        Ok(items)
    }

    fn any_frame() -> impl Strategy<Value = (FrameKind, Vec<u8>)> {
        let payload = prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..20),
            1 => proptest::collection::vec(any::<u8>(), 120..300),
        ];
        (any::<u8>(), payload).prop_map(|(kind, mut payload)| {
            let kind = FrameKind(kind);
            payload.truncate(kind.payload_bytes_max());
            (kind, payload)
        })
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written_however_they_are_cut(
            frames in proptest::collection::vec(any_frame(), 0..20),
            step in 1..50_usize,
        ) {
            let mut stream = BytesMut::new();
            for (kind, payload) in &frames {
                write_frame(*kind, payload, &mut stream);
            }
            let expected: Vec<Item> = frames
                .into_iter()
                .map(|(kind, payload)| match kind.is_known() {
                    true => Item::Frame(Frame { kind, payload: payload.into() }),
                    false => Item::Skipped(kind),
                })
                .collect();
            prop_assert_eq!(read_in_steps(&stream, step), Ok(expected));
        }

        #[test]
        fn noise_is_no_reason_to_panic_and_cuts_change_nothing(
            noise in proptest::collection::vec(any::<u8>(), 0..400),
            step in 1..50_usize,
        ) {
            prop_assert_eq!(read_in_steps(&noise, step), read_in_steps(&noise, 400));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_its_payload_comes() {
        let stream = |bytes: &[u8]| read_in_steps(bytes, 1);
        let too_long = Err(FrameFault("a frame is longer than its kind may be"));
        assert_eq!(stream(&[5, 9]), too_long);
        assert_eq!(stream(&[3, 0x81, 0x80, 0x10]), too_long);
        assert_eq!(stream(&[200, 0x81, 0x80, 0x04]), too_long);
        assert_eq!(stream(&[9, 0x81, 0x80, 0x40]), too_long);
        assert_eq!(
            stream(&[16, 0x80, 0x80, 0x80, 0x80, 0x01]),
            Err(FrameFault("a length of more than four bytes"))
        );
        assert_eq!(
            stream(&[16, 0x85, 0x00]),
            Err(FrameFault("a length with more bytes than it needs"))
        );
    }

    #[test]
    fn an_unknown_kind_is_passed_over_without_being_kept() {
        let (mut reader, mut stream) = (FrameReader::default(), BytesMut::new());
        write_frame(FrameKind(9), &[7; 1_000], &mut stream);
        write_frame(FrameKind::PING, b"12345678", &mut stream);
        let mut rest = stream.split_off(500);
        assert_eq!(
            reader.next(&mut stream),
            Ok(Some(Item::Skipped(FrameKind(9))))
        );
        assert_eq!(reader.next(&mut stream), Ok(None));
        assert!(stream.is_empty());
        let Ok(Some(Item::Frame(frame))) = reader.next(&mut rest) else {
            panic!("no frame");
        };
        assert_eq!(frame.payload, b"12345678".as_slice());
    }
}
