//! Reading many records from [`FjallIndex`]: ranges and pages of vehicles.
//!
//! Every question takes what it needs of the records that wait in memory, then a snapshot, before any
//! of those is forgotten: so it sees each record in the one or in the other, or the same in both.

use std::{
    cmp::Ordering, collections::VecDeque, iter::Peekable, ops::Bound, sync::PoisonError, vec,
};

use ::fjall::{Iter, Keyspace, Readable, Snapshot, UserKey, UserValue};

use super::{
    FjallIndex, backend,
    lane::{ReadRoom, has_spot, only_position, read_block},
    missing_row,
    newest::NewestKey,
};
use crate::{
    store::index::{
        IndexError, RangeQuery,
        block::{Spot, spot_of},
        rows::{self, FirstRow, Moment, RowValue},
    },
    types::{
        ids::VehicleId,
        record::{Kind, Record},
        time::{Month, UnixMillis},
    },
};

/// An answer ends after so many bytes of records, however many it may hold.
pub(super) const PAGE_BYTES_MAX: usize = 256 * 1024;

impl FjallIndex {
    /// See [`crate::store::index::Index::vehicles`].
    pub(super) fn read_vehicles(
        &self,
        after: Option<&VehicleId>,
        limit: usize,
    ) -> Result<Vec<Record>, IndexError> {
        let start = after.map_or_else(Vec::new, rows::after_vehicle);
        let (staged, snapshot) = {
            let stage = self.staged();
            let staged = stage.newest_behind(after, limit, PAGE_BYTES_MAX)?;
            (staged, self.database.snapshot())
        };
        let (staged, is_whole) = staged;
        let mut staged = staged.into_iter().peekable();
        let mut rows = Rows::new(snapshot.range(&self.last, start..));
        let mut written = rows.next_last()?;
        let (mut records, mut n_bytes) = (Vec::new(), 0);
        while records.len() < limit && n_bytes < PAGE_BYTES_MAX {
            let order = match (&written, staged.peek()) {
                (Some(one), Some(other)) => one.key.vehicle.cmp(&other.key.vehicle),
                // What else waits may come before it.
                (_, None) if !is_whole => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let one = if order.is_le() {
                std::mem::replace(&mut written, rows.next_last()?)
            } else {
                None
            };
            let other = if order.is_ge() { staged.next() } else { None };
            let newest = newer(one, other);
            n_bytes += newest.as_ref().map_or(0, Record::memory_bytes);
            records.extend(newest);
        }
        Ok(records)
    }

    /// See [`crate::store::index::Index::range`].
    pub(super) fn read_range(
        &self,
        query: &RangeQuery,
        limit: usize,
    ) -> Result<Vec<Record>, IndexError> {
        let Some(bounds) = Bounds::of(query) else {
            return Ok(Vec::new());
        };
        let (staged, snapshot) = {
            let stage = self.staged();
            let track = (&query.vehicle, query.kind);
            let staged = match stage.vehicle(&query.vehicle) {
                // If that ends by its bytes, so does the page, with the last of them.
                Some(staged) => {
                    let mut room = ReadRoom::new(limit, PAGE_BYTES_MAX);
                    staged.read(track, (bounds.from, bounds.to), &mut room)?
                }
                None => Vec::new(),
            };
            (staged, self.database.snapshot())
        };
        let first = query.after.map(|(time, _)| time).max(query.from);
        let months = self.months_between(first, query.to);
        let future = VecDeque::from([self.future.clone()]);
        let mut sources = [
            Source::Staged(staged.into_iter()),
            Source::Rows(RangeRows::new(&snapshot, months, &bounds)),
            Source::Rows(RangeRows::new(&snapshot, future, &bounds)),
        ]
        .map(Iterator::peekable);
        let (mut records, mut n_bytes) = (Vec::new(), 0);
        while records.len() < limit
            && n_bytes < PAGE_BYTES_MAX
            && let Some(record) = next_of_all(&mut sources)
        {
            let record = record?;
            n_bytes += record.memory_bytes();
            records.push(record);
        }
        Ok(records)
    }

    /// The months with keyspaces that hold times from `from` up to `to`, in order.
    pub(super) fn months_between(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> VecDeque<Keyspace> {
        self.months_with_names(from, to)
            .into_iter()
            .map(|(_, keyspace)| keyspace)
            .collect()
    }

    pub(super) fn months_with_names(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Vec<(Month, Keyspace)> {
        let first = from.map(UnixMillis::month);
        let last = to.map(|to| UnixMillis(to.0.saturating_sub(1)).month());
        let months = self.months.read().unwrap_or_else(PoisonError::into_inner);
        months
            .iter()
            .filter(|(month, _)| first.is_none_or(|first| first <= **month))
            .filter(|(month, _)| last.is_none_or(|last| **month <= last))
            .map(|(month, keyspace)| (*month, keyspace.clone()))
            .collect()
    }
}

/// The later of two last positions of one vehicle; of equal ones that which waits.
pub(super) fn newer(written: Option<Record>, staged: Option<Record>) -> Option<Record> {
    match (written, staged) {
        (Some(one), Some(other)) if NewestKey::of(&one) > NewestKey::of(&other) => Some(one),
        (one, other) => other.or(one),
    }
}

/// Rows in the order of their keys.
pub(super) struct Rows(Iter);

impl Rows {
    pub(super) const fn new(rows: Iter) -> Self {
        Self(rows)
    }

    pub(super) fn next_row(&mut self) -> Result<Option<(UserKey, UserValue)>, IndexError> {
        let row = self.0.next().map(::fjall::Guard::into_inner);
        row.transpose().map_err(backend)
    }

    /// The record whose first row was just read.
    fn whole(&mut self, key: &[u8], first: FirstRow<'_>) -> Result<Record, IndexError> {
        first.assemble(|number| match self.next_row()? {
            Some((further, piece)) if *further == *rows::further_key(key, number) => Ok(piece),
            _ => Err(missing_row(&key.escape_ascii().to_string(), number)),
        })
    }

    /// The next last position.
    fn next_last(&mut self) -> Result<Option<Record>, IndexError> {
        while let Some((key, value)) = self.next_row()? {
            if rows::is_first_of_last(&key)? {
                return match RowValue::parse(&value)? {
                    RowValue::Record(first) => self.whole(&key, first).map(Some),
                    RowValue::Block(block) => {
                        only_position(block, &rows::vehicle_of(&key)?).map(Some)
                    }
                };
            }
        }
        Ok(None)
    }

    /// The next first row in a month or in `future`.
    pub(super) fn next_first(
        &mut self,
    ) -> Result<Option<(Moment, UserKey, UserValue)>, IndexError> {
        while let Some((key, value)) = self.next_row()? {
            if let Some(moment) = rows::moment_of(&key)? {
                return Ok(Some((moment, key, value)));
            }
        }
        Ok(None)
    }

    /// Appends the records of the first row that was just read whose spots are wanted.
    pub(super) fn records(
        &mut self,
        (moment, key, value): (Moment, &[u8], &[u8]),
        is_wanted: impl Fn(Spot) -> bool,
        into: &mut Vec<Record>,
    ) -> Result<(), IndexError> {
        match RowValue::parse(value)? {
            RowValue::Block(block) => {
                let vehicle = rows::vehicle_of(key)?;
                read_block(block, (&vehicle, moment.kind), is_wanted, into)
            }
            RowValue::Record(first) => {
                if is_wanted((moment.time, moment.hash)) {
                    into.push(self.whole(key, first)?);
                }
                Ok(())
            }
        }
    }

    /// Whether the next first row, which is not all before a record, has it.
    pub(super) fn next_has(mut self, spot: Spot) -> Result<bool, IndexError> {
        let Some((moment, _, value)) = self.next_first()? else {
            return Ok(false);
        };
        match RowValue::parse(&value)? {
            RowValue::Block(block) => has_spot(block, spot),
            RowValue::Record(_) => Ok((moment.time, moment.hash) == spot),
        }
    }
}

/// What an answer to a [`RangeQuery`] lies between.
pub(super) struct Bounds {
    /// The first spot that may be in it.
    pub(super) from: Spot,
    /// The first spot that is behind it.
    pub(super) to: Option<Spot>,
    /// The first key whose row may have a part of it, in every keyspace.
    start: Vec<u8>,
    /// A key behind all of the vehicle's rows of this kind. A row with records before `to` may stand
    /// anywhere before it.
    end: Vec<u8>,
}

impl Bounds {
    /// The bounds, or nothing if nothing can lie between them.
    pub(super) fn of(query: &RangeQuery) -> Option<Self> {
        let RangeQuery { vehicle, kind, .. } = query;
        let mut from = (query.from.unwrap_or(UnixMillis(i64::MIN)), 0);
        if let Some(after) = query.after {
            from = from.max(behind(after)?);
        }
        let to = query.to.map(|to| (to, 0));
        let (time, hash) = from;
        let mut start = Vec::new();
        let kind = *kind;
        rows::put_record_key(vehicle, Moment { kind, time, hash }, &mut start);
        let end = rows::after_kind(vehicle, kind);
        to.is_none_or(|to| from < to).then_some(Self {
            from,
            to,
            start,
            end,
        })
    }

    pub(super) fn holds(&self, spot: Spot) -> bool {
        self.from <= spot && self.to.is_none_or(|to| spot < to)
    }

    /// The keys of all rows that may have a part of it, in every keyspace.
    pub(super) const fn keys(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start = Bound::Included(self.start.as_slice());
        (start, Bound::Excluded(self.end.as_slice()))
    }
}

/// The spot right behind one; none behind the last of all.
pub(super) fn behind((time, hash): Spot) -> Option<Spot> {
    match hash.checked_add(1) {
        Some(hash) => Some((time, hash)),
        None => time.0.checked_add(1).map(|time| (UnixMillis(time), 0)),
    }
}

/// The records between two spots of several keyspaces, one keyspace after the other.
struct RangeRows<'a> {
    snapshot: &'a Snapshot,
    bounds: &'a Bounds,
    rows: Option<Rows>,
    /// Of the row read last.
    records: VecDeque<Record>,
    keyspaces: VecDeque<Keyspace>,
}

impl<'a> RangeRows<'a> {
    const fn new(
        snapshot: &'a Snapshot,
        keyspaces: VecDeque<Keyspace>,
        bounds: &'a Bounds,
    ) -> Self {
        Self {
            snapshot,
            bounds,
            rows: None,
            records: VecDeque::new(),
            keyspaces,
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>, IndexError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(Some(record));
            }
            if let Some(rows) = &mut self.rows
                && let Some((moment, key, value)) = rows.next_first()?
            {
                let mut read = Vec::new();
                let bounds = self.bounds;
                rows.records((moment, &key, &value), |spot| bounds.holds(spot), &mut read)?;
                self.records = read.into();
                if bounds.to.is_some_and(|to| (moment.time, moment.hash) >= to) {
                    self.rows = None;
                }
                continue;
            }
            let Some(keyspace) = self.keyspaces.pop_front() else {
                return Ok(None);
            };
            let keys = self.bounds.keys();
            let rows = self.snapshot.range::<&[u8], _>(&keyspace, keys);
            self.rows = Some(Rows::new(rows));
        }
    }
}

impl Iterator for RangeRows<'_> {
    type Item = Result<Record, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// Records in the order of their spots.
enum Source<'a> {
    Staged(vec::IntoIter<Record>),
    Rows(RangeRows<'a>),
}

impl Iterator for Source<'_> {
    type Item = Result<Record, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Staged(records) => records.next().map(Ok),
            Self::Rows(rows) => rows.next(),
        }
    }
}

