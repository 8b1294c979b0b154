//! Byte layout of the rows of the index, version 1. Pure: it must not know a database.
//!
//! All integers are big-endian, so that bytes and values have one order. Keyspaces:
//!
//! ```text
//! rows-YYYY-MM  records whose time lies in that month of UTC, of both kinds
//! future        records with Flags::FUTURE, of both kinds, whatever their time
//! last          the last position of each vehicle
//! meta          layout -> version of this layout (u32), applied -> log offset (u64)
//! ```
//!
//! Keys:
//!
//! ```text
//! rows-*, future: vehicle (UTF-8) | 0 (u8) | kind (u8: 0 position, 1 event)
//!                 | time, ms since 1970 with its sign bit flipped (u64) | hash (u64) | further
//! last:           vehicle (UTF-8) | 0 (u8) | further
//! further:        nothing in the first row of a record, else the number of the row from 1 (u32)
//! ```
//!
//! An id holds no control character, so the 0 ends it, and an id that begins another comes before
//! it. The rows of one record follow each other, and no other record's key begins with its key.
//!
//! Values:
//!
//! ```text
//! first row, the record is whole: 0 (u8) | record (delivery::frame)
//! first row, the record is cut:   1 (u8) | number of further rows (u32) | first piece
//! further row:                    next piece
//! ```
//!
//! Key and value of a row have at most [`ROW_BYTES_MAX`] bytes together; a piece fills its row. A
//! further row beyond the number that the first one says is left over from an earlier, longer
//! record of the same key, and not read.

use crate::{
    delivery::frame::{decode_record, encode_record},
    store::index::{IndexError, ScanCursor},
    types::{
        ids::VehicleId,
        record::{Kind, Record, RecordKey},
        time::{Month, UnixMillis},
    },
};

/// Version of the layout that is written.
pub(super) const LAYOUT: u32 = 1;

/// Most bytes of key and value of one row. The database can lose a page inside a larger value at a
/// power cut and then does not open.
pub(super) const ROW_BYTES_MAX: usize = 512;

/// Bytes behind the 0 in the key of a record's first row: kind, time and hash.
const RECORD_TAIL_BYTES: usize = 17;
/// Bytes of a row's number at the end of its key.
const NUMBER_BYTES: usize = 4;

const WHOLE: u8 = 0;
const CUT: u8 = 1;

/// Where a record's rows lie. Ordered as a scan visits them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The keyspace of a month.
    Month(Month),
    /// The keyspace of records whose time is not to be believed yet.
    Future,
}

/// What the key of a record's first row says, the vehicle aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Of this kind.
    pub(super) kind: Kind,
    /// Its time.
    pub(super) time: UnixMillis,
    /// Its hash.
    pub(super) hash: u64,
}

/// Appends the start of all keys of a vehicle.
pub(super) fn put_vehicle(vehicle: &VehicleId, key: &mut Vec<u8>) {
    key.extend_from_slice(vehicle.as_str().as_bytes());
    key.push(0);
}

/// Appends the key of the first row of a record in a month or in `future`.
pub(super) fn put_record_key(vehicle: &VehicleId, moment: Moment, key: &mut Vec<u8>) {
    put_vehicle(vehicle, key);
    key.push(kind_byte(moment.kind));
    key.extend_from_slice(&flip(moment.time).to_be_bytes());
    key.extend_from_slice(&moment.hash.to_be_bytes());
}

/// The key of the first row of a record in a month or in `future`.
pub(super) fn record_key(kind: Kind, record: &RecordKey) -> Vec<u8> {
    let mut key = Vec::new();
    let moment = Moment {
        kind,
        time: record.time,
        hash: record.hash,
    };
    put_record_key(&record.vehicle, moment, &mut key);
    key
}

/// The key of the first row of a vehicle in `last`.
pub(super) fn last_key(vehicle: &VehicleId) -> Vec<u8> {
    let mut key = Vec::new();
    put_vehicle(vehicle, &mut key);
    key
}

/// A key before which all rows of `vehicle` lie, and no row of a greater vehicle.
pub(super) fn after_vehicle(vehicle: &VehicleId) -> Vec<u8> {
    let mut key = vehicle.as_str().as_bytes().to_vec();
    key.push(1);
    key
}

/// A key before which all rows of `vehicle` with `kind` lie, and no later row of its.
pub(super) fn after_kind(vehicle: &VehicleId, kind: Kind) -> Vec<u8> {
    let mut key = last_key(vehicle);
    key.push(kind_byte(kind) + 1);
    key
}

