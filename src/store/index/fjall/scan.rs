//! Pages of all records of [`FjallIndex`], in the order of their keys.
//!
//! The months and `future` are read side by side, each in its own order, and the least record goes
//! next: so all nodes scan in one order, whatever lies in which month, and what they give can be merged as
//! it comes. A scan begins with all that waits written, so that each page reads the database alone.
//! What is merged into blocks between two pages does no harm, since a page goes on behind a record,
//! not behind a row.

use std::collections::VecDeque;

use ::fjall::{Keyspace, Readable, Snapshot};

use super::{
    FjallIndex,
    read::{PAGE_BYTES_MAX, Rows},
};
use crate::{
    store::index::{IndexError, ScanPage, ScanQuery, rows},
    types::{
        ids::VehicleId,
        record::{Kind, Record},
        time::UnixMillis,
    },
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
        let behind = query.after.as_ref().map(rows::parse_cursor).transpose()?;
        if behind.is_none() {
            // What is applied from now on need not be in the scan.
            self.flush_waiting()?;
        }
        let snapshot = self.database.snapshot();
        let mut lanes = self.lanes(query, &snapshot, behind)?;
        let mut n_visits_left = limit
            .saturating_mul(VISITS_PER_RECORD)
            .saturating_add(VISITS_BESIDES);
        let (mut records, mut page_bytes) = (Vec::new(), 0);
        while let Some(record) = take_least(&mut lanes)? {
            n_visits_left -= 1;
            let is_wanted = is_wanted(query, &record);
            if is_wanted {
                page_bytes += record.memory_bytes();
            }
            let n_records = records.len() + usize::from(is_wanted);
            let is_full = n_records >= limit || page_bytes >= PAGE_BYTES_MAX;
            let is_over = is_full || n_visits_left == 0;
            let next = is_over.then(|| rows::cursor(&rows::record_key(record.kind(), &record.key)));
            if is_wanted {
                records.push(record);
            }
            if next.is_some() {
                return Ok(ScanPage { records, next });
            }
        }
        Ok(ScanPage {
            records,
            next: None,
        })
    }

    /// The keyspaces that may hold what is asked for, `future` last.
    fn lanes(
        &self,
        query: &ScanQuery,
        snapshot: &Snapshot,
        behind: Option<&[u8]>,
    ) -> Result<Vec<Lane>, IndexError> {
        let months = self.months_with_names(query.from, query.to);
        let months = months.into_iter().map(|(_, keyspace)| keyspace);
        let mut lanes = Vec::new();
        for keyspace in months.chain([self.future.clone()]) {
            let mut lane = Lane::new(snapshot, &keyspace, behind);
            lane.fill()?;
            if !lane.records.is_empty() {
                lanes.push(lane);
            }
        }
        Ok(lanes)
    }
}

/// The records of a keyspace behind a key, in order; never without its next record until its end.
struct Lane {
    rows: Rows,
    behind: Option<Vec<u8>>,
    records: VecDeque<Record>,
}

impl Lane {
    fn new(snapshot: &Snapshot, keyspace: &Keyspace, behind: Option<&[u8]>) -> Self {
        let start = behind.map_or_else(Vec::new, rows::after_record);
        Self {
            rows: Rows::new(snapshot.range(keyspace, start..)),
            behind: behind.map(<[u8]>::to_vec),
            records: VecDeque::new(),
        }
    }

    /// Reads rows until there is a record, or no row.
    fn fill(&mut self) -> Result<(), IndexError> {
        while self.records.is_empty()
            && let Some((moment, key, value)) = self.rows.next_first()?
        {
            let mut read = Vec::new();
            self.rows
                .records((moment, &key, &value), |_| true, &mut read)?;
            if let Some(behind) = &self.behind {
                // Only the row that a page ended in has records of the page before.
                read.retain(|record| rows::record_key(record.kind(), &record.key) > *behind);
                if !read.is_empty() {
                    self.behind = None;
                }
            }
            self.records = read.into();
        }
        Ok(())
    }

    fn place(&self) -> Option<Place<'_>> {
        self.records.front().map(place_of)
    }

    fn take(&mut self) -> Result<Option<Record>, IndexError> {
        let taken = self.records.pop_front();
        self.fill()?;
        Ok(taken)
    }
}

/// What a scan is ordered by.
type Place<'a> = (&'a VehicleId, Kind, UnixMillis, u64);

fn place_of(record: &Record) -> Place<'_> {
    let key = &record.key;
    (&key.vehicle, record.kind(), key.time, key.hash)
}

/// Takes the least record of all lanes. One that was not believed at first and came again later is
/// in its month and in `future`: that of the month counts.
fn take_least(lanes: &mut [Lane]) -> Result<Option<Record>, IndexError> {
    let mut least: Option<(usize, Place<'_>)> = None;
    for (number, lane) in lanes.iter().enumerate() {
        if let Some(place) = lane.place()
            && least.is_none_or(|(_, least)| place < least)
        {
            least = Some((number, place));
        }
    }
    let Some(number) = least.map(|(number, _)| number) else {
        return Ok(None);
    };
    let mut behind = lanes.iter_mut().skip(number);
    let Some(record) = behind.next().map(Lane::take).transpose()?.flatten() else {
        return Ok(None);
    };
    for lane in behind {
        if lane.place() == Some(place_of(&record)) {
            lane.take()?;
        }
    }
    Ok(Some(record))
}

fn is_wanted(query: &ScanQuery, record: &Record) -> bool {
    let time = record.key.time;
    record.kind() == query.kind
        && query.from.is_none_or(|from| from <= time)
        && query.to.is_none_or(|to| time < to)
}
