//! The task itself: what comes in goes to the core in the order in which it came, and what the core
//! says is done before anything else comes in.

use std::{
    collections::BTreeMap, fmt, io, net::TcpListener, ops::ControlFlow, sync::Arc, time::Duration,
};

use tokio::sync::{Mutex, broadcast, mpsc, watch};

use super::{
    act::set_heartbeat,
    count::Counted,
    handle::{ClusterHandle, ClusterState, Command},
    memory::{KeepMembers, Memory},
    neighbours::{LinkTraffic, Neighbour, Neighbourhood, Traffic, TrafficSenders},
    orders::Orders,
};
use crate::{
    base::{
        task::{TaskGroup, keep_running},
        time::Instant,
    },
    cluster::{
        net::{
            Admission, Admittance, Caller, FileNumbers, LinkEvent, LinkHandle, Links, LinksConfig,
            Received, clone_above,
            sockets::{DiscoverySockets, SocketEvent, SocketsConfig},
        },
        proto::{
            Cluster, ClusterConfig, ClusterEvent, ClusterInput, ClusterOutput, Epoch, Haste,
            Incarnation, LinkId,
            link::{frame::FrameKind, hello::Hello, keys::LinkKeys, outcome::CloseReason},
            shard_map::ShardMap,
        },
    },
    metrics::names::{ClusterMetrics, LinkMetrics, TaskMetrics},
};

/// Commands that may wait for the driver; who gives more waits.
const COMMANDS_MAX: usize = 256;

/// Changes that a slow subscriber may be behind.
const CHANGES_MAX: usize = 1_024;

/// Events of links that are worked off in one turn, so that datagrams get their turn.
const LINK_EVENTS_MAX: usize = 64;

/// After so long a link port that could not be listened on is tried again: there may be a descriptor
/// for it by then.
const LISTEN_RETRY: Duration = Duration::from_secs(1);

/// How often the counters are handed to the metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Writes down durably that starts are counted from here.
pub type KeepIncarnation = Arc<dyn Fn(Incarnation) -> io::Result<()> + Send + Sync>;

/// What a cluster is made of.
pub struct ClusterParts {
    /// Settings of the core, with who this node is.
    pub core: ClusterConfig,
    /// Settings of discovery's sockets.
    pub sockets: SocketsConfig,
    /// What this node says when a link begins.
    pub hello: Hello,
    /// Keys of links: the first dials, all are accepted.
    pub keys: Vec<LinkKeys>,
    /// Listening sockets of the link port.
    pub listeners: Vec<TcpListener>,
    /// Numbers of the sockets of links and listeners.
    pub numbers: FileNumbers,
    /// See there.
    pub keep_incarnation: KeepIncarnation,
    /// See there.
    pub keep_members: KeepMembers,
    /// Of links.
    pub link_metrics: LinkMetrics,
    /// Of the cluster.
    pub metrics: ClusterMetrics,
    /// Of tasks that are made anew.
    pub task_metrics: TaskMetrics,
}

impl fmt::Debug for ClusterParts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClusterParts")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// What outlives a driver that panicked.
pub(super) struct Lasting {
    pub(super) parts: ClusterParts,
    commands: Mutex<mpsc::Receiver<Command>>,
    state: watch::Sender<ClusterState>,
    neighbourhood: watch::Sender<Arc<Neighbourhood>>,
    traffic: TrafficSenders,
    pub(super) changes: broadcast::Sender<ClusterEvent>,
    handle: ClusterHandle,
    /// Counts starts from here, once the core has said so.
    pub(super) incarnation: std::sync::Mutex<Incarnation>,
    pub(super) orders: Orders,
    /// The storing members that the core said are to be remembered.
    pub(super) memory: Memory,
}

