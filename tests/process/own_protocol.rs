//! A protocol of the user's own: the example of the configuration, on the port that it shares with
//! the built-in ones, on a port of its own, and by hand.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{books, node::Node};

/// Far above what an answer takes.
const PATIENCE: Duration = Duration::from_secs(15);

const HI: &str = "$ACME,HI,353976013445485";
const POSITION: &str = "$ACME,POS,20261120090501,59.4372,24.7535,42,181,A,1,0.75";

fn example_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/own-protocol.toml")
}

fn example() -> String {
    std::fs::read_to_string(example_path()).unwrap()
}

/// A tracker that waits for its answers.
struct Tracker(BufReader<TcpStream>);

impl Tracker {
    fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next answer; empty at the end of the connection.
    fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        answer
    }

    #[track_caller]
    fn expect(&mut self, line: &str, answer: &str) {
        self.send(&format!("{line}\r\n"));
        assert_eq!(self.answer(), answer, "{line}");
    }
}

#[test]
fn the_example_is_recognised_stored_and_answered_beside_the_built_in_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start_with(&folder.path().join("data"), &example());
    let mut tracker = Tracker::connect(node.vehicles);
    let mut wialon = Tracker::connect(node.vehicles);
    tracker.expect(HI, "WELCOME 353976013445485\r\n");
    wialon.expect("#L#tram-1;NA", "#AL#1\r\n");
    tracker.expect(POSITION, "OK 353976013445485\r\n");
    wialon.expect(
        "#SD#201126;090501;5926.2320;N;02445.2100;E;42;181;34;9",
        "#ASD#1\r\n",
    );
    tracker.expect("$ACME,BEAT,17", "BEAT 17\r\n");
    tracker.expect(
        "$ACME,POS,20261120090502,91.0,24.7535,42,181,A",
        "ERROR\r\n",
    );
    tracker.expect("$ACME,WHAT", "ERROR\r\n");
    // In two pieces, as a modem may cut them, and the answers in order.
    tracker.send("$ACME,ALARM,20261120090503,s");
    tracker.send("os\r\n$ACME,POS,20261120090504,59.5,24.8,0,0,V\n$ACME,BEAT,18\n");
    let answers = [(); 3].map(|()| tracker.answer());
    let acknowledged = "OK 353976013445485\r\n";
    assert_eq!(answers, [acknowledged, acknowledged, "BEAT 18\r\n"]);
    drop((tracker, wialon));
    let metrics = books::settled(&node);
    let rejected =
        |reason: &str| metrics[&format!("waymesh_lines_rejected_total{{reason=\"{reason}\"}}")];
    assert_eq!(
        (rejected("malformed"), rejected("coordinates_impossible")),
        (1, 1)
    );
    // What was acknowledged is there after the worst.
    node.kill_and_restart();
    let stored = node.export();
    let of_tracker: Vec<&Value> = stored
        .iter()
        .filter(|position| position["vehicle"] == "353976013445485")
        .collect();
    assert_eq!((stored.len(), of_tracker.len()), (3, 2));
    let first = of_tracker[0];
    assert_eq!(first["protocol"], "acme");
    assert_eq!(first["time"], "2026-11-20T09:05:01.000Z");
    assert_eq!(
        (&first["lat"], &first["lon"]),
        (&json!(59.4372), &json!(24.7535))
    );
    assert_eq!(
        (&first["speed_kmh"], &first["valid"]),
        (&json!(42.0), &json!(true))
    );
    assert_eq!(first["attributes"], json!({"fuel": 0.75, "ignition": true}));
    assert_eq!(of_tracker[1]["valid"], false);
}

