//! Answers that have no end that is known: exports, live positions, events.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use waymesh::{
    api::{AnswerError, ApiConfig},
    types::{
        cluster::MemberChange,
        record::{Kind, Record},
    },
};

use crate::{
    fake::{EXAMPLE, Server, State, VEHICLE, event, news, position, time, up},
    http::{Connection, Reply, assert_problem, exchange, expect_problem, get},
};

/// The chunk that only a whole body ends with.
const WHOLE: &str = "\r\n0\r\n\r\n";

fn lines(reply: &Reply) -> Vec<Value> {
    let is_object = |line: &&str| line.starts_with('{');
    let objects = reply.body.lines().filter(is_object);
    objects
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn an_export_gives_one_object_a_line() {
    let records = vec![position(VEHICLE, 0), event("b", 1)];
    let server = Server::start(State::with_records(records)).await;
    let path = "/v1/export?from=2026-11-20T09:05:01Z&to=2026-11-21T00:00:00Z&vehicle=b&kind=event";
    let reply = get(server.address, path).await;
    assert_eq!(reply.status, 200);
    assert!(reply.has_header("content-type: application/x-ndjson"));
    assert!(reply.body.ends_with(WHOLE), "{reply:?}");
    let lines = lines(&reply);
    assert_eq!(lines[0], serde_json::from_str::<Value>(EXAMPLE).unwrap());
    assert_eq!(lines[1]["code"], "SOS");
    assert_eq!(lines[1].get("lat"), None);
    let exported = server.state.exported.lock().unwrap();
    assert_eq!(exported[0].kind, Kind::Event);
    assert_eq!(exported[0].from, Some(time(0)));
    assert_eq!(exported[0].vehicle.as_ref().unwrap().as_str(), "b");
}

#[tokio::test]
async fn an_empty_export_is_whole() {
    let state = State {
        batches: Some(vec![Ok(Vec::new())]).into(),
        ..State::default()
    };
    let server = Server::start(state).await;
    let reply = get(server.address, "/v1/export").await;
    assert_eq!((reply.status, &*reply.body), (200, "0\r\n\r\n"));
}

#[tokio::test]
async fn an_export_that_breaks_off_never_looks_whole() {
    let batch = || Ok(vec![position("1", 0)]);
    for batches in [
        vec![batch(), Err(AnswerError::Store)],
        vec![batch()],
        vec![],
        vec![batch(), Err(AnswerError::Store), Ok(Vec::new())],
    ] {
        let n_lines = batches.len().min(1);
        let state = State {
            batches: Some(batches).into(),
            ..State::default()
        };
        let server = Server::start(state).await;
        let mut connection = Connection::get(server.address, "/v1/export").await;
        let text = connection.read_to_end().await;
        assert!(!text.contains("\r\n0\r\n"), "{text}");
        if !text.is_empty() {
            assert!(lines(&Reply::parse(text)).len() <= n_lines);
        }
    }
}

#[tokio::test]
async fn an_export_without_a_storing_node_begins_only_where_that_is_allowed() {
    let state = State {
        missing: vec!["beta".to_owned(), "gamma/00000000000000ab".to_owned()],
        ..State::with_records(vec![position(VEHICLE, 0)])
    };
    let server = Server::start(state).await;
    let refused = get(server.address, "/v1/export").await;
    assert_problem(&refused, 503, "partial=true");
    assert_eq!(
        refused.json()["missing"],
        json!(["beta", "gamma/00000000000000ab"])
    );
    assert!(refused.has_header("retry-after: 1"));
    let partial = get(server.address, "/v1/export?partial=true").await;
    assert_eq!((partial.status, lines(&partial).len()), (200, 1));
    assert!(partial.has_header("waymesh-missing: beta, gamma/00000000000000ab"));
    let whole = Server::start(State::with_records(vec![position(VEHICLE, 0)])).await;
    let reply = get(whole.address, "/v1/export?partial=true").await;
    assert_eq!((reply.status, lines(&reply).len()), (200, 1));
    assert!(!reply.head.contains("waymesh-missing"));
}

#[tokio::test]
async fn an_export_needs_a_version_of_http_that_shows_its_end() {
    let server = Server::start(State::default()).await;
    let reply = exchange(server.address, "GET /v1/export HTTP/1.0\r\n\r\n").await;
    assert_eq!(reply.status, 505);
}

#[tokio::test]
async fn live_positions_arrive_as_they_become_durable() {
    let server = Server::start(State::default()).await;
    let mut stream = Connection::get(server.address, "/v1/stream").await;
    let head = stream.read_until("\r\n\r\n").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let batch: Arc<[Record]> = vec![position(VEHICLE, 0), event("b", 0)].into();
    server.state.live.send(batch).unwrap();
    let second: Arc<[Record]> = vec![position("c", 0)].into();
    server.state.live.send(second).unwrap();
    let text = stream.read_until("\"vehicle\":\"c\"").await;
    assert!(text.contains(&format!("data: {EXAMPLE}\n\n")), "{text}");
    assert!(!text.contains("SOS"), "an event is no position: {text}");
}

#[tokio::test]
async fn a_subscriber_that_lags_is_told_and_goes_on() {
    let server = Server::start(State::default()).await;
    let mut stream = Connection::get(server.address, "/v1/stream").await;
    stream.read_until("\r\n\r\n").await;
    // One thread, and no await: the feeding task cannot take anything between these.
    for seconds in 0..10 {
        let batch: Arc<[Record]> = vec![position("a", seconds)].into();
        server.state.live.send(batch).unwrap();
    }
    let text = stream.read_until("09:05:10.000Z").await;
    assert!(
        text.contains("event: lagged\ndata: {\"batches\":8}\n\n"),
        "{text}"
    );
    assert!(
        text.contains("09:05:09.000Z") && !text.contains("09:05:08.000Z"),
        "{text}"
    );
}

#[tokio::test]
async fn a_filter_is_refused_rather_than_ignored() {
    let server = Server::start(State::default()).await;
    let path = "/v1/stream?where=speed_kmh%3E100";
    expect_problem(server.address, path, 501, "filters are not supported yet").await;
}

#[tokio::test]
async fn subscribers_have_a_cap_and_give_their_place_back() {
    let config = ApiConfig {
        n_subscribers_max: 1,
        ..ApiConfig::default()
    };
    let server = Server::start_with(State::default(), config).await;
    let mut first = Connection::get(server.address, "/v1/events").await;
    first.read_until("node-up").await;
    expect_problem(server.address, "/v1/stream", 503, "as many subscribers").await;
    expect_problem(server.address, "/v1/events", 503, "as many subscribers").await;
    assert_eq!(get(server.address, "/v1/status").await.status, 200);
    drop(first);
    loop {
        let mut next = Connection::get(server.address, "/v1/events").await;
        let head = next.read_until("\r\n\r\n").await;
        if head.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    }
}

#[tokio::test]
async fn a_node_without_a_place_for_subscribers_says_so() {
    let state = State {
        is_live_full: true,
        ..State::default()
    };
    let server = Server::start(state).await;
    expect_problem(server.address, "/v1/stream", 503, "as many subscribers").await;
}

#[tokio::test]
async fn events_begin_with_the_present_members_and_stay_open() {
    let config = ApiConfig {
        keep_alive: Duration::from_millis(10),
        ..ApiConfig::default()
    };
    let server = Server::start_with(State::default(), config).await;
    let mut events = Connection::get(server.address, "/v1/events").await;
    let text = events.read_until(": keep-alive\n\n").await;
    let expected = concat!(
        "event: node-up\n",
        r#"data: {"node":"alpha","id":"0000000000000abc","incarnation":3,"reason":"present","#,
        r#""at":"2026-11-20T09:05:01.000Z"}"#,
        "\n\n"
    );
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("hidden"), "it does not match: {text}");
}

