//! The task that owns the forwarder: gathers what is handed in, carries out what it says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, mpsc, watch};

use super::{incoming::Incoming, post::Post};
use crate::{
    base::{
        task::{TaskGroup, keep_running},
        time::Instant,
        verdict::{RefuseReason, Settle, Verdict},
    },
    cluster::{
        net::LinkHandle,
        proto::{
            NodeName,
            link::{frame::FrameKind, outcome::CloseReason, outgoing::SendError},
        },
    },
    delivery::forwarding::{ForwardInput, ForwardOutput, Forwarder, wire::Acks},
    metrics::{Gauge, NodeLabel, forward::ForwardMetrics, names::TaskMetrics},
    node::cluster::{Neighbourhood, Traffic},
    store::Store,
    types::ids::NodeId,
};

/// How long parcels are gathered before they leave, so that many share a frame and a wake-up. The
/// owner gathers for a sync anyway.
const GATHER: Duration = Duration::from_millis(1);

/// Frames of links that are worked off in one turn.
const FRAMES_PER_TURN: usize = 256;

/// What forwarding works with.
#[derive(Debug)]
pub struct ForwardParts {
    /// The own store.
    pub store: Arc<Store>,
    /// Owners and links.
    pub neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
    /// Records and acknowledgements that links bring.
    pub traffic: mpsc::Receiver<Traffic>,
    /// Whether the own store takes records.
    pub is_storing: watch::Receiver<bool>,
    /// Bytes that wait for other nodes at most, in all.
    pub room_bytes: usize,
    /// Where to count.
    pub metrics: ForwardMetrics,
    /// Where to count a task that had to be made anew.
    pub task_metrics: TaskMetrics,
}

/// Starts forwarding as a task of `tasks`, which ends when the cluster has ended; gives where records
/// are handed in.
pub fn start(parts: ForwardParts, tasks: &TaskGroup) -> Arc<Post> {
    let post = Arc::new(Post::new(parts.metrics.clone()));
    let task_metrics = parts.task_metrics.clone();
    let lasting = Arc::new(Lasting {
        post: Arc::clone(&post),
        traffic: Mutex::new(parts.traffic),
        store: parts.store,
        neighbourhood: parts.neighbourhood,
        is_storing: parts.is_storing,
        room_bytes: parts.room_bytes,
        n_runs: AtomicU32::new(0),
        metrics: parts.metrics,
    });
    let running = keep_running(
        move || run(Arc::clone(&lasting)),
        move || task_metrics.panics.inc("forward"),
    );
    // The handle is not needed: the group awaits the task.
    drop(tasks.spawn("forward", running));
    post
}

/// What outlives a task that panicked.
struct Lasting {
    post: Arc<Post>,
    traffic: Mutex<mpsc::Receiver<Traffic>>,
    store: Arc<Store>,
    neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
    is_storing: watch::Receiver<bool>,
    room_bytes: usize,
    /// Tasks so far.
    n_runs: AtomicU32,
    metrics: ForwardMetrics,
}

async fn run(lasting: Arc<Lasting>) {
    let mut traffic = lasting.traffic.lock().await;
    lasting.post.begin();
    lasting.metrics.outbox_bytes.clear();
    let neighbourhood = lasting.neighbourhood.clone();
    let own = neighbourhood.borrow().own;
    let n_before = lasting.n_runs.fetch_add(1, Ordering::Relaxed);
    let mut task = Task {
        forwarder: Forwarder::new(own, lasting.room_bytes).after_others(n_before),
        incoming: Incoming::new(Arc::clone(&lasting.store), lasting.metrics.clone()),
        links: BTreeMap::new(),
        shown: BTreeMap::new(),
        n_rerouted: 0,
        out: Vec::new(),
        lasting: Arc::clone(&lasting),
    };
    task.serve(neighbourhood, &mut traffic).await;
}

struct Task {
    forwarder: Forwarder<Settle>,
    incoming: Incoming,
    /// The link to each node that the forwarder knows.
    links: BTreeMap<NodeId, LinkHandle>,
    /// Nodes for which something may wait: what they are called, and where it is shown how much.
    shown: BTreeMap<NodeId, (NodeName, Gauge)>,
    /// Of those already counted.
    n_rerouted: u64,
    out: Vec<ForwardOutput<Settle>>,
    lasting: Arc<Lasting>,
}

