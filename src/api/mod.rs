//! HTTP: the contract's calls. Asks through [`Answers`] and knows no other room.
//!
//! ```text
//! accept ─▶ connection (hyper) ─▶ router ─▶ query: checks ─▶ Answers ─▶ JSON
//!                                        ├▶ export: batches ─▶ NDJSON, as fast as the reader reads
//!                                        └▶ live: subscription ─▶ server-sent events
//! ```
//!
//! Invariants:
//! - What was asked is checked before [`Answers`] hears of it; a name of a parameter that is not
//!   known is an error, so that a misspelt filter does not give everything.
//! - A streamed answer that is not whole never ends like a whole one: the connection breaks.
//! - Connections, subscribers, exports, large answers, headers, the wait for an answer and the wait
//!   for a reader have caps.

mod cluster;
mod export;
mod health;
mod live;
mod orders;
mod page;
mod pieces;
mod problem;
mod query;
mod routes;
mod server;
mod write_deadline;

pub use server::{ApiConfig, serve};

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};

use crate::types::{
    cluster::{Discovery, MemberChange, Members, Peer, SearchPhase},
    dial::DialAddress,
    ids::VehicleId,
    record::{Kind, Record},
    status::{NodeStatus, Page, VehicleAnswer},
    time::UnixMillis,
};

/// Answers the questions of the contract; implemented by the node.
pub trait Answers: Clone + Send + Sync + 'static {
    /// This node about itself.
    fn status(&self) -> NodeStatus;

    /// All members as this node sees them, itself included.
    fn nodes(&self) -> impl Future<Output = Result<Members, AnswerError>> + Send;

    /// What [`changes`](Self::changes) gives.
    type Changes: Changes;

    /// Who is there, then each change of the members once; only of those that this node's
    /// `connect_regex` means, unless `is_all`.
    fn changes(
        &self,
        is_all: bool,
    ) -> impl Future<Output = Result<Self::Changes, AnswerError>> + Send;

    /// Why nodes find each other, or do not.
    fn discovery(&self) -> impl Future<Output = Result<Discovery, AnswerError>> + Send;

    /// Stops the active search for nodes, or starts it again; what it does then.
    fn search(
        &self,
        is_active: bool,
    ) -> impl Future<Output = Result<SearchPhase, AnswerError>> + Send;

    /// Dials a peer now, and remembers it until the stop.
    fn dial(&self, address: DialAddress) -> impl Future<Output = Result<Peer, AnswerError>> + Send;

    /// How long the way to the node of this name and back takes.
    fn ping(&self, node: &str) -> impl Future<Output = Result<Duration, AnswerError>> + Send;

    /// Strikes off members that are away: those of this name, or the one with this id.
    fn forget(&self, node: &str) -> impl Future<Output = Result<(), AnswerError>> + Send;

    /// All metrics as Prometheus (OpenMetrics) text.
    fn metrics(&self) -> String;

    /// Last positions in order of vehicle id, at most `limit`, after the vehicle `after`, inside
    /// `bbox` (min lon, min lat, max lon, max lat).
    fn vehicles(
        &self,
        question: VehiclesQuestion,
    ) -> impl Future<Output = Result<Page<Record>, AnswerError>> + Send;

    /// One vehicle.
    fn vehicle(
        &self,
        vehicle: VehicleId,
    ) -> impl Future<Output = Result<VehicleAnswer, AnswerError>> + Send;

    /// Positions of one vehicle in order of time.
    fn track(
        &self,
        question: TrackQuestion,
    ) -> impl Future<Output = Result<Page<Record>, AnswerError>> + Send;

    /// Every record once.
    fn export(
        &self,
        question: ExportQuestion,
    ) -> impl Future<Output = Result<Export, AnswerError>> + Send;

    /// What [`live`](Self::live) gives.
    type Live: LivePositions;

    /// Live positions from now on, in batches as they become durable. `None` when as many
    /// subscribers are connected as may be.
    fn live(&self) -> Option<Self::Live>;
}

/// An export that has begun.
#[derive(Debug)]
pub struct Export {
    /// Batches of records; an `Err` or a sender dropped without the final empty batch means that the
    /// export broke off.
    pub batches: mpsc::Receiver<Result<Vec<Record>, AnswerError>>,
    /// Names of storing nodes whose records are left out; none unless that was allowed.
    pub missing: Vec<String>,
}

