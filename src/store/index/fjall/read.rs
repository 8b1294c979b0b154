//! Reading many records from [`FjallIndex`]: ranges, pages of vehicles, scans.
//!
//! Every question reads one snapshot, so that it sees all rows of a batch or none.

use std::{collections::VecDeque, iter::Peekable, ops::Bound, sync::PoisonError};

use ::fjall::{Iter, Keyspace, Readable, Snapshot, UserKey, UserValue};

use super::{FjallIndex, backend, missing_row};
use crate::{
    store::index::{
        IndexError, RangeQuery, ScanPage, ScanQuery,
        rows::{self, FirstRow, Moment, Place},
    },
    types::{
        ids::VehicleId,
        record::Record,
        time::{Month, UnixMillis},
    },
};

/// Most records one page of a scan looks at for each record it may hold, and what it may look at
/// besides: a page that a filter leaves empty ends too.
const VISITS_PER_RECORD: usize = 8;
const VISITS_BESIDES: usize = 4_096;

impl FjallIndex {
    /// See [`crate::store::index::Index::vehicles`].
    pub(super) fn read_vehicles(
        &self,
        after: Option<&VehicleId>,
        limit: usize,
    ) -> Result<Vec<Record>, IndexError> {
        let start = after.map_or_else(Vec::new, rows::after_vehicle);
        let snapshot = self.database.snapshot();
        let mut rows = Rows(snapshot.range(&self.last, start..));
        let mut records = Vec::new();
        while records.len() < limit {
            let Some((key, value)) = rows.next_row()? else {
                break;
            };
            if rows::is_first_of_last(&key)? {
                records.push(rows.whole(&key, &value)?);
            }
        }
        Ok(records)
    }

    /// See [`crate::store::index::Index::range`].
    pub(super) fn read_range(
        &self,
        query: &RangeQuery,
        limit: usize,
    ) -> Result<Vec<Record>, IndexError> {
        let Some(bounds) = KeyBounds::of(query) else {
            return Ok(Vec::new());
        };
        let snapshot = self.database.snapshot();
        let first = query.after.map(|(time, _)| time).max(query.from);
        let months = self.months_between(first, query.to);
        let mut believed = RangeRows::new(&snapshot, months, &bounds).peekable();
        let future = VecDeque::from([self.future.clone()]);
        let mut future = RangeRows::new(&snapshot, future, &bounds).peekable();
        let mut records = Vec::new();
        while records.len() < limit
            && let Some(record) = next_of_both(&mut believed, &mut future)
        {
            records.push(record?);
        }
        Ok(records)
    }

    /// See [`crate::store::index::Index::scan`].
    pub(super) fn read_scan(
        &self,
        query: &ScanQuery,
        limit: usize,
    ) -> Result<ScanPage, IndexError> {
        let limit = limit.max(1);
        let after = query.after.as_ref().map(rows::parse_cursor).transpose()?;
        let snapshot = self.database.snapshot();
        let mut scan = Scan {
            index: self,
            snapshot: &snapshot,
            query,
            limit,
            n_visits_left: limit
                .saturating_mul(VISITS_PER_RECORD)
                .saturating_add(VISITS_BESIDES),
            records: Vec::new(),
        };
        for (place, keyspace) in self.places_between(query.from, query.to) {
            let start = match after {
                Some((stopped, _)) if place < stopped => continue,
                Some((stopped, key)) if place == stopped => rows::after_record(key),
                _ => Vec::new(),
            };
            if let Some(stopped) = scan.keyspace(place, &keyspace, start)? {
                return Ok(ScanPage {
                    records: scan.records,
                    next: Some(rows::cursor(place, &stopped)),
                });
            }
        }
        Ok(ScanPage {
            records: scan.records,
            next: None,
        })
    }

