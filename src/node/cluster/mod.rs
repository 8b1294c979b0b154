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
//! one, with a core that knows nobody, on the same link port.

mod act;
mod count;
mod driver;
mod handle;
mod memory;
mod neighbours;
mod obey;
mod translate;

pub use self::{
    driver::{ClusterParts, KeepIncarnation, start},
    handle::{
        ClusterGone, ClusterHandle, ClusterMembers, ClusterState, DiscoveryReport, PingError,
        Subscription,
    },
    memory::KeepMembers,
    neighbours::{LinkTraffic, Neighbour, Neighbourhood, Traffic},
};
