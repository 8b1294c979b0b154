//! Records of one vehicle, kind and month that wait in memory, packed as they will be written.
//!
//! Those that come in order are appended to the last block. One that does not (it is late, or comes
//! again) is kept apart, and stands in the place of one with its spot in a block. Must not know the
//! database.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    delivery::frame::{decode_record, encode_record},
    store::index::{
        IndexError,
        block::{BlockReader, BlockWriter, Spot, spot_of},
        rows::{self, BLOCK, FirstRow, Moment, RowValue},
    },
    types::{
        ids::VehicleId,
        record::{Kind, Record},
        time::Month,
    },
};

/// What a lane with its vehicle, a block and a late record are reckoned to take in memory besides their
/// bytes.
const LANE_BYTES: u64 = 256;
const PIECE_BYTES: u64 = 64;
const LATE_BYTES: u64 = 96;

/// Packed records of one vehicle, kind and month.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    pub(super) month: Month,
    open: BlockWriter,
    /// Most lanes have nothing else.
    more: Option<Box<More>>,
}

/// What a lane has besides its last block.
#[derive(Debug, Default)]
struct More {
    closed: Vec<Piece>,
    late: BTreeMap<Spot, Box<[u8]>>,
}

/// A value that will be a row, or the rows of one large record.
#[derive(Debug)]
struct Piece {
    first: Spot,
    last: Spot,
    value: Box<[u8]>,
}

/// A borrowed piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct PieceView<'a> {
    pub(super) first: Spot,
    pub(super) last: Spot,
    pub(super) value: &'a [u8],
}

impl Lane {
    pub(super) fn new(kind: Kind, month: Month) -> Self {
        Self {
            kind,
            month,
            open: BlockWriter::default(),
            more: None,
        }
    }

    /// Adds a record of its kind and month; about how many bytes of memory that takes.
    pub(super) fn put(&mut self, record: &Record, scratch: &mut Vec<u8>) -> u64 {
        let spot = spot_of(record);
        let end = self.end_of_pieces();
        if end.is_some_and(|end| spot <= end) {
            let mut bytes = Vec::new();
            encode_record(record, &mut bytes);
            let n_bytes = bytes.len() as u64 + LATE_BYTES;
            self.more().late.insert(spot, bytes.into_boxed_slice());
            return n_bytes;
        }
        let besides = if end.is_none() { LANE_BYTES } else { 0 };
        besides + self.append(record, scratch)
    }

    fn append(&mut self, record: &Record, scratch: &mut Vec<u8>) -> u64 {
        let bytes_max = rows::value_bytes_max(&record.key.vehicle);
        if self.open.bytes().is_empty() {
            self.open.begin(BLOCK);
        }
        let n_before = self.open.bytes().len();
        if self.open.push(record, bytes_max, scratch) {
            return (self.open.bytes().len() - n_before) as u64;
        }
        self.close();
        if self.open.push(record, bytes_max, scratch) {
            return self.open.bytes().len() as u64 + PIECE_BYTES;
        }
        let mut value = Vec::new();
        rows::put_whole(record, &mut value);
        let n_bytes = value.len() as u64 + PIECE_BYTES;
        self.more().closed.push(Piece {
            first: spot_of(record),
            last: spot_of(record),
            value: value.into_boxed_slice(),
        });
        n_bytes
    }

    fn close(&mut self) {
        if let Some((first, last)) = self.open.ends() {
            let piece = Piece {
                first,
                last,
                value: self.open.bytes().into(),
            };
            self.more().closed.push(piece);
        }
        self.open.begin(BLOCK);
    }

    /// About how many bytes its rows take.
    pub(super) fn n_bytes(&self) -> u64 {
        let pieces = self.pieces().map(|piece| piece.value.len() as u64);
        let pieces = pieces.map(|n_bytes| n_bytes + PIECE_BYTES);
        let late = self.late().into_iter().flat_map(BTreeMap::values);
        pieces.chain(late.map(|bytes| bytes.len() as u64)).sum()
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn closed(&self) -> &[Piece] {
        self.more.as_ref().map_or(&[], |more| &more.closed)
    }

    fn late(&self) -> Option<&BTreeMap<Spot, Box<[u8]>>> {
        let late = self.more.as_ref().map(|more| &more.late);
        late.filter(|late| !late.is_empty())
    }

    fn end_of_pieces(&self) -> Option<Spot> {
        let open = self.open.last();
        open.or_else(|| self.closed().last().map(|piece| piece.last))
    }

    /// Whether no record came late, so that the pieces are all.
    pub(super) fn is_in_order(&self) -> bool {
        self.late().is_none()
    }

    /// The least spot of a lane that is in order.
    pub(super) fn first(&self) -> Option<Spot> {
        self.pieces().next().map(|piece| piece.first)
    }

    /// The value of a row that has the record at `spot` alone, if there is one.
    pub(super) fn value_of_one(&self, spot: Spot) -> Option<&[u8]> {
        let ends = self.open.ends().filter(|_| self.is_in_order());
        (ends == Some((spot, spot))).then_some(self.open.bytes())
    }

    /// The pieces in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = PieceView<'_>> {
        self.pieces_from(0)
    }

