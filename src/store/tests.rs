//! The store as a whole, with its threads, over a folder and an index that obeys the test.

mod damage;
mod failures;
mod slow;
mod test_index;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

pub(super) use self::test_index::{Call, TestIndex};

use super::{
    IndexOpener, Limits, OpenError, Store, StoreConfig, StoreParts,
    disk::{Disk, DiskFile},
    index::{Index, RangeQuery},
    mending::MendLimits,
    retention::WallClock,
    storage::Storage,
};
use crate::{
    base::{
        task::Errands,
        verdict::{RefuseReason, Settle, Verdict, VerdictReceiver},
    },
    metrics::{Metrics, names::StoreMetrics},
    types::{
        attributes::Attributes,
        ids::VehicleId,
        record::{Body, Fix, Flags, Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

/// A folder whose disk is as full as the test says.
#[derive(Debug)]
struct Folder {
    disk: Disk,
    free_bytes: AtomicU64,
}

impl Storage for Folder {
    type File = DiskFile;

    fn list(&self) -> std::io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> std::io::Result<DiskFile> {
        self.disk.open(name)
    }

    fn create(&self, name: &str) -> std::io::Result<DiskFile> {
        self.disk.create(name)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.disk.sync()
    }

    fn free_bytes(&self) -> std::io::Result<u64> {
        Ok(self.free_bytes.load(Ordering::Relaxed))
    }
}

/// A clock that says what the test says.
#[derive(Debug, Default)]
pub(super) struct TestClock(pub(super) AtomicI64);

impl WallClock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }
}

/// Quick, so that a test sees the end.
const MENDING: MendLimits = MendLimits {
    delay_first: Duration::from_millis(1),
    delay_max: Duration::from_millis(10),
    n_failures_max: 5,
    forgiven_after: Duration::from_secs(60),
    patience: Duration::from_secs(20),
};

/// Waits until `is_so`.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("not within 20 s: {what}");
}

struct Bench {
    store: Store,
    index: Arc<TestIndex>,
    log: Arc<Folder>,
    metrics: StoreMetrics,
}

impl Bench {
    fn open(path: &Path, index: Arc<TestIndex>, config: &StoreConfig) -> Self {
        let opener = index.opener();
        Self::open_over(path, index, opener, config).unwrap()
    }

    /// The same over the index that `opener` opens.
    fn open_over<I: Index>(
        path: &Path,
        index: Arc<TestIndex>,
        opener: IndexOpener<I>,
        config: &StoreConfig,
    ) -> Result<Self, OpenError> {
        let folder = |name: &str| {
            let disk = Disk::open(&path.join(name)).unwrap();
            Arc::new(Folder {
                disk,
                free_bytes: AtomicU64::new(u64::MAX),
            })
        };
        let metrics = Metrics::new().store;
        let log = folder("log");
        let parts = StoreParts {
            log: Arc::clone(&log),
            quarantine: folder("quarantine"),
            index: opener,
            clock: Arc::new(TestClock::default()),
            errands: Errands::default(),
        };
        let mut limits = Limits::of(config, Arc::clone(&parts.clock));
        limits.mending = MENDING;
        limits.tick_interval = Duration::from_millis(5);
        limits.persist_interval = Duration::ZERO;
        limits.index_stall = Duration::from_millis(50);
        let (store, _) = Store::open_with(parts, limits, metrics.clone())?;
        Ok(Self {
            store,
            index,
            log,
            metrics,
        })
    }

    fn new(path: &Path) -> Self {
        Self::open(path, Arc::default(), &StoreConfig::default())
    }

    /// Hands in a position; its verdict is still to come.
    fn submit(&self, millis: i64) -> VerdictReceiver {
        let (settle, verdict) = Settle::new(None);
        self.store.submit(vec![position(millis)], settle);
        verdict
    }

    /// Submits records and waits for the verdict.
    async fn put(&self, records: Vec<Record>) -> Verdict {
        let (settle, mut verdict) = Settle::new(None);
        self.store.submit(records, settle);
        tokio::time::timeout(Duration::from_secs(20), verdict.verdict())
            .await
            .unwrap()
    }

    async fn track(&self) -> Vec<(i64, bool)> {
        track_of(&self.store).await
    }

