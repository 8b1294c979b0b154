//! Byte layout of a record.
//!
//! Layout 2, the one that is written. Fixed fields first, so that who sorts, sends or drops a record
//! finds what it decides by ([`RecordHead`]) without reading the rest, and writing one takes 21 ns
//! where the variable integers of layout 1 take 100 (10,240,000 records of 15-digit ids, user time).
//! All integers are little-endian:
//!
//! ```text
//! layout version (u8 = 2) | kind (u8: 0 position, 1 event) | key version (u8 = 1)
//! flags (u8) | fields (u8: bit 0 valid, 1 speed, 2 course, 3 altitude, 4 dilution, 5 satellites, 6 rest)
//! length of vehicle (u8) | of protocol (u8) | of code (u32), in bytes
//! time, ms since 1970 (i64) | hash (u64) | received minus time, ms (i64)
//! position only: latitude, longitude in 1e-7 degrees (i32 each), and where its field says so each of
//!   speed, course, altitude, dilution in thousandths (i32 each), satellites (u8)
//! vehicle | protocol | code (UTF-8)
//! rest, where its field says so: attributes and raw as in layout 1
//! ```
//!
//! Layout 1 is still read: version (u8 = 1), kind, key version, then
//! [postcard](https://postcard.jamesmunns.com) (varint integers, zigzag for signed) of these fields in
//! this order:
//!
//! ```text
//! vehicle (text) | time (i64) | hash (u64, fixed 8 bytes little-endian)
//! received minus time (i64) | protocol (text) | flags (u8) | code (text)
//! attributes (list of: name, value; value: 0 bool, 1 i64, 2 f64, 3 text) | raw (option of bytes)
//! position only: latitude, longitude (i32 each) | valid (bool)
//!   speed, course, altitude (option of i32 each) | satellites (option of u8)
//!   dilution (option of i32)
//! ```

mod first;

use bytes::Buf as _;
use serde::{Deserialize, Serialize};

use crate::types::{
    attributes::{Attributes, Value},
    ids::VehicleId,
    key::KEY_VERSION,
    number::{Degrees, Milli},
    record::{Body, Fix, Flags, Kind, Record, RecordKey},
    time::UnixMillis,
};

/// Version of the layout that is written.
pub const RECORD_LAYOUT: u8 = 2;

/// Where in the bytes of a record its flags stand.
pub(super) const FLAGS_AT: usize = 3;

/// What stands behind the layout version and before what has no fixed length.
const FRONT_BYTES: usize = 34;

/// All numbers of a position: layout version and front, place, four quantities, satellites.
const NUMBERS_BYTES_MAX: usize = 1 + FRONT_BYTES + 8 + 4 * 4 + 1;

/// Longest name of a protocol in bytes.
pub const PROTOCOL_NAME_BYTES_MAX: usize = 255;

const IS_VALID: u8 = 1;
const HAS_SPEED: u8 = 1 << 1;
const HAS_COURSE: u8 = 1 << 2;
const HAS_ALTITUDE: u8 = 1 << 3;
const HAS_DILUTION: u8 = 1 << 4;
const HAS_SATELLITES: u8 = 1 << 5;
const HAS_REST: u8 = 1 << 6;
const UNKNOWN_FIELDS: u8 = 1 << 7;

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by a later version of the program.
    #[error("record layout {0} is not known to this version")]
    UnknownLayout(u8),
    /// A kind or key version of a later version of the program.
    #[error("record kind {kind} with key version {key_version} is not known to this version")]
    UnknownKind {
        /// The byte for the kind.
        kind: u8,
        /// The byte for the version of the key.
        key_version: u8,
    },
    /// The bytes are cut or altered.
    #[error("damaged record: {0}")]
    Damaged(String),
}

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

/// The fixed fields of layout 2.
struct Front {
    head: RecordHead,
    fields: u8,
    vehicle_bytes: usize,
    protocol_bytes: usize,
    code_bytes: usize,
}

/// The fields that few records have.
#[derive(Serialize, Deserialize)]
struct Rest<'a> {
    #[serde(borrow)]
    attributes: Vec<(&'a str, WireValue<'a>)>,
    raw: Option<&'a [u8]>,
}

#[derive(Serialize, Deserialize)]
enum WireValue<'a> {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
}

