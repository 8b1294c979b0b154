//! waymesh takes in the live location streams of vehicles over TCP.
//!
//! A vehicle talks to any node; a line buffer task for its connection cuts lines, a decoder turns
//! them into records, the router hands them to their owner's store, and the acknowledgement leaves
//! when they are durable there.

pub mod types;

pub mod base;

pub mod metrics;

pub mod protocol;

pub mod vehicles;

pub mod delivery;

pub mod ingest;

pub mod store;

pub mod api;

pub mod cli;