/// The least of the next records by (time, hash), or an error. Of several with one key that of the
/// first source; the others are passed over.
fn next_of_all(sources: &mut [Peekable<Source<'_>>]) -> Option<Result<Record, IndexError>> {
    let mut least: Option<Spot> = None;
    for source in sources.iter_mut() {
        match source.peek() {
            Some(Ok(record)) => {
                let spot = spot_of(record);
                least = Some(least.map_or(spot, |least| least.min(spot)));
            }
            Some(Err(_)) => return source.next(),
            None => {}
        }
    }
    let least = least?;
    let mut found = None;
    for source in sources {
        let is_least = |next: &Result<Record, IndexError>| {
            next.as_ref().is_ok_and(|record| spot_of(record) == least)
        };
        if let Some(record) = source.next_if(is_least) {
            found.get_or_insert(record);
        }
    }
    found
}

/// The keys of the rows of a vehicle and kind that are not all before a spot.
pub(super) fn keys_from(
    vehicle: &VehicleId,
    kind: Kind,
    (time, hash): Spot,
) -> std::ops::Range<Vec<u8>> {
    let mut start = Vec::new();
    rows::put_record_key(vehicle, Moment { kind, time, hash }, &mut start);
    start..rows::after_kind(vehicle, kind)
}

#[cfg(test)]
mod tests {
    use super::{super::Index as _, *};
    use crate::store::index::{IndexConfig, tests::position};

    /// Records of one vehicle, or each of its own, of 60 KB; half of them are written.
    fn large(folder: &std::path::Path, id_of: impl Fn(i64) -> String) -> (FjallIndex, Vec<Record>) {
        let index = FjallIndex::open(folder, IndexConfig::default()).unwrap();
        let records: Vec<Record> = (0..60)
            .map(|time| Record {
                raw: Some(vec![b'a'; 60_000].into()),
                ..position(&id_of(time), time, 1)
            })
            .collect();
        let (written, waiting) = records.split_at(30);
        index.apply(written).unwrap();
        index.flush_waiting().unwrap();
        index.apply(waiting).unwrap();
        (index, records)
    }

    #[track_caller]
    fn check_size(page: &[Record]) {
        let n_bytes: usize = page.iter().map(Record::memory_bytes).sum();
        assert!(n_bytes < PAGE_BYTES_MAX + 64 * 1024, "{n_bytes} bytes");
    }

    #[test]
    fn a_track_of_large_records_is_given_in_pages_of_a_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let (index, records) = large(folder.path(), |_| "large".to_owned());
        let mut query = RangeQuery {
            vehicle: records[0].key.vehicle.clone(),
            kind: Kind::Position,
            from: None,
            to: None,
            after: None,
        };
        let mut found = Vec::new();
        loop {
            let page = index.range(&query, 1_000).unwrap();
            check_size(&page);
            let Some(last) = page.last() else { break };
            query.after = Some(spot_of(last));
            found.extend(page);
        }
        assert_eq!(found, records);
    }

    #[test]
    fn large_records_that_wait_are_read_within_the_same_bounds_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let index = FjallIndex::open(folder.path(), IndexConfig::default()).unwrap();
        let mut records: Vec<Record> = (0..60)
            .map(|time| Record {
                raw: Some(vec![b'a'; 60_000].into()),
                ..position("large", time, 1)
            })
            .collect();
        // The odd ones come late, each between two pieces.
        let (even, odd): (Vec<_>, Vec<_>) = records
            .iter()
            .cloned()
            .partition(|it| it.key.time.0 % 2 == 0);
        index.apply(&even).unwrap();
        index.apply(&odd).unwrap();
        // And one of either comes again.
        for again in [20, 31] {
            records[again].received = UnixMillis(9);
            index.apply(&records[again..=again]).unwrap();
        }
        let track = (&records[0].key.vehicle, Kind::Position);
        let stage = index.staged();
        let staged = stage.vehicle(track.0).unwrap();
        let mut room = ReadRoom::new(1_000, PAGE_BYTES_MAX);
        let read = staged
            .read(track, ((UnixMillis(7), 0), None), &mut room)
            .unwrap();
        assert_eq!(read, records[7..7 + read.len()]);
        check_size(&read);
        let mut room = ReadRoom::new(1_000, usize::MAX);
        let read = staged
            .read(track, ((UnixMillis(0), 0), None), &mut room)
            .unwrap();
        assert_eq!(read, records);
        let (newest, is_whole) = stage.newest_behind(None, 9, PAGE_BYTES_MAX).unwrap();
        assert_eq!((newest.len(), is_whole), (1, true));
    }

    /// Index blocks of merged tables are in parts, of which a range must meet the right ones.
    #[test]
    fn ranges_of_merged_tables_begin_anywhere() {
        const N_VEHICLES: i64 = 20;
        let folder = tempfile::tempdir().unwrap();
        let config = IndexConfig {
            stage_bytes: 256 * 1024,
            memtable_bytes: 256 * 1024,
            memtables_bytes: 256 * 1024,
            ..IndexConfig::default()
        };
        let index = FjallIndex::open(folder.path(), config).unwrap();
        let records: Vec<Record> = (0..20_000)
            .map(|time| Record {
                raw: Some(vec![b'a'; 300].into()),
                ..position(&format!("vehicle {:02}", time % N_VEHICLES), time, 1)
            })
            .collect();
        for some in records.chunks(100) {
            index.apply(some).unwrap();
        }
        index.flush_waiting().unwrap();
        for keyspace in index.months.read().unwrap().values() {
            keyspace.rotate_memtable_and_wait().unwrap();
            keyspace.major_compact().unwrap();
        }
        for from in (0..20_000).step_by(37) {
            let first = &records[from];
            let query = RangeQuery {
                vehicle: first.key.vehicle.clone(),
                kind: Kind::Position,
                from: Some(first.key.time),
                to: None,
                after: None,
            };
            let found = index.range(&query, 10).unwrap();
            let expected = records[from..].iter().step_by(N_VEHICLES as usize).take(10);
            assert!(found.iter().eq(expected), "from {from}");
        }
    }

    #[test]
    fn large_last_positions_are_given_in_pages_of_a_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let (index, records) = large(folder.path(), |number| format!("large {number:02}"));
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = index.vehicles(after.as_ref(), 1_000).unwrap();
            check_size(&page);
            let Some(last) = page.last() else { break };
            after = Some(last.key.vehicle.clone());
            found.extend(page);
        }
        assert_eq!(found, records);
    }
}
