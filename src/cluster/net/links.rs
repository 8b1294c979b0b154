//! All links of a node: how they are asked for, and what they tell.
//!
//! Whoever owns [`Links`] gives orders and reads one channel of [`LinkEvent`]s. Of each link it
//! first hears [`LinkEvent::LinkUp`], then everything else, and last, exactly once,
//! [`LinkEvent::LinkDown`]. Who is welcome it says through [`Admission`].

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    accept, dial,
    handshake::Identity,
    link::{LinkHandle, Received},
    resolve::Resolver,
    tcp::FileNumbers,
};
use crate::{
    base::{rate::RateLimit, task::TaskGroup},
    cluster::proto::{
        DialId, LinkId, NodeCard,
        link::{
            hello::{ConnectMode, Hello},
            keys::LinkKeys,
            outcome::{CloseReason, DialFailure, LinkEnd},
            outgoing::OutgoingLimits,
            silence::LinkTiming,
        },
    },
    metrics::names::LinkMetrics,
};

/// Settings of the links.
#[derive(Debug, Clone)]
pub struct LinksConfig {
    /// Who this node is.
    pub hello: Hello,
    /// The first dials, all are accepted; at least one.
    pub keys: Vec<LinkKeys>,
    /// Heartbeats and silence.
    pub timing: LinkTiming,
    /// How long a connection may take to become a link; default 2 s.
    pub handshake_timeout: Duration,
    /// How long the other end may take nothing of what is written; default 5 s.
    pub write_timeout: Duration,
    /// Connections at once of which nobody knows who they are; default 256. At the cap the oldest
    /// gives way, so that strangers who say nothing keep nobody out.
    pub pending_max: usize,
    /// What may wait to be written.
    pub limits: OutgoingLimits,
    /// Bytes of records that the other end may have under way or held here; default 1 MiB.
    pub records_window_bytes: u32,
    /// The same for questions and answers; default 512 KiB.
    pub bulk_window_bytes: u32,
    /// Events that may wait for their reader; default 1,024. When it is full, links are not read.
    pub events_max: usize,
    /// Numbers of their sockets; default any.
    pub numbers: FileNumbers,
}

/// Who is at the other end of a connection that may become a link.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it says it is. It has shown the secret, so it is a node of this cluster.
    pub card: NodeCard,
    /// Address of the other end of the connection.
    pub observed: SocketAddr,
    /// The dial that it came of; absent where the other end dialled.
    pub dialled: Option<DialId>,
}

/// Whether a caller is welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admittance {
    /// He is.
    Accept,
    /// He is not, and is told why.
    Refuse(CloseReason),
}

/// Says who is welcome. Asked once for each connection on which the other end has said who it is,
/// dialled or called, and before it is told anything of this node if it called.
///
/// A closure that answers at once is one, too.
pub trait Admission: Send + Sync {
    /// Whether a caller is welcome; may take its time within the deadline of the handshake, for
    /// example to ask the holder of a name whether it lives.
    fn judge(&self, caller: Caller) -> Pin<Box<dyn Future<Output = Admittance> + Send + '_>>;
}

impl<F> Admission for F
where
    F: Fn(&Caller) -> Admittance + Send + Sync,
{
    fn judge(&self, caller: Caller) -> Pin<Box<dyn Future<Output = Admittance> + Send + '_>> {
        Box::pin(std::future::ready(self(&caller)))
    }
}

/// What happened to a link or a dial.
#[derive(Debug)]
pub enum LinkEvent {
    /// A link stands: both ends have shown the secret and said who they are.
    LinkUp(Box<NewLink>),
    /// A link is gone; the last that is heard of it.
    LinkDown {
        /// Which.
        link: LinkId,
        /// How it ended.
        reason: LinkEnd,
        /// How long nothing had been heard, of the time in which we listened.
        silence: Duration,
    },
    /// Nothing was heard for a second in which we listened.
    LinkQuiet {
        /// Which.
        link: LinkId,
    },
    /// A quiet link was heard again.
    LinkLively {
        /// Which.
        link: LinkId,
    },
    /// What heartbeats of the other end carry has changed.
    Heartbeat {
        /// Of which link.
        link: LinkId,
        /// As it was set over there.
        bytes: Bytes,
    },
    /// A frame came in: of members, records, acknowledgements, questions or answers.
    Frame {
        /// On which link.
        link: LinkId,
        /// What it says.
        frame: Received,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Which.
        dial: DialId,
        /// Why.
        why: DialFailure,
    },
}

