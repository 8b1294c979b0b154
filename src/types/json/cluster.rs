//! Shapes of what is said about the cluster.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::hex;
use crate::types::{
    cluster::{
        Discovery, Member, Members, Moment, NodeNews, Peer, Place, Role, SearchPhase, Sender,
    },
    time::UnixMillis,
};

/// All members: `GET /v1/nodes`.
#[derive(Debug, Serialize)]
pub struct NodesJson<'a> {
    #[serde(rename = "self")]
    self_name: &'a str,
    epoch: String,
    nodes: Vec<NodeJson<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
    incarnation: u64,
    roles: Vec<&'static str>,
    since: String,
    owned_shards: u32,
    matches: bool,
    linked: bool,
}

/// A member that came or went: the data of `node-up` and `node-down` in `GET /v1/events`.
#[derive(Debug, Serialize)]
pub struct NodeEventJson<'a> {
    node: &'a str,
    id: String,
    incarnation: u64,
    reason: &'a str,
    at: String,
}

/// The data of `epoch` in `GET /v1/events`.
#[derive(Debug, Serialize)]
pub struct EpochJson {
    epoch: String,
    at: String,
}

/// Why nodes find each other, or do not: `GET /v1/discovery`.
#[derive(Debug, Serialize)]
pub struct DiscoveryJson<'a> {
    phase: &'static str,
    places: Vec<PlaceJson<'a>>,
    senders: Vec<SenderJson<'a>>,
    peers: Vec<PeerJson<'a>>,
}

#[derive(Debug, Serialize)]
struct PlaceJson<'a> {
    interface: &'a str,
    transport: &'static str,
    state: &'static str,
    address: IpAddr,
    to: SocketAddr,
    own_heard: Option<MomentJson>,
    others_heard: Option<MomentJson>,
    reopens: u64,
    received: u64,
    sent: u64,
    unsent: u64,
    too_long: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct MomentJson {
    at: String,
    ago_ms: u64,
}

#[derive(Debug, Serialize)]
struct SenderJson<'a> {
    address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    heard: MomentJson,
    verdict: &'a str,
}

/// A peer given by hand: a part of `GET /v1/discovery`, and the answer to a dial.
#[derive(Debug, Serialize)]
pub struct PeerJson<'a> {
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    verdict: &'a str,
}

/// What the search does from now on: `POST /v1/discovery/pause` and `resume`.
#[derive(Debug, Serialize)]
pub struct PhaseJson {
    phase: &'static str,
}

/// How long the way to a node and back takes: `POST /v1/nodes/{name}/ping`.
#[derive(Debug, Serialize)]
pub struct PingJson {
    rtt_ms: f64,
}

/// Who was struck off: `POST /v1/nodes/{name}/forget`.
#[derive(Debug, Serialize)]
pub struct ForgottenJson<'a> {
    /// As it was asked for.
    pub forgotten: &'a str,
}

/// Whom to dial: the body of `POST /v1/discovery/dial`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialJson {
    /// `HOST[:PORT]`.
    pub address: String,
}

impl<'a> NodesJson<'a> {
    /// The JSON shape of `members`.
    pub fn new(members: &'a Members) -> Self {
        Self {
            self_name: &members.self_name,
            epoch: hex(members.epoch),
            nodes: members.members.iter().map(NodeJson::new).collect(),
        }
    }
}

impl<'a> NodeJson<'a> {
    fn new(member: &'a Member) -> Self {
        Self {
            name: &member.name,
            state: member.state.as_str(),
            reason: member.reason,
            id: member.id.to_string(),
            link: member.link,
            http: member.http,
            incarnation: member.incarnation,
            roles: member.roles.iter().copied().map(Role::as_str).collect(),
            since: member.since.to_string(),
            owned_shards: member.owned_shards,
            matches: member.matches,
            linked: member.linked,
        }
    }
}

impl<'a> NodeEventJson<'a> {
    /// The JSON shape of `news`.
    pub fn new(news: &'a NodeNews) -> Self {
        Self {
            node: &news.name,
            id: news.id.to_string(),
            incarnation: news.incarnation,
            reason: news.reason,
            at: news.at.to_string(),
        }
    }
}

impl EpochJson {
    /// The JSON shape of a new epoch.
    pub fn new(epoch: u64, at: UnixMillis) -> Self {
        Self {
            epoch: hex(epoch),
            at: at.to_string(),
        }
    }
}

impl<'a> DiscoveryJson<'a> {
    /// The JSON shape of `discovery`.
    pub fn new(discovery: &'a Discovery) -> Self {
        Self {
            phase: discovery.phase.as_str(),
            places: discovery.places.iter().map(PlaceJson::new).collect(),
            senders: discovery.senders.iter().map(SenderJson::new).collect(),
            peers: discovery.peers.iter().map(PeerJson::new).collect(),
        }
    }
}

impl<'a> PlaceJson<'a> {
    fn new(place: &'a Place) -> Self {
        Self {
            interface: &place.interface,
            transport: place.transport,
            state: place.state.as_str(),
            address: place.address,
            to: place.to,
            own_heard: place.own_heard.map(MomentJson::new),
            others_heard: place.others_heard.map(MomentJson::new),
            reopens: place.n_reopens,
            received: place.n_received,
            sent: place.n_sent,
            unsent: place.n_unsent,
            too_long: place.n_too_long,
            trouble: place.trouble.as_deref(),
        }
    }
}

impl MomentJson {
    fn new(moment: Moment) -> Self {
        Self {
            at: moment.at.to_string(),
            ago_ms: u64::try_from(moment.ago.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl<'a> SenderJson<'a> {
    fn new(sender: &'a Sender) -> Self {
        Self {
            address: sender.from,
            name: sender.name.as_deref(),
            heard: MomentJson::new(sender.heard),
            verdict: &sender.verdict,
        }
    }
}

impl<'a> PeerJson<'a> {
    /// The JSON shape of `peer`.
    pub fn new(peer: &'a Peer) -> Self {
        Self {
            address: &peer.address,
            node: peer.node.as_deref(),
            verdict: &peer.verdict,
        }
    }
}

impl PhaseJson {
    /// The JSON shape of `phase`.
    pub const fn new(phase: SearchPhase) -> Self {
        Self {
            phase: phase.as_str(),
        }
    }
}

impl PingJson {
    /// The JSON shape of a time; to the microsecond.
    pub fn new(took: std::time::Duration) -> Self {
        Self {
            rtt_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
        }
    }
}
