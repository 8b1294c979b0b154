//! What people and other rooms see of the core: members, discovery, sizes. Values, made when asked for.

use std::{fmt, net::SocketAddr};

use crate::{
    base::time::Instant,
    cluster::proto::{
        beacon::BeaconRejection,
        card::{Incarnation, NodeName, Roles, RunNumber},
        discovery::{
            Surroundings as _,
            senders::{Sender, SenderIs},
            series::PingPhase,
            watchdog::PlaceState,
        },
        events::{DownReason, NodeEvent},
        link::outcome::DialFailure,
        link_id::LinkId,
        membership::{Member, Path, Record, Standing},
        place::SocketPlace,
        view::{Epoch, ViewDigest},
    },
    types::ids::NodeId,
};

use super::{Cluster, core::Core};

/// How a member stands as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// It can be used.
    Up,
    /// Silent for a second, or this node seeks a link to it and has none at present. A view of this
    /// node that does not travel.
    Suspect,
    /// It is dead, or cannot be reached by anybody.
    Down,
    /// It said goodbye.
    Left,
}

impl MemberState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

/// A member, this node included.
#[derive(Debug, Clone)]
pub struct MemberView {
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Of the run that is meant.
    pub incarnation: Incarnation,
    /// Random number of that run.
    pub run: RunNumber,
    /// What it does.
    pub roles: Roles,
    /// Where it takes links, as far as this node knows.
    pub link: Option<SocketAddr>,
    /// Where it answers HTTP.
    pub http: Option<SocketAddr>,
    /// How it stands.
    pub state: MemberState,
    /// Why, where it is down or left.
    pub reason: Option<DownReason>,
    /// Since when it stands so; to the millisecond of this node's clock.
    pub since: Instant,
    /// Whether it is this node.
    pub is_self: bool,
    /// Whether this node's `connect_regex` means it.
    pub matches: bool,
    /// The link to it that is used; absent without one, and for this node.
    pub linked: Option<LinkId>,
    /// How it is reached; absent where it is not, for this node, and until the tables of a new link
    /// are exchanged.
    pub way: Option<MemberWay>,
}

/// How a member is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberWay {
    /// Over how many links; 1 by one of our own.
    pub n_links: u8,
    /// The neighbour that is the first on the way; the member itself where it is linked.
    pub via: NodeId,
}

/// A storing member that the shard map counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storing {
    /// Its identity.
    pub id: NodeId,
    /// Its name: the key of its shards.
    pub name: NodeName,
    /// The link to it; absent for this node, and for a moment after a link was lost.
    pub linked: Option<LinkId>,
}

/// Why nodes find each other, or do not.
#[derive(Debug, Clone)]
pub struct DiscoveryView {
    /// What PINGs do at present.
    pub phase: PingPhase,
    /// Sockets of discovery.
    pub places: Vec<PlaceView>,
    /// Senders of beacons, and what became of them.
    pub senders: Vec<SenderView>,
    /// Peers given by hand.
    pub peers: Vec<PeerView>,
}

/// One socket of discovery.
#[derive(Debug, Clone)]
pub struct PlaceView {
    /// Which.
    pub place: SocketPlace,
    /// How it stands.
    pub state: PlaceState,
    /// When one of this node's own beacons last came back over it.
    pub own_heard: Option<Instant>,
    /// When a beacon of another node last came in over it.
    pub others_heard: Option<Instant>,
    /// How often it was opened anew since it heard nothing.
    pub n_reopens: u64,
}

/// One sender of beacons.
#[derive(Debug, Clone)]
pub struct SenderView {
    /// Source address of its last datagram.
    pub from: SocketAddr,
    /// Its name; of a stranger what it calls itself.
    pub name: Option<NodeName>,
    /// When it was last heard.
    pub at: Instant,
    /// What became of it.
    pub verdict: Verdict,
}

/// A peer given by hand.
#[derive(Debug, Clone)]
pub struct PeerView {
    /// As it was given.
    pub address: String,
    /// Who answered there.
    pub node: Option<NodeId>,
    /// Why the last dial failed.
    pub failure: Option<DialFailure>,
}

/// What became of a sender of beacons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A link to it stands.
    Linked,
    /// It is a member that is reached over others.
    Member,
    /// This node's `connect_regex` does not mean it.
    NotMatching,
    /// A link to it is under way.
    Dialling,
    /// A dial to it came to nothing.
    DialFailed(DialFailure),
    /// Its beacon was none for this node.
    Rejected(BeaconRejection),
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Linked => "linked",
            Self::Member => "member",
            Self::NotMatching => "not matching",
            Self::Dialling => "dialling",
            Self::DialFailed(why) => return why.fmt(formatter),
            Self::Rejected(reason) => return reason.fmt(formatter),
        };
        formatter.write_str(word)
    }
}

