//! `waymesh decode --lenient` against a collection of real devices' lines with what they mean.
//!
//! The collection is not part of the project: it is looked for beside the package, in
//! `../shared/vectors/<protocol>.jsonl`, and the test says so where it is not there.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::reference;

/// Sends a position, so that it is seen which vehicle an NMEA connection ended up with.
const PROBE: &str = "$GPRMC,081500.00,A,5926.2320,N,02445.2100,E,10.0,181.0,201126,,,A*62";
const PROBE_TIME: &str = "2026-11-20T08:15:00.000Z";

/// Lines that name no vehicle here, though the collection gives them one, with the reason.
const NAMELESS: [(&str, &str); 1] = [(
    "$PUBX,00,",
    "its last field is u-blox's flag of dead reckoning, no identity",
)];

#[test]
fn real_wialon_lines_mean_what_the_collection_says() {
    let Some(vectors) = vectors_of("wialon") else {
        return;
    };
    let connections = vectors.iter().map(|vector| {
        let login = format!("#L#{};NA", text(vector, "vehicle"));
        vec![login, text(vector, "line").to_owned()]
    });
    let answers = decode(&connections.collect::<Vec<_>>());
    for (vector, objects) in vectors.iter().zip(answers) {
        let [_, object] = objects.as_slice() else {
            panic!("{vector}: {objects:?}");
        };
        let line = text(vector, "line");
        check(vector, &positions(std::slice::from_ref(object)));
        // The collection's server answers a short report as if it were a full one; the format's
        // document gives it an answer of its own.
        let expected = list(vector, "reply").iter().map(|reply| {
            let reply = reply.as_str().unwrap();
            match line.starts_with("#SD#") {
                true => Value::from(reply.replace("#AD#", "#ASD#")),
                false => Value::from(reply),
            }
        });
        assert!(
            list(object, "replies").iter().cloned().eq(expected),
            "{object}"
        );
    }
}

#[test]
fn real_nmea_lines_mean_what_the_collection_says() {
    let Some(vectors) = vectors_of("t55") else {
        return;
    };
    // Lines of one vehicle in a row are one connection; one that has no vehicle waits for the
    // identity after it.
    let is_one =
        |one: &Value, next: &Value| one["vehicle"].is_null() || one["vehicle"] == next["vehicle"];
    let groups: Vec<&[Value]> = vectors.chunk_by(is_one).collect();
    let connections = groups.iter().map(|group| {
        let lines = group.iter().map(|vector| text(vector, "line").to_owned());
        lines.chain([PROBE.to_owned()]).collect()
    });
    let answers = decode(&connections.collect::<Vec<_>>());
    let mut n_positions = 0;
    for (group, objects) in groups.iter().zip(answers) {
        let mut positions = positions(&objects);
        n_positions += positions.len();
        let vehicle = text(&group[group.len() - 1], "vehicle");
        if let Some((start, reason)) = nameless(group) {
            eprintln!("{start} names no vehicle: {reason}");
            assert!(positions.is_empty());
            continue;
        }
        let probe = positions.pop().unwrap();
        assert_eq!(
            (text(&probe, "vehicle"), text(&probe, "time")),
            (vehicle, PROBE_TIME)
        );
        let mut rest = positions.as_slice();
        for vector in *group {
            let (own, others) = rest.split_at(list(vector, "positions").len());
            check(vector, own);
            rest = others;
        }
        assert!(rest.is_empty(), "{rest:?}");
        assert!(
            objects
                .iter()
                .all(|object| list(object, "replies").is_empty())
        );
    }
    assert!(n_positions > groups.len());
}

/// Feeds the connections to the command; what it printed of each, none of it an error.
fn decode(connections: &[Vec<String>]) -> Vec<Vec<Value>> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_waymesh"))
        .args(["decode", "--lenient"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<String> = connections.iter().map(|lines| lines.join("\n")).collect();
    let feeder = std::thread::spawn(move || input.write_all(lines.join("\n\n").as_bytes()));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let mut objects = output
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .peekable();
    let of_connection = |lines: &Vec<String>| {
        let mut own: Vec<Value> = objects.by_ref().take(lines.len()).collect();
        for (line, object) in lines.iter().zip(&own) {
            assert_eq!(text(object, "line"), line, "{own:?}");
            assert!(object["error"].is_null(), "{object}");
        }
        // What only the end of the connection completes.
        let is_of_end = |object: &Value| text(object, "line").is_empty();
        own.extend(std::iter::from_fn(|| objects.next_if(is_of_end)));
        own
    };
    connections.iter().map(of_connection).collect()
}

/// The positions that were printed mean what the collection says of one line.
#[track_caller]
fn check(vector: &Value, positions: &[Value]) {
    let expected = list(vector, "positions");
    assert_eq!(positions.len(), expected.len(), "{vector}");
    for (position, expected) in positions.iter().zip(expected) {
        assert_eq!(position["vehicle"], vector["vehicle"]);
        assert_eq!(position["valid"], expected["valid"], "{vector}");
        // The collection drops the fractions of a second of a TRCCR.
        let n_letters = if text(vector, "line").starts_with("$TRCCR") {
            "2014-01-01T00:11:22".len()
        } else {
            "2014-01-01T00:11:22.333".len()
        };
        let expected_time = text(expected, "time").replace(' ', "T");
        let time = text(position, "time");
        assert_eq!(time[..n_letters], expected_time[..n_letters], "{vector}");
        // The collection has no word for a field that was not sent, and gives 0.
        let number = |name: &str| position[name].as_f64().unwrap_or_default();
        for (is, name, tolerance) in [
            (number("lat"), "lat", 1e-6),
            (number("lon"), "lon", 1e-6),
            (number("speed_kmh") / 1.852, "speed", 1e-3),
            (number("course_deg"), "course", 1e-3),
            (number("altitude_m"), "alt", 1e-3),
        ] {
            let should = expected[name].as_f64().unwrap();
            assert!((is - should).abs() <= tolerance, "{name} of {vector}: {is}");
        }
    }
}

/// Which line of the group names no vehicle here, and why.
fn nameless(group: &[Value]) -> Option<(&'static str, &'static str)> {
    let is_in_group = |start: &str| {
        group
            .iter()
            .any(|vector| text(vector, "line").starts_with(start))
    };
    NAMELESS.into_iter().find(|(start, _)| is_in_group(start))
}

fn positions(objects: &[Value]) -> Vec<Value> {
    let positions = objects.iter().flat_map(|object| list(object, "positions"));
    positions.cloned().collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

/// The list `name`; an absent one is empty.
fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn vectors_of(protocol: &str) -> Option<Vec<Value>> {
    let path = reference::path(&format!("vectors/{protocol}.jsonl"))?;
    let lines = fs::read_to_string(path).unwrap();
    let vectors: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!vectors.is_empty());
    Some(vectors)
}