#[test]
fn a_port_of_its_own_and_passwords_hold_for_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let settings = r##"
accept_unknown = false
[[vehicle]]
id = "bus-7"
password = "secret"
[[listener]]
address = "127.0.0.1:0"
protocol = "hashes"
[[protocol]]
name = "hashes"
line = [
  '(?<vehicle>[\w-]+),(?<password>\w*)',
  '\$GP,(?<time>\d+),(?<lat_ddmm>[\d.]+),(?<ns>[NS]),(?<lon_dddmm>[\d.]+),(?<ew>[EW]),(?<speed_knots>[\d.]+)',
]
terminator = "#"
time_format = "unix"
reply = "+#\n"
refusal = "-{vehicle}#\n"
"##;
    let node = Node::start_with(&folder.path().join("data"), settings);
    let [own] = *node.listeners else {
        panic!("{:?}", node.listeners);
    };
    for login in ["bus-7,wrong#", "bus-8,secret#"] {
        let mut stranger = Tracker::connect(own);
        stranger.send(login);
        assert_eq!(
            (stranger.answer(), stranger.answer()),
            ("-#\n".into(), String::new())
        );
    }
    let mut bus = Tracker::connect(own);
    bus.send("bus-7,secret#$GP,1795165501,5926.2320,N,02445.2100,W,22.4#junk#");
    let answers = [(); 3].map(|()| bus.answer());
    assert_eq!(answers, ["+#\n", "+#\n", "-bus-7#\n"]);
    drop(bus);
    books::settled(&node);
    let stored = node.export();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let position = &stored[0];
    assert_eq!(position["time"], "2026-11-20T09:05:01.000Z");
    assert_eq!(
        (&position["lat"], &position["lon"]),
        (&json!(59.4372), &json!(-24.7535))
    );
    assert_eq!(position["speed_kmh"], 41.485);
}

/// What is not recognised ends where a line of one's own may end, not at a newline alone.
#[test]
fn a_first_line_that_does_not_fit_swallows_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let settings = r##"
        [[protocol]]
        name = "hashes"
        terminator = "#"
        line = '\*POS,(?<vehicle>\w+),(?<lat>-?\d+\.\d+),(?<lon>-?\d+\.\d+)'
        reply = "OK {lat}\n"
    "##;
    let node = Node::start_with(&folder.path().join("data"), settings);
    let mut tracker = Tracker::connect(node.vehicles);
    tracker.send("*HELLO#*POS,v7,59.5,24.5#");
    assert_eq!(tracker.answer(), "OK 59.5\n");
    // In pieces.
    let mut tracker = Tracker::connect(node.vehicles);
    for piece in ["*HE", "LLO", "#", "*POS,v7,", "60.5,24.5", "#"] {
        tracker.send(piece);
    }
    assert_eq!(tracker.answer(), "OK 60.5\n");
    assert_eq!(node.export().len(), 2);
    let metrics = node.metrics();
    let rejected = "waymesh_lines_rejected_total{reason=\"unknown_protocol\"}";
    assert_eq!(metrics[rejected], 2);
}

#[test]
fn decode_takes_the_protocols_of_a_configuration() {
    let (code, recognised) = decode(&["--config"], &format!("{HI}\n{POSITION}\n"));
    assert_eq!(code, Some(0));
    let objects: Vec<Value> = recognised
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        objects[0]["replies"],
        json!(["WELCOME 353976013445485\r\n"])
    );
    assert_eq!(objects[1]["positions"][0]["vehicle"], "353976013445485");
    let named = decode(&["--protocol", "acme", "--config"], "what\n");
    let expected = json!({"line": "what", "error": "malformed", "replies": ["ERROR\r\n"]});
    assert_eq!(serde_json::from_str::<Value>(&named.1).unwrap(), expected);
    // Without the configuration nobody knows it.
    let (code, _) = decode(&["--protocol", "acme"], "");
    assert_eq!(code, Some(64));
}

/// Exit code and output of `decode`; the example stands behind the last option where that is
/// `--config`.
fn decode(options: &[&str], lines: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waymesh"));
    command.arg("decode").args(options);
    if options.last() == Some(&"--config") {
        command.arg(example_path());
    }
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let written = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = child.wait_with_output().unwrap();
    // A command that refuses its options need not read.
    assert!(written.is_ok() || !output.status.success());
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}
