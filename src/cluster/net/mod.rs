//! The cluster's sockets and secrets. What they mean is decided in
//! [`proto`](crate::cluster::proto), which this room asks and obeys.
//!
//! Discovery: [`interfaces`] lists what the machine has, `plan` says which sockets follow from it,
//! `multicast` and `broadcast` open them, `watch` notices changes, and [`sockets`] owns them all:
//! what comes in, comes in there, and what leaves, leaves there.
//!
//! Links: [`secret`] finds or makes what proves that a node belongs here, `accept` and `dial` make a
//! TCP stream (`resolve` finds the addresses of peers given by name), `handshake` and `noise` a link
//! of it, `link` runs it with a reader and a writer, and [`Links`] tells of all of them over one
//! channel.

mod accept;
mod broadcast;
mod dial;
mod handshake;
pub mod interfaces;
mod link;
mod links;
mod multicast;
mod noise;
mod place;
mod plan;
mod resolve;
pub mod secret;
pub mod sockets;
mod tcp;
mod udp;
mod watch;

#[cfg(test)]
mod tests;

pub use self::{
    link::{LinkHandle, Received},
    links::{Admission, Admittance, Caller, DialTo, LinkEvent, Links, LinksConfig, NewLink},
    tcp::{FileNumbers, bind, clone_above},
};
