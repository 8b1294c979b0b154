//! An index that fails: at each of its calls, once and for ever, with and without a loss.

use super::*;
use crate::store::{index::ScanQuery, log::LogOffset};

/// All calls that a running store makes, with what follows from a failure.
const CALLS: [(Call, Follows); 11] = [
    (Call::Apply, Follows::Mending),
    (Call::Persist, Follows::Mending),
    (Call::NoteAge, Follows::Mending),
    (Call::RemovePast, Follows::Mending),
    (Call::Contains, Follows::Refusal),
    (Call::HasFuture, Follows::Refusal),
    (Call::Last, Follows::Refusal),
    (Call::Spots, Follows::Refusal),
    (Call::Vehicles, Follows::Error),
    (Call::Range, Follows::Error),
    (Call::Scan, Follows::Error),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// It is opened anew.
    Mending,
    /// A group is refused, and it is opened anew.
    Refusal,
    /// The question is not answered.
    Error,
}

const REFUSED: Verdict = Verdict::Refused(RefuseReason::DiskError);

fn config() -> StoreConfig {
    StoreConfig {
        retention: Some(Duration::from_secs(24 * 3_600)),
        ..StoreConfig::default()
    }
}

impl Bench {
    fn with_retention(path: &Path, index: Arc<TestIndex>) -> Self {
        Self::open(path, index, &config())
    }

    fn n_failures(&self) -> u64 {
        self.metrics.index_failures.get()
    }

    async fn failure(&self) -> String {
        let mut failure = self.store.failure();
        let why = failure.wait_for(Option::is_some);
        let why = tokio::time::timeout(Duration::from_secs(20), why).await;
        why.unwrap().unwrap().clone().unwrap()
    }

    /// Submits as a device does: again, until it is confirmed. How often it was refused.
    async fn insist(&self, records: Vec<Record>) -> u64 {
        for n_refused in 0..20 {
            match self.put(records.clone()).await {
                Verdict::Durable => return n_refused,
                verdict => assert_eq!(verdict, REFUSED),
            }
        }
        panic!("refused 20 times");
    }

    /// Asks all questions once; how many had no answer.
    fn n_unanswered(&self) -> usize {
        let index = self.store.index();
        let range = RangeQuery {
            vehicle: vehicle(),
            kind: Kind::Position,
            from: None,
            to: None,
            after: None,
        };
        let scan = ScanQuery {
            kind: Kind::Position,
            from: None,
            to: None,
            after: None,
        };
        let answered = [
            index.vehicles(None, 9).is_ok(),
            index.range(&range, 9).is_ok(),
            index.scan(&scan, 9).is_ok(),
        ];
        answered.iter().filter(|is_answered| !**is_answered).count()
    }
}

#[tokio::test]
async fn a_call_of_the_index_that_fails_once_loses_and_doubles_nothing() {
    for (call, follows) in CALLS {
        for forgets in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let index = Arc::<TestIndex>::default();
            index.forgets.store(forgets, Ordering::Relaxed);
            let bench = Bench::with_retention(folder.path(), Arc::clone(&index));
            index.fail(call, 0, 1);
            let mut n_refused = bench.insist(vec![position(5), position(6)]).await;
            n_refused += bench
                .insist(vec![position(7), position(3), position(4)])
                .await;
            let n_unanswered = bench.n_unanswered();
            wait_until("the failure", || index.has_failed());
            n_refused += bench.insist(vec![position(5), position(8)]).await;
            let times = [3, 4, 5, 6, 7, 8].map(|time| (time, time < 5));
            let case = format!("{call:?}, forgets {forgets}");
            assert_eq!(bench.track().await, times, "{case}");
            let expected = match follows {
                Follows::Mending => (1, 0, 0),
                Follows::Refusal => (1, 1, 0),
                Follows::Error => (0, 0, 1),
            };
            let found = (bench.n_failures(), n_refused, n_unanswered);
            assert_eq!(found, expected, "{case}");
            let (n_stored, n_duplicate, n_in_flight) = bench.counts();
            assert_eq!((n_stored, n_duplicate, n_in_flight), (6, 1, 0), "{case}");
            assert!(bench.store.is_taking(), "{case}");
            bench.store.close();
            let bench = Bench::with_retention(folder.path(), index);
            assert_eq!(bench.track().await, times, "{case}");
        }
    }
}

