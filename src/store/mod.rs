//! Durable records: the log that acknowledges, the index that answers, the quarantine.
//!
//! ```text
//! submissions ─▶ writer (one thread): duplicates out ─▶ log: group, write, fdatasync ─▶ verdicts
//!                  writer.rs             dedupe.rs         │
//!                     ▲ may trim         indexer (one thread): follows ─▶ index in bulk
//!                     └──────────────────── indexer.rs ◀──┘
//! questions ─▶ wait until what was durable is applied ─▶ index
//! ```
//!
//! This room must not know sockets, protocols or nodes.
//!
//! Invariants:
//! - A submission is settled as durable only after a successful sync of the log that covers each of
//!   its records, or the record that it repeats.
//! - A record that is durable is in the index or in the part of the log that the index will apply:
//!   the log is trimmed only below what the index keeps through a power cut.
//! - A key that is in the index or in that part of the log is not appended again, unless a damaged
//!   file keeps the index from telling: it puts the repeat in the place of what it repeats.
//! - The live stream and the answers show durable records only.
//! - What is older than the retention is confirmed and not kept; nothing else is left out.
//! - After a failure that leaves the state of the index unknown it is opened anew and caught up from
//!   the log, while questions wait. When that fails again and again, or the log cannot be read,
//!   [`Store::failure`] says so and nothing more is confirmed.
//! - An index that meets a damaged file while it is in use names it, answers what it can, and does not
//!   keep the log from taking records; it is left as it is where it cannot be fed.
//! - An index that is damaged at the start is made anew from the log while that has all of it, and else keeps the
//!   store from opening.

mod config;
pub mod disk;
pub mod index;
pub mod log;
pub mod quarantine;
pub mod retention;
pub mod storage;

mod dedupe;
mod digest;
mod gate;
mod hand;
mod indexer;
mod known;
mod limits;
mod live;
mod mending;
mod progress;
mod rebuild;
mod shared;
#[cfg(test)]
mod sim_disk;
#[cfg(test)]
mod sim_tests;
mod survey;
mod tail;
mod thread_guard;
mod window;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::sync::{broadcast, watch};

pub use self::{config::StoreConfig, gate::IndexOpener};
use self::{
    dedupe::Dedupe,
    gate::IndexGate,
    hand::Hand,
    index::{Index, IndexError},
    indexer::{Feed, Indexer, persist_bytes},
    limits::Limits,
    log::{Log, LogError, LogOffset, Recovery},
    mending::Mending,
    progress::Progress,
    quarantine::{Quarantine, QuarantineEntry},
    retention::{Keeper, ShownIndex, WallClock},
    shared::{Shared, Submission},
    storage::Storage,
    thread_guard::{Never, ThreadGuard},
    writer::Writer,
};
use crate::{
    base::{queue::Queue, task::Errands, time::Instant, verdict::Settle},
    delivery::batch::Batch,
    metrics::{QueueLabel, names::StoreMetrics},
    types::record::Record,
};

/// Submissions that may wait for the writer; the bytes in them are bounded by their room before.
const SUBMISSIONS_MAX: usize = 65_536;

/// Rejected lines that may wait to be set aside; further ones are not kept.
const QUARANTINE_QUEUE_MAX: usize = 4_096;

/// With less room than this on the disk a failure of the index is put down to that: tables that are
/// written and merged take as much.
const INDEX_ROOM_BYTES: u64 = 64 * 1024 * 1024;

/// How long the disk may be at work on one group before the store takes records no more.
const STALL: Duration = Duration::from_secs(2);

/// How long a close waits for the index to catch up.
const CLOSE_PATIENCE: Duration = Duration::from_secs(60);