/// Appends the bytes of `record` to `bytes`.
///
/// # Panics
/// If the name of its protocol is longer than [`PROTOCOL_NAME_BYTES_MAX`], or its code than 4 GiB;
/// both are held far below that where they come in.
pub fn encode_record(record: &Record, bytes: &mut Vec<u8>) {
    let vehicle = record.key.vehicle.as_str();
    let has_rest = !record.attributes.is_empty() || record.raw.is_some();
    let fields = fields_of(record.fix()) | if has_rest { HAS_REST } else { 0 };
    let length = |text: &str| u8::try_from(text.len()).expect("names are short");
    let code_bytes = u32::try_from(record.code.len()).expect("a code is shorter than 4 GiB");
    let age = record.received.0.wrapping_sub(record.key.time.0);
    let start = bytes.len();
    bytes.resize(start + NUMBERS_BYTES_MAX, 0);
    let room = bytes.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
    let mut numbers = Numbers {
        room: room.expect("it was made just now"),
        n_bytes: 0,
    };
    numbers.push([
        RECORD_LAYOUT,
        byte_of(record.kind()),
        KEY_VERSION,
        record.flags.0,
        fields,
        length(vehicle),
        length(&record.protocol),
    ]);
    numbers.push(code_bytes.to_le_bytes());
    numbers.push(record.key.time.0.to_le_bytes());
    numbers.push(record.key.hash.to_le_bytes());
    numbers.push(age.to_le_bytes());
    if let Some(fix) = record.fix() {
        encode_fix(fix, &mut numbers);
    }
    let n_bytes = numbers.n_bytes;
    bytes.truncate(start + n_bytes);
    bytes.extend_from_slice(vehicle.as_bytes());
    bytes.extend_from_slice(record.protocol.as_bytes());
    bytes.extend_from_slice(record.code.as_bytes());
    if has_rest {
        encode_rest(record, bytes);
    }
}

fn encode_fix(fix: &Fix, numbers: &mut Numbers<'_>) {
    numbers.push(fix.latitude.as_e7().to_le_bytes());
    numbers.push(fix.longitude.as_e7().to_le_bytes());
    let quantities = [fix.speed_kmh, fix.course_deg, fix.altitude_m, fix.hdop];
    for quantity in quantities.into_iter().flatten() {
        numbers.push(quantity.as_thousandths().to_le_bytes());
    }
    if let Some(satellites) = fix.satellites {
        numbers.push([satellites]);
    }
}

/// The numbers of a record as they are written, in a room for the most of them: a list that grows by each
/// would look up and put down its length for each.
struct Numbers<'a> {
    room: &'a mut [u8; NUMBERS_BYTES_MAX],
    n_bytes: usize,
}

impl Numbers<'_> {
    #[inline]
    fn push<const N: usize>(&mut self, number: [u8; N]) {
        let room = self.room.get_mut(self.n_bytes..);
        *room
            .and_then(<[u8]>::first_chunk_mut)
            .expect("there is room for all") = number;
        self.n_bytes += N;
    }
}

fn encode_rest(record: &Record, bytes: &mut Vec<u8>) {
    let attributes = record.attributes.iter();
    let rest = Rest {
        attributes: attributes
            .map(|(name, value)| (name, value.into()))
            .collect(),
        raw: record.raw.as_deref(),
    };
    let rest = postcard::to_allocvec(&rest).expect("a list of bytes takes everything");
    bytes.extend_from_slice(&rest);
}

fn fields_of(fix: Option<&Fix>) -> u8 {
    let Some(fix) = fix else {
        return 0;
    };
    let bits = [
        (fix.valid, IS_VALID),
        (fix.speed_kmh.is_some(), HAS_SPEED),
        (fix.course_deg.is_some(), HAS_COURSE),
        (fix.altitude_m.is_some(), HAS_ALTITUDE),
        (fix.hdop.is_some(), HAS_DILUTION),
        (fix.satellites.is_some(), HAS_SATELLITES),
    ];
    bits.into_iter()
        .map(|(is_set, bit)| if is_set { bit } else { 0 })
        .sum()
}

/// Reads the head of a record that begins with `bytes`; `None` where they are not of layout 2 or cut.
pub(super) fn peek_head(bytes: &[u8]) -> Option<RecordHead> {
    let front = bytes.strip_prefix(&[RECORD_LAYOUT])?;
    Some(take_front(&mut &*front).ok()?.head)
}

