//! The checked settings of a node: typed, complete, without an `Option` that has no meaning.
//!
//! What stands here has passed every check of [`super::check`]. This file must not know where a
//! value came from, nor how it is written in a file. Comments of the fields say what they do; unit,
//! default, range and effect for people stand in `config/waymesh.toml`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    path::PathBuf,
    time::Duration,
};

use crate::{
    ingest::{BindAddress, IngestConfig},
    protocol::own::OwnProtocol,
    store::StoreConfig,
    vehicles::KnownVehicles,
};

/// All settings of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppConfig {
    /// Who this node is and where it keeps its things.
    pub node: NodeConfig,
    /// The vehicles' side.
    pub ingest: IngestConfig,
    /// The vehicles that are known by name, and whether others may speak.
    pub vehicles: KnownVehicles,
    /// Text protocols of the user's own, besides those that are built in.
    pub protocols: Vec<OwnProtocol>,
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
    /// Whether members that this node only heard of over its links are linked, too.
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
