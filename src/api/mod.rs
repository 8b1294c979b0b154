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

mod export;
mod health;
mod live;
mod page;
mod problem;
mod query;
mod routes;
mod server;
mod write_deadline;

pub use server::{ApiConfig, serve};

use std::{fmt, future::Future, pin::Pin, time::Duration};

use tokio::sync::mpsc;

use crate::types::{
    ids::VehicleId,
    record::{Kind, Record},
    status::{Members, NodeChange, NodeStatus, Page, VehicleAnswer},
    time::UnixMillis,
};

/// Answers the questions of the contract; implemented by the node.
pub trait Answers: Clone + Send + Sync + 'static {
    /// This node about itself.
    fn status(&self) -> NodeStatus;

    /// All members as this node sees them, itself included.
    fn nodes(&self) -> impl Future<Output = Result<Members, AnswerError>> + Send;

    /// The members that are up, this node first, and each change from then on.
    fn changes(&self) -> impl Future<Output = Result<NodeChanges, AnswerError>> + Send;

    /// How long the way to the member of this name and back takes.
    fn ping(&self, name: String) -> impl Future<Output = Result<Duration, AnswerError>> + Send;

    /// Stops or starts the active search for nodes.
    fn set_searching(&self, is_on: bool) -> impl Future<Output = Result<(), AnswerError>> + Send;

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

    /// Every record once. Batches come over the channel; an `Err` or a sender dropped without the
    /// final empty batch means that the export broke off.
    fn export(
        &self,
        question: ExportQuestion,
    ) -> impl Future<Output = Result<mpsc::Receiver<Result<Vec<Record>, AnswerError>>, AnswerError>> + Send;

    /// Live positions from now on, in batches as they become durable. `None` when as many
    /// subscribers are connected as may be.
    fn live(&self) -> Option<tokio::sync::broadcast::Receiver<std::sync::Arc<[Record]>>>;
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
    /// The part that knows the other nodes is being started anew. Asking again later works.
    #[error("the cluster is not there; ask again in a moment")]
    NoCluster,
    /// No member has this name.
    #[error("no member has this name")]
    NoSuchNode,
    /// The member did not answer, or there is no link to it.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
}

/// What changes among the members.
pub struct NodeChanges {
    /// The members that are up now, as if they had just come; this node first.
    pub present: Vec<NodeChange>,
    /// What comes after that.
    pub next: Box<dyn ChangeSource>,
}

/// Gives changes as they happen.
pub trait ChangeSource: Send {
    /// The next one; `None` when some were missed or none will come any more: subscribe anew. Cancel
    /// safe.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<NodeChange>> + Send + '_>>;
}

impl fmt::Debug for NodeChanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NodeChanges")
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}
