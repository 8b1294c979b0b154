//! Whole nodes in this process that know each other's address, asked over HTTP.

use std::{net::SocketAddr, os::unix::fs::OpenOptionsExt as _, path::Path};

use serde_json::{Value, json};
use tokio::runtime::Handle;
use waymesh::{
    app::App,
    config::{Environment, Overlay, Sources, load},
    protocol::Registry,
};

use crate::http::{Connection, Reply, assert_problem, exchange, get, within};

pub struct Sibling {
    pub app: App,
    pub http: SocketAddr,
    pub vehicles: SocketAddr,
    link: SocketAddr,
}

impl Sibling {
    /// Starts a node that looks for nobody, in a folder of its own.
    pub async fn start(folder: &Path, name: &str) -> Self {
        let secret = folder.join("secret");
        if !secret.exists() {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&secret)
                .unwrap();
            let digits: String = (1..=32).map(|byte| format!("{byte:02x}")).collect();
            file.write_all(digits.as_bytes()).unwrap();
        }
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let any = || Some("127.0.0.1:0".to_owned());
        let variables = [("WAYMESH_DISCOVERY__TRANSPORTS", "static")];
        let loaded = load(&Sources {
            environment: Environment::from_iter(variables),
            overlay: Overlay {
                name: Some(name.to_owned()),
                secret_file: Some(text(&secret)),
                data: Some(text(&folder.join(name))),
                vehicles: any(),
                link: any(),
                http: any(),
                ..Overlay::default()
            },
            ..Sources::default()
        })
        .unwrap();
        let here = Handle::current();
        let app = App::start(loaded.config, Registry::built_in(), &here)
            .await
            .unwrap();
        let addresses = app.status().addresses;
        Self {
            app,
            http: addresses.http.unwrap(),
            vehicles: addresses.vehicles[0],
            link: addresses.link.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        get(self.http, path).await.json()
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        let n_bytes = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {n_bytes}\r\n\r\n{body}");
        exchange(self.http, &request).await
    }

    pub async fn dial(&self, other: &Self) -> Reply {
        let body = json!({ "address": other.link }).to_string();
        self.post("/v1/discovery/dial", &body).await
    }

    async fn events(&self, path: &str) -> Connection {
        let mut events = Connection::get(self.http, path).await;
        events.read_until("present").await;
        events
    }
}

