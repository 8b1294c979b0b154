//! Starts and stops: a drain within the grace period, ports that bind at once, clear refusals.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
    time::Duration,
};

use crate::{
    attack::arena::{Talk, short},
    node::{Node, command, signal, wait},
    vehicle::drive,
};

#[test]
fn a_stop_ends_cleanly_and_a_start_binds_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data);
    let (vehicles, http) = (node.vehicles.to_string(), node.http.to_string());
    let mut open = TcpStream::connect(node.vehicles).unwrap();
    open.write_all(b"#L#stop;NA\r\n").unwrap();
    let mut answer = [0; 7];
    open.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"#AL#1\r\n");
    assert_eq!(node.stop(), Some(0));
    assert_eq!(
        open.read(&mut answer).unwrap(),
        0,
        "the connection was closed in order"
    );
    let again = command(&data, &vehicles, &http)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut again = again;
    wait_for_http(&http);
    again.kill().unwrap();
    again.wait().unwrap();
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(&folder.path().join("data"));
    node.signal("TERM");
    node.signal("INT");
    assert_eq!(node.wait(), Some(0));
}

/// A pipe stands in the place of a file of the index: the start waits for the pipe's other end.
#[test]
fn a_signal_during_the_start_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let pipe = data.join("index/version");
    fs::create_dir_all(data.join("index")).unwrap();
    fs::write(data.join("index/lock"), "").unwrap();
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // The grace period ends it, or the second signal.
    for (grace_period, names) in [("100ms", &["TERM"][..]), ("1h", &["INT", "TERM"])] {
        let mut node = command(&data, "127.0.0.1:0", "127.0.0.1:0")
            .env("WAYMESH_GRACE_PERIOD", grace_period)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Comes back when the node has come to the pipe.
        let other_end = OpenOptions::new().write(true).open(&pipe).unwrap();
        names.iter().for_each(|name| signal(&node, name));
        assert_eq!(wait(&mut node), Some(0), "{grace_period}");
        drop(other_end);
    }
}

#[test]
fn what_was_stored_is_there_after_a_stop() {
    check_that_a_stop_keeps_all(|_| {});
}

/// As with `waymesh run 2>&1 | head`, or a log on a disk that is full.
#[test]
fn a_log_that_cannot_be_written_ends_no_node() {
    check_that_a_stop_keeps_all(Node::close_log);
}

/// As with a log whose reader hangs.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let log = [("WAYMESH_LOG", "trace".into())];
    let node = Node::start_in(&folder.path().join("data"), &log);
    // More lines than a pipe and those who wait for it hold.
    for _ in 0..20_000 {
        if node.metrics()["waymesh_log_lines_lost_total"] > 0 {
            break;
        }
        Talk::login(node.vehicles, "1");
    }
    assert!(node.metrics()["waymesh_log_lines_lost_total"] > 0);
    assert_eq!(Talk::login(node.vehicles, "1").ask(&short(0)), "#ASD#1");
    assert_eq!(node.export().len(), 1);
    assert_eq!(node.stop(), Some(0));
}

fn check_that_a_stop_keeps_all(prepare: impl FnOnce(&mut Node)) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut node = Node::start(&data);
    prepare(&mut node);
    let address = node.vehicles;
    let is_over = AtomicBool::new(false);
    let diary = std::thread::scope(|scope| {
        let vehicle = scope.spawn(|| drive(address, "calm", 4, &is_over));
        while node.export().len() < 50 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        vehicle.join().unwrap()
    });
    let before = node.export();
    assert_eq!(node.stop(), Some(0));
    let node = Node::start(&data);
    assert_eq!(node.export(), before);
    let n_fixes: usize = diary
        .acknowledged
        .iter()
        .map(|line| crate::vehicle::times_of(*line).len())
        .sum();
    assert_eq!(before.len(), n_fixes);
    let status = node.client().status().unwrap();
    assert_eq!(
        (&status["incarnation"], &status["ready"]),
        (&2.into(), &true.into())
    );
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("a"));
    let taken = node.vehicles.to_string();
    let output = command(&folder.path().join("b"), &taken, "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("vehicles: cannot listen on {taken}")),
        "{said}"
    );
    assert!(said.contains("waymesh run --name b"), "{said}");
}

#[test]
fn a_data_folder_that_is_in_use_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data);
    let output = command(&data, "127.0.0.1:0", "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let holder = format!("used by waymesh (pid {})", node.pid());
    assert!(said.contains(&holder), "{said}");
}

#[test]
fn wrong_settings_end_the_start_with_64_and_every_fault() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = command(&data, "nonsense", "also nonsense")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("vehicles") && said.contains("http"), "{said}");
}

fn wait_for_http(address: &str) {
    for _ in 0..2_000 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{address} was not bound within 20 s");
}
