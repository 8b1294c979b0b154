//! Pages of all records of [`FjallIndex`].
//!
//! A scan begins with all that waits written, so that each page reads the database alone. What is
//! merged into blocks between two pages does no harm, since a page goes on behind a record, not
//! behind a row.

use ::fjall::{Keyspace, Readable, Snapshot};

use super::{
    FjallIndex,
    read::{Rows, keys_from},
};
use crate::{
    store::index::{
        IndexError, ScanPage, ScanQuery,
        block::spot_of,
        rows::{self, Place},
    },
    types::{record::Record, time::UnixMillis},
};

/// Most records one page of a scan looks at for each record it may hold, and what it may look at
/// besides: a page that a filter leaves empty ends too.
const VISITS_PER_RECORD: usize = 8;
const VISITS_BESIDES: usize = 4_096;

impl FjallIndex {
    /// See [`crate::store::index::Index::scan`].
    pub(super) fn read_scan(
        &self,
        query: &ScanQuery,
        limit: usize,
    ) -> Result<ScanPage, IndexError> {
        let limit = limit.max(1);
        let after = query.after.as_ref().map(rows::parse_cursor).transpose()?;
        if after.is_none() {
            // What is applied from now on need not be in the scan.
            self.flush_waiting()?;
        }
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
            let behind = match after {
                Some((stopped, _)) if place < stopped => continue,
                Some((stopped, key)) if place == stopped => Some(key),
                _ => None,
            };
            if let Some(stopped) = scan.keyspace(place, &keyspace, behind)? {
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
    /// Adds what a keyspace has behind the record with the key `behind`. The key of the record where
    /// it stopped, if it did before the end.
    fn keyspace(
        &mut self,
        place: Place,
        keyspace: &Keyspace,
        behind: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, IndexError> {
        let start = behind.map_or_else(Vec::new, rows::after_record);
        let mut rows = Rows::new(self.snapshot.range(keyspace, start..));
        let mut records = Vec::new();
        while let Some((moment, key, value)) = rows.next_first()? {
            rows.records((moment, &key, &value), |_| true, &mut records)?;
            for record in records.drain(..) {
                let key = rows::record_key(moment.kind, &record.key);
                if behind.is_some_and(|behind| key.as_slice() <= behind) {
                    continue;
                }
                if self.is_wanted(place, &record)? {
                    self.records.push(record);
                }
                self.n_visits_left = self.n_visits_left.saturating_sub(1);
                if self.records.len() >= self.limit || self.n_visits_left == 0 {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    fn is_wanted(&self, place: Place, record: &Record) -> Result<bool, IndexError> {
        let time = record.key.time;
        let matches = record.kind() == self.query.kind
            && self.query.from.is_none_or(|from| from <= time)
            && self.query.to.is_none_or(|to| time < to);
        if !matches || place != Place::Future {
            return Ok(matches);
        }
        // A record that was not believed at first and came again later is in its month too.
        let Some(month) = self.index.month(time.month()) else {
            return Ok(true);
        };
        let keys = keys_from(&record.key.vehicle, record.kind(), spot_of(record));
        let rows = Rows::new(self.snapshot.range(&month, keys));
        Ok(!rows.next_has(spot_of(record))?)
    }
}
