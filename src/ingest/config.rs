//! Settings of the vehicles' side.

use std::{fmt, net::SocketAddr, num::NonZeroU32, time::Duration};

/// The vehicles' side of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestConfig {
    /// The shared port, on which the protocol is recognised.
    pub vehicles: BindAddress,
    /// Further ports.
    pub listeners: Vec<ListenerConfig>,
    /// Connections at most, all ports together.
    pub n_connections_max: NonZeroU32,
    /// Connections at most from one address; absent: no such limit.
    pub n_connections_per_address_max: Option<NonZeroU32>,
    /// A longer line is discarded and counted.
    pub line_bytes_max: u32,
    /// A connection that brings no line within this time after it was accepted is closed, and so is
    /// one that brings nothing for as long before it has named a vehicle.
    pub first_line_timeout: Duration,
    /// A connection that brings nothing for this long is closed; absent: never.
    pub idle_timeout: Option<Duration>,
    /// What must have happened before a line is acknowledged.
    pub reply: ReplyPolicy,
    /// A reply that is not due by then closes its connection.
    pub reply_deadline: Duration,
    /// Takes lines whose checksum is wrong.
    pub is_lenient: bool,
    /// Keeps the raw line with each record.
    pub keeps_raw: bool,
    /// Bytes of lines in flight, from socket to verdict; full: no socket is read.
    pub room_bytes: u32,
}

impl IngestConfig {
    /// The shared port first, then the further ones, each with all that holds for it.
    pub fn all_listeners(&self) -> Vec<ListenerConfig> {
        let shared = ListenerConfig {
            address: self.vehicles,
            protocol: None,
            reply: self.reply,
            idle_timeout: self.idle_timeout,
        };
        std::iter::once(shared)
            .chain(self.listeners.iter().cloned())
            .collect()
    }
}

/// One port for vehicles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where it listens.
    pub address: BindAddress,
    /// The one protocol it speaks; absent: recognised from the first line.
    pub protocol: Option<String>,
    /// What must have happened before a line is acknowledged.
    pub reply: ReplyPolicy,
    /// A connection that brings nothing for this long is closed; absent: never.
    pub idle_timeout: Option<Duration>,
}

/// What must have happened before a line is acknowledged to its vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyPolicy {
    /// It was read and decoded; it can still be lost.
    Received,
    /// It is durable on the vehicle's owner.
    #[default]
    Stored,
}

/// A TCP address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindAddress {
    /// Every address of both families (of one where the machine has only one), on this port; 0 is
    /// any free one, the same for both.
    Both(u16),
    /// This address alone.
    One(SocketAddr),
}

impl BindAddress {
    /// The port; 0 is any.
    pub const fn port(self) -> u16 {
        match self {
            Self::Both(port) => port,
            Self::One(address) => address.port(),
        }
    }

    /// Whether both cannot be bound at the same time on one machine.
    pub fn collides_with(self, other: Self) -> bool {
        if self.port() != other.port() || self.port() == 0 {
            return false;
        }
        let (Self::One(one), Self::One(two)) = (self, other) else {
            return true;
        };
        let is_any = one.ip().is_unspecified() || two.ip().is_unspecified();
        one.ip() == two.ip() || is_any && one.is_ipv4() == two.is_ipv4()
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Both(port) => write!(formatter, "0.0.0.0:{port}"),
            Self::One(address) => address.fmt(formatter),
        }
    }
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            vehicles: BindAddress::Both(5000),
            listeners: Vec::new(),
            n_connections_max: const { NonZeroU32::new(16_000).expect("16,000 is not 0") },
            n_connections_per_address_max: None,
            line_bytes_max: 64 * 1024,
            first_line_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(3600)),
            reply: ReplyPolicy::Stored,
            reply_deadline: Duration::from_secs(10),
            is_lenient: false,
            keeps_raw: false,
            room_bytes: 12 * 1024 * 1024,
        }
    }
}