/// Counters of the core, for the metrics.
#[derive(Debug, Clone, Default)]
pub struct ClusterCounts {
    /// Datagrams of discovery received.
    pub n_beacons_received: u64,
    /// PINGs, PONGs and beats sent.
    pub n_beacons_sent: [u64; 3],
    /// Datagrams rejected, by reason in the order of [`BeaconRejection::ALL`].
    pub n_beacons_rejected: Vec<(BeaconRejection, u64)>,
    /// Sockets opened anew, of all places.
    pub n_reopens: u64,
    /// Dials begun.
    pub n_dials: u64,
    /// Dials that came to nothing.
    pub n_dials_failed: u64,
    /// Times that this node, called away, spoke up.
    pub n_refutations: u64,
    /// Member tables sent since views differed.
    pub n_tables_exchanged: u64,
    /// Frames and heartbeats that could not be read.
    pub n_frames_malformed: u64,
    /// What found no room, by what it was: each table has a cap.
    pub n_full: [(&'static str, u64); 8],
}

/// How full the tables of the core are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSizes {
    /// Other members, those away included.
    pub n_members: usize,
    /// Links.
    pub n_links: usize,
    /// Peers that are or were dialled.
    pub n_peers: usize,
    /// Dials under way.
    pub n_dials: usize,
    /// Senders in the table of verdicts.
    pub n_senders: usize,
    /// Nonces remembered.
    pub n_nonces: usize,
    /// Sockets of discovery.
    pub n_places: usize,
}

impl Cluster {
    /// All members in order of identity, this node included; those struck off left out.
    pub fn members(&self) -> Vec<MemberView> {
        self.core.member_views()
    }

    /// The members that subscribers take for up, as they were told: what a new subscriber is told
    /// first, this node at the head.
    pub fn announced(&self) -> Vec<NodeEvent> {
        let core = &self.core;
        let own = core.event(&core.own);
        let announced = core.members.iter().filter_map(|member| {
            let known = member.announced.as_ref()?;
            Some(core.event_of(member.record.id, known))
        });
        std::iter::once(own).chain(announced).collect()
    }

    /// The storing members, in order of identity.
    pub fn storing(&self) -> Vec<Storing> {
        let core = &self.core;
        let others = core
            .members
            .iter()
            .filter(|member| core.is_stored_at(member));
        let mut storing: Vec<Storing> = others
            .map(|member| Storing {
                id: member.record.id,
                name: member.record.name.clone(),
                linked: core.links.main(member.record.id).map(|link| link.id),
            })
            .collect();
        if core.stores_itself() {
            storing.push(Storing {
                id: core.own.id,
                name: core.own.name.clone(),
                linked: None,
            });
        }
        storing.sort_by_key(|one| one.id);
        storing
    }

    /// The link to each member that has shown its table over one, in order of identity.
    pub fn usable_links(&self) -> Vec<(NodeId, LinkId)> {
        let members = self.core.members.iter().map(|member| member.record.id);
        let usable = members.filter(|id| self.core.links.is_usable(*id));
        usable
            .filter_map(|id| Some((id, self.core.links.main(id)?.id)))
            .collect()
    }

    /// What a member is called.
    pub fn name_of(&self, id: NodeId) -> Option<&NodeName> {
        self.core.members.get(id).map(|member| &member.record.name)
    }

    /// Another one whenever [`usable_links`](Self::usable_links), [`storing`](Self::storing), [`epoch`](Self::epoch) or
    /// [`view`](Self::view) may say something else.
    pub const fn version(&self) -> (u64, u64) {
        (self.core.n_refreshes, self.core.links.version())
    }

    /// Digest of the storing members.
    pub fn epoch(&self) -> Epoch {
        self.core.epoch.unwrap_or(Epoch(0))
    }

    /// Digest of the members that are up.
    pub const fn view(&self) -> ViewDigest {
        self.core.digest
    }

    /// The member that a link leads to.
    pub fn peer_of(&self, link: LinkId) -> Option<NodeId> {
        let mut links = self.core.links.iter();
        links.find(|one| one.id == link).map(|one| one.peer)
    }

    /// Link address of the node that holds this node's name, if there is one: then this node is not
    /// ready.
    pub fn name_taken_by(&self) -> Option<SocketAddr> {
        self.core.refused.map(|(by, _)| by)
    }

    /// What discovery heard and did.
    pub fn discovery(&self) -> DiscoveryView {
        let places = self
            .discovery
            .watchdog
            .iter()
            .map(|(place, known)| PlaceView {
                place,
                state: known.state,
                own_heard: known.own_heard,
                others_heard: known.others_heard,
                n_reopens: known.n_reopens,
            });
        let senders = self.discovery.senders.iter().map(|sender| SenderView {
            from: sender.from,
            name: sender.name.clone(),
            at: sender.at,
            verdict: self.core.verdict(sender),
        });
        let peers = self.core.dialling.statics.iter().map(|peer| PeerView {
            address: peer.address.to_string(),
            node: peer.node,
            failure: peer.failure.clone(),
        });
        DiscoveryView {
            phase: self.discovery.pings.phase(),
            places: places.collect(),
            senders: senders.collect(),
            peers: peers.collect(),
        }
    }

