//! What the rest of the node holds of the cluster: it asks and orders, and is told what changes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{memory::Kept, neighbours::Neighbourhood};
use crate::{
    base::time::Instant,
    cluster::{
        net::{Admittance, Caller, sockets::PlaceStatus},
        proto::{
            ClusterEvent, DiscoveryView, Epoch, Forgotten, Incarnation, MemberView, NodeEvent,
            NodeName, PeerAddress,
        },
    },
};

/// How long a node has to answer a ping.
const PING_PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take to write down that a member is struck off.
const KEEP_PATIENCE: Duration = Duration::from_secs(2);

/// The cluster as one value that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterState {
    /// Number of this node's start, as others know it.
    pub incarnation: Incarnation,
    /// Digest of the storing members.
    pub epoch: Epoch,
    /// Link address of another living node that has this node's name: then this one is not ready.
    pub name_taken_by: Option<SocketAddr>,
    /// Whether the first search is over: who can be found at once has been found.
    pub is_formed: bool,
}

/// All members at one moment.
#[derive(Debug, Clone)]
pub struct ClusterMembers {
    /// In order of identity, this node included.
    pub members: Vec<MemberView>,
    /// Digest of those that store.
    pub epoch: Epoch,
}

/// Why nodes find each other, or do not, at one moment.
#[derive(Debug, Clone)]
pub struct DiscoveryReport {
    /// What the core heard and did.
    pub view: DiscoveryView,
    /// The sockets, those that could not be opened included.
    pub sockets: Vec<PlaceStatus>,
    /// The clock that the moments in `view` are of.
    pub now: Instant,
}

/// What a new subscriber gets: first who is there, then each change once.
#[derive(Debug)]
pub struct Subscription {
    /// The members that are up, this node first.
    pub present: Vec<NodeEvent>,
    /// What changes from then on. A subscriber that is too slow is told that it missed some, and
    /// subscribes anew.
    pub changes: broadcast::Receiver<ClusterEvent>,
}

/// The task that owns the cluster has ended, or is being started anew. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster is not there; ask again in a moment")]
pub struct ClusterGone;

/// Why a node could not be pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// No member has this name.
    #[error("no member has this name")]
    Unknown,
    /// There is no link to it.
    #[error("there is no link to it")]
    NotLinked,
    /// It did not answer in time.
    #[error("it did not answer within 2 s")]
    TimedOut,
    /// See there.
    #[error(transparent)]
    Gone(#[from] ClusterGone),
}

/// What a handle asks of the driver.
#[derive(Debug)]
pub(super) enum Command {
    Members(oneshot::Sender<ClusterMembers>),
    Discovery(oneshot::Sender<DiscoveryReport>),
    Subscribe(oneshot::Sender<Subscription>),
    Ping(
        NodeName,
        oneshot::Sender<Result<oneshot::Receiver<Duration>, PingError>>,
    ),
    Admit(Caller, oneshot::Sender<Admittance>),
    Pause,
    Resume,
    Dial(PeerAddress),
    /// Gives the number of the set of members without them, if there were any.
    Forget(Forgotten, oneshot::Sender<Option<u64>>),
    Health {
        is_storing: bool,
    },
    Leave(oneshot::Sender<()>),
}

/// Asks and orders; cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterHandle {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<ClusterState>,
    neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
    kept: Kept,
}

