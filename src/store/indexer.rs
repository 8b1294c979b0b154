//! The indexer: one thread that follows the log and feeds the index in bulk.
//!
//! It gathers: many records at once cost the index less each. A question that waits hurries it.
//! About once a second a part of what is too old is removed. Right after the start, then whenever
//! enough of the log waits for it, what was applied is made durable, after which the log below may be
//! trimmed: seldom, since an index packs records of one vehicle that come to the disk together.
//!
//! An index that fails is opened anew and caught up from the log, after a delay that grows. The store
//! fails when that happens again and again, or when the log cannot be read. One that cannot be fed
//! because a file of it is damaged would fail again when it is opened anew: it stays as it is, and
//! answers what it can, while the log goes on as far as it may without it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    Shared,
    gate::IndexGate,
    index::{Index, IndexError},
    log::{LogError, LogOffset, LogReader},
    mending::Mending,
    progress::Work,
    retention::Keeper,
    storage::Storage,
};
use crate::base::{rate::RateLimit, time::Instant};

/// Records applied in one step.
const BATCH_RECORDS_MAX: usize = 2_000;

/// How long fewer records than a batch may wait.
const GATHER: Duration = Duration::from_millis(200);

static WARNINGS: RateLimit = RateLimit::per_second(1);
/// How long what was applied may wait to be made durable.
pub(super) const PERSIST_INTERVAL: Duration = Duration::from_secs(300);

/// How much of the log may wait for it, about; the next start applies as much again.
const PERSIST_BYTES: u64 = 32 * 1024 * 1024;

/// How long to wait for the files of an index that failed to be looked through.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);

/// How long an index with a damaged file is left as it is before it is looked at again.
const HOLD: Duration = Duration::from_secs(60);

/// Which part of a small log may wait for it.
const LOG_PART: u64 = 4;

pub(crate) struct Indexer<S: Storage, I> {
    feed: Feed<S, I>,
    shared: Arc<Shared>,
    applied: LogOffset,
    /// Up to where the index has said that it keeps the log through a power cut.
    kept: LogOffset,
    persisted: LogOffset,
    ticked_at: Instant,
    /// Absent: not since the start.
    persisted_at: Option<Instant>,
    /// Whether the index was opened anew after the stop.
    is_stopping: bool,
}

/// What an indexer works with.
pub(crate) struct Feed<S: Storage, I> {
    pub(crate) reader: LogReader<S>,
    pub(crate) disk: Arc<S>,
    /// With less room on the disk a failure is no fault of the index.
    pub(crate) room_bytes: u64,
    pub(crate) index: Arc<IndexGate<I>>,
    pub(crate) keeper: Keeper,
    pub(crate) mending: Mending,
    /// How often the index is made durable, and looked through for what is too old.
    pub(crate) tick_interval: Duration,
    /// How long what was applied may wait to be made durable.
    pub(crate) persist_interval: Duration,
    /// How much of the log may wait to be made durable in the index.
    pub(crate) persist_bytes: u64,
}

/// How much of a log that may have `log_bytes_max` may wait to be made durable in the index: the log
/// is not trimmed before, and a full one stops the writer.
pub(crate) const fn persist_bytes(log_bytes_max: u64) -> u64 {
    let part = log_bytes_max / LOG_PART;
    if part < PERSIST_BYTES {
        part
    } else {
        PERSIST_BYTES
    }
}

/// Why the indexer cannot go on as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The index failed; it is to be opened anew.
    #[error("{0}: {1}")]
    Index(&'static str, IndexError),
    /// The writer says so.
    #[error("{0}")]
    Reported(String),
    /// The log cannot be read, or gives nothing where there must be something.
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
    /// The log gives nothing where there must be something.
    #[error("the log gives nothing at {0}")]
    Silent(u64),
    /// The index says after it was opened anew that it ends before what it had made durable; the log
    /// in between may be gone.
    #[error("the index has lost what it had made durable: it ends at {found} in place of {kept}")]
    Lost {
        /// Where it ends.
        found: u64,
        /// Where it must not end before.
        kept: u64,
    },
}

