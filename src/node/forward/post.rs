//! The counter at which connections hand in parcels, and where they see whose are not taken now.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use crate::{
    base::verdict::Settle,
    delivery::{batch::Batch, forwarding::Parcel},
    metrics::forward::ForwardMetrics,
    types::ids::NodeId,
};

/// Shared by all connections and the task that works it off.
#[derive(Debug)]
pub struct Post {
    waiting: Mutex<Vec<Parcel<Settle>>>,
    wake: Notify,
    /// Nodes for which as much waits as may.
    closed: watch::Sender<BTreeSet<NodeId>>,
    metrics: ForwardMetrics,
}

impl Post {
    pub(super) fn new(metrics: ForwardMetrics) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            closed: watch::Sender::default(),
            metrics,
        }
    }

    /// Hands in records to be brought to their owner; `settle` is used once. Never waits.
    pub fn hand_in(&self, batch: Batch, settle: Settle) {
        self.metrics.in_flight.inc_by(batch.n_positions() as i64);
        let token = settle;
        let mut waiting = self.lock();
        waiting.push(Parcel { batch, token });
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
