//! What the core is told by its driver: datagrams, links, dials, commands.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;

use crate::types::ids::NodeId;

use super::{
    card::{NodeCard, NodeName},
    config::PeerAddress,
    link_id::{DialId, LinkId},
    place::{InterfaceIndex, SocketPlace, Transport},
};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum ClusterInput {
    /// Nothing but time: a deadline has passed.
    Tick,
    /// A datagram came in, from whomever.
    Datagram {
        /// Its payload.
        bytes: Bytes,
        /// Source address.
        from: SocketAddr,
        /// Interface it came in by.
        interface: InterfaceIndex,
        /// Transport it came in by.
        transport: Transport,
    },
    /// A socket of discovery can send and hear.
    SocketOpened(SocketPlace),
    /// It cannot any more.
    SocketClosed(SocketPlace),
    /// A link stands: both sides proved the secret and exchanged their hellos.
    LinkUp {
        /// Its number.
        link: LinkId,
        /// The dial that it came of; absent where the other side dialled.
        dialled: Option<DialId>,
        /// Who is at the other end.
        card: NodeCard,
        /// Address of the other end of the connection.
        observed: SocketAddr,
    },
    /// A link is gone.
    LinkDown {
        /// Its number.
        link: LinkId,
        /// How it ended.
        reason: LinkEnd,
        /// How long nothing had been heard over it, of the time in which this process could read.
        silence: Duration,
    },
    /// Nothing was heard over a link for 1 s of time in which this process could read.
    LinkQuiet {
        /// Its number.
        link: LinkId,
    },
    /// A quiet link was heard again.
    LinkLively {
        /// Its number.
        link: LinkId,
    },
    /// The payload of a heartbeat came in over a link.
    Heartbeat {
        /// Its number.
        link: LinkId,
        /// As it was set by [`SetHeartbeat`](super::ClusterOutput::SetHeartbeat) over there.
        bytes: Bytes,
    },
    /// A frame of kind `Members` came in over a link.
    MemberFrame {
        /// Its number.
        link: LinkId,
        /// What the other side's core gave.
        bytes: Bytes,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Which.
        dial: DialId,
        /// Why.
        why: DialFailure,
    },
    /// Send no PING until told otherwise; answer and accept as before.
    Pause,
    /// End of the pause.
    Resume,
    /// Dial this peer now, and remember it until the stop.
    DialAddress(PeerAddress),
    /// Strike off a member that is away.
    Forget(Forgotten),
    /// Whether this node's store takes records.
    Health {
        /// False while its disk stalls or refuses.
        is_storing: bool,
    },
    /// Say goodbye to all: this node stops.
    Leave,
}

/// Whom to strike off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// Every member away of this name.
    Name(NodeName),
    /// One member.
    Id(NodeId),
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEnd {
    /// The other side closed it.
    Closed,
    /// The connection was reset.
    Reset,
    /// Nothing was heard for 1.4 s of time in which this process could read.
    Silent,
    /// The other side broke the protocol; what it did.
    Protocol(&'static str),
    /// This side closed it.
    Local,
}

/// Why a dial came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there.
    Refused,
    /// There is no way there, or the name has no address.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The other side has another secret.
    WrongSecret,
    /// The other side does not accept this node's name.
    NotAccepted,
    /// The other side belongs to another cluster.
    OtherCluster,
    /// The other side speaks no version that we do.
    OtherVersion,
    /// The other side says that a link stands.
    Duplicate,
    /// The name of this node belongs to another one.
    NameTaken {
        /// Link address of the other one.
        by: SocketAddr,
    },
    /// The other side leaves, has no name of its own at present, or has no room.
    NotReady,
    /// The other side is this node.
    Itself,
}

impl DialFailure {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "no answer",
            Self::WrongSecret => "wrong secret",
            Self::NotAccepted => "not accepted",
            Self::OtherCluster => "other cluster",
            Self::OtherVersion => "other version",
            Self::Duplicate => "duplicate",
            Self::NameTaken { .. } => "name taken",
            Self::NotReady => "not ready",
            Self::Itself => "itself",
        }
    }
}
