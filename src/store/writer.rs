//! The writer: one thread that gathers submissions, leaves repeats out, makes the rest durable
//! with one sync, and settles them. The only place that says durable.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    Shared, StoreConfig, Submission,
    dedupe::{Dedupe, Novelty},
    index::{Index, IndexError},
    live,
    log::Log,
    progress::{LagLimits, Wait},
    storage::Storage,
};
use crate::{
    base::{rate::RateLimit, time::Instant, verdict::RefuseReason},
    delivery::batch::Entry,
    metrics::QueueLabel,
    types::record::{Flags, Kind, Record},
};

/// How often the writer looks around when nothing comes.
const REST: Duration = Duration::from_millis(500);

/// Bytes and records of a group, about: who waits for it waits for all of them, and the bytes are in memory
/// once more until it is durable.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
const GROUP_RECORDS: usize = 32_768;

/// A full disk must have this part of the reserve more before records are taken again.
const RESERVE_PART: u64 = 8;

static DISK_WARNINGS: RateLimit = RateLimit::per_second(1);

/// Counts of a group, by what became of its records.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    n_stored: u64,
    n_duplicate: u64,
    n_expired: u64,
    n_events_stored: u64,
    n_events_duplicate: u64,
    n_events_expired: u64,
}

/// Says of one submission after the other whether a group has enough with it.
fn is_group_full() -> impl FnMut(&Submission) -> bool {
    let (mut n_bytes, mut n_records) = (0, 0);
    move |submission| {
        n_bytes += submission.batch.as_bytes().len();
        n_records += submission.batch.n_records();
        n_bytes >= GROUP_BYTES || n_records >= GROUP_RECORDS
    }
}

pub(crate) struct Writer<S: Storage, I> {
    log: Log<S>,
    storage: Arc<S>,
    dedupe: Dedupe<I>,
    config: StoreConfig,
    shared: Arc<Shared>,
    /// Positions of the group that go to the live stream once it is durable.
    live: Vec<Record>,
}

