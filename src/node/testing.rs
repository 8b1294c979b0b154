//! Records for tests.

use crate::types::{
    attributes::Attributes,
    ids::VehicleId,
    record::{Body, Fix, Flags, Record, RecordKey},
    time::UnixMillis,
};

/// A position of a vehicle at a time in ms.
pub(super) fn position(vehicle: &str, time: i64) -> Record {
    Record {
        key: RecordKey {
            vehicle: VehicleId::parse(vehicle.as_bytes()).unwrap(),
            time: UnixMillis(time),
            hash: 1,
        },
        received: UnixMillis(time),
        protocol: "toy".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix::default()),
    }
}
