//! Positions as they come from a fleet: 15 digits of identity, one attribute.

use waymesh::types::{
    attributes::{Attributes, Value},
    ids::VehicleId,
    key::position_hash,
    number::{Degrees, Milli},
    record::{Body, Fix, Flags, Record, RecordKey},
    time::UnixMillis,
};

/// Time of the first record.
pub(crate) const START: UnixMillis = UnixMillis(1_795_000_000_000);

/// The name of the vehicle with a number.
pub(crate) fn vehicle(number: usize) -> VehicleId {
    VehicleId::parse(format!("35397601{number:07}").as_bytes()).unwrap()
}

/// Record `number` of a fleet that reports in turn, each vehicle once a second.
pub(crate) fn record(number: usize, n_vehicles: usize) -> Record {
    let second = number / n_vehicles;
    let step = i32::try_from(number % 1_000_000).unwrap();
    let fix = Fix {
        latitude: Degrees::from_e7(594_372_000 + step),
        longitude: Degrees::from_e7(247_535_000 - step),
        valid: true,
        speed_kmh: Some(Milli::from_thousandths(42_500)),
        course_deg: Some(Milli::from_thousandths(181_000)),
        altitude_m: Some(Milli::from_thousandths(34_000)),
        satellites: Some(9),
        hdop: None,
    };
    let time = UnixMillis(START.0 + i64::try_from(second).unwrap() * 1_000);
    let mut attributes = Attributes::new();
    attributes.insert("ignition", Value::Bool(true));
    Record {
        key: RecordKey {
            vehicle: vehicle(number % n_vehicles),
            time,
            hash: position_hash(&fix, ""),
        },
        received: UnixMillis(time.0 + 734),
        protocol: "wialon".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes,
        raw: None,
        body: Body::Position(fix),
    }
}

/// The first `n_records` of a fleet.
pub(crate) fn records(n_records: usize, n_vehicles: usize) -> Vec<Record> {
    (0..n_records)
        .map(|number| record(number, n_vehicles))
        .collect()
}
