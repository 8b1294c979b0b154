//! Records on their way, already in the bytes that the log keeps and a link carries.
//!
//! Made once, on the thread that decoded the lines; a thread behind it copies bytes and looks at
//! their heads, where it would otherwise fetch and drop records of two hundred bytes each from the
//! other processor. In `load-test bench --without-index --load flood100` that took a tenth off the
//! whole path (0.90 to 0.81 µs a line).
//!
//! The bytes are those of [`push_record`](super::group::push_record), one record behind the other.

use bytes::Buf as _;

use super::{
    frame::{FLAGS_AT, RecordError, RecordHead, decode_record, encode_record, peek_head},
    group::{LENGTH_BYTES, push_with},
};
use crate::types::{
    ids::VehicleId,
    record::{Flags, Kind, Record},
};

/// Bytes of a record as most are: a guess at how many a batch has, so that it seldom grows.
const RECORD_BYTES_USUAL: usize = 96;

/// Records in their order, encoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The vehicles, each with the number of its records that stand behind each other.
    runs: Vec<(VehicleId, usize)>,
    n_positions: usize,
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
}

impl Batch {
    /// Adds a record.
    ///
    /// # Panics
    /// As [`encode_record`].
    pub fn push(&mut self, record: &Record) {
        self.note(record);
        push_with(&mut self.bytes, |bytes| encode_record(record, bytes));
    }

    /// The records in their order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.bytes.as_slice();
        let vehicles = self.runs.iter();
        vehicles
            .flat_map(|(vehicle, n_records)| std::iter::repeat_n(vehicle, *n_records))
            .map_while(move |vehicle| {
                let n_bytes = LENGTH_BYTES + (&*rest).try_get_u32_le().ok()? as usize;
                let (bytes, behind) = rest.split_at_checked(n_bytes)?;
                rest = behind;
                Some(Entry {
                    vehicle,
                    head: peek_head(bytes.get(LENGTH_BYTES..)?)?,
                    bytes,
                })
            })
    }

    /// Reads the bytes of a batch as a link brought them, and makes sure that each record can be
    /// read.
    ///
    /// # Errors
    /// [`RecordError`]: the bytes are cut, altered, or of a later version.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut batch = Self {
            bytes: bytes.to_vec(),
            ..Self::default()
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let cut = || RecordError::Damaged("cut".to_owned());
            let n_bytes = rest.try_get_u32_le().map_err(|_| cut())? as usize;
            let (record, behind) = rest.split_at_checked(n_bytes).ok_or_else(cut)?;
            // What cannot be told by its head is of a layout that is not written any more.
            peek_head(record).ok_or_else(cut)?;
            batch.note(&decode_record(record)?);
            rest = behind;
        }
        Ok(batch)
    }

    /// Adds the records of another batch behind its own.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.runs.extend_from_slice(&other.runs);
        self.n_positions += other.n_positions;
    }

    /// The records as [`read`](Self::read) takes them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The vehicle of the first record; none if there is no record.
    pub fn vehicle(&self) -> Option<&VehicleId> {
        self.runs.first().map(|(vehicle, _)| vehicle)
    }

    /// Number of records.
    pub fn n_records(&self) -> usize {
        self.runs.iter().map(|(_, n_records)| n_records).sum()
    }

    /// Number of records that are positions.
    pub const fn n_positions(&self) -> usize {
        self.n_positions
    }

    fn note(&mut self, record: &Record) {
        match self.runs.last_mut() {
            Some((vehicle, n_records)) if *vehicle == record.key.vehicle => *n_records += 1,
            _ => self.runs.push((record.key.vehicle.clone(), 1)),
        }
        self.n_positions += usize::from(record.kind() == Kind::Position);
    }
}

impl<R: AsRef<[Record]>> From<R> for Batch {
    fn from(records: R) -> Self {
        let records = records.as_ref();
        let mut batch = Self {
            bytes: Vec::with_capacity(records.len() * RECORD_BYTES_USUAL),
            // Nearly always of one vehicle.
            runs: Vec::with_capacity(records.len().min(1)),
            n_positions: 0,
        };
        records.iter().for_each(|record| batch.push(record));
        batch
    }
}

impl Entry<'_> {
    /// Appends its bytes, with their length before them and `flags` in the place of its own.
    pub fn append_to(&self, bytes: &mut Vec<u8>, flags: Flags) {
        let start = bytes.len();
        bytes.extend_from_slice(self.bytes);
        if let Some(place) = bytes.get_mut(start + LENGTH_BYTES + FLAGS_AT) {
            *place = flags.0;
        }
    }

    /// Number of bytes that [`Entry::append_to`] appends.
    pub const fn n_bytes(&self) -> usize {
        self.bytes.len()
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
        time::UnixMillis,
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
        assert_eq!(batch.n_positions(), 3);
        for (entry, record) in batch.iter().zip(&records) {
            assert_eq!(entry.to_record().as_ref(), Ok(record));
            assert_eq!(entry.vehicle, &record.key.vehicle);
            assert_eq!(entry.head, RecordHead::of(record));
        }
        assert_eq!(batch.iter().count(), 4);
        assert_eq!(batch.runs.len(), 3);
    }

    #[test]
    fn the_flags_of_an_entry_can_be_changed_in_its_bytes() {
        for (entry, record) in Batch::from(&records()).iter().zip(records()) {
            let mut bytes = vec![9; 3];
            entry.append_to(&mut bytes, Flags::LATE);
            assert_eq!(bytes.len(), 3 + entry.n_bytes());
            let changed = Record {
                flags: Flags::LATE,
                ..record
            };
            assert_eq!(decode_record(&bytes[3 + LENGTH_BYTES..]), Ok(changed));
        }
    }

    #[test]
    fn a_batch_reads_back_from_its_bytes_and_rubbish_does_not() {
        let records = records();
        let mut batch = Batch::from(&records[..2]);
        batch.append(&Batch::from(&records[2..]));
        assert_eq!(batch.n_records(), 4);
        assert_eq!(batch.vehicle().unwrap().as_str(), "a");
        let read = Batch::read(batch.as_bytes()).unwrap();
        assert_eq!(read.bytes, Batch::from(&records).bytes);
        assert_eq!(read.n_positions(), 3);
        let n_bytes = batch.bytes.len();
        for end in 1..n_bytes {
            let read = Batch::read(&batch.bytes[..end]);
            assert!(read.is_err() || read.unwrap().n_records() < 4, "{end}");
        }
        for at in 0..n_bytes {
            let mut bytes = batch.bytes.clone();
            bytes[at] ^= 0x55;
            if let Ok(read) = Batch::read(&bytes) {
                assert_eq!(read.iter().count(), read.n_records());
                assert!(read.iter().all(|entry| entry.to_record().is_ok()));
            }
        }
    }
}
