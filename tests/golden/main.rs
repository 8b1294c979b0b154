//! Lines of devices beside the records they mean.
//!
//! [`fixtures`] holds the project's own lines for every protocol of the registry; [`vectors`]
//! holds decoders against a collection of real lines, where a machine has it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod conversation;
mod fixtures;
mod vectors;