#[tokio::test]
async fn events_of_all_are_given_when_asked_for() {
    let server = Server::start(State::default()).await;
    for path in ["/v1/events?all=true", "/v1/events?all"] {
        let mut events = Connection::get(server.address, path).await;
        events.read_until("\"node\":\"hidden\"").await;
    }
    expect_problem(server.address, "/v1/events?all=2", 400, "'true' or 'false'").await;
    expect_problem(
        server.address,
        "/v1/events?al=true",
        400,
        "this call has all",
    )
    .await;
}

#[tokio::test]
async fn each_change_is_one_event() {
    let server = Server::start(State::default()).await;
    let mut events = Connection::get(server.address, "/v1/events").await;
    events.read_until("present").await;
    let epoch = MemberChange::Epoch {
        epoch: 0x2f,
        at: time(1),
    };
    for change in [
        up("beta", "joined"),
        MemberChange::Down(news("beta", "silent")),
        epoch,
    ] {
        server.state.changes.send(change).unwrap();
        tokio::task::yield_now().await;
    }
    let text = events.read_until("000000000000002f").await;
    let events: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(events, ["node-up", "node-up", "node-down", "epoch"]);
    for data in [
        r#"data: {"node":"beta","id":"0000000000000abc","incarnation":3,"reason":"joined","#,
        r#""reason":"silent","at":"2026-11-20T09:05:01.000Z"}"#,
        r#"data: {"epoch":"000000000000002f","at":"2026-11-20T09:05:02.000Z"}"#,
    ] {
        assert!(text.contains(data), "{data} in {text}");
    }
}

#[tokio::test]
async fn a_subscriber_of_events_that_lags_is_told_and_disconnected() {
    let server = Server::start(State::default()).await;
    let mut events = Connection::get(server.address, "/v1/events").await;
    events.read_until("present").await;
    // One thread, and no await: the feeding task cannot take anything between these.
    for _ in 0..5 {
        server.state.changes.send(up("beta", "joined")).unwrap();
    }
    let text = events.read_until("\r\n0\r\n\r\n").await;
    assert!(
        text.contains("event: lagged\ndata: {\"changes\":3}\n\n"),
        "{text}"
    );
    assert!(!text.contains("joined"), "{text}");
}

#[tokio::test]
async fn events_end_with_the_node_and_need_a_cluster() {
    let server = Server::start(State::default()).await;
    let mut events = Connection::get(server.address, "/v1/events").await;
    events.read_until("present").await;
    server.shutdown.cancel();
    events.read_to_end().await;
    let state = State {
        error: Some(AnswerError::NoCluster),
        ..State::default()
    };
    let server = Server::start(state).await;
    expect_problem(
        server.address,
        "/v1/events",
        503,
        "the cluster is not there",
    )
    .await;
}

#[tokio::test]
async fn a_live_stream_without_news_is_kept_alive() {
    let config = ApiConfig {
        keep_alive: Duration::from_millis(10),
        ..ApiConfig::default()
    };
    let server = Server::start_with(State::default(), config).await;
    let mut stream = Connection::get(server.address, "/v1/stream").await;
    stream.read_until(": keep-alive\n\n").await;
}
