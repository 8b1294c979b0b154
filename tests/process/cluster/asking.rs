//! Nodes whose stores were filled apart are asked together, while one of them dies, hangs or comes back.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use waymesh::client::{ClientError, ExportFilter};

use crate::node::Node;

/// How long anything is waited for before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const ANY: [&str; 3] = ["127.0.0.1:0"; 3];

/// Nodes of one secret, each on its own ports of this machine.
struct Family {
    folder: tempfile::TempDir,
}

impl Family {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut keygen = Command::new(env!("CARGO_BIN_EXE_waymesh"));
        let made = keygen
            .arg("keygen")
            .arg(folder.path().join("secret"))
            .status();
        assert!(made.unwrap().success());
        Self { folder }
    }

    fn start(&self, name: &str, ports: [&str; 3]) -> Node {
        let secret: PathBuf = self.folder.path().join("secret");
        Node::start_named(&self.folder.path().join(name), name, &secret, ports)
    }
}

fn link_of(node: &Node) -> String {
    let status: Value = node.client().status().unwrap();
    status["addresses"]["link"].as_str().unwrap().to_owned()
}

/// Links each to each, and waits until all have.
fn link(nodes: &[&Node]) {
    for (number, node) in nodes.iter().enumerate() {
        for other in nodes.iter().skip(number + 1) {
            let dialled = node.client().dial(&link_of(other));
            dialled.unwrap();
        }
    }
    for node in nodes {
        wait_until("links", || {
            let members = node.client().members().unwrap();
            members.nodes.iter().filter(|one| one.linked).count() == nodes.len() - 1
        });
    }
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "no {what} in time");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Sends batches of `n_fixes` fixes, a second apart, until all are stored; each has `n_bytes` of text.
fn feed(address: SocketAddr, id: &str, fixes: std::ops::Range<u32>, n_bytes: usize) {
    let mut line = BufReader::new(TcpStream::connect(address).unwrap());
    line.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut say = |text: &str, answer: &str| {
        line.get_mut().write_all(text.as_bytes()).unwrap();
        let mut said = String::new();
        line.read_line(&mut said).unwrap();
        assert_eq!(said.trim_end(), answer);
    };
    say(&format!("#L#{id};NA\r\n"), "#AL#1");
    let text = "x".repeat(n_bytes);
    let seconds: Vec<u32> = fixes.collect();
    for batch in seconds.chunks(100) {
        let bodies: Vec<String> = batch
            .iter()
            .map(|second| {
                let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
                let time = format!("{hour:02}{minute:02}{second:02}");
                let place = "5926.0000;N;02400.0000;E;42;90;30;9";
                format!("011125;{time};{place};1.1;0;0;;NA;note:3:{text}")
            })
            .collect();
        let line = format!("#B#{}\r\n", bodies.join("|"));
        say(&line, &format!("#AB#{}", batch.len()));
    }
}

