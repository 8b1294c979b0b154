//! Questions that are answered by one object, and all that can be wrong with them.

use std::time::Duration;

use serde_json::{Value, json};
use waymesh::api::{AnswerError, ApiConfig};

use crate::{
    fake::{EXAMPLE, Server, State, VEHICLE, position, time},
    http::{ask, assert_problem, expect_problem, get},
};

fn example() -> Value {
    serde_json::from_str(EXAMPLE).unwrap()
}

#[tokio::test]
async fn status_has_the_shape_of_the_contract() {
    let server = Server::start(State::default()).await;
    let reply = get(server.address, "/v1/status").await;
    assert_eq!(reply.status, 200);
    assert!(reply.has_header("content-type: application/json"));
    assert!(reply.has_header("cache-control: no-store"));
    assert_eq!(
        reply.json(),
        json!({
            "name": "alpha", "id": "0000000000000abc", "version": "0.1.0", "incarnation": 3,
            "cluster": "waymesh",
            "addresses": {"vehicles": "127.0.0.1:5000", "listeners": ["127.0.0.1:5010"],
                "link": "127.0.0.1:5001", "http": "127.0.0.1:8080"},
            "uptime_seconds": 65, "epoch": "000000000000001f",
            "counts": {"connections": 2, "lines_received": 17}, "ready": true
        })
    );
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_what_it_waits_for() {
    let state = State {
        conditions: vec![("store", false), ("vehicles", true)],
        ..State::default()
    };
    let server = Server::start(state).await;
    let status = get(server.address, "/v1/status").await.json();
    assert_eq!(status["ready"], false);
    assert_eq!(status["waiting_for"], json!(["store"]));
    let readiness = get(server.address, "/readyz").await;
    assert_eq!(
        (readiness.status, &*readiness.body),
        (503, "not ready: store\n")
    );
    let verbose = get(server.address, "/readyz?verbose").await;
    assert_eq!(
        verbose.body,
        "store: failed\nvehicles: ok\nnot ready: store\n"
    );
    assert_eq!(get(server.address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn machines_that_watch_are_answered() {
    let server = Server::start(State::default()).await;
    let metrics = get(server.address, "/metrics").await;
    assert_eq!((metrics.status, &*metrics.body), (200, "# EOF\n"));
    assert!(
        metrics
            .has_header("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let ready = get(server.address, "/readyz").await;
    assert_eq!((ready.status, &*ready.body), (200, "ready\n"));
    let verbose = get(server.address, "/readyz?verbose=1").await;
    assert_eq!(verbose.body, "store: ok\nvehicles: ok\nready\n");
    let health = get(server.address, "/healthz").await;
    assert_eq!((health.status, &*health.body), (200, "ok\n"));
    expect_problem(server.address, "/readyz?verbos", 400, "verbose").await;
}

#[tokio::test]
async fn nodes_have_the_shape_of_the_contract() {
    let server = Server::start(State::default()).await;
    let node = |name: &str, id: &str, state: &str| {
        json!({
            "name": name, "state": state, "id": id, "link": "127.0.0.1:5001", "incarnation": 3,
            "roles": ["ingest", "store"], "since": "2026-11-20T09:05:01.000Z", "owned_shards": 4096,
            "matches": true, "linked": false
        })
    };
    let mut away = node("beta", "0000000000000def", "down");
    away["reason"] = json!("silent");
    assert_eq!(
        get(server.address, "/v1/nodes").await.json(),
        json!({
            "self": "alpha", "epoch": "000000000000001f",
            "nodes": [node("alpha", "0000000000000abc", "up"), away]
        })
    );
}

#[tokio::test]
async fn a_position_is_the_contracts_example_letter_by_letter() {
    let server = Server::start(State::with_records(vec![position(VEHICLE, 0)])).await;
    let reply = get(server.address, &format!("/v1/vehicles/{VEHICLE}")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        format!(r#"{{"position":{EXAMPLE},"owner":"alpha","connected_to":null,"missing":[]}}"#)
    );
}

#[tokio::test]
async fn an_unknown_vehicle_is_404_only_where_every_node_was_asked() {
    let server = Server::start(State::default()).await;
    expect_problem(server.address, "/v1/vehicles/7", 404, "vehicle '7'").await;
    let state = State {
        missing: vec!["beta".to_owned()],
        ..State::default()
    };
    let server = Server::start(state).await;
    let reply = get(server.address, "/v1/vehicles/7").await;
    assert_problem(&reply, 503, "beta");
    assert_eq!(reply.json()["missing"], json!(["beta"]));
    assert!(reply.has_header("retry-after: 1"));
}

#[tokio::test]
async fn vehicles_come_in_pages() {
    let records = vec![position("b", 0), position(VEHICLE, 0), position("c/d", 0)];
    let server = Server::start(State::with_records(records)).await;
    let first = get(server.address, "/v1/vehicles?limit=1").await.json();
    assert_eq!(
        first,
        json!({"vehicles": [example()], "next": VEHICLE, "missing": []})
    );
    let path = format!("/v1/vehicles?limit=2&after={VEHICLE}&bbox=24,59,25,60");
    let rest = get(server.address, &path).await.json();
    assert_eq!(rest["vehicles"][1]["vehicle"], "c/d");
    assert_eq!(rest["next"], Value::Null);
    let listed = server.state.listed.lock().unwrap();
    assert_eq!(listed[0].bbox, None);
    assert_eq!(listed[1].bbox, Some([24.0, 59.0, 25.0, 60.0]));
    assert_eq!(
        (listed[1].limit, listed[1].after.as_deref()),
        (2, Some(VEHICLE))
    );
}

#[tokio::test]
async fn a_track_is_asked_for_as_it_was_said() {
    let records = vec![position("a/b", 0), position("a/b", 1)];
    let server = Server::start(State::with_records(records)).await;
    let path = "/v1/vehicles/a%2Fb/track?from=2026-11-20T09:05:00Z&to=2026-11-20T10:06:01%2B01:00";
    let page = get(server.address, path).await.json();
    assert_eq!(page["positions"].as_array().unwrap().len(), 2);
    assert_eq!(page["positions"][1]["time"], "2026-11-20T09:05:02.000Z");
    assert_eq!(page["next"], Value::Null);
    assert_eq!(page["missing"], json!([]));
    let tracked = server.state.tracked.lock().unwrap();
    assert_eq!(tracked[0].vehicle.as_str(), "a/b");
    assert_eq!(tracked[0].from, Some(time(-1)));
    assert_eq!(tracked[0].to, Some(time(60)));
    assert_eq!(tracked[0].limit, 1_000);
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong() {
    let server = Server::start(State::default()).await;
    let vast = format!("/v1/vehicles?limit={}", "9".repeat(2_000));
    for (path, part) in [
        ("/v1/status?x=1", "this call has none"),
        ("/v1/vehicles?limt=1", "limit, after, bbox"),
        ("/v1/vehicles?limit=1&limit=1", "given twice"),
        ("/v1/vehicles?limit=0", "1 to 10000"),
        ("/v1/vehicles?limit=-1", "1 to 10000"),
        (&*vast, "1 to 10000"),
        ("/v1/vehicles?bbox=1,2,3", "min_lon"),
        ("/v1/vehicles?bbox=2,0,1,0", "min_lon"),
        ("/v1/vehicles/1?x", "this call has none"),
        ("/v1/vehicles/1/track?limit=ten", "1 to 10000"),
        ("/v1/vehicles/1/track?from=now", "RFC 3339"),
        ("/v1/vehicles/1/track?after=x", "'next' of the page before"),
        (
            "/v1/vehicles/1/track?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "later than 'to'",
        ),
        ("/v1/export?kind=line", "'position' or 'event'"),
        ("/v1/export?vehicle=%00", "not printable"),
        ("/v1/export?to=2026", "RFC 3339"),
        ("/v1/stream?filter=x", "this call has where"),
        ("/v1/events?only=1", "this call has all"),
    ] {
        expect_problem(server.address, path, 400, part).await;
    }
}

#[tokio::test]
async fn a_hostile_path_is_just_an_id_or_a_wrong_one() {
    let server = Server::start(State::default()).await;
    for (path, status, part) in [
        ("/v1/vehicles/..%2f..", 404, "'../..'"),
        (
            "/v1/vehicles/..%2f..%2fetc%2fpasswd/track/x",
            404,
            "nothing at",
        ),
        ("/v1/vehicles/../../etc/passwd", 404, "nothing at"),
        ("/v1/vehicles/%00", 400, "not printable"),
        ("/v1/vehicles/a%0d%0ab", 400, "not printable"),
        ("/v1/vehicles/%ff%fe", 400, "not UTF-8"),
        ("/v1/vehicles/", 404, "nothing at"),
        ("/v1/vehicles//track", 400, "empty vehicle id"),
        ("/v1", 404, "nothing at"),
        ("/", 404, "/v1/status"),
        ("//v1/status", 404, "nothing at"),
    ] {
        expect_problem(server.address, path, status, part).await;
    }
    let long = format!("/v1/vehicles/{}", "a".repeat(10_000));
    expect_problem(server.address, &long, 400, "10000 bytes").await;
}

#[tokio::test]
async fn only_get_and_head_are_known() {
    let server = Server::start(State::default()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let reply = ask(server.address, method, "/v1/status").await;
        assert_problem(&reply, 405, "use GET");
        assert!(reply.has_header("allow: get,head"), "{reply:?}");
    }
    let head = ask(server.address, "HEAD", "/v1/status").await;
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_problem(
        &ask(server.address, "POST", "/nothing").await,
        404,
        "nothing at",
    );
}

#[tokio::test]
async fn what_the_node_cannot_answer_is_told() {
    for (error, status, part) in [
        (AnswerError::BadCursor, 400, "'next' of the page before"),
        (AnswerError::Behind, 503, "behind the log"),
        (AnswerError::Store, 500, "log of the node"),
    ] {
        let state = State {
            error: Some(error),
            ..State::default()
        };
        let server = Server::start(state).await;
        for path in [
            "/v1/vehicles",
            "/v1/vehicles/1",
            "/v1/vehicles/1/track",
            "/v1/export",
        ] {
            expect_problem(server.address, path, status, part).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_504() {
    let state = State {
        gate: Some(Default::default()),
        ..State::default()
    };
    let config = ApiConfig {
        answer_timeout: Duration::from_millis(20),
        ..ApiConfig::default()
    };
    let server = Server::start_with(state, config).await;
    for path in [
        "/v1/vehicles",
        "/v1/vehicles/1",
        "/v1/vehicles/1/track",
        "/v1/export",
    ] {
        expect_problem(server.address, path, 504, "no answer in time").await;
    }
}
