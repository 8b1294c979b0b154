//! The steps of a run, and what is checked after each.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::super::{
    OpenError,
    index::{Index, ScanQuery},
    log::{LogError, LogOffset},
    sim_disk::{End, SimDisk},
    tests::TestIndex,
};
use super::model::{FUTURE, Key, Model, Placed, STEP_MILLIS, key_of, record_of};
use crate::{
    base::{
        prng::Prng,
        verdict::{Settle, Verdict, VerdictReceiver},
    },
    types::{
        ids::VehicleId,
        record::{Flags, Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

use super::node::Node;

/// One store over one disk, through many processes.
pub(super) struct World {
    pub(super) prng: Prng,
    pub(super) disk: SimDisk,
    pub(super) index: Arc<TestIndex>,
    pub(super) model: Model,
    pub(super) node: Node,
    /// Newest time used of each vehicle.
    pub(super) clocks: [i64; 5],
    pub(super) n_starts: u64,
    pub(super) trace: Vec<String>,
}

/// A group that was handed over, and what was said about it.
struct Told {
    records: Vec<Record>,
    n_submissions: usize,
    verdicts: Vec<Verdict>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let (disk, index) = (SimDisk::new(seed ^ 0xD15C), Arc::new(TestIndex::default()));
        let node = Node::open(&disk, &index).unwrap();
        Self {
            prng: Prng::new(seed),
            disk,
            index,
            model: Model::default(),
            node,
            clocks: [0; 5],
            n_starts: 0,
            trace: Vec::new(),
        }
    }

    pub(super) fn say(&mut self, line: impl Into<String>) {
        let line = line.into();
        if std::env::var_os("SEED").is_some() {
            println!("{line}");
        }
        self.trace.push(line);
    }

    pub(super) fn step(&mut self) {
        match self.prng.below(100) {
            0..50 => self.group(),
            50..62 => self.apply(),
            62..72 => self.persist(),
            72..80 => self.trim(),
            80..88 => {
                self.disk.fail_after(self.prng.below(6));
                if self.prng.chance(50.0) {
                    self.disk.fail_again_after(self.prng.below(4));
                }
                self.group();
            }
            88..94 => {
                let (n_operations, end) = (self.prng.below(8), self.any_end());
                self.disk.end_after(n_operations, end);
                self.group();
                self.trim();
                self.group();
            }
            94..95 => self.blind_index(),
            95..96 => self.retain(),
            96..98 => self.failing_index(),
            98..99 => self.close(),
            _ => {
                let end = self.any_end();
                self.end(end, None);
            }
        }
    }

    pub(super) fn any_end(&mut self) -> End {
        if self.prng.chance(60.0) {
            End::PowerCut
        } else {
            End::Kill
        }
    }

    /// Hands over a group and holds what is said about it against the model.
    pub(super) fn group(&mut self) {
        let before = self.node.counts();
        let durable = self.node.engine.shared.progress.durable();
        let has_failed = self.node.has_failed();
        let told = self.hand_over();
        if self.ended("group") {
            return;
        }
        let new = self.model.new_keys(&told.records);
        let verdict = told.verdicts[0];
        let line = format!(
            "told {verdict:?}, {} new of {} in {}",
            new.len(),
            told.records.len(),
            told.n_submissions
        );
        self.say(line);
        assert!(told.verdicts.iter().all(|other| *other == verdict));
        assert!(
            !has_failed || verdict != Verdict::Durable,
            "confirmed after a failure"
        );
        let found = self.node.log(durable);
        let found_keys: Vec<Key> = found.iter().map(|(_, record)| key_of(record)).collect();
        if verdict == Verdict::Durable {
            assert_eq!(found_keys, new, "what a durable group adds to the log");
            found
                .iter()
                .for_each(|placed| self.model.found_in_log(placed));
            self.model.acknowledge(&told.records);
            self.node
                .ends
                .push(self.node.engine.shared.progress.durable());
        } else {
            assert_eq!(found_keys, [], "what a refused group adds to the log");
        }
        self.check_counts(before, &told, &found_keys);
        self.check_live(&found);
    }

    fn hand_over(&mut self) -> Told {
        let shared = Arc::clone(&self.node.engine.shared);
        let n_submissions = 1 + usize::try_from(self.prng.below(4)).unwrap();
        let (mut all, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..n_submissions {
            let n_records = 1 + self.prng.below(6);
            let records: Vec<_> = (0..n_records).map(|_| self.any_record()).collect();
            records.iter().for_each(|record| self.model.submit(record));
            all.extend(records.iter().cloned());
            let (settle, receiver) = Settle::new(None);
            shared.submit(records.into(), settle);
            receivers.push(receiver);
        }
        let mut submissions = Vec::new();
        shared
            .queue
            .take_all(&mut submissions, Duration::ZERO, Duration::ZERO);
        self.node.engine.writer.group(&mut submissions);
        Told {
            records: all,
            n_submissions,
            verdicts: receivers.iter_mut().map(verdict_now).collect(),
        }
    }

    fn any_record(&mut self) -> Record {
        let number = usize::try_from(self.prng.below(5)).unwrap();
        let vehicle = VehicleId::parse(format!("v{number}").as_bytes()).unwrap();
        let clock = self.clocks[number];
        let (kind, steps) = match self.prng.below(100) {
            0..25 if !self.model.submitted.is_empty() => {
                let n_keys = self.model.submitted.len() as u64;
                // Mostly one of the last: in the tail, or in the index for a short time.
                let back = self.prng.below(n_keys.min(40)) + 1;
                let place = if self.prng.chance(70.0) {
                    n_keys - back
                } else {
                    self.prng.below(n_keys)
                };
                let key = self.model.submitted[usize::try_from(place).unwrap()].clone();
                return self.flagged(&key);
            }
            0..70 => {
                self.clocks[number] = clock + 1 + self.prng.below(20) as i64;
                (Kind::Position, self.clocks[number])
            }
            70..84 => (Kind::Position, self.prng.below(clock as u64 + 1) as i64),
            84..92 => (Kind::Event, self.prng.below(clock as u64 + 1) as i64),
            _ => (
                Kind::Position,
                FUTURE.0 / STEP_MILLIS + self.prng.below(20) as i64,
            ),
        };
        let key = RecordKey {
            vehicle,
            time: UnixMillis(steps * STEP_MILLIS),
            hash: self.prng.below(2),
        };
        self.flagged(&(kind, key))
    }

    /// The record of `key`; in the future at its first times, and believed later.
    fn flagged(&mut self, key: &Key) -> Record {
        let is_future = key.1.time >= FUTURE && self.prng.chance(70.0);
        let flags = if is_future {
            Flags::FUTURE
        } else {
            Flags::default()
        };
        record_of(key, flags)
    }

    /// Submitted is stored, repeated or refused.
    fn check_counts(&self, before: [u64; 7], told: &Told, new: &[Key]) {
        let n_all = told.records.len() as u64;
        let is_position = |record: &&Record| record.kind() == Kind::Position;
        let n_positions = told.records.iter().filter(is_position).count() as u64;
        let n_new = new.len() as u64;
        let n_new_positions = new.iter().filter(|key| key.0 == Kind::Position).count() as u64;
        let n_new_events = n_new - n_new_positions;
        let is_fix = |record: &&Record| record.kind() == Kind::Position;
        let n_young = self.model.young(&told.records).count() as u64;
        let n_young_positions = self.model.young(&told.records).filter(is_fix).count() as u64;
        let n_young_events = n_young - n_young_positions;
        let expected = match told.verdicts[0] {
            Verdict::Durable => [
                n_new_positions,
                n_young_positions - n_new_positions,
                n_positions - n_young_positions,
                n_new_events,
                n_young_events - n_new_events,
                n_all - n_positions - n_young_events,
                0,
            ],
            Verdict::Refused(_) => [0, 0, 0, 0, 0, 0, n_positions],
        };
        let after = self.node.counts();
        let added: Vec<_> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        assert_eq!(
            added, expected,
            "stored, repeated, expired, of events, refused"
        );
        assert_eq!(self.node.metrics.positions_in_flight.get(), 0);
    }

    /// The live stream shows the new positions of a durable group, and nothing else.
    fn check_live(&mut self, found: &[Placed]) {
        let mut shown = Vec::new();
        while let Ok(batch) = self.node.live.try_recv() {
            shown.extend(batch.iter().map(key_of));
        }
        let expected: Vec<_> = found
            .iter()
            .map(|(_, record)| key_of(record))
            .filter(|key| key.0 == Kind::Position)
            .collect();
        assert_eq!(shown, expected, "live");
    }

    fn apply(&mut self) {
        if self.node.has_failed() {
            return;
        }
        let place = self.prng.below(self.node.ends.len() as u64);
        let end = self.node.ends[usize::try_from(place).unwrap()];
        let outcome = self.node.engine.indexer.apply_up_to(end);
        self.say(format!("applied up to {end:?}"));
        outcome.unwrap();
    }

    fn persist(&mut self) {
        if !self.node.has_failed() {
            self.node.engine.indexer.persist().unwrap();
            self.say(format!("persisted {:?}", self.index.persisted()));
        }
    }

    fn trim(&mut self) {
        self.node.engine.writer.probe();
        let n_files = self.disk.n_files();
        self.node.engine.writer.trim();
        if !self.ended("trim") {
            let n_removed = n_files - self.disk.n_files();
            let line = if n_removed > 0 { "removed" } else { "nothing" };
            self.say(format!("trim {line} {n_removed}"));
        }
    }

    /// Whether the end that was set has come while the node did `what`.
    fn ended(&mut self, what: &str) -> bool {
        match self.disk.found() {
            Some((found, end)) => {
                self.say(format!("end in a {what}: {end:?}"));
                self.end(end, Some(found));
                true
            }
            None => false,
        }
    }

    fn close(&mut self) {
        let outcome = Node::open(&SimDisk::new(0), &Arc::default()).unwrap();
        let node = std::mem::replace(&mut self.node, outcome);
        let mut indexer = node.engine.indexer;
        node.engine.writer.close();
        self.say("close");
        if node.engine.shared.failure.borrow().is_none() {
            indexer
                .apply_up_to(node.engine.shared.progress.durable())
                .unwrap();
            indexer.persist().unwrap();
        }
        self.end(End::Kill, None);
    }

    /// The process ends now, or has ended when the disk was `found`; another one is started.
    pub(super) fn end(&mut self, end: End, found: Option<SimDisk>) {
        self.disk = found.unwrap_or_else(|| self.disk.after(end));
        if end == End::PowerCut {
            self.index.map.crash();
        }
        self.say(format!("end: {end:?}"));
        while !self.start() {}
    }

    /// Starts a process; false if it ended at once.
    fn start(&mut self) -> bool {
        let is_failing = self.prng.chance(15.0);
        if is_failing {
            self.disk.fail_after(self.prng.below(4));
        }
        if self.prng.chance(25.0) {
            let (n_operations, end) = (self.prng.below(4), self.any_end());
            self.disk.end_after(n_operations, end);
        }
        let opened = Node::open(&self.disk, &self.index);
        if let Some((found, end)) = self.disk.found() {
            self.say(format!("end in a start: {end:?}"));
            self.disk = found;
            if end == End::PowerCut {
                self.index.map.crash();
            }
            return false;
        }
        self.disk.calm_down();
        match opened {
            Ok(node) => {
                self.node = node;
                self.n_starts += 1;
            }
            Err(OpenError::Log(LogError::Io { .. })) if is_failing => {
                self.say("start refused");
                return false;
            }
            Err(error) => panic!("a start failed: {error}"),
        }
        self.model.set_horizon(None);
        let log = self.node.log(LogOffset(0));
        let n_before = self.model.n_present();
        let index = Arc::clone(&self.index);
        self.model
            .check_start(&log, |key| index.map.contains(key.0, &key.1).unwrap());
        let n_unconfirmed = self.model.n_present() - n_before;
        let mark = if n_unconfirmed > 0 { "unconfirmed" } else { "" };
        self.say(format!(
            "start: {} in the log, {mark} {n_unconfirmed}",
            log.len()
        ));
        true
    }

    /// Heals, catches up and looks at everything.
    pub(super) fn finish(&mut self) {
        self.disk.calm_down();
        let end = self.any_end();
        self.end(end, None);
        let durable = self.node.engine.shared.progress.durable();
        self.node.engine.indexer.apply_up_to(durable).unwrap();
        assert_eq!(self.node.engine.shared.progress.n_lag_records(), 0);
        let mut rows = Vec::new();
        for kind in [Kind::Position, Kind::Event] {
            let query = ScanQuery {
                kind,
                from: None,
                to: None,
                after: None,
            };
            rows.extend(self.index.map.scan(&query, usize::MAX).unwrap().records);
        }
        self.model.check_index(&rows);
        self.say(format!("finished with {}", rows.len()));
    }
}

pub(super) fn verdict_now(receiver: &mut VerdictReceiver) -> Verdict {
    let future = pin!(receiver.verdict());
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict,
        Poll::Pending => panic!("a group was handled and not settled"),
    }
}