/// Starts the cluster as a task of `tasks`, which ends when [`ClusterHandle::leave`] is called. Gives
/// what comes in over links for others, too. The other nodes are told that this node's store takes
/// no records until [`ClusterHandle::note_health`] says otherwise.
pub fn start(parts: ClusterParts, tasks: &TaskGroup) -> (ClusterHandle, LinkTraffic) {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let state = watch::Sender::new(ClusterState {
        incarnation: parts.core.card.incarnation,
        epoch: Epoch(0),
        name_taken_by: None,
        is_formed: false,
    });
    let own = parts.core.card.id;
    let neighbourhood = watch::Sender::new(Arc::new(Neighbourhood::alone(own)));
    let (remembered, keep) = (parts.core.remembered.clone(), &parts.keep_members);
    let memory = Memory::start(remembered, Arc::clone(keep), tasks);
    let shown = neighbourhood.subscribe();
    let handle = ClusterHandle::new(sender, shown, state.subscribe(), memory.kept());
    let (traffic, traffic_in) = TrafficSenders::new();
    let lasting = Arc::new(Lasting {
        incarnation: std::sync::Mutex::new(parts.core.card.incarnation),
        orders: Orders::default(),
        memory,
        commands: Mutex::new(commands),
        changes: broadcast::channel(CHANGES_MAX).0,
        handle: handle.clone(),
        state,
        neighbourhood,
        traffic,
        parts,
    });
    let task_metrics = lasting.parts.task_metrics.clone();
    let running = keep_running(
        move || run(Arc::clone(&lasting)),
        move || task_metrics.panics.inc("cluster"),
    );
    // The handle is not needed: the group awaits the task.
    drop(tasks.spawn("cluster", running));
    (handle, traffic_in)
}

/// Drives a core until the node leaves; anew where the core asks for another incarnation.
async fn run(lasting: Arc<Lasting>) {
    let mut commands = lasting.commands.lock().await;
    loop {
        let mut driver = match Driver::start(Arc::clone(&lasting)) {
            Ok(driver) => driver,
            Err(error) => {
                tracing::error!(%error, "the link port cannot be listened on; it is tried again");
                tokio::time::sleep(LISTEN_RETRY).await;
                continue;
            }
        };
        let end = driver.serve(&mut commands).await;
        // Nobody reads any more, and no link is to wait until somebody does.
        driver.link_events.close();
        driver.links.stop().await;
        match end {
            End::Left(done) => {
                // Nobody may wait for it any more.
                let _gone = done.send(());
                return;
            }
            End::Again => {}
            End::Alone => return,
        }
    }
}

/// Why a driver ended.
pub(super) enum End {
    /// The node leaves; to be told when all links are closed.
    Left(tokio::sync::oneshot::Sender<()>),
    /// The core wants to start from another incarnation.
    Again,
    /// Nobody holds a handle any more.
    Alone,
}

/// Asks the core, by way of the driver, who is welcome.
struct Doorkeeper(ClusterHandle);

impl Admission for Doorkeeper {
    fn judge(
        &self,
        caller: Caller,
    ) -> std::pin::Pin<Box<dyn Future<Output = Admittance> + Send + '_>> {
        Box::pin(async move {
            // Whom we dialled is looked at when the link stands.
            if caller.dialled.is_some() {
                return Admittance::Accept;
            }
            let answer = self.0.admit(caller).await;
            answer.unwrap_or(Admittance::Refuse(CloseReason::NotReady))
        })
    }
}

/// Whom it concerns what happened on a link.
enum Happened {
    ForCore(ClusterInput),
    /// A frame of records or of questions.
    Traffic(LinkId, Received),
}

pub(super) struct Driver {
    pub(super) lasting: Arc<Lasting>,
    pub(super) core: Cluster,
    pub(super) sockets: DiscoverySockets,
    pub(super) links: Links,
    link_events: mpsc::Receiver<LinkEvent>,
    /// Links that stand, as far as the core knows of them.
    pub(super) handles: BTreeMap<LinkId, LinkHandle>,
    /// Of the core, when the neighbourhood was last shown.
    shown: Option<(u64, u64)>,
    incarnation: Incarnation,
    /// What heartbeats carry, for links that come.
    pub(super) heartbeat: bytes::Bytes,
    pub(super) out: Vec<ClusterOutput>,
    pub(super) is_formed: bool,
    /// Set once the core wants to start anew.
    pub(super) is_outdated: bool,
    counted: Counted,
    counted_at: Instant,
    /// Something has happened since then.
    is_uncounted: bool,
}

