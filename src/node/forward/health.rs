//! Watches whether the own store takes records, tells the other nodes, and gives what a store holds
//! that does not come back to be brought elsewhere.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::post::Post;
use crate::{
    base::time::Instant,
    node::cluster::{ClusterHandle, Neighbourhood},
    store::Store,
};

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long a store must have been well before this node owns vehicles again.
const WELL_FOR: Duration = Duration::from_secs(10);

/// Tells of the store's health until the cluster has ended.
pub async fn tell_health(
    store: Arc<Store>,
    cluster: ClusterHandle,
    post: Arc<Post>,
    is_storing: watch::Sender<bool>,
) {
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let neighbourhood = cluster.neighbourhood();
    let (mut well_since, mut has_been_ill) = (None, false);
    loop {
        look.tick().await;
        let (is_taking, now) = (store.is_taking(), Instant::now());
        let was_storing = *is_storing.borrow();
        well_since = is_taking.then(|| well_since.unwrap_or(now));
        let is_well = well_since.is_some_and(|since| now.since(since) >= WELL_FOR);
        // Where no other node owns them meanwhile there is nothing to hand over twice.
        let is_well = is_well || !has_been_ill || !are_others(&neighbourhood.borrow());
        if was_storing != is_taking && (was_storing || is_well) {
            if is_taking {
                tracing::debug!("the store is well: this node owns vehicles");
            } else {
                has_been_ill = true;
                tracing::warn!(
                    "the store takes no records: other storing nodes take over its vehicles, if \
                     there are any"
                );
            }
            if cluster.note_health(is_taking).await.is_err() {
                return;
            }
            is_storing.send_replace(is_taking);
        }
        // With nobody else to take them they stay: the disk may come back.
        if !is_taking && are_others(&neighbourhood.borrow()) {
            for (batch, settle) in store.reclaim() {
                post.hand_in(batch, settle);
            }
        }
    }
}

/// Whether other nodes own all vehicles.
fn are_others(neighbourhood: &Neighbourhood) -> bool {
    let mut owners = neighbourhood.map.members().peekable();
    owners.peek().is_some() && owners.all(|owner| owner != neighbourhood.own)
}
