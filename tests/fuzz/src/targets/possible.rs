//! What a record must be that a decoder gave, for the rest of the system to take it.

use waymesh::{
    delivery::frame::{decode_record, encode_record},
    types::{
        ids::VehicleId,
        json::RecordJson,
        number::Milli,
        record::{Flags, Kind, Record},
        time::{DAY_MILLIS, UnixMillis},
    },
};

/// No fix is older: the start of 1990.
const EARLIEST: UnixMillis = UnixMillis(631_152_000_000);

/// That a record which was read at `received` is on earth, since 1990, printable and storable.
pub(crate) fn check(record: &Record, received: UnixMillis) {
    assert!(record.key.time >= EARLIEST, "{record:?}");
    assert_eq!(record.received, received);
    let is_future = record.key.time.0 > received.0 + DAY_MILLIS;
    assert_eq!(
        record.flags.contains(Flags::FUTURE),
        is_future,
        "{record:?}"
    );
    let id = record.key.vehicle.as_str();
    assert_eq!(
        VehicleId::parse(id.as_bytes()).as_ref(),
        Ok(&record.key.vehicle)
    );
    if let Some(fix) = record.fix() {
        let thousandths = |quantity: Option<Milli>| quantity.map_or(0, Milli::as_thousandths);
        assert!(fix.latitude.as_f64().abs() <= 90.0, "{record:?}");
        assert!(fix.longitude.as_f64().abs() <= 180.0, "{record:?}");
        assert!(thousandths(fix.speed_kmh) >= 0, "{record:?}");
        assert!(
            (0..360_000).contains(&thousandths(fix.course_deg)),
            "{record:?}"
        );
        assert!(thousandths(fix.hdop) >= 0, "{record:?}");
    }
    let mut bytes = Vec::new();
    encode_record(record, &mut bytes);
    assert_eq!(decode_record(&bytes).as_ref(), Ok(record));
    let json = serde_json::to_string(&RecordJson::new(record)).expect("a record has a JSON form");
    let parsed: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(parsed["vehicle"], id);
    assert_eq!(parsed["lat"].is_number(), record.kind() == Kind::Position);
    assert!(!json.contains('\n'), "one line for each record");
}
