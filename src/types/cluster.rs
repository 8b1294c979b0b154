//! The cluster as a node tells people of it: members, what changes, and why nodes find each other
//! or do not.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{ids::NodeId, time::UnixMillis};

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
    /// Why, where it is down or left.
    pub reason: Option<&'static str>,
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
    /// Whether the `connect_regex` of the node that says this means it.
    pub matches: bool,
    /// Whether the node that says this has a link to it.
    pub linked: bool,
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

/// Something that a subscriber is told of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// A node can be used. The first ones are those that could be when the subscription began.
    Up(NodeNews),
    /// A node that was up cannot be used any more.
    Down(NodeNews),
    /// The set of storing members changed.
    Epoch {
        /// Digest of the new set.
        epoch: u64,
        /// When.
        at: UnixMillis,
    },
}

/// Which node came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNews {
    /// Its label.
    pub name: String,
    /// Its identity.
    pub id: NodeId,
    /// Number of the start that is meant.
    pub incarnation: u64,
    /// Why: `present` for who was there before, `joined` for who came, else why it is gone.
    pub reason: &'static str,
    /// When, by the clock of the node that says this.
    pub at: UnixMillis,
}

/// Why nodes find each other, or do not.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// What the search does.
    pub phase: SearchPhase,
    /// The sockets of discovery, those that could not be opened included.
    pub places: Vec<Place>,
    /// Who was heard.
    pub senders: Vec<Sender>,
    /// Peers given by hand.
    pub peers: Vec<Peer>,
}

/// What the search for other nodes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchPhase {
    /// It asks for company.
    Searching,
    /// It has what it needs, and sends a sign of life now and then.
    Resting,
    /// It was told to be still.
    Paused,
}

/// A transport on an interface.
#[derive(Debug, Clone)]
pub struct Place {
    /// Name of the interface.
    pub interface: String,
    /// `multicast`, `multicast6`, `broadcast`.
    pub transport: &'static str,
    /// How the socket stands.
    pub state: PlaceState,
    /// Address of the interface that others see.
    pub address: IpAddr,
    /// Where datagrams go.
    pub to: SocketAddr,
    /// When a datagram of this node last came back.
    pub own_heard: Option<Moment>,
    /// When one of another node last came.
    pub others_heard: Option<Moment>,
    /// How often the socket was opened anew since it heard nothing.
    pub n_reopens: u64,
    /// Datagrams that came, own ones included.
    pub n_received: u64,
    /// Datagrams that were sent.
    pub n_sent: u64,
    /// Datagrams that could not be sent.
    pub n_unsent: u64,
    /// Datagrams that were too long to be of a node.
    pub n_too_long: u64,
    /// What went wrong last; none since all goes well.
    pub trouble: Option<String>,
}

/// How a socket of discovery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceState {
    /// It is open.
    Open,
    /// It heard nothing, and is being opened anew.
    Reopening,
    /// It is not open.
    Closed,
}

/// Who sent datagrams to the port of discovery.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Source address of its last one.
    pub from: SocketAddr,
    /// Its name; of a stranger what it calls itself.
    pub name: Option<String>,
    /// When it was last heard.
    pub heard: Moment,
    /// What became of it, in a few words.
    pub verdict: String,
}

/// A peer given by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// As it was given.
    pub address: String,
    /// Name of the node that answered there; its id where no name is known.
    pub node: Option<String>,
    /// What became of it, in a few words.
    pub verdict: String,
}

/// When something happened last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the clock of the node that says this.
    pub at: UnixMillis,
    /// How long ago.
    pub ago: Duration,
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

impl SearchPhase {
    /// The phase as it stands in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Resting => "resting",
            Self::Paused => "paused",
        }
    }
}

impl PlaceState {
    /// The state as it stands in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Reopening => "reopening",
            Self::Closed => "closed",
        }
    }
}