impl Driver {
    fn start(lasting: Arc<Lasting>) -> io::Result<Self> {
        let parts = &lasting.parts;
        let (mut config, mut hello) = (parts.core.clone(), parts.hello.clone());
        let incarnation = *lasting
            .incarnation
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        config.card.incarnation = incarnation;
        hello.card.incarnation = incarnation;
        config.remembered = lasting.memory.members();
        let mut links_config = LinksConfig::new(hello, parts.keys.clone());
        links_config.numbers = parts.numbers;
        let doorkeeper = Arc::new(Doorkeeper(lasting.handle.clone()));
        let (links, link_events) = Links::new(links_config, doorkeeper, parts.link_metrics.clone());
        for listener in &parts.listeners {
            let listener = clone_above(listener, parts.numbers.listeners_min)?;
            links.listen(tokio::net::TcpListener::from_std(listener)?);
        }
        let sockets = DiscoverySockets::open(parts.sockets.clone(), config.seed);
        let now = Instant::now();
        Ok(Self {
            core: Cluster::new(now, config),
            sockets,
            links,
            link_events,
            handles: BTreeMap::new(),
            shown: None,
            incarnation,
            heartbeat: bytes::Bytes::new(),
            out: Vec::new(),
            is_formed: false,
            is_outdated: false,
            counted: Counted::new(parts.metrics.clone()),
            counted_at: now,
            is_uncounted: true,
            lasting,
        })
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        let mut datagrams = Vec::new();
        let mut events = Vec::new();
        self.tell_all(self.lasting.orders.inputs());
        self.publish();
        loop {
            if self.is_outdated {
                return End::Again;
            }
            let count_at = self
                .is_uncounted
                .then_some(self.counted_at + COUNT_INTERVAL);
            let wake_at = self.core.next_deadline().into_iter().chain(count_at).min();
            // Every arm is cancel safe: what was not handed out stays where it is.
            tokio::select! {
                command = commands.recv() => match command {
                    None => return End::Alone,
                    Some(command) => if let ControlFlow::Break(end) = self.obey(command) {
                        return end;
                    },
                },
                n_events = self.link_events.recv_many(&mut events, LINK_EVENTS_MAX) => {
                    // The links hold the other end as long as they are there.
                    if n_events == 0 {
                        return End::Again;
                    }
                    self.on_links(&mut events);
                }
                () = self.sockets.recv(&mut datagrams) => {
                    let inputs: Vec<ClusterInput> = datagrams.drain(..).filter_map(on_socket).collect();
                    self.tell_all(inputs);
                }
                () = sleep_until(wake_at.map(Instant::to_tokio)) => self.tell(ClusterInput::Tick),
            }
            self.publish();
        }
    }

    /// Hands one thing to the core and does what it says.
    pub(super) fn tell(&mut self, input: ClusterInput) {
        self.tell_all([input]);
    }

    fn tell_all(&mut self, inputs: impl IntoIterator<Item = ClusterInput>) {
        let mut out = std::mem::take(&mut self.out);
        self.core.handle_all(Instant::now(), inputs, &mut out);
        self.act(&mut out);
        self.out = out;
    }

    pub(super) fn act(&mut self, out: &mut Vec<ClusterOutput>) {
        out.drain(..).for_each(|output| self.carry_out(output));
    }

