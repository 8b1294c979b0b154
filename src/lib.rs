//! waymesh takes in the live location streams of vehicles over TCP, stores them durably, and
//! answers where every vehicle is and was.
//!
//! The rooms of the house, from the ground floor up. A room knows only rooms above it in this list,
//! and of those only the ones that `tests/house.rules` names; each has a page at the head of its
//! `mod.rs`.
//!
//! | room | is for |
//! |---|---|
//! | [`types`] | the values all speak of: ids, times, numbers, records, status; the contract's JSON |
//! | [`base`] | clock, seeded randomness, back-off, queues, room for bytes, verdicts, tasks, the machine |
//! | [`metrics`] | every counter and gauge, once, and their text for Prometheus |
//! | [`protocol`] | the devices' languages, pure: framing, recognition, decoders, encoders, attributes |
//! | [`vehicles`] | known vehicles, passwords, whether strangers may speak; pure |
//! | [`cluster`] | siblings on the LAN: beacons, links, members; `proto` decides, `net` has the sockets |
//! | [`delivery`] | byte layout of records and of the log's segments; pure |
//! | [`ingest`] | vehicles' sockets: listener, connection task, supervised line buffer, replies |
//! | [`store`] | the log that acknowledges, the index that answers, duplicates, the quarantine |
//! | [`api`] | HTTP: the contract's calls, asked through the trait `Answers` |
//! | [`client`] | asks a node over HTTP |
//! | [`node`] | the wiring: identity, router, queries, status |
//! | [`config`] | settings from file, environment and flags, checked; all faults at once |
//! | [`cli`] | the commands besides `run`: decode, check-config, keygen, status, where, track, export |
//! | [`app`] | the roof: builds every part, binds all sockets, runs, drains |
//!
//! What must always hold:
//! 1. Acknowledged means stored: a line whose acknowledgement left appears exactly once in every
//!    complete answer, whenever the process is killed or the power is cut.
//! 2. A bad line harms itself only, also one that makes a decoder panic.
//! 3. Memory is bounded: full means that a socket is not read.
//! 4. Replies leave in the order of the lines, and none after a gap.
//! 5. The books balance: each line, and each position, has one outcome.
//! 6. Order is that of the fix time: last position and track never go backwards.

pub mod types;

pub mod base;

pub mod metrics;

pub mod protocol;

pub mod vehicles;

pub mod cluster;

pub mod delivery;

pub mod ingest;

pub mod store;

pub mod api;

pub mod client;

pub mod node;

pub mod config;

pub mod cli;

pub mod app;
