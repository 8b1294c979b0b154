//! What others are told of the cluster: who came, who went and why, and when the owners change.

use std::fmt;

use crate::{base::time::Instant, types::ids::NodeId};

use super::{
    card::{Incarnation, NodeName},
    view::Epoch,
};

/// A change that subscribers are told, each exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A node can be used: hello and member tables are exchanged. The first one is this node.
    NodeUp(NodeEvent),
    /// A node that was up cannot be used any more.
    NodeDown(NodeEvent, DownReason),
    /// The set of storing members changed, and with it the owners of shards.
    Epoch {
        /// Of the new set.
        epoch: Epoch,
        /// When.
        at: Instant,
    },
}

/// Which node an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Of the run that came or went.
    pub incarnation: Incarnation,
    /// Whether this node's `connect_regex` means it; subscribers see only such nodes unless they
    /// ask for all.
    pub matches: bool,
    /// When.
    pub at: Instant,
}

/// Why a node is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DownReason {
    /// Its link was closed, and a new one refused: its process is gone.
    Closed,
    /// Nothing was heard from it for about 1.5 s.
    Silent,
    /// It was reached over neighbours, and none reports a way to it any more.
    Unreachable,
    /// It said goodbye.
    Left,
    /// A new run of it has appeared.
    Restarted,
    /// It was away, and an administrator struck it off.
    Forgotten,
}

impl DownReason {
    /// The word for it in events and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
            Self::Left => "left",
            Self::Restarted => "restarted",
            Self::Forgotten => "forgotten",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
