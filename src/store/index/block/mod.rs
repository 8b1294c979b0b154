//! Byte layout of a block: records of one vehicle and kind that follow each other, each as what
//! differs from the one before. Pure: it must not know a database, nor whose records they are.
//!
//! ```text
//! block:  records, to the end of the block, in the order of (time, hash)
//! record: what changed (two bytes, see below) | time minus that of the one before (varint)
//!         | hash (u64) | what changed, in the order of its bits
//!
//! bit 0   protocol (text)
//!     1   flags (u8)
//!     2   code (text)
//!     3   attributes (bytes; see below)
//!     4   raw (bytes); it is there where the bit is set, and not taken over from the one before
//!     5   received minus time (signed varint, minus that of the one before)
//!     6   shape (u8): bit 0 valid; 1 to 5: speed, course, altitude, satellites, dilution are there
//!     8.. latitude, longitude, speed, course, altitude, satellites, dilution
//!         (signed varint each, minus the one that was written last)
//!
//! attributes: each a name (text) and 0 false, 1 true, 2 integer (signed varint),
//!             3 float (its eight bytes) or 4 text
//! text, bytes: length (varint) | bytes
//! ```
//!
//! Before the first record all is 0 or empty. Varints have seven bits a byte, the lowest first;
//! signed ones are zigzag. Differences wrap around. Integers of fixed length are little-endian.

mod varint;

use bytes::Bytes;

use self::varint::{put_signed, put_varint, take_array, take_bytes, take_signed, take_varint};
use crate::types::{
    attributes::{Attributes, Value},
    ids::VehicleId,
    number::{Degrees, Milli},
    record::{Body, Fix, Flags, Kind, Record, RecordKey},
    time::UnixMillis,
};

/// Time and hash of a record: its place among those of its vehicle and kind.
pub(super) type Spot = (UnixMillis, u64);

/// The spot of a record.
pub(super) const fn spot_of(record: &Record) -> Spot {
    (record.key.time, record.key.hash)
}

/// Most bytes of a head and a block.
const BLOCK_BYTES_MAX: usize = u16::MAX as usize;

/// A record like the one before takes about as much.
const FEW_BYTES: usize = 24;

/// As much room for more records is taken at once, which most first ones fit into.
const SOME_BYTES: usize = 64;

const PROTOCOL: u16 = 1;
const FLAGS: u16 = 1 << 1;
const CODE: u16 = 1 << 2;
const ATTRIBUTES: u16 = 1 << 3;
const RAW: u16 = 1 << 4;
const AGE: u16 = 1 << 5;
const SHAPE: u16 = 1 << 6;
const FIRST_NUMBER: u16 = 1 << 8;
const N_NUMBERS: usize = 7;

/// The fields of a record of fixed size.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    time: i64,
    hash: u64,
    age: i64,
    flags: u8,
    shape: u8,
    of_fix: [i32; N_NUMBERS],
}

/// The fields of a record as they are written.
#[derive(Debug, Clone, Copy, Default)]
struct Fields<'a> {
    numbers: Numbers,
    protocol: &'a [u8],
    code: &'a [u8],
    attributes: &'a [u8],
    raw: Option<&'a [u8]>,
}

impl Numbers {
    /// Those of `record`; what it has not is taken from `self`, so that it costs nothing.
    fn next(mut self, record: &Record) -> Self {
        self.time = record.key.time.0;
        self.hash = record.key.hash;
        self.age = record.received.0.wrapping_sub(record.key.time.0);
        self.flags = record.flags.0;
        if let Some(fix) = record.fix() {
            self.set_fix(fix);
        }
        self
    }

