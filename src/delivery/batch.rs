//! Records on their way, already in the bytes that the log keeps and a link carries.
//!
//! Made once, on the thread that decoded the lines, so that a thread behind it copies bytes and
//! looks at heads, where it would otherwise read and drop records of two hundred bytes and more. In
//! `load-test bench --without-index --load flood100` that took the whole path from 0.80 to 0.66 µs a
//! line.
//!
//! The bytes are those of [`push_record`](super::group::push_record), one record behind the other.

use super::{
    frame::{RecordError, decode_record, encode_with_place},
    group::{LENGTH_BYTES, push_with},
};
use crate::types::{
    ids::VehicleId,
    record::{Flags, Kind, Record},
    time::UnixMillis,
};

/// Bytes of a record as most are: a guess at how many a batch has, so that it seldom grows.
const RECORD_BYTES_USUAL: usize = 64;

/// What decisions about a record are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Its kind.
    pub kind: Kind,
    /// What is known about how it came.
    pub flags: Flags,
    /// Time of its key.
    pub time: UnixMillis,
    /// Hash of its key.
    pub hash: u64,
    /// When its line was read.
    pub received: UnixMillis,
}

impl RecordHead {
    /// The head of `record`.
    pub const fn of(record: &Record) -> Self {
        Self {
            kind: record.kind(),
            flags: record.flags,
            time: record.key.time,
            hash: record.key.hash,
            received: record.received,
        }
    }
}

/// Records in their order, encoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Placed>,
    /// The vehicles of the entries; one for each run of entries with the same one.
    vehicles: Vec<VehicleId>,
    n_positions: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Placed {
    head: RecordHead,
    /// Of [`Batch::vehicles`].
    vehicle_idx: u32,
    /// Where its bytes end.
    end: u32,
    /// Where its flags stand in the bytes.
    flags_at: u32,
}

/// One record of a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Whose it is.
    pub vehicle: &'a VehicleId,
    /// What decisions are made by.
    pub head: RecordHead,
    /// Its bytes, with their length before them.
    bytes: &'a [u8],
    flags_at: usize,
}

impl Batch {
    /// An empty batch that takes about `n_records` without growing.
    fn with_room(n_records: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(n_records * RECORD_BYTES_USUAL),
            entries: Vec::with_capacity(n_records),
            ..Self::default()
        }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If the batch grows over 4 GiB: what is read from a socket at once is far less.
    pub fn push(&mut self, record: &Record) {
        if self.vehicles.last() != Some(&record.key.vehicle) {
            self.vehicles.push(record.key.vehicle.clone());
        }
        let mut flags_at = 0;
        push_with(&mut self.bytes, |bytes| {
            flags_at = encode_with_place(record, bytes);
        });
        let short = |place: usize| u32::try_from(place).expect("a batch is shorter than 4 GiB");
        self.n_positions += usize::from(record.kind() == Kind::Position);
        self.entries.push(Placed {
            head: RecordHead::of(record),
            vehicle_idx: short(self.vehicles.len() - 1),
            end: short(self.bytes.len()),
            flags_at: short(flags_at),
        });
    }

    /// The records in their order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut start = 0;
        self.entries.iter().filter_map(move |placed| {
            let range = start..placed.end as usize;
            start = range.end;
            Some(Entry {
                vehicle: self.vehicles.get(placed.vehicle_idx as usize)?,
                head: placed.head,
                flags_at: placed.flags_at as usize - range.start,
                bytes: self.bytes.get(range)?,
            })
        })
    }

    /// Number of records.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of records that are positions.
    pub const fn n_positions(&self) -> usize {
        self.n_positions
    }
}

impl<R: AsRef<[Record]>> From<R> for Batch {
    fn from(records: R) -> Self {
        let mut batch = Self::with_room(records.as_ref().len());
        records
            .as_ref()
            .iter()
            .for_each(|record| batch.push(record));
        batch
    }
}

impl<'a> Entry<'a> {
    /// Its bytes with their length before them, as they are pushed to a group.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where in [`Entry::bytes`] the byte of the flags stands.
    pub const fn flags_at(&self) -> usize {
        self.flags_at
    }

    /// The whole record.
    ///
    /// # Errors
    /// None for a batch that was made from records.
    pub fn to_record(&self) -> Result<Record, RecordError> {
        decode_record(self.bytes.get(LENGTH_BYTES..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        attributes::Attributes,
        record::{Body, Fix, RecordKey},
    };

    fn record(vehicle: &str, millis: i64, body: Body) -> Record {
        Record {
            key: RecordKey {
                vehicle: VehicleId::parse(vehicle.as_bytes()).unwrap(),
                time: UnixMillis(millis),
                hash: 7,
            },
            received: UnixMillis(9),
            protocol: "toy".into(),
            flags: Flags::ARCHIVED,
            code: "SOS".into(),
            attributes: Attributes::new(),
            raw: None,
            body,
        }
    }

    fn records() -> [Record; 4] {
        let fix = Body::Position(Fix::default());
        [
            record("a", 1, fix.clone()),
            record("a", -2, Body::Event),
            record("a longer name than others", 3, fix.clone()),
            record("a", i64::MAX, fix),
        ]
    }

    #[test]
    fn a_batch_gives_back_the_records_it_was_made_of() {
        let records = records();
        let batch = Batch::from(&records);
        assert_eq!((batch.len(), batch.n_positions()), (4, 3));
        for (entry, record) in batch.iter().zip(&records) {
            assert_eq!(entry.to_record().as_ref(), Ok(record));
            assert_eq!(entry.vehicle, &record.key.vehicle);
            assert_eq!(entry.head, RecordHead::of(record));
        }
        assert_eq!(batch.iter().count(), 4);
        assert_eq!(batch.vehicles.len(), 3);
    }

    #[test]
    fn the_flags_of_an_entry_can_be_changed_in_its_bytes() {
        for (entry, record) in Batch::from(&records()).iter().zip(records()) {
            let mut bytes = entry.bytes().to_vec();
            assert_eq!(bytes[entry.flags_at()], Flags::ARCHIVED.0);
            bytes[entry.flags_at()] = Flags::LATE.0;
            let changed = Record {
                flags: Flags::LATE,
                ..record
            };
            assert_eq!(decode_record(&bytes[LENGTH_BYTES..]), Ok(changed));
        }
    }
}
