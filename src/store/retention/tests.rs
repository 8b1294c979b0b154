//! Retention of a whole store in one thread, over both indexes, with a clock that is handed in.

use std::{sync::atomic::Ordering, time::Duration};

use super::*;
use crate::{
    base::verdict::{Settle, Verdict},
    metrics::Metrics,
    store::{
        Engine, IndexOpener, Limits, StoreConfig,
        gate::IndexGate,
        index::{FjallIndex, IndexConfig, MapIndex, RangeQuery, ScanQuery},
        sim_disk::SimDisk,
        tests::{TestClock, position},
    },
    types::{
        ids::VehicleId,
        record::{Body, Flags, Kind},
        time::DAY_MILLIS,
    },
};

/// 2026-11-21T00:00:00Z, the day that is today at first.
const TODAY: i64 = 1_795_219_200_000;
const TICKS_A_DAY: i64 = 4;

/// A store whose threads are this one.
struct Bench<I> {
    engine: Engine<SimDisk, Arc<I>>,
    index: Arc<I>,
    shown: ShownIndex,
    disk: SimDisk,
    clock: Arc<TestClock>,
    retention_days: u64,
    metrics: StoreMetrics,
}

impl<I: Index> Bench<I> {
    fn new(index: Arc<I>, retention_days: u64) -> Self {
        let clock = Arc::new(TestClock::default());
        clock.0.store(TODAY, Ordering::Relaxed);
        Self::open(index, SimDisk::new(1), clock, retention_days)
    }

    fn open(index: Arc<I>, disk: SimDisk, clock: Arc<TestClock>, retention_days: u64) -> Self {
        let retention = Duration::from_secs(retention_days * 24 * 3_600);
        let config = StoreConfig {
            retention: Some(retention).filter(|retention| !retention.is_zero()),
            ..StoreConfig::default()
        };
        let limits = Limits::of(&config, Arc::<TestClock>::clone(&clock));
        let metrics = Metrics::new().store;
        let storage = Arc::new(disk.clone());
        let held = Arc::clone(&index);
        let opener = IndexOpener::new(move || Ok(Arc::clone(&held)));
        let gate = Arc::new(IndexGate::open(opener, Duration::ZERO).unwrap());
        let engine = Engine::open(storage, gate, limits, metrics.clone()).unwrap();
        let horizon = Arc::clone(&engine.shared.horizon);
        Self {
            engine,
            shown: ShownIndex::new(Arc::<I>::clone(&index), horizon),
            index,
            disk,
            clock,
            retention_days,
            metrics,
        }
    }

    /// Ends the process without a word, and starts another one.
    fn restart(&mut self) {
        let (index, disk) = (Arc::clone(&self.index), self.disk.clone());
        *self = Self::open(index, disk, Arc::clone(&self.clock), self.retention_days);
    }

    fn now(&self) -> i64 {
        self.clock.0.load(Ordering::Relaxed)
    }

    /// Time goes on evenly, with a few ticks a day.
    fn wait_days(&mut self, days: i64) {
        for _ in 0..days * TICKS_A_DAY {
            let step_millis = DAY_MILLIS / TICKS_A_DAY;
            self.clock.0.fetch_add(step_millis, Ordering::Relaxed);
            self.engine.indexer.tick().unwrap();
        }
    }

    fn jump_days(&mut self, days: i64) {
        self.clock.0.fetch_add(days * DAY_MILLIS, Ordering::Relaxed);
        self.engine.indexer.tick().unwrap();
    }

    /// Takes in records, received now; all of them are durable and in the index then.
    fn put(&mut self, records: impl IntoIterator<Item = Record>) {
        let received = UnixMillis(self.now());
        let records = records.into_iter();
        let records = records.map(|record| Record { received, ..record });
        let (settle, mut verdict) = Settle::new(None);
        let shared = Arc::clone(&self.engine.shared);
        shared.submit(records.collect::<Vec<_>>().into(), settle);
        let mut submissions = Vec::new();
        let none = Duration::ZERO;
        shared.queue.take_all(&mut submissions, none, none);
        self.engine.writer.group(&mut submissions);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        assert_eq!(runtime.block_on(verdict.verdict()), Verdict::Durable);
        let durable = shared.progress.durable();
        self.engine.indexer.apply_up_to(durable).unwrap();
        // Twice, since what is under way is not removed at once.
        self.engine.indexer.tick().unwrap();
        self.engine.indexer.tick().unwrap();
    }

    /// Days of the fixes of `id` that are shown, counted from the first day.
    fn days_of(&self, id: &str) -> Vec<i64> {
        let range = self.shown.range(&all_of(id), 1_000).unwrap();
        for limit in [1, 2] {
            assert_eq!(self.paged(id, limit), range, "in pages of {limit}");
        }
        range.iter().map(day_of).collect()
    }

