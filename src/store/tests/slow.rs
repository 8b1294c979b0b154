//! A disk that takes its time: its syncs end when the test says so.

use std::{
    io,
    sync::{Condvar, Mutex},
};

use super::*;
use crate::{
    base::{room::Room, task::Errands, verdict::VerdictReceiver},
    store::{
        sim_disk::{SimDisk, SimFile},
        storage::StorageFile,
    },
};

/// Which syncs go on, and how many there were.
#[derive(Debug, Default)]
struct Syncs {
    state: Mutex<SyncState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SyncState {
    is_stuck: bool,
    is_refusing: bool,
    n_begun: u64,
}

impl Syncs {
    fn stick(&self, is_stuck: bool) {
        self.state.lock().unwrap().is_stuck = is_stuck;
        self.changed.notify_all();
    }

    fn refuse(&self, is_refusing: bool) {
        self.state.lock().unwrap().is_refusing = is_refusing;
    }

    fn n_begun(&self) -> u64 {
        self.state.lock().unwrap().n_begun
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.n_begun += 1;
        self.changed.notify_all();
        let state = self.changed.wait_while(state, |state| state.is_stuck);
        match state.unwrap().is_refusing {
            true => Err(io::Error::other("told to refuse")),
            false => Ok(()),
        }
    }

    /// Waits until more than `n_syncs` were begun.
    fn wait_for_more_than(&self, n_syncs: u64) {
        let state = self.state.lock().unwrap();
        let begun = self
            .changed
            .wait_timeout_while(state, Duration::from_secs(20), |state| {
                state.n_begun <= n_syncs
            });
        assert!(!begun.unwrap().1.timed_out(), "no sync within 20 s");
    }
}

#[derive(Debug)]
struct SlowDisk {
    disk: SimDisk,
    syncs: Arc<Syncs>,
}

#[derive(Debug)]
struct SlowFile {
    file: SimFile,
    syncs: Arc<Syncs>,
}

impl SlowDisk {
    fn slow(&self, file: SimFile) -> SlowFile {
        let syncs = Arc::clone(&self.syncs);
        SlowFile { file, syncs }
    }
}

impl Storage for SlowDisk {
    type File = SlowFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<SlowFile> {
        self.disk.open(name).map(|file| self.slow(file))
    }

