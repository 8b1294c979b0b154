//! How the server ends.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpStream;
use waymesh::api::ApiConfig;

use crate::{
    fake::{Server, State, position},
    http::{Connection, Reply, within},
};

#[tokio::test]
async fn streams_and_idle_connections_end_at_once() {
    let for_ever = Duration::from_secs(600);
    let config = ApiConfig {
        head_timeout: for_ever,
        grace_period: for_ever,
        ..ApiConfig::default()
    };
    let server = Server::start_with(State::default(), config).await;
    let mut events = Connection::get(server.address, "/v1/events").await;
    events.read_until("node-up").await;
    let mut stream = Connection::get(server.address, "/v1/stream").await;
    stream.read_until("\r\n\r\n").await;
    let mut idle = Connection::get(server.address, "/healthz").await;
    idle.read_until("ok\n").await;
    let mut silent = Connection::open(server.address).await;
    server.shutdown.cancel();
    assert!(events.read_to_end().await.ends_with("0\r\n\r\n"));
    assert!(stream.read_to_end().await.ends_with("0\r\n\r\n"));
    idle.read_to_end().await;
    silent.read_to_end().await;
    within(server.ended).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn an_answer_that_is_under_way_is_finished() {
    let gate = Arc::default();
    let state = State {
        gate: Some(Arc::clone(&gate)),
        ..State::with_records(vec![position("1", 0)])
    };
    let asked = Arc::clone(&state.asked);
    let server = Server::start(state).await;
    let mut connection = Connection::get(server.address, "/v1/vehicles/1").await;
    within(asked.notified()).await;
    server.shutdown.cancel();
    gate.notify_one();
    let reply = Reply::parse(connection.read_to_end().await);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["position"]["vehicle"], "1");
    within(server.ended).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_cut() {
    let state = State {
        gate: Some(Arc::default()),
        ..State::default()
    };
    let asked = Arc::clone(&state.asked);
    let config = ApiConfig {
        answer_timeout: Duration::from_secs(600),
        grace_period: Duration::from_millis(20),
        ..ApiConfig::default()
    };
    let server = Server::start_with(state, config).await;
    let mut connection = Connection::get(server.address, "/v1/vehicles/1").await;
    within(asked.notified()).await;
    server.shutdown.cancel();
    assert_eq!(connection.read_to_end().await, "");
    within(server.ended).await.unwrap();
}
