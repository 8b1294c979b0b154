//! Discovery as people see it, and what they order: the views of the core and of its sockets in one.

use std::collections::BTreeMap;

use super::{
    clock::WallClock,
    cluster::{ClusterHandle, DiscoveryReport, PingError},
};
use crate::{
    api::AnswerError,
    base::time::Instant,
    cluster::{
        net::sockets::PlaceStatus,
        proto::{
            self, Forgotten, MemberState, MemberView, NodeName, PeerAddress, PeerView, PingPhase,
            PlaceView, SenderView, Verdict,
        },
    },
    types::{
        cluster::{Discovery, Moment, Peer, Place, PlaceState, SearchPhase, Sender},
        dial::DialAddress,
        ids::NodeId,
    },
};

/// Why nodes find each other, or do not.
pub(super) async fn discovery(
    cluster: &ClusterHandle,
    clock: &WallClock,
) -> Result<Discovery, AnswerError> {
    let report = report(cluster).await?;
    let members = members(cluster).await?;
    let moments = Moments {
        clock,
        now: report.now,
    };
    let views: BTreeMap<_, _> = report
        .view
        .places
        .iter()
        .map(|view| (view.place, view))
        .collect();
    let places = report.sockets.iter();
    let senders = report.view.senders.iter();
    let peers = report.view.peers.iter();
    Ok(Discovery {
        phase: phase_of(report.view.phase),
        places: places
            .map(|socket| place(socket, views.get(&socket.place).copied(), moments))
            .collect(),
        senders: senders.map(|view| sender(view, moments)).collect(),
        peers: peers.map(|view| peer(view, &members)).collect(),
    })
}

/// Pauses or resumes the search.
pub(super) async fn search(
    cluster: &ClusterHandle,
    is_active: bool,
) -> Result<SearchPhase, AnswerError> {
    let told = if is_active {
        cluster.resume().await
    } else {
        cluster.pause().await
    };
    told.map_err(|_| AnswerError::NoCluster)?;
    Ok(phase_of(report(cluster).await?.view.phase))
}

/// Dials a peer that is given by hand.
pub(super) async fn dial(
    cluster: &ClusterHandle,
    address: DialAddress,
) -> Result<Peer, AnswerError> {
    let address = match address {
        DialAddress::Address(address) => PeerAddress::Address(address),
        DialAddress::Host(..) => PeerAddress::Name(address.to_string()),
    };
    let text = address.to_string();
    let told = cluster.dial(address).await;
    told.map_err(|_| AnswerError::NoCluster)?;
    let report = report(cluster).await?;
    let members = members(cluster).await?;
    let found = report.view.peers.iter().find(|view| view.address == text);
    let view = found.ok_or(AnswerError::TooManyPeers)?;
    Ok(peer(view, &members))
}

/// The time to a node and back.
pub(super) async fn ping(
    cluster: &ClusterHandle,
    self_name: &str,
    node: &str,
) -> Result<std::time::Duration, AnswerError> {
    let unknown = || AnswerError::UnknownNode(node.to_owned());
    let name = NodeName::parse(node).map_err(|_| unknown())?;
    cluster.ping(name).await.map_err(|error| match error {
        PingError::Unknown if node == self_name => AnswerError::Itself(node.to_owned()),
        PingError::Unknown => unknown(),
        PingError::NotLinked => AnswerError::NotLinked(node.to_owned()),
        PingError::TimedOut => AnswerError::NoPong(node.to_owned()),
        PingError::Gone(_) => AnswerError::NoCluster,
    })
}

/// Strikes off members that are away.
pub(super) async fn forget(cluster: &ClusterHandle, node: &str) -> Result<(), AnswerError> {
    let whom = whom(node, &members(cluster).await?)?;
    let forgot = cluster.forget(whom).await;
    match forgot.map_err(|_| AnswerError::NoCluster)? {
        true => Ok(()),
        false => Err(AnswerError::NotAway(node.to_owned())),
    }
}

