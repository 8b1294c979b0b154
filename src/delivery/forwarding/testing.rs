//! Parcels for the tests of this room.

use super::Parcel;
use crate::{
    delivery::batch::Batch,
    types::{
        attributes::Attributes,
        ids::VehicleId,
        record::{Body, Fix, Flags, Record, RecordKey},
        time::UnixMillis,
    },
};

/// A position of a vehicle at a time.
pub(crate) fn record(vehicle: &str, millis: i64) -> Record {
    Record {
        key: RecordKey {
            vehicle: VehicleId::parse(vehicle.as_bytes()).unwrap(),
            time: UnixMillis(millis),
            hash: 7,
        },
        received: UnixMillis(millis),
        protocol: "toy".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix::default()),
    }
}

/// One record of `vehicle`, known by its number.
pub(crate) fn parcel(vehicle: &str, number: u64) -> Parcel<u64> {
    Parcel::new(Batch::from([record(vehicle, number as i64)]), number, 0)
}

/// One with so many records.
pub(crate) fn large_parcel(n_records: usize, number: u64) -> Parcel<u64> {
    let records: Vec<Record> = (0..n_records)
        .map(|at| record("large", at as i64))
        .collect();
    Parcel::new(Batch::from(records), number, 0)
}
