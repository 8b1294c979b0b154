//! Records as the bytes of an answer, cut into pieces and put together again. Pure: it must not know
//! how pieces travel.
//!
//! The bytes of an answer are one stream: each record's length (u32, little-endian), then the record
//! in the layout of [`crate::delivery::frame`]. Pieces may end anywhere in it.

use bytes::Bytes;

use super::wire::PIECE_BYTES_MAX;
use crate::{
    cluster::proto::link::frame::RECORDS_BYTES_MAX,
    delivery::frame::{decode_record, encode_record},
    types::record::Record,
};

const LENGTH_BYTES: usize = 4;

/// Bytes of the longest record that is taken: what a frame of records may hold.
const RECORD_BYTES_MAX: usize = RECORDS_BYTES_MAX;

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    waiting: Vec<u8>,
    /// Where in `waiting` the next piece begins.
    start: usize,
}

/// Bytes that came in.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    waiting: Vec<u8>,
}

/// The bytes of an answer are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it sent something that is no record")]
pub(super) struct NoRecord;

impl Cutter {
    /// Adds a record.
    pub(super) fn push(&mut self, record: &Record) {
        let start = self.waiting.len();
        self.waiting.extend_from_slice(&[0; LENGTH_BYTES]);
        encode_record(record, &mut self.waiting);
        let n_bytes = self.waiting.len() - start - LENGTH_BYTES;
        let n_bytes = u32::try_from(n_bytes).expect("a record is shorter than 4 GiB");
        if let Some(length) = self.waiting.get_mut(start..start + LENGTH_BYTES) {
            length.copy_from_slice(&n_bytes.to_le_bytes());
        }
    }

    /// The next piece, if there are bytes for a whole one.
    pub(super) fn take_full(&mut self) -> Option<Bytes> {
        let n_waiting = self.waiting.len() - self.start;
        (n_waiting >= PIECE_BYTES_MAX).then(|| self.take())
    }

    /// The next piece, whole or not; `None` when nothing waits.
    pub(super) fn take_rest(&mut self) -> Option<Bytes> {
        (self.waiting.len() > self.start).then(|| self.take())
    }

    fn take(&mut self) -> Bytes {
        let end = self.waiting.len().min(self.start + PIECE_BYTES_MAX);
        let piece = self.waiting.get(self.start..end).unwrap_or_default();
        let piece = Bytes::copy_from_slice(piece);
        self.start = end;
        if self.start == self.waiting.len() {
            self.waiting = Vec::new();
            self.start = 0;
        } else if self.start > self.waiting.len() / 2 {
            self.waiting.drain(..self.start);
            self.start = 0;
        }
        piece
    }
}

impl Joiner {
    /// Takes a piece; the records that are whole now.
    ///
    /// # Errors
    /// [`NoRecord`]: nothing more can be read.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Record>, NoRecord> {
        let mut records = Vec::new();
        if self.waiting.is_empty() {
            // The usual case: most pieces begin with a record, or nearly.
            let rest = read_all(piece, &mut records)?;
            self.waiting.extend_from_slice(rest);
            return Ok(records);
        }
        self.waiting.extend_from_slice(piece);
        let waiting = std::mem::take(&mut self.waiting);
        let rest = read_all(&waiting, &mut records)?;
        if rest.len() == waiting.len() {
            self.waiting = waiting;
        } else {
            self.waiting = rest.to_vec();
        }
        Ok(records)
    }

    /// Whether nothing of a record waits for the rest.
    pub(super) const fn is_at_end(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Reads the records that are whole; what is behind them.
fn read_all<'a>(mut bytes: &'a [u8], into: &mut Vec<Record>) -> Result<&'a [u8], NoRecord> {
    while let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() {
        let n_bytes = u32::from_le_bytes(*length) as usize;
        if n_bytes > RECORD_BYTES_MAX {
            return Err(NoRecord);
        }
        let Some((record, behind)) = rest.split_at_checked(n_bytes) else {
            break;
        };
        into.push(decode_record(record).map_err(|_| NoRecord)?);
        bytes = behind;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::forwarding::testing::record;

    fn cut(records: &[Record]) -> Vec<Bytes> {
        let mut cutter = Cutter::default();
        let mut pieces = Vec::new();
        for record in records {
            cutter.push(record);
            while let Some(piece) = cutter.take_full() {
                assert_eq!(piece.len(), PIECE_BYTES_MAX);
                pieces.push(piece);
            }
        }
        pieces.extend(cutter.take_rest());
        assert_eq!(cutter.take_rest(), None);
        pieces
    }

    fn join(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Vec<Record>, NoRecord> {
        let mut joiner = Joiner::default();
        let mut records = Vec::new();
        for piece in pieces {
            records.extend(joiner.push(piece.as_ref())?);
        }
        assert!(joiner.is_at_end());
        Ok(records)
    }

    proptest! {
        #[test]
        fn records_of_any_size_pass_however_they_are_cut(
            raws in prop::collection::vec(prop_oneof![0..200_usize, 60_000..140_000_usize], 0..9),
            step in 1..3_000_usize,
        ) {
            let records: Vec<Record> = (0..)
                .zip(&raws)
                .map(|(time, n_bytes)| Record {
                    raw: Some(vec![7; *n_bytes].into()),
                    ..record("1", time)
                })
                .collect();
            let pieces = cut(&records);
            prop_assert_eq!(join(&pieces).unwrap(), records.clone());
            let whole = pieces.concat();
            prop_assert_eq!(join(whole.chunks(step)).unwrap(), records);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(Joiner::default().push(&noise));
        }
    }

    #[test]
    fn a_record_of_nearly_four_mebibytes_passes_and_a_longer_one_is_refused() {
        let record = |raw_bytes: usize| Record {
            raw: Some(vec![7; raw_bytes].into()),
            ..record("1", 1)
        };
        let large = record(RECORD_BYTES_MAX - 200);
        let pieces = cut(std::slice::from_ref(&large));
        assert!(pieces.len() > 60);
        assert_eq!(join(&pieces), Ok(vec![large]));
        assert_eq!(join(cut(&[record(RECORD_BYTES_MAX)])), Err(NoRecord));
    }
}