    fn pieces_from(&self, idx: usize) -> impl Iterator<Item = PieceView<'_>> {
        let open = self.open.ends().map(|(first, last)| PieceView {
            first,
            last,
            value: self.open.bytes(),
        });
        let closed = self.closed().get(idx..).unwrap_or_default();
        closed.iter().map(Piece::view).chain(open)
    }

    /// The pieces that are not all before `spot`.
    fn pieces_not_before(&self, spot: Spot) -> impl Iterator<Item = PieceView<'_>> {
        let idx = self.closed().partition_point(|piece| piece.last < spot);
        self.pieces_from(idx)
            .filter(move |piece| piece.last >= spot)
    }

    /// Whether a record is there.
    pub(super) fn contains(&self, spot: Spot) -> Result<bool, IndexError> {
        if self.late().is_some_and(|late| late.contains_key(&spot)) {
            return Ok(true);
        }
        let Some(piece) = self.pieces_not_before(spot).next() else {
            return Ok(false);
        };
        if spot < piece.first {
            return Ok(false);
        }
        match RowValue::parse(piece.value)? {
            RowValue::Record(_) => Ok(piece.first == spot),
            RowValue::Block(block) => has_spot(block, spot),
        }
    }

    /// The first records from `from` up to before `to`, as many as `room` takes, appended in order.
    pub(super) fn read(
        &self,
        vehicle: &VehicleId,
        (from, to): (Spot, Option<Spot>),
        room: &mut ReadRoom,
        into: &mut Vec<Record>,
    ) -> Result<(), IndexError> {
        let is_within = |spot: Spot| from <= spot && to.is_none_or(|to| spot < to);
        let mut pieces = self
            .pieces_not_before(from)
            .take_while(|piece| to.is_none_or(|to| piece.first < to));
        let late = self.late().map(|late| late.range(from..));
        let late = late.into_iter().flatten();
        let mut late = late.take_while(|(spot, _)| is_within(**spot)).peekable();
        let mut of_piece = VecDeque::new();
        while !room.is_full() {
            if of_piece.is_empty()
                && let Some(piece) = pieces.next()
            {
                let mut read = Vec::new();
                piece.read(self.kind, vehicle, is_within, &mut read)?;
                of_piece = read.into();
                continue;
            }
            let present = of_piece.front().map(spot_of);
            let record = match (late.peek(), present) {
                (Some((spot, bytes)), present)
                    if present.is_none_or(|present| **spot <= present) =>
                {
                    let record = decode(bytes)?;
                    if present == Some(**spot) {
                        of_piece.pop_front();
                    }
                    late.next();
                    record
                }
                _ => match of_piece.pop_front() {
                    Some(record) => record,
                    None => break,
                },
            };
            room.take(&record);
            into.push(record);
        }
        Ok(())
    }

    /// Appends spots from `from` up to before `to`, in the order of two runs, each of `limit` at most:
    /// those of the pieces and those that came late. Up to where all are there; `None`: to the end.
    pub(super) fn read_spots(
        &self,
        (from, to): (Spot, Option<Spot>),
        limit: usize,
        into: &mut Vec<Spot>,
    ) -> Result<Option<Spot>, IndexError> {
        let is_within = |spot: Spot| from <= spot && to.is_none_or(|to| spot < to);
        let n_before = into.len();
        let pieces = self.pieces_not_before(from);
        let mut end = None;
        for piece in pieces.take_while(|piece| to.is_none_or(|to| piece.first < to)) {
            if into.len() - n_before >= limit {
                end = into.last().copied();
                break;
            }
            put_spots((piece.last, piece.value), is_within, into)?;
        }
        let late = self.late().map(|late| late.range(from..));
        let late = late.into_iter().flatten().map(|(spot, _)| *spot);
        let n_before = into.len();
        into.extend(late.take_while(|spot| is_within(*spot)).take(limit));
        if into.len() - n_before >= limit {
            let last = into.last().copied();
            end = end.map_or(last, |end| last.map(|last| last.min(end)));
        }
        Ok(end)
    }
}