/// How long a store that is dropped without a close waits: a node that is to end at once must end.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// An open store.
pub struct Store {
    shared: Arc<Shared>,
    index: ShownIndex,
    held: watch::Receiver<Option<IndexError>>,
    /// How long records may wait for the index before they are taken no more.
    index_stall: Duration,
    quarantine: Arc<Queue<QuarantineEntry>>,
    /// Held by each thread until it ends.
    running: Mutex<Option<mpsc::SyncSender<Never>>>,
    /// Ends when no thread runs any more.
    ended: Mutex<mpsc::Receiver<Never>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Store")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Where a store keeps what.
#[derive(Debug)]
pub struct StoreParts<S, I> {
    /// Folder of the log.
    pub log: Arc<S>,
    /// Folder of the quarantine.
    pub quarantine: Arc<S>,
    /// Opens the index.
    pub index: IndexOpener<I>,
    /// The clock that is watched for jumps.
    pub clock: Arc<dyn WallClock>,
    /// Where verdicts are said: on the runtime of those who wait for them.
    pub errands: Errands,
}

/// What the threads of a store run, before they are started.
struct Engine<S: Storage, I> {
    shared: Arc<Shared>,
    writer: Writer<S, IndexGate<I>>,
    indexer: Indexer<S, I>,
    recovery: Recovery,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The log cannot be used as it is; the text names file, offset and remedy.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] LogError),
    /// The quarantine's folder cannot be used.
    #[error("the quarantine cannot be opened: {0}")]
    Quarantine(std::io::Error),
    /// The index cannot be opened or read.
    #[error("the index cannot be opened: {0}")]
    Index(#[from] IndexError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

impl Store {
    /// Opens the log, reads the part of it that the index does not have yet, and starts the
    /// threads. The index catches up while records are taken in already. Blocking.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed that a later open would miss.
    pub fn open<S: Storage, I: Index>(
        parts: StoreParts<S, I>,
        config: &StoreConfig,
        metrics: StoreMetrics,
    ) -> Result<(Self, Recovery), OpenError> {
        let mut limits = Limits::of(config, Arc::clone(&parts.clock));
        limits.errands = parts.errands.clone();
        Self::open_with(parts, limits, metrics)
    }

    fn open_with<S: Storage, I: Index>(
        parts: StoreParts<S, I>,
        limits: Limits,
        metrics: StoreMetrics,
    ) -> Result<(Self, Recovery), OpenError> {
        let quarantine = Quarantine::open(parts.quarantine, limits.store.quarantine_bytes_max)
            .map_err(OpenError::Quarantine)?;
        let (log, patience) = (parts.log.as_ref(), limits.mending.patience);
        let gate = rebuild::open_index(parts.index, log, patience, &metrics)?;
        let gate = Arc::new(gate);
        let index_stall = limits.index_stall;
        let engine = Engine::open(parts.log, Arc::clone(&gate), limits, metrics)?;
        let (writer, indexer) = (engine.writer, engine.indexer);
        let (running, ended) = mpsc::sync_channel(0);
        let horizon = Arc::clone(&engine.shared.horizon);
        let store = Self {
            shared: engine.shared,
            held: gate.held(),
            index_stall,
            index: ShownIndex::new(gate, horizon),
            quarantine: Arc::new(Queue::new(QUARANTINE_QUEUE_MAX)),
            running: Mutex::new(Some(running)),
            ended: Mutex::new(ended),
        };
        store.start("store-writer", move || writer.run())?;
        store.start("store-indexer", move || indexer.run())?;
        store.start_quarantine(quarantine)?;
        Ok((store, engine.recovery))
    }

    /// Takes records to be made durable; `settle` is used once. Never waits.
    pub fn submit(&self, batch: impl Into<Batch>, settle: Settle) {
        self.shared.submit(batch.into(), settle);
    }

    /// Sets a rejected line aside. Best effort: where the queue has no room for it, it is not even
    /// made.
    pub fn quarantine(&self, entry: impl FnOnce() -> QuarantineEntry) {
        if self.quarantine.has_room() && self.quarantine.push(entry().detached()).is_ok() {
            self.shared.metrics.quarantined.inc();
        }
    }

    /// Waits until the index shows what was durable when this was called. False if that took longer
    /// than `patience`. Cancel safe.
    pub async fn is_caught_up(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.shared.progress.caught_up())
            .await
            .is_ok()
    }

    /// Waits until the index is not fed any more, as a file of it is damaged; what was found. What is
    /// not in it by then will not be. Cancel safe.
    pub async fn held(&self) -> IndexError {
        let mut held = self.held.clone();
        let found = held
            .wait_for(Option::is_some)
            .await
            .map(|held| held.clone());
        match found {
            Ok(Some(why)) => why,
            _ => std::future::pending().await,
        }
    }

    /// The index, for questions.
    pub const fn index(&self) -> &ShownIndex {
        &self.index
    }

    /// Positions as they become durable, in batches.
    pub fn live(&self) -> broadcast::Receiver<Arc<[Record]>> {
        self.shared.live.subscribe()
    }

    /// Number of those who listen to [`Store::live`] now.
    pub fn n_live_subscribers(&self) -> usize {
        self.shared.live.receiver_count()
    }

    /// Becomes `Some` when log or index can no longer be trusted: the process must end.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failure.subscribe()
    }

    /// Whether records are taken now: the disk has room, comes back within 2 s and does not refuse, the
    /// index lets the log go on, and nothing failed.
    pub fn is_taking(&self) -> bool {
        self.has_room() && !self.has_failed() && self.disk_answers() && !self.is_held_up()
    }

    /// Whether the disk comes back from what it is given to do within 2 s, and took the last of it.
    pub fn disk_answers(&self) -> bool {
        let hand = &self.shared.hand;
        hand.busy_for(Instant::now()) < STALL && !hand.is_failing()
    }

    /// Whether records wait for the index for longer than one that is only slow makes them wait.
    pub fn is_held_up(&self) -> bool {
        self.shared.hand.waiting_for(Instant::now()) >= self.index_stall
    }

    /// Bytes of room that what is neither durable nor refused yet takes; nothing for what other nodes
    /// sent, which has the credit of its link.
    pub fn unsettled_bytes(&self) -> usize {
        self.shared.hand.unsettled_bytes()
    }

    /// Takes back what is neither durable nor refused, with the duty to settle it: for a store whose
    /// disk hangs. What the disk has already may become durable here nevertheless. What the writer
    /// looks at in this moment stays; ask again.
    pub fn reclaim(&self) -> Vec<(Batch, Settle)> {
        let mut reclaimed = Vec::new();
        if let Some(mut group) = self.shared.hand.try_group() {
            reclaimed.append(&mut group);
        }
        reclaimed.extend(self.shared.queue.drain());
        let reclaimed = reclaimed.into_iter().map(|submission| {
            self.shared.let_go(&submission);
            (submission.batch, submission.settle)
        });
        reclaimed.collect()
    }

    /// Whether the disk has more room than the reserve.
    pub fn has_room(&self) -> bool {
        !self.shared.is_full.load(Ordering::Relaxed)
    }

    /// Whether the index answers; not while it is opened anew after a failure.
    pub fn is_answering(&self) -> bool {
        !self.shared.is_mending.load(Ordering::Relaxed)
    }

    /// Whether log or index can no longer be trusted.
    pub fn has_failed(&self) -> bool {
        self.shared.failure.borrow().is_some()
    }

    /// The end of what is durable.
    pub fn durable(&self) -> LogOffset {
        self.shared.progress.durable()
    }

    /// Refuses what comes from now on, makes the rest durable, marks the log as closed cleanly,
    /// applies it to the index and ends the threads. Blocking, for a minute at most: an index that
    /// takes longer catches up after the next start. A second call does nothing.
    pub fn close(&self) {
        if !self.close_within(CLOSE_PATIENCE) {
            tracing::warn!("the store did not end in time; the next start goes on where it was");
        }
    }

    /// Closes; whether all threads ended within `patience`.
    fn close_within(&self, patience: Duration) -> bool {
        self.shared.queue.close();
        self.shared.progress.close();
        self.quarantine.close();
        drop(lock(&self.running).take());
        let outcome = lock(&self.ended).recv_timeout(patience);
        matches!(outcome, Err(mpsc::RecvTimeoutError::Disconnected))
    }

    fn start(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let Some(running) = lock(&self.running).clone() else {
            return Ok(());
        };
        let guard = ThreadGuard {
            shared: Arc::clone(&self.shared),
            name: name.to_owned(),
            _running: running,
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _guard = guard;
                body();
            });
        // The guard tells of the end.
        thread.map(drop).map_err(OpenError::Thread)
    }

    fn start_quarantine<S: Storage>(&self, mut quarantine: Quarantine<S>) -> Result<(), OpenError> {
        let queue = Arc::clone(&self.quarantine);
        self.start("quarantine", move || {
            let mut entries = Vec::new();
            let (patience, window) = (Duration::from_secs(60), Duration::from_millis(50));
            while queue.take_all(&mut entries, patience, window) {
                entries.drain(..).for_each(|entry| quarantine.push(&entry));
                quarantine.flush();
            }
        })
    }
}