    fn counts(&self) -> (u64, u64, i64) {
        let metrics = &self.metrics;
        let stored = metrics.positions_stored.get();
        (
            stored,
            metrics.positions_duplicate.get(),
            metrics.positions_in_flight.get(),
        )
    }
}

/// (time, late) of all positions of vehicle `v`.
async fn track_of(store: &Store) -> Vec<(i64, bool)> {
    assert!(store.is_caught_up(Duration::from_secs(20)).await);
    let query = RangeQuery {
        vehicle: vehicle(),
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    let records = store.index().range(&query, 1_000).unwrap();
    let line = |record: &Record| (record.key.time.0, record.flags.contains(Flags::LATE));
    records.iter().map(line).collect()
}

pub(super) fn vehicle() -> VehicleId {
    VehicleId::parse(b"v").unwrap()
}

pub(super) fn position(millis: i64) -> Record {
    Record {
        key: RecordKey {
            vehicle: vehicle(),
            time: UnixMillis(millis),
            hash: 1,
        },
        received: UnixMillis(5_000),
        protocol: "toy".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix::default()),
    }
}

#[tokio::test]
async fn what_is_durable_is_there_after_a_start_without_a_close_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    assert_eq!(
        bench.put(vec![position(1), position(2)]).await,
        Verdict::Durable
    );
    assert_eq!(bench.track().await, [(1, false), (2, false)]);
    bench.store.close();
    // A fresh index knows nothing: all comes from the log.
    let bench = Bench::new(folder.path());
    assert_eq!(bench.track().await, [(1, false), (2, false)]);
}

#[tokio::test]
async fn a_repeat_is_confirmed_and_stored_once_wherever_the_first_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    bench.index.stand_still(true);
    // In one group, then in the tail of the log, then in the index.
    assert_eq!(
        bench.put(vec![position(1), position(1)]).await,
        Verdict::Durable
    );
    assert_eq!(bench.put(vec![position(1)]).await, Verdict::Durable);
    bench.index.stand_still(false);
    assert_eq!(bench.track().await, [(1, false)]);
    assert_eq!(
        bench.put(vec![position(1), position(2)]).await,
        Verdict::Durable
    );
    assert_eq!(bench.track().await, [(1, false), (2, false)]);
    assert_eq!(bench.counts(), (2, 3, 0));
    bench.store.close();
    // In the tail that recovery found.
    let bench = Bench::new(folder.path());
    bench.index.stand_still(true);
    assert_eq!(bench.put(vec![position(2)]).await, Verdict::Durable);
    bench.index.stand_still(false);
    assert_eq!(bench.track().await, [(1, false), (2, false)]);
}

#[tokio::test]
async fn a_fix_that_is_newer_needs_no_look_at_the_index_and_an_older_one_is_late() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    for millis in [10, 20, 30] {
        assert_eq!(bench.put(vec![position(millis)]).await, Verdict::Durable);
    }
    assert_eq!(bench.index.n_looks.load(Ordering::Relaxed), 0);
    assert_eq!(bench.put(vec![position(15)]).await, Verdict::Durable);
    assert_eq!(bench.index.n_looks.load(Ordering::Relaxed), 1);
    assert_eq!(
        bench.track().await,
        [(10, false), (15, true), (20, false), (30, false)]
    );
}

#[tokio::test]
async fn a_future_fix_that_is_sent_again_when_its_time_has_come_is_a_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let early = Record {
        flags: Flags::FUTURE,
        ..position(1_000)
    };
    assert_eq!(bench.put(vec![position(1), early]).await, Verdict::Durable);
    assert!(bench.store.is_caught_up(Duration::from_secs(20)).await);
    let last = bench.store.index().last(&vehicle()).unwrap().unwrap();
    assert_eq!(
        last.key.time,
        UnixMillis(1),
        "a future fix is never the last position"
    );
    assert_eq!(bench.put(vec![position(1_000)]).await, Verdict::Durable);
    assert_eq!(bench.counts(), (2, 1, 0));
    bench.store.close();
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    bench.log.free_bytes.store(1_000, Ordering::Relaxed);
    let refused = Verdict::Refused(RefuseReason::DiskFull);
    assert_eq!(bench.put(vec![position(1)]).await, refused);
    assert!(!bench.store.is_taking());
    assert_eq!(bench.metrics.positions_refused.count("disk_full"), 1);
    bench.log.free_bytes.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(bench.put(vec![position(1)]).await, Verdict::Durable);
    assert!(bench.store.is_taking());
    assert_eq!(bench.track().await, [(1, false)]);
}

