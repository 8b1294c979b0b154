//! Decoders against a collection of real lines with the positions they mean.
//!
//! The collection is not part of the project: it is looked for beside the package, in
//! `../shared/vectors/<protocol>.jsonl`, and the test says so where it is not there.

use std::{fs, path::Path};

use serde::Deserialize;
use waymesh::{
    protocol::{DecoderOptions, Registry},
    types::{number::Milli, record::Record},
};

use crate::conversation::{Turn, converse};

/// One line with what it means, as the collection has it.
#[derive(Deserialize)]
struct Vector {
    line: String,
    vehicle: String,
    positions: Vec<Expected>,
    reply: Vec<String>,
}

#[derive(Deserialize)]
struct Expected {
    /// `2018-11-10 06:11:43.000`.
    time: String,
    valid: bool,
    lat: f64,
    lon: f64,
    /// Knots.
    speed: f64,
    course: f64,
    alt: f64,
}

#[test]
fn real_wialon_lines_mean_what_the_collection_says() {
    let Some(vectors) = vectors_of("wialon") else {
        return;
    };
    assert!(!vectors.is_empty());
    for vector in &vectors {
        let turn = wialon_turn(vector);
        let positions: Vec<&Record> = turn.positions().collect();
        assert_eq!(positions.len(), vector.positions.len(), "{}", vector.line);
        for (record, expected) in positions.into_iter().zip(&vector.positions) {
            check(record, expected, vector);
        }
        // The collection's server answers a short report as if it were a full one; the format's
        // document gives it an answer of its own.
        let reply: Vec<String> = vector
            .reply
            .iter()
            .map(|reply| match vector.line.starts_with("#SD#") {
                true => reply.replace("#AD#", "#ASD#"),
                false => reply.clone(),
            })
            .collect();
        assert_eq!(turn.replies(), reply, "{}", vector.line);
    }
}

/// The last turn of a connection on which the vehicle logs in and sends the line. Lenient, since
/// a login of the collection was anonymised under its checksum, and two lines have minutes of 60
/// and more.
fn wialon_turn(vector: &Vector) -> Turn {
    let registry = Registry::built_in();
    let protocol = registry.by_name("wialon").unwrap();
    let login = format!("#L#{};NA", vector.vehicle);
    let options = DecoderOptions { is_lenient: true };
    let lines = [login.as_bytes(), vector.line.as_bytes()];
    converse(protocol.as_ref(), options, lines).pop().unwrap()
}

#[track_caller]
fn check(record: &Record, expected: &Expected, vector: &Vector) {
    let fix = record.fix().unwrap();
    let time = format!("{}Z", expected.time.replace(' ', "T"));
    assert_eq!(record.key.vehicle.as_str(), vector.vehicle);
    assert_eq!(record.key.time.to_string(), time, "{}", vector.line);
    assert_eq!(fix.valid, expected.valid, "{}", vector.line);
    // The collection has no word for a field that was not sent, and gives 0.
    let quantity = |quantity: Option<Milli>| quantity.map_or(0.0, Milli::as_f64);
    let knots = quantity(fix.speed_kmh) / 1.852;
    for (is, should, tolerance) in [
        (fix.latitude.as_f64(), expected.lat, 1e-6),
        (fix.longitude.as_f64(), expected.lon, 1e-6),
        (knots, expected.speed, 1e-3),
        (quantity(fix.course_deg), expected.course, 1e-3),
        (quantity(fix.altitude_m), expected.alt, 1e-3),
    ] {
        let line = &vector.line;
        assert!((is - should).abs() <= tolerance, "{is} {should} in {line}");
    }
}

fn vectors_of(protocol: &str) -> Option<Vec<Vector>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/vectors")
        .join(format!("{protocol}.jsonl"));
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    };
    let vectors = text.lines().map(|line| serde_json::from_str(line).unwrap());
    Some(vectors.collect())
}
