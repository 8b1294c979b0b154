//! Questions and orders about the other nodes, and their answers as a reader sees them. Fields that
//! this version does not know are skipped.

use serde::Deserialize;
use serde_json::json;

use super::{Client, ClientError, push_escaped};

/// All members: the answer of `GET /v1/nodes`.
#[derive(Debug, Clone, Deserialize)]
pub struct MembersJson {
    /// Name of the node that was asked.
    #[serde(rename = "self")]
    pub self_name: String,
    /// Digest of the storing members.
    pub epoch: String,
    /// The members.
    pub nodes: Vec<MemberJson>,
}

/// One member.
#[derive(Debug, Clone, Deserialize)]
pub struct MemberJson {
    /// Its label.
    pub name: String,
    /// `up`, `suspect`, `down` or `left`.
    pub state: String,
    /// Why, where it is away.
    pub reason: Option<String>,
    /// Its identity.
    pub id: String,
    /// Where it takes links.
    pub link: Option<String>,
    /// Where it answers HTTP.
    pub http: Option<String>,
    /// Number of its start.
    pub incarnation: u64,
    /// Since when it is in its state, RFC 3339.
    pub since: String,
    /// Number of shards it owns.
    #[serde(default)]
    pub owned_shards: u32,
    /// Whether the node that was asked means it by its `connect_regex`.
    #[serde(default = "yes")]
    pub matches: bool,
    /// Whether the node that was asked has a link to it.
    #[serde(default)]
    pub linked: bool,
}

/// Why nodes find each other, or do not: the answer of `GET /v1/discovery`.
#[derive(Debug, Clone, Deserialize)]
pub struct DiscoveryReportJson {
    /// `searching`, `resting` or `paused`.
    pub phase: String,
    /// The sockets.
    pub places: Vec<PlaceReportJson>,
    /// Who was heard.
    pub senders: Vec<SenderReportJson>,
    /// Peers given by hand.
    pub peers: Vec<PeerReportJson>,
}

/// A transport on an interface.
#[derive(Debug, Clone, Deserialize)]
pub struct PlaceReportJson {
    /// Name of the interface.
    pub interface: String,
    /// Name of the transport.
    pub transport: String,
    /// `open`, `reopening` or `closed`.
    pub state: String,
    /// Address of the interface.
    pub address: String,
    /// Where datagrams go.
    pub to: String,
    /// When a datagram of the node's own last came back.
    pub own_heard: Option<MomentReportJson>,
    /// When one of another node last came.
    pub others_heard: Option<MomentReportJson>,
    /// How often the socket was opened anew.
    pub reopens: u64,
    /// Datagrams that came.
    pub received: u64,
    /// Datagrams that were sent.
    pub sent: u64,
    /// What went wrong last.
    pub trouble: Option<String>,
}

/// When something happened last.
#[derive(Debug, Clone, Deserialize)]
pub struct MomentReportJson {
    /// RFC 3339.
    pub at: String,
    /// How long before the answer, in milliseconds.
    pub ago_ms: u64,
}

/// Who sent datagrams to the port of discovery.
#[derive(Debug, Clone, Deserialize)]
pub struct SenderReportJson {
    /// Where they came from.
    pub address: String,
    /// What the sender calls itself.
    pub name: Option<String>,
    /// When it was last heard.
    pub heard: MomentReportJson,
    /// What became of it.
    pub verdict: String,
}

/// A peer given by hand.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerReportJson {
    /// As it was given.
    pub address: String,
    /// Who answered there.
    pub node: Option<String>,
    /// What became of it.
    pub verdict: String,
}

#[derive(Debug, Deserialize)]
struct PingAnswer {
    rtt_ms: f64,
}

const fn yes() -> bool {
    true
}

impl Client {
    /// `GET /v1/nodes`.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn members(&self) -> Result<MembersJson, ClientError> {
        self.json("/v1/nodes")
    }

    /// `GET /v1/discovery`.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn discovery(&self) -> Result<DiscoveryReportJson, ClientError> {
        self.json("/v1/discovery")
    }

    /// `POST /v1/discovery/pause` or `resume`; the answer as the node gave it.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn search(&self, is_active: bool) -> Result<String, ClientError> {
        let order = if is_active { "resume" } else { "pause" };
        self.order(&format!("/v1/discovery/{order}"), "")
    }

    /// `POST /v1/discovery/dial`; the answer as the node gave it.
    ///
    /// # Errors
    /// [`ClientError::Problem`] with status 400 for what is no address, and others.
    pub fn dial(&self, address: &str) -> Result<String, ClientError> {
        let body = json!({ "address": address }).to_string();
        self.order("/v1/discovery/dial", &body)
    }

    /// `POST /v1/nodes/{name}/ping`: milliseconds to the node and back.
    ///
    /// # Errors
    /// [`ClientError::Problem`] with status 404 for an unknown node, 504 for one that cannot be reached,
    /// and others.
    pub fn ping(&self, node: &str) -> Result<f64, ClientError> {
        let text = self.order(&node_path(node, "ping"), "")?;
        let answer: Result<PingAnswer, _> = serde_json::from_str(&text);
        answer
            .map(|answer| answer.rtt_ms)
            .map_err(|error| self.not_understood(error.to_string()))
    }

    /// `POST /v1/nodes/{name}/forget`; the answer as the node gave it.
    ///
    /// # Errors
    /// [`ClientError::Problem`] with status 404 for an unknown node, 409 for one that is not away, and
    /// others.
    pub fn forget(&self, node: &str) -> Result<String, ClientError> {
        self.order(&node_path(node, "forget"), "")
    }
}

fn node_path(node: &str, order: &str) -> String {
    let mut path = "/v1/nodes/".to_owned();
    push_escaped(&mut path, node);
    path.push('/');
    path.push_str(order);
    path
}
