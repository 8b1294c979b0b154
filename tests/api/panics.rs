//! Tasks that panic: what is made anew, what is closed, and what notices nothing.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::{TcpListener, TcpStream};
use waymesh::{api::ApiConfig, base::accept::Accept};

use crate::{
    fake::{Server, State},
    http::{Connection, get, within},
};

/// A listener that panics a few times before each connection.
struct Stumbling {
    listener: TcpListener,
    n_calls: AtomicU32,
}

impl Accept for Stumbling {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let number = self.n_calls.fetch_add(1, Ordering::Relaxed);
        assert_eq!(number % 3, 2, "a test's panic");
        self.listener.accept().await
    }

    fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

#[tokio::test]
async fn a_listener_that_panics_is_made_anew_and_the_open_connections_go_on() {
    let source = Stumbling {
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        n_calls: AtomicU32::new(0),
    };
    let server = Server::start_on(source, State::default(), ApiConfig::default());
    let mut stream = Connection::get(server.address, "/v1/stream").await;
    stream.read_until("\r\n\r\n").await;
    assert_eq!(get(server.address, "/healthz").await.status, 200);
    assert!(server.metrics.tasks.panics.count("http") >= 4);
    let batch = vec![crate::fake::position("1", 0)];
    server.state.live.send(batch.into()).unwrap();
    stream.read_until("\"vehicle\":\"1\"").await;
    server.shutdown.cancel();
    within(server.ended).await.unwrap();
}

#[tokio::test]
async fn a_question_that_panics_costs_its_connection_alone() {
    let state = State {
        is_panicking: true,
        ..State::default()
    };
    let server = Server::start(state).await;
    for number in 1..=3 {
        let mut connection = Connection::get(server.address, "/v1/vehicles/1").await;
        assert_eq!(connection.read_to_end().await, "");
        assert_eq!(server.metrics.tasks.panics.count("http_connection"), number);
        assert_eq!(get(server.address, "/v1/status").await.status, 200);
    }
    assert_eq!(server.metrics.tasks.panics.count("http"), 0);
}
