//! How far log and index are: the hand-over from writer to indexer, and from both to questions.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::log::LogOffset;

/// Shared between the writer, the indexer and all who wait for either.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
    applied: watch::Sender<LogOffset>,
}

#[derive(Debug, Clone)]
struct State {
    durable: LogOffset,
    applied: LogOffset,
    /// Offset below which the log is not needed any more.
    trimmable: LogOffset,
    n_lag_records: u64,
    is_hurried: bool,
    is_closing: bool,
    is_stopping: bool,
    /// What the writer found wrong with the index.
    index_failure: Option<String>,
}

/// How far the index may be behind the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LagLimits {
    /// Records that are durable and not yet in the index.
    pub(crate) n_records: u64,
    /// Bytes of the log that the index does not keep through a power cut yet.
    pub(crate) n_bytes: u64,
}

/// How a wait of the writer for the index ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The index is near enough, or does not matter any more.
    Over,
    /// It is too far behind still.
    Longer,
    /// Nothing more is to become durable.
    Stopped,
}

/// What the indexer is asked to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Apply the log up to here.
    Apply(LogOffset),
    /// Nothing to apply for the time waited.
    Rest,
    /// The writer found something wrong with the index.
    Mend,
    /// All is applied, and nothing more will come.
    End,
}

impl Progress {
    pub(crate) fn new(applied: LogOffset, durable: LogOffset, n_lag_records: u64) -> Self {
        let state = State {
            durable,
            applied,
            trimmable: applied,
            n_lag_records,
            is_hurried: false,
            is_closing: false,
            is_stopping: false,
            index_failure: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            applied: watch::channel(applied).0,
        }
    }

    /// The writer has made `n_records` more durable, up to `durable`.
    pub(crate) fn advance_durable(&self, durable: LogOffset, n_records: u64) {
        let mut state = self.lock();
        state.durable = durable;
        state.n_lag_records += n_records;
        drop(state);
        self.changed.notify_all();
    }

    /// The indexer has applied `n_records` more, up to `applied`.
    pub(crate) fn advance_applied(&self, applied: LogOffset, n_records: u64) {
        let mut state = self.lock();
        state.applied = applied;
        state.n_lag_records = state.n_lag_records.saturating_sub(n_records);
        drop(state);
        self.changed.notify_all();
        self.applied.send_replace(applied);
    }

    /// The index keeps what lies below `offset` through a power cut.
    pub(crate) fn allow_trim(&self, offset: LogOffset) {
        self.lock().trimmable = offset;
        self.changed.notify_all();
    }

    pub(crate) fn durable(&self) -> LogOffset {
        self.lock().durable
    }

    pub(crate) fn applied(&self) -> LogOffset {
        self.lock().applied
    }

    pub(crate) fn trimmable(&self) -> LogOffset {
        self.lock().trimmable
    }

    /// Bytes of the log that the index has not got yet.
    pub(crate) fn lag_bytes(&self) -> u64 {
        let state = self.lock();
        state.durable.0.saturating_sub(state.applied.0)
    }

    pub(crate) fn n_lag_records(&self) -> u64 {
        self.lock().n_lag_records
    }

    /// For the indexer: waits until there are `n_records_wanted` to apply, someone is in a hurry,
    /// or `patience` is over.
    pub(crate) fn next_work(&self, n_records_wanted: u64, patience: Duration) -> Work {
        let state = self.lock();
        let mut state = self
            .changed
            .wait_timeout_while(state, patience, |state| {
                let is_pending = state.durable > state.applied;
                let is_worth_it = state.n_lag_records >= n_records_wanted || state.is_hurried;
                let is_urgent = state.is_stopping || state.index_failure.is_some();
                !(is_urgent || is_pending && is_worth_it)
            })
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state.is_hurried = false;
        if state.index_failure.is_some() {
            return Work::Mend;
        }
        match (state.durable > state.applied, state.is_stopping) {
            (true, _) => Work::Apply(state.durable),
            (false, true) => Work::End,
            (false, false) => Work::Rest,
        }
    }

    /// For the writer: the index did not answer, and has to be mended.
    pub(crate) fn report_index_failure(&self, why: String) {
        self.lock().index_failure.get_or_insert(why);
        self.changed.notify_all();
    }

    /// For the indexer: what was reported, once.
    pub(crate) fn take_index_failure(&self) -> Option<String> {
        self.lock().index_failure.take()
    }

    /// For the indexer: waits for `delay`, but not at a stop; whether there is one.
    pub(crate) fn wait_for_stop(&self, delay: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), delay, |state| !state.is_stopping);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopping
    }

    /// For the writer: waits while the index is too far behind, but not at a close, for `patience` at
    /// most.
    pub(crate) fn wait_lag_below(&self, limits: LagLimits, patience: Duration) -> Wait {
        let (state, waited) = self
            .changed
            .wait_timeout_while(self.lock(), patience, |state| {
                let n_bytes = state.durable.0.saturating_sub(state.trimmable.0);
                let is_behind = state.n_lag_records > limits.n_records || n_bytes > limits.n_bytes;
                is_behind && !state.is_closing && !state.is_stopping
            })
            .unwrap_or_else(PoisonError::into_inner);
        match (state.is_stopping, waited.timed_out()) {
            (true, _) => Wait::Stopped,
            (false, true) => Wait::Longer,
            (false, false) => Wait::Over,
        }
    }

    /// The store is closed: the rest is made durable however far the index is behind.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.changed.notify_all();
    }

    /// Nothing more becomes durable; the indexer ends when all is applied.
    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
        self.changed.notify_all();
    }

    /// Waits until what is durable now is applied; for ever if the indexer is gone. Cancel safe.
    pub(crate) async fn caught_up(&self) {
        let mut applied = self.applied.subscribe();
        let goal = {
            let mut state = self.lock();
            state.is_hurried = state.applied < state.durable;
            state.durable
        };
        self.changed.notify_all();
        let is_reached = applied.wait_for(|applied| *applied >= goal).await.is_ok();
        debug_assert!(is_reached, "the sender lives as long as this");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, so a poisoned lock holds sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
