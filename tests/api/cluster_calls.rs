//! Questions and orders about the other nodes, and all that can be wrong with them.

use std::time::Duration;

use serde_json::json;
use waymesh::api::{AnswerError, ApiConfig};

use crate::{
    fake::{Server, State},
    http::{Connection, Reply, ask, assert_problem, exchange, expect_problem, get},
};

async fn post(server: &Server, path: &str, body: &str) -> Reply {
    post_with(server, path, "", body).await
}

async fn post_with(server: &Server, path: &str, headers: &str, body: &str) -> Reply {
    let n_bytes = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {n_bytes}\r\n\
         {headers}\r\n{body}",
        server.address
    );
    exchange(server.address, &request).await
}

fn orders(server: &Server) -> Vec<String> {
    server.state.orders.lock().unwrap().clone()
}

#[tokio::test]
async fn discovery_says_who_was_heard_and_why_it_is_no_member() {
    let server = Server::start(State::default()).await;
    let reply = get(server.address, "/v1/discovery").await;
    assert_eq!(reply.status, 200);
    let at = "2026-11-20T09:05:01.000Z";
    assert_eq!(
        reply.json(),
        json!({
            "phase": "resting",
            "places": [{
                "interface": "eth0", "transport": "multicast", "state": "open",
                "address": "10.0.0.7", "to": "239.192.0.1:50337",
                "own_heard": {"at": at, "ago_ms": 3000}, "others_heard": null,
                "reopens": 1, "received": 5, "sent": 6, "unsent": 0, "too_long": 0
            }],
            "senders": [{
                "address": "10.0.0.8:50337", "name": "beta",
                "heard": {"at": at, "ago_ms": 1000}, "verdict": "wrong secret"
            }],
            "peers": [{"address": "gate-1:5001", "verdict": "refused"}]
        })
    );
    expect_problem(
        server.address,
        "/v1/discovery?x=1",
        400,
        "this call has none",
    )
    .await;
}

#[tokio::test]
async fn the_search_is_paused_and_resumed() {
    let server = Server::start(State::default()).await;
    let paused = post(&server, "/v1/discovery/pause", "").await;
    assert_eq!(
        (paused.status, paused.json()),
        (200, json!({"phase": "paused"}))
    );
    let resumed = post(&server, "/v1/discovery/resume", "whatever").await;
    assert_eq!(resumed.json(), json!({"phase": "searching"}));
    assert_eq!(orders(&server), ["search false", "search true"]);
}

#[tokio::test]
async fn a_peer_is_dialled_at_an_address_or_a_name() {
    let server = Server::start(State::default()).await;
    for (given, dialled) in [
        ("10.0.0.7", "10.0.0.7:5001"),
        ("[::1]:6001", "[::1]:6001"),
        ("gate-1.example.org", "gate-1.example.org:5001"),
    ] {
        let body = json!({ "address": given }).to_string();
        let reply = post(&server, "/v1/discovery/dial", &body).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({"address": dialled, "verdict": "dialling"}))
        );
    }
    assert_eq!(orders(&server).len(), 3);
}

