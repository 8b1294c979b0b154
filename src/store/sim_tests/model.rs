//! What the simulated store must hold, kept beside it from what was submitted and what was said.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    delivery::frame::RecordHead,
    store::{log::LogOffset, retention::Horizon},
    types::{
        attributes::{Attributes, Value},
        ids::VehicleId,
        record::{Body, Fix, Flags, Kind, Record, RecordKey},
        time::{DAY_MILLIS, UnixMillis},
    },
};

/// What makes a record the same as another one.
pub(super) type Key = (Kind, RecordKey);

/// A record with the end of its frame in the log.
pub(super) type Placed = (LogOffset, Record);

/// The books of one seed.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Keys that were ever handed over, in the order of their first time.
    pub(super) submitted: Vec<Key>,
    known: BTreeSet<Key>,
    /// Keys of which it was said that they are durable.
    acknowledged: BTreeSet<Key>,
    /// Keys that the store has, with the end of their frame.
    present: BTreeMap<Key, LogOffset>,
    /// Newest fix that the store has of each vehicle, future ones aside.
    newest: BTreeMap<VehicleId, UnixMillis>,
    horizon: Option<Horizon>,
    /// What the index had and has removed: its frames may be in the log still.
    removed: BTreeSet<(Key, LogOffset)>,
}

/// Fixes from here on lie in the future.
pub(super) const FUTURE: UnixMillis = UnixMillis(1_000_000 * STEP_MILLIS);

/// Between two times that a vehicle may report; so far apart that a run meets several months.
pub(super) const STEP_MILLIS: i64 = DAY_MILLIS / 4;

pub(super) fn key_of(record: &Record) -> Key {
    (record.kind(), record.key.clone())
}

/// The record of a key; all but the flags follows from the key.
pub(super) fn record_of(key: &Key, flags: Flags) -> Record {
    let mut attributes = Attributes::new();
    let number = key.1.time.0 / STEP_MILLIS * 10 + i64::try_from(key.1.hash).unwrap();
    attributes.insert("number", Value::Integer(number));
    Record {
        key: key.1.clone(),
        // Those of the future came at some time of the run, the others at any.
        received: UnixMillis(
            key.1
                .time
                .0
                .checked_sub(FUTURE.0)
                .map_or(0, |n| n.max(0) * 5),
        ),
        protocol: "toy".into(),
        flags,
        code: "".into(),
        attributes,
        raw: (number % 7 == 0).then(|| vec![b'r'; usize::try_from(number % 1_300).unwrap()].into()),
        body: match key.0 {
            Kind::Position => Body::Position(Fix::default()),
            Kind::Event => Body::Event,
        },
    }
}

impl Model {
    pub(super) fn n_present(&self) -> usize {
        self.present.len()
    }

    pub(super) fn submit(&mut self, record: &Record) {
        let key = key_of(record);
        if self.known.insert(key.clone()) {
            self.submitted.push(key);
        }
    }

    /// Of a group the keys that the store does not have yet and that are not too old, each once.
    pub(super) fn new_keys(&self, group: &[Record]) -> Vec<Key> {
        let mut new = Vec::new();
        for key in self.young(group).map(key_of) {
            if !self.present.contains_key(&key) && !new.contains(&key) {
                new.push(key);
            }
        }
        new
    }

    /// The store has said that `group` is durable.
    pub(super) fn acknowledge(&mut self, group: &[Record]) {
        let keys: Vec<Key> = self.young(group).map(key_of).collect();
        for key in keys {
            assert!(
                self.present.contains_key(&key),
                "acknowledged and not in the log: {key:?}"
            );
            self.acknowledged.insert(key);
        }
    }

    /// From now on what lies behind `horizon` is too old.
    pub(super) fn set_horizon(&mut self, horizon: Option<Horizon>) {
        self.horizon = horizon;
    }

    /// Those records of a group that are not too old.
    pub(super) fn young<'a>(&self, group: &'a [Record]) -> impl Iterator<Item = &'a Record> {
        let horizon = self.horizon;
        group.iter().filter(move |record| {
            !horizon.is_some_and(|horizon| horizon.is_past(&RecordHead::of(record)))
        })
    }

    /// The index has removed what is too old: of keys that are gone nothing is known any more.
    pub(super) fn forget(&mut self, is_indexed: impl Fn(&Key) -> bool) -> usize {
        let n_before = self.present.len();
        let horizon = self.horizon.expect("something was removed");
        self.present.retain(|key, end| {
            // A key may have come as one of the future, and is too old by its time.
            let may_go = horizon.is_past(&RecordHead::of(&record_of(key, Flags::default())));
            let is_there = is_indexed(key);
            assert!(
                may_go || is_there || key.1.time >= FUTURE,
                "young and gone: {key:?}"
            );
            if !is_there {
                self.removed.insert((key.clone(), *end));
            }
            is_there
        });
        self.acknowledged
            .retain(|key| self.present.contains_key(key));
        self.newest.clear();
        for (kind, key) in self.present.keys() {
            if *kind == Kind::Position && key.time < FUTURE {
                let newest = self.newest.entry(key.vehicle.clone()).or_insert(key.time);
                *newest = key.time.max(*newest);
            }
        }
        n_before - self.present.len()
    }

    /// The log holds `record`.
    #[track_caller]
    pub(super) fn found_in_log(&mut self, (end, record): &Placed) {
        let key = key_of(record);
        self.check_content(record);
        let earlier = self.present.insert(key.clone(), *end);
        assert!(
            earlier.is_none_or(|earlier| earlier == *end),
            "twice in the log: {key:?} at {earlier:?} and {end:?}"
        );
        if earlier.is_some() || key.0 == Kind::Event || record.flags.contains(Flags::FUTURE) {
            return;
        }
        let time = record.key.time;
        let newest = self
            .newest
            .entry(record.key.vehicle.clone())
            .or_insert(time);
        assert!(
            *newest <= time || record.flags.contains(Flags::LATE),
            "late and not marked: {key:?}, newest {newest:?}"
        );
        *newest = time.max(*newest);
    }

    /// What a start found: `log`, and in the index what `is_indexed` says.
    #[track_caller]
    pub(super) fn check_start(&mut self, log: &[Placed], is_indexed: impl Fn(&Key) -> bool) {
        let mut in_log = BTreeSet::new();
        for placed in log {
            let key = key_of(&placed.1);
            if self.removed.contains(&(key.clone(), placed.0)) {
                continue;
            }
            assert!(in_log.insert(key.clone()), "twice in the log: {key:?}");
            self.found_in_log(placed);
        }
        for key in self.present.keys() {
            assert!(
                in_log.contains(key) || is_indexed(key),
                "lost: {key:?}, acknowledged: {}",
                self.acknowledged.contains(key)
            );
        }
    }

    /// What the index has once all is applied.
    #[track_caller]
    pub(super) fn check_index(&self, rows: &[Record]) {
        let mut indexed = BTreeSet::new();
        for record in rows {
            self.check_content(record);
            let key = key_of(record);
            assert!(self.present.contains_key(&key), "never in the log: {key:?}");
            assert!(indexed.insert(key.clone()), "twice in the index: {key:?}");
        }
        for key in self.present.keys().chain(&self.acknowledged) {
            assert!(indexed.contains(key), "not in the index: {key:?}");
        }
    }

    /// A record that comes out is one that went in.
    #[track_caller]
    fn check_content(&self, record: &Record) {
        let key = key_of(record);
        assert!(self.known.contains(&key), "never submitted: {key:?}");
        assert_eq!(*record, record_of(&key, record.flags), "altered");
    }
}
