//! Real receivers' logs through a real node, against a second reading of the same lines that
//! shares no code with the decoder: split at commas, checked by a sum of its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::Value;

use crate::{books, node::Node, reference};

/// Connections open at once.
const N_CONNECTIONS: usize = 8;

/// A receiver: what it is called, how it says so, and what it sends.
struct Vehicle {
    id: String,
    identity: String,
    lines: Vec<Vec<u8>>,
    n_spoiled: usize,
}

/// What an RMC says; ordered by time, then by the rest.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
struct Reading {
    time: String,
    numbers: [f64; 4],
}

#[test]
fn each_valid_rmc_of_real_receivers_is_stored_once_and_no_other() {
    let Some(folder) = reference::path("nmea") else {
        return;
    };
    let vehicles = vehicles_in(&folder);
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(&directory.path().join("data"));
    send_all(node.vehicles, &vehicles);
    let metrics = books::settled(&node);
    let mut stored: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
    for position in node.export() {
        let vehicle = position["vehicle"].as_str().unwrap().to_owned();
        stored
            .entry(vehicle)
            .or_default()
            .push(reading_of(&position));
    }
    let mut n_readings = 0;
    for vehicle in &vehicles {
        let mut expected: Vec<Reading> =
            vehicle.lines.iter().filter_map(|line| read(line)).collect();
        expected.sort_by(|one, other| one.partial_cmp(other).unwrap());
        expected.dedup();
        n_readings += expected.len();
        let mut stored = stored.remove(&vehicle.id).unwrap_or_default();
        stored.sort_by(|one, other| one.partial_cmp(other).unwrap());
        check(&vehicle.id, &stored, &expected);
    }
    assert!(stored.is_empty(), "vehicles that never were: {stored:?}");
    assert!(n_readings > 1_500, "{n_readings}");
    // Each vehicle says who it is on a line of its own.
    let n_lines: usize = vehicles.iter().map(|vehicle| vehicle.lines.len() + 1).sum();
    assert_eq!(metrics["waymesh_lines_received_total"], n_lines as u64);
    assert_eq!(metrics["waymesh_positions_stored_total"], n_readings as u64);
    let n_spoiled: usize = vehicles.iter().map(|vehicle| vehicle.n_spoiled).sum();
    let rejected = metrics[r#"waymesh_lines_rejected_total{reason="checksum"}"#];
    assert!(
        n_spoiled > 100 && rejected >= n_spoiled as u64,
        "{n_spoiled} {rejected}"
    );
}

/// Two vehicles for each log: one sends it as it is, the other with every fifth RMC spoiled.
fn vehicles_in(folder: &std::path::Path) -> Vec<Vehicle> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut vehicles = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        // Comments of the log, and what the node takes for no line.
        let is_of_receiver =
            |line: &Vec<u8>| !line.starts_with(b"#") && line.iter().any(|byte| *byte != b'\r');
        let lines: Vec<_> = lines.filter(is_of_receiver).collect();
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut spoiled = lines.clone();
        let n_spoiled = spoil(&mut spoiled);
        let content = format!("PGID,{id}");
        vehicles.push(Vehicle {
            identity: format!("${content}*{:02X}", sum_of(content.as_bytes())),
            id,
            lines,
            n_spoiled: 0,
        });
        let id = format!("{:08X}", 0x0A00_0000 + number);
        vehicles.push(Vehicle {
            identity: id.clone(),
            id,
            lines: spoiled,
            n_spoiled,
        });
    }
    vehicles
}

/// Changes a digit of the checksum of every fifth line with a valid RMC; the number of these.
fn spoil(lines: &mut [Vec<u8>]) -> usize {
    let with_fix = lines.iter_mut().filter(|line| read(line).is_some());
    let mut n_spoiled = 0;
    for line in with_fix.step_by(5) {
        let digit = line.iter().rposition(u8::is_ascii_hexdigit).unwrap();
        line[digit] = if line[digit] == b'0' { b'1' } else { b'0' };
        n_spoiled += 1;
    }
    n_spoiled
}

