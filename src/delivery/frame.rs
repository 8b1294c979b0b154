//! Byte layout of a record.
//!
//! ```text
//! layout version (u8 = 1) | kind (u8: 0 position, 1 event) | key version (u8 = 1) | body
//! ```
//!
//! The body is postcard (<https://postcard.jamesmunns.com>, varint integers, zigzag for signed) of
//! these fields in this order:
//!
//! ```text
//! vehicle (text) | time, ms since 1970 (i64) | hash (u64, fixed 8 bytes little-endian)
//! received minus time, ms (i64) | protocol (text) | flags (u8) | code (text)
//! attributes (list of: name, value; value: 0 bool, 1 i64, 2 f64, 3 text) | raw (option of bytes)
//! position only: latitude, longitude in 1e-7 degrees (i32 each) | valid (bool)
//!   speed, course, altitude in thousandths (option of i32 each) | satellites (option of u8)
//!   dilution in thousandths (option of i32)
//! ```

use bytes::Bytes;
use postcard::ser_flavors::Flavor;
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
pub const RECORD_LAYOUT: u8 = 1;

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

#[derive(Serialize, Deserialize)]
struct WireRecord<'a> {
    #[serde(borrow)]
    origin: WireOrigin<'a>,
    flags: u8,
    #[serde(borrow)]
    said: WireSaid<'a>,
}

/// The fields before the flags.
#[derive(Serialize, Deserialize)]
struct WireOrigin<'a> {
    vehicle: &'a str,
    time: i64,
    #[serde(with = "postcard::fixint::le")]
    hash: u64,
    age: i64,
    protocol: &'a str,
}

/// The fields behind the flags that all kinds have.
#[derive(Serialize, Deserialize)]
struct WireSaid<'a> {
    code: &'a str,
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

#[derive(Serialize, Deserialize)]
struct WireFix {
    latitude: i32,
    longitude: i32,
    valid: bool,
    speed: Option<i32>,
    course: Option<i32>,
    altitude: Option<i32>,
    satellites: Option<u8>,
    hdop: Option<i32>,
}

/// Appends the bytes of `record` to `bytes`.
pub fn encode_record(record: &Record, bytes: &mut Vec<u8>) {
    encode_with_place(record, bytes);
}

/// Appends the bytes of `record` to `bytes`; returns where in these its flags stand.
pub(super) fn encode_with_place(record: &Record, bytes: &mut Vec<u8>) -> usize {
    let kind = match record.kind() {
        Kind::Position => 0,
        Kind::Event => 1,
    };
    bytes.extend([RECORD_LAYOUT, kind, KEY_VERSION]);
    let origin = WireOrigin {
        vehicle: record.key.vehicle.as_str(),
        time: record.key.time.0,
        hash: record.key.hash,
        age: record.received.0.wrapping_sub(record.key.time.0),
        protocol: &record.protocol,
    };
    let said = WireSaid {
        code: &record.code,
        attributes: record
            .attributes
            .iter()
            .map(|(name, value)| (name, value.into()))
            .collect(),
        raw: record.raw.as_deref(),
    };
    append(&origin, bytes);
    let flags_at = bytes.len();
    bytes.push(record.flags.0);
    append(&said, bytes);
    if let Some(fix) = record.fix() {
        append(&WireFix::from(fix), bytes);
    }
    flags_at
}

/// Reads one record that fills all of `bytes`.
///
/// # Errors
/// [`RecordError`] says whether the bytes are damaged or of a later version.
pub fn decode_record(bytes: &[u8]) -> Result<Record, RecordError> {
    let damaged = |what: &str| RecordError::Damaged(what.to_owned());
    let (kind, key_version, body) = match bytes {
        [RECORD_LAYOUT, kind, key_version, body @ ..] => (*kind, *key_version, body),
        [layout, ..] if *layout != RECORD_LAYOUT => {
            return Err(RecordError::UnknownLayout(*layout));
        }
        _ => return Err(damaged("shorter than its head")),
    };
    if kind > 1 || key_version != KEY_VERSION {
        return Err(RecordError::UnknownKind { kind, key_version });
    }
    let (wire, rest) = take::<WireRecord<'_>>(body)?;
    let (body, rest) = match kind {
        0 => {
            let (fix, rest) = take::<WireFix>(rest)?;
            (Body::Position(fix.into()), rest)
        }
        _ => (Body::Event, rest),
    };
    if !rest.is_empty() {
        return Err(damaged("longer than its fields"));
    }
    let WireRecord {
        origin,
        flags,
        said,
    } = wire;
    let vehicle =
        VehicleId::parse(origin.vehicle.as_bytes()).map_err(|error| damaged(&error.to_string()))?;
    Ok(Record {
        key: RecordKey {
            vehicle,
            time: UnixMillis(origin.time),
            hash: origin.hash,
        },
        received: UnixMillis(origin.time.wrapping_add(origin.age)),
        protocol: origin.protocol.to_owned().into(),
        flags: Flags(flags),
        code: said.code.to_owned().into(),
        attributes: to_attributes(said.attributes),
        raw: said.raw.map(Bytes::copy_from_slice),
        body,
    })
}

fn append<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    let written = postcard::serialize_with_flavor(value, Append(bytes));
    written.expect("a list of bytes takes everything");
}

/// Appends slices as a whole; postcard's own flavour for lists goes byte by byte, at twice the time.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), RecordError> {
    postcard::take_from_bytes(bytes).map_err(|error| RecordError::Damaged(error.to_string()))
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

impl From<&Fix> for WireFix {
    fn from(fix: &Fix) -> Self {
        Self {
            latitude: fix.latitude.as_e7(),
            longitude: fix.longitude.as_e7(),
            valid: fix.valid,
            speed: fix.speed_kmh.map(Milli::as_thousandths),
            course: fix.course_deg.map(Milli::as_thousandths),
            altitude: fix.altitude_m.map(Milli::as_thousandths),
            satellites: fix.satellites,
            hdop: fix.hdop.map(Milli::as_thousandths),
        }
    }
}

impl From<WireFix> for Fix {
    fn from(wire: WireFix) -> Self {
        Self {
            latitude: Degrees::from_e7(wire.latitude),
            longitude: Degrees::from_e7(wire.longitude),
            valid: wire.valid,
            speed_kmh: wire.speed.map(Milli::from_thousandths),
            course_deg: wire.course.map(Milli::from_thousandths),
            altitude_m: wire.altitude.map(Milli::from_thousandths),
            satellites: wire.satellites,
            hdop: wire.hdop.map(Milli::from_thousandths),
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_layout_is_frozen() {
        let mut record = position();
        record.attributes = Attributes::new();
        record.raw = None;
        let expected = "010001 0f333533393736303133343435343835 90a99488d466 4d00000000000000\
                        bc0b 0677 69616c6f6e 02 03534f53 00 00 c096ebb604 afd688ec01 01\
                        01 88980500 00 0109 00";
        let expected = expected.replace(' ', "");
        let bytes = bytes_of(&record);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
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
        later[1] = 9;
        let unknown = RecordError::UnknownKind {
            kind: 9,
            key_version: KEY_VERSION,
        };
        assert_eq!(decode_record(&later), Err(unknown));
    }
}
