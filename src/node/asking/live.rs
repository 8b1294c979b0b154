//! The live positions of the whole cluster: those of this node's store, and those of all linked
//! members, who are asked for them only while somebody listens here.
//!
//! ```text
//! members ─Live─▶ one feeder each ─▶ remote ─┐
//! own store ─────────────────────────────────┴─▶ LiveFeed, one a listener: repeats left out
//! ```
//!
//! Nobody waits for a listener: one that is too slow loses batches, and is told so. Must not know what
//! listeners are, nor stores beyond their live positions.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
    watch,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    asked::{Asked, Got, Lost, Patience},
    desk::Desk,
    wire::Question,
};
use crate::{
    api::{LiveGap, LivePositions},
    base::task::spawn_child,
    cluster::{net::LinkHandle, proto::LinkId},
    node::cluster::Neighbourhood,
    types::{
        ids::NodeId,
        record::{Record, RecordKey},
    },
};

/// Batches of other nodes that a listener may be behind; each is at most a piece of an answer.
const BATCHES_MAX: usize = 128;

/// Positions that a listener remembers in order to leave out repeats: those of a vehicle that sent a
/// line again to another node come within moments.
const REMEMBERED_MAX: usize = 4_096;

/// Pause before a member that gave up is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Where listeners come to.
#[derive(Debug)]
pub(super) struct LiveHub {
    /// Positions of other nodes.
    remote: broadcast::Sender<Arc<[Record]>>,
    n_listeners: AtomicUsize,
    /// A listener came, or the last one went.
    changed: Notify,
    /// Members that are being listened to.
    n_feeders: AtomicUsize,
}

/// Live positions for one listener.
#[derive(Debug)]
pub struct LiveFeed {
    own: broadcast::Receiver<Arc<[Record]>>,
    remote: broadcast::Receiver<Arc<[Record]>>,
    remembered: Remembered,
    hub: Arc<LiveHub>,
}

impl LiveHub {
    pub(super) fn new() -> Self {
        Self {
            remote: broadcast::channel(BATCHES_MAX).0,
            n_listeners: AtomicUsize::new(0),
            changed: Notify::new(),
            n_feeders: AtomicUsize::new(0),
        }
    }

    /// Begins to listen; `own` are the positions of this node.
    pub(super) fn listen(self: &Arc<Self>, own: broadcast::Receiver<Arc<[Record]>>) -> LiveFeed {
        let remote = self.remote.subscribe();
        if self.n_listeners.fetch_add(1, Ordering::Relaxed) == 0 {
            self.changed.notify_one();
        }
        LiveFeed {
            own,
            remote,
            remembered: Remembered::default(),
            hub: Arc::clone(self),
        }
    }

