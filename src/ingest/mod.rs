//! Vehicles' sockets: from accepted connection to records on their way, and replies back.
//!
//! ```text
//! listener ─permit, accept─▶ connection task ──chunk──▶ line buffer task (born for the chunk,
//!  (listener.rs)              (connection/)             supervised; line_buffer.rs, supervisor.rs)
//!                                   ▲  │                       │ session, records, replies
//!                                   │  └◀──────────────────────┘
//!                          verdict ─┘  └─records─▶ Route (the node's router)
//! ```
//!
//! This room must not know where records are stored or who owns a vehicle: it hands deliveries to
//! its [`Route`] and sends a reply when the verdict comes back.
//!
//! Invariants:
//! - **A chunk is a transaction.** Session, records, replies and counts take effect when the whole
//!   chunk is done. If the line buffer panics, all of it is dropped, the line in hand is rejected,
//!   and a new line buffer runs the chunk again from the old session without that line.
//! - **Replies leave in the order of the lines.** The replies of a chunk leave when its records are
//!   durable (policy `stored`) and those of all chunks before have left. After a refusal or a
//!   passed deadline nothing more leaves: the connection closes and the device sends again.
//! - **Bounded.** A socket is read only while there is room for what is read ([`crate::base::room`]),
//!   unfinished lines and untaken replies count in it and give way when they are too many,
//!   fewer than `CHUNKS_IN_FLIGHT_MAX` chunks of it wait for a verdict, and the device
//!   takes its replies.
//! - **One end, one reason.** However a connection ends, its permit, its registry entry and its
//!   tasks end with it, and one `CloseReason` is counted.

pub mod listener;

mod admission;
mod config;
mod connection;
mod events;
mod keeping;
mod line_buffer;
mod registry;
mod replies;
mod supervisor;
mod trace;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::keeping::Keepers;
pub use self::{
    config::{BindAddress, IngestConfig, ListenerConfig, ReplyPolicy},
    registry::Registry as ConnectionRegistry,
    supervisor::note_panic,
};
use crate::{
    base::{room::Room, task::TaskGroup, verdict::Settle},
    metrics::names::{IngestMetrics, TaskMetrics},
    protocol::{Registry, RejectReason},
    types::{
        ids::VehicleId,
        record::{ProtocolName, Record},
        time::UnixMillis,
    },
    vehicles::KnownVehicles,
};

/// Takes what the sockets give; implemented by the node.
pub trait Route: Send + Sync + fmt::Debug + 'static {
    /// Takes the records of one chunk of one connection, in their order. Never waits: whoever calls
    /// holds room for the bytes. `settle` is used once, when all is durable or refused.
    fn deliver(&self, records: Vec<Record>, settle: Settle);

    /// Whether what a vehicle sends can go on now; else it is not read, so that what cannot go on
    /// does not take the room of what can.
    /// Always, where nothing can be in the way.
    fn is_open(&self, _vehicle: &VehicleId) -> bool {
        true
    }

    /// Waits until it is. Cancel safe.
    fn opened<'a>(
        &'a self,
        _vehicle: &'a VehicleId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }

    /// Sets a line aside that was rejected.
    fn quarantine(&self, line: RejectedLine);
}

/// A line that was rejected, with what is needed to understand it later.
#[derive(Debug, Clone)]
pub struct RejectedLine {
    /// When its bytes were read.
    pub received: UnixMillis,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The protocol of the connection, if recognised.
    pub protocol: Option<ProtocolName>,
    /// The vehicle of the connection, if known.
    pub vehicle: Option<VehicleId>,
    /// Why it was rejected.
    pub reason: RejectReason,
    /// Its bytes; none for a line over the limit, which is not kept.
    pub line: Bytes,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CloseReason {
    /// The device closed it.
    Peer,
    /// It broke: reset, timed out, unreachable.
    Reset,
    /// Nothing came for the idle timeout.
    Idle,
    /// Nothing understandable came within the first-line timeout, or nothing for as long while no
    /// vehicle had been named.
    FirstLine,
    /// The device did not take its replies: for too long, or while others needed their room.
    TooSlow,
    /// A reply could not be given, so no later one may be.
    Gap,
    /// The device may not speak.
    Login,
    /// Its lines crashed the line buffer too often.
    Restarts,
    /// Too many connections from its address, or an unfinished line whose room others needed.
    Limit,
    /// The node stops.
    Drain,
    /// A bug of ours outside the line buffer.
    Error,
}

impl CloseReason {
    /// Whether this node ends the connection while the device may still speak.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Gap | Self::Restarts | Self::Drain | Self::Login)
    }

    /// The value of the label `reason`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::FirstLine => "first_line",
            Self::TooSlow => "too_slow",
            Self::Gap => "gap",
            Self::Login => "login",
            Self::Restarts => "restarts",
            Self::Limit => "limit",
            Self::Drain => "drain",
            Self::Error => "error",
        }
    }
}

/// What all connections of a node share.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: IngestConfig,
    pub(crate) protocols: Registry,
    pub(crate) admission: Arc<KnownVehicles>,
    pub(crate) route: Arc<dyn Route>,
    pub(crate) metrics: IngestMetrics,
    pub(crate) task_metrics: TaskMetrics,
    pub(crate) room: Room,
    pub(crate) keepers: Arc<Keepers>,
    pub(crate) registry: ConnectionRegistry,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) n_listeners: AtomicUsize,
    pub(crate) tasks: TaskGroup,
    pub(crate) drain: CancellationToken,
}

/// The parts that an [`Ingest`] is put together from.
#[derive(Debug)]
pub struct IngestParts {
    /// Settings for all listeners.
    pub config: IngestConfig,
    /// The protocols to recognise.
    pub protocols: Registry,
    /// The vehicles of the configuration.
    pub vehicles: KnownVehicles,
    /// Where records go.
    pub route: Arc<dyn Route>,
    /// Where to count.
    pub metrics: IngestMetrics,
    /// Where to count listeners that had to be made anew.
    pub task_metrics: TaskMetrics,
}

impl Ingest {
    /// Puts the parts together; nothing listens yet.
    pub fn new(parts: IngestParts) -> Self {
        Self(Arc::new(Shared {
            room: Room::new(parts.config.room_bytes),
            keepers: Arc::new(Keepers::new(&parts.config)),
            permits: Arc::new(Semaphore::new(parts.config.n_connections_max.get() as usize)),
            n_listeners: AtomicUsize::new(0),
            config: parts.config,
            protocols: parts.protocols,
            admission: Arc::new(parts.vehicles),
            route: parts.route,
            metrics: parts.metrics,
            task_metrics: parts.task_metrics,
            registry: ConnectionRegistry::default(),
            tasks: TaskGroup::new(),
            drain: CancellationToken::new(),
        }))
    }

    /// Which vehicle is connected where.
    pub fn registry(&self) -> &ConnectionRegistry {
        &self.0.registry
    }

    /// Bytes on their way from sockets to disk now.
    pub fn room(&self) -> &Room {
        &self.0.room
    }

    /// Stops accepting, ends all reads at a line boundary, lets the replies that are due leave, and
    /// returns when no connection is left. The caller bounds the time.
    pub async fn drain(&self) {
        self.0.drain.cancel();
        self.0.tasks.wait_empty().await;
    }
}
