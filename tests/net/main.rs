//! The sockets of discovery on LANs of several hosts, made of network namespaces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "test"
)]

#[path = "../process/namespace.rs"]
mod namespace;
#[path = "../process/skipped.rs"]
mod skipped;

mod interfaces;
mod lan;
mod listener;
mod noise;
