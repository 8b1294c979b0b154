//! Positions as server-sent events, in pieces of a bounded size, however large one of them is.
//!
//! They are made when the connection takes them: until then a subscriber holds no more than a batch that
//! others hold too. An event that does not fit into the rest of a piece is written once more for the next
//! one, without what was given of it. Must not know where positions come from.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;

use crate::types::{json::RecordJson, record::Record};

/// Bytes of a piece at most.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of the event of a position without much beside it.
const EVENT_BYTES_USUAL: usize = 384;

/// The positions of a batch that are not given yet.
#[derive(Debug)]
pub(super) struct EventPieces {
    batch: Arc<[Record]>,
    /// Records of the batch that are done.
    n_done: usize,
    /// Bytes that were given of the event of the next one.
    n_given: usize,
}

impl EventPieces {
    /// All positions of `batch`.
    pub(super) const fn new(batch: Arc<[Record]>) -> Self {
        Self {
            batch,
            n_done: 0,
            n_given: 0,
        }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When a position has no JSON. Nothing is to be given after it.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        let n_bytes = (self.batch.len() - self.n_done) * EVENT_BYTES_USUAL;
        let mut piece = Vec::with_capacity(n_bytes.min(PIECE_BYTES_MAX));
        while let Some(record) = self.batch.get(self.n_done) {
            let begin = piece.len();
            let mut window = Window {
                piece: &mut piece,
                n_passed: self.n_given,
            };
            if let Err(error) = write_event(&mut window, record) {
                if piece.len() < PIECE_BYTES_MAX {
                    return Err(error);
                }
                self.n_given += piece.len() - begin;
                break;
            }
            self.n_done += 1;
            self.n_given = 0;
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// Writes the event of a position; nothing for another record.
fn write_event(window: &mut Window<'_>, record: &Record) -> io::Result<()> {
    if record.fix().is_none() {
        return Ok(());
    }
    window.write_all(b"data: ")?;
    // JSON has no line breaks, so one `data` line holds it.
    serde_json::to_writer(&mut *window, &RecordJson::new(record))?;
    window.write_all(b"\n\n")
}

/// Takes what still fits into a piece of what is written to it, behind a beginning that it passes over.
struct Window<'a> {
    piece: &'a mut Vec<u8>,
    /// Bytes of the beginning that are still to come.
    n_passed: usize,
}

impl Write for Window<'_> {
    /// No bytes when the piece is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (passed, wanted) = bytes.split_at(self.n_passed.min(bytes.len()));
        self.n_passed -= passed.len();
        let room = PIECE_BYTES_MAX.saturating_sub(self.piece.len());
        let taken = wanted.get(..room).unwrap_or(wanted);
        self.piece.extend_from_slice(taken);
        Ok(passed.len() + taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::types::{
        ids::VehicleId,
        record::{Body, Fix, RecordKey},
        time::UnixMillis,
    };

    pub(in crate::api) fn position(number: i64, raw_bytes: usize) -> Record {
        Record {
            key: RecordKey {
                vehicle: VehicleId::parse(b"v").unwrap(),
                time: UnixMillis(number),
                hash: 1,
            },
            received: UnixMillis(0),
            protocol: "wialon".into(),
            code: "".into(),
            flags: Default::default(),
            body: Body::Position(Fix::default()),
            attributes: Default::default(),
            raw: Some(vec![1; raw_bytes].into()),
        }
    }

    /// What is given of `records`, and the sizes of its pieces.
    fn given(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let mut pieces = EventPieces::new(records.into());
        let (mut text, mut sizes) = (Vec::new(), Vec::new());
        while let Some(piece) = pieces.next_piece().unwrap() {
            sizes.push(piece.len());
            text.extend_from_slice(&piece);
        }
        assert_eq!(pieces.next_piece().unwrap(), None, "the end stays the end");
        (text, sizes)
    }

    fn expected(records: &[Record]) -> Vec<u8> {
        let positions = records.iter().filter(|record| record.fix().is_some());
        let events = positions.map(|record| {
            let json = serde_json::to_string(&RecordJson::new(record)).unwrap();
            format!("data: {json}\n\n")
        });
        events.collect::<String>().into_bytes()
    }

    #[test]
    fn all_that_is_large_or_small_is_given_in_pieces_of_a_bounded_size() {
        let sizes_of_raw = [0, 9_000, 200_000, 1, 10_000, 0, 0, 65_536, 3];
        let records: Vec<Record> = (0..)
            .zip(sizes_of_raw)
            .map(|(number, raw_bytes)| position(number, raw_bytes))
            .collect();
        let (text, sizes) = given(&records);
        assert_eq!(text, expected(&records));
        assert!(sizes.len() > 20, "{sizes:?}");
        let (last, others) = sizes.split_last().unwrap();
        assert!(
            others.iter().all(|size| *size == PIECE_BYTES_MAX),
            "{sizes:?}"
        );
        assert!(*last <= PIECE_BYTES_MAX);
    }

    #[test]
    fn a_piece_may_end_at_any_byte_of_an_event() {
        let base = expected(&[position(0, 0)]).len();
        // Each byte of raw is six of JSON; what is left of a piece goes through all sizes.
        for raw_bytes in (PIECE_BYTES_MAX - 2 * base) / 6..PIECE_BYTES_MAX / 6 {
            for code in ["", "1", "12", "123", "1234", "12345"] {
                let mut first = position(0, raw_bytes);
                first.code = code.into();
                let records = [first, position(1, 0)];
                assert_eq!(given(&records).0, expected(&records), "{raw_bytes} {code}");
            }
        }
    }

    #[test]
    fn events_without_a_place_are_left_out() {
        let mut records: Vec<Record> = (0..4).map(|number| position(number, 0)).collect();
        for number in [0, 1, 3] {
            records[number].body = Body::Event;
        }
        assert_eq!(given(&records).0, expected(&records));
        assert_eq!(given(&records[..2]), (Vec::new(), Vec::new()));
    }
}