    fn paged(&self, id: &str, limit: usize) -> Vec<Record> {
        let mut query = all_of(id);
        let mut records = Vec::new();
        loop {
            let page = self.shown.range(&query, limit).unwrap();
            let Some(last) = page.last() else {
                return records;
            };
            query.after = Some((last.key.time, last.key.hash));
            records.extend(page);
        }
    }

    /// Days of all that is shown, and of all that is there.
    fn days(&self) -> (Vec<i64>, Vec<i64>) {
        let query = ScanQuery {
            kind: Kind::Position,
            from: None,
            to: None,
            after: None,
        };
        let days = |records: Vec<Record>| {
            let mut days: Vec<i64> = records.iter().map(day_of).collect();
            days.sort_unstable();
            days
        };
        let shown = self.shown.scan(&query, 1_000).unwrap().records;
        (
            days(shown),
            days(self.index.scan(&query, 1_000).unwrap().records),
        )
    }

    fn expired(&self) -> u64 {
        assert_eq!(self.metrics.positions_in_flight.get(), 0);
        self.metrics.positions_expired.get()
    }
}

fn vehicle(id: &str) -> VehicleId {
    VehicleId::parse(id.as_bytes()).unwrap()
}

/// A fix of `id`, `day` days after the first day, or before.
fn fix(id: &str, day: i64) -> Record {
    let mut record = position(TODAY + day * DAY_MILLIS);
    record.key.vehicle = vehicle(id);
    record
}

fn future(record: Record) -> Record {
    Record {
        flags: Flags::FUTURE,
        ..record
    }
}

fn day_of(record: &Record) -> i64 {
    (record.key.time.0 - TODAY).div_euclid(DAY_MILLIS)
}

fn all_of(id: &str) -> RangeQuery {
    RangeQuery {
        vehicle: vehicle(id),
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    }
}

/// Runs a block with a bench over each kind of index.
macro_rules! on_both {
    ($retention_days:expr, |$bench:ident| $body:block) => {{
        {
            let mut $bench = Bench::new(Arc::new(MapIndex::new()), $retention_days);
            $body
        }
        let folder = tempfile::tempdir().unwrap();
        let index = FjallIndex::open(folder.path(), IndexConfig::default()).unwrap();
        let mut $bench = Bench::new(Arc::new(index), $retention_days);
        $body
    }};
}

#[test]
fn without_a_retention_nothing_expires() {
    on_both!(0, |bench| {
        bench.put([fix("a", -9_000), fix("a", 0)]);
        bench.wait_days(100);
        bench.put([fix("a", 100)]);
        assert_eq!(bench.days_of("a"), [-9_000, 0, 100]);
        assert_eq!(bench.expired(), 0);
    });
}

#[test]
fn a_fix_older_than_the_retention_is_confirmed_and_not_stored() {
    on_both!(90, |bench| {
        // Before the first record there is no age.
        bench.put([fix("a", -200)]);
        bench.put([fix("a", -91), fix("a", -90), fix("a", 0)]);
        let event = Record {
            body: Body::Event,
            ..fix("a", -91)
        };
        bench.put([event]);
        assert_eq!(bench.days_of("a"), [-90, 0]);
        assert_eq!(bench.days().1, [-90, 0]);
        assert_eq!(bench.expired(), 1);
        assert_eq!(bench.metrics.events.count("expired"), 1);
        assert_eq!(bench.metrics.positions_stored.get(), 3);
    });
}

#[test]
fn answers_leave_out_what_has_become_too_old() {
    on_both!(90, |bench| {
        // 2026-11-01 is day -20.
        bench.put([
            fix("a", -19),
            fix("b", -19),
            fix("b", 0),
            fix("c", -18),
            fix("d", 0),
        ]);
        let ids = |bench: &Bench<_>, limit: usize| {
            let records = bench.shown.vehicles(None, limit).unwrap();
            let ids = records
                .iter()
                .map(|record| record.key.vehicle.as_str().to_owned());
            ids.collect::<Vec<_>>()
        };
        bench.wait_days(72);
        bench.put([fix("e", 72)]);
        // Its month is not over, so it is there still.
        assert!(bench.days_of("a").is_empty());
        assert_eq!(
            bench.days(),
            (vec![-18, 0, 0, 72], vec![-19, -19, -18, 0, 0, 72])
        );
        assert_eq!(bench.shown.last(&vehicle("a")).unwrap(), None);
        assert_eq!(ids(&bench, 9), ["b", "c", "d", "e"]);
        assert_eq!(ids(&bench, 2), ["b", "c"]);
        assert_eq!(bench.days_of("b"), [0]);
        assert_eq!(bench.days_of("c"), [-18]);
    });
}

