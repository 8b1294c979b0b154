//! What frames of records and of their acknowledgements say, byte by byte.
//!
//! All integers are little-endian. The sender numbers its frames of records from 0 in a session, and
//! begins another session, with a number that it has not used on this link, whenever it gives up or
//! repeats what was under way.
//!
//! ```text
//! kind 16, records          session u64 | number u64 | records, each: length u32, layout 2 of
//!                           `delivery::frame`
//! kind 17, acknowledgements session u64 | below u64 | refused numbers, each u64
//! ```
//!
//! An acknowledgement is for the latest session of which a frame came in. `below` says that every frame with a lower number is decided: those that are named as refused were
//! not stored, all others are durable. A frame is named once, in the message that first covers it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::delivery::{batch::Batch, frame::RecordError};

/// Bytes before the records, and before the refused numbers.
const HEAD_BYTES: usize = 16;

/// Longest payload of a frame of records.
pub const RECORDS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What came of the frames of records of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acks {
    /// The sender's.
    pub session: u64,
    /// Every frame with a lower number is decided.
    pub below: u64,
    /// Of those that are new, the ones that were not stored.
    pub refused: Vec<u64>,
}

/// Which frame of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameNumber {
    /// The sender's, of this link.
    pub session: u64,
    /// Within it, from 0.
    pub number: u64,
}

/// The payload of a frame with the records of several batches; `None` if that is too long.
pub fn records_payload<'a>(
    frame: FrameNumber,
    batches: impl Iterator<Item = &'a Batch> + Clone,
) -> Option<Bytes> {
    let n_bytes: usize = batches.clone().map(|batch| batch.as_bytes().len()).sum();
    if !fits(n_bytes) {
        return None;
    }
    let mut payload = BytesMut::with_capacity(HEAD_BYTES + n_bytes);
    payload.put_u64_le(frame.session);
    payload.put_u64_le(frame.number);
    batches.for_each(|batch| payload.put_slice(batch.as_bytes()));
    Some(payload.freeze())
}

/// Whether so many bytes of records fit into a frame.
pub const fn fits(n_bytes: usize) -> bool {
    n_bytes <= RECORDS_BYTES_MAX - HEAD_BYTES
}

/// The number of a frame and its records.
///
/// # Errors
/// [`RecordError`]: the other end breaks the rules, or speaks a later version.
pub fn read_records(mut payload: &[u8]) -> Result<(FrameNumber, Batch), RecordError> {
    let mut take = || {
        let number = payload.try_get_u64_le();
        number.map_err(|_| RecordError::Damaged("no number".to_owned()))
    };
    let (session, number) = (take()?, take()?);
    Ok((FrameNumber { session, number }, Batch::read(payload)?))
}

impl Acks {
    /// Its payload.
    pub fn to_payload(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(HEAD_BYTES + 8 * self.refused.len());
        payload.put_u64_le(self.session);
        payload.put_u64_le(self.below);
        self.refused
            .iter()
            .for_each(|number| payload.put_u64_le(*number));
        payload.freeze()
    }

    /// Reads a payload; `None` if it is none.
    pub fn read(mut payload: &[u8]) -> Option<Self> {
        let session = payload.try_get_u64_le().ok()?;
        let below = payload.try_get_u64_le().ok()?;
        let mut refused = Vec::new();
        while !payload.is_empty() {
            refused.push(payload.try_get_u64_le().ok()?);
        }
        Some(Self {
            session,
            below,
            refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_golden_bytes() {
        let acks = Acks {
            session: 2,
            below: 0x0103,
            refused: vec![0x0101, 0x0102],
        };
        let payload = acks.to_payload();
        let golden = [
            [2, 0, 0, 0, 0, 0, 0, 0],
            [3, 1, 0, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0, 0, 0],
            [2, 1, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(payload, golden.concat());
        assert_eq!(Acks::read(&payload), Some(acks));
        for end in [0, 7, 15, 17, 31] {
            assert_eq!(Acks::read(&payload[..end]), None, "{end}");
        }
        let frame = FrameNumber {
            session: 1,
            number: 258,
        };
        let payload = records_payload(frame, [].iter()).unwrap();
        assert_eq!(
            payload[..],
            [1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(read_records(&payload).unwrap().0, frame);
        assert!(read_records(&payload[..15]).is_err());
    }
}
