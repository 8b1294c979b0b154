//! Traccar's messages for this protocol, where the reference data is there.

use serde_json::Value;

use super::*;

/// Lines whose expectation is not ours, with the reason.
const EXCEPTIONS: [(&str, &str); 2] = [
    (
        "$PUBX,00,",
        "names a vehicle there: the field is u-blox's flag of dead reckoning, not an identity",
    ),
    (
        "$GPIOP,",
        "carries supply voltages without a time, and no place",
    ),
];

fn knots(record: &Record) -> f64 {
    let speed = record.fix().unwrap().speed_kmh;
    // An empty speed counts as 0 there, and is absent here.
    speed.map_or(0.0, |speed| speed.as_f64() / 1.852)
}

#[track_caller]
fn check_position(line: &str, record: &Record, expected: &Value) {
    let fix = record.fix().unwrap();
    let number = |name: &str| expected[name].as_f64().unwrap();
    let near = |one: f64, other: f64, by: f64| assert!((one - other).abs() <= by, "{line}");
    near(fix.latitude.as_f64(), number("lat"), 1e-7);
    near(fix.longitude.as_f64(), number("lon"), 1e-7);
    near(knots(record), number("speed"), 1e-3);
    // An empty course or altitude counts as 0 there, and is absent here.
    let or_zero = |quantity: Option<crate::types::number::Milli>| {
        quantity.map_or(0.0, |quantity| quantity.as_f64())
    };
    near(or_zero(fix.course_deg), number("course"), 1e-3);
    near(or_zero(fix.altitude_m), number("alt"), 1e-3);
    assert_eq!(fix.valid, expected["valid"], "{line}");
    // Fractions of a second are kept here, and dropped there for TRCCR.
    let time = record.key.time.to_string().replace('T', " ");
    assert_eq!(
        time[..19],
        expected["time"].as_str().unwrap()[..19],
        "{line}"
    );
}

#[test]
fn traccars_messages_mean_the_same_here() {
    let Some(path) = reference("vectors/t55.jsonl") else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let mut conversation = Conversation::lenient();
    let mut n_positions = 0;
    for object in text.lines() {
        let object: Value = serde_json::from_str(object).unwrap();
        let line = object["line"].as_str().unwrap();
        let vehicle = object["vehicle"].as_str();
        if vehicle.is_none() {
            // No vehicle is known of this line: a new connection begins.
            conversation = Conversation::lenient();
        }
        let outcome = conversation.line(line);
        assert!(
            !matches!(outcome, Outcome::Rejected(_)),
            "{line}: {outcome:?}"
        );
        // The lines are minutes or years apart: nothing merges.
        conversation.now += 2_000;
        conversation.flush(FlushReason::Deadline);
        let records = conversation.records();
        let expected = object["positions"].as_array().unwrap();
        assert_eq!(records.len(), expected.len(), "{line}");
        for (record, expected) in records.iter().zip(expected) {
            check_position(line, record, expected);
            assert_eq!(Some(record.key.vehicle.as_str()), vehicle, "{line}");
            n_positions += 1;
        }
        if !EXCEPTIONS.iter().any(|(start, _)| line.starts_with(start)) {
            let known = conversation.decoder.vehicle().map(|known| known.as_str());
            assert_eq!(known, vehicle, "{line}");
        }
    }
    assert_eq!(n_positions, 11);
}