#[tokio::test]
async fn an_index_that_fails_for_ever_ends_the_store_and_loses_nothing() {
    for (call, follows) in CALLS {
        if follows == Follows::Error {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let index = Arc::<TestIndex>::default();
        let bench = Bench::with_retention(folder.path(), Arc::clone(&index));
        assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
        wait_until("a sync", || index.map.persisted() > LogOffset(0));
        index.fail(call, 0, u64::MAX);
        // Another vehicle, of which nothing is known yet.
        let mut stranger = position(6);
        stranger.key.vehicle = VehicleId::parse(b"w").unwrap();
        let mut n_confirmed = 0;
        while bench.store.failure().borrow().is_none() {
            match bench
                .put(vec![stranger.clone(), position(3), position(4)])
                .await
            {
                Verdict::Durable => n_confirmed += 1,
                Verdict::Refused(_) => {}
            }
            if call == Call::RemovePast {
                // It is due again after each opening, and else when time has gone on.
                let mut later = position(3);
                later.key.time = UnixMillis(7_200_000);
                later.received = UnixMillis(7_200_000);
                later.key.vehicle = VehicleId::parse(b"x").unwrap();
                bench.put(vec![later]).await;
            }
        }
        let why = bench.failure().await;
        assert!(why.contains(&format!("{call:?} told to fail")), "{why}");
        assert!(bench.n_failures() > u64::from(MENDING.n_failures_max));
        let verdict = bench.put(vec![position(9)]).await;
        assert_eq!(
            verdict,
            Verdict::Refused(RefuseReason::Stopping),
            "{call:?}"
        );
        bench.store.close();
        index.heal();
        let bench = Bench::with_retention(folder.path(), index);
        let track = bench.track().await;
        let times: &[i64] = if n_confirmed > 0 { &[3, 4, 5] } else { &[5] };
        assert!(
            track.iter().map(|(time, _)| time).eq(times),
            "{call:?}: {track:?}"
        );
    }
}

#[tokio::test]
async fn records_are_taken_while_a_damaged_file_keeps_the_index_from_what_it_is_told_to_do() {
    for (call, follows) in CALLS {
        let folder = tempfile::tempdir().unwrap();
        let index = Arc::<TestIndex>::default();
        let bench = Bench::with_retention(folder.path(), Arc::clone(&index));
        assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
        wait_until("a sync", || index.map.persisted() > LogOffset(0));
        index.is_damaged.store(true, Ordering::Relaxed);
        index.fail(call, 0, u64::MAX);
        let mut stranger = position(6);
        stranger.key.vehicle = VehicleId::parse(b"w").unwrap();
        for time in 6..40 {
            let records = vec![position(time), position(3), stranger.clone()];
            assert_eq!(bench.put(records).await, Verdict::Durable, "{call:?}");
        }
        // To remove what is too old can wait; what cannot be told of a repeat is not asked again.
        let is_held = follows == Follows::Mending && call != Call::RemovePast;
        wait_until("held", || is_held != bench.store.is_answering());
        assert_eq!(bench.n_failures(), u64::from(is_held), "{call:?}");
        assert_eq!(index.n_opened.load(Ordering::Relaxed), 1, "{call:?}");
        assert!(!bench.store.has_failed(), "{call:?}");
        if follows == Follows::Error {
            let found = bench.store.index().vehicles(None, 9);
            let why = found.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(
                call != Call::Vehicles || why.contains("found in a file"),
                "{why}"
            );
        }
        bench.store.close();
        index.heal();
        index.is_damaged.store(false, Ordering::Relaxed);
        let bench = Bench::with_retention(folder.path(), index);
        let times: Vec<_> = bench.track().await.iter().map(|(time, _)| *time).collect();
        let expected: Vec<_> = [3].into_iter().chain(5..40).collect();
        assert_eq!(times, expected, "{call:?}");
    }
}

#[tokio::test]
async fn a_damaged_file_that_is_met_when_the_index_is_opened_anew_stops_no_intake() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    let opened = Arc::clone(&index);
    let opener = IndexOpener::new(move || {
        if opened.n_opened.fetch_add(1, Ordering::Relaxed) > 0 {
            opened.map.crash();
            opened.is_damaged.store(true, Ordering::Relaxed);
            opened.fail(Call::Apply, 0, u64::MAX);
        }
        Ok(Arc::clone(&opened))
    });
    let bench = Bench::open_over(folder.path(), Arc::clone(&index), opener, &config()).unwrap();
    index.fail(Call::Persist, 0, 1);
    assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
    assert_eq!(bench.put(vec![position(6)]).await, Verdict::Durable);
    let held = tokio::time::timeout(Duration::from_secs(20), bench.store.held());
    assert!(held.await.unwrap().is_damage());
    assert_eq!(index.n_opened.load(Ordering::Relaxed), 2);
    // What needs the index to be told from a repeat is taken as new, and a question is told why.
    let records = vec![position(3), position(7)];
    assert_eq!(bench.put(records).await, Verdict::Durable);
    assert!(bench.store.is_taking() && !bench.store.is_answering());
    let answer = bench.store.index().last(&vehicle());
    assert!(answer.unwrap_err().is_damage());
}

#[tokio::test]
async fn a_close_ends_though_the_index_cannot_be_synced_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    let bench = Bench::open(folder.path(), Arc::clone(&index), &config());
    assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
    index.stand_still(true);
    assert_eq!(bench.put(vec![position(6)]).await, Verdict::Durable);
    bench.log.free_bytes.store(0, Ordering::Relaxed);
    index.fail(Call::Persist, 0, u64::MAX);
    index.stand_still(false);
    assert!(bench.store.close_within(Duration::from_secs(20)));
    assert!(index.n_opened.load(Ordering::Relaxed) < 20);
    index.heal();
    let bench = Bench::open(folder.path(), index, &config());
    assert_eq!(bench.track().await, [(5, false), (6, false)]);
}