    /// The counters.
    pub fn counts(&self) -> ClusterCounts {
        let (beacons, core) = (&self.discovery.counts, &self.core);
        let rejected = BeaconRejection::ALL.into_iter().zip(beacons.n_rejected);
        let places = self.discovery.watchdog.iter();
        ClusterCounts {
            n_beacons_received: beacons.n_received,
            n_beacons_sent: [beacons.n_pings, beacons.n_pongs, beacons.n_beats],
            n_beacons_rejected: rejected.collect(),
            n_reopens: places.map(|(_, place)| place.n_reopens).sum(),
            n_dials: core.dialling.counts.n_dials,
            n_dials_failed: core.dialling.counts.n_failed,
            n_refutations: core.counts.n_refutations,
            n_tables_exchanged: core.counts.n_tables_exchanged,
            n_frames_malformed: core.counts.n_frames_malformed,
            n_full: [
                ("members", core.counts.n_members_full),
                ("links", core.counts.n_links_crowded),
                ("reports", core.counts.n_reports_cut),
                ("peers", core.dialling.counts.n_peers_dropped),
                ("beacon_dials", core.dialling.counts.n_held_back),
                ("senders", self.discovery.senders.n_dropped),
                ("nonces", self.discovery.nonces.n_dropped),
                ("places", beacons.n_unwatched),
            ],
        }
    }

    /// How full the tables are.
    pub fn sizes(&self) -> TableSizes {
        let (n_dials, n_peers) = self.core.dialling.sizes();
        TableSizes {
            n_members: self.core.members.len(),
            n_links: self.core.links.len(),
            n_peers,
            n_dials,
            n_senders: self.discovery.senders.iter().count(),
            n_nonces: self.discovery.nonces.len(),
            n_places: self.discovery.watchdog.iter().count(),
        }
    }
}

impl Core {
    fn member_views(&self) -> Vec<MemberView> {
        let known = self
            .members
            .iter()
            .filter(|member| member.record.claim.standing != Standing::Forgotten);
        let mut views: Vec<MemberView> = known.map(|member| self.member_view(member)).collect();
        let state = if self.own.is_up() {
            MemberState::Up
        } else {
            MemberState::Left
        };
        views.push(MemberView {
            is_self: true,
            ..self.view_of(&self.own, state, self.started)
        });
        views.sort_by_key(|view| view.id);
        views
    }

    fn member_view(&self, member: &Member) -> MemberView {
        let record = &member.record;
        let link = self.links.main(record.id);
        let state = match (record.claim.standing, member.path) {
            (Standing::Up, Path::Linked) if link.is_some_and(|link| !link.is_quiet) => {
                MemberState::Up
            }
            (Standing::Up, Path::Reported { .. })
                if !self.is_sought(record) && self.has_path(record.id) =>
            {
                MemberState::Up
            }
            // With a link of our own it is not down, whatever others said: it is about to speak up.
            (Standing::Up, _) | (Standing::Down, Path::Linked) => MemberState::Suspect,
            (Standing::Down, _) => MemberState::Down,
            (Standing::Left | Standing::Forgotten, _) => MemberState::Left,
        };
        MemberView {
            linked: link.map(|link| link.id),
            way: self.way_of(member).map(|way| MemberWay {
                n_links: way.n_hops,
                via: way.via.unwrap_or(way.id),
            }),
            ..self.view_of(record, state, member.since)
        }
    }

    fn view_of(&self, record: &Record, state: MemberState, since: Instant) -> MemberView {
        let is_away = matches!(state, MemberState::Down | MemberState::Left);
        MemberView {
            id: record.id,
            name: record.name.clone(),
            incarnation: record.claim.incarnation,
            run: record.run(),
            roles: record.roles,
            link: record.link,
            http: record.http,
            state,
            reason: is_away.then_some(record.reason),
            since,
            is_self: false,
            matches: self.matches(record),
            linked: None,
            way: None,
        }
    }

    fn verdict(&self, sender: &Sender) -> Verdict {
        let id = match sender.is {
            SenderIs::Rejected(reason) => return Verdict::Rejected(reason),
            SenderIs::Ours(id) => id,
        };
        if self.links.to(id).next().is_some() {
            return Verdict::Linked;
        }
        let matches = |name: &NodeName| self.config.connect.matches(name.as_str());
        if !sender.name.as_ref().is_some_and(matches) {
            return Verdict::NotMatching;
        }
        match self.dialling.peer(id).and_then(|peer| peer.failure.clone()) {
            Some(failure) => Verdict::DialFailed(failure),
            None if self.has_path(id) => Verdict::Member,
            None => Verdict::Dialling,
        }
    }
}
