//! A node as a whole: builds every part, binds all sockets, runs, and drains.
//!
//! Order of a start: data folder locked and this start counted; all sockets bound (so that a port
//! that is taken ends the start before anything is written); store opened, and meanwhile the other
//! nodes looked for, which are told that this one stores nothing yet; vehicles let in; HTTP.
//! Order of a stop: not ready; no more accepts; reads end at a line boundary; the replies that are
//! due leave; store closed cleanly; HTTP last. One grace period covers it, a second signal ends at
//! once.

mod cluster;
mod command;
mod forward;
mod log;
mod run;
mod signals;
mod store;

pub use self::{command::main, signals::Signals};

use std::{io, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    cluster::{Grounds, start_cluster},
    forward::{Forwarding, Ground},
    store::open_and_find,
};
use crate::{
    api::{self, ApiConfig},
    base::{machine, task::TaskGroup, time::Instant},
    cluster::net::secret::SecretError,
    config::AppConfig,
    ingest::{
        BindAddress, Ingest, IngestParts, ListenerConfig,
        listener::{Bound, bind},
    },
    metrics::Metrics,
    node::{
        cluster::ClusterHandle,
        identity::{Identity, IdentityError},
        members_file::MembersError,
        query::{NodeAnswers, Questions},
        status::{Profile, StatusSource},
    },
    protocol::Registry,
    store::{OpenError, Store},
    types::status::Addresses,
};

/// Descriptors kept for everything that is no vehicle's connection.
const DESCRIPTORS_RESERVED: usize = 512;

/// Least time that a store has to close, however much of the grace period is over.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Least time to tell the other nodes of the end, likewise.
const LEAVE_PATIENCE: Duration = Duration::from_millis(500);

