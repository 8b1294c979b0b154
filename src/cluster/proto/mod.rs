//! What nodes say to each other, and what follows from it: pure state machines, driven by time and
//! by what came in.

mod card;
pub mod link;
mod link_id;
mod place;
pub mod shard_map;

pub use self::{
    card::{Incarnation, NodeCard, NodeName, NodeNameError, Roles, RunNumber},
    link_id::{DialId, LinkId},
    place::{InterfaceIndex, SocketPlace, Transport},
};