#[test]
fn a_month_goes_when_its_last_day_is_over() {
    on_both!(10, |bench| {
        // October ends with day -21, November with day 9.
        bench.put([fix("a", 0)]);
        bench.put((-9..0).map(|day| fix("b", day)));
        bench.wait_days(19);
        bench.put([fix("a", 19)]);
        assert_eq!(bench.days().0, [19]);
        assert_eq!(bench.days().1.len(), 11, "the month is not over yet");
        assert_eq!(bench.metrics.months_removed.get(), 0);
        bench.wait_days(1);
        bench.put([fix("a", 20)]);
        assert_eq!(bench.days(), (vec![19, 20], vec![19, 20]));
        assert_eq!(bench.index.last(&vehicle("b")).unwrap(), None);
        assert_eq!(bench.metrics.months_removed.get(), 1);
        // The log may be read again after a crash; a month that came back goes again.
        bench.index.apply(&[fix("b", -3)]).unwrap();
        bench.wait_days(1);
        bench.put([fix("a", 21)]);
        assert_eq!(bench.days().1, [19, 20, 21]);
    });
}

#[test]
fn a_removed_month_takes_its_files_along() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Arc::new(FjallIndex::open(folder.path(), IndexConfig::default()).unwrap());
    let n_folders = || {
        std::fs::read_dir(folder.path().join("keyspaces"))
            .unwrap()
            .count()
    };
    let mut bench = Bench::new(open(), 10);
    let n_before = n_folders();
    bench.put([fix("a", 0)]);
    assert_eq!(n_folders(), n_before + 1);
    bench.wait_days(30);
    bench.put([fix("a", 30)]);
    assert_eq!(n_folders(), n_before + 1);
    let (disk, clock) = (bench.disk.clone(), Arc::clone(&bench.clock));
    drop(bench);
    let bench = Bench::open(open(), disk, clock, 10);
    assert_eq!(n_folders(), n_before + 1);
    assert_eq!(bench.days(), (vec![30], vec![30]));
}

#[test]
fn a_future_fix_is_shown_and_never_last_and_goes_by_its_reception() {
    on_both!(90, |bench| {
        bench.put([fix("a", 0), future(fix("a", 20_000)), future(fix("b", 30))]);
        assert_eq!(bench.days_of("a"), [0, 20_000]);
        let last = bench.shown.last(&vehicle("a")).unwrap();
        assert_eq!(last.map(|last| day_of(&last)), Some(0));
        assert_eq!(bench.shown.last(&vehicle("b")).unwrap(), None);
        bench.wait_days(90);
        bench.put([fix("c", 90)]);
        assert_eq!(bench.days_of("a"), [0, 20_000]);
        bench.wait_days(1);
        bench.put([fix("c", 91)]);
        assert!(bench.days_of("a").is_empty());
        // The time of this one has come, so it is as old as it says.
        assert_eq!(bench.days_of("b"), [30]);
        assert!(!bench.index.has_future(&vehicle("a")).unwrap(), "removed");
        bench.wait_days(30);
        bench.put([fix("c", 121)]);
        assert!(bench.days_of("b").is_empty());
        assert!(!bench.index.has_future(&vehicle("b")).unwrap(), "removed");
    });
}

#[test]
fn a_jump_of_the_clock_stops_retention_until_it_is_settled() {
    on_both!(90, |bench| {
        bench.put([fix("a", -80), fix("a", 0)]);
        bench.jump_days(3_650);
        bench.put([fix("b", 3_650), fix("a", 1), fix("a", -2_000)]);
        assert_eq!(bench.metrics.retention_stopped.get(), 1);
        assert_eq!(bench.days_of("a"), [-2_000, -80, 0, 1], "nothing expires");
        // It was a mistake: the clock goes back, and a day later all is as before.
        bench.jump_days(-3_650);
        bench.put([fix("a", 2)]);
        assert_eq!(bench.metrics.retention_stopped.get(), 1);
        bench.wait_days(1);
        assert_eq!(bench.metrics.retention_stopped.get(), 0);
        bench.put([fix("a", -91)]);
        assert_eq!(bench.expired(), 1);
        assert_eq!(bench.days_of("a"), [-80, 0, 1, 2]);
        assert_eq!(bench.days_of("b"), [3_650]);
    });
}