    /// Listens to all linked members while somebody listens here; for ever.
    pub(super) async fn run(
        self: Arc<Self>,
        desk: Arc<Desk>,
        mut neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
    ) {
        let mut feeders = Feeders::default();
        loop {
            let is_listened = self.n_listeners.load(Ordering::Relaxed) > 0;
            let linked = if is_listened {
                let now = neighbourhood.borrow_and_update();
                let links = now.linked.iter();
                links.map(|(id, one)| (*id, one.link.clone())).collect()
            } else {
                BTreeMap::new()
            };
            feeders.set(linked, |link| {
                spawn_child(feed(Arc::clone(&self), Arc::clone(&desk), link))
            });
            self.n_feeders.store(feeders.0.len(), Ordering::Relaxed);
            // Both are cancel safe.
            tokio::select! {
                () = self.changed.notified() => {}
                changed = neighbourhood.changed(), if is_listened => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Those who listen to members; they end when they are dropped.
#[derive(Default)]
struct Feeders(BTreeMap<(NodeId, LinkId), AbortOnDropHandle<()>>);

impl Feeders {
    /// Listens to exactly these.
    fn set(
        &mut self,
        linked: BTreeMap<NodeId, LinkHandle>,
        begin: impl Fn(LinkHandle) -> tokio::task::JoinHandle<()>,
    ) {
        let is_linked = |(id, link): &(NodeId, LinkId)| {
            linked.get(id).is_some_and(|handle| handle.link() == *link)
        };
        self.0
            .retain(|place, feeder| is_linked(place) && !feeder.is_finished());
        for (id, link) in linked {
            let place = (id, link.link());
            let feeder = || AbortOnDropHandle::new(begin(link));
            self.0.entry(place).or_insert_with(feeder);
        }
    }
}

/// Hands on the live positions at the other end of a link, until that is gone.
async fn feed(hub: Arc<LiveHub>, desk: Arc<Desk>, link: LinkHandle) {
    let patience = Patience {
        first: None,
        next: None,
        until: None,
    };
    while !link.is_closed() {
        let mut asked = Asked::ask(desk.open(&link), Question::Live, patience);
        let lost = loop {
            match asked.next().await {
                // An error means that the last listener has just left.
                Ok(Got::Records(records)) => drop(hub.remote.send(records.into())),
                Ok(Got::Whole { .. }) => break Lost::Gone,
                Err(lost) => break lost,
            }
        };
        tracing::debug!(link = %link.link(), %lost, "live positions of a node broke off");
        drop(asked);
        tokio::select! {
            () = link.closed() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl LivePositions for LiveFeed {
    async fn next(&mut self) -> Result<Arc<[Record]>, LiveGap> {
        loop {
            // Both arms are cancel safe.
            let received = tokio::select! {
                received = self.own.recv() => received,
                received = self.remote.recv() => received,
            };
            let batch = received.map_err(|error| match error {
                RecvError::Lagged(n_batches) => LiveGap::Lagged(n_batches),
                RecvError::Closed => LiveGap::Over,
            })?;
            if self.hub.n_feeders.load(Ordering::Relaxed) == 0 {
                return Ok(batch);
            }
            let batch = self.remembered.without_repeats(batch);
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }
}

impl Drop for LiveFeed {
    fn drop(&mut self) {
        if self.hub.n_listeners.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.hub.changed.notify_one();
        }
    }
}

/// Digests of the last positions that were given.
#[derive(Debug, Default)]
struct Remembered {
    order: VecDeque<u64>,
    known: HashSet<u64>,
    digests: foldhash::fast::RandomState,
}

impl Remembered {
    fn without_repeats(&mut self, batch: Arc<[Record]>) -> Arc<[Record]> {
        let news: Vec<bool> = batch
            .iter()
            .map(|record| self.is_new(&record.key))
            .collect();
        if news.iter().all(|is_new| *is_new) {
            return batch;
        }
        let records = batch.iter().zip(news).filter(|(_, is_new)| *is_new);
        records.map(|(record, _)| record.clone()).collect()
    }

    fn is_new(&mut self, key: &RecordKey) -> bool {
        use std::hash::BuildHasher as _;
        let digest = self.digests.hash_one(key);
        if !self.known.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::forwarding::testing::record;

    fn batch(times: impl IntoIterator<Item = i64>) -> Arc<[Record]> {
        times.into_iter().map(|time| record("1", time)).collect()
    }

    #[test]
    fn repeats_are_left_out_whoever_gives_them_first() {
        let mut remembered = Remembered::default();
        assert_eq!(remembered.without_repeats(batch([1, 2])), batch([1, 2]));
        assert_eq!(remembered.without_repeats(batch([2, 3, 3])), batch([3]));
        assert_eq!(remembered.without_repeats(batch([1])), batch([]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut remembered = Remembered::default();
        let many = REMEMBERED_MAX as i64 * 3;
        remembered.without_repeats(batch(0..many));
        assert_eq!(remembered.order.len(), REMEMBERED_MAX);
        assert_eq!(remembered.known.len(), REMEMBERED_MAX);
        assert!(remembered.is_new(&record("1", 0).key), "long forgotten");
        assert!(!remembered.is_new(&record("1", many - 1).key));
    }

    #[tokio::test]
    async fn a_listener_hears_this_node_and_the_others_and_says_when_it_leaves() {
        let hub = Arc::new(LiveHub::new());
        let own = broadcast::channel(4).0;
        let mut feed = hub.listen(own.subscribe());
        hub.n_feeders.store(1, Ordering::Relaxed);
        own.send(batch([1])).unwrap();
        assert_eq!(feed.next().await, Ok(batch([1])));
        hub.remote.send(batch([1])).unwrap();
        hub.remote.send(batch([1, 2])).unwrap();
        assert_eq!(feed.next().await, Ok(batch([2])));
        for _ in 0..6 {
            own.send(batch([3])).unwrap();
        }
        assert_eq!(feed.next().await, Err(LiveGap::Lagged(2)));
        drop(feed);
        assert_eq!(hub.n_listeners.load(Ordering::Relaxed), 0);
        assert_eq!(hub.remote.receiver_count(), 0);
    }
}
