//! What nodes say to each other, and what follows from it: pure state machines, driven by time and
//! by what came in.

mod beacon;
mod card;
mod keys;
mod link_id;
mod place;
mod view;

#[doc = include_str!("beacons.md")]
pub mod beacons {}

pub use self::{
    beacon::{
        BEACON_BYTES_MAX, Beacon, BeaconKind, BeaconRejection, Nonce, Rejected, WIRE_VERSION,
    },
    card::{Incarnation, NodeCard, NodeName, NodeNameError, Roles, RunNumber},
    keys::BeaconKeys,
    link_id::LinkId,
    place::{InterfaceIndex, SocketPlace, Transport},
    view::{Epoch, ViewDigest},
};
