//! Records between nodes, wired: the task that forwards, the router before it, and the watch over the
//! own store's health.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    base::task::TaskGroup,
    metrics::Metrics,
    node::{
        cluster::{ClusterHandle, Traffic},
        forward::{self, ForwardParts, Post, tell_health},
        router::Router,
    },
    store::Store,
};

/// What forwarding stands on.
pub(super) struct Ground<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) cluster: &'a ClusterHandle,
    /// What may be read and not settled in all, in bytes.
    pub(super) room_bytes: usize,
    pub(super) metrics: &'a Metrics,
    pub(super) tasks: &'a TaskGroup,
}

/// How much of the room may be on its way to all stores together. The rest is for what is being read:
/// with less, stores that take nothing would stop the reading for all others too.
const fn forwarded_bytes(ground: &Ground<'_>) -> usize {
    ground.room_bytes / 4 * 3
}

/// Forwarding that runs.
pub(super) struct Forwarding {
    post: Arc<Post>,
    is_storing: watch::Sender<bool>,
}

impl Forwarding {
    /// Starts to take what links bring, and to forward what is handed in.
    pub(super) fn start(ground: &Ground<'_>, traffic: mpsc::Receiver<Traffic>) -> Self {
        let is_storing = watch::Sender::new(false);
        let parts = ForwardParts {
            store: Arc::clone(ground.store),
            neighbourhood: ground.cluster.neighbourhood(),
            traffic,
            is_storing: is_storing.subscribe(),
            room_bytes: forwarded_bytes(ground),
            metrics: ground.metrics.forward.clone(),
            task_metrics: ground.metrics.tasks.clone(),
        };
        let post = forward::start(parts, ground.tasks);
        Self { post, is_storing }
    }

    /// What connections give their records to.
    pub(super) fn router(&self, ground: &Ground<'_>) -> Router {
        let (store, post) = (Arc::clone(ground.store), Arc::clone(&self.post));
        let neighbourhood = ground.cluster.neighbourhood();
        Router::new(store, neighbourhood, post, forwarded_bytes(ground))
    }

    /// Watches over the store until `stop`.
    pub(super) fn watch_health(self, ground: &Ground<'_>, stop: CancellationToken) {
        let (store, cluster) = (Arc::clone(ground.store), ground.cluster.clone());
        let telling = tell_health(store, cluster, self.post, self.is_storing);
        let until_stop = async move { stop.run_until_cancelled_owned(telling).await };
        // The handle is not needed: the group awaits the task.
        drop(ground.tasks.spawn("health", until_stop));
    }
}
