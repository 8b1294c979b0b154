//! The contract's JSON as a reader sees it. Fields that this version does not know are kept and
//! printed again, so that an older client can read a newer node.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A position. Two that a node prints from one record are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionJson {
    /// Id of the vehicle.
    pub vehicle: String,
    /// Time of the fix, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// Degrees, north is positive.
    pub lat: f64,
    /// Degrees, east is positive.
    pub lon: f64,
    /// Whether the device vouches for the place.
    pub valid: bool,
    /// Speed over ground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_kmh: Option<f64>,
    /// Course over ground from true north.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course_deg: Option<f64>,
    /// Height above mean sea level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altitude_m: Option<f64>,
    /// Satellites used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub satellites: Option<u8>,
    /// Horizontal dilution of precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdop: Option<f64>,
    /// The device's own code for what happened; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The language the device spoke.
    pub protocol: String,
    /// When a node took it in, RFC 3339 with milliseconds, UTC.
    pub received: String,
    /// Whether a newer position of the vehicle was known already.
    #[serde(default)]
    pub late: bool,
    /// What the device reported besides.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// All other fields.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// One vehicle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct VehicleAnswerJson {
    /// Its last position.
    pub position: PositionJson,
    /// Name of the node that owns it.
    pub owner: String,
    /// Name of the node that holds its connection.
    pub connected_to: Option<String>,
    /// Names of storing nodes that could not be asked.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// Part of a list of positions, whichever call it is from.
#[derive(Debug, Deserialize)]
pub(super) struct PageJson {
    #[serde(alias = "vehicles")]
    pub(super) positions: Vec<PositionJson>,
    pub(super) next: Option<String>,
    #[serde(default)]
    pub(super) missing: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_and_printed_as_it_stands() {
        let text = r#"{"vehicle":"1","time":"2026-11-20T09:05:01.000Z","lat":59.4372,"lon":24.7535,"valid":true,"speed_kmh":42.5,"satellites":9,"protocol":"wialon","received":"2026-11-20T09:05:01.734Z","late":false,"attributes":{"ignition":true},"archived":true}"#;
        let position: PositionJson = serde_json::from_str(text).unwrap();
        assert_eq!(position.speed_kmh, Some(42.5));
        assert_eq!(position.hdop, None);
        assert_eq!(position.others["archived"], true);
        assert_eq!(serde_json::to_string(&position).unwrap(), text);
    }
}