#[tokio::test]
async fn an_index_that_cannot_be_opened_anew_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    let bench = Bench::with_retention(folder.path(), Arc::clone(&index));
    index.fail(Call::Open, 0, 3);
    index.fail(Call::Apply, 0, 1);
    assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
    assert_eq!(bench.track().await, [(5, false)]);
    assert_eq!(bench.n_failures(), 4);
    index.fail(Call::Open, 0, u64::MAX);
    index.fail(Call::Apply, 0, 1);
    assert_eq!(bench.put(vec![position(6)]).await, Verdict::Durable);
    let why = bench.failure().await;
    assert!(why.contains("Open told to fail"), "{why}");
}

#[tokio::test]
async fn an_index_that_cannot_be_opened_at_a_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    for call in [Call::Open, Call::Age] {
        index.fail(call, 0, 1);
        let opener = index.opener();
        let opened = Bench::open_over(folder.path(), Arc::clone(&index), opener, &config());
        let error = opened.err().unwrap().to_string();
        assert!(error.contains(&format!("{call:?} told to fail")), "{error}");
    }
}

#[tokio::test]
async fn a_question_waits_until_the_log_is_applied_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    index.forgets.store(true, Ordering::Relaxed);
    let bench = Bench::open(folder.path(), Arc::clone(&index), &config());
    index.stops_when_opened_anew.store(true, Ordering::Relaxed);
    // Nothing is synced, so all is to be applied again.
    index.fail(Call::Persist, 0, 1);
    assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
    wait_until("the index is opened anew", || {
        index.n_opened.load(Ordering::Relaxed) == 2
    });
    assert_eq!(index.map.last(&vehicle()).unwrap(), None, "it is gone");
    let shown = bench.store.index().clone();
    let asker = std::thread::spawn(move || shown.last(&vehicle()).unwrap());
    // Whether a repeat is one cannot be told either.
    let (settle, mut verdict) = Settle::new(None);
    bench.store.submit(vec![position(5)], settle);
    index.stand_still(false);
    assert_eq!(asker.join().unwrap(), Some(position(5)));
    assert_eq!(verdict.verdict().await, Verdict::Durable);
    assert_eq!(bench.counts(), (1, 1, 0));
}

#[tokio::test]
async fn an_index_that_lost_what_it_had_synced_ends_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    let first = Arc::clone(&index);
    let n_opened = AtomicU64::new(0);
    let opener = IndexOpener::new(move || {
        let is_first = n_opened.fetch_add(1, Ordering::Relaxed) == 0;
        let empty = Arc::<TestIndex>::default();
        Ok(if is_first { Arc::clone(&first) } else { empty })
    });
    let bench = Bench::open_over(folder.path(), Arc::clone(&index), opener, &config()).unwrap();
    assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
    wait_until("a sync", || index.map.persisted() > LogOffset(0));
    index.fail(Call::Apply, 0, 1);
    assert_eq!(bench.put(vec![position(6)]).await, Verdict::Durable);
    let why = bench.failure().await;
    assert!(why.contains("lost what it had made durable"), "{why}");
}

#[tokio::test]
async fn an_index_that_fails_on_a_full_disk_is_not_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    let bench = Bench::open(folder.path(), Arc::clone(&index), &config());
    index.stand_still(true);
    assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
    bench.log.free_bytes.store(0, Ordering::Relaxed);
    wait_until("the disk is full", || !bench.store.is_taking());
    index.fail(Call::Apply, 0, u64::MAX);
    index.stand_still(false);
    let n_tries = u64::from(MENDING.n_failures_max) * 4;
    wait_until("many failures", || bench.n_failures() > n_tries);
    assert!(bench.store.failure().borrow().is_none());
    index.heal();
    bench.log.free_bytes.store(u64::MAX, Ordering::Relaxed);
    wait_until("the disk has room", || bench.store.is_taking());
    assert_eq!(bench.put(vec![position(6)]).await, Verdict::Durable);
    assert_eq!(bench.track().await, [(5, false), (6, false)]);
}

#[tokio::test]
async fn a_close_ends_though_the_index_cannot_be_mended() {
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::<TestIndex>::default();
    let bench = Bench::open(folder.path(), Arc::clone(&index), &config());
    index.stand_still(true);
    assert_eq!(bench.put(vec![position(5)]).await, Verdict::Durable);
    index.fail(Call::Apply, 0, u64::MAX);
    index.fail(Call::Open, 0, u64::MAX);
    index.stand_still(false);
    assert!(bench.store.close_within(Duration::from_secs(20)));
    index.heal();
    let bench = Bench::open(folder.path(), index, &config());
    assert_eq!(bench.track().await, [(5, false)]);
}