#[tokio::test]
async fn an_order_that_makes_no_sense_does_nothing() {
    let server = Server::start(State::default()).await;
    let long = format!(r#"{{"address":"{}"}}"#, "a".repeat(1_000));
    let huge = format!(r#"{{"address":"{}"}}"#, "a".repeat(5_000));
    for (body, status, part) in [
        ("", 400, "the body must be JSON such as"),
        ("{}", 400, "missing field `address`"),
        ("10.0.0.7", 400, "the body must be JSON"),
        ("{\"address\":7}", 400, "expected a string"),
        ("{\"address\":\"\"}", 400, "must be HOST"),
        ("{\"address\":\"a b\"}", 400, "not 'a b'"),
        ("{\"address\":\"\\u001b[2J\"}", 400, "not '\\u{1b}[2J'"),
        ("{\"address\":\"0.0.0.0:1\"}", 400, "must be HOST"),
        (
            "{\"address\":\"a\",\"port\":1}",
            400,
            "unknown field `port`",
        ),
        ("{\"address\":\"a\"} {}", 400, "trailing characters"),
        (&long, 400, "…"),
        (&huge, 413, "over 4096 bytes"),
    ] {
        let reply = post(&server, "/v1/discovery/dial", body).await;
        assert_problem(&reply, status, part);
    }
    let deep = "[".repeat(4_000);
    assert_eq!(post(&server, "/v1/discovery/dial", &deep).await.status, 400);
    let not_utf8 = exchange(
        server.address,
        "POST /v1/nodes/%ff%fe/ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    assert_problem(&not_utf8.await, 400, "not UTF-8");
    assert_eq!(orders(&server), [""; 0]);
}

#[tokio::test]
async fn a_body_that_does_not_end_is_given_up() {
    let config = ApiConfig {
        answer_timeout: Duration::from_millis(50),
        ..ApiConfig::default()
    };
    let server = Server::start_with(State::default(), config).await;
    let mut connection = Connection::open(server.address).await;
    connection
        .send("POST /v1/discovery/dial HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        .await;
    let text = connection.read_until("\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
}

#[tokio::test]
async fn a_node_is_pinged_and_forgotten_by_whatever_name_it_has() {
    let server = Server::start(State::default()).await;
    let pinged = post(&server, "/v1/nodes/gate%201%2F%C3%A9/ping", "").await;
    assert_eq!(
        (pinged.status, pinged.json()),
        (200, json!({"rtt_ms": 1.235}))
    );
    let forgotten = post(&server, "/v1/nodes/beta/forget", "").await;
    assert_eq!(forgotten.json(), json!({"forgotten": "beta"}));
    assert_eq!(orders(&server), ["ping gate 1/é", "forget beta"]);
    for name in [&"a".repeat(65), "%00", "%1b%5b2J", "a%0d%0ab"] {
        for order in ["ping", "forget"] {
            let reply = post(&server, &format!("/v1/nodes/{name}/{order}"), "").await;
            assert_problem(&reply, 400, "1 to 64 bytes");
        }
    }
    assert_eq!(orders(&server).len(), 2);
}

#[tokio::test]
async fn orders_are_given_by_post_alone_and_questions_asked_by_get() {
    let server = Server::start(State::default()).await;
    for path in [
        "/v1/discovery/pause",
        "/v1/discovery/resume",
        "/v1/discovery/dial",
        "/v1/nodes/beta/ping",
        "/v1/nodes/beta/forget",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            assert_problem(&ask(server.address, method, path).await, 405, "use POST");
        }
    }
    for path in ["/v1/nodes", "/v1/discovery", "/v1/events"] {
        assert_problem(&ask(server.address, "POST", path).await, 405, "use GET");
    }
    assert_eq!(orders(&server), [""; 0]);
}

#[tokio::test]
async fn a_page_of_another_origin_gives_no_orders() {
    let server = Server::start(State::default()).await;
    for path in ["/v1/discovery/pause", "/v1/nodes/beta/forget"] {
        let headers = "origin: http://elsewhere.example\r\n";
        let reply = post_with(&server, path, headers, "").await;
        assert_problem(&reply, 403, "another origin");
    }
    assert_eq!(orders(&server), [""; 0]);
    let headers = format!("origin: {}\r\n", server.url());
    let reply = post_with(&server, "/v1/discovery/pause", &headers, "").await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn what_the_cluster_cannot_do_is_told() {
    let beta = || "beta".to_owned();
    for (error, status, part) in [
        (AnswerError::NoCluster, 503, "not there at the moment"),
        (AnswerError::UnknownNode(beta()), 404, "no node 'beta'"),
        (
            AnswerError::Itself(beta()),
            400,
            "is the node that was asked",
        ),
        (AnswerError::NotLinked(beta()), 504, "no link to 'beta'"),
        (AnswerError::NoPong(beta()), 504, "did not answer in time"),
        (AnswerError::NotAway(beta()), 409, "stop it first"),
        (AnswerError::TooManyPeers, 503, "a restart forgets them"),
    ] {
        let state = State {
            error: Some(error),
            ..State::default()
        };
        let server = Server::start(state).await;
        let dial = r#"{"address":"a"}"#;
        for (path, body) in [
            ("/v1/discovery/pause", ""),
            ("/v1/discovery/dial", dial),
            ("/v1/nodes/beta/ping", ""),
            ("/v1/nodes/beta/forget", ""),
        ] {
            assert_problem(&post(&server, path, body).await, status, part);
        }
        for path in ["/v1/nodes", "/v1/discovery", "/v1/events"] {
            expect_problem(server.address, path, status, part).await;
        }
    }
}
