//! What a node says about itself and what it answers with.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{ids::NodeId, record::Record, time::UnixMillis};

/// One node about itself.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Label of the node; the host name by default.
    pub name: String,
    /// Identity, kept in the data folder.
    pub id: NodeId,
    /// Version of the program.
    pub version: &'static str,
    /// How many times a node was started on this data folder.
    pub incarnation: u64,
    /// Name of the cluster the node belongs to.
    pub cluster: String,
    /// The addresses bound.
    pub addresses: Addresses,
    /// Time since the start.
    pub uptime: Duration,
    /// Digest of the set of storing members.
    pub epoch: u64,
    /// The books and other counts, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Whether the node serves vehicles, and why not.
    pub readiness: Readiness,
}

/// The addresses a node has bound; absent where it does not listen.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The shared port of vehicles, then further listeners in the order of the configuration.
    pub vehicles: Vec<SocketAddr>,
    /// Links from other nodes.
    pub link: Option<SocketAddr>,
    /// HTTP.
    pub http: Option<SocketAddr>,
}

/// Each condition of readiness with whether it holds; ready when all do.
#[derive(Debug, Clone, Default)]
pub struct Readiness(pub Vec<(&'static str, bool)>);

impl Readiness {
    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        self.0.iter().all(|(_, holds)| *holds)
    }
}

/// All members of the cluster as one node sees them.
#[derive(Debug, Clone)]
pub struct Members {
    /// Name of the node that says this.
    pub self_name: String,
    /// Digest of the set of storing members.
    pub epoch: u64,
    /// The members, this node included.
    pub members: Vec<Member>,
}

/// One node as another sees it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Label of the node.
    pub name: String,
    /// Whether it can be reached.
    pub state: MemberState,
    /// Identity, kept in its data folder.
    pub id: NodeId,
    /// Where it takes links; absent if it takes none.
    pub link: Option<SocketAddr>,
    /// Where it answers HTTP; absent if it does not publish that.
    pub http: Option<SocketAddr>,
    /// How many times it was started on its data folder.
    pub incarnation: u64,
    /// What it does.
    pub roles: Vec<Role>,
    /// Since when it is in this state, by the clock of the node that says this.
    pub since: UnixMillis,
    /// Number of shards it owns.
    pub owned_shards: u32,
    /// Whether the node that says this looks for nodes of this name.
    pub matches: bool,
    /// Whether the node that says this has a link to it.
    pub linked: bool,
}

/// A change among the members, as subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChange {
    /// What happened.
    pub kind: ChangeKind,
    /// To which node; the one that says this for a new epoch.
    pub node: String,
    /// Its identity.
    pub id: NodeId,
    /// Of the run that came or went.
    pub incarnation: u64,
    /// Why; for a new epoch its digest.
    pub reason: String,
    /// When, by the clock of the node that says this.
    pub at: UnixMillis,
    /// Whether the node that says this looks for nodes of this name.
    pub matches: bool,
}

/// What can happen among the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A node can be used.
    Up,
    /// A node that was up cannot be used any more.
    Down,
    /// The owners of the shards changed.
    Epoch,
}

impl ChangeKind {
    /// The name of the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "node-up",
            Self::Down => "node-down",
            Self::Epoch => "epoch",
        }
    }
}

/// Whether a member can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It answers.
    Up,
    /// It is silent, and not yet given up.
    Suspect,
    /// It is gone without a word.
    Down,
    /// It said that it goes.
    Left,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes vehicles' connections.
    Ingest,
    /// Keeps records.
    Store,
}

impl MemberState {
    /// The state as it stands in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }

    /// Whether the member belongs to the living ones.
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }
}

impl Role {
    /// The role as it stands in answers and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Store => "store",
        }
    }
}

/// Part of a longer list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// What to give as `after` to continue; absent on the last page.
    pub next: Option<String>,
    /// Names of storing nodes that could not be asked.
    pub missing: Vec<String>,
}

/// What is known about one vehicle.
#[derive(Debug, Clone)]
pub struct VehicleAnswer {
    /// Its last position; absent if none was ever seen.
    pub position: Option<Record>,
    /// Name of the node that owns it.
    pub owner: String,
    /// Name of the node that holds its connection.
    pub connected_to: Option<String>,
    /// Names of storing nodes that could not be asked.
    pub missing: Vec<String>,
}
