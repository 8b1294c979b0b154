//! The checked settings of a node: typed, complete, without an `Option` that has no meaning.
//!
//! What stands here has passed every check of [`super::check`]. This file must not know where a
//! value came from, nor how it is written in a file. Comments of the fields say what they do; unit,
//! default, range and effect for people stand in `config/waymesh.toml`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

use crate::vehicles::KnownVehicles;

/// All settings of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppConfig {
    /// Who this node is and where it keeps its things.
    pub node: NodeConfig,
    /// The vehicles' side.
    pub ingest: IngestConfig,
    /// The vehicles that are known by name, and whether others may speak.
    pub vehicles: KnownVehicles,
    /// Log, index and quarantine.
    pub store: StoreConfig,
    /// The HTTP side.
    pub http: HttpConfig,
    /// How nodes are found.
    pub discovery: DiscoveryConfig,
    /// What is told to others instead of what the sockets say.
    pub advertise: AdvertiseConfig,
    /// What is written about the run.
    pub tracing: TracingConfig,
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Label and rendezvous key, 1 to 64 bytes; by default the host's name.
    pub name: String,
    /// Nodes with the same name of the cluster and the same secret find each other.
    pub cluster: String,
    /// File of the cluster's secret; absent: the user's own, made at the first start.
    pub secret_file: Option<PathBuf>,
    /// Folder of log, index, identity and quarantine.
    pub data: PathBuf,
    /// Where other nodes link up.
    pub link: BindAddress,
    /// How long a stop may take in all before what is left is cut off.
    pub grace_period: Duration,
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
    /// A connection that brings no line within this time after it was accepted is closed.
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

/// Log, index and quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// How long the writer gathers before it syncs.
    pub group_commit: Duration,
    /// With less free space than this (and less than a tenth of the disk) nothing is accepted.
    pub disk_reserve_bytes: u64,
    /// Size of the file of rejected lines; the oldest give way.
    pub quarantine_bytes_max: u64,
    /// A segment of the log that is larger is followed by a new one.
    pub segment_bytes_max: u64,
    /// All segments of the log together; beyond it nothing is accepted.
    pub log_bytes_max: u64,
    /// Memory for blocks of the index that were read.
    pub index_cache_bytes: u64,
    /// Records that may be in the log and not yet in the index; beyond it no socket is read.
    pub index_lag_records_max: u64,
}

/// The HTTP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens.
    pub address: SocketAddr,
}

/// How nodes are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// The ways that are used, each once; empty: nobody is looked for.
    pub transports: Vec<Transport>,
    /// UDP port of all datagrams.
    pub port: NonZeroU16,
    /// IPv4 group.
    pub group: Ipv4Addr,
    /// IPv6 group.
    pub group6: Ipv6Addr,
    /// Interfaces that are used; empty: all that are capable.
    pub interfaces: Vec<InterfaceName>,
    /// Hops that a datagram may travel.
    pub ttl: u8,
    /// Where broadcasts go; absent: the broadcast address of each interface.
    pub broadcast_address: Option<Ipv4Addr>,
    /// Nodes that are dialled without being found first.
    pub peers: Vec<HostPort>,
    /// Time between two beats at rest.
    pub ping_interval: Duration,
    /// Links that must stand before the search rests.
    pub min_connections: MinConnections,
    /// Regular expression of the names that are dialled and reported; empty: all.
    pub connect_regex: String,
    /// Regular expression of the names whose links are accepted; empty: all.
    pub accept_regex: String,
    /// Whether members that this node knows are passed on and linked.
    pub connect_mode: ConnectMode,
    /// Whether this node searches from its start on.
    pub is_active: bool,
}

/// A way on which nodes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// IPv4 multicast.
    Multicast,
    /// IPv6 multicast.
    Multicast6,
    /// IPv4 broadcast.
    Broadcast,
    /// A list of peers.
    Static,
}

/// An interface as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceName {
    /// The interface that has this address.
    Address(IpAddr),
    /// The interface with this name.
    Name(String),
}

/// A host, by name or address, and a TCP port. A name is resolved anew at each use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: NonZeroU16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// How many links are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinConnections {
    /// A path to every member that was heard.
    All,
    /// So many links to matching nodes.
    Number(u32),
}

/// What a node does with the members it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectMode {
    /// Passes them on and links them: a full mesh.
    Visible,
    /// Keeps to its own links.
    Hidden,
}

/// What is told to others instead of what the sockets say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdvertiseConfig {
    /// Where others reach the link port.
    pub link: Option<HostPort>,
    /// Where others reach the HTTP port.
    pub http: Option<HostPort>,
}

/// What is written about the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracingConfig {
    /// Directives of tracing's environment filter, checked.
    pub filter: String,
    /// How a line of it looks.
    pub format: LogFormat,
}

/// How a line about the run looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}