#[tokio::test]
async fn an_index_that_lags_too_far_stops_the_intake() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        index_lag_records_max: 2,
        ..StoreConfig::default()
    };
    let bench = Bench::open(folder.path(), Arc::default(), &config);
    bench.index.stand_still(true);
    assert_eq!(
        bench.put(vec![position(1), position(2), position(3)]).await,
        Verdict::Durable
    );
    let mut verdict = bench.submit(4);
    let waiting = tokio::time::timeout(Duration::from_millis(100), verdict.verdict());
    assert!(waiting.await.is_err(), "taken though the index lags");
    wait_until("it is known to be ill", || !bench.store.is_taking());
    assert!(bench.store.is_held_up() && bench.store.disk_answers());
    bench.index.stand_still(false);
    assert_eq!(verdict.verdict().await, Verdict::Durable);
    assert!(bench.store.is_taking());
}

/// A store whose index stands still, and what becomes of a position at 2 that waits for it behind one
/// at 1.
async fn waiting_for_its_index(path: &Path) -> (Bench, VerdictReceiver) {
    let config = StoreConfig {
        index_lag_records_max: 0,
        ..StoreConfig::default()
    };
    let bench = Bench::open(path, Arc::default(), &config);
    bench.index.stand_still(true);
    assert_eq!(bench.put(vec![position(1)]).await, Verdict::Durable);
    let verdict = bench.submit(2);
    (bench, verdict)
}

#[tokio::test]
async fn what_waits_for_an_index_that_does_not_go_on_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, mut verdict) = waiting_for_its_index(folder.path()).await;
    wait_until("it is known to be ill", || !bench.store.is_taking());
    let mut reclaimed = bench.store.reclaim();
    let (batch, settle) = reclaimed.pop().unwrap();
    assert_eq!((batch.n_records(), reclaimed.len()), (1, 0));
    settle.settle(Verdict::Refused(RefuseReason::Overloaded));
    let refused = Verdict::Refused(RefuseReason::Overloaded);
    assert_eq!(verdict.verdict().await, refused);
    bench.index.stand_still(false);
    wait_until("it is well", || bench.store.is_taking());
    assert_eq!(bench.track().await, [(1, false)]);
}

#[tokio::test]
async fn a_disk_with_about_as_much_room_as_the_reserve_is_not_full_in_turns() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let reserve_bytes = StoreConfig::default().disk_reserve_bytes;
    let is_taking = |free_bytes: u64| {
        bench.log.free_bytes.store(free_bytes, Ordering::Relaxed);
        let (store, is_taken) = (&bench.store, bench.put(vec![position(1)]));
        async move { (is_taken.await == Verdict::Durable, store.is_taking()) }
    };
    assert_eq!(is_taking(reserve_bytes).await, (true, true));
    assert_eq!(is_taking(reserve_bytes - 1).await, (false, false));
    assert_eq!(is_taking(reserve_bytes).await, (false, false));
    let enough_bytes = reserve_bytes + reserve_bytes / 8;
    assert_eq!(is_taking(enough_bytes).await, (true, true));
    // Nothing waits for the index any more.
    assert_eq!(bench.track().await.len(), 1);
    assert_eq!(is_taking(reserve_bytes).await, (true, true));
}

#[tokio::test]
async fn what_the_index_has_still_to_write_has_room_besides_the_reserve() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let reserve_bytes = StoreConfig::default().disk_reserve_bytes;
    let put_with = |free_bytes: u64, number: i64| {
        bench.log.free_bytes.store(free_bytes, Ordering::Relaxed);
        bench.put(vec![position(number)])
    };
    bench.index.stand_still(true);
    assert_eq!(put_with(reserve_bytes, 1).await, Verdict::Durable);
    let lag_bytes = bench.store.shared.progress.lag_bytes();
    assert!(lag_bytes > 0);
    let full = Verdict::Refused(RefuseReason::DiskFull);
    assert_eq!(put_with(reserve_bytes + lag_bytes - 1, 2).await, full);
    bench.index.stand_still(false);
    assert_eq!(bench.track().await.len(), 1);
    let enough_bytes = reserve_bytes + reserve_bytes / 8;
    assert_eq!(put_with(enough_bytes, 2).await, Verdict::Durable);
}