impl ClusterHandle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        neighbourhood: watch::Receiver<Arc<Neighbourhood>>,
        state: watch::Receiver<ClusterState>,
        kept: Kept,
    ) -> Self {
        Self {
            commands,
            state,
            neighbourhood,
            kept,
        }
    }

    /// Who owns what and which links lead where, now and as it changes.
    pub fn neighbourhood(&self) -> watch::Receiver<Arc<Neighbourhood>> {
        self.neighbourhood.clone()
    }

    /// The cluster now.
    pub fn state(&self) -> ClusterState {
        *self.state.borrow()
    }

    /// The cluster as it changes.
    pub fn changes(&self) -> watch::Receiver<ClusterState> {
        self.state.clone()
    }

    /// Waits until the first search is over. Cancel safe.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn formed(&self) -> Result<(), ClusterGone> {
        let mut state = self.state.clone();
        let formed = state.wait_for(|state| state.is_formed).await;
        formed.map(drop).map_err(|_| ClusterGone)
    }

    /// All members.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn members(&self) -> Result<ClusterMembers, ClusterGone> {
        self.ask(Command::Members).await
    }

    /// What discovery heard and did.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn discovery(&self) -> Result<DiscoveryReport, ClusterGone> {
        self.ask(Command::Discovery).await
    }

    /// Who is there, and each change from then on.
    ///
    /// A node sees itself first, then the others come and go. Here the second node is given the first
    /// one's address; on a LAN the two would find each other.
    ///
    /// ```
    /// # use std::{error::Error, path::Path};
    /// # use tokio::runtime::Handle;
    /// # use waymesh::{
    /// #     app::App,
    /// #     cluster::net::secret::write_new,
    /// #     config::{Environment, Overlay, Sources, load},
    /// #     protocol::Registry,
    /// # };
    /// use waymesh::cluster::proto::{ClusterEvent, DownReason};
    ///
    /// # async fn start(folder: &Path, name: &str, peers: &str) -> Result<App, Box<dyn Error>> {
    /// #     let text = |path: &str| folder.join(path).to_str().map(str::to_owned);
    /// #     let any = || Some("127.0.0.1:0".to_owned());
    /// #     let loaded = load(&Sources {
    /// #         environment: Environment::from_iter([
    /// #             ("WAYMESH_DISCOVERY__TRANSPORTS", "static"),
    /// #             ("WAYMESH_DISCOVERY__PEERS", peers),
    /// #         ]),
    /// #         overlay: Overlay {
    /// #             name: Some(name.to_owned()),
    /// #             secret_file: text("secret"),
    /// #             data: text(name),
    /// #             vehicles: any(),
    /// #             link: any(),
    /// #             http: any(),
    /// #             ..Overlay::default()
    /// #         },
    /// #         ..Sources::default()
    /// #     })?;
    /// #     let here = Handle::current();
    /// #     Ok(App::start(loaded.config, Registry::built_in(), &here).await?)
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # write_new(&folder.path().join("secret"))?;
    /// let north = start(folder.path(), "north", "").await?;
    /// let mut subscription = north.cluster().subscribe().await?;
    /// let present: Vec<&str> = subscription.present.iter().map(|node| node.name.as_str()).collect();
    /// assert_eq!(present, ["north"], "itself first");
    ///
    /// # let link = north.status().addresses.link.ok_or("no link port")?;
    /// let south = start(folder.path(), "south", &link.to_string()).await?;
    /// let node = loop {
    ///     if let ClusterEvent::NodeUp(node) = subscription.changes.recv().await? {
    ///         break node;
    ///     }
    /// };
    /// assert_eq!(node.name.as_str(), "south");
    ///
    /// south.stop().await;
    /// let (node, reason) = loop {
    ///     if let ClusterEvent::NodeDown(node, reason) = subscription.changes.recv().await? {
    ///         break (node, reason);
    ///     }
    /// };
    /// assert_eq!((node.name.as_str(), reason), ("south", DownReason::Left));
    /// # north.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn subscribe(&self) -> Result<Subscription, ClusterGone> {
        self.ask(Command::Subscribe).await
    }

    /// How long the way to a member and back takes.
    ///
    /// # Errors
    /// [`PingError`] says why it cannot be told.
    pub async fn ping(&self, name: NodeName) -> Result<Duration, PingError> {
        let answer = self.ask(|reply| Command::Ping(name, reply)).await??;
        match tokio::time::timeout(PING_PATIENCE, answer).await {
            Ok(Ok(took)) => Ok(took),
            Ok(Err(_)) => Err(PingError::NotLinked),
            Err(_) => Err(PingError::TimedOut),
        }
    }

    /// Sends no PING until [`resume`](Self::resume); answers and accepts as before.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn pause(&self) -> Result<(), ClusterGone> {
        self.tell(Command::Pause).await
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn resume(&self) -> Result<(), ClusterGone> {
        self.tell(Command::Resume).await
    }

    /// Dials a peer now, and remembers it until the stop.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn dial(&self, peer: PeerAddress) -> Result<(), ClusterGone> {
        self.tell(Command::Dial(peer)).await
    }

    /// Strikes off members that are away; false if there is none such. Returns when that is on disk,
    /// or the disk has refused it for a while, which is logged.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn forget(&self, whom: Forgotten) -> Result<bool, ClusterGone> {
        let forgotten = self.ask(|reply| Command::Forget(whom, reply)).await?;
        if let Some(number) = forgotten {
            // It is struck off at any rate, and written as soon as the disk takes it.
            let _is_kept = self.kept.clone().wait(number, KEEP_PATIENCE).await;
        }
        Ok(forgotten.is_some())
    }

    /// Tells the others whether this node's store takes records.
    ///
    /// # Errors
    /// [`ClusterGone`].
    pub async fn note_health(&self, is_storing: bool) -> Result<(), ClusterGone> {
        self.tell(Command::Health { is_storing }).await
    }

    /// Says goodbye to all and closes the links; returns when that is done.
    pub async fn leave(&self) {
        // If it is gone already there is nobody to say goodbye.
        let _done = self.ask(Command::Leave).await;
    }

    /// Whether a caller on the link port is welcome.
    pub(super) async fn admit(&self, caller: Caller) -> Result<Admittance, ClusterGone> {
        self.ask(|reply| Command::Admit(caller, reply)).await
    }

    async fn tell(&self, command: Command) -> Result<(), ClusterGone> {
        self.commands.send(command).await.map_err(|_| ClusterGone)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ClusterGone> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.map_err(|_| ClusterGone)
    }
}