/// Who is meant by a name or an id: names come first.
fn whom(text: &str, members: &[MemberView]) -> Result<Forgotten, AnswerError> {
    let others = || members.iter().filter(|view| !view.is_self);
    let is_away = |view: &MemberView| matches!(view.state, MemberState::Down | MemberState::Left);
    let id = u64::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 16);
    let named: Vec<&MemberView> = others().filter(|view| view.name.as_str() == text).collect();
    let (found, whom) = match (named.first(), id) {
        (Some(view), _) => (named.clone(), Forgotten::Name(view.name.clone())),
        (None, Some(id)) => {
            let id = NodeId(id);
            let found = others().filter(|view| view.id == id).collect();
            (found, Forgotten::Id(id))
        }
        (None, None) => return Err(unknown_or_itself(text, members)),
    };
    if found.is_empty() {
        return Err(unknown_or_itself(text, members));
    }
    if !found.into_iter().any(is_away) {
        return Err(AnswerError::NotAway(text.to_owned()));
    }
    Ok(whom)
}

fn unknown_or_itself(text: &str, members: &[MemberView]) -> AnswerError {
    let is_it = |view: &MemberView| {
        view.is_self && (view.name.as_str() == text || view.id.to_string() == text)
    };
    if members.iter().any(is_it) {
        AnswerError::Itself(text.to_owned())
    } else {
        AnswerError::UnknownNode(text.to_owned())
    }
}

async fn report(cluster: &ClusterHandle) -> Result<DiscoveryReport, AnswerError> {
    cluster
        .discovery()
        .await
        .map_err(|_| AnswerError::NoCluster)
}

async fn members(cluster: &ClusterHandle) -> Result<Vec<MemberView>, AnswerError> {
    let known = cluster.members().await;
    known
        .map(|known| known.members)
        .map_err(|_| AnswerError::NoCluster)
}

#[derive(Debug, Clone, Copy)]
struct Moments<'a> {
    clock: &'a WallClock,
    now: Instant,
}

impl Moments<'_> {
    fn of(self, at: Instant) -> Moment {
        Moment {
            at: self.clock.at(at),
            ago: self.now.since(at),
        }
    }
}

const fn phase_of(phase: PingPhase) -> SearchPhase {
    match phase {
        PingPhase::Series => SearchPhase::Searching,
        PingPhase::Rest => SearchPhase::Resting,
        PingPhase::Paused => SearchPhase::Paused,
    }
}

fn place(socket: &PlaceStatus, view: Option<&PlaceView>, moments: Moments<'_>) -> Place {
    let counts = socket.counts;
    let is_reopening = view.is_some_and(|view| view.state == proto::PlaceState::Reopening);
    Place {
        interface: socket.interface.clone(),
        transport: socket.place.transport.as_str(),
        state: match socket.is_open {
            true if is_reopening => PlaceState::Reopening,
            true => PlaceState::Open,
            false => PlaceState::Closed,
        },
        address: socket.local,
        to: socket.to,
        own_heard: view
            .and_then(|view| view.own_heard)
            .map(|at| moments.of(at)),
        others_heard: view
            .and_then(|view| view.others_heard)
            .map(|at| moments.of(at)),
        n_reopens: view.map_or(0, |view| view.n_reopens),
        n_received: counts.received,
        n_sent: counts.sent,
        n_unsent: counts.unsent,
        n_too_long: counts.too_long,
        trouble: socket.trouble.clone(),
    }
}

fn sender(view: &SenderView, moments: Moments<'_>) -> Sender {
    Sender {
        from: view.from,
        name: view.name.as_ref().map(ToString::to_string),
        heard: moments.of(view.at),
        verdict: view.verdict.to_string(),
    }
}

fn peer(view: &PeerView, members: &[MemberView]) -> Peer {
    let member = members.iter().find(|member| view.node == Some(member.id));
    let verdict = match (member, &view.failure) {
        (Some(member), _) if member.linked.is_some() => Verdict::Linked,
        (_, Some(failure)) => Verdict::DialFailed(failure.clone()),
        (_, None) => Verdict::Dialling,
    };
    let name = member.map(|member| member.name.to_string());
    Peer {
        address: view.address.clone(),
        node: name.or_else(|| view.node.map(|id| id.to_string())),
        verdict: verdict.to_string(),
    }
}
