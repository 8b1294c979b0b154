//! The indexer: one thread that follows the log and feeds the index in bulk.
//!
//! It gathers: many records at once cost the index less each. A question that waits hurries it.
//! About once a second a part of what is too old is removed. Right after the start, then whenever
//! enough of the log waits for it, what was applied is made durable, after which the log below may be
//! trimmed: seldom, since an index packs records of one vehicle that come to the disk together.

use std::{sync::Arc, time::Duration};

use super::{
    Shared,
    index::Index,
    log::{LogOffset, LogReader},
    progress::Work,
    retention::Keeper,
    storage::Storage,
};
use crate::base::time::Instant;

/// Records applied in one step.
const BATCH_RECORDS_MAX: usize = 5_000;

/// How long fewer records than a batch may wait.
const GATHER: Duration = Duration::from_millis(200);

/// How often it is looked whether there is anything to be made durable or to be removed.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// How long what was applied may wait to be made durable.
const PERSIST_INTERVAL: Duration = Duration::from_secs(300);

/// How much of the log may wait for it, about; the next start applies as much again.
const PERSIST_BYTES: u64 = 32 * 1024 * 1024;

/// Which part of a small log may wait for it.
const LOG_PART: u64 = 4;

pub(crate) struct Indexer<S: Storage, I> {
    reader: LogReader<S>,
    index: Arc<I>,
    keeper: Keeper,
    shared: Arc<Shared>,
    applied: LogOffset,
    persisted: LogOffset,
    persist_bytes: u64,
    ticked_at: Instant,
    /// Absent: not since the start.
    persisted_at: Option<Instant>,
}

impl<S: Storage, I: Index> Indexer<S, I> {
    /// The log may have `log_bytes_max` until what is not durable in the index stops the writer.
    pub(crate) fn new(
        reader: LogReader<S>,
        index: Arc<I>,
        keeper: Keeper,
        shared: Arc<Shared>,
        log_bytes_max: u64,
    ) -> Self {
        let applied = shared.progress.applied();
        Self {
            reader,
            index,
            keeper,
            shared,
            applied,
            persisted: applied,
            persist_bytes: PERSIST_BYTES.min(log_bytes_max / LOG_PART),
            ticked_at: Instant::now(),
            persisted_at: None,
        }
    }

    /// Runs until the writer has stopped and all is applied, or until the index fails.
    pub(crate) fn run(mut self) {
        let outcome = self.follow().and_then(|()| self.persist());
        if let Err(why) = outcome {
            self.shared.progress.stop();
            self.shared.fail(why);
        }
    }

    fn follow(&mut self) -> Result<(), String> {
        loop {
            match self
                .shared
                .progress
                .next_work(BATCH_RECORDS_MAX as u64, GATHER)
            {
                Work::Apply(durable) => self.apply_up_to(durable)?,
                Work::Rest => {}
                Work::End => return Ok(()),
            }
            if Instant::now().since(self.ticked_at) >= TICK_INTERVAL {
                self.tick()?;
                self.ticked_at = Instant::now();
            }
        }
    }

    /// What is to be done about once a second.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.keeper.look_at_clock();
        if self.is_persist_due() || self.keeper.is_note_due() {
            self.persist()?;
        }
        let swept = self.keeper.sweep(self.index.as_ref());
        swept.map_err(|error| format!("what is too old cannot be removed: {error}"))
    }

    fn is_persist_due(&self) -> bool {
        let n_bytes = self.applied.0.saturating_sub(self.persisted.0);
        let is_long_ago = self
            .persisted_at
            .is_none_or(|at| Instant::now().since(at) >= PERSIST_INTERVAL);
        n_bytes > 0 && (is_long_ago || n_bytes >= self.persist_bytes)
    }

    /// Applies what lies below `durable`, an end of a frame.
    pub(super) fn apply_up_to(&mut self, durable: LogOffset) -> Result<(), String> {
        if !self.index.takes_records() {
            let n_records = self.shared.progress.n_lag_records();
            self.applied = durable;
            self.shared.progress.advance_applied(durable, n_records);
            self.shared.metrics.index_lag.set(0);
            return Ok(());
        }
        let mut records = Vec::with_capacity(BATCH_RECORDS_MAX);
        while self.applied < durable {
            records.clear();
            let next = self
                .reader
                .read(self.applied, durable, BATCH_RECORDS_MAX, &mut records);
            let next = next.map_err(|error| format!("the log cannot be read: {error}"))?;
            if next <= self.applied {
                return Err(format!("the log gives nothing at {}", self.applied.0));
            }
            let applied = self.index.apply(&records);
            applied.map_err(|error| format!("records cannot be indexed: {error}"))?;
            self.keeper.see(&records);
            self.applied = next;
            self.shared
                .progress
                .advance_applied(next, records.len() as u64);
        }
        let n_lag_records = self.shared.progress.n_lag_records();
        self.shared.metrics.index_lag.set(n_lag_records as i64);
        Ok(())
    }

    /// Makes durable what was applied, and allows to trim the log below it.
    pub(super) fn persist(&mut self) -> Result<(), String> {
        let age = self.keeper.age();
        let noted = self.index.note_age(&age);
        let kept = noted.and_then(|()| self.index.persist(self.applied));
        let kept = kept.map_err(|error| format!("the index cannot be synced: {error}"))?;
        self.keeper.confirm(age);
        self.persisted = self.applied;
        self.persisted_at = Some(Instant::now());
        self.shared.progress.allow_trim(kept);
        Ok(())
    }
}
