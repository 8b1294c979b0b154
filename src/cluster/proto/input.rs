//! What the core is told by its driver: datagrams, links, dials, commands.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;

use crate::types::ids::NodeId;

use super::{
    card::{NodeCard, NodeName},
    config::PeerAddress,
    link::outcome::{DialFailure, LinkEnd},
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
