//! Links as others meet them: a program in another language, written from the page alone, and the
//! command that makes a secret.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc::Receiver, task::spawn_blocking, time::timeout};
use waymesh::{
    cluster::{
        net::{Admittance, Caller, LinkEvent, Links, LinksConfig, NewLink, bind, secret::Secrets},
        proto::{
            Incarnation, NodeCard, NodeName, Roles, RunNumber,
            link::{
                frame::FrameKind,
                hello::{ConnectMode, Hello},
                keys::LinkKeys,
                outcome::{CloseReason, LinkEnd},
                preamble::WireVersions,
            },
        },
    },
    metrics::Metrics,
    types::ids::NodeId,
};

const PATIENCE: Duration = Duration::from_secs(25);
const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER: &str = "f00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether this machine has Python; says so where it has none.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output();
    let has = found.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("SKIPPED: there is no python3, so no foreign program has tried the links");
    }
    has
}

/// Runs the foreign program; what it says.
fn foreign(arguments: &[&str]) -> String {
    said_by("links.py", arguments)
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    let output = command
        .arg(top().join("tests/foreign").join(program))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}{complained}");
    said
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// A node's links, which wait for calls on a port; nodes called `unloved` are not welcome.
fn node() -> (Links, Receiver<LinkEvent>, u16) {
    let secrets = Secrets::parse(SECRET).unwrap();
    let keys = secrets.as_slice().iter();
    let keys = keys.map(|secret| LinkKeys::new(secret.as_ref(), &name("depot")));
    let hello = Hello {
        versions: WireVersions::OURS,
        card: NodeCard {
            id: NodeId(7),
            name: name("gate-1"),
            incarnation: Incarnation(3),
            run: RunNumber(5),
            roles: Roles {
                is_ingest: true,
                is_store: true,
            },
            link: "0.0.0.0:5001".parse().unwrap(),
            http: None,
        },
        mode: ConnectMode::Visible,
        settings: 0,
        software: "waymesh".into(),
    };
    let mut config = LinksConfig::new(hello, keys.collect());
    // What is slow over there is no fault here.
    config.handshake_timeout = PATIENCE;
    (config.timing.quiet, config.timing.dead) = (PATIENCE, PATIENCE);
    let admission = |caller: &Caller| match caller.card.name.as_str() {
        "unloved" => Admittance::Refuse(CloseReason::NotAccepted),
        _ => Admittance::Accept,
    };
    let (links, events) = Links::new(config, Arc::new(admission), Metrics::new().links);
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    links.listen(listener);
    (links, events, port)
}

/// What the foreign program says of a dial to a port.
async fn dialled(
    port: u16,
    secret: &'static str,
    cluster: &'static str,
    node: &'static str,
) -> String {
    let port = port.to_string();
    let dialling =
        spawn_blocking(move || foreign(&["dial", "127.0.0.1", &port, secret, cluster, node]));
    timeout(PATIENCE, dialling).await.unwrap().unwrap()
}

async fn next(events: &mut Receiver<LinkEvent>) -> LinkEvent {
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap()
}

async fn up(events: &mut Receiver<LinkEvent>) -> NewLink {
    match next(events).await {
        LinkEvent::LinkUp(link) => *link,
        event => panic!("{event:?}"),
    }
}

/// The node's side of what the foreign program does on a link.
async fn talk(events: &mut Receiver<LinkEvent>) {
    let link = up(events).await;
    assert_eq!(link.card.name, name("snake"));
    assert_eq!(link.card.id, NodeId(0x1122_3344_5566_7788));
    assert_eq!(link.card.link, "127.0.0.1:4321".parse().unwrap());
    assert_eq!((link.settings, link.mode), (42, ConnectMode::Visible));
    let LinkEvent::Heartbeat { bytes, .. } = next(events).await else {
        panic!("no heartbeat");
    };
    assert_eq!(bytes, "from python");
    for (kind, expected) in [(16, "a record"), (40, "a question")] {
        let LinkEvent::Frame { frame, .. } = next(events).await else {
            panic!("no frame");
        };
        assert_eq!((frame.kind.0, frame.payload), (kind, Bytes::from(expected)));
    }
    let handle = &link.handle;
    let send = |kind, payload: Bytes| handle.send(kind, payload).unwrap();
    send(FrameKind::MEMBERS, Bytes::from_static(b"all of us"));
    send(FrameKind::RECORDS, Bytes::from(vec![1; 2_000]));
    let LinkEvent::LinkDown { reason, .. } = next(events).await else {
        panic!("no end");
    };
    assert_eq!(reason, LinkEnd::ClosedFor(CloseReason::Leaving));
}

