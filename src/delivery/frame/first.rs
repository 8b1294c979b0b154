//! The first layout of a record, which is only read; see [`super`].

use bytes::Bytes;
use serde::Deserialize;

use super::{RecordError, WireValue, damaged, kind_of, take, to_attributes};
use crate::types::{
    ids::VehicleId,
    number::{Degrees, Milli},
    record::{Body, Fix, Flags, Kind, Record, RecordKey},
    time::UnixMillis,
};

/// Its version.
pub(super) const LAYOUT: u8 = 1;

#[derive(Deserialize)]
struct WireRecord<'a> {
    vehicle: &'a str,
    time: i64,
    #[serde(with = "postcard::fixint::le")]
    hash: u64,
    age: i64,
    protocol: &'a str,
    flags: u8,
    code: &'a str,
    #[serde(borrow)]
    attributes: Vec<(&'a str, WireValue<'a>)>,
    raw: Option<&'a [u8]>,
}

#[derive(Deserialize)]
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

/// Reads one record that fills all of `bytes`, which stand behind the version.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let [kind, key_version, body @ ..] = bytes else {
        return Err(damaged("shorter than its head"));
    };
    let kind = kind_of(*kind, *key_version)?;
    let (wire, rest) = take::<WireRecord<'_>>(body)?;
    let (body, rest) = match kind {
        Kind::Position => {
            let (fix, rest) = take::<WireFix>(rest)?;
            (Body::Position(fix.into()), rest)
        }
        Kind::Event => (Body::Event, rest),
    };
    if !rest.is_empty() {
        return Err(damaged("longer than its fields"));
    }
    let vehicle =
        VehicleId::parse(wire.vehicle.as_bytes()).map_err(|error| damaged(&error.to_string()))?;
    Ok(Record {
        key: RecordKey {
            vehicle,
            time: UnixMillis(wire.time),
            hash: wire.hash,
        },
        received: UnixMillis(wire.time.wrapping_add(wire.age)),
        protocol: wire.protocol.to_owned().into(),
        flags: Flags(wire.flags),
        code: wire.code.to_owned().into(),
        attributes: to_attributes(wire.attributes),
        raw: wire.raw.map(Bytes::copy_from_slice),
        body,
    })
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
