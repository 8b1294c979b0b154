//! The router: records to the store of their owner, which is this node's or another's.

use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{cluster::Neighbourhood, forward::Post};
use crate::{
    base::verdict::Settle,
    cluster::proto::shard_map::ShardId,
    delivery::batch::Batch,
    ingest::{RejectedLine, Route},
    store::{Store, quarantine::QuarantineEntry},
    types::{
        ids::{NodeId, VehicleId},
        record::Record,
    },
};

/// How often somebody who waits for the own store looks whether it has room.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Hands records from the sockets on.
#[derive(Debug)]
pub struct Router {
    store: Arc<Store>,
    neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
    post: Arc<Post>,
    /// Nodes for which as much waits as may.
    closed: watch::Receiver<BTreeSet<NodeId>>,
    /// What the own store and all outboxes may hold together.
    room_bytes: usize,
}

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// To this node's store: it owns them, or nobody does.
    Here,
    /// To the store of another.
    To(NodeId),
}

impl Router {
    /// A router to the own store, and to those of others by way of `post`.
    pub fn new(
        store: Arc<Store>,
        neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
        post: Arc<Post>,
        room_bytes: usize,
    ) -> Self {
        Self {
            closed: post.closed(),
            store,
            neighbourhood,
            post,
            room_bytes,
        }
    }

    fn send(&self, way: Way, records: &[Record], settle: Settle) {
        let batch = Batch::from(records);
        match way {
            Way::Here => self.store.submit(batch, settle),
            Way::To(_) => self.post.hand_in(batch, settle),
        }
    }

    /// The own store has an equal share of the room, like the outbox of any other node.
    fn has_room_here(&self, neighbourhood: &Neighbourhood) -> bool {
        let share_bytes = self.room_bytes / neighbourhood.map.members().count().max(1);
        neighbourhood.linked.is_empty() || self.store.unsettled_bytes() < share_bytes
    }
}

impl Route for Router {
    fn deliver(&self, records: Vec<Record>, settle: Settle) {
        let neighbourhood = Arc::clone(&self.neighbourhood.borrow());
        if neighbourhood.linked.is_empty() {
            return self.send(Way::Here, &records, settle);
        }
        let runs: Vec<&[Record]> = records
            .chunk_by(|one, next| one.key.vehicle == next.key.vehicle)
            .collect();
        let ways = runs.iter().filter_map(|run| run.first());
        let mut ways = ways.map(|first| neighbourhood.way(&first.key.vehicle));
        let first = ways.next().unwrap_or(Way::Here);
        if ways.all(|way| way == first) {
            return self.send(first, &records, settle);
        }
        // Rare: a connection that speaks for vehicles of several owners.
        for (run, settle) in runs.iter().zip(settle.split(runs.len())) {
            let way = run
                .first()
                .map(|first| neighbourhood.way(&first.key.vehicle));
            self.send(way.unwrap_or(Way::Here), run, settle);
        }
    }

    fn is_open(&self, vehicle: &VehicleId) -> bool {
        let neighbourhood = self.neighbourhood.borrow();
        if neighbourhood.linked.is_empty() {
            return true;
        }
        match neighbourhood.way(vehicle) {
            Way::Here => self.has_room_here(&neighbourhood),
            Way::To(owner) => !self.closed.borrow().contains(&owner),
        }
    }

    fn opened<'a>(
        &'a self,
        vehicle: &'a VehicleId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let (mut closed, mut neighbourhood) = (self.closed.clone(), self.neighbourhood.clone());
            while !self.is_open(vehicle) {
                tokio::select! {
                    Ok(()) = closed.changed() => {}
                    Ok(()) = neighbourhood.changed() => {}
                    // The own store says nothing when it has room again.
                    () = tokio::time::sleep(LOOK_INTERVAL) => {}
                }
            }
        })
    }

    fn quarantine(&self, line: RejectedLine) {
        self.store.quarantine(|| QuarantineEntry {
            time: line.received,
            peer: line.peer.to_string(),
            protocol: line.protocol,
            vehicle: line.vehicle,
            reason: line.reason.as_str(),
            line_bytes: line.line.len(),
            line: line.line,
        });
    }
}

impl Neighbourhood {
    fn way(&self, vehicle: &VehicleId) -> Way {
        match self.map.owner(ShardId::of(vehicle)) {
            Some(owner) if owner != self.own => Way::To(owner),
            _ => Way::Here,
        }
    }
}
