//! An index in memory, for the simulation and as the model that [`super::FjallIndex`] is tested
//! against: ordered maps, and a power cut on demand.
//!
//! It must not share how rows are laid out with the real one, so that a mistake there shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    store::{
        index::{
            Index, IndexError, RangeQuery, Removed, ScanCursor, ScanPage, ScanQuery, SpotPage,
        },
        log::LogOffset,
        retention::{Age, Horizon},
    },
    types::{
        ids::VehicleId,
        record::{Flags, Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

/// An [`Index`] that keeps all records in memory.
#[derive(Debug, Default)]
pub struct MapIndex(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<RowKey, Record>,
    last: BTreeMap<VehicleId, Record>,
    age: Option<Age>,
    persisted: LogOffset,
    /// What stood where something was written since the last [`Index::persist`], in order.
    undo: Vec<Undo>,
}

type RowKey = (VehicleId, Kind, UnixMillis, u64);

#[derive(Debug)]
enum Undo {
    Row(RowKey, Option<Record>),
    Last(VehicleId, Option<Record>),
    Age(Option<Age>),
}

impl MapIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// A power cut: forgets all that was applied since the last [`Index::persist`].
    pub fn crash(&self) {
        let mut state = self.state();
        while let Some(undo) = state.undo.pop() {
            match undo {
                Undo::Row(key, Some(record)) => drop(state.rows.insert(key, record)),
                Undo::Row(key, None) => drop(state.rows.remove(&key)),
                Undo::Last(vehicle, Some(record)) => drop(state.last.insert(vehicle, record)),
                Undo::Last(vehicle, None) => drop(state.last.remove(&vehicle)),
                Undo::Age(age) => state.age = age,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, record: &Record) {
        let key = row_key(record.kind(), &record.key);
        let is_future = record.flags.contains(Flags::FUTURE);
        let has_believed = self
            .rows
            .get(&key)
            .is_some_and(|present| !present.flags.contains(Flags::FUTURE));
        if is_future && has_believed {
            return;
        }
        let earlier = self.rows.insert(key.clone(), record.clone());
        self.undo.push(Undo::Row(key, earlier));
        if is_future || record.kind() != Kind::Position {
            return;
        }
        let vehicle = &record.key.vehicle;
        let is_newer = self
            .last
            .get(vehicle)
            .is_none_or(|last| order_of(last) <= order_of(record));
        if is_newer {
            let earlier = self.last.insert(vehicle.clone(), record.clone());
            self.undo.push(Undo::Last(vehicle.clone(), earlier));
        }
    }
}

impl Index for MapIndex {
    fn persisted(&self) -> LogOffset {
        self.state().persisted
    }

    fn apply(&self, records: &[Record]) -> Result<(), IndexError> {
        let mut state = self.state();
        records.iter().for_each(|record| state.put(record));
        Ok(())
    }

    fn persist(&self, applied: LogOffset) -> Result<LogOffset, IndexError> {
        let mut state = self.state();
        state.undo.clear();
        state.persisted = applied;
        Ok(applied)
    }

    fn contains(&self, kind: Kind, key: &RecordKey) -> Result<bool, IndexError> {
        Ok(self.state().rows.contains_key(&row_key(kind, key)))
    }

    fn has_future(&self, vehicle: &VehicleId) -> Result<bool, IndexError> {
        let is_future = |record: &Record| {
            record.key.vehicle == *vehicle && record.flags.contains(Flags::FUTURE)
        };
        Ok(self.state().rows.values().any(is_future))
    }

    fn last(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        Ok(self.state().last.get(vehicle).cloned())
    }

    fn vehicles(&self, after: Option<&VehicleId>, limit: usize) -> Result<Vec<Record>, IndexError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let page = state
            .last
            .range::<VehicleId, _>((from, Bound::Unbounded))
            .take(limit);
        Ok(page.map(|(_, record)| record.clone()).collect())
    }

    fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError> {
        let RangeQuery { vehicle, kind, .. } = query;
        let start = (
            vehicle.clone(),
            *kind,
            query.from.unwrap_or(UnixMillis(i64::MIN)),
            0,
        );
        let state = self.state();
        let page = state
            .rows
            .range(start..)
            .map(|(_, record)| record)
            .take_while(|record| record.key.vehicle == *vehicle && record.kind() == *kind)
            .take_while(|record| query.to.is_none_or(|to| record.key.time < to))
            .filter(|record| {
                query
                    .after
                    .is_none_or(|after| (record.key.time, record.key.hash) > after)
            })
            .take(limit);
        Ok(page.cloned().collect())
    }

    fn spots(&self, query: &RangeQuery, limit: usize) -> Result<SpotPage, IndexError> {
        let records = self.range(query, limit.saturating_add(1))?;
        let spots = records
            .iter()
            .map(|record| (record.key.time, record.key.hash));
        Ok(SpotPage {
            spots: spots.take(limit).collect(),
            is_whole: records.len() <= limit,
        })
    }

    fn scan(&self, query: &ScanQuery, limit: usize) -> Result<ScanPage, IndexError> {
        let from = match &query.after {
            Some(cursor) => Bound::Excluded(parse_cursor(cursor)?),
            None => Bound::Unbounded,
        };
        let state = self.state();
        let mut matching = state
            .rows
            .range((from, Bound::Unbounded))
            .map(|(_, record)| record)
            .filter(|record| {
                let time = record.key.time;
                record.kind() == query.kind
                    && query.from.is_none_or(|from| from <= time)
                    && query.to.is_none_or(|to| time < to)
            });
        let records: Vec<Record> = matching.by_ref().take(limit.max(1)).cloned().collect();
        let next = match (matching.next(), records.last()) {
            (Some(_), Some(last)) => Some(cursor(last)),
            _ => None,
        };
        Ok(ScanPage { records, next })
    }

    fn age(&self) -> Result<Option<Age>, IndexError> {
        Ok(self.state().age)
    }

    fn note_age(&self, age: &Age) -> Result<(), IndexError> {
        let mut state = self.state();
        let earlier = state.age.replace(*age);
        state.undo.push(Undo::Age(earlier));
        Ok(())
    }

    fn remove_past(&self, horizon: &Horizon) -> Result<Removed, IndexError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut months = BTreeSet::new();
        for (key, record) in state
            .rows
            .extract_if(.., |_, record| horizon.is_due(record))
        {
            if !record.flags.contains(Flags::FUTURE) {
                months.insert(record.key.time.month());
            }
            state.undo.push(Undo::Row(key, Some(record)));
        }
        let is_due = |_: &VehicleId, record: &mut Record| horizon.is_due(record);
        for (vehicle, record) in state.last.extract_if(.., is_due) {
            state.undo.push(Undo::Last(vehicle, Some(record)));
        }
        Ok(Removed {
            n_months: months.len() as u64,
            is_complete: true,
        })
    }
}

fn row_key(kind: Kind, key: &RecordKey) -> RowKey {
    (key.vehicle.clone(), kind, key.time, key.hash)
}

const fn order_of(record: &Record) -> (UnixMillis, UnixMillis, u64) {
    (record.key.time, record.received, record.key.hash)
}

/// Kind (u8), time (i64), hash (u64), vehicle.
fn cursor(record: &Record) -> ScanCursor {
    let mut bytes = vec![u8::from(record.kind() == Kind::Event)];
    bytes.extend(record.key.time.0.to_le_bytes());
    bytes.extend(record.key.hash.to_le_bytes());
    bytes.extend(record.key.vehicle.as_str().as_bytes());
    ScanCursor(bytes)
}

fn parse_cursor(cursor: &ScanCursor) -> Result<RowKey, IndexError> {
    let read = || {
        let (kind, rest) = cursor.0.split_first()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (hash, vehicle) = rest.split_first_chunk()?;
        let kind = match kind {
            0 => Kind::Position,
            1 => Kind::Event,
            _ => return None,
        };
        let vehicle = VehicleId::parse(vehicle).ok()?;
        let time = UnixMillis(i64::from_le_bytes(*time));
        Some((vehicle, kind, time, u64::from_le_bytes(*hash)))
    };
    read().ok_or_else(|| IndexError::Damaged("cursor".to_owned()))
}
