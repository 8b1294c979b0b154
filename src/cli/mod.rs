//! The commands, one file a group; what they do besides running a node.
//!
//! Those that ask a running node do so through [`crate::client`] only; `decode`,
//! `check-config` and `keygen` work alone. This room must not know how a node is built.
//!
//! Exit codes: 0 done; 1 could not start, or the node could not be asked; 64 wrong arguments or
//! configuration; 70 a bug, or a store that failed while running.

pub mod ask;
pub mod check_config;
pub mod decode;
pub mod discovery;
pub mod export;
pub mod forget;
pub mod keygen;
pub mod nodes;
pub mod out;
pub mod ping;
pub mod status;
mod table;
pub mod track;
pub mod vehicle;
