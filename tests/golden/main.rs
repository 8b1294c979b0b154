//! Lines of devices beside the records they mean.
//!
//! [`fixtures`] holds the project's own lines for every protocol of the registry.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod attack;
mod edges;
mod fixtures;
#[path = "../fuzz/src/targets/possible.rs"]
mod possible;
