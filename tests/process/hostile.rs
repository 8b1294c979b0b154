//! Lines that are right and still hostile, through a real node: ids that look like paths and
//! markup, fields of sixty thousand bytes, bytes that are no text. What is taken is stored, found
//! under its id, and the same after a kill; what is refused is answered.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use waymesh::{
    client::{ExportFilter, TimeRange},
    types::{ids::VehicleId, record::Kind},
};

use crate::{books, node::Node};

const SHORT: &str = "011125;090501;5926.2320;N;02445.2100;E;42.5;181;34;9";

/// Ids that a careless program takes for something else.
const IDS: [&str; 16] = [
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "a/b/track",
    "a?limit=1&after=b#c",
    "%2e%2e%2f",
    "%00",
    "\\\\host\\share",
    "\"quoted\\\"",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    " two  spaces ",
    "автобус 7 🚌",
    "\u{202e}7 sub\u{feff}",
    "0123456789012345678901234567890123456789012345678901234567890123",
];

#[test]
fn an_id_is_a_name_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(&folder.path().join("data"));
    for id in IDS {
        let lines = [format!("#L#{id};NA"), format!("#SD#{SHORT}")];
        let answers = converse(node.vehicles, &lines.map(String::into_bytes));
        assert_eq!(answers, ["#AL#1", "#ASD#1"], "{id}");
    }
    for n_starts in 1..=2 {
        for id in IDS {
            let vehicle = VehicleId::parse(id.as_bytes()).unwrap();
            let client = node.client();
            assert_eq!(
                client.vehicle(&vehicle).unwrap().position.vehicle,
                id,
                "{n_starts}"
            );
            let track = client.track(&vehicle, TimeRange::default(), 10);
            assert_eq!(
                track
                    .map(|position| position.unwrap().vehicle)
                    .collect::<Vec<_>>(),
                [id]
            );
        }
        let exported: Vec<_> = node
            .export()
            .iter()
            .map(|position| position["vehicle"].clone())
            .collect();
        let mut ids = IDS;
        ids.sort_unstable();
        assert_eq!(exported, ids);
        let paged = node
            .client()
            .vehicles(1)
            .map(|position| position.unwrap().vehicle);
        assert_eq!(paged.collect::<Vec<_>>(), ids);
        node.kill_and_restart();
    }
    let outside: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(outside.len(), 1, "nothing but the data folder: {outside:?}");
}

#[test]
fn an_id_that_is_none_is_refused_and_its_connection_closed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("data"));
    let long = "7".repeat(10_000);
    for id in [
        &b""[..],
        long.as_bytes(),
        b"7\0",
        b"\xff\xfe",
        b"\x1b[31m7",
        &[b'7'; 65],
    ] {
        let mut socket = connect(node.vehicles);
        socket
            .write_all(&[b"#L#", id, b";NA\r\n"].concat())
            .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "#AL#0\r\n");
        // The same of NMEA, which has no answers: what follows belongs to nobody.
        let mut socket = connect(node.vehicles);
        let rmc = b"$GPRMC,081500.00,A,5926.2320,N,02445.2100,E,10.0,181.0,011125,,,A*62\r\n";
        socket
            .write_all(&[b"$IMEI=", id, b"\r\n", &rmc[..]].concat())
            .unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    }
    let metrics = books::settled(&node);
    let rejected =
        |reason: &str| metrics[&format!("waymesh_lines_rejected_total{{reason=\"{reason}\"}}")];
    assert_eq!((rejected("malformed"), rejected("no_identity")), (12, 6));
    assert_eq!(
        metrics[r#"waymesh_connections_closed_total{reason="login"}"#],
        6
    );
    assert_eq!(metrics["waymesh_positions_accepted_total"], 0);
}