impl<S: Storage, I: Index> Engine<S, I> {
    /// Opens the log and reads the part of it that the index does not have yet. Blocking.
    fn open(
        storage: Arc<S>,
        index: Arc<IndexGate<I>>,
        limits: Limits,
        metrics: StoreMetrics,
    ) -> Result<Self, OpenError> {
        let applied = index.persisted();
        let mut dedupe = Dedupe::new(Arc::clone(&index), limits.vehicles_per_generation);
        let mut n_tail = 0;
        let (log, recovery) =
            Log::open(Arc::clone(&storage), limits.log, applied, |end, record| {
                dedupe.recover(end, &record);
                n_tail += 1;
            })?;
        let queue_cap = metrics
            .queue_cap
            .get_or_create(&QueueLabel { queue: "store" })
            .clone();
        queue_cap.set(SUBMISSIONS_MAX as i64);
        let shared = Arc::new(Shared {
            queue: Queue::new(SUBMISSIONS_MAX),
            hand: Hand::new(),
            progress: Progress::new(applied, log.durable(), n_tail),
            metrics,
            live: live::channel(),
            failure: watch::channel(None).0,
            is_full: AtomicBool::new(false),
            is_mending: AtomicBool::new(false),
            horizon: Arc::default(),
            errands: limits.errands,
        });
        let (horizon, metrics) = (Arc::clone(&shared.horizon), shared.metrics.clone());
        let keeper = Keeper::new(limits.timing, index.age()?, horizon, metrics);
        let feed = Feed {
            reader: log.reader(),
            disk: Arc::clone(&storage),
            room_bytes: INDEX_ROOM_BYTES.max(limits.store.disk_reserve_bytes),
            index,
            keeper,
            mending: Mending::new(limits.mending, applied.0),
            tick_interval: limits.tick_interval,
            persist_interval: limits.persist_interval,
            persist_bytes: persist_bytes(limits.store.log_bytes_max),
        };
        let indexer = Indexer::new(feed, Arc::clone(&shared));
        let writer = Writer::new(log, storage, dedupe, limits.store, Arc::clone(&shared));
        // Known before anybody brings records.
        writer.is_disk_full();
        Ok(Self {
            shared,
            writer,
            indexer,
            recovery,
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.close_within(DROP_PATIENCE) {
            tracing::warn!("the store was dropped before its threads ended");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