/// Why a node did not start, or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The data folder cannot be used. Nothing was changed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Who belonged to the cluster cannot be read. Nothing was changed but the count of starts.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// An address cannot be bound. Nothing was changed but the count of starts.
    #[error(
        "{key}: cannot listen on {address}: {source}{holder}; a second node on this host: \
         waymesh run --name b --data ./b --vehicles :0 --link :0 --http :0"
    )]
    Bind {
        /// The key of the configuration that holds the address.
        key: String,
        /// The address asked for.
        address: String,
        /// What the system said.
        source: io::Error,
        /// Who has it, where that is known; else empty.
        holder: String,
    },
    /// The folder of a part of the store cannot be made or opened.
    #[error("{0}: {1}")]
    Folder(PathBuf, io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The cluster's secret cannot be used. Nothing was changed.
    #[error("secret_file: {0}")]
    Secret(#[from] SecretError),
    /// A setting that only shows here that it cannot be used.
    #[error("{0}: {1}")]
    Setting(&'static str, String),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signal(io::Error),
    /// Log or index could no longer be trusted while running. What was acknowledged is safe; a new
    /// start recovers it.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl AppError {
    /// Whether this ended a node that was running, rather than kept it from starting.
    pub const fn is_failure_while_running(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// A node that takes in vehicles.
#[derive(Debug)]
pub struct App {
    ingest: Ingest,
    cluster: ClusterHandle,
    store: Arc<Store>,
    status: Arc<StatusSource>,
    answers: NodeAnswers,
    grace_period: Duration,
    api_stop: CancellationToken,
    api_tasks: TaskGroup,
    identity: Arc<Identity>,
}

/// All sockets of a node, bound.
struct Sockets {
    vehicles: Vec<Bound>,
    link: Bound,
    http: Bound,
}

impl App {
    /// Starts a node; it takes in vehicles when this returns, on the runtime of `vehicles`. That the process
    /// may open as many descriptors as there may be connections is for the caller to see to.
    ///
    /// # Errors
    /// [`AppError`] says what is in the way.
    pub async fn start(
        config: AppConfig,
        protocols: Registry,
        vehicles: &Handle,
    ) -> Result<Self, AppError> {
        let identity = Arc::new(Identity::open(&config.node.data)?);
        let sockets = bind_all(&config, vehicles)?;
        let addresses = Addresses {
            vehicles: sockets.vehicles.iter().map(Bound::address).collect(),
            link: Some(sockets.link.address()),
            http: Some(sockets.http.address()),
        };
        let metrics = Metrics::with_lost_log_lines(log::n_lost);
        let api_tasks = TaskGroup::new();
        let grounds = Grounds {
            identity: &identity,
            link: sockets.link,
            http: sockets.http.address(),
            metrics: &metrics,
            tasks: &api_tasks,
        };
        let (cluster, traffic) = start_cluster(&config, grounds).await?;
        let store = Arc::new(open_and_find(&config, &metrics, &cluster, vehicles).await?);
        let profile = Profile {
            name: config.node.name.clone(),
            id: identity.id,
            cluster: config.node.cluster.clone(),
            addresses,
        };
        let api_stop = CancellationToken::new();
        let ground = Ground {
            store: &store,
            cluster: &cluster,
            room_bytes: config.ingest.room_bytes as usize,
            metrics: &metrics,
            tasks: &api_tasks,
        };
        let forwarding = Forwarding::start(&ground, traffic.records);
        let ingest = Ingest::new(IngestParts {
            config: config.ingest.clone(),
            protocols,
            vehicles: config.vehicles.clone(),
            route: Arc::new(forwarding.router(&ground)),
            metrics: metrics.ingest.clone(),
            task_metrics: metrics.tasks.clone(),
        });
        forwarding.watch_health(&ground, api_stop.clone());
        log_start(&profile, identity.incarnation);
        let status = Arc::new(StatusSource::new(
            profile,
            cluster.clone(),
            Arc::clone(&store),
            ingest.clone(),
            metrics,
        ));
        let parts = (Arc::clone(&store), Arc::clone(&status), cluster.clone());
        let questions = Questions::new(traffic.questions, &api_tasks, &api_stop);
        let app = Self {
            ingest,
            cluster,
            status,
            answers: NodeAnswers::new(parts, questions),
            store,
            grace_period: config.node.grace_period,
            api_stop,
            api_tasks,
            identity,
        };
        app.serve_api(sockets.http);
        app.let_vehicles_in(sockets.vehicles, vehicles, config.ingest.all_listeners());
        Ok(app)
    }

    /// The node about itself.
    pub fn status(&self) -> crate::types::status::NodeStatus {
        use crate::api::Answers as _;
        self.answers.status()
    }

    /// The other nodes: to ask, to order, and to be told of changes.
    pub const fn cluster(&self) -> &ClusterHandle {
        &self.cluster
    }

    /// Runs until one of the `signals` asks for the end (then drains), or the store fails.
    ///
    /// # Errors
    /// [`AppError::Failed`] if the store failed.
    pub async fn run(self, mut signals: Signals) -> Result<(), AppError> {
        let mut failure = self.store.failure();
        let failed = async {
            match failure.wait_for(Option::is_some).await {
                Ok(why) => why.clone().unwrap_or_default(),
                Err(_) => "the store is gone".to_owned(),
            }
        };
        let outcome = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "stopping; a second signal ends at once");
                Ok(())
            }
            why = failed => {
                tracing::error!(why, "the store failed; stopping; a signal ends at once");
                Err(AppError::Failed(why))
            }
        };
        self.end(&mut signals).await;
        outcome
    }

    /// Stops in order, unless one more of the `signals` comes.
    async fn end(self, signals: &mut Signals) {
        tokio::select! {
            () = self.stop() => {}
            signal = signals.next() => {
                tracing::warn!(signal, "ended at once; what was not acknowledged will be sent again");
            }
        }
        self.let_go().await;
    }

    /// Drops the node where that holds up nobody: the index syncs when it is dropped, also one whose
    /// store has failed, and a disk that hangs must not keep the process from ending.
    async fn let_go(self) {
        let dropping = tokio::task::spawn_blocking(move || drop(self));
        if timeout(CLOSE_PATIENCE, dropping).await.is_err() {
            tracing::warn!("the disk does not answer; the next start goes on where the store was");
        }
    }

    /// Drains and stops everything; one grace period covers vehicles and HTTP.
    pub async fn stop(&self) {
        self.status.note_draining();
        // Others take over before this store closes. If the cluster is gone, nobody has to.
        let _gone = self.cluster.note_health(false).await;
        let deadline = Instant::now() + self.grace_period;
        if timeout_at(deadline.to_tokio(), self.ingest.drain())
            .await
            .is_err()
        {
            tracing::warn!("the grace period is over; the remaining connections are cut");
        }
        self.close_store(deadline).await;
        let left = timeout_at(at_least(deadline, LEAVE_PATIENCE), self.cluster.leave());
        if left.await.is_err() {
            tracing::warn!("the other nodes could not be told within the grace period");
        }
        self.api_stop.cancel();
        if timeout_at(deadline.to_tokio(), self.api_tasks.wait_empty())
            .await
            .is_err()
        {
            tracing::warn!("HTTP did not end within the grace period");
        }
        tracing::info!(incarnation = self.identity.incarnation, "stopped");
    }

    /// A store whose disk hangs is left as it is: the thread that waits for it holds it, so that nobody
    /// else waits when it is dropped, and the process ends without it.
    async fn close_store(&self, deadline: Instant) {
        let store = Arc::clone(&self.store);
        let closing = tokio::task::spawn_blocking(move || store.close());
        match timeout_at(at_least(deadline, CLOSE_PATIENCE), closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the store could not be closed cleanly"),
            Err(_) => tracing::warn!(
                "the store did not close within the grace period; the next start goes on where it was"
            ),
        }
    }

    fn let_vehicles_in(&self, bound: Vec<Bound>, runtime: &Handle, listeners: Vec<ListenerConfig>) {
        let _on_vehicles = runtime.enter();
        for (bound, listener) in bound.into_iter().zip(listeners) {
            self.ingest.listen(bound, listener);
        }
    }

    fn serve_api(&self, http: Bound) {
        let config = ApiConfig {
            grace_period: self.grace_period,
            ..ApiConfig::default()
        };
        let answers = &self.answers;
        for socket in http.into_sockets() {
            let answers = answers.clone();
            let (stop, metrics) = (self.api_stop.clone(), self.status.task_metrics().clone());
            let serving = api::serve(socket, answers, config, stop, metrics);
            // The handle is not needed: the group awaits the task.
            drop(self.api_tasks.spawn("http", serving));
        }
    }
}

/// The deadline, or that far from now if that is later.
fn at_least(deadline: Instant, patience: Duration) -> tokio::time::Instant {
    deadline.max(Instant::now() + patience).to_tokio()
}

fn log_start(profile: &Profile, incarnation: u64) {
    let addresses = &profile.addresses;
    for address in &addresses.vehicles {
        tracing::info!(%address, "listening for vehicles");
    }
    if let Some(address) = addresses.http {
        tracing::info!(%address, "listening for HTTP");
    }
    let (name, id, cluster) = (&profile.name, profile.id, &profile.cluster);
    tracing::info!(name, %id, cluster, incarnation, "node started");
}

fn bind_all(config: &AppConfig, on_vehicles: &Handle) -> Result<Sockets, AppError> {
    let mut vehicles = Vec::new();
    let guard = on_vehicles.enter();
    for (idx, listener) in config.ingest.all_listeners().iter().enumerate() {
        let key = if idx == 0 {
            "vehicles".to_owned()
        } else {
            format!("listener[{}]", idx - 1)
        };
        vehicles.push(bind_named(&key, listener.address)?);
    }
    drop(guard);
    Ok(Sockets {
        vehicles,
        link: bind_named("link", config.node.link)?,
        http: bind_named("http", BindAddress::One(config.http.address))?,
    })
}

fn bind_named(key: &str, address: BindAddress) -> Result<Bound, AppError> {
    bind(address).map_err(|source| {
        let holder = match machine::holder_of_port(address.port()) {
            Some(holder) if source.kind() == io::ErrorKind::AddrInUse => {
                format!(" (held by {holder})")
            }
            _ => String::new(),
        };
        AppError::Bind {
            key: key.to_owned(),
            address: address.to_string(),
            source,
            holder,
        }
    })
}

/// Lowers the number of connections to what the process may open, and says so; makes room for as many.
/// To be called before there are threads.
fn make_room_for_connections(config: &mut AppConfig) {
    if let Some(limit) = machine::raise_descriptor_limit() {
        lower_connections(config, limit);
    }
    let n_connections = config.ingest.n_connections_max.get() as usize;
    machine::make_room_for_descriptors(n_connections + DESCRIPTORS_RESERVED);
}

fn lower_connections(config: &mut AppConfig, limit: usize) {
    let n_possible = limit.saturating_sub(DESCRIPTORS_RESERVED).max(1);
    let n_asked = config.ingest.n_connections_max;
    let n_possible = u32::try_from(n_possible)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(n_asked);
    if n_asked > n_possible {
        tracing::warn!(
            max_connections = n_possible,
            asked = n_asked,
            descriptor_limit = limit,
            "fewer connections than configured: the descriptor limit is lower (ulimit -n)"
        );
        config.ingest.n_connections_max = n_possible;
    }
}

/// Hands the message and place of every panic to the log; those of line buffers go to their
/// supervisor, which says them at a limited rate.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        if !crate::ingest::note_panic(&format!("{message} at {place}")) {
            tracing::error!(message, place, "a task panicked; this is a bug");
        }
    }));
}