/// Reads one record that fills all of `bytes`.
///
/// # Errors
/// [`RecordError`] says whether the bytes are damaged or of a later version.
pub fn decode_record(bytes: &[u8]) -> Result<Record, RecordError> {
    match bytes.split_first() {
        Some((&RECORD_LAYOUT, mut fields)) => decode_second(&mut fields),
        Some((&first::LAYOUT, fields)) => first::decode(fields),
        Some((layout, _)) => Err(RecordError::UnknownLayout(*layout)),
        None => Err(damaged("shorter than its head")),
    }
}

fn decode_second(bytes: &mut &[u8]) -> Result<Record, RecordError> {
    let front = take_front(bytes)?;
    let body = match front.head.kind {
        Kind::Position => Body::Position(take_fix(bytes, front.fields)?),
        Kind::Event => Body::Event,
    };
    let vehicle = VehicleId::parse(take_text(bytes, front.vehicle_bytes)?.as_bytes())
        .map_err(|error| damaged(&error.to_string()))?;
    let protocol = take_text(bytes, front.protocol_bytes)?.to_owned().into();
    let code = take_text(bytes, front.code_bytes)?.to_owned().into();
    let rest = if front.fields & HAS_REST == 0 {
        Rest {
            attributes: Vec::new(),
            raw: None,
        }
    } else {
        let (rest, behind) = take(bytes)?;
        *bytes = behind;
        rest
    };
    if !bytes.is_empty() {
        return Err(damaged("longer than its fields"));
    }
    Ok(Record {
        key: RecordKey {
            vehicle,
            time: front.head.time,
            hash: front.head.hash,
        },
        received: front.head.received,
        protocol,
        flags: front.head.flags,
        code,
        attributes: to_attributes(rest.attributes),
        raw: rest.raw.map(bytes::Bytes::copy_from_slice),
        body,
    })
}

// Once a record in the writer: all of its bytes are there, or it is cut.
#[inline]
fn take_front(bytes: &mut &[u8]) -> Result<Front, RecordError> {
    let Some((front, behind)) = bytes.split_first_chunk::<FRONT_BYTES>() else {
        return Err(damaged("shorter than its head"));
    };
    *bytes = behind;
    let mut front = front.as_slice();
    let kind = kind_of(front.get_u8(), front.get_u8())?;
    let flags = Flags(front.get_u8());
    let fields = front.get_u8();
    if fields & UNKNOWN_FIELDS != 0 {
        return Err(damaged("has a field that is not known"));
    }
    let vehicle_bytes = front.get_u8().into();
    let protocol_bytes = front.get_u8().into();
    let code_bytes = front.get_u32_le() as usize;
    let (time, hash, age) = (front.get_i64_le(), front.get_u64_le(), front.get_i64_le());
    Ok(Front {
        head: RecordHead {
            kind,
            flags,
            time: UnixMillis(time),
            hash,
            received: UnixMillis(time.wrapping_add(age)),
        },
        fields,
        vehicle_bytes,
        protocol_bytes,
        code_bytes,
    })
}

fn take_fix(bytes: &mut &[u8], fields: u8) -> Result<Fix, RecordError> {
    let cut = |_| damaged("shorter than its fields");
    let mut fix = Fix {
        latitude: Degrees::from_e7(bytes.try_get_i32_le().map_err(cut)?),
        longitude: Degrees::from_e7(bytes.try_get_i32_le().map_err(cut)?),
        valid: fields & IS_VALID != 0,
        ..Fix::default()
    };
    let quantities = [
        (HAS_SPEED, &mut fix.speed_kmh),
        (HAS_COURSE, &mut fix.course_deg),
        (HAS_ALTITUDE, &mut fix.altitude_m),
        (HAS_DILUTION, &mut fix.hdop),
    ];
    for (bit, quantity) in quantities {
        if fields & bit != 0 {
            let thousandths = bytes.try_get_i32_le().map_err(cut)?;
            *quantity = Some(Milli::from_thousandths(thousandths));
        }
    }
    if fields & HAS_SATELLITES != 0 {
        fix.satellites = Some(bytes.try_get_u8().map_err(cut)?);
    }
    Ok(fix)
}

fn take_text<'a>(bytes: &mut &'a [u8], n_bytes: usize) -> Result<&'a str, RecordError> {
    let (text, behind) = bytes
        .split_at_checked(n_bytes)
        .ok_or_else(|| damaged("shorter than its fields"))?;
    *bytes = behind;
    std::str::from_utf8(text).map_err(|_| damaged("text that is not UTF-8"))
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), RecordError> {
    postcard::take_from_bytes(bytes).map_err(|error| damaged(&error.to_string()))
}