    fn set_fix(&mut self, fix: &Fix) {
        let milli = |number: Option<Milli>| number.map(Milli::as_thousandths);
        let optional = [
            milli(fix.speed_kmh),
            milli(fix.course_deg),
            milli(fix.altitude_m),
            fix.satellites.map(i32::from),
            milli(fix.hdop),
        ];
        let [latitude, longitude, rest @ ..] = &mut self.of_fix;
        *latitude = fix.latitude.as_e7();
        *longitude = fix.longitude.as_e7();
        self.shape = u8::from(fix.valid);
        for (idx, (number, present)) in rest.iter_mut().zip(optional).enumerate() {
            if let Some(present) = present {
                *number = present;
                self.shape |= 2 << idx;
            }
        }
    }

    fn fix(&self) -> Option<Fix> {
        let [
            latitude,
            longitude,
            speed,
            course,
            altitude,
            satellites,
            hdop,
        ] = self.of_fix;
        let present = |bit: u8, number: i32| (self.shape & (2 << bit) != 0).then_some(number);
        let milli = |bit, number| present(bit, number).map(Milli::from_thousandths);
        let satellites = match present(3, satellites) {
            Some(number) => Some(u8::try_from(number).ok()?),
            None => None,
        };
        Some(Fix {
            latitude: Degrees::from_e7(latitude),
            longitude: Degrees::from_e7(longitude),
            valid: self.shape & 1 != 0,
            speed_kmh: milli(0, speed),
            course_deg: milli(1, course),
            altitude_m: milli(2, altitude),
            satellites,
            hdop: milli(4, hdop),
        })
    }
}

impl Fields<'_> {
    fn changes_since(&self, before: &Fields<'_>) -> u16 {
        let bit = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        let (now, then) = (&self.numbers, &before.numbers);
        let mut changes = bit(self.protocol != before.protocol, PROTOCOL)
            | bit(now.flags != then.flags, FLAGS)
            | bit(self.code != before.code, CODE)
            | bit(self.attributes != before.attributes, ATTRIBUTES)
            | bit(self.raw.is_some(), RAW)
            | bit(now.age != then.age, AGE)
            | bit(now.shape != then.shape, SHAPE);
        for (idx, (now, then)) in now.of_fix.iter().zip(then.of_fix).enumerate() {
            changes |= bit(*now != then, FIRST_NUMBER << idx);
        }
        changes
    }
}

/// Where the texts of the last record stand in a block.
#[derive(Debug, Clone, Copy, Default)]
struct Texts {
    protocol: Place,
    code: Place,
    attributes: Place,
}

/// Start and length: of each vehicle that waits to be written one block is in memory.
#[derive(Debug, Clone, Copy, Default)]
struct Place(u16, u16);

impl Place {
    /// The end of `bytes`, from `start` on; of a block that is too long, and is not kept, any.
    fn behind(start: usize, bytes: &[u8]) -> Self {
        let short = |number: usize| u16::try_from(number).unwrap_or_default();
        Self(short(start), short(bytes.len() - start))
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        let (start, n_bytes) = (usize::from(self.0), usize::from(self.1));
        bytes.get(start..start + n_bytes).unwrap_or_default()
    }
}

/// A block that grows, behind a head of the caller's.
#[derive(Debug, Default)]
pub(super) struct BlockWriter {
    bytes: Vec<u8>,
    numbers: Numbers,
    texts: Texts,
}

