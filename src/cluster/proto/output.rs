//! What the core asks its driver to do.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;

use crate::types::ids::NodeId;

use super::{
    card::Incarnation,
    config::RememberedMember,
    events::ClusterEvent,
    link::outcome::CloseReason,
    link_id::{DialId, LinkId},
    place::SocketPlace,
    wire::MemberMessage,
};

/// When something is to be sent over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Now.
    AtOnce,
    /// With whatever goes next, at the latest with the next heartbeat: it costs no message of its own.
    WithBeat,
}

/// One thing to do. The order counts, of frames of a link above all.
#[derive(Debug, Clone)]
pub enum ClusterOutput {
    /// Send a datagram.
    SendBeacon {
        /// Its payload.
        bytes: Bytes,
        /// Over what.
        to: BeaconTo,
    },
    /// Close a socket that hears nothing, and open it anew.
    Reopen(SocketPlace),
    /// Join the group again on a socket that hears nobody else.
    Rejoin(SocketPlace),
    /// Open a link. Ends in `LinkUp` or `DialFailed`.
    Dial {
        /// Who is expected there; absent for a peer given by hand. Whoever answers is fine.
        peer: Option<NodeId>,
        /// Where.
        address: SocketAddr,
        /// Number of the dial.
        dial: DialId,
        /// How long the connection may take to open; the handshake has a deadline of its own.
        patience: Duration,
    },
    /// The same for a peer given by a name, which is to be resolved now.
    DialName {
        /// Host name and port.
        name: String,
        /// Number of the dial.
        dial: DialId,
        /// How long the connection may take to open.
        patience: Duration,
    },
    /// Close a link and tell the other side why. No `LinkDown` is needed for it.
    CloseLink {
        /// Its number.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// Send a frame of kind `Members` over a link.
    SendFrame {
        /// Its number.
        link: LinkId,
        /// What it holds.
        message: MemberMessage,
        /// When.
        haste: Haste,
    },
    /// What heartbeats carry from now on, over every link.
    SetHeartbeat {
        /// Opaque to the links.
        bytes: Bytes,
        /// When it is to be said first.
        haste: Haste,
    },
    /// Tell the subscribers.
    Notify(ClusterEvent),
    /// This node's name belongs to another: it is not ready.
    NameTaken {
        /// Link address of the other.
        by: SocketAddr,
    },
    /// The name is this node's again.
    NameFree,
    /// Write down, durably, that this node counts its starts from here: others know a later
    /// incarnation of it than its data folder does.
    KeepIncarnation(Incarnation),
    /// Remember these storing members over the end of this run, in place of those before; in order of
    /// identity, at most as many as members are remembered.
    Remember(Vec<RememberedMember>),
    /// A member was struck off, here or elsewhere.
    Forgot(NodeId),
    /// The first series of PINGs is over: who can be found at once has been found.
    FirstSeriesOver,
}

/// Over what a beacon goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeaconTo {
    /// Every open socket of discovery.
    All,
    /// The static peers only.
    Peers,
}

/// Why a node's link is not taken; told to it inside the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is this node itself.
    #[error("itself")]
    Itself,
    /// `accept_regex` does not mean its name.
    #[error("not accepted")]
    NotAccepted,
    /// Its name belongs to a living node.
    #[error("name taken by {by}")]
    NameTaken {
        /// Link address of the holder.
        by: SocketAddr,
    },
    /// A link stands already, and this side, having the lower identity, has chosen it.
    #[error("duplicate")]
    Duplicate,
    /// This node leaves, or has no name of its own at present, or no room for more members.
    #[error("not ready")]
    NotReady,
}

impl From<Refusal> for CloseReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Itself => Self::Itself,
            Refusal::NotAccepted => Self::NotAccepted,
            Refusal::NameTaken { by } => Self::NameTaken { by },
            Refusal::Duplicate => Self::Duplicate,
            Refusal::NotReady => Self::NotReady,
        }
    }
}