#[tokio::test]
async fn a_disk_that_becomes_full_while_a_group_waits_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, mut verdict) = waiting_for_its_index(folder.path()).await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), verdict.verdict());
    assert!(waiting.await.is_err(), "taken though the index lags");
    bench.log.free_bytes.store(1_000, Ordering::Relaxed);
    bench.index.stand_still(false);
    let refused = Verdict::Refused(RefuseReason::DiskFull);
    assert_eq!(verdict.verdict().await, refused);
}

#[tokio::test]
async fn a_log_that_is_too_large_stops_the_intake_until_it_can_be_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        segment_bytes_max: 1_000,
        log_bytes_max: 3_000,
        ..StoreConfig::default()
    };
    let bench = Bench::open(folder.path(), Arc::default(), &config);
    bench.index.stand_still(true);
    let group = |start: i64| (start..start + 80).map(position).collect::<Vec<_>>();
    assert_eq!(bench.put(group(0)).await, Verdict::Durable);
    assert!(bench.store.durable().0 > 2_000);
    let (settle, mut verdict) = Settle::new(None);
    bench.store.submit(group(80), settle);
    let waiting = tokio::time::timeout(Duration::from_millis(50), verdict.verdict());
    assert!(waiting.await.is_err(), "taken though the log is too large");
    bench.index.stand_still(false);
    let settled = tokio::time::timeout(Duration::from_secs(20), verdict.verdict());
    assert_eq!(settled.await.unwrap(), Verdict::Durable);
    assert_eq!(bench.track().await.len(), 160);
}

#[tokio::test]
async fn a_close_makes_the_rest_durable_though_the_index_is_stuck() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, mut verdict) = waiting_for_its_index(folder.path()).await;
    assert!(!bench.store.close_within(Duration::from_millis(50)));
    let settled = tokio::time::timeout(Duration::from_secs(20), verdict.verdict());
    assert_eq!(settled.await.unwrap(), Verdict::Durable);
    bench.index.stand_still(false);
    assert!(bench.store.close_within(Duration::from_secs(20)));
    assert_eq!(bench.track().await, [(1, false), (2, false)]);
}

#[tokio::test]
async fn a_writer_that_panics_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        index_lag_records_max: 0,
        ..StoreConfig::default()
    };
    let bench = Bench::open(folder.path(), Arc::default(), &config);
    bench.index.stand_still(true);
    assert_eq!(bench.put(vec![position(1)]).await, Verdict::Durable);
    bench.index.is_panicking.store(true, Ordering::Relaxed);
    let (settle, mut in_hand) = Settle::new(None);
    // An older fix is looked for in the index.
    bench.store.submit(vec![position(0)], settle);
    while !bench.store.shared.queue.is_empty() {
        tokio::task::yield_now().await;
    }
    let (settle, mut in_queue) = Settle::new(None);
    bench.store.submit(vec![position(3)], settle);
    bench.index.stand_still(false);
    let refused = Verdict::Refused(RefuseReason::Stopping);
    assert_eq!(in_hand.verdict().await, refused);
    assert_eq!(in_queue.verdict().await, refused);
    assert!(bench.store.failure().borrow().is_some());
    assert!(bench.store.close_within(Duration::from_secs(20)));
}

#[tokio::test]
async fn live_positions_are_durable_ones_without_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let mut live = bench.store.live();
    assert_eq!(
        bench.put(vec![position(1), position(1), position(2)]).await,
        Verdict::Durable
    );
    let times: Vec<_> = live
        .recv()
        .await
        .unwrap()
        .iter()
        .map(|it| it.key.time.0)
        .collect();
    assert_eq!(times, [1, 2]);
}

#[tokio::test]
async fn many_tasks_submit_and_the_books_balance() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let mut verdicts = Vec::new();
    for millis in 0..2_000 {
        let (settle, verdict) = Settle::new(None);
        bench.store.submit(vec![position(millis % 1_500)], settle);
        verdicts.push(verdict);
    }
    for verdict in &mut verdicts {
        assert_eq!(verdict.verdict().await, Verdict::Durable);
    }
    assert_eq!(bench.counts(), (1_500, 500, 0));
    bench.store.close();
}