#[test]
fn a_jump_of_the_clock_that_lasts_is_believed_after_a_day() {
    on_both!(90, |bench| {
        bench.put([fix("a", 0)]);
        bench.jump_days(365);
        bench.put([fix("b", 365)]);
        assert_eq!(bench.days().0, [0, 365]);
        bench.wait_days(1);
        bench.put([fix("b", 366), fix("b", 200)]);
        assert_eq!(bench.metrics.retention_stopped.get(), 0);
        assert_eq!(bench.days(), (vec![365, 366], vec![365, 366]));
        assert_eq!(bench.expired(), 1);
    });
}

#[test]
fn a_clock_that_was_ahead_does_not_make_the_present_expire() {
    on_both!(90, |bench| {
        bench
            .clock
            .0
            .fetch_add(3_650 * DAY_MILLIS, Ordering::Relaxed);
        bench.restart();
        bench.jump_days(0);
        bench.wait_days(2);
        bench.put([fix("a", 3_652)]);
        bench.jump_days(-3_652);
        bench.put([fix("a", 0)]);
        assert_eq!(bench.days_of("a"), [0, 3_652]);
        bench.wait_days(1);
        bench.put([fix("a", 1), fix("a", -100)]);
        assert_eq!(bench.days_of("a"), [0, 1, 3_652]);
        assert_eq!(bench.expired(), 1);
    });
}

#[test]
fn a_start_goes_on_where_time_was() {
    on_both!(90, |bench| {
        bench.put([fix("a", -80), fix("a", 0)]);
        bench.wait_days(11);
        bench.put([fix("a", 11)]);
        bench.restart();
        assert_eq!(bench.days_of("a"), [0, 11], "no record has come yet");
        // Off for longer than a day, the clock may as well have jumped.
        bench.clock.0.fetch_add(2 * DAY_MILLIS, Ordering::Relaxed);
        bench.restart();
        assert_eq!(bench.metrics.retention_stopped.get(), 1);
        bench.wait_days(1);
        bench.put([fix("a", 14)]);
        assert_eq!(bench.metrics.retention_stopped.get(), 0);
        // A doubt outlives a start too.
        bench.jump_days(50);
        bench.restart();
        assert_eq!(bench.metrics.retention_stopped.get(), 1);
        bench.wait_days(1);
        assert_eq!(bench.metrics.retention_stopped.get(), 0);
    });
}

#[test]
fn a_node_without_traffic_forgets_nothing_and_doubts_nothing() {
    on_both!(90, |bench| {
        bench.put([fix("a", 0)]);
        bench.wait_days(125);
        bench.restart();
        assert_eq!(bench.metrics.retention_stopped.get(), 0);
        assert_eq!(bench.days_of("a"), [0]);
        bench.put([fix("b", 125)]);
        assert_eq!(bench.days(), (vec![125], vec![125]));
    });
}

#[test]
fn a_repeat_of_what_is_hidden_is_no_new_record_while_retention_stands_still() {
    on_both!(90, |bench| {
        bench.put([fix("a", -19)]);
        bench.wait_days(80);
        bench.put([fix("b", 80)]);
        assert!(bench.days_of("a").is_empty());
        bench.jump_days(500);
        bench.put([fix("a", -19)]);
        assert_eq!(bench.metrics.positions_duplicate.get(), 1);
        bench.put([fix("a", -20)]);
        assert_eq!(bench.days_of("a"), [-20, -19]);
        let last = bench.shown.last(&vehicle("a")).unwrap().unwrap();
        assert_eq!(day_of(&last), -19, "as long as its month is there");
    });
}

#[test]
fn many_rows_are_removed_in_parts_and_long_ones_whole() {
    on_both!(90, |bench| {
        let long = |record: Record| Record {
            raw: Some(vec![b'x'; 2_000].into()),
            ..record
        };
        let id = |number: i64| format!("old{number:05}");
        bench.put((0..12_000).map(|number| fix(&id(number), -19)));
        bench.put((0..200).map(|number| long(fix(&id(number), -18))));
        bench.put((0..200).map(|number| fix(&id(number), -17)));
        bench.put((0..50).map(|number| long(future(fix(&id(number), 9_000)))));
        bench.put([long(fix("young", 30))]);
        // November is over with day 9.
        bench.wait_days(100);
        bench.put([fix("z", 100)]);
        (0..10).for_each(|_| bench.engine.indexer.tick().unwrap());
        let rest = bench.index.vehicles(None, 100).unwrap();
        let ids: Vec<_> = rest.iter().map(|last| last.key.vehicle.as_str()).collect();
        assert_eq!(ids, ["young", "z"]);
        assert!(!bench.index.has_future(&vehicle(&id(7))).unwrap());
        // What comes after the removal is the last position again.
        bench.put([fix(&id(3), 60)]);
        let last = bench.shown.last(&vehicle(&id(3))).unwrap().unwrap();
        assert_eq!(day_of(&last), 60);
    });
}
