//! How records travel and rest: their byte layout, in the log, in the index and on links; and how those
//! that lie at several nodes become one answer.
//!
//! Pure. A published layout never changes; a new one gets a new version byte, and every version
//! ever written can be read.

pub mod batch;
pub mod forwarding;
pub mod frame;
pub mod group;
pub mod merge;
