//! What a store is held to: its settings, and the intervals and limits that tests choose otherwise.

use std::{sync::Arc, time::Duration};

use super::{
    config::StoreConfig,
    indexer::PERSIST_INTERVAL,
    log::LogConfig,
    mending::MendLimits,
    retention::{Timing, WallClock},
};
use crate::base::task::Errands;

/// Vehicles of one generation of the cache of what is known of vehicles; two or more are held. A hash
/// table is full with as many: with a few more it would take twice the memory.
const VEHICLES_PER_GENERATION: usize = 57_344;

/// How often the index is made durable, and looked through for what is too old.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Least room on the disk with which records are taken, whatever the reserve: what is written in one
/// go must fit.
const DISK_RESERVE_BYTES_MIN: u64 = 1024 * 1024;

/// How long records may wait for the index before the store takes them no more. An index that is only
/// slow makes room after each batch.
const INDEX_STALL: Duration = Duration::from_secs(10);

/// Settings of the writer and what it works with.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) store: StoreConfig,
    pub(super) log: LogConfig,
    pub(super) timing: Timing,
    pub(super) mending: MendLimits,
    pub(super) errands: Errands,
    /// How often the index is made durable.
    pub(super) tick_interval: Duration,
    /// How long what was applied may wait to be made durable in the index.
    pub(super) persist_interval: Duration,
    /// How long records may wait for the index before the store takes them no more.
    pub(super) index_stall: Duration,
    /// Vehicles of one generation of the cache of what is known of vehicles.
    pub(super) vehicles_per_generation: usize,
}

impl Limits {
    /// Those of a configuration, with a clock.
    pub(super) fn of(config: &StoreConfig, clock: Arc<dyn WallClock>) -> Self {
        let (retention, mut store) = (config.retention, config.clone());
        let reserve_bytes = &mut store.disk_reserve_bytes;
        *reserve_bytes = DISK_RESERVE_BYTES_MIN.max(*reserve_bytes);
        Self {
            log: config.log(),
            timing: Timing { retention, clock },
            mending: MendLimits::default(),
            errands: Errands::default(),
            tick_interval: TICK_INTERVAL,
            persist_interval: PERSIST_INTERVAL,
            index_stall: INDEX_STALL,
            vehicles_per_generation: VEHICLES_PER_GENERATION,
            store,
        }
    }
}
