//! The commands, one file per group. They talk to a node by the client only; some work alone.

pub mod check_config;
