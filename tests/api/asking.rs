//! Whole nodes in this process whose stores were filled apart, asked together.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{
    http::{Connection, assert_problem, get, within},
    siblings::{Sibling, node},
};

/// A vehicle's connection to a node.
struct Tracker(BufReader<TcpStream>);

impl Tracker {
    async fn login(sibling: &Sibling, id: &str) -> Self {
        let socket = TcpStream::connect(sibling.vehicles).await.unwrap();
        let mut tracker = Self(BufReader::new(socket));
        tracker.say(&format!("#L#{id};NA"), "#AL#1").await;
        tracker
    }

    async fn say(&mut self, line: &str, answer: &str) {
        let line = format!("{line}\r\n");
        within(self.0.write_all(line.as_bytes())).await.unwrap();
        let mut said = String::new();
        within(self.0.read_line(&mut said)).await.unwrap();
        assert_eq!(said.trim_end(), answer, "{line}");
    }

    /// A fix in this second of a day, so many ten-thousandths of a minute east.
    async fn fix(&mut self, second: u32, east: u32) {
        let time = format!(
            "{:02}{:02}{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
        let line = format!("#SD#011125;{time};5926.0000;N;02400.{east:04};E;42;90;30;9");
        self.say(&line, "#ASD#1").await;
    }
}

async fn feed(sibling: &Sibling, id: &str, fixes: impl IntoIterator<Item = (u32, u32)>) {
    let mut tracker = Tracker::login(sibling, id).await;
    for (second, east) in fixes {
        tracker.fix(second, east).await;
    }
}

/// Links all of them, and waits until each has a link to each.
async fn link(siblings: &[&Sibling]) {
    for (number, one) in siblings.iter().enumerate() {
        for other in siblings.iter().skip(number + 1) {
            one.dial(other).await;
        }
    }
    for one in siblings {
        loop {
            let nodes = one.get("/v1/nodes").await;
            let nodes = nodes["nodes"].as_array().unwrap();
            let n_linked = nodes.iter().filter(|node| node["linked"] == true).count();
            if n_linked == siblings.len() - 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn export(sibling: &Sibling, query: &str) -> Vec<Value> {
    let reply = get(sibling.http, &format!("/v1/export{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.body.ends_with("0\r\n\r\n"), "it is whole");
    let lines = reply.body.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn times(positions: &[Value]) -> Vec<&str> {
    positions
        .iter()
        .map(|position| position["time"].as_str().unwrap())
        .collect()
}

/// All pages of a list.
async fn pages(sibling: &Sibling, path: &str, list: &str) -> Vec<Value> {
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let page = sibling.get(&format!("{path}{after}")).await;
        assert_eq!(page["missing"], json!([]));
        items.extend(page[list].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else {
            return items;
        };
        after = format!("&after={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_answers_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    let beta = Sibling::start(folder.path(), "beta").await;
    let gamma = Sibling::start(folder.path(), "gamma").await;
    // The lines of one vehicle lie on all of them, some on two; others on one.
    feed(&alpha, "bus", (0..100).map(|second| (second * 3, 0))).await;
    feed(&beta, "bus", (0..100).map(|second| (second * 3 + 1, 0))).await;
    feed(&gamma, "bus", (0..100).map(|second| (second * 3 + 2, 0))).await;
    feed(&gamma, "bus", (0..50).map(|second| (second, 0))).await;
    feed(&alpha, "a", [(10, 1), (20, 1)]).await;
    feed(&beta, "b", [(30, 5_000)]).await;
    feed(&gamma, "a", [(30, 9_000)]).await;
    link(&[&alpha, &beta, &gamma]).await;

    for sibling in [&alpha, &beta, &gamma] {
        let last = sibling.get("/v1/vehicles/bus").await;
        assert_eq!(last["position"]["time"], "2025-11-01T00:04:59.000Z");
        assert_eq!(last["missing"], json!([]));
        let track = pages(sibling, "/v1/vehicles/bus/track?limit=70", "positions").await;
        let expected: Vec<String> = (0..300)
            .map(|second| format!("2025-11-01T00:{:02}:{:02}.000Z", second / 60, second % 60))
            .collect();
        assert_eq!(times(&track), expected);
        let range = "from=2025-11-01T00:00:05Z&to=2025-11-01T00:00:09Z&limit=3";
        let part = pages(
            sibling,
            &format!("/v1/vehicles/bus/track?{range}"),
            "positions",
        )
        .await;
        assert_eq!(part, track[5..9]);

        let vehicles = pages(sibling, "/v1/vehicles?limit=2", "vehicles").await;
        let found: Vec<_> = vehicles
            .iter()
            .map(|position| position["vehicle"].as_str().unwrap())
            .collect();
        assert_eq!(found, ["a", "b", "bus"]);
        // Where it was is inside, where it is now is not: the filter comes after the merge.
        let inside = sibling.get("/v1/vehicles?bbox=24,59,24.01,60").await;
        assert_eq!(inside["vehicles"].as_array().unwrap().len(), 2);
        assert_eq!(inside["vehicles"][0]["vehicle"], "b");

        let all = export(sibling, "").await;
        assert_eq!(all.len(), 304);
        let keys: BTreeSet<_> = all
            .iter()
            .map(|one| {
                (
                    one["vehicle"].as_str().unwrap(),
                    one["time"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(keys.len(), 304, "each once");
        assert_eq!(export(sibling, "?vehicle=bus").await, track);
        assert_problem(&get(sibling.http, "/v1/vehicles/none").await, 404, "'none'");
    }
    let metrics = get(alpha.http, "/metrics").await.body;
    assert!(!metrics.contains("waymesh_questions_answered_total{outcome=\"whole\"} 0\n"));
    for sibling in [alpha, beta, gamma] {
        within(sibling.app.stop()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vehicle_is_connected_where_it_is_connected_and_owned_where_all_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    let beta = Sibling::start(folder.path(), "beta").await;
    let mut tracker = Tracker::login(&beta, "bus").await;
    tracker.fix(1, 1).await;
    let own = alpha.get("/v1/nodes").await;
    assert_eq!(node(&own, "alpha")["owned_shards"], 4_096);
    link(&[&alpha, &beta]).await;
    let seen = [
        alpha.get("/v1/vehicles/bus").await,
        beta.get("/v1/vehicles/bus").await,
    ];
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0]["connected_to"], "beta");
    assert!(
        ["alpha", "beta"]
            .map(Value::from)
            .contains(&seen[0]["owner"])
    );
    drop(tracker);
    loop {
        let last = alpha.get("/v1/vehicles/bus").await;
        if last["connected_to"].is_null() {
            break;
        }
        tokio::task::yield_now().await;
    }
    within(beta.app.stop()).await;
    within(alpha.app.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_is_named_until_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    let beta = Sibling::start(folder.path(), "beta").await;
    feed(&alpha, "bus", [(1, 1)]).await;
    feed(&beta, "bus", [(2, 1)]).await;
    link(&[&alpha, &beta]).await;
    within(beta.app.stop()).await;

    let last = alpha.get("/v1/vehicles/bus").await;
    assert_eq!(last["position"]["time"], "2025-11-01T00:00:01.000Z");
    assert_eq!(last["missing"], json!(["beta"]));
    for path in ["/v1/vehicles", "/v1/vehicles/bus/track"] {
        assert_eq!(alpha.get(path).await["missing"], json!(["beta"]), "{path}");
    }
    for path in [
        "/v1/vehicles/none",
        "/v1/export",
        "/v1/export?partial=false",
    ] {
        let reply = get(alpha.http, path).await;
        assert_problem(&reply, 503, "beta");
        assert_eq!(reply.json()["missing"], json!(["beta"]));
    }
    let partial = get(alpha.http, "/v1/export?partial=true").await;
    assert_eq!(partial.status, 200);
    assert!(partial.has_header("waymesh-missing: beta"), "{partial:?}");
    assert_eq!(partial.body.matches("\"vehicle\":\"bus\"").count(), 1);

    assert_eq!(alpha.post("/v1/nodes/beta/forget", "").await.status, 200);
    assert_eq!(export(&alpha, "").await.len(), 1);
    assert_problem(&get(alpha.http, "/v1/vehicles/none").await, 404, "'none'");
    within(alpha.app.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_shows_the_positions_of_all_nodes_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    let beta = Sibling::start(folder.path(), "beta").await;
    let mut stream = Connection::get(alpha.http, "/v1/stream").await;
    stream.read_until("\r\n\r\n").await;
    feed(&alpha, "here", [(1, 1)]).await;
    stream.read_until("\"vehicle\":\"here\"").await;
    // A node that comes later is listened to, too; when that has begun shows in what comes.
    link(&[&alpha, &beta]).await;
    let mut second = 0;
    while !stream.read.contains("\"vehicle\":\"there\"") {
        second += 1;
        feed(&beta, "there", [(second, 1)]).await;
        feed(&alpha, "mark", [(second, 1)]).await;
        let mark = format!("\"vehicle\":\"mark\",\"time\":\"{}\"", time_of(second));
        stream.read_until(&mark).await;
    }
    // The same fix, taken in by both.
    feed(&beta, "both", [(5, 1)]).await;
    stream.read_until("\"vehicle\":\"both\"").await;
    feed(&alpha, "both", [(5, 1), (6, 1)]).await;
    let end = format!("\"vehicle\":\"both\",\"time\":\"{}\"", time_of(6));
    let text = stream.read_until(&end).await;
    assert_eq!(text.matches("\"vehicle\":\"both\"").count(), 2, "{text}");
    drop(stream);
    within(beta.app.stop()).await;
    within(alpha.app.stop()).await;
}

fn time_of(second: u32) -> String {
    format!("2025-11-01T00:{:02}:{:02}.000Z", second / 60, second % 60)
}