fn send_all(address: SocketAddr, vehicles: &[Vehicle]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..N_CONNECTIONS {
            scope.spawn(|| {
                while let Some(vehicle) = vehicles.get(next.fetch_add(1, Ordering::Relaxed)) {
                    send(address, vehicle);
                }
            });
        }
    });
}

/// Sends all lines of a vehicle in pieces that end anywhere, and waits until the node is done.
fn send(address: SocketAddr, vehicle: &Vehicle) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut bytes = format!("{}\r\n", vehicle.identity).into_bytes();
    for line in &vehicle.lines {
        bytes.extend(line);
        bytes.push(b'\n');
    }
    for piece in bytes.chunks(1_459) {
        socket.write_all(piece).unwrap();
    }
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty(), "NMEA has no answers");
}

/// An intact RMC that has a fix, of a time that a receiver can have had one at.
fn read(line: &[u8]) -> Option<Reading> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let (content, given) = line.strip_prefix('$')?.rsplit_once('*')?;
    let fields: Vec<&str> = content.split(',').map(str::trim).collect();
    let is_rmc = fields[0].len() == 5 && fields[0].ends_with("RMC");
    let is_intact = u8::from_str_radix(given, 16).ok()? == sum_of(content.as_bytes());
    // The mode N, in the later versions, says that there is no fix whatever the status says.
    if !is_rmc || !is_intact || fields[2] != "A" || fields.get(12) == Some(&"N") {
        return None;
    }
    let date = fields[9];
    let year: u32 = date[4..].parse().unwrap();
    let year = if year < 70 { 2000 + year } else { 1900 + year };
    let clock = format!("{:0<9}", fields[1].replace('.', ""));
    let time = format!(
        "{year}-{}-{}T{}:{}:{}.{}Z",
        &date[2..4],
        &date[..2],
        &clock[..2],
        &clock[2..4],
        &clock[4..6],
        &clock[6..9],
    );
    // What is empty counts as -1, which no receiver says.
    let number = |text: &str| text.parse::<f64>().unwrap_or(-1.0);
    let numbers = [
        degrees(fields[3], fields[4]),
        degrees(fields[5], fields[6]),
        number(fields[7]),
        number(fields[8]) % 360.0,
    ];
    (year >= 1990).then_some(Reading { time, numbers })
}

fn degrees(text: &str, hemisphere: &str) -> f64 {
    let value: f64 = text.parse().unwrap();
    let degrees = (value / 100.0).trunc();
    let sign = if matches!(hemisphere, "S" | "W") {
        -1.0
    } else {
        1.0
    };
    sign * (degrees + (value - degrees * 100.0) / 60.0)
}

fn sum_of(content: &[u8]) -> u8 {
    let mut sum = 0;
    for byte in content {
        sum ^= byte;
    }
    sum
}

/// The same of a position that was exported; the speed in knots.
fn reading_of(position: &Value) -> Reading {
    let number = |name: &str| position[name].as_f64();
    assert_eq!(position["protocol"], "nmea");
    assert_eq!(position["valid"], true);
    Reading {
        time: position["time"].as_str().unwrap().to_owned(),
        numbers: [
            number("lat").unwrap(),
            number("lon").unwrap(),
            number("speed_kmh").map_or(-1.0, |speed| speed / 1.852),
            number("course_deg").unwrap_or(-1.0),
        ],
    }
}

#[track_caller]
fn check(vehicle: &str, stored: &[Reading], expected: &[Reading]) {
    assert_eq!(stored.len(), expected.len(), "{vehicle}");
    for (stored, expected) in stored.iter().zip(expected) {
        assert_eq!(stored.time, expected.time, "{vehicle}");
        let near = |idx: usize, tolerance: f64| {
            let (is, should) = (stored.numbers[idx], expected.numbers[idx]);
            // A VTG may fill in what the RMC leaves empty.
            let is_open = idx > 1 && should < 0.0;
            assert!(
                is_open || (is - should).abs() <= tolerance,
                "{vehicle}: {stored:?} {expected:?}"
            );
        };
        near(0, 1e-6);
        near(1, 1e-6);
        near(2, 1e-3);
        near(3, 1e-3);
    }
}