impl BlockWriter {
    /// Begins anew with `head`, in the memory of the block before.
    pub(super) fn begin(&mut self, head: u8) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.push(head);
        *self = Self {
            bytes,
            ..Self::default()
        };
    }

    /// The head and the block.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Spot of the last record, if there is one.
    pub(super) fn last(&self) -> Option<Spot> {
        let last = (UnixMillis(self.numbers.time), self.numbers.hash);
        (self.bytes.len() > 1).then_some(last)
    }

    /// Spots of the first and the last record, if there is one.
    pub(super) fn ends(&self) -> Option<(Spot, Spot)> {
        let (_, block) = self.bytes.split_first()?;
        let first = BlockReader::new(block).next()??.spot();
        self.last().map(|last| (first, last))
    }

    /// Adds a record that is behind all others, unless head and block would have more than
    /// `bytes_max` with it, or [`BLOCK_BYTES_MAX`]. `scratch` is any list of bytes.
    pub(super) fn push(
        &mut self,
        record: &Record,
        bytes_max: usize,
        scratch: &mut Vec<u8>,
    ) -> bool {
        let bytes_max = bytes_max.min(BLOCK_BYTES_MAX);
        scratch.clear();
        put_attributes(&record.attributes, scratch);
        // One that is too large would leave its room behind.
        let n_raw_bytes = record.raw.as_ref().map_or(0, Bytes::len);
        if n_raw_bytes.max(scratch.len()).max(record.code.len()) > bytes_max {
            return false;
        }
        let before = self.fields();
        let numbers = self.numbers.next(record);
        let fields = Fields {
            numbers,
            protocol: record.protocol.as_bytes(),
            code: record.code.as_bytes(),
            attributes: scratch,
            raw: record.raw.as_deref(),
        };
        let changes = fields.changes_since(&before);
        let start = self.bytes.len();
        if self.bytes.capacity() - start < FEW_BYTES {
            self.bytes.reserve_exact(SOME_BYTES);
        }
        let mut texts = self.texts;
        put_record(&fields, changes, self.numbers, &mut texts, &mut self.bytes);
        if self.bytes.len() > bytes_max {
            self.bytes.truncate(start);
            return false;
        }
        self.numbers = numbers;
        self.texts = texts;
        true
    }

    fn fields(&self) -> Fields<'_> {
        Fields {
            numbers: self.numbers,
            protocol: self.texts.protocol.of(&self.bytes),
            code: self.texts.code.of(&self.bytes),
            attributes: self.texts.attributes.of(&self.bytes),
            raw: None,
        }
    }
}

fn put_record(
    fields: &Fields<'_>,
    changes: u16,
    before: Numbers,
    texts: &mut Texts,
    bytes: &mut Vec<u8>,
) {
    let numbers = &fields.numbers;
    bytes.extend_from_slice(&changes.to_le_bytes());
    put_varint(
        numbers.time.wrapping_sub(before.time).cast_unsigned(),
        bytes,
    );
    bytes.extend_from_slice(&numbers.hash.to_le_bytes());
    if changes & PROTOCOL != 0 {
        texts.protocol = put_bytes(fields.protocol, bytes);
    }
    if changes & FLAGS != 0 {
        bytes.push(numbers.flags);
    }
    if changes & CODE != 0 {
        texts.code = put_bytes(fields.code, bytes);
    }
    if changes & ATTRIBUTES != 0 {
        texts.attributes = put_bytes(fields.attributes, bytes);
    }
    if let Some(raw) = fields.raw {
        put_bytes(raw, bytes);
    }
    if changes & AGE != 0 {
        put_signed(numbers.age.wrapping_sub(before.age), bytes);
    }
    if changes & SHAPE != 0 {
        bytes.push(numbers.shape);
    }
    for (now, then) in numbers.of_fix.into_iter().zip(before.of_fix) {
        if now != then {
            put_signed(i64::from(now.wrapping_sub(then)), bytes);
        }
    }
}

/// The records of a block, without its head, in order. Ends at the first one that is damaged,
/// which gives `None` inside.
#[derive(Debug, Clone)]
pub(super) struct BlockReader<'a> {
    rest: &'a [u8],
    fields: Fields<'a>,
}

/// One record of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a>(Fields<'a>);

