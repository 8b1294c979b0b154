//! The HTTP side over real sockets on loopback: the server with answers made up for the test, the
//! client against that server, and the commands on top of the client.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "test"
)]

mod asking;
mod cluster_calls;
mod commands;
mod fake;
mod http;
mod limits;
mod panics;
mod questions;
mod shutdown;
mod siblings;
mod streams;
mod through_client;