    /// The months with keyspaces that hold times from `from` up to `to`, in order.
    fn months_between(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> VecDeque<Keyspace> {
        self.months_with_names(from, to)
            .into_iter()
            .map(|(_, keyspace)| keyspace)
            .collect()
    }

    fn places_between(
        &self,
        from: Option<UnixMillis>,
        to: Option<UnixMillis>,
    ) -> Vec<(Place, Keyspace)> {
        let mut places: Vec<_> = self
            .months_with_names(from, to)
            .into_iter()
            .map(|(month, keyspace)| (Place::Month(month), keyspace))
            .collect();
        places.push((Place::Future, self.future.clone()));
        places
    }

    fn months_with_names(
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

/// Rows in the order of their keys.
struct Rows(Iter);

impl Rows {
    fn next_row(&mut self) -> Result<Option<(UserKey, UserValue)>, IndexError> {
        let row = self.0.next().map(::fjall::Guard::into_inner);
        row.transpose().map_err(backend)
    }

    /// The record whose first row was just read.
    fn whole(&mut self, key: &[u8], value: &[u8]) -> Result<Record, IndexError> {
        FirstRow::parse(value)?.assemble(|number| match self.next_row()? {
            Some((further, piece)) if *further == *rows::further_key(key, number) => Ok(piece),
            _ => Err(missing_row(&key.escape_ascii().to_string(), number)),
        })
    }

    /// The next first row of a record in a month or in `future`.
    fn next_first(&mut self) -> Result<Option<(Moment, UserKey, UserValue)>, IndexError> {
        while let Some((key, value)) = self.next_row()? {
            if let Some(moment) = rows::moment_of(&key)? {
                return Ok(Some((moment, key, value)));
            }
        }
        Ok(None)
    }
}

/// The keys between which the answer to a [`RangeQuery`] lies, in every keyspace; the start is
/// included where it stands.
struct KeyBounds {
    start: Vec<u8>,
    end: Vec<u8>,
}

impl KeyBounds {
    /// The bounds, or nothing if no key can lie between them.
    fn of(query: &RangeQuery) -> Option<Self> {
        let RangeQuery { vehicle, kind, .. } = query;
        let key = |time: UnixMillis, hash: u64| {
            let mut key = Vec::new();
            let kind = *kind;
            rows::put_record_key(vehicle, Moment { kind, time, hash }, &mut key);
            key
        };
        let from = key(query.from.unwrap_or(UnixMillis(i64::MIN)), 0);
        let start = match query.after {
            Some((time, hash)) => from.max(rows::after_record(&key(time, hash))),
            None => from,
        };
        let end = match query.to {
            Some(to) => key(to, 0),
            None => rows::after_kind(vehicle, *kind),
        };
        (start < end).then_some(Self { start, end })
    }
}

/// The records between two keys of several keyspaces, one keyspace after the other.
struct RangeRows<'a> {
    snapshot: &'a Snapshot,
    bounds: &'a KeyBounds,
    rows: Option<Rows>,
    keyspaces: VecDeque<Keyspace>,
}

impl<'a> RangeRows<'a> {
    const fn new(
        snapshot: &'a Snapshot,
        keyspaces: VecDeque<Keyspace>,
        bounds: &'a KeyBounds,
    ) -> Self {
        Self {
            snapshot,
            bounds,
            rows: None,
            keyspaces,
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>, IndexError> {
        loop {
            if let Some(rows) = &mut self.rows
                && let Some((_, key, value)) = rows.next_first()?
            {
                return rows.whole(&key, &value).map(Some);
            }
            let Some(keyspace) = self.keyspaces.pop_front() else {
                return Ok(None);
            };
            let KeyBounds { start, end } = self.bounds;
            let bounds = (
                Bound::Included(start.as_slice()),
                Bound::Excluded(end.as_slice()),
            );
            self.rows = Some(Rows(self.snapshot.range::<&[u8], _>(&keyspace, bounds)));
        }
    }
}

impl Iterator for RangeRows<'_> {
    type Item = Result<Record, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// The lesser of the two next records by (time, hash). Of two with one key, the one that is
/// believed; the other is passed over.
fn next_of_both(
    believed: &mut Peekable<RangeRows<'_>>,
    future: &mut Peekable<RangeRows<'_>>,
) -> Option<Result<Record, IndexError>> {
    let order = match (believed.peek(), future.peek()) {
        (Some(Ok(one)), Some(Ok(other))) => {
            (one.key.time, one.key.hash).cmp(&(other.key.time, other.key.hash))
        }
        (Some(_), _) => return believed.next(),
        (None, _) => return future.next(),
    };
    if order.is_eq() {
        future.next();
    }
    if order.is_le() {
        believed.next()
    } else {
        future.next()
    }
}

/// One page of a scan in the making.
struct Scan<'a> {
    index: &'a FjallIndex,
    snapshot: &'a Snapshot,
    query: &'a ScanQuery,
    limit: usize,
    n_visits_left: usize,
    records: Vec<Record>,
}

impl Scan<'_> {
    /// Adds what a keyspace has from the key `start` on. The key of the record where it stopped,
    /// if it did before the end.
    fn keyspace(
        &mut self,
        place: Place,
        keyspace: &Keyspace,
        start: Vec<u8>,
    ) -> Result<Option<UserKey>, IndexError> {
        let mut rows = Rows(self.snapshot.range(keyspace, start..));
        while let Some((moment, key, value)) = rows.next_first()? {
            if self.is_wanted(place, moment, &key)? {
                self.records.push(rows.whole(&key, &value)?);
            }
            self.n_visits_left = self.n_visits_left.saturating_sub(1);
            if self.records.len() >= self.limit || self.n_visits_left == 0 {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn is_wanted(&self, place: Place, moment: Moment, key: &[u8]) -> Result<bool, IndexError> {
        let Moment { kind, time, .. } = moment;
        let matches = kind == self.query.kind
            && self.query.from.is_none_or(|from| from <= time)
            && self.query.to.is_none_or(|to| time < to);
        if !matches || place != Place::Future {
            return Ok(matches);
        }
        // A record that was not believed at first and came again later is in its month too.
        let Some(month) = self.index.month(time.month()) else {
            return Ok(true);
        };
        let is_in_month = self.snapshot.contains_key(&month, key).map_err(backend)?;
        Ok(!is_in_month)
    }
}