impl<S: Storage, I: Index> Writer<S, I> {
    pub(crate) const fn new(
        log: Log<S>,
        storage: Arc<S>,
        dedupe: Dedupe<I>,
        config: StoreConfig,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            log,
            storage,
            dedupe,
            config,
            shared,
            live: Vec::new(),
        }
    }

    /// The log, for tests.
    #[cfg(test)]
    pub(super) const fn log(&self) -> &Log<S> {
        &self.log
    }

    /// Runs until the queue is closed and empty; then closes the log cleanly.
    pub(crate) fn run(mut self) {
        let mut submissions = Vec::new();
        let times = (REST, self.config.group_commit);
        while self
            .shared
            .queue
            .take(&mut submissions, times, is_group_full())
        {
            let depth = QueueLabel { queue: "store" };
            self.shared
                .metrics
                .queue_depth
                .get_or_create(&depth)
                .set((submissions.len() + self.shared.queue.len()) as i64);
            if submissions.is_empty() {
                self.probe();
            }
            self.group(&mut submissions);
            self.trim();
        }
        self.close();
    }

    /// Closes the log cleanly, and lets the indexer end when all is applied.
    pub(super) fn close(self) {
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "the log could not be marked as closed cleanly");
        }
        self.shared.progress.stop();
    }

    /// Makes one group durable and settles it. From the moment it is in hand others may take parts of
    /// it over; what is appended becomes durable all the same.
    pub(super) fn group(&mut self, submissions: &mut Vec<Submission>) {
        let shared = Arc::clone(&self.shared);
        std::mem::swap(&mut *shared.hand.group(), submissions);
        let fate = self.make_durable();
        shared.hand.note_busy(None);
        std::mem::swap(&mut *shared.hand.group(), submissions);
        match fate {
            Ok(counts) => self.settle_all(submissions, counts),
            Err(reason) => self.refuse_all(submissions, reason),
        }
    }

    /// Appends what is in hand and syncs it; why not, if not.
    fn make_durable(&mut self) -> Result<Counts, RefuseReason> {
        let shared = Arc::clone(&self.shared);
        let is_empty = shared.hand.group().is_empty();
        let is_waiting_over = is_empty || self.wait_for_index();
        shared.hand.note_busy(Some(Instant::now()));
        // The disk may have become full during the wait.
        if self.is_disk_full() {
            return Err(RefuseReason::DiskFull);
        }
        if !is_waiting_over || self.shared.failure.borrow().is_some() {
            return Err(RefuseReason::Stopping);
        }
        let group = shared.hand.group();
        if group.is_empty() {
            return Ok(Counts::default());
        }
        self.dedupe.forget(self.shared.progress.applied());
        let appended = self.append_all(&group);
        drop(group);
        let counts = appended.map_err(|error| {
            self.report(&error);
            self.log.discard();
            self.give_up()
        })?;
        match self.log.commit() {
            Ok(durable) => {
                self.shared.hand.note_failing(false);
                let n_records = counts.n_stored + counts.n_events_stored;
                self.dedupe.confirm(durable);
                self.shared.progress.advance_durable(durable, n_records);
                Ok(counts)
            }
            Err(error) => {
                if let Some(n_unsaid) = DISK_WARNINGS.pass() {
                    tracing::error!(%error, n_unsaid, "records could not be made durable");
                }
                self.shared.hand.note_failing(true);
                Err(self.give_up())
            }
        }
    }

    /// The index cannot say what is a duplicate; unless it is being mended already, it has to be.
    fn report(&self, error: &IndexError) {
        if !matches!(error, IndexError::Closed) {
            let why = format!("duplicates cannot be told: {error}");
            self.shared.progress.report_index_failure(why);
        }
    }

    /// Nothing of the group is confirmed.
    fn give_up(&mut self) -> RefuseReason {
        self.dedupe.withdraw();
        self.live.clear();
        RefuseReason::DiskError
    }

    fn append_all(&mut self, submissions: &[Submission]) -> Result<Counts, IndexError> {
        let mut counts = Counts::default();
        let has_audience = self.shared.live.receiver_count() > 0;
        let horizon = self.shared.horizon.now();
        let shared = Arc::clone(&self.shared);
        let entries = submissions.iter().flat_map(|submission| {
            // Each is work of its own: the index is looked into for what may be a repeat.
            shared.hand.note_busy(Some(Instant::now()));
            submission.batch.iter()
        });
        for entry in entries {
            let is_fix = entry.head.kind == Kind::Position;
            if horizon.is_some_and(|horizon| horizon.is_past(&entry.head)) {
                counts.n_expired += u64::from(is_fix);
                counts.n_events_expired += u64::from(!is_fix);
                continue;
            }
            match self.dedupe.admit(entry.vehicle, &entry.head)? {
                Novelty::Repeat if is_fix => counts.n_duplicate += 1,
                Novelty::Repeat => counts.n_events_duplicate += 1,
                Novelty::New { is_late } => {
                    let late = if is_late {
                        Flags::LATE
                    } else {
                        Flags::default()
                    };
                    let flags = entry.head.flags.with(late);
                    self.log.append_entry(&entry, flags);
                    if is_fix && has_audience {
                        self.show(&entry, flags);
                    }
                    counts.n_stored += u64::from(is_fix);
                    counts.n_events_stored += u64::from(!is_fix);
                }
            }
        }
        Ok(counts)
    }

    /// Puts a position on the live stream, to be sent when it is durable.
    fn show(&mut self, entry: &Entry<'_>, flags: Flags) {
        let record = entry.to_record().expect("a batch is made from records");
        self.live.push(Record { flags, ..record });
    }

    fn settle_all(&mut self, submissions: &mut Vec<Submission>, counts: Counts) {
        if submissions.is_empty() {
            // Nothing was there, or others have taken it over meanwhile, and it counts with them.
            self.live.clear();
            return;
        }
        let metrics = &self.shared.metrics;
        metrics.positions_stored.inc_by(counts.n_stored);
        metrics.positions_duplicate.inc_by(counts.n_duplicate);
        metrics.positions_expired.inc_by(counts.n_expired);
        if counts.n_events_stored + counts.n_events_duplicate + counts.n_events_expired > 0 {
            metrics.events.inc_by("stored", counts.n_events_stored);
            metrics
                .events
                .inc_by("duplicate", counts.n_events_duplicate);
            metrics.events.inc_by("expired", counts.n_events_expired);
        }
        metrics.log_syncs.inc();
        metrics
            .index_lag
            .set(self.shared.progress.n_lag_records() as i64);
        self.shared.confirm_all(submissions);
        if !self.live.is_empty() {
            live::send(&self.shared.live, std::mem::take(&mut self.live));
        }
    }

    fn refuse_all(&self, submissions: &mut Vec<Submission>, reason: RefuseReason) {
        for submission in submissions.drain(..) {
            self.shared.refuse(submission, reason);
        }
    }

    /// Whether the disk has less room than the reserve and what the index has still to write, which takes
    /// about as much there as in the log; says so once at each change. A full one must get a little more,
    /// so that it is not full and not full in turns.
    pub(super) fn is_disk_full(&self) -> bool {
        let reserve_bytes = self.config.disk_reserve_bytes;
        let more_bytes = match self.shared.is_full.load(Ordering::Relaxed) {
            true => reserve_bytes / RESERVE_PART,
            false => 0,
        };
        let lag_bytes = self.shared.progress.lag_bytes();
        let wanted_bytes = reserve_bytes
            .saturating_add(more_bytes)
            .saturating_add(lag_bytes);
        let is_full = match self.storage.free_bytes() {
            Ok(free_bytes) => free_bytes < wanted_bytes,
            Err(_) => false,
        };
        if self.shared.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            if is_full {
                tracing::error!(
                    reserve_bytes,
                    lag_bytes,
                    "disk full: records are refused until there is room"
                );
            } else {
                tracing::info!("the disk has room again; records are taken");
            }
        }
        is_full
    }

    /// Waits while the index is too far behind; false at a stop.
    fn wait_for_index(&self) -> bool {
        let (config, hand) = (&self.config, &self.shared.hand);
        let limits = LagLimits {
            n_records: config.index_lag_records_max,
            // A segment goes as a whole, so one is there in part for nothing.
            n_bytes: config
                .log_bytes_max
                .saturating_sub(config.segment_bytes_max),
        };
        hand.note_waiting(Some(Instant::now()));
        let may_go_on = loop {
            match self.shared.progress.wait_lag_below(limits, REST) {
                Wait::Over => break true,
                Wait::Stopped => break false,
                Wait::Longer => self.is_disk_full(),
            };
        };
        hand.note_waiting(None);
        may_go_on
    }

    /// With a disk that refused the last records, tries whether it takes as much again: nobody may bring
    /// any more meanwhile.
    pub(super) fn probe(&mut self) {
        let hand = &self.shared.hand;
        if !hand.is_failing() {
            return;
        }
        hand.note_busy(Some(Instant::now()));
        let probed = self.log.probe();
        hand.note_busy(None);
        if probed.is_ok() {
            hand.note_failing(false);
            tracing::info!("the disk takes records again");
        }
    }

    /// Removes the part of the log that is not needed any more.
    pub(super) fn trim(&mut self) {
        let below = self.shared.progress.trimmable();
        self.shared.hand.note_busy(Some(Instant::now()));
        let trimmed = self.log.trim(below);
        self.shared.hand.note_busy(None);
        if let Err(error) = trimmed
            && let Some(n_unsaid) = DISK_WARNINGS.pass()
        {
            tracing::warn!(%error, n_unsaid, "the log could not be trimmed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::verdict::Settle, delivery::batch::Batch, store::tests::position};

    #[test]
    fn a_group_has_enough_by_its_bytes_or_its_records() {
        let submission = |n_records: i64, raw_bytes: usize| Submission {
            batch: {
                let record = |time| Record {
                    raw: Some(vec![b'a'; raw_bytes].into()),
                    ..position(time)
                };
                let records: Vec<Record> = (0..n_records).map(record).collect();
                Batch::from(records.as_slice())
            },
            settle: Settle::new(None).0,
        };
        let small = submission(10, 0);
        let n_small = GROUP_RECORDS / 10;
        let mut is_full = is_group_full();
        assert!((0..n_small).all(|_| !is_full(&small)));
        assert!(is_full(&small));
        let large = submission(1, GROUP_BYTES / 2);
        let mut is_full = is_group_full();
        assert!(!is_full(&large));
        assert!(is_full(&large));
    }
}