fn damaged(what: &str) -> RecordError {
    RecordError::Damaged(what.to_owned())
}

const fn byte_of(kind: Kind) -> u8 {
    match kind {
        Kind::Position => 0,
        Kind::Event => 1,
    }
}

const fn kind_of(kind: u8, key_version: u8) -> Result<Kind, RecordError> {
    match (kind, key_version) {
        (0, KEY_VERSION) => Ok(Kind::Position),
        (1, KEY_VERSION) => Ok(Kind::Event),
        _ => Err(RecordError::UnknownKind { kind, key_version }),
    }
}

fn to_attributes(wire: Vec<(&str, WireValue<'_>)>) -> Attributes {
    wire.into_iter()
        .map(|(name, value)| (name.to_owned().into(), value.into()))
        .collect()
}

impl<'a> From<&'a Value> for WireValue<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Integer(number) => Self::Integer(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Text(text) => Self::Text(text),
        }
    }
}

impl From<WireValue<'_>> for Value {
    fn from(value: WireValue<'_>) -> Self {
        match value {
            WireValue::Bool(yes) => Self::Bool(yes),
            WireValue::Integer(number) => Self::Integer(number),
            WireValue::Float(number) => Self::Float(number),
            WireValue::Text(text) => Self::Text(text.to_owned().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn position() -> Record {
        let mut attributes = Attributes::new();
        attributes.insert("ignition", Value::Bool(true));
        attributes.insert("fuel", Value::Float(45.8));
        attributes.insert("driver", Value::Text("Ada".into()));
        attributes.insert("odometer", Value::Integer(-3));
        let vehicle = VehicleId::parse(b"353976013445485").unwrap();
        Record {
            key: RecordKey {
                vehicle,
                time: UnixMillis(1_763_629_501_000),
                hash: 77,
            },
            received: UnixMillis(1_763_629_501_734),
            protocol: "wialon".into(),
            flags: Flags::ARCHIVED,
            code: "SOS".into(),
            attributes,
            raw: Some(Bytes::from_static(b"#SD#...")),
            body: Body::Position(Fix {
                latitude: Degrees::from_e7(594_372_000),
                longitude: Degrees::from_e7(-247_535_000),
                valid: true,
                speed_kmh: Some(Milli::from_thousandths(42_500)),
                satellites: Some(9),
                ..Fix::default()
            }),
        }
    }

    fn bytes_of(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_record(record, &mut bytes);
        bytes
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        for record in [
            position(),
            Record {
                body: Body::Event,
                raw: None,
                ..position()
            },
        ] {
            assert_eq!(decode_record(&bytes_of(&record)), Ok(record));
        }
    }

    fn frozen() -> Record {
        Record {
            attributes: Attributes::new(),
            raw: None,
            ..position()
        }
    }

    fn bytes_of_hex(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|digit| *digit != b' ').collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    #[test]
    fn the_layout_is_frozen() {
        let expected = "02 00 01 02 23 0f 06 03000000 \
                        488a82a09a010000 4d00000000000000 de02000000000000 \
                        a0656d23 68ea3ef1 04a60000 09 \
                        333533393736303133343435343835 7769616c6f6e 534f53";
        let bytes = bytes_of(&frozen());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(decode_record(&bytes), Ok(frozen()));
    }

    #[test]
    fn a_record_of_the_first_layout_is_still_read() {
        let bytes = bytes_of_hex(
            "010001 0f333533393736303133343435343835 90a99488d466 4d00000000000000 \
             bc0b 0677 69616c6f6e 02 03534f53 00 00 c096ebb604 afd688ec01 01 \
             01 88980500 00 0109 00",
        );
        assert_eq!(decode_record(&bytes), Ok(frozen()));
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let bytes = bytes_of(&position());
        for n_bytes in 0..bytes.len() {
            assert!(
                decode_record(&bytes[..n_bytes]).is_err(),
                "cut at {n_bytes}"
            );
        }
        let mut later = bytes.clone();
        later[0] = 9;
        assert_eq!(decode_record(&later), Err(RecordError::UnknownLayout(9)));
        later[0] = RECORD_LAYOUT;
        assert_eq!(peek_head(&later), Some(RecordHead::of(&position())));
        later[1] = 9;
        assert_eq!(peek_head(&later), None);
        let unknown = RecordError::UnknownKind {
            kind: 9,
            key_version: KEY_VERSION,
        };
        assert_eq!(decode_record(&later), Err(unknown));
    }
}
