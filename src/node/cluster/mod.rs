//! The one task that owns the cluster's core and its sockets.
//!
//! ```text
//! sockets ─datagrams─▶            ─outputs─▶ sockets, links, subscribers, identity, memory
//! links ───events────▶ Cluster::handle
//! handles ─commands──▶   (driver)  ─answers─▶ handles
//! ```
//!
//! The driver decides nothing: it carries what comes in to [`Cluster`](crate::cluster::proto::Cluster),
//! in the order in which it came, and does what that says. Everybody else holds a [`ClusterHandle`].
//! A panic in the driver ends it with its sockets and links together; the supervisor starts another
//! one on the same link port, with a core that knows nothing but the storing members that are
//! remembered, as away, and what was ordered while the node ran. A core that learns of a later incarnation of this node is replaced by one alike,
//! which starts from a later one still.

mod act;
mod count;
mod driver;
mod handle;
mod memory;
mod neighbours;
mod obey;
mod orders;

pub use self::{
    driver::{ClusterParts, KeepIncarnation, start},
    handle::{
        ClusterGone, ClusterHandle, ClusterMembers, ClusterState, DiscoveryReport, PingError,
        Subscription,
    },
    memory::KeepMembers,
    neighbours::{LinkTraffic, Neighbour, Neighbourhood, Traffic},
};
