//! The submissions that are not settled yet: how many bytes they have, how long the disk has been at
//! work on the oldest of them, and the group that the writer has in hand, which others may take over
//! when the disk does not come back.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::Submission;
use crate::base::time::Instant;

/// Stands for a disk that is not at work.
const AT_REST: u64 = u64::MAX;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Hand {
    group: Mutex<Vec<Submission>>,
    /// When the disk was set to work, in milliseconds of the monotonic clock.
    busy_since: AtomicU64,
    unsettled_bytes: AtomicUsize,
}

impl Hand {
    pub(crate) const fn new() -> Self {
        Self {
            group: Mutex::new(Vec::new()),
            busy_since: AtomicU64::new(AT_REST),
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
        let millis = now.map_or(AT_REST, Instant::as_millis);
        self.busy_since.store(millis, Ordering::Relaxed);
    }

    /// How long the disk has been at work on one group.
    pub(crate) fn busy_for(&self, now: Instant) -> Duration {
        match self.busy_since.load(Ordering::Relaxed) {
            AT_REST => Duration::ZERO,
            millis => now.since(Instant::from_millis(millis)),
        }
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