/// A key that all rows of the record whose first row has `key` lie before, and no row of a greater
/// one.
pub(super) fn after_record(key: &[u8]) -> Vec<u8> {
    let mut after = key.to_vec();
    after.extend_from_slice(&[0xff; NUMBER_BYTES + 1]);
    after
}

/// Whether a key of a month or of `future` is that of a record's first row, and its moment.
///
/// # Errors
/// [`IndexError::Damaged`] if it is no key of this layout.
pub(super) fn moment_of(key: &[u8]) -> Result<Option<Moment>, IndexError> {
    let tail = tail_of(key)?;
    match tail {
        [kind, moment @ ..] if tail.len() == RECORD_TAIL_BYTES => {
            let (time, hash) = moment.split_at(moment.len() / 2);
            Ok(Some(Moment {
                kind: kind_of(*kind)?,
                time: unflip(u64_of(time)?),
                hash: u64_of(hash)?,
            }))
        }
        _ if tail.len() == RECORD_TAIL_BYTES + NUMBER_BYTES => Ok(None),
        _ => Err(damaged("key", key)),
    }
}

/// Whether a key of `last` is that of a record's first row.
///
/// # Errors
/// [`IndexError::Damaged`] if it is no key of this layout.
pub(super) fn is_first_of_last(key: &[u8]) -> Result<bool, IndexError> {
    match tail_of(key)?.len() {
        0 => Ok(true),
        NUMBER_BYTES => Ok(false),
        _ => Err(damaged("key", key)),
    }
}

/// The key of further row number `number`, from 1, of the record whose first row has `key`.
pub(super) fn further_key(key: &[u8], number: u32) -> Vec<u8> {
    let mut further = Vec::with_capacity(key.len() + NUMBER_BYTES);
    further.extend_from_slice(key);
    further.extend_from_slice(&number.to_be_bytes());
    further
}

/// Cuts records into rows; keeps its buffers from one record to the next.
#[derive(Debug, Default)]
pub(super) struct RowWriter {
    key: Vec<u8>,
    /// A mark for a whole record, then the record.
    value: Vec<u8>,
}

impl RowWriter {
    /// Hands the rows of `record` for its month or `future` to `emit`, key and value.
    pub(super) fn record(&mut self, record: &Record, emit: impl FnMut(&[u8], &[u8])) {
        self.key.clear();
        let moment = Moment {
            kind: record.kind(),
            time: record.key.time,
            hash: record.key.hash,
        };
        put_record_key(&record.key.vehicle, moment, &mut self.key);
        self.rows(record, emit);
    }

    /// Hands the rows of `record` for `last` to `emit`, key and value.
    pub(super) fn last(&mut self, record: &Record, emit: impl FnMut(&[u8], &[u8])) {
        self.key.clear();
        put_vehicle(&record.key.vehicle, &mut self.key);
        self.rows(record, emit);
    }

    fn rows(&mut self, record: &Record, mut emit: impl FnMut(&[u8], &[u8])) {
        self.value.clear();
        self.value.push(WHOLE);
        encode_record(record, &mut self.value);
        if self.key.len() + self.value.len() <= ROW_BYTES_MAX {
            emit(&self.key, &self.value);
            return;
        }
        let piece_bytes = ROW_BYTES_MAX - NUMBER_BYTES - self.key.len();
        let bytes = self.value.get(1..).unwrap_or_default();
        let (first_piece, rest) = bytes.split_at(piece_bytes - 1);
        let n_further = u32::try_from(rest.len().div_ceil(piece_bytes))
            .expect("a record in memory is far below a terabyte");
        let mut first = vec![CUT];
        first.extend_from_slice(&n_further.to_be_bytes());
        first.extend_from_slice(first_piece);
        emit(&self.key, &first);
        for (number, piece) in (1..).zip(rest.chunks(piece_bytes)) {
            emit(&further_key(&self.key, number), piece);
        }
    }
}

/// The value of a record's first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstRow<'a> {
    /// How many further rows the record has.
    pub(super) n_further: u32,
    /// The record, or its first piece.
    pub(super) piece: &'a [u8],
}

