//! The cluster's sockets and secrets. What they mean is decided in
//! [`proto`](crate::cluster::proto), which this room asks and obeys.
//!
//! Discovery: [`interfaces`] lists what the machine has, `plan` says which sockets follow from it,
//! `multicast` and `broadcast` open them, `watch` notices changes, and [`sockets`] owns them all:
//! what comes in, comes in there, and what leaves, leaves there. [`resolve`] finds the addresses of
//! peers given by name.

mod broadcast;
pub mod interfaces;
mod multicast;
mod place;
mod plan;
pub mod resolve;
pub mod sockets;
mod udp;
mod watch;
