//! Askers over HTTP that mean no good.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    arena::{Talk, connect, withstand},
    is_full, scaled,
};

/// More than all that the node waits for, for one answer.
const PATIENCE: Duration = Duration::from_secs(100);

/// Status of the answer to a request, which is read to its end; 0 if there is none.
fn ask(address: SocketAddr, request: &[u8]) -> u32 {
    let mut socket = connect(address);
    // Longer than the node makes anybody wait.
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // A node that has heard enough may close early.
    socket.write_all(request).ok();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok();
    let head = String::from_utf8_lossy(answer.get(..12).unwrap_or_default()).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ").unwrap_or_default();
    status.parse().unwrap_or_default()
}

fn get(address: SocketAddr, path: &str) -> u32 {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    ask(address, request.as_bytes())
}

#[test]
pub(super) fn heads_and_paths_of_any_size_and_kind_are_refused() {
    let n_rounds = scaled(400);
    withstand("hostile requests", "", |node| {
        let header = format!("x: {}\r\n", "y".repeat(1_000_000));
        let huge = format!("GET /healthz HTTP/1.1\r\n{header}\r\n");
        let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(10_000));
        let long = format!("/v1/vehicles/{}", "a".repeat(1_000_000));
        for _ in 0..n_rounds {
            // A reset may come before the answer.
            assert!(matches!(ask(node.http, huge.as_bytes()), 0 | 431));
            assert!(matches!(ask(node.http, many.as_bytes()), 0 | 431));
            assert!(matches!(get(node.http, &long), 0 | 414 | 431));
            for (path, status) in [
                ("/v1/vehicles/..%2f..%2fetc%2fpasswd", 404),
                ("/../../etc/passwd", 404),
                ("/v1/vehicles/%00", 400),
                ("/v1/vehicles?limit=-1", 400),
                ("/v1/vehicles?limit=18446744073709551616", 400),
                ("/v1/vehicles?bbox=NaN,NaN,NaN,NaN", 400),
                (
                    "/v1/export?from=9999-12-31T23:59:59Z&to=0001-01-01T00:00:00Z",
                    400,
                ),
            ] {
                assert_eq!(get(node.http, path), status, "{path}");
            }
        }
    });
}

#[test]
pub(super) fn open_connections_do_not_keep_the_vehicles_waiting() {
    withstand("silent askers", "", |node| {
        let open: Vec<TcpStream> = (0..1_000)
            .map(|_| {
                let mut socket = connect(node.http);
                socket.write_all(b"GET /v1/status HTTP/1.1\r\nx: ").unwrap();
                socket
            })
            .collect();
        drop(open);
    });
}

#[test]
pub(super) fn large_answers_are_given_piece_by_piece() {
    let n_records = scaled(4_000);
    withstand("large answers", "", |node| {
        std::thread::scope(|scope| {
            for number in 0..10 {
                scope.spawn(move || store_large(node.vehicles, number, n_records / 10));
            }
        });
        let (vehicles, export) = ("/v1/vehicles?limit=10000", "/v1/export");
        let track = "/v1/vehicles/large%200/track?limit=10000";
        std::thread::scope(|scope| {
            for path in [vehicles, export, track].repeat(8) {
                scope.spawn(move || {
                    // Who waits too long for a place among the large answers is told so.
                    assert!(matches!(get(node.http, path), 200 | 503 | 504), "{path}");
                });
            }
        });
    });
}

#[test]
pub(super) fn subscribers_that_do_not_read_are_left_behind() {
    let n_records = scaled(4_000);
    withstand("subscribers that do not read", "", |node| {
        let subscribers = [(); N_SUBSCRIBERS].map(|()| subscribe(node.http));
        std::thread::scope(|scope| {
            for number in 0..10 {
                scope.spawn(move || store_large(node.vehicles, number, n_records / 10));
            }
        });
        drop(subscribers);
    });
}

#[test]
pub(super) fn subscribers_that_stop_reading_one_after_the_other_are_left_behind() {
    let n_subscribers = if is_full() { N_SUBSCRIBERS } else { 16 };
    let n_records = scaled(4_000) / n_subscribers;
    withstand("subscribers that stop one by one", "", |node| {
        let mut subscribers = Vec::new();
        for number in 0..n_subscribers {
            // Each is given other positions until nothing further goes into its socket.
            subscribers.push(subscribe(node.http));
            store_large(node.vehicles, number, n_records);
        }
    });
}

/// As many as may be.
const N_SUBSCRIBERS: usize = 128;

/// A subscriber of live positions that reads nothing but the begin of its answer.
fn subscribe(http: SocketAddr) -> TcpStream {
    let mut socket = connect(http);
    socket
        .write_all(b"GET /v1/stream HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    socket
}

/// Stores records of some 60 KiB each.
fn store_large(vehicles: SocketAddr, number: usize, n_records: usize) {
    let mut talk = Talk::login(vehicles, &format!("large {number}"));
    // As JSON the one is six times as large, and the other is not.
    let letter = ["a", "\u{1}"][number % 2];
    let text = letter.repeat(60 * 1024);
    for second in 0..n_records {
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let line = format!(
            "#D#011125;{hour:02}{minute:02}{second:02};5926.2320;N;02445.2100;E;1;2;3;9;1;0;0;;;a:3:{text}\r\n"
        );
        assert_eq!(talk.ask(line.as_bytes()), "#AD#1");
    }
}