fn shards(nodes: &Value) -> Vec<u64> {
    let nodes = nodes["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| node["owned_shards"].as_u64().unwrap())
        .collect()
}

pub fn node<'a>(nodes: &'a Value, name: &str) -> &'a Value {
    let mut all = nodes["nodes"].as_array().unwrap().iter();
    all.find(|node| node["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_knows_itself() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    let nodes = alpha.get("/v1/nodes").await;
    let status = alpha.get("/v1/status").await;
    assert_eq!(
        (&nodes["self"], &nodes["epoch"]),
        (&json!("alpha"), &status["epoch"])
    );
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1);
    let own = node(&nodes, "alpha");
    assert_eq!(own["id"], status["id"]);
    assert_eq!(own["owned_shards"], 4096);
    assert_eq!(
        (&own["state"], &own["matches"]),
        (&json!("up"), &json!(true))
    );
    assert_eq!(
        alpha.get("/v1/nodes").await,
        nodes,
        "a time that is told twice is the same"
    );
    let mut events = alpha.events("/v1/events").await;
    let since = own["since"].as_str().unwrap();
    let at = format!("\"reason\":\"present\",\"at\":{since:?}}}");
    events.read_until(&at).await;
    let id = own["id"].as_str().unwrap();
    for (path, status, part) in [
        ("/v1/nodes/alpha/ping", 400, "the node that was asked"),
        ("/v1/nodes/alpha/forget", 400, "the node that was asked"),
        (
            &format!("/v1/nodes/{id}/forget"),
            400,
            "the node that was asked",
        ),
        ("/v1/nodes/beta/ping", 404, "no node 'beta'"),
        ("/v1/nodes/beta/forget", 404, "no node 'beta'"),
        (
            "/v1/nodes/00000000000000ff/forget",
            404,
            "no node '00000000000000ff'",
        ),
    ] {
        assert_problem(&alpha.post(path, "").await, status, part);
    }
    alpha.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sibling_that_is_dialled_comes_and_goes_before_everybodys_eyes() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    let beta = Sibling::start(folder.path(), "beta").await;
    let mut events = alpha.events("/v1/events").await;
    let peer = alpha.dial(&beta).await.json();
    assert_eq!(peer["address"], beta.link.to_string());
    events.read_until("\"reason\":\"joined\"").await;
    events.read_until("event: epoch").await;

    let nodes = alpha.get("/v1/nodes").await;
    let other = node(&nodes, "beta");
    assert_eq!(
        (&other["state"], &other["linked"]),
        (&json!("up"), &json!(true))
    );
    let owned = shards(&nodes);
    assert_eq!(owned.iter().sum::<u64>(), 4096);
    assert!(owned.iter().all(|owned| *owned > 1_500), "{owned:?}");

    let pinged = alpha.post("/v1/nodes/beta/ping", "").await;
    assert!(
        pinged.json()["rtt_ms"].as_f64().unwrap() > 0.0,
        "{pinged:?}"
    );
    let discovery = alpha.get("/v1/discovery").await;
    let peer = &discovery["peers"][0];
    assert_eq!(
        (&peer["node"], &peer["verdict"]),
        (&json!("beta"), &json!("linked"))
    );
    assert_problem(
        &alpha.post("/v1/nodes/beta/forget", "").await,
        409,
        "stop it first",
    );

    within(beta.app.stop()).await;
    let text = events.read_until("event: node-down").await.to_owned();
    assert_eq!(text.matches("event: node-up").count(), 2, "{text}");
    events.read_until("\"reason\":\"left\"").await;
    let nodes = alpha.get("/v1/nodes").await;
    assert_eq!(node(&nodes, "beta")["state"], "left");
    assert_eq!(node(&nodes, "beta")["reason"], "left");
    assert_eq!(node(&nodes, "alpha")["owned_shards"], 4096);
    assert_problem(
        &alpha.post("/v1/nodes/beta/ping", "").await,
        504,
        "no link to 'beta'",
    );

    let forgotten = alpha.post("/v1/nodes/beta/forget", "").await;
    assert_eq!(forgotten.json(), json!({"forgotten": "beta"}));
    assert_eq!(
        alpha.get("/v1/nodes").await["nodes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_problem(
        &alpha.post("/v1/nodes/beta/forget", "").await,
        404,
        "no node 'beta'",
    );
    let text = events.read.clone();
    assert_eq!(
        text.matches("event: node-").count(),
        3,
        "each change once: {text}"
    );
    alpha.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_search_stops_and_goes_on_as_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    assert_eq!(
        alpha.post("/v1/discovery/pause", "").await.json()["phase"],
        "paused"
    );
    assert_eq!(alpha.get("/v1/discovery").await["phase"], "paused");
    assert_ne!(
        alpha.post("/v1/discovery/resume", "").await.json()["phase"],
        "paused"
    );
    alpha.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_given_by_hand_have_a_cap() {
    let folder = tempfile::tempdir().unwrap();
    let alpha = Sibling::start(folder.path(), "alpha").await;
    let mut n_taken = 0;
    loop {
        // Nobody listens on these ports of this machine.
        let body = json!({ "address": format!("127.0.0.1:{}", n_taken + 1) }).to_string();
        let reply = alpha.post("/v1/discovery/dial", &body).await;
        if reply.status != 200 {
            assert_problem(&reply, 503, "as many peers");
            break;
        }
        n_taken += 1;
        assert!(n_taken < 10_000, "there is no cap");
    }
    let discovery = alpha.get("/v1/discovery").await;
    assert_eq!(discovery["peers"].as_array().unwrap().len(), n_taken);
    alpha.app.stop().await;
}
