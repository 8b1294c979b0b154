//! Byte layout of the rows of the index, version 2. Pure: it must not know a database.
//!
//! All integers are big-endian, so that bytes and values have one order. Keyspaces:
//!
//! ```text
//! rows-YYYY-MM  records whose time lies in that month of UTC, of both kinds
//! future        records with Flags::FUTURE, of both kinds, whatever their time
//! last          the last position of each vehicle
//! meta          layout -> version of this layout (u32), applied -> log offset (u64),
//!               age -> see store::index::age_row
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
//! one or several records:         2 (u8) | block (store::index::block)
//! ```
//!
//! In `last` a block has one record, and in `future` there is none. In a month it stands under the key
//! of its last record. Blocks of one vehicle and kind do not overlap,
//! so the first row whose key is not less than that of a record is the only one it can be in.
//!
//! Key and value of a row have at most [`ROW_BYTES_MAX`] bytes together; a piece fills its row. A
//! further row beyond the number that the first one says is left over from an earlier, longer
//! record of the same key, and not read.

use crate::{
    delivery::frame::{decode_record, encode_record},
    store::index::{IndexError, ScanCursor, block::BlockReader},
    types::{
        ids::VehicleId,
        record::{Kind, Record, RecordKey},
        time::{Month, UnixMillis},
    },
};

/// Version of the layout that is written.
pub(super) const LAYOUT: u32 = 2;

/// Most bytes of key and value of one row. The database can lose a page inside a larger value at a
/// power cut and then does not open.
pub(super) const ROW_BYTES_MAX: usize = 512;

/// Bytes behind the 0 in the key of a record's first row: kind, time and hash.
const RECORD_TAIL_BYTES: usize = 17;
/// Bytes of a row's number at the end of its key.
const NUMBER_BYTES: usize = 4;

/// Begins the value of a row with a whole record; and one that is still to be cut.
pub(super) const WHOLE: u8 = 0;
const CUT: u8 = 1;
/// Begins the value of a row with several records.
pub(super) const BLOCK: u8 = 2;

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

/// Most bytes of the value of a row of a vehicle in a month, if it is not to be cut.
pub(super) fn value_bytes_max(vehicle: &VehicleId) -> usize {
    ROW_BYTES_MAX - vehicle.as_str().len() - 1 - RECORD_TAIL_BYTES
}

