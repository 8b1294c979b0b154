//! The task itself: what comes in goes to the core in the order in which it came, and what the core
//! says is done before anything else comes in.

use std::{
    collections::BTreeMap, fmt, io, net::TcpListener, ops::ControlFlow, sync::Arc, time::Duration,
};

use tokio::sync::{Mutex, broadcast, mpsc, watch};

use super::{
    count::Counted,
    handle::{
        ClusterHandle, ClusterMembers, ClusterState, Command, DiscoveryReport, PingError,
        Subscription,
    },
    translate,
};
use crate::{
    base::{
        task::{TaskGroup, keep_running},
        time::Instant,
    },
    cluster::{
        net::{
            Admission, Admittance, Caller, DialTo, LinkEvent, LinkHandle, Links, LinksConfig,
            sockets::{DiscoverySockets, SocketEvent, SocketsConfig},
        },
        proto::{
            Cluster, ClusterConfig, ClusterEvent, ClusterInput, ClusterOutput, Incarnation, LinkId,
            MemberState, MemberView, NodeName,
            link::{frame::FrameKind, hello::Hello, keys::LinkKeys, outcome::CloseReason},
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
    /// See there.
    pub keep_incarnation: KeepIncarnation,
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
struct Lasting {
    parts: ClusterParts,
    commands: Mutex<mpsc::Receiver<Command>>,
    state: watch::Sender<ClusterState>,
    changes: broadcast::Sender<ClusterEvent>,
    handle: ClusterHandle,
    /// Counts starts from here, once the core has said so.
    incarnation: std::sync::Mutex<Incarnation>,
}

/// Starts the cluster as a task of `tasks`, which ends when [`ClusterHandle::leave`] is called.
pub fn start(parts: ClusterParts, tasks: &TaskGroup) -> ClusterHandle {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let state = watch::Sender::new(ClusterState {
        epoch: crate::cluster::proto::Epoch(0),
        name_taken_by: None,
        is_formed: false,
    });
    let handle = ClusterHandle::new(sender, state.subscribe());
    let lasting = Arc::new(Lasting {
        incarnation: std::sync::Mutex::new(parts.core.card.incarnation),
        commands: Mutex::new(commands),
        changes: broadcast::channel(CHANGES_MAX).0,
        handle: handle.clone(),
        state,
        parts,
    });
    let task_metrics = lasting.parts.task_metrics.clone();
    let running = keep_running(
        move || run(Arc::clone(&lasting)),
        move || task_metrics.panics.inc("cluster"),
    );
    // The handle is not needed: the group awaits the task.
    drop(tasks.spawn("cluster", running));
    handle
}

/// Drives a core until the node leaves; anew where the core asks for another incarnation.
async fn run(lasting: Arc<Lasting>) {
    let mut commands = lasting.commands.lock().await;
    loop {
        let mut driver = match Driver::start(Arc::clone(&lasting)) {
            Ok(driver) => driver,
            Err(error) => {
                tracing::error!(%error, "the link port cannot be listened on");
                return;
            }
        };
        let end = driver.serve(&mut commands).await;
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
enum End {
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

struct Driver {
    lasting: Arc<Lasting>,
    core: Cluster,
    sockets: DiscoverySockets,
    links: Links,
    link_events: mpsc::Receiver<LinkEvent>,
    /// Links that stand, as far as the core knows of them.
    handles: BTreeMap<LinkId, LinkHandle>,
    /// What heartbeats carry, for links that come.
    heartbeat: bytes::Bytes,
    out: Vec<ClusterOutput>,
    is_formed: bool,
    /// Set once the core wants to start anew.
    is_outdated: bool,
    counted: Counted,
    counted_at: Instant,
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
        let links_config = LinksConfig::new(hello, parts.keys.clone());
        let doorkeeper = Arc::new(Doorkeeper(lasting.handle.clone()));
        let (links, link_events) = Links::new(links_config, doorkeeper, parts.link_metrics.clone());
        for listener in &parts.listeners {
            let listener = listener.try_clone()?;
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
            heartbeat: bytes::Bytes::new(),
            out: Vec::new(),
            is_formed: false,
            is_outdated: false,
            counted: Counted::new(parts.metrics.clone()),
            counted_at: now,
            lasting,
        })
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        let mut datagrams = Vec::new();
        let mut events = Vec::new();
        self.tell(ClusterInput::Tick);
        loop {
            if self.is_outdated {
                return End::Again;
            }
            let wake_at = self.core.next_deadline().map(Instant::to_tokio);
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
                    events.drain(..).for_each(|event| self.on_link(event));
                }
                () = self.sockets.recv(&mut datagrams) => {
                    datagrams.drain(..).for_each(|event| self.on_socket(event));
                }
                () = sleep_until(wake_at) => self.tell(ClusterInput::Tick),
            }
            self.publish();
        }
    }

    /// Hands one thing to the core and does what it says.
    fn tell(&mut self, input: ClusterInput) {
        let mut out = std::mem::take(&mut self.out);
        self.core.handle(Instant::now(), input, &mut out);
        self.act(&mut out);
        self.out = out;
    }

    fn act(&mut self, out: &mut Vec<ClusterOutput>) {
        out.drain(..).for_each(|output| self.carry_out(output));
    }

    fn carry_out(&mut self, output: ClusterOutput) {
        match output {
            ClusterOutput::SendBeacon { bytes, .. } => self.sockets.send(&bytes),
            ClusterOutput::Reopen(place) => self.sockets.reopen(place),
            ClusterOutput::Rejoin(place) => self.sockets.rejoin(place),
            ClusterOutput::Dial {
                address,
                dial,
                patience,
                ..
            } => self.links.dial(dial, DialTo::Address(address), patience),
            ClusterOutput::DialName {
                name,
                dial,
                patience,
            } => self.links.dial(dial, DialTo::Name(name), patience),
            ClusterOutput::CloseLink { link, reason } => {
                if let Some(handle) = self.handles.remove(&link) {
                    handle.close(translate::close_reason(reason));
                }
            }
            ClusterOutput::SendFrame { link, message } => {
                if let Some(handle) = self.handles.get(&link) {
                    send_members(handle, message.into_bytes());
                }
            }
            ClusterOutput::SetHeartbeat { bytes } => {
                for handle in self.handles.values() {
                    set_heartbeat(handle, bytes.clone());
                }
                self.heartbeat = bytes;
            }
            ClusterOutput::Notify(event) => self.notify(event),
            ClusterOutput::NameTaken { by } => {
                tracing::error!(%by, "name taken: another living node has this node's name; give this one another (--name)");
            }
            ClusterOutput::NameFree => tracing::info!("the name is this node's again"),
            ClusterOutput::KeepIncarnation(incarnation) => self.keep_incarnation(incarnation),
            ClusterOutput::Forgot(id) => tracing::info!(%id, "a member was struck off"),
            ClusterOutput::FirstSeriesOver => self.is_formed = true,
        }
    }

    fn notify(&self, event: ClusterEvent) {
        match &event {
            ClusterEvent::NodeUp(node) => {
                tracing::info!(node = %node.name, id = %node.id, incarnation = node.incarnation.0, "node up");
            }
            ClusterEvent::NodeDown(node, reason) => {
                tracing::warn!(node = %node.name, id = %node.id, %reason, "node down");
            }
            ClusterEvent::Epoch { epoch, .. } => {
                tracing::debug!(%epoch, "the storing members changed")
            }
        }
        // An error means that nobody listens.
        let _nobody = self.lasting.changes.send(event);
    }

    fn keep_incarnation(&mut self, incarnation: Incarnation) {
        match (self.lasting.parts.keep_incarnation)(incarnation) {
            Ok(()) => {
                *self
                    .lasting
                    .incarnation
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = incarnation;
                tracing::warn!(
                    incarnation = incarnation.0,
                    "others know a later start of this node than its data folder; starts are counted from there"
                );
                self.is_outdated = true;
            }
            Err(error) => {
                tracing::error!(%error, incarnation = incarnation.0, "a later count of starts cannot be written down");
            }
        }
    }

    fn on_socket(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::Opened(place) => self.tell(ClusterInput::SocketOpened(place)),
            SocketEvent::Closed(place) => self.tell(ClusterInput::SocketClosed(place)),
            SocketEvent::Datagram(datagram) => self.tell(ClusterInput::Datagram {
                bytes: datagram.bytes,
                from: datagram.from,
                interface: datagram.interface,
                transport: datagram.transport,
            }),
            // Counted by the socket.
            SocketEvent::TooLong { place, from } => {
                tracing::trace!(?place, %from, "a datagram is too long for a beacon");
            }
        }
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::LinkUp(new) => {
                set_heartbeat(&new.handle, self.heartbeat.clone());
                self.handles.insert(new.link, new.handle);
                self.tell(ClusterInput::LinkUp {
                    link: new.link,
                    dialled: new.dialled,
                    card: new.card,
                    observed: new.observed,
                });
            }
            LinkEvent::LinkDown { link, reason } => {
                self.handles.remove(&link);
                let reason = translate::link_end(&reason);
                self.tell(ClusterInput::LinkDown { link, reason });
            }
            LinkEvent::LinkQuiet { link } => self.tell(ClusterInput::LinkQuiet { link }),
            LinkEvent::LinkLively { link } => self.tell(ClusterInput::LinkLively { link }),
            LinkEvent::Heartbeat { link, bytes } => {
                self.tell(ClusterInput::Heartbeat { link, bytes });
            }
            LinkEvent::Frame { link, frame } => {
                if frame.kind == FrameKind::MEMBERS {
                    let bytes = frame.payload.clone();
                    self.tell(ClusterInput::MemberFrame { link, bytes });
                }
            }
            LinkEvent::DialFailed { dial, why } => {
                let why = translate::dial_failure(why);
                self.tell(ClusterInput::DialFailed { dial, why });
            }
        }
    }

    fn obey(&mut self, command: Command) -> ControlFlow<End> {
        match command {
            // Who asked may be gone: the answers are for nobody then.
            Command::Members(reply) => drop(reply.send(self.members())),
            Command::Discovery(reply) => drop(reply.send(self.report())),
            Command::Subscribe(reply) => drop(reply.send(self.subscription())),
            Command::Ping(name, reply) => {
                let link = self.link_to(&name);
                drop(reply.send(link.map(LinkHandle::ping)));
            }
            Command::Admit(caller, reply) => drop(reply.send(self.admit(&caller))),
            Command::Pause => self.tell(ClusterInput::Pause),
            Command::Resume => self.tell(ClusterInput::Resume),
            Command::Dial(peer) => self.tell(ClusterInput::DialAddress(peer)),
            Command::Forget(whom, reply) => {
                let n_before = self.core.members().len();
                self.tell(ClusterInput::Forget(whom));
                let is_gone = self.core.members().len() < n_before;
                // Who asked may be gone.
                let _nobody = reply.send(is_gone);
            }
            Command::Health { is_storing } => self.tell(ClusterInput::Health { is_storing }),
            Command::Leave(done) => {
                self.tell(ClusterInput::Leave);
                return ControlFlow::Break(End::Left(done));
            }
        }
        ControlFlow::Continue(())
    }

    fn members(&self) -> ClusterMembers {
        ClusterMembers {
            members: self.core.members(),
            epoch: self.core.epoch(),
        }
    }

    fn report(&self) -> DiscoveryReport {
        DiscoveryReport {
            view: self.core.discovery(),
            sockets: self.sockets.status(),
            now: Instant::now(),
        }
    }

    fn subscription(&self) -> Subscription {
        Subscription {
            present: self.core.announced(),
            changes: self.lasting.changes.subscribe(),
        }
    }

    /// The link to the member of a name; of several, to one that lives.
    fn link_to(&self, name: &NodeName) -> Result<&LinkHandle, PingError> {
        let members = self.core.members();
        let named = |member: &&MemberView| member.name == *name && !member.is_self;
        let is_away = |member: &&MemberView| member.state != MemberState::Up;
        let mut found: Vec<&MemberView> = members.iter().filter(named).collect();
        found.sort_by_key(is_away);
        let member = found.first().ok_or(PingError::Unknown)?;
        let link = member.linked.and_then(|link| self.handles.get(&link));
        link.ok_or(PingError::NotLinked)
    }

    fn admit(&mut self, caller: &Caller) -> Admittance {
        let mut out = std::mem::take(&mut self.out);
        let now = Instant::now();
        let answer = self
            .core
            .admit(now, &caller.card, caller.observed, &mut out);
        self.act(&mut out);
        self.out = out;
        match answer {
            Ok(()) => Admittance::Accept,
            Err(refusal) => Admittance::Refuse(translate::refusal(refusal)),
        }
    }

    /// Shows others how things stand now.
    fn publish(&mut self) {
        let state = ClusterState {
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
        if now.since(self.counted_at) >= COUNT_INTERVAL {
            self.counted_at = now;
            let (core, sockets) = (&self.core, &self.sockets);
            self.counted
                .note(&core.counts(), &core.discovery().places, &sockets.status());
            self.counted.note_members(&core.members());
        }
    }
}

fn send_members(handle: &LinkHandle, payload: bytes::Bytes) {
    if let Err(error) = handle.send(FrameKind::MEMBERS, payload) {
        // It has ended, or is closed for taking nothing: its end is on the way.
        tracing::debug!(link = %handle.link(), %error, "what was to be said of members was not sent");
    }
}

fn set_heartbeat(handle: &LinkHandle, payload: bytes::Bytes) {
    if let Err(error) = handle.set_heartbeat(payload) {
        tracing::error!(link = %handle.link(), %error, "a heartbeat is too long");
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