/// A link that has come to stand.
#[derive(Debug)]
pub struct NewLink {
    /// Its number.
    pub link: LinkId,
    /// The dial that it came of; absent where the other end dialled.
    pub dialled: Option<DialId>,
    /// Who is at the other end; addresses as this node reaches them.
    pub card: NodeCard,
    /// Which members the other end dials; nobody acts on it in this version.
    pub mode: ConnectMode,
    /// Room for a digest of settings; nobody compares it in this version.
    pub settings: u64,
    /// Name and version of the other end's program.
    pub software: String,
    /// Address of the other end of the connection.
    pub observed: SocketAddr,
    /// Gives orders to it.
    pub handle: LinkHandle,
}

/// Where to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialTo {
    /// An address.
    Address(SocketAddr),
    /// `HOST:PORT`; looked up now, and all its addresses are tried.
    Name(String),
}

/// All links of a node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Links(Arc<Inner>);

/// What all tasks of the links share.
pub(crate) struct Inner {
    pub(crate) config: LinksConfig,
    pub(crate) identity: Identity,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) events: mpsc::Sender<LinkEvent>,
    pub(crate) metrics: LinkMetrics,
    pub(crate) tasks: TaskGroup,
    pub(crate) stop: CancellationToken,
    pub(crate) log_limit: RateLimit,
    /// Of all dials by name.
    pub(super) resolver: Resolver,
}

impl LinksConfig {
    /// The defaults, for a node that is called so and has these keys.
    pub fn new(hello: Hello, keys: Vec<LinkKeys>) -> Self {
        Self {
            hello,
            keys,
            timing: LinkTiming::default(),
            handshake_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(5),
            pending_max: 256,
            limits: OutgoingLimits::default(),
            records_window_bytes: 1024 * 1024,
            bulk_window_bytes: 512 * 1024,
            events_max: 1_024,
            numbers: FileNumbers::default(),
        }
    }
}

impl Links {
    /// No links yet, and the channel on which they will be told of. It must be read, or dropped:
    /// while it is full, no link is read.
    ///
    /// # Panics
    /// If there is no key, or no event may wait.
    pub fn new(
        config: LinksConfig,
        admission: Arc<dyn Admission>,
        metrics: LinkMetrics,
    ) -> (Self, mpsc::Receiver<LinkEvent>) {
        assert!(!config.keys.is_empty(), "links need a key");
        let (events, receiver) = mpsc::channel(config.events_max);
        let inner = Inner {
            identity: Identity {
                hello: config.hello.clone(),
                keys: config.keys.clone(),
            },
            config,
            admission,
            events,
            metrics,
            tasks: TaskGroup::new(),
            stop: CancellationToken::new(),
            log_limit: RateLimit::per_second(2),
            resolver: Resolver::new(),
        };
        (Self(Arc::new(inner)), receiver)
    }

    /// Starts to accept links on a socket that listens.
    pub fn listen(&self, listener: TcpListener) {
        let accepting = accept::accept_all(listener, Arc::clone(&self.0));
        // The handle is not needed: the group awaits the task.
        drop(self.0.tasks.spawn("links", accepting));
    }

    /// Starts to dial. Ends in one [`LinkEvent::LinkUp`] or [`LinkEvent::DialFailed`] with this
    /// number; `patience` is how long a connection may take to open, the handshake's deadline comes
    /// on top.
    pub fn dial(&self, dial: DialId, to: DialTo, patience: Duration) {
        let dialling = dial::run(dial, to, patience, Arc::clone(&self.0));
        drop(self.0.tasks.spawn("dial", dialling));
    }

    /// Accepts and dials no more, closes all links as leaving, and waits until they are closed; a
    /// second or so.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.wait_empty().await;
    }
}

/// What hangs on them ends, also where they are given up without a word, as by a panic.
impl Drop for Links {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

/// The number of a new link; none is used twice by a process, whoever made links before.
pub(crate) fn next_link() -> LinkId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    LinkId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Inner {
    /// Tells the reader of the events; false if there is none any more.
    pub(crate) async fn tell(&self, event: LinkEvent) -> bool {
        self.events.send(event).await.is_ok()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Inner")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
