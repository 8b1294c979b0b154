//! One short run, over and over: each time another operation of the disk, or another call of the
//! index, fails. The vehicles send again what is refused, as they do.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    super::{
        index::{Index, ScanQuery},
        log::LogOffset,
        sim_disk::{End, SimDisk},
        tests::{Call, TestIndex},
    },
    model::{FUTURE, Key, STEP_MILLIS, key_of, record_of},
    node::Node,
    world::verdict_now,
};
use crate::{
    base::verdict::{Settle, Verdict},
    types::{
        ids::VehicleId,
        record::{Flags, Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

/// Times that a vehicle sends a group, or that the index is opened anew, before the test gives up.
const TRIES_MAX: usize = 6;

const N_GROUPS: i64 = 12;

fn record(vehicle: i64, steps: i64) -> Record {
    let time = UnixMillis(steps * STEP_MILLIS);
    let key = RecordKey {
        vehicle: VehicleId::parse(format!("v{vehicle}").as_bytes()).unwrap(),
        time,
        hash: 0,
    };
    let flags = if time >= FUTURE {
        Flags::FUTURE
    } else {
        Flags::default()
    };
    record_of(&(Kind::Position, key), flags)
}

/// New ones, a late one, one of the future, and repeats of groups before.
fn group(number: i64) -> Vec<Record> {
    let (vehicle, start) = (number % 3, number * 10);
    vec![
        record(vehicle, start + 5),
        record(vehicle, start + 6),
        record(vehicle, start + 2),
        record(vehicle, (number - 3).max(0) * 10 + 5),
        record(vehicle, (number - 9).max(0) * 10 + 2),
        record(vehicle, FUTURE.0 / STEP_MILLIS + number / 2),
    ]
}

fn all_keys() -> BTreeSet<Key> {
    (0..N_GROUPS)
        .flat_map(group)
        .map(|record| key_of(&record))
        .collect()
}

struct Run {
    disk: SimDisk,
    index: Arc<TestIndex>,
    node: Node,
    n_refused: usize,
}

impl Run {
    fn start(disk: SimDisk, index: Arc<TestIndex>) -> Self {
        let open = || Node::open(&disk, &index);
        // A start may be what fails; one of the next goes on.
        let node = (0..TRIES_MAX).find_map(|_| open().ok()).unwrap();
        Self {
            disk,
            index,
            node,
            n_refused: 0,
        }
    }

    fn do_all(&mut self) {
        for number in 0..N_GROUPS {
            self.insist(&group(number));
            if number % 3 == 1 {
                self.follow();
                self.node.engine.writer.trim();
            }
        }
    }

    fn insist(&mut self, records: &[Record]) {
        for _ in 0..TRIES_MAX {
            let (settle, mut receiver) = Settle::new(None);
            let shared = Arc::clone(&self.node.engine.shared);
            shared.submit(records.to_vec().into(), settle);
            let (mut submissions, none) = (Vec::new(), Duration::ZERO);
            shared.queue.take_all(&mut submissions, none, none);
            self.node.engine.writer.group(&mut submissions);
            if verdict_now(&mut receiver) == Verdict::Durable {
                return;
            }
            self.n_refused += 1;
            self.node.engine.writer.probe();
            if self.node.engine.indexer.heed_report().is_err() {
                self.mend();
            }
        }
        panic!("refused again and again");
    }

    /// The index takes what is durable, and is opened anew when it fails.
    fn follow(&mut self) {
        for _ in 0..TRIES_MAX {
            let durable = self.node.engine.shared.progress.durable();
            let indexer = &mut self.node.engine.indexer;
            match indexer
                .apply_up_to(durable)
                .and_then(|()| indexer.persist())
            {
                Ok(()) => return,
                Err(_) => self.mend(),
            }
        }
        panic!("the index fails again and again");
    }

    fn mend(&mut self) {
        let is_mended = (0..TRIES_MAX).any(|_| self.node.engine.indexer.reopen().is_ok());
        assert!(is_mended, "the index cannot be opened anew");
    }

    /// All is there once, now and after `end`.
    fn check(mut self, end: End, case: &str) {
        let n_keys = all_keys().len() as u64;
        assert_eq!(self.node.counts()[0], n_keys, "stored, {case}");
        let disk = self.disk.after(end);
        if end == End::PowerCut {
            self.index.map.crash();
        }
        self.node = Node::open(&disk, &self.index).unwrap();
        let log = self.node.log(LogOffset(0));
        let in_log: BTreeSet<_> = log.iter().map(|(_, record)| key_of(record)).collect();
        assert_eq!(log.len(), in_log.len(), "twice in the log, {case}");
        self.follow();
        let query = ScanQuery {
            kind: Kind::Position,
            from: None,
            to: None,
            after: None,
        };
        let rows = self.index.map.scan(&query, usize::MAX).unwrap().records;
        let found: Vec<_> = rows.iter().map(key_of).collect();
        let distinct: BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!(found.len(), distinct.len(), "twice in the index, {case}");
        assert_eq!(distinct, all_keys(), "{case}");
    }
}

#[test]
fn each_operation_of_the_disk_may_fail() {
    let calm = SimDisk::new(0);
    Run::start(calm.clone(), Arc::default()).do_all();
    assert!(calm.n_operations() > 25, "{}", calm.n_operations());
    let mut n_refused = 0;
    for failing in 0..calm.n_operations() {
        for seed in 0..2 {
            for n_between in [None, Some(0), Some(1), Some(2)] {
                let disk = SimDisk::new(seed);
                disk.fail_after(failing);
                if let Some(n_between) = n_between {
                    disk.fail_again_after(n_between);
                }
                let mut run = Run::start(disk, Arc::default());
                run.do_all();
                run.disk.calm_down();
                n_refused += run.n_refused;
                let end = if seed % 2 == 0 {
                    End::PowerCut
                } else {
                    End::Kill
                };
                run.check(
                    end,
                    &format!("operation {failing}, seed {seed}, {n_between:?}"),
                );
            }
        }
    }
    assert!(n_refused > 0, "no failure was felt");
}

#[test]
fn each_call_of_the_index_may_fail() {
    for call in [
        Call::Apply,
        Call::Persist,
        Call::NoteAge,
        Call::Contains,
        Call::HasFuture,
        Call::Last,
        Call::Spots,
    ] {
        let mut n_calls = 0;
        loop {
            let mut was_reached = true;
            for (seed, n_times, forgets) in [(0, 1, false), (1, 1, true), (2, 3, true)] {
                let index = Arc::<TestIndex>::default();
                index
                    .forgets
                    .store(forgets, std::sync::atomic::Ordering::Relaxed);
                let mut run = Run::start(SimDisk::new(seed), Arc::clone(&index));
                index.fail(call, n_calls, n_times);
                run.do_all();
                was_reached &= n_times > 1 || index.has_failed();
                index.heal();
                run.check(
                    End::PowerCut,
                    &format!("{call:?} {n_calls}, {n_times} times"),
                );
            }
            if !was_reached {
                break;
            }
            n_calls += 1;
        }
        assert!(n_calls >= 3, "{call:?} is made {n_calls} times only");
    }
}