    /// Hands on what happened on the links: to the core together, but before anything that is not for
    /// the core, which may be about a link that it has not heard of yet.
    fn on_links(&mut self, events: &mut Vec<LinkEvent>) {
        let mut inputs = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            match self.on_link(event) {
                Happened::ForCore(input) => inputs.push(input),
                Happened::Traffic(link, frame) => {
                    // Records come by the thousand: looking for what is due is not for each of them.
                    if !inputs.is_empty() {
                        self.tell_all(inputs.drain(..));
                    }
                    self.on_traffic(link, frame);
                }
            }
        }
        if !inputs.is_empty() {
            self.tell_all(inputs);
        }
    }

    fn on_link(&mut self, event: LinkEvent) -> Happened {
        Happened::ForCore(match event {
            LinkEvent::LinkUp(new) => {
                set_heartbeat(&new.handle, self.heartbeat.clone(), Haste::AtOnce);
                self.handles.insert(new.link, new.handle);
                ClusterInput::LinkUp {
                    link: new.link,
                    dialled: new.dialled,
                    card: new.card,
                    observed: new.observed,
                }
            }
            LinkEvent::LinkDown {
                link,
                reason,
                silence,
            } => {
                self.handles.remove(&link);
                ClusterInput::LinkDown {
                    link,
                    reason,
                    silence,
                }
            }
            LinkEvent::LinkQuiet { link } => ClusterInput::LinkQuiet { link },
            LinkEvent::LinkLively { link } => ClusterInput::LinkLively { link },
            LinkEvent::Heartbeat { link, bytes } => ClusterInput::Heartbeat { link, bytes },
            LinkEvent::Frame { link, frame } if frame.kind == FrameKind::MEMBERS => {
                let bytes = frame.payload.clone();
                ClusterInput::MemberFrame { link, bytes }
            }
            LinkEvent::Frame { link, frame } => return Happened::Traffic(link, frame),
            LinkEvent::DialFailed { dial, why } => ClusterInput::DialFailed { dial, why },
        })
    }

    fn on_traffic(&mut self, link: LinkId, frame: Received) {
        let traffic = match frame.kind {
            FrameKind::RECORDS | FrameKind::RECORD_ACKS => &self.lasting.traffic.records,
            _ => &self.lasting.traffic.questions,
        };
        let (Some(from), Some(handle)) = (self.core.peer_of(link), self.handles.get(&link)) else {
            return; // A link that is not wanted: whoever sent this sends it again elsewhere.
        };
        let link = handle.clone();
        let sent = traffic.try_send(Traffic { from, link, frame });
        if let Err(mpsc::error::TrySendError::Full(traffic)) = sent {
            tracing::warn!(node = %from, "more comes in than is worked off; its link is closed");
            traffic.link.close(CloseReason::NotReady);
        }
    }

    /// Shows others who owns what and which links lead where, if that is new.
    fn publish_neighbourhood(&mut self) {
        let version = Some(self.core.version());
        if std::mem::replace(&mut self.shown, version) == version {
            return;
        }
        let epoch = self.core.epoch();
        let links = self.core.usable_links();
        self.lasting.neighbourhood.send_if_modified(|before| {
            if before.is_like(epoch, &links) {
                return false;
            }
            let map = self.map_for(epoch, before);
            let linked = links.iter().filter_map(|(id, link)| {
                let name = self.core.name_of(*id)?.clone();
                let link = self.handles.get(link)?.clone();
                Some((*id, Neighbour { name, link }))
            });
            *before = Arc::new(Neighbourhood {
                own: before.own,
                epoch,
                map,
                linked: linked.collect(),
            });
            true
        });
    }

    /// The owners at an epoch, which stands for the storing members.
    fn map_for(&self, epoch: Epoch, before: &Neighbourhood) -> Arc<ShardMap> {
        if before.epoch == epoch {
            return Arc::clone(&before.map);
        }
        let storing = self.core.storing().into_iter();
        let map = before
            .map
            .followed_by(storing.map(|one| (one.name, one.id)));
        let owned = map.n_owned(before.own);
        self.lasting.parts.metrics.owned_shards.set(owned as i64);
        Arc::new(map)
    }

    /// Shows others how things stand now.
    fn publish(&mut self) {
        self.publish_neighbourhood();
        let state = ClusterState {
            incarnation: self.incarnation,
            epoch: self.core.epoch(),
            name_taken_by: self.core.name_taken_by(),
            is_formed: self.is_formed || !self.handles.is_empty(),
        };
        self.lasting.state.send_if_modified(|before| {
            // Once formed it stays so: a search that begins anew forms nothing.
            let state = ClusterState {
                is_formed: state.is_formed || before.is_formed,
                ..state
            };
            let is_new = *before != state;
            *before = state;
            is_new
        });
        let now = Instant::now();
        self.is_uncounted = now.since(self.counted_at) < COUNT_INTERVAL;
        if !self.is_uncounted {
            self.counted_at = now;
            let (core, sockets) = (&self.core, &self.sockets);
            self.counted
                .note(&core.counts(), &core.discovery().places, &sockets.status());
            self.counted.note_members(&core.members());
        }
    }
}

fn on_socket(event: SocketEvent) -> Option<ClusterInput> {
    match event {
        SocketEvent::Opened(place) => Some(ClusterInput::SocketOpened(place)),
        SocketEvent::Closed(place) => Some(ClusterInput::SocketClosed(place)),
        SocketEvent::Datagram(datagram) => Some(ClusterInput::Datagram {
            bytes: datagram.bytes,
            from: datagram.from,
            interface: datagram.interface,
            transport: datagram.transport,
        }),
        // Counted by the socket.
        SocketEvent::TooLong { place, from } => {
            tracing::trace!(?place, %from, "a datagram is too long for a beacon");
            None
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