#[tokio::test]
async fn a_program_in_another_language_is_admitted_or_refused_rightly() {
    if !has_python() {
        return;
    }
    let (_links, mut events, port) = node();
    for (secret, cluster, node, expected) in [
        (OTHER, "depot", "snake", "refused wrong secret\n"),
        (SECRET, "yard", "snake", "refused other cluster\n"),
        (SECRET, "depot", "unloved", "refused not accepted\n"),
    ] {
        assert_eq!(dialled(port, secret, cluster, node).await, expected);
    }
    assert!(events.try_recv().is_err());
    let dialling = dialled(port, SECRET, "depot", "snake");
    let (said, ()) = tokio::join!(dialling, talk(&mut events));
    let expected =
        "linked gate-1\ncredit 0 1048576\npong pingpong\nmembers all of us\nrecords 2000\n";
    assert_eq!(said, expected);
}

/// What a member says of itself: identity 100, name, incarnation 7, refutation, standing, run, and that it
/// takes in vehicles and stores nothing, without an address. See the page of links.
fn member(refutation: u8, standing: u8, run: RunNumber) -> Vec<u8> {
    let mut bytes = vec![100, 5];
    bytes.extend(b"snake\x07");
    bytes.extend([refutation, standing]);
    let mut run = run.0;
    while run >= 0x80 {
        bytes.push(run as u8 | 0x80);
        run >>= 7;
    }
    bytes.extend([run as u8, 0, 1, 0, 0, 0]);
    bytes
}

/// The next frame of members that a node says.
async fn members(events: &mut Receiver<LinkEvent>) -> Bytes {
    loop {
        if let LinkEvent::Frame { frame, .. } = next(events).await
            && frame.kind == FrameKind::MEMBERS
        {
            return frame.payload.clone();
        }
    }
}

#[tokio::test]
async fn a_program_in_another_language_that_is_called_down_speaks_up() {
    if !has_python() {
        return;
    }
    let (_links, mut events, port) = node();
    let talking = spawn_blocking(move || {
        let port = port.to_string();
        let whom = ["talk", "127.0.0.1", &port, "100", SECRET, "depot", "snake"];
        said_by("members.py", &whom)
    });
    let link = up(&mut events).await;
    let run = link.card.run;
    let (up, down) = (|refutation| member(refutation, 0, run), member(0, 1, run));
    assert_eq!(
        members(&mut events).await,
        [2, 0, 0].as_slice(),
        "whom it reaches"
    );
    assert_eq!(
        members(&mut events).await,
        [&[0, 1], &*up(0), &[1]].concat()
    );
    let tell = |bytes: Vec<u8>| link.handle.send(FrameKind::MEMBERS, bytes.into()).unwrap();
    tell([&[1, 1], &*down].concat());
    assert_eq!(members(&mut events).await, [&[1, 1], &*up(1)].concat());
    // Said again by somebody who has not heard of that yet.
    tell([&[1, 1], &*down].concat());
    link.handle.close(CloseReason::Leaving);
    let said = timeout(PATIENCE, talking).await.unwrap().unwrap();
    assert_eq!(said, "linked gate-1\ncalled down and speaks up 1\n");
}

#[test]
fn a_program_in_another_language_computes_the_recorded_handshake() {
    if has_python() {
        let recording = top().join("fixtures/cluster/links/handshake.txt");
        let said = foreign(&["vectors", recording.to_str().unwrap()]);
        assert_eq!(said, "ok 13\n");
    }
}

fn keygen(path: Option<&PathBuf>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waymesh"));
    command.arg("keygen").args(path).output().unwrap()
}

#[test]
fn keygen_prints_a_secret_or_writes_it_where_none_is() {
    let printed = keygen(None);
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    Secrets::parse(&printed).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let written = keygen(Some(&path));
    assert!(written.status.success() && written.stdout.is_empty());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let first = Secrets::read(&path).unwrap();

    let again = keygen(Some(&path));
    assert_eq!(again.status.code(), Some(1));
    let complaint = String::from_utf8(again.stderr).unwrap();
    assert!(complaint.contains("is there already"), "{complaint}");
    assert_eq!(Secrets::read(&path).unwrap(), first);
    assert!(!complaint.contains(fs::read_to_string(&path).unwrap().trim()));
}
