//! The submissions that are not settled yet: how many bytes they have, how long the writer has been at
//! the disk or waiting for the index, whether the disk refused the last ones, and the group that the writer has in hand, which others may take over
//! when the disk does not come back.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::Submission;
use crate::base::time::Instant;

/// Stands for a writer that is not at it.
const AT_REST: u64 = u64::MAX;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Hand {
    group: Mutex<Vec<Submission>>,
    /// Since when the writer is at the disk.
    busy: Since,
    /// Since when the writer waits for the index.
    waiting: Since,
    /// Whether the disk refused the last group, and has not taken anything since.
    is_failing: AtomicBool,
    /// Of room.
    unsettled_bytes: AtomicUsize,
}

/// A moment in milliseconds of the monotonic clock, or none.
#[derive(Debug)]
struct Since(AtomicU64);

impl Since {
    const fn at_rest() -> Self {
        Self(AtomicU64::new(AT_REST))
    }

    fn set(&self, at: Option<Instant>) {
        let millis = at.map_or(AT_REST, Instant::as_millis);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn elapsed(&self, now: Instant) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            AT_REST => Duration::ZERO,
            millis => now.since(Instant::from_millis(millis)),
        }
    }
}

impl Hand {
    pub(crate) const fn new() -> Self {
        Self {
            group: Mutex::new(Vec::new()),
            busy: Since::at_rest(),
            waiting: Since::at_rest(),
            is_failing: AtomicBool::new(false),
            unsettled_bytes: AtomicUsize::new(0),
        }
    }

    /// The group; waits for whoever looks at it.
    pub(crate) fn group(&self) -> MutexGuard<'_, Vec<Submission>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group, unless the writer is looking at it at this moment.
    pub(crate) fn try_group(&self) -> Option<MutexGuard<'_, Vec<Submission>>> {
        self.group.try_lock().ok()
    }

    /// The disk is set to work at `now`, or has come back.
    pub(crate) fn note_busy(&self, now: Option<Instant>) {
        self.busy.set(now);
    }

    /// How long the disk has been at work on one thing.
    pub(crate) fn busy_for(&self, now: Instant) -> Duration {
        self.busy.elapsed(now)
    }

    /// The writer begins to wait for the index at `now`, or goes on.
    pub(crate) fn note_waiting(&self, now: Option<Instant>) {
        self.waiting.set(now);
    }

    /// How long the writer has waited for the index with a group in hand.
    pub(crate) fn waiting_for(&self, now: Instant) -> Duration {
        self.waiting.elapsed(now)
    }

    /// The disk refused what it was given, or has taken something.
    pub(crate) fn note_failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// Whether it has taken nothing since it refused something.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// A submission came in.
    pub(crate) fn enter(&self, n_bytes: usize) {
        self.unsettled_bytes.fetch_add(n_bytes, Ordering::Relaxed);
    }

    /// A submission was settled or taken over.
    pub(crate) fn leave(&self, n_bytes: usize) {
        self.unsettled_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
    }

    pub(crate) fn unsettled_bytes(&self) -> usize {
        self.unsettled_bytes.load(Ordering::Relaxed)
    }
}
