//! What a node says about itself and what it answers with.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{ids::NodeId, record::Record};

/// One node about itself.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Label of the node; the host name by default.
    pub name: String,
    /// Identity, kept in the data folder.
    pub id: NodeId,
    /// Version of the program.
    pub version: &'static str,
    /// How many times a node was started on this data folder.
    pub incarnation: u64,
    /// Name of the cluster the node belongs to.
    pub cluster: String,
    /// The addresses bound.
    pub addresses: Addresses,
    /// Time since the start.
    pub uptime: Duration,
    /// Digest of the set of storing members.
    pub epoch: u64,
    /// The books and other counts, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Whether the node serves vehicles, and why not.
    pub readiness: Readiness,
}

/// The addresses a node has bound; absent where it does not listen.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The shared port of vehicles, then further listeners in the order of the configuration.
    pub vehicles: Vec<SocketAddr>,
    /// Links from other nodes.
    pub link: Option<SocketAddr>,
    /// HTTP.
    pub http: Option<SocketAddr>,
}

/// Each condition of readiness with whether it holds; ready when all do.
#[derive(Debug, Clone, Default)]
pub struct Readiness(pub Vec<(&'static str, bool)>);

impl Readiness {
    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        self.0.iter().all(|(_, holds)| *holds)
    }
}

/// Part of a longer list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// What to give as `after` to continue; absent on the last page.
    pub next: Option<String>,
    /// Names of storing nodes that could not be asked.
    pub missing: Vec<String>,
}

impl<T> Page<T> {
    /// Its items, and the page without them.
    pub fn split_items(self) -> (Vec<T>, Self) {
        let Self {
            items,
            next,
            missing,
        } = self;
        let empty = Self {
            items: Vec::new(),
            next,
            missing,
        };
        (items, empty)
    }
}

/// What is known about one vehicle.
#[derive(Debug, Clone)]
pub struct VehicleAnswer {
    /// Its last position; absent if none was ever seen.
    pub position: Option<Record>,
    /// Name of the node that owns it.
    pub owner: String,
    /// Name of the node that holds its connection.
    pub connected_to: Option<String>,
    /// Names of storing nodes that could not be asked.
    pub missing: Vec<String>,
}