/// Status and JSON of an answer.
fn get(node: &Node, path: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(node.http).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn missing(node: &Node) -> Value {
    let (status, answer) = get(node, "/v1/vehicles/bus");
    assert_eq!(status, 200, "{answer}");
    answer["missing"].clone()
}

#[test]
fn a_killed_node_is_missing_until_it_is_back_with_what_it_has() {
    let family = Family::new();
    let (alpha, beta) = (family.start("alpha", ANY), family.start("beta", ANY));
    let mut gamma = family.start("gamma", ANY);
    for (node, fixes) in [(&alpha, 0..50), (&beta, 40..90), (&gamma, 80..120)] {
        feed(node.vehicles, "bus", fixes, 10);
    }
    feed(gamma.vehicles, "only-there", 0..10, 10);
    link(&[&alpha, &beta, &gamma]);
    let whole = alpha.export();
    assert_eq!(whole.len(), 130);
    assert_eq!(beta.export(), whole);
    assert_eq!(gamma.export(), whole);

    let ports = [
        gamma.vehicles.to_string(),
        gamma.http.to_string(),
        link_of(&gamma),
    ];
    gamma.kill();
    for node in [&alpha, &beta] {
        wait_until("gap", || missing(node) == json!(["gamma"]));
        for path in ["/v1/vehicles/only-there", "/v1/export"] {
            let (status, problem) = get(node, path);
            assert_eq!((status, &problem["missing"]), (503, &json!(["gamma"])));
        }
        let refused = node.client().export(&ExportFilter::default());
        assert!(matches!(
            refused,
            Err(ClientError::Problem { status: 503, .. })
        ));
        let partial = ExportFilter {
            is_partial: true,
            ..ExportFilter::default()
        };
        let partial = node.client().export(&partial).unwrap();
        assert_eq!(partial.missing(), ["gamma"]);
        assert_eq!(partial.lines().count(), 90);
    }
    let [vehicles, http, link] = ports.each_ref().map(String::as_str);
    let gamma = family.start("gamma", [vehicles, http, link]);
    for node in [&alpha, &beta, &gamma] {
        wait_until("return", || missing(node) == json!([]));
        assert_eq!(get(node, "/v1/vehicles/only-there").0, 200);
        assert_eq!(get(node, "/v1/vehicles/nowhere").0, 404);
    }
    assert_eq!(alpha.export(), whole);
}

/// Who is missing from the answer about a vehicle that no node knows; none if it is complete.
fn missed(node: &Node) -> Option<Value> {
    let (status, problem) = get(node, "/v1/vehicles/nowhere");
    assert!([404, 503].contains(&status), "{problem}");
    (status == 503).then(|| problem["missing"].clone())
}

/// The members besides itself, with their states.
fn others(node: &Node) -> Vec<(String, String)> {
    let members = node.client().members().unwrap();
    let others = members.nodes.into_iter();
    let others = others.filter(|one| one.name != members.self_name);
    let mut others: Vec<_> = others.map(|one| (one.name, one.state)).collect();
    others.sort();
    others
}

#[test]
fn who_starts_alone_after_the_death_of_all_misses_the_others_until_they_are_forgotten() {
    let family = Family::new();
    let names = ["alpha", "beta", "gamma"];
    let mut nodes = names.map(|name| family.start(name, ANY));
    link(&nodes.each_ref());
    let kept = family.folder.path().join("alpha").join("members");
    wait_until("members on disk", || {
        let kept = std::fs::read_to_string(&kept).unwrap_or_default();
        ["beta", "gamma"].iter().all(|name| kept.contains(name))
    });
    nodes.iter_mut().for_each(Node::kill);

    let mut alone = family.start("alpha", ANY);
    let down = |name: &str| (name.to_owned(), "down".to_owned());
    assert_eq!(others(&alone), [down("beta"), down("gamma")]);
    assert_eq!(missed(&alone), Some(json!(["beta", "gamma"])));
    alone.client().forget("beta").unwrap();
    assert_eq!(missed(&alone), Some(json!(["gamma"])));

    // What was struck off is so on disk when the answer comes.
    alone.kill();
    let alone = family.start("alpha", ANY);
    assert_eq!(others(&alone), [down("gamma")]);
    assert_eq!(missed(&alone), Some(json!(["gamma"])));
    alone.client().forget("gamma").unwrap();
    assert_eq!(others(&alone), []);
    assert_eq!(missed(&alone), None);
}

#[test]
fn a_node_that_hangs_holds_up_no_answer() {
    let family = Family::new();
    let (alpha, beta) = (family.start("alpha", ANY), family.start("beta", ANY));
    feed(alpha.vehicles, "bus", 0..10, 10);
    feed(beta.vehicles, "bus", 10..20, 10);
    link(&[&alpha, &beta]);
    assert_eq!(missing(&alpha), json!([]));
    beta.signal("STOP");
    // A 504 would say that the answer came too late.
    assert_eq!(missing(&alpha), json!(["beta"]));
    let (status, track) = get(&alpha, "/v1/vehicles/bus/track");
    assert_eq!((status, &track["missing"]), (200, &json!(["beta"])));
    assert_eq!(track["positions"].as_array().unwrap().len(), 10);
    assert_eq!(get(&alpha, "/v1/vehicles/nowhere").0, 503);
    assert_eq!(get(&alpha, "/v1/export").0, 503);
    beta.signal("CONT");
    wait_until("return", || missing(&alpha) == json!([]));
    assert_eq!(alpha.export().len(), 20);
}

/// The export has begun, and far more is to come than the way to its reader holds.
#[test]
fn an_export_that_loses_a_node_midway_breaks_off() {
    let family = Family::new();
    let (alpha, mut beta) = (family.start("alpha", ANY), family.start("beta", ANY));
    feed(beta.vehicles, "bus", 0..40_000, 500);
    feed(alpha.vehicles, "zebra", 0..10, 10);
    link(&[&alpha, &beta]);
    let whole = alpha.client().export(&ExportFilter::default()).unwrap();
    assert_eq!(whole.lines().map_while(Result::ok).count(), 40_010);

    // Readers that take nothing hold up nobody else who asks over the same link.
    let idle = (0..6).map(|_| alpha.client().export(&ExportFilter::default()).unwrap());
    let idle: Vec<_> = idle.collect();
    let (status, last) = get(&alpha, "/v1/vehicles/bus");
    assert_eq!((status, &last["missing"]), (200, &json!([])));
    let (_, track) = get(&alpha, "/v1/vehicles/bus/track?limit=4000");
    assert_eq!(track["positions"].as_array().unwrap().len(), 4_000);
    assert_eq!(track["missing"], json!([]));
    drop(idle);
    wait_until("end of the exports that nobody reads", || {
        let metrics = beta.metrics();
        metrics["waymesh_questions_answered_total{outcome=\"cancelled\"}"] >= 6
    });

    let mut cut = alpha.client().export(&ExportFilter::default()).unwrap();
    let mut first = String::new();
    cut.read_line(&mut first).unwrap();
    assert!(first.contains("\"vehicle\":\"bus\""), "{first}");
    beta.kill();
    let mut rest = cut.lines();
    let error = rest.find_map(Result::err);
    assert!(error.is_some(), "it ended as if it were whole");
}

/// A node answers some two dozen questions of another at a time, and says to the rest that it is busy.
#[test]
fn many_questions_at_once_make_no_node_missing() {
    const N_ASKERS: usize = 64;
    let family = Family::new();
    let (a, b) = (family.start("a", ANY), family.start("b", ANY));
    feed(b.vehicles, "bus", 0..10, 1);
    link(&[&a, &b]);
    let refused = |node: &Node| {
        let metrics = node.metrics();
        metrics["waymesh_questions_answered_total{outcome=\"refused\"}"]
    };
    let deadline = Instant::now() + PATIENCE;
    while refused(&b) == 0 {
        assert!(Instant::now() < deadline, "it was never busy");
        let answers = std::thread::scope(|scope| {
            let askers = (0..N_ASKERS).map(|_| scope.spawn(|| get(&a, "/v1/vehicles/bus")));
            let askers: Vec<_> = askers.collect();
            let answers = askers.into_iter().map(|asker| asker.join().unwrap());
            answers.collect::<Vec<_>>()
        });
        for (status, answer) in answers {
            assert_eq!((status, &answer["missing"]), (200, &json!([])), "{answer}");
            assert_eq!(answer["position"]["vehicle"], "bus");
        }
    }
}
