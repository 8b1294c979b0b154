//! Retention by age, as it is configured and as it is met.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use waymesh::types::{
    ids::VehicleId,
    time::{DAY_MILLIS, UnixMillis},
};

use crate::{books::settled, node::Node};

/// A fix `days` days ago, as Wialon IPS has it.
fn line(days: i64) -> String {
    let time = UnixMillis(waymesh::base::time::wall_millis() - days * DAY_MILLIS);
    // 2026-11-21T08:45:45.123Z
    let text = time.to_string();
    let (date, clock) = text.split_once('T').unwrap();
    let (year, month, day) = (&date[2..4], &date[5..7], &date[8..10]);
    let (hour, minute, second) = (&clock[..2], &clock[3..5], &clock[6..8]);
    format!(
        "#SD#{day}{month}{year};{hour}{minute}{second};5926.2320;N;02445.2100;E;42;181;34;9\r\n"
    )
}

/// Sends lines one by one; all are acknowledged.
fn send(node: &Node, id: &str, lines: &[String]) {
    let mut socket = BufReader::new(TcpStream::connect(node.vehicles).unwrap());
    write!(socket.get_mut(), "#L#{id};NA\r\n").unwrap();
    let mut answer = String::new();
    socket.read_line(&mut answer).unwrap();
    for line in lines {
        socket.get_mut().write_all(line.as_bytes()).unwrap();
        answer.clear();
        socket.read_line(&mut answer).unwrap();
        assert_eq!(answer, "#ASD#1\r\n", "{line}");
    }
}

fn n_folders(data: &std::path::Path) -> usize {
    let folders = std::fs::read_dir(data.join("index/keyspaces")).unwrap();
    folders.count()
}

#[test]
fn what_is_older_than_the_retention_is_confirmed_not_kept_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data);
    let n_before = n_folders(&data);
    send(&node, "old", &[line(400), line(300)]);
    send(&node, "new", &[line(200), line(1)]);
    assert_eq!(node.export().len(), 4);
    assert_eq!(settled(&node)["waymesh_positions_expired_total"], 0);
    assert_eq!(node.stop(), Some(0));
    assert_eq!(n_folders(&data), n_before + 4);

    let node = Node::start_with(&data, "[store]\nretention = '90 days'\n");
    assert_eq!(node.export().len(), 1, "nothing has to come first");
    let old = VehicleId::parse(b"old").unwrap();
    assert!(node.client().vehicle(&old).is_err());
    send(&node, "new", &[line(91), line(89), line(1), line(0)]);
    let metrics = settled(&node);
    assert_eq!(metrics["waymesh_positions_expired_total"], 1);
    assert_eq!(metrics["waymesh_retention_stopped"], 0);
    assert_eq!(
        node.export().len(),
        metrics["waymesh_positions_stored_total"] as usize + 1
    );
    for _ in 0..4_000 {
        if node.metrics()["waymesh_months_removed_total"] == 3 {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    assert_eq!(node.metrics()["waymesh_months_removed_total"], 3);
    assert_eq!(node.stop(), Some(0));
    // The folders of the three go with the last question that might read them, or with the stop.
    assert!(n_folders(&data) <= n_before + 3, "{}", n_folders(&data));
}