impl<'a> FirstRow<'a> {
    /// Reads the value of a record's first row.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if it is no value of this layout.
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, IndexError> {
        match value {
            [WHOLE, piece @ ..] => Ok(Self {
                n_further: 0,
                piece,
            }),
            [CUT, a, b, c, d, piece @ ..] => Ok(Self {
                n_further: u32::from_be_bytes([*a, *b, *c, *d]),
                piece,
            }),
            _ => Err(IndexError::Damaged(format!(
                "first value of {} bytes",
                value.len()
            ))),
        }
    }

    /// The record, where its further rows are given by `further`: number, from 1, to value.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if the bytes are no record, else what `further` says.
    pub(super) fn assemble<V: AsRef<[u8]>>(
        self,
        mut further: impl FnMut(u32) -> Result<V, IndexError>,
    ) -> Result<Record, IndexError> {
        if self.n_further == 0 {
            return decode(self.piece);
        }
        let mut bytes = self.piece.to_vec();
        for number in 1..=self.n_further {
            bytes.extend_from_slice(further(number)?.as_ref());
        }
        decode(&bytes)
    }
}

/// The name of the keyspace of a month.
pub(super) fn month_name(month: Month) -> String {
    format!("rows-{month}")
}

/// The month whose keyspace has this name, if it is one.
pub(super) fn month_of_name(name: &str) -> Option<Month> {
    Month::parse(name.strip_prefix("rows-")?)
}

/// Where a scan goes on after the record whose first row lies in `place` under `key`:
///
/// ```text
/// 0 (u8), year (i16), month (i8), or 1 (u8) for future | key
/// ```
pub(super) fn cursor(place: Place, key: &[u8]) -> ScanCursor {
    let mut bytes = Vec::with_capacity(4 + key.len());
    match place {
        Place::Month(month) => {
            bytes.push(0);
            bytes.extend_from_slice(&month.year.to_be_bytes());
            bytes.extend_from_slice(&month.month.to_be_bytes());
        }
        Place::Future => bytes.push(1),
    }
    bytes.extend_from_slice(key);
    ScanCursor(bytes)
}

/// Reads what [`cursor`] wrote.
///
/// # Errors
/// [`IndexError::Damaged`] if it did not.
pub(super) fn parse_cursor(cursor: &ScanCursor) -> Result<(Place, &[u8]), IndexError> {
    let bytes = cursor.0.as_slice();
    let (place, key) = match bytes {
        [0, year_high, year_low, month, key @ ..] => {
            let year = i16::from_be_bytes([*year_high, *year_low]);
            let month = i8::from_be_bytes([*month]);
            (Place::Month(Month { year, month }), key)
        }
        [1, key @ ..] => (Place::Future, key),
        _ => return Err(damaged("cursor", bytes)),
    };
    match moment_of(key)? {
        Some(_) => Ok((place, key)),
        None => Err(damaged("cursor", bytes)),
    }
}

/// What the row `applied` of `meta`, or another number there, says.
///
/// # Errors
/// [`IndexError::Damaged`] if it has not the bytes of one.
pub(super) fn number_of<const N: usize>(name: &str, value: &[u8]) -> Result<[u8; N], IndexError> {
    value
        .try_into()
        .map_err(|_| IndexError::Damaged(format!("{name} of {} bytes", value.len())))
}

fn decode(bytes: &[u8]) -> Result<Record, IndexError> {
    decode_record(bytes).map_err(|error| IndexError::Damaged(error.to_string()))
}

/// What stands behind the vehicle and its 0.
fn tail_of(key: &[u8]) -> Result<&[u8], IndexError> {
    memchr::memchr(0, key)
        .and_then(|end| key.get(end + 1..))
        .ok_or_else(|| damaged("key", key))
}

fn u64_of(bytes: &[u8]) -> Result<u64, IndexError> {
    Ok(u64::from_be_bytes(number_of("part of a key", bytes)?))
}

const fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Position => 0,
        Kind::Event => 1,
    }
}

fn kind_of(byte: u8) -> Result<Kind, IndexError> {
    match byte {
        0 => Ok(Kind::Position),
        1 => Ok(Kind::Event),
        _ => Err(IndexError::Damaged(format!("record kind {byte} in a key"))),
    }
}

const fn flip(time: UnixMillis) -> u64 {
    time.0.cast_unsigned() ^ (1 << 63)
}

const fn unflip(bits: u64) -> UnixMillis {
    UnixMillis((bits ^ (1 << 63)).cast_signed())
}

fn damaged(what: &str, bytes: &[u8]) -> IndexError {
    IndexError::Damaged(format!("{what} {}", bytes.escape_ascii()))
}
