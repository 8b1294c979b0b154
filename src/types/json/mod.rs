//! The contract's JSON, once: positions, events, nodes, and everything else that is printed for
//! programs. Fields that are absent are left out.

mod cluster;

pub use self::cluster::{
    DialJson, DiscoveryJson, EpochJson, ForgottenJson, NodeEventJson, NodesJson, PeerJson,
    PhaseJson, PingJson,
};

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    attributes::{Attributes, Value},
    number::Milli,
    record::{Body, Flags, Record},
    status::{NodeStatus, Page, VehicleAnswer},
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

/// A node about itself: `GET /v1/status`.
#[derive(Debug, Serialize)]
pub struct StatusJson<'a> {
    name: &'a str,
    id: String,
    version: &'a str,
    incarnation: u64,
    cluster: &'a str,
    addresses: AddressesJson<'a>,
    uptime_seconds: u64,
    epoch: String,
    counts: &'a BTreeMap<&'static str, u64>,
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting_for: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct AddressesJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vehicles: Option<&'a SocketAddr>,
    #[serde(skip_serializing_if = "<[SocketAddr]>::is_empty")]
    listeners: &'a [SocketAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
}

/// A page of last positions: `GET /v1/vehicles`.
#[derive(Debug, Serialize)]
pub struct VehiclesJson<'a> {
    vehicles: Vec<RecordJson<'a>>,
    next: Option<&'a str>,
    missing: &'a [String],
}

/// A page of one vehicle's positions: `GET /v1/vehicles/{id}/track`.
#[derive(Debug, Serialize)]
pub struct TrackJson<'a> {
    positions: Vec<RecordJson<'a>>,
    next: Option<&'a str>,
    missing: &'a [String],
}

/// One vehicle: `GET /v1/vehicles/{id}`.
#[derive(Debug, Serialize)]
pub struct VehicleJson<'a> {
    position: Option<RecordJson<'a>>,
    owner: &'a str,
    connected_to: Option<&'a str>,
    missing: &'a [String],
}

/// Why a question was not answered, as RFC 9457 puts it.
#[derive(Debug, Serialize)]
pub struct ProblemJson<'a> {
    /// A URI for this kind of problem; `about:blank` where the status says it all.
    pub r#type: &'a str,
    /// The kind of problem for people.
    pub title: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong with this question, and what to do.
    pub detail: &'a str,
    /// Names of storing nodes that could not be asked; left out if none.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub missing: &'a [String],
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

impl<'a> StatusJson<'a> {
    /// The JSON shape of `status`.
    pub fn new(status: &'a NodeStatus) -> Self {
        let conditions = &status.readiness.0;
        Self {
            name: &status.name,
            id: status.id.to_string(),
            version: status.version,
            incarnation: status.incarnation,
            cluster: &status.cluster,
            addresses: AddressesJson {
                vehicles: status.addresses.vehicles.first(),
                listeners: status.addresses.vehicles.get(1..).unwrap_or_default(),
                link: status.addresses.link,
                http: status.addresses.http,
            },
            uptime_seconds: status.uptime.as_secs(),
            epoch: hex(status.epoch),
            counts: &status.counts,
            ready: status.readiness.is_ready(),
            waiting_for: conditions
                .iter()
                .filter(|(_, holds)| !holds)
                .map(|(name, _)| *name)
                .collect(),
        }
    }
}

impl<'a> VehiclesJson<'a> {
    /// The JSON shape of `page`.
    pub fn new(page: &'a Page<Record>) -> Self {
        Self {
            vehicles: page.items.iter().map(RecordJson::new).collect(),
            next: page.next.as_deref(),
            missing: &page.missing,
        }
    }
}

impl<'a> TrackJson<'a> {
    /// The JSON shape of `page`.
    pub fn new(page: &'a Page<Record>) -> Self {
        Self {
            positions: page.items.iter().map(RecordJson::new).collect(),
            next: page.next.as_deref(),
            missing: &page.missing,
        }
    }
}

impl<'a> VehicleJson<'a> {
    /// The JSON shape of `answer`.
    pub fn new(answer: &'a VehicleAnswer) -> Self {
        Self {
            position: answer.position.as_ref().map(RecordJson::new),
            owner: &answer.owner,
            connected_to: answer.connected_to.as_deref(),
            missing: &answer.missing,
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

fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}
