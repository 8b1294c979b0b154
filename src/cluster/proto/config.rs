//! Settings of the cluster's core, checked before they come here.

use std::{fmt, net::SocketAddr, time::Duration};

use regex::Regex;

use crate::types::ids::NodeId;

use super::{
    card::{NodeCard, NodeName, Roles},
    keys::BeaconKeys,
};

/// All that the core is told at its start.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// This node. The port of `link` is the one it listens on; its address counts only where links
    /// are advertised.
    pub card: NodeCard,
    /// Sign and prove beacons.
    pub keys: BeaconKeys,
    /// Where others dial links, if that is not the address that datagrams come from.
    pub advertised: Option<SocketAddr>,
    /// Longest time between two PINGs of a series; the time between two beats. Default 10 s. What
    /// rises with it: the time until a lost datagram or a deaf interface is made good.
    pub ping_interval: Duration,
    /// How much company is enough to stop asking.
    pub min_connections: MinConnections,
    /// Names of the nodes that are dialled and reported.
    pub connect: NameMatch,
    /// Names of the nodes whose links are accepted.
    pub accept: NameMatch,
    /// Whether members that others report are dialled.
    pub connect_mode: ConnectMode,
    /// False starts paused.
    pub is_active: bool,
    /// Peers that are dialled whether or not they are heard.
    pub peers: Vec<PeerAddress>,
    /// Members remembered, those away included. Default 1,024.
    pub members_max: usize,
    /// Storing members of the cluster at the end of this node's last run, in order of identity: away
    /// until they are heard of.
    pub remembered: Vec<RememberedMember>,
    /// Feeds jitter and nonces; from the system's randomness.
    pub seed: u64,
}

/// A storing member as a node remembers it over its own restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedMember {
    /// Its identity.
    pub id: NodeId,
    /// Its name when it was heard of last.
    pub name: NodeName,
    /// What it did then; it stored at any rate.
    pub roles: Roles,
    /// Where it took links, if that was known.
    pub link: Option<SocketAddr>,
}

/// Number of usable links to matching nodes at which a node stops asking for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinConnections {
    /// A path to every matching node that was heard and could be reached.
    All,
    /// So many.
    AtLeast(usize),
}

/// Whether this node links the members that it learns of over its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectMode {
    /// Yes, also those whose names are not meant: the members become a full mesh.
    Visible,
    /// No: it keeps to the links that it finds itself.
    Hidden,
}

/// Which names are meant.
#[derive(Debug, Clone)]
pub enum NameMatch {
    /// Every name.
    All,
    /// Those that the expression matches somewhere.
    Pattern(Regex),
}

impl NameMatch {
    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pattern(pattern) => pattern.is_match(name),
        }
    }
}

/// A peer given by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// Its link address.
    Address(SocketAddr),
    /// Host name and port, resolved anew at each dial.
    Name(String),
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}