impl Fault {
    const fn is_mendable(&self) -> bool {
        matches!(self, Self::Index(..) | Self::Reported(_))
    }
}

impl<S: Storage, I: Index> Indexer<S, I> {
    pub(crate) fn new(feed: Feed<S, I>, shared: Arc<Shared>) -> Self {
        let applied = shared.progress.applied();
        Self {
            feed,
            shared,
            applied,
            kept: applied,
            persisted: applied,
            ticked_at: Instant::now(),
            persisted_at: None,
            is_stopping: false,
        }
    }

    /// Runs until the writer has stopped and all is applied, or until the index is given up.
    pub(crate) fn run(mut self) {
        while let Err(fault) = self.follow().and_then(|()| self.persist()) {
            if let Err(why) = self.mend(fault) {
                self.shared.progress.stop();
                self.shared.fail(why);
                return;
            }
        }
    }

    fn follow(&mut self) -> Result<(), Fault> {
        loop {
            match self.shared.progress.next_work(
                BATCH_RECORDS_MAX as u64,
                GATHER.min(self.feed.tick_interval),
            ) {
                Work::Apply(durable) => self.apply_up_to(durable)?,
                Work::Mend => self.heed_report()?,
                Work::Rest => {}
                Work::End => return Ok(()),
            }
            if Instant::now().since(self.ticked_at) >= self.feed.tick_interval {
                self.tick()?;
                self.ticked_at = Instant::now();
            }
        }
    }

    /// What the writer has found wrong, if it has.
    pub(super) fn heed_report(&self) -> Result<(), Fault> {
        let report = self.shared.progress.take_index_failure();
        report.map_or(Ok(()), |why| Err(Fault::Reported(why)))
    }

    /// What is to be done now and then.
    pub(super) fn tick(&mut self) -> Result<(), Fault> {
        self.feed.keeper.look_at_clock();
        if self.is_persist_due() || self.feed.keeper.is_note_due() {
            self.persist()?;
        }
        match self.feed.keeper.sweep(self.feed.index.as_ref()) {
            // Months still go as a whole, and nothing that is shown depends on the rest.
            Err(error) if error.is_damage() => {
                self.feed.index.look_for_damage(Duration::ZERO);
                if let Some(n_unsaid) = WARNINGS.pass() {
                    tracing::warn!(%error, n_unsaid, "what is too old cannot be removed");
                }
                Ok(())
            }
            swept => {
                swept.map_err(|error| Fault::Index("what is too old cannot be removed", error))
            }
        }
    }

    fn is_persist_due(&self) -> bool {
        let n_bytes = self.applied.0.saturating_sub(self.persisted.0);
        let is_long_ago = self
            .persisted_at
            .is_none_or(|at| Instant::now().since(at) >= self.feed.persist_interval);
        n_bytes > 0 && (is_long_ago || n_bytes >= self.feed.persist_bytes)
    }

    /// Applies what lies below `durable`, an end of a frame.
    pub(super) fn apply_up_to(&mut self, durable: LogOffset) -> Result<(), Fault> {
        if !self.feed.index.takes_records() {
            let n_records = self.shared.progress.n_lag_records();
            self.applied = durable;
            self.shared.progress.advance_applied(durable, n_records);
            self.shared.metrics.index_lag.set(0);
            return Ok(());
        }
        while self.applied < durable {
            let (next, n_records) = self.apply_from(self.applied, durable)?;
            self.applied = next;
            self.shared.progress.advance_applied(next, n_records);
        }
        let n_lag_records = self.shared.progress.n_lag_records();
        self.shared.metrics.index_lag.set(n_lag_records as i64);
        Ok(())
    }

    /// Applies a batch of what lies from `from` to `to`; where it ends, and of how many records it was.
    fn apply_from(&mut self, from: LogOffset, to: LogOffset) -> Result<(LogOffset, u64), Fault> {
        let mut records = Vec::with_capacity(BATCH_RECORDS_MAX);
        let reader = &mut self.feed.reader;
        let next = reader.read(from, to, BATCH_RECORDS_MAX, &mut records)?;
        if next <= from {
            return Err(Fault::Silent(from.0));
        }
        let applied = self.feed.index.apply(&records);
        applied.map_err(|error| Fault::Index("records cannot be indexed", error))?;
        self.feed.keeper.see(&records);
        Ok((next, records.len() as u64))
    }