impl<'a> BlockReader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self {
            rest: block,
            fields: Fields::default(),
        }
    }

    fn advance(&mut self) -> Option<()> {
        let (rest, fields) = (&mut self.rest, &mut self.fields);
        let numbers = &mut fields.numbers;
        let changes = u16::from_le_bytes(take_array(rest)?);
        let after = take_varint(rest)?.cast_signed();
        numbers.time = numbers.time.wrapping_add(after);
        numbers.hash = u64::from_le_bytes(take_array(rest)?);
        if changes & PROTOCOL != 0 {
            fields.protocol = take_bytes(rest)?;
        }
        if changes & FLAGS != 0 {
            numbers.flags = *rest.split_off_first()?;
        }
        if changes & CODE != 0 {
            fields.code = take_bytes(rest)?;
        }
        if changes & ATTRIBUTES != 0 {
            fields.attributes = take_bytes(rest)?;
        }
        fields.raw = match changes & RAW {
            0 => None,
            _ => Some(take_bytes(rest)?),
        };
        if changes & AGE != 0 {
            numbers.age = numbers.age.wrapping_add(take_signed(rest)?);
        }
        if changes & SHAPE != 0 {
            numbers.shape = *rest.split_off_first()?;
        }
        for (idx, number) in numbers.of_fix.iter_mut().enumerate() {
            if changes & (FIRST_NUMBER << idx) != 0 {
                // Cut to its own width, as it was when it was written.
                *number = number.wrapping_add(take_signed(rest)? as i32);
            }
        }
        Some(())
    }
}

impl<'a> Iterator for BlockReader<'a> {
    type Item = Option<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.advance().map(|()| Entry(self.fields));
        if read.is_none() {
            self.rest = &[];
        }
        Some(read)
    }
}

impl Entry<'_> {
    pub(super) const fn spot(&self) -> Spot {
        let Numbers { time, hash, .. } = self.0.numbers;
        (UnixMillis(time), hash)
    }

    /// The record, if the bytes are those of one.
    pub(super) fn to_record(self, vehicle: &VehicleId, kind: Kind) -> Option<Record> {
        let Fields { numbers, .. } = self.0;
        let (time, hash) = self.spot();
        Some(Record {
            key: RecordKey {
                vehicle: vehicle.clone(),
                time,
                hash,
            },
            received: UnixMillis(numbers.time.wrapping_add(numbers.age)),
            protocol: text(self.0.protocol)?.into(),
            flags: Flags(numbers.flags),
            code: text(self.0.code)?.into(),
            attributes: attributes(self.0.attributes)?,
            raw: self.0.raw.map(Bytes::copy_from_slice),
            body: match kind {
                Kind::Position => Body::Position(numbers.fix()?),
                Kind::Event => Body::Event,
            },
        })
    }
}

fn put_attributes(attributes: &Attributes, bytes: &mut Vec<u8>) {
    for (name, value) in attributes.iter() {
        put_bytes(name.as_bytes(), bytes);
        match value {
            Value::Bool(yes) => bytes.push(u8::from(*yes)),
            Value::Integer(number) => {
                bytes.push(2);
                put_signed(*number, bytes);
            }
            Value::Float(number) => {
                bytes.push(3);
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            Value::Text(text) => {
                bytes.push(4);
                put_bytes(text.as_bytes(), bytes);
            }
        }
    }
}

fn attributes(mut rest: &[u8]) -> Option<Attributes> {
    let mut attributes = Attributes::new();
    while !rest.is_empty() {
        let name = text(take_bytes(&mut rest)?)?;
        let value = match rest.split_off_first()? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            2 => Value::Integer(take_signed(&mut rest)?),
            3 => Value::Float(f64::from_le_bytes(take_array(&mut rest)?)),
            4 => Value::Text(text(take_bytes(&mut rest)?)?.into()),
            _ => return None,
        };
        attributes.insert(name, value);
    }
    Some(attributes)
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Where the bytes stand now, their length aside.
fn put_bytes(from: &[u8], bytes: &mut Vec<u8>) -> Place {
    put_varint(from.len() as u64, bytes);
    let start = bytes.len();
    bytes.extend_from_slice(from);
    Place::behind(start, bytes)
}

#[cfg(test)]
mod tests;
