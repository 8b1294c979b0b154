//! The command line: one file a group of commands. Those that ask a running node do so through
//! [`crate::client`] only.

pub mod ask;
pub mod export;
pub mod status;
pub mod track;
pub mod vehicle;
