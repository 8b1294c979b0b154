//! A process of the simulation: the engine of a store, opened on a disk.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::{
    super::{
        Engine, Limits, OpenError, StoreConfig,
        gate::IndexGate,
        log::{LogConfig, LogOffset},
        mending::MendLimits,
        retention::Timing,
        sim_disk::SimDisk,
        tests::{TestClock, TestIndex},
    },
    model::Placed,
};
use crate::{
    base::task::Errands,
    metrics::{Metrics, names::StoreMetrics},
    types::record::Record,
};

/// One process.
pub(super) struct Node {
    pub(super) engine: Engine<SimDisk, Arc<TestIndex>>,
    pub(super) metrics: StoreMetrics,
    pub(super) live: broadcast::Receiver<Arc<[Record]>>,
    /// Ends of groups that the index may be asked to follow to.
    pub(super) ends: Vec<LogOffset>,
}

fn limits() -> Limits {
    Limits {
        store: StoreConfig {
            index_lag_records_max: u64::MAX,
            log_bytes_max: u64::MAX,
            ..StoreConfig::default()
        },
        log: LogConfig {
            segment_bytes_max: 3_000,
            frame_bytes_max: 400,
        },
        timing: Timing {
            retention: None,
            clock: Arc::new(TestClock::default()),
        },
        mending: MendLimits::default(),
        errands: Errands::default(),
        tick_interval: Duration::ZERO,
        persist_interval: Duration::ZERO,
        index_stall: Duration::from_secs(10),
        vehicles_per_generation: 2,
    }
}

impl Node {
    pub(super) fn open(disk: &SimDisk, index: &Arc<TestIndex>) -> Result<Self, OpenError> {
        let metrics = Metrics::new().store;
        let engine = Engine::open(
            Arc::new(disk.clone()),
            Arc::new(IndexGate::open(index.opener(), Duration::ZERO)?),
            limits(),
            metrics.clone(),
        )?;
        Ok(Self {
            live: engine.shared.live.subscribe(),
            ends: vec![engine.shared.progress.durable()],
            engine,
            metrics,
        })
    }

    /// All records of the log from `from` on.
    pub(super) fn log(&self, from: LogOffset) -> Vec<Placed> {
        let log = self.engine.writer.log();
        let (mut reader, mut at, mut found) = (log.reader(), from, Vec::new());
        while at < log.durable() {
            let mut records = Vec::new();
            at = reader.read(at, log.durable(), 1, &mut records).unwrap();
            found.extend(records.into_iter().map(|record| (at, record)));
        }
        found
    }

    /// Stored, repeated and expired positions, stored, repeated and expired events, refused
    /// positions.
    pub(super) fn counts(&self) -> [u64; 7] {
        let metrics = &self.metrics;
        [
            metrics.positions_stored.get(),
            metrics.positions_duplicate.get(),
            metrics.positions_expired.get(),
            metrics.events.count("stored"),
            metrics.events.count("duplicate"),
            metrics.events.count("expired"),
            metrics.n_positions_refused(),
        ]
    }

    pub(super) fn has_failed(&self) -> bool {
        self.engine.shared.failure.borrow().is_some()
    }
}
