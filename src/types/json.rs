//! The contract's JSON, once: positions, events, nodes, and everything else that is printed for
//! programs. Fields that are absent are left out.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    attributes::{Attributes, Value},
    number::Milli,
    record::{Body, Flags, Record},
};

/// A record as the contract prints it: a position, or an event without the fields of a fix.
#[derive(Debug, Serialize)]
pub struct RecordJson<'a> {
    vehicle: &'a str,
    time: String,
    #[serde(flatten)]
    fix: Option<FixJson>,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    protocol: &'a str,
    received: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    archived: bool,
    #[serde(skip_serializing_if = "is_false")]
    time_from_server: bool,
    #[serde(skip_serializing_if = "is_false")]
    future: bool,
    #[serde(skip_serializing_if = "AttributesJson::is_empty")]
    attributes: AttributesJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

#[derive(Debug, Serialize)]
struct FixJson {
    lat: f64,
    lon: f64,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_kmh: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    course_deg: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    altitude_m: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satellites: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hdop: Option<f64>,
}

#[derive(Debug)]
struct AttributesJson<'a>(&'a Attributes);

impl<'a> RecordJson<'a> {
    /// The JSON shape of `record`.
    pub fn new(record: &'a Record) -> Self {
        let fix = record.fix().map(|fix| FixJson {
            lat: fix.latitude.as_f64(),
            lon: fix.longitude.as_f64(),
            valid: fix.valid,
            speed_kmh: fix.speed_kmh.map(Milli::as_f64),
            course_deg: fix.course_deg.map(Milli::as_f64),
            altitude_m: fix.altitude_m.map(Milli::as_f64),
            satellites: fix.satellites,
            hdop: fix.hdop.map(Milli::as_f64),
        });
        let is_position = matches!(record.body, Body::Position(_));
        Self {
            vehicle: record.key.vehicle.as_str(),
            time: record.key.time.to_string(),
            fix,
            code: &record.code,
            protocol: &record.protocol,
            received: record.received.to_string(),
            late: is_position.then(|| record.flags.contains(Flags::LATE)),
            archived: record.flags.contains(Flags::ARCHIVED),
            time_from_server: record.flags.contains(Flags::TIME_FROM_SERVER),
            future: record.flags.contains(Flags::FUTURE),
            attributes: AttributesJson(&record.attributes),
            raw: record
                .raw
                .as_ref()
                .map(|raw| String::from_utf8_lossy(raw).into_owned()),
        }
    }
}

impl AttributesJson<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for AttributesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            match value {
                Value::Bool(yes) => map.serialize_entry(name, yes)?,
                Value::Integer(number) => map.serialize_entry(name, number)?,
                Value::Float(number) => map.serialize_entry(name, number)?,
                Value::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape serde asks for"
)]
const fn is_false(yes: &bool) -> bool {
    !*yes
}