/// How much may still be read: so many records, and so many bytes of memory, which the last one may pass.
#[derive(Debug)]
pub(super) struct ReadRoom {
    n_records_left: usize,
    n_bytes_left: usize,
}

impl ReadRoom {
    /// Room for `n_records`, and for about `n_bytes` of them.
    pub(super) const fn new(n_records: usize, n_bytes: usize) -> Self {
        Self {
            n_records_left: n_records,
            n_bytes_left: n_bytes,
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.n_records_left == 0 || self.n_bytes_left == 0
    }

    pub(super) fn take(&mut self, record: &Record) {
        self.n_records_left = self.n_records_left.saturating_sub(1);
        self.n_bytes_left = self.n_bytes_left.saturating_sub(record.memory_bytes());
    }
}

impl Piece {
    fn view(&self) -> PieceView<'_> {
        PieceView {
            first: self.first,
            last: self.last,
            value: &self.value,
        }
    }
}

impl PieceView<'_> {
    /// Under which moment it is to stand.
    pub(super) const fn moment(&self, kind: Kind) -> Moment {
        let (time, hash) = self.last;
        Moment { kind, time, hash }
    }

    fn read(
        &self,
        kind: Kind,
        vehicle: &VehicleId,
        is_within: impl Fn(Spot) -> bool,
        into: &mut Vec<Record>,
    ) -> Result<(), IndexError> {
        match RowValue::parse(self.value)? {
            RowValue::Block(block) => read_block(block, (vehicle, kind), is_within, into),
            RowValue::Record(row) => {
                if is_within(self.first) {
                    into.push(whole(row)?);
                }
                Ok(())
            }
        }
    }
}

/// Appends the records of a block whose spots are wanted.
pub(super) fn read_block(
    block: BlockReader<'_>,
    (vehicle, kind): (&VehicleId, Kind),
    is_wanted: impl Fn(Spot) -> bool,
    into: &mut Vec<Record>,
) -> Result<(), IndexError> {
    for entry in block {
        let entry = entry.ok_or_else(damaged_block)?;
        if is_wanted(entry.spot()) {
            into.push(entry.to_record(vehicle, kind).ok_or_else(damaged_block)?);
        }
    }
    Ok(())
}

/// Appends the wanted spots of a row that stands under `last`.
pub(super) fn put_spots(
    (last, value): (Spot, &[u8]),
    is_wanted: impl Fn(Spot) -> bool,
    into: &mut Vec<Spot>,
) -> Result<(), IndexError> {
    match RowValue::parse(value)? {
        RowValue::Record(_) => into.extend(Some(last).filter(|spot| is_wanted(*spot))),
        RowValue::Block(block) => {
            for entry in block {
                let spot = entry.ok_or_else(damaged_block)?.spot();
                into.extend(Some(spot).filter(|spot| is_wanted(*spot)));
            }
        }
    }
    Ok(())
}

/// The record of a block that has one, a position.
pub(super) fn only_position(
    mut block: BlockReader<'_>,
    vehicle: &VehicleId,
) -> Result<Record, IndexError> {
    let entry = block.next().flatten().filter(|_| block.next().is_none());
    entry
        .and_then(|entry| entry.to_record(vehicle, Kind::Position))
        .ok_or_else(damaged_block)
}

/// Whether a block has a record.
pub(super) fn has_spot(block: BlockReader<'_>, spot: Spot) -> Result<bool, IndexError> {
    for entry in block {
        let found = entry.ok_or_else(damaged_block)?.spot();
        if found >= spot {
            return Ok(found == spot);
        }
    }
    Ok(false)
}

/// In order of their spots; of several with one spot the last one.
pub(super) fn merge(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(spot_of);
    let mut merged: Vec<Record> = Vec::with_capacity(records.len());
    for record in records {
        match merged.last_mut() {
            Some(last) if spot_of(last) == spot_of(&record) => *last = record,
            _ => merged.push(record),
        }
    }
    merged
}

fn whole(row: FirstRow<'_>) -> Result<Record, IndexError> {
    row.assemble(|_| -> Result<Vec<u8>, _> { Err(damaged_block()) })
}

fn decode(bytes: &[u8]) -> Result<Record, IndexError> {
    decode_record(bytes).map_err(|error| IndexError::Damaged(error.to_string()))
}

pub(super) fn damaged_block() -> IndexError {
    IndexError::Damaged("block".to_owned())
}