/// The vehicle of a key.
///
/// # Errors
/// [`IndexError::Damaged`] if it is no key of this layout.
pub(super) fn vehicle_of(key: &[u8]) -> Result<VehicleId, IndexError> {
    let id = key.split(|byte| *byte == 0).next().unwrap_or_default();
    VehicleId::parse(id).map_err(|_| damaged("key", key))
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

    /// Hands the rows of a value with one record for `last` to `emit`, key and value.
    pub(super) fn last(
        &mut self,
        vehicle: &VehicleId,
        value: &[u8],
        emit: impl FnMut(&[u8], &[u8]),
    ) {
        self.key.clear();
        put_vehicle(vehicle, &mut self.key);
        self.cut(value, emit);
    }

    /// Hands the rows of a value that stands under the record of `vehicle` at `moment` to `emit`, key
    /// and value: a block, or a whole record of any size.
    pub(super) fn value(
        &mut self,
        (vehicle, moment): (&VehicleId, Moment),
        value: &[u8],
        emit: impl FnMut(&[u8], &[u8]),
    ) {
        self.key.clear();
        put_record_key(vehicle, moment, &mut self.key);
        self.cut(value, emit);
    }

    fn rows(&mut self, record: &Record, emit: impl FnMut(&[u8], &[u8])) {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        put_whole(record, &mut value);
        self.cut(&value, emit);
        self.value = value;
    }

    fn cut(&self, value: &[u8], mut emit: impl FnMut(&[u8], &[u8])) {
        if self.key.len() + value.len() <= ROW_BYTES_MAX {
            emit(&self.key, value);
            return;
        }
        let piece_bytes = ROW_BYTES_MAX - NUMBER_BYTES - self.key.len();
        let bytes = value.get(1..).unwrap_or_default();
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

/// Appends the value of a whole record, of any size.
pub(super) fn put_whole(record: &Record, value: &mut Vec<u8>) {
    value.push(WHOLE);
    encode_record(record, value);
}

/// The value of a first row.
#[derive(Debug, Clone)]
pub(super) enum RowValue<'a> {
    /// One record, or its first piece.
    Record(FirstRow<'a>),
    /// Several records.
    Block(BlockReader<'a>),
}

impl<'a> RowValue<'a> {
    /// Reads the value of a first row.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if it is no value of this layout.
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, IndexError> {
        match value {
            [BLOCK, block @ ..] => Ok(Self::Block(BlockReader::new(block))),
            _ => FirstRow::parse(value).map(Self::Record),
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

/// Where a scan goes on after the record whose first row has `key`: that key.
pub(super) fn cursor(key: &[u8]) -> ScanCursor {
    ScanCursor(key.to_vec())
}

/// Reads what [`cursor`] wrote: the key, and its moment.
///
/// # Errors
/// [`IndexError::Damaged`] if it did not.
pub(super) fn parse_cursor(cursor: &ScanCursor) -> Result<(&[u8], Moment), IndexError> {
    let key = cursor.0.as_slice();
    vehicle_of(key)?;
    match moment_of(key)? {
        Some(moment) => Ok((key, moment)),
        None => Err(damaged("cursor", key)),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::types::{
        attributes::{Attributes, Value},
        record::{Body, Fix, Flags},
    };

    fn any_vehicle() -> impl Strategy<Value = VehicleId> {
        prop_oneof!["[12]{1,3}", "[ -~]{1,64}", "[12é\u{ff}\u{1f68c}]{1,4}"]
            .prop_map(|text| VehicleId::parse(text.as_bytes()).unwrap())
    }

    fn any_moment() -> impl Strategy<Value = Moment> {
        let kind = prop_oneof![Just(Kind::Position), Just(Kind::Event)];
        let time = prop_oneof![any::<i64>(), -2_i64..2];
        let hash = prop_oneof![any::<u64>(), 0_u64..2];
        (kind, time, hash).prop_map(|(kind, time, hash)| Moment {
            kind,
            time: UnixMillis(time),
            hash,
        })
    }

    fn record_of(vehicle: VehicleId, moment: Moment, raw_bytes: usize) -> Record {
        let mut attributes = Attributes::new();
        attributes.insert("text", Value::Text("x".repeat(raw_bytes / 3).into()));
        Record {
            key: RecordKey {
                vehicle,
                time: moment.time,
                hash: moment.hash,
            },
            received: UnixMillis(0),
            protocol: "nmea".into(),
            flags: Flags::default(),
            code: "".into(),
            attributes,
            raw: (raw_bytes > 0).then(|| Bytes::from(vec![7; raw_bytes])),
            body: match moment.kind {
                Kind::Position => Body::Position(Fix::default()),
                Kind::Event => Body::Event,
            },
        }
    }

    fn rows_of(record: &Record) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let mut writer = RowWriter::default();
        writer.record(record, |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
        });
        rows
    }

    proptest! {
        #[test]
        fn keys_have_the_order_of_what_they_say(
            one in (any_vehicle(), any_moment()),
            other in (any_vehicle(), any_moment()),
        ) {
            let key = |(vehicle, moment): &(VehicleId, Moment)| {
                let mut key = Vec::new();
                put_record_key(vehicle, *moment, &mut key);
                key
            };
            prop_assert_eq!(key(&one).cmp(&key(&other)), one.cmp(&other));
            prop_assert_eq!(moment_of(&key(&one)).unwrap(), Some(one.1));
            prop_assert_eq!(last_key(&one.0).cmp(&last_key(&other.0)), one.0.cmp(&other.0));
            if one < other {
                prop_assert!(after_record(&key(&one)) < key(&other));
            }
            if one.0 < other.0 {
                prop_assert!(after_vehicle(&one.0) < last_key(&other.0));
                prop_assert!(after_kind(&one.0, Kind::Event) < key(&other));
            }
        }

        #[test]
        fn a_record_of_any_size_reads_back_from_rows_of_bounded_size(
            vehicle in any_vehicle(),
            moment in any_moment(),
            raw_bytes in prop_oneof![0_usize..700, 0_usize..70_000],
        ) {
            let record = record_of(vehicle, moment, raw_bytes);
            let rows = rows_of(&record);
            prop_assert!(rows.is_sorted_by(|one, other| one.0 < other.0));
            let end = after_record(&rows[0].0);
            for (key, value) in &rows {
                prop_assert!(key.len() + value.len() <= ROW_BYTES_MAX);
                prop_assert!(key < &end);
                prop_assert!(key == &rows[0].0 || moment_of(key).unwrap().is_none());
            }
            let first = FirstRow::parse(&rows[0].1).unwrap();
            prop_assert_eq!(first.n_further as usize, rows.len() - 1);
            let read = first.assemble(|number| {
                let (key, piece) = &rows[number as usize];
                assert_eq!(key, &further_key(&rows[0].0, number));
                Ok(piece)
            });
            prop_assert_eq!(read.unwrap(), record);
        }

        #[test]
        fn a_cursor_reads_back(vehicle in any_vehicle(), moment in any_moment()) {
            let mut key = Vec::new();
            put_record_key(&vehicle, moment, &mut key);
            let cursor = cursor(&key);
            prop_assert_eq!(parse_cursor(&cursor).unwrap(), (key.as_slice(), moment));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let key = moment_of(&bytes);
            prop_assert!(key.is_ok() || matches!(key, Err(IndexError::Damaged(_))));
            let cursor = parse_cursor(&ScanCursor(bytes.clone())).map(|_| ());
            prop_assert!(cursor.is_ok() || matches!(cursor, Err(IndexError::Damaged(_))));
            if let Ok(first) = FirstRow::parse(&bytes) {
                let none = |number: u32| Err::<Vec<u8>, _>(damaged(&number.to_string(), &[]));
                prop_assert!(first.assemble(none).is_err());
            }
        }
    }

    #[test]
    fn the_layout_is_frozen() {
        let vehicle = VehicleId::parse(b"12").unwrap();
        let moment = Moment {
            kind: Kind::Event,
            time: UnixMillis(-2),
            hash: 0x0102,
        };
        let rows = rows_of(&record_of(vehicle, moment, 1_000));
        let key = b"12\0\x01\x7f\xff\xff\xff\xff\xff\xff\xfe\0\0\0\0\0\0\x01\x02";
        assert_eq!(rows[0].0, key);
        assert_eq!(rows[1].0, [key.as_slice(), &[0, 0, 0, 1]].concat());
        assert_eq!(&rows[0].1[..8], [1, 0, 0, 0, 2, 2, 1, 1]);
        let sizes: Vec<_> = rows
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .collect();
        assert_eq!(sizes[..2], [512, 512]);
        assert_eq!(
            Month::parse("2026-11").map(month_name).unwrap(),
            "rows-2026-11"
        );
        assert_eq!(month_of_name("rows-2026-11"), Month::parse("2026-11"));
        assert_eq!(month_of_name("future"), None);
    }
}