#[test]
fn fields_of_any_bytes_and_length_are_stored_as_they_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(&folder.path().join("data"));
    let full = |clock: &str, params: &[u8]| {
        let head = format!("#D#011125;{clock};5926.2320;N;02445.2100;E;1;2;3;9;1;0;0;;;");
        [head.as_bytes(), params].concat()
    };
    let many: Vec<_> = (0..256)
        .map(|idx| format!("{}{idx}:1:{idx}", "n".repeat(200)))
        .collect();
    let long = vec![b'x'; 60 * 1024];
    let no_text = vec![0xff; 60 * 1024];
    let batch = format!(
        "#B#{}",
        vec![SHORT.replace("090501", "000000"); 1_000].join("|")
    );
    let lines = [
        b"#L#hostile;NA".to_vec(),
        full("090501", &[b"a:3:", &long[..]].concat()),
        full("090502", &[&long[..], b":1:7"].concat()),
        full("090503", &[b"b:3:", &no_text[..]].concat()),
        full("090504", many.join(",").as_bytes()),
        full(
            "090505",
            b"nul\0name:3:nul\0value,\x1b[2J:3:\xf0\x9f,SOS:1:1,e:2:-0.0,f:2:1e308",
        ),
        [b"#M#", &no_text[..]].concat(),
        b"#M#\0".to_vec(),
        batch.into_bytes(),
        full("090506", &[b"a:3:", &long[..], &long[..]].concat()),
        b"#P#".to_vec(),
    ];
    let answers = converse(node.vehicles, &lines);
    assert_eq!(
        answers,
        [
            "#AL#1", "#AD#1", "#AD#1", "#AD#1", "#AD#1", "#AD#1", "#AM#1", "#AM#1", "#AB#1000",
            "#AD#-1", "#AP#"
        ]
    );
    let metrics = books::settled(&node);
    assert_eq!(metrics["waymesh_positions_accepted_total"], 1_005);
    assert_eq!(metrics["waymesh_positions_duplicate_total"], 999);
    let replaced = "\u{fffd}".repeat(60 * 1024);
    for _ in 0..2 {
        let positions = by_second(&node.export());
        let text = |second: &str, name: &str| positions[second][name].as_str().unwrap().to_owned();
        assert_eq!(positions.len(), 6);
        assert_eq!(text("09:05:01", "a").as_bytes(), long);
        assert_eq!(
            positions["09:05:02"][std::str::from_utf8(&long).unwrap()],
            7
        );
        assert_eq!(text("09:05:03", "b"), replaced);
        assert_eq!(positions["09:05:04"].as_object().unwrap().len(), 256 + 2);
        assert_eq!(text("09:05:05", "nul\0name"), "nul\0value");
        assert_eq!(positions["09:05:05"]["f"], 1e308);
        let events = export_events(&node);
        let mut messages: Vec<_> = events
            .iter()
            .map(|event| event["attributes"]["message"].as_str().unwrap())
            .collect();
        messages.sort_unstable();
        assert_eq!(messages, ["\0", replaced.as_str()]);
        node.kill_and_restart();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    socket
}

/// Sends each line and waits for its answer before the next.
fn converse(address: SocketAddr, lines: &[Vec<u8>]) -> Vec<String> {
    let mut socket = BufReader::new(connect(address));
    let mut answers = Vec::new();
    for line in lines {
        socket
            .get_mut()
            .write_all(&[line, &b"\r\n"[..]].concat())
            .unwrap();
        let mut answer = String::new();
        socket.read_line(&mut answer).unwrap();
        answers.push(answer.trim_end().to_owned());
    }
    answers
}

/// The attributes of each position by its time of day.
fn by_second(positions: &[Value]) -> BTreeMap<String, Value> {
    let entry = |position: &Value| {
        let time = position["time"].as_str().unwrap();
        (time[11..19].to_owned(), position["attributes"].clone())
    };
    positions.iter().map(entry).collect()
}

fn export_events(node: &Node) -> Vec<Value> {
    let filter = ExportFilter {
        kind: Some(Kind::Event),
        ..ExportFilter::default()
    };
    let lines = node.client().export(&filter).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}
