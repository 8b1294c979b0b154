//! What nodes say to each other, and what follows from it: pure state machines, driven by time and
//! by what came in.

mod card;
mod place;

pub use self::{
    card::{Incarnation, NodeCard, NodeName, NodeNameError, Roles, RunNumber},
    place::{InterfaceIndex, SocketPlace, Transport},
};
