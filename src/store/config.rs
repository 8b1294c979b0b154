//! Settings of log, index and quarantine.

use std::time::Duration;

use super::{index::IndexConfig, log::LogConfig};

const MIB: u64 = 1024 * 1024;

/// Log, index and quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// How long the writer gathers before it syncs.
    pub group_commit: Duration,
    /// With less free space than this (and less than a tenth of the disk) nothing is accepted.
    pub disk_reserve_bytes: u64,
    /// Size of the file of rejected lines; the oldest give way.
    pub quarantine_bytes_max: u64,
    /// A segment of the log that is larger is followed by a new one.
    pub segment_bytes_max: u64,
    /// All segments of the log together; with more than this, less a segment, that the index does
    /// not keep through a power cut yet, no socket is read. One group may exceed it.
    pub log_bytes_max: u64,
    /// Memory for blocks of the index that were read; the system keeps its files in memory besides.
    pub index_cache_bytes: u64,
    /// Records that may be in the log and not yet in the index; beyond it no socket is read. The keys
    /// of each are held in memory, 12 to some 35 bytes.
    pub index_lag_records_max: u64,
    /// Whether there is an index at all; without one nothing can be asked and repeats are stored
    /// again. For measurements.
    pub is_indexed: bool,
    /// How long records are kept after their fix; absent: for ever.
    pub retention: Option<Duration>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            group_commit: Duration::from_millis(5),
            disk_reserve_bytes: 256 * MIB,
            quarantine_bytes_max: 16 * MIB,
            segment_bytes_max: 64 * MIB,
            log_bytes_max: 8192 * MIB,
            index_cache_bytes: 8 * MIB,
            index_lag_records_max: 500_000,
            is_indexed: true,
            retention: None,
        }
    }
}

impl StoreConfig {
    /// The part that concerns the log.
    pub fn log(&self) -> LogConfig {
        LogConfig {
            segment_bytes_max: self.segment_bytes_max,
            ..LogConfig::default()
        }
    }

    /// The part that concerns the index.
    pub fn index(&self) -> IndexConfig {
        IndexConfig {
            cache_bytes: self.index_cache_bytes,
            ..IndexConfig::default()
        }
    }
}
