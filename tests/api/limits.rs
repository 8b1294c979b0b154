//! What one asker can take from the others: heads, connections, time.

use std::{sync::Arc, time::Duration};

use tokio::io::AsyncReadExt as _;
use waymesh::api::ApiConfig;

use crate::{
    fake::{Server, State, VEHICLE, position},
    http::{Connection, assert_problem, exchange, get, within},
};

#[tokio::test]
async fn a_huge_head_is_431() {
    let server = Server::start(State::default()).await;
    let long = "a".repeat(20_000);
    let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n");
    assert_eq!(exchange(server.address, &request).await.status, 431);
    let many = "many: x\r\n".repeat(200);
    let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert_eq!(exchange(server.address, &request).await.status, 431);
    assert_eq!(get(server.address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_400() {
    let server = Server::start(State::default()).await;
    for request in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
    ] {
        let reply = exchange(server.address, request).await;
        assert_eq!(reply.status, 400, "{request:?}");
    }
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let server = Server::start(State::default()).await;
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\nabc";
    let reply = exchange(server.address, request).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn half_a_head_and_an_idle_connection_are_closed_in_time() {
    let config = ApiConfig {
        head_timeout: Duration::from_millis(50),
        ..ApiConfig::default()
    };
    let server = Server::start_with(State::default(), config).await;
    let mut half = Connection::open(server.address).await;
    half.send("GET /healthz HT").await;
    half.read_to_end().await;
    let mut idle = Connection::get(server.address, "/healthz").await;
    idle.read_until("ok\n").await;
    idle.read_to_end().await;
}

#[tokio::test]
async fn a_connection_over_the_cap_waits_for_a_place() {
    let config = ApiConfig {
        n_connections_max: 1,
        ..ApiConfig::default()
    };
    let server = Server::start_with(State::default(), config).await;
    let mut first = Connection::get(server.address, "/healthz").await;
    first.read_until("ok\n").await;
    let mut second = Connection::get(server.address, "/healthz").await;
    let mut byte = [0; 1];
    let early =
        tokio::time::timeout(Duration::from_millis(50), second.socket.peek(&mut byte)).await;
    assert!(early.is_err(), "answered though the only place is taken");
    drop(first);
    second.read_until("ok\n").await;
}

/// The one place that there is for one kind of answer is taken by nobody; for the other there is none.
#[tokio::test]
async fn pages_and_single_vehicles_do_not_wait_for_each_others_places() {
    for (n_pages_max, n_singles_max) in [(0, 1), (1, 0)] {
        let config = ApiConfig {
            n_pages_max,
            n_singles_max,
            answer_timeout: Duration::from_secs(2),
            ..ApiConfig::default()
        };
        let state = State::with_records(vec![position(VEHICLE, 0)]);
        let server = Server::start_with(state, config).await;
        let single = format!("/v1/vehicles/{VEHICLE}");
        let track = format!("{single}/track");
        for (path, n_places) in [
            (single.as_str(), n_singles_max),
            (track.as_str(), n_pages_max),
            ("/v1/vehicles", n_pages_max),
        ] {
            let reply = get(server.address, path).await;
            if n_places == 0 {
                assert_problem(&reply, 503, "as many such answers");
            } else {
                assert_eq!(reply.status, 200, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_let_go() {
    let gone = Arc::default();
    let state = State {
        batches: Some(Vec::new()).into(),
        endless: Some(Arc::clone(&gone)),
        ..State::default()
    };
    let config = ApiConfig {
        write_timeout: Duration::from_millis(100),
        ..ApiConfig::default()
    };
    let server = Server::start_with(state, config).await;
    let mut reader = Connection::get(server.address, "/v1/export").await;
    reader.socket.read_u8().await.unwrap();
    within(gone.notified()).await;
}