    fn create(&self, name: &str) -> io::Result<SlowFile> {
        self.disk.create(name).map(|file| self.slow(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl StorageFile for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.pass()?;
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

struct SlowBench {
    store: Store,
    syncs: Arc<Syncs>,
    disk: SimDisk,
    metrics: StoreMetrics,
}

impl SlowBench {
    fn new() -> Self {
        let (disk, syncs) = (SimDisk::new(1), Arc::<Syncs>::default());
        let slow = |disk: SimDisk, syncs: &Arc<Syncs>| {
            let syncs = Arc::clone(syncs);
            Arc::new(SlowDisk { disk, syncs })
        };
        let parts = StoreParts {
            log: slow(disk.clone(), &syncs),
            quarantine: slow(SimDisk::new(2), &Arc::default()),
            index: Arc::<TestIndex>::default().opener(),
            clock: Arc::new(TestClock::default()),
            errands: Errands::default(),
        };
        let limits = Limits::of(&StoreConfig::default(), Arc::clone(&parts.clock));
        let metrics = Metrics::new().store;
        let (store, _) = Store::open_with(parts, limits, metrics.clone()).unwrap();
        Self {
            store,
            syncs,
            disk,
            metrics,
        }
    }

    fn submit(&self, millis: i64) -> VerdictReceiver {
        let room = Room::new(100).try_take(100);
        let (settle, verdict) = Settle::new(room);
        self.store.submit(vec![position(millis)], settle);
        verdict
    }
}

async fn verdict_of(receiver: &mut VerdictReceiver) -> Verdict {
    let verdict = tokio::time::timeout(Duration::from_secs(20), receiver.verdict());
    verdict.await.unwrap()
}

#[tokio::test]
async fn nothing_is_confirmed_before_a_slow_sync_ends_and_what_waits_shares_the_next() {
    let bench = SlowBench::new();
    assert_eq!(verdict_of(&mut bench.submit(1)).await, Verdict::Durable);
    let mut live = bench.store.live();
    let n_syncs = bench.syncs.n_begun();
    bench.syncs.stick(true);
    let mut first = bench.submit(2);
    bench.syncs.wait_for_more_than(n_syncs);
    // A vehicle that lost its patience sends the same again, and others come.
    let mut others: Vec<_> = (2..1_000).map(|millis| bench.submit(millis)).collect();
    let early = tokio::select! {
        biased;
        verdict = first.verdict() => Some(verdict),
        () = async {} => None,
    };
    assert_eq!(early, None, "settled before the sync ends");
    assert!(live.try_recv().is_err(), "shown before it is durable");
    let last = bench.store.index().last(&vehicle()).unwrap();
    assert!(last.is_none_or(|record| record == position(1)));
    assert_eq!(bench.metrics.positions_stored.get(), 1);
    assert_eq!(bench.metrics.positions_in_flight.get(), 999);
    bench.syncs.stick(false);
    assert_eq!(verdict_of(&mut first).await, Verdict::Durable);
    for other in &mut others {
        assert_eq!(verdict_of(other).await, Verdict::Durable);
    }
    assert_eq!(bench.metrics.positions_stored.get(), 999);
    assert_eq!(bench.metrics.positions_duplicate.get(), 1);
    assert_eq!(bench.metrics.positions_in_flight.get(), 0);
    let n_more = bench.syncs.n_begun() - n_syncs;
    assert_eq!(n_more, 2, "one for the first, one for all that waited");
}

#[tokio::test]
async fn a_slow_sync_that_fails_in_the_end_confirms_nothing_and_loses_nothing() {
    let bench = SlowBench::new();
    assert_eq!(verdict_of(&mut bench.submit(1)).await, Verdict::Durable);
    let n_syncs = bench.syncs.n_begun();
    bench.syncs.stick(true);
    let mut first = bench.submit(2);
    bench.syncs.wait_for_more_than(n_syncs);
    let mut repeat = bench.submit(2);
    // The sync fails, and so does the new segment that is to take its place.
    bench.disk.fail_after(0);
    bench.disk.fail_again_after(0);
    bench.syncs.stick(false);
    let refused = Verdict::Refused(RefuseReason::DiskError);
    assert_eq!(verdict_of(&mut first).await, refused);
    assert_eq!(verdict_of(&mut repeat).await, Verdict::Durable);
    assert_eq!(verdict_of(&mut bench.submit(2)).await, Verdict::Durable);
    assert_eq!(bench.metrics.positions_stored.get(), 2);
    assert_eq!(bench.metrics.positions_duplicate.get(), 1);
}

#[tokio::test]
async fn a_disk_that_refuses_is_ill_until_it_takes_something() {
    let bench = SlowBench::new();
    assert_eq!(verdict_of(&mut bench.submit(1)).await, Verdict::Durable);
    bench.syncs.refuse(true);
    let refused = Verdict::Refused(RefuseReason::DiskError);
    assert_eq!(verdict_of(&mut bench.submit(2)).await, refused);
    assert!(!bench.store.is_taking() && !bench.store.disk_answers());
    // Nobody brings anything meanwhile, and it is tried again and again.
    for _ in 0..2 {
        bench.syncs.wait_for_more_than(bench.syncs.n_begun());
        assert!(!bench.store.is_taking());
    }
    bench.syncs.refuse(false);
    wait_until("the disk takes something", || bench.store.is_taking());
    assert_eq!(verdict_of(&mut bench.submit(2)).await, Verdict::Durable);
    assert_eq!(track_of(&bench.store).await, [(1, false), (2, false)]);
}

#[tokio::test]
async fn a_close_waits_for_a_slow_sync_as_long_as_it_is_told_and_no_longer() {
    let bench = SlowBench::new();
    bench.syncs.stick(true);
    let n_syncs = bench.syncs.n_begun();
    let mut first = bench.submit(1);
    bench.syncs.wait_for_more_than(n_syncs);
    assert!(!bench.store.close_within(Duration::from_millis(20)));
    let late = verdict_of(&mut bench.submit(2)).await;
    assert_eq!(late, Verdict::Refused(RefuseReason::Stopping));
    bench.syncs.stick(false);
    assert_eq!(verdict_of(&mut first).await, Verdict::Durable);
    assert!(bench.store.close_within(Duration::from_secs(20)));
}

#[tokio::test]
async fn what_a_hung_disk_holds_can_be_taken_back_and_is_settled_once() {
    let bench = SlowBench::new();
    let n_syncs = bench.syncs.n_begun();
    bench.syncs.stick(true);
    let mut first = bench.submit(1);
    bench.syncs.wait_for_more_than(n_syncs);
    let mut second = bench.submit(2);
    let other = Settle::doing(|_| {});
    bench.store.submit(vec![position(9)], other);
    assert_eq!(bench.store.unsettled_bytes(), 200);
    let mut reclaimed = bench.store.reclaim();
    assert_eq!(reclaimed.len(), 3);
    drop(reclaimed.pop());
    assert_eq!(bench.store.unsettled_bytes(), 0);
    assert_eq!(bench.metrics.positions_in_flight.get(), 0);
    assert_eq!(bench.store.reclaim().len(), 0);
    bench.syncs.stick(false);
    // The writer is done with its group once it has taken the next.
    assert_eq!(verdict_of(&mut bench.submit(3)).await, Verdict::Durable);
    for (batch, settle) in reclaimed {
        assert_eq!(batch.n_records(), 1);
        settle.settle(Verdict::Refused(RefuseReason::DiskFull));
    }
    let refused = Verdict::Refused(RefuseReason::DiskFull);
    assert_eq!(verdict_of(&mut first).await, refused);
    assert_eq!(verdict_of(&mut second).await, refused);
    assert_eq!(bench.metrics.positions_in_flight.get(), 0);
    let stored = bench.metrics.positions_stored.get();
    assert_eq!(
        stored, 1,
        "a copy that becomes durable later is not counted"
    );
    let found = track_of(&bench.store).await;
    assert_eq!(
        found,
        [(1, false), (3, false)],
        "but it does become durable"
    );
}
