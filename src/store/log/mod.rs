//! The log: segments of framed records, group commit, recovery. The only point of acknowledgement.

/// A place in the log: bytes since the first segment ever made. Never restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogOffset(pub u64);