impl Task {
    async fn serve(
        &mut self,
        mut neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
        traffic: &mut mpsc::Receiver<Traffic>,
    ) {
        let lasting = Arc::clone(&self.lasting);
        let mut is_storing = lasting.is_storing.clone();
        let (mut frames, mut gather_until) = (Vec::new(), None);
        neighbourhood.mark_changed();
        loop {
            let wake_at = [gather_until, self.forwarder.next_deadline()];
            let wake_at = wake_at.into_iter().flatten().min();
            // Every arm is cancel safe: what was not handed out stays where it is.
            tokio::select! {
                changed = neighbourhood.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = Arc::clone(&neighbourhood.borrow_and_update());
                    self.meet(&now);
                }
                n_frames = traffic.recv_many(&mut frames, FRAMES_PER_TURN) => {
                    if n_frames == 0 {
                        return;
                    }
                    frames.drain(..).for_each(|frame| self.take(frame));
                }
                Ok(()) = is_storing.changed() => {
                    if !*is_storing.borrow_and_update() {
                        self.incoming.turn_away();
                    }
                }
                () = lasting.post.handed_in() => {
                    gather_until.get_or_insert_with(|| Instant::now() + GATHER);
                    continue;
                }
                () = sleep_until(wake_at) => {
                    gather_until = None;
                    for parcel in lasting.post.take_all() {
                        self.tell(ForwardInput::Parcel(parcel));
                    }
                    self.tell(ForwardInput::Tick);
                }
            }
            self.forwarder.pump(&mut self.out);
            self.act();
            self.show();
        }
    }

    fn tell(&mut self, input: ForwardInput<Settle>) {
        self.forwarder.handle(Instant::now(), input, &mut self.out);
    }

    fn meet(&mut self, neighbourhood: &Neighbourhood) {
        let linked = neighbourhood.linked.iter();
        let linked = linked.map(|(id, neighbour)| (*id, neighbour.link.clone()));
        self.links = linked.collect();
        self.incoming.tidy();
        let links = self.links.iter().map(|(id, link)| (*id, link.link()));
        let input = ForwardInput::Neighbours {
            map: Arc::clone(&neighbourhood.map),
            links: links.collect(),
        };
        self.tell(input);
        self.meet_names(neighbourhood);
    }

    /// Whoever has neither a link nor anything waiting is not shown any more.
    fn meet_names(&mut self, neighbourhood: &Neighbourhood) {
        let outbox_bytes = &self.lasting.metrics.outbox_bytes;
        let label = |name: &NodeName| NodeLabel {
            node: name.to_string(),
        };
        for (id, neighbour) in &neighbourhood.linked {
            let shown = self.shown.get(id);
            if shown.is_none_or(|(name, _)| *name != neighbour.name) {
                let name = neighbour.name.clone();
                let gauge = outbox_bytes.get_or_create(&label(&name)).clone();
                self.shown.insert(*id, (name, gauge));
            }
        }
        let forwarder = &self.forwarder;
        let is_shown =
            |id: &NodeId| neighbourhood.linked.contains_key(id) || forwarder.waiting_bytes(*id) > 0;
        let gone = self.shown.extract_if(.., |id, _| !is_shown(id));
        let gone: Vec<NodeName> = gone.map(|(_, (name, _))| name).collect();
        // Another node may have taken the name over.
        for name in gone {
            if self.shown.values().all(|(known, _)| *known != name) {
                outbox_bytes.remove(&label(&name));
            }
        }
    }

    fn take(&mut self, traffic: Traffic) {
        if traffic.frame.kind == FrameKind::RECORDS {
            return self.incoming.take(traffic);
        }
        let Some(acks) = Acks::read(&traffic.frame.payload) else {
            let why = "unreadable acknowledgements".to_owned();
            return traffic.link.close(CloseReason::Protocol(why));
        };
        let (from, link) = (traffic.from, traffic.link.link());
        self.tell(ForwardInput::Acks { from, link, acks });
    }

    fn act(&mut self) {
        for output in self.out.drain(..) {
            match output {
                ForwardOutput::Send { to, link, payload } => {
                    let handle = self.links.get(&to).filter(|handle| handle.link() == link);
                    let Some(handle) = handle else { continue };
                    // What goes nowhere is sent again when the link's end is known.
                    match handle.send(FrameKind::RECORDS, payload) {
                        Ok(()) | Err(SendError::Closed) => {}
                        Err(SendError::Full | SendError::Impossible) => {
                            handle.close(CloseReason::NotReady);
                        }
                    }
                }
                ForwardOutput::Store(parcel) => {
                    self.lasting.post.let_go(parcel.batch.n_positions());
                    self.lasting.store.submit(parcel.batch, parcel.token);
                }
                ForwardOutput::Settle {
                    token,
                    n_positions,
                    is_durable,
                } => {
                    let metrics = &self.lasting.metrics;
                    self.lasting.post.let_go(n_positions);
                    if is_durable {
                        metrics.forwarded.inc_by("out", n_positions as u64);
                        token.settle(Verdict::Durable);
                    } else {
                        let reason = RefuseReason::Lost;
                        metrics.refused.inc_by(reason.as_str(), n_positions as u64);
                        token.settle(Verdict::Refused(reason));
                    }
                }
                ForwardOutput::Close { peer, link } => {
                    let handle = self.links.get(&peer).filter(|handle| handle.link() == link);
                    if let Some(handle) = handle {
                        let why = "acknowledges records that were not sent".to_owned();
                        handle.close(CloseReason::Protocol(why));
                    }
                }
            }
        }
    }

    fn show(&mut self) {
        let (metrics, forwarder) = (&self.lasting.metrics, &self.forwarder);
        self.lasting.post.show_closed(forwarder.closed());
        metrics.closed.set(forwarder.closed().len() as i64);
        for (id, (_, gauge)) in &self.shown {
            gauge.set(forwarder.waiting_bytes(*id) as i64);
        }
        let n_rerouted = forwarder.n_rerouted();
        metrics.rerouted.inc_by(n_rerouted - self.n_rerouted);
        self.n_rerouted = n_rerouted;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.to_tokio()).await,
        None => std::future::pending().await,
    }
}
