//! The indexer: one thread that follows the log and feeds the index in bulk.
//!
//! It gathers: many records at once cost the index less each. A question that waits hurries it.
//! About once a second what was applied is made durable, after which the log below may be trimmed, and
//! a part of what is too old is removed.

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

/// How often the index is made durable, and looked through for what is too old.
const PERSIST_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Indexer<S: Storage, I> {
    reader: LogReader<S>,
    index: Arc<I>,
    keeper: Keeper,
    shared: Arc<Shared>,
    applied: LogOffset,
    persisted: LogOffset,
    ticked_at: Instant,
}

impl<S: Storage, I: Index> Indexer<S, I> {
    pub(crate) fn new(
        reader: LogReader<S>,
        index: Arc<I>,
        keeper: Keeper,
        shared: Arc<Shared>,
    ) -> Self {
        let applied = shared.progress.applied();
        Self {
            reader,
            index,
            keeper,
            shared,
            applied,
            persisted: applied,
            ticked_at: Instant::now(),
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
            if Instant::now().since(self.ticked_at) >= PERSIST_INTERVAL {
                self.tick()?;
                self.ticked_at = Instant::now();
            }
        }
    }

    /// What is to be done about once a second.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.keeper.look_at_clock();
        if self.persisted < self.applied || self.keeper.is_note_due() {
            self.persist()?;
        }
        let swept = self.keeper.sweep(self.index.as_ref());
        swept.map_err(|error| format!("what is too old cannot be removed: {error}"))
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
        self.shared.progress.allow_trim(kept);
        Ok(())
    }
}
