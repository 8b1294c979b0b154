//! The counter at which connections hand in parcels, and where they see whose are not taken now.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use crate::{
    base::verdict::{RefuseReason, Settle},
    delivery::{batch::Batch, forwarding::Parcel},
    metrics::forward::ForwardMetrics,
    types::ids::NodeId,
};

/// Shared by all connections and the task that works it off.
#[derive(Debug)]
pub struct Post {
    waiting: Mutex<Vec<Parcel<Settle>>>,
    wake: Notify,
    /// Positions that were handed in and have no outcome yet.
    n_open: AtomicU64,
    /// Nodes for which as much waits as may.
    closed: watch::Sender<BTreeSet<NodeId>>,
    metrics: ForwardMetrics,
}

impl Post {
    pub(super) fn new(metrics: ForwardMetrics) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            n_open: AtomicU64::new(0),
            closed: watch::Sender::default(),
            metrics,
        }
    }

    /// Hands in records to be brought to their owner; `settle` is used once. Never waits.
    pub fn hand_in(&self, batch: Batch, settle: Settle) {
        let n_positions = batch.n_positions();
        self.metrics.in_flight.inc_by(n_positions as i64);
        let room_bytes = settle.room_bytes();
        let parcel = Parcel::new(batch, settle, room_bytes);
        let mut waiting = self.lock();
        // Under the lock: whoever counts what waits counts this in both or in neither.
        self.n_open.fetch_add(n_positions as u64, Ordering::Relaxed);
        waiting.push(parcel);
        let is_first = waiting.len() == 1;
        drop(waiting);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Nodes for which as much waits as may, as that changes.
    pub fn closed(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.closed.subscribe()
    }

    /// Waits until something is handed in. Cancel safe.
    pub(super) async fn handed_in(&self) {
        self.wake.notified().await;
    }

    pub(super) fn take_all(&self) -> Vec<Parcel<Settle>> {
        std::mem::take(&mut self.lock())
    }

    /// So many positions are not this post's business any more: somebody else counts them.
    pub(super) fn let_go(&self, n_positions: usize) {
        self.metrics.in_flight.dec_by(n_positions as i64);
        self.n_open.fetch_sub(n_positions as u64, Ordering::Relaxed);
    }

    /// A task begins to work this off. What the one before it took along when it panicked is lost, and
    /// counted; its vehicles have no answer and say it again.
    pub(super) fn begin(&self) {
        let waiting = self.lock();
        let n_waiting: usize = waiting.iter().map(|one| one.batch.n_positions()).sum();
        let n_open = self.n_open.load(Ordering::Relaxed);
        let n_lost = n_open.saturating_sub(n_waiting as u64);
        if n_lost > 0 {
            self.let_go(n_lost as usize);
            let reason = RefuseReason::Lost.as_str();
            self.metrics.refused.inc_by(reason, n_lost);
        }
        if !waiting.is_empty() {
            self.wake.notify_one();
        }
    }

    pub(super) fn show_closed(&self, closed: &BTreeSet<NodeId>) {
        self.closed.send_if_modified(|shown| {
            let is_new = shown != closed;
            if is_new {
                shown.clone_from(closed);
            }
            is_new
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Parcel<Settle>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::verdict::Verdict, delivery::forwarding::testing::record, metrics::Metrics};

    #[tokio::test]
    async fn what_a_panic_takes_along_is_lost_and_what_waits_is_not() {
        let metrics = Metrics::new();
        let post = Post::new(metrics.forward.clone());
        let hand_in = |n: i64| {
            let (settle, verdict) = Settle::new(None);
            let records: Vec<_> = (0..n).map(|time| record("v", time)).collect();
            post.hand_in(Batch::from(records), settle);
            verdict
        };
        let mut taken = hand_in(3);
        post.handed_in().await;
        drop(post.take_all());
        let mut waiting = hand_in(2);
        post.handed_in().await;
        post.begin();
        assert_ne!(taken.verdict().await, Verdict::Durable);
        assert_eq!(metrics.store.positions_refused.count("lost"), 3);
        assert_eq!(metrics.store.positions_in_flight.get(), 2);
        post.handed_in().await;
        for parcel in post.take_all() {
            post.let_go(parcel.batch.n_positions());
            parcel.token.settle(Verdict::Durable);
        }
        assert_eq!(waiting.verdict().await, Verdict::Durable);
        assert_eq!(metrics.store.positions_in_flight.get(), 0);
        post.begin();
        assert_eq!(metrics.store.positions_refused.count("lost"), 3);
    }
}