/// Live positions, as one subscriber sees them.
pub trait LivePositions: Send + 'static {
    /// The next batch. Cancel safe.
    ///
    /// # Errors
    /// [`LiveGap`]: after a lag it goes on.
    fn next(&mut self) -> impl Future<Output = Result<Arc<[Record]>, LiveGap>> + Send;
}

impl LivePositions for broadcast::Receiver<Arc<[Record]>> {
    async fn next(&mut self) -> Result<Arc<[Record]>, LiveGap> {
        self.recv().await.map_err(|error| match error {
            RecvError::Lagged(n_batches) => LiveGap::Lagged(n_batches),
            RecvError::Closed => LiveGap::Over,
        })
    }
}

/// Why a subscriber of live positions gets no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveGap {
    /// It was too slow, and so many batches are lost.
    Lagged(u64),
    /// The node stops.
    Over,
}

/// What happens to the members, as one subscriber sees it.
pub trait Changes: Send + 'static {
    /// The next change. Cancel safe.
    ///
    /// # Errors
    /// Nothing comes after it: who wants to go on subscribes anew.
    fn next(&mut self) -> impl Future<Output = Result<MemberChange, ChangesEnd>> + Send;
}

/// Why a subscription to changes ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangesEnd {
    /// The subscriber was too slow, and so many changes are lost.
    Lagged(u64),
    /// The node stops, or its cluster was made anew.
    Over,
}

/// Which last positions are asked for.
#[derive(Debug, Clone)]
pub struct VehiclesQuestion {
    /// At most so many, 1 to 10,000.
    pub limit: usize,
    /// Only vehicles after this id; the `next` of the page before, as it is.
    pub after: Option<String>,
    /// Only inside: min lon, min lat, max lon, max lat, in degrees.
    pub bbox: Option<[f64; 4]>,
}

/// Which positions of a vehicle are asked for.
#[derive(Debug, Clone)]
pub struct TrackQuestion {
    /// Of this vehicle.
    pub vehicle: VehicleId,
    /// Not before.
    pub from: Option<UnixMillis>,
    /// Before.
    pub to: Option<UnixMillis>,
    /// At most so many, 1 to 10,000.
    pub limit: usize,
    /// The `next` of the page before, as it is.
    pub after: Option<String>,
}

/// Which records are exported.
#[derive(Debug, Clone)]
pub struct ExportQuestion {
    /// Positions or events.
    pub kind: Kind,
    /// Not before.
    pub from: Option<UnixMillis>,
    /// Before.
    pub to: Option<UnixMillis>,
    /// Of this vehicle only.
    pub vehicle: Option<VehicleId>,
    /// Whether it may begin while storing nodes are missing.
    pub is_partial: bool,
}

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// `after` is no `next` that was given out. The asker's mistake.
    #[error("'after' must be the 'next' of the page before, unchanged")]
    BadCursor,
    /// The index did not catch up within the deadline. Asking again later may work.
    #[error("the index is behind the log; try again")]
    Behind,
    /// The store could not be read; the log has the cause.
    #[error("the store could not be read")]
    Store,
    /// A file of the store is damaged: its name, where, and what to do. Other questions are answered.
    #[error("the store could not be read: {0}")]
    Damaged(String),
    /// The cluster's task is being made anew. Asking again later may work.
    #[error("the cluster is not there at the moment; try again")]
    NoCluster,
    /// No member has this name, nor this id.
    #[error("no node '{0}' is known; GET /v1/nodes lists them")]
    UnknownNode(String),
    /// What is asked about another node makes no sense about the one that is asked.
    #[error("'{0}' is the node that was asked; name another one, or ask another one")]
    Itself(String),
    /// There is no link over which the node could be asked.
    #[error("there is no link to '{0}'; GET /v1/discovery says why")]
    NotLinked(String),
    /// The node did not answer in time.
    #[error("'{0}' did not answer in time")]
    NoPong(String),
    /// Only members that are away can be struck off.
    #[error("'{0}' is not away; stop it first, then it can be struck off")]
    NotAway(String),
    /// These storing nodes cannot be asked, and the answer is worth nothing without them. Asking
    /// again later may work.
    #[error(
        "storing nodes could not be asked: {}; they are shown by GET /v1/nodes. Ask again when they are \
         back, or with partial=true for what the others have",
        .0.join(", ")
    )]
    Missing(Vec<String>),
    /// This storing node stopped to answer in the middle of an answer.
    #[error("the node '{0}' stopped to give its part")]
    PartLost(String),
    /// As many peers were given by hand as can be.
    #[error("as many peers were given by hand as a node remembers; a restart forgets them")]
    TooManyPeers,
}