    /// Makes durable what was applied, and allows to trim the log below it.
    pub(super) fn persist(&mut self) -> Result<(), Fault> {
        let age = self.feed.keeper.age();
        let noted = self.feed.index.note_age(&age);
        let kept = noted.and_then(|()| self.feed.index.persist(self.applied));
        let kept = kept.map_err(|error| Fault::Index("the index cannot be synced", error))?;
        self.feed.keeper.confirm(age);
        self.kept = kept;
        self.persisted = self.applied;
        self.persisted_at = Some(Instant::now());
        self.shared.progress.allow_trim(kept);
        Ok(())
    }

    /// Opens the index anew, after a delay, until it works; why it is given up, if it is.
    fn mend(&mut self, fault: Fault) -> Result<(), String> {
        self.shared.is_mending.store(true, Ordering::Relaxed);
        let outcome = self.try_to_mend(fault);
        self.shared
            .is_mending
            .store(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    fn try_to_mend(&mut self, mut fault: Fault) -> Result<(), String> {
        loop {
            let failed_at = Instant::now();
            self.shared.metrics.index_failures.inc();
            if !fault.is_mendable() {
                return Err(fault.to_string());
            }
            // On a full disk nothing can be expected of it.
            let has_room = self
                .feed
                .disk
                .free_bytes()
                .is_ok_and(|free_bytes| free_bytes >= self.feed.room_bytes);
            while has_room && let Some(damage) = self.damage() {
                tracing::error!(
                    error = %fault, %damage,
                    "the index cannot be fed; records are taken as long as the log may go on without it"
                );
                self.feed.index.hold(Some(damage.clone()));
                if self.shared.progress.wait_for_stop(HOLD) {
                    return Err(damage.to_string());
                }
            }
            self.feed.index.hold(None);
            let Some(delay) = self.feed.mending.failed(failed_at, has_room) else {
                return Err(format!("the index fails again and again: {fault}"));
            };
            if let Some(n_unsaid) = WARNINGS.pass() {
                tracing::warn!(error = %fault, ?delay, n_unsaid, "the index failed and is opened anew");
            }
            let was_stopping = self.is_stopping;
            self.is_stopping = self.shared.progress.wait_for_stop(delay);
            if was_stopping {
                // It was opened anew since the stop; the next start catches up.
                return Err(fault.to_string());
            }
            let reopened = self.reopen();
            self.feed.mending.tried(Instant::now());
            match reopened {
                Ok(()) => {
                    tracing::info!("the index works again");
                    return Ok(());
                }
                Err(next) if self.is_stopping => return Err(next.to_string()),
                Err(next) => fault = next,
            }
        }
    }

    /// What is wrong with the files of the index.
    fn damage(&self) -> Option<IndexError> {
        let found = self.feed.index.look_for_damage(LOOK_PATIENCE);
        found.filter(IndexError::is_damage)
    }

    /// Opens the index anew, applies the log up to where it was before, and shows it.
    pub(super) fn reopen(&mut self) -> Result<(), Fault> {
        let index = Arc::clone(&self.feed.index);
        let opened = index.reopen();
        opened.map_err(|error| Fault::Index("the index cannot be opened anew", error))?;
        // What was reported before is dealt with.
        self.shared.progress.take_index_failure();
        self.feed.keeper.sweep_again();
        let mut at = index.persisted();
        if at < self.kept {
            let (found, kept) = (at.0, self.kept.0);
            return Err(Fault::Lost { found, kept });
        }
        while at < self.applied {
            (at, _) = self.apply_from(at, self.applied)?;
        }
        index.show();
        // Whether it works again shows when it is made durable.
        self.persisted_at = None;
        Ok(())
    }
}
