//! Durable records: the log that acknowledges, the index that answers, the quarantine.
//!
//! ```text
//! submissions ─▶ writer (one thread): duplicates out ─▶ log: group, write, fdatasync ─▶ verdicts
//!                                                        │
//!                      indexer (one thread): follows ◀───┘ ─▶ index in bulk ─▶ trims the log
//! questions ─▶ wait until what was durable is applied ─▶ index
//! ```
//!
//! This room must not know sockets, protocols or nodes.

pub mod index;
pub mod log;
pub mod storage;
