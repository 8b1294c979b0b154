//! Many nodes in one thread, under a seed: the real state machines over a network of messages that
//! are late, lost, repeated and cut off, and nodes that die and come back.
//!
//! `SEED`, `SEEDS`, `NODES` and `STEPS` (milliseconds of faults) come from the environment; with
//! `ALOUD` what happens is printed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test"
)]

mod cluster;
mod delivery;
