//! Pages of all records of [`FjallIndex`], in the order of their keys.
//!
//! What waits in memory, the months and `future` are read side by side, each in its own order, and the
//! least record goes next: so all nodes scan in one order, whatever lies in which month, and what they give
//! can be merged as it comes. Each page takes what it needs of what waits, then a snapshot: what is written
//! or merged into blocks between two pages does no harm, since a page goes on behind a record, not behind a
//! row.
//!
//! Of each keyspace the next row is held as it is on disk: there may be hundreds of months, and a record
//! takes far more memory than its first row.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use ::fjall::{Keyspace, Readable, Snapshot, UserKey, UserValue};

use super::{
    FjallIndex,
    lane::{ReadRoom, damaged_block},
    read::{PAGE_BYTES_MAX, Rows, behind},
    stage::{Stage, StagedVehicle},
};
use crate::{
    store::index::{
        IndexError, ScanCursor, ScanPage, ScanQuery,
        block::{BlockReader, Spot, spot_of},
        rows::{self, Moment, RowValue},
    },
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
        let ended = query.after.as_ref().map(Ended::parse).transpose()?;
        let (staged, snapshot) = {
            let stage = self.staged();
            let staged = read_staged(&stage, query, ended.as_ref(), limit)?;
            (staged, self.database.snapshot())
        };
        // What waits is later than what is written.
        let mut lanes = vec![Lane::of_staged(staged)];
        lanes.extend(self.written(query, &snapshot, ended.as_ref())?);
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

    /// The keyspaces that have something of what may be asked for, `future` last.
    fn written<'a>(
        &self,
        query: &ScanQuery,
        snapshot: &Snapshot,
        ended: Option<&'a Ended<'a>>,
    ) -> Result<Vec<Lane<'a>>, IndexError> {
        let months = self.months_with_names(query.from, query.to);
        let months = months.into_iter().map(|(_, keyspace)| keyspace);
        let mut lanes = Vec::new();
        for keyspace in months.chain([self.future.clone()]) {
            let mut lane = Lane::of_rows(snapshot, &keyspace, ended);
            lane.fill()?;
            if lane.place().is_some() {
                lanes.push(lane);
            }
        }
        Ok(lanes)
    }
}

/// What a scan is ordered by.
type Place<'a> = (&'a VehicleId, Kind, Spot);

fn place_of(record: &Record) -> Place<'_> {
    (&record.key.vehicle, record.kind(), spot_of(record))
}

/// The record that the page before ended with.
struct Ended<'a> {
    key: &'a [u8],
    vehicle: VehicleId,
    kind: Kind,
    spot: Spot,
}

impl<'a> Ended<'a> {
    fn parse(cursor: &'a ScanCursor) -> Result<Self, IndexError> {
        let (key, Moment { kind, time, hash }) = rows::parse_cursor(cursor)?;
        Ok(Self {
            key,
            vehicle: rows::vehicle_of(key)?,
            kind,
            spot: (time, hash),
        })
    }

    fn place(&self) -> Place<'_> {
        (&self.vehicle, self.kind, self.spot)
    }
}

/// The records of memory or of a keyspace behind a place, in order; never without its next place until its
/// end.
struct Lane<'a> {
    /// None of memory.
    rows: Option<Rows>,
    ended: Option<&'a Ended<'a>>,
    /// The next ones, if the row that they are from was reached.
    records: VecDeque<Record>,
    /// Else the row of the next ones, which was read last.
    ahead: Option<RowAhead>,
}

/// The first row of a record or the row of a block, not decoded yet.
struct RowAhead {
    key: UserKey,
    value: UserValue,
    moment: Moment,
    vehicle: VehicleId,
    /// The first spot in it that is to be read.
    first: Spot,
}

impl RowAhead {
    /// The row, if there is a record behind `ended` in it. There may be others only in the row that a page
    /// ended in.
    fn new(
        (moment, key, value): (Moment, UserKey, UserValue),
        ended: Option<&Ended<'_>>,
    ) -> Result<Option<Self>, IndexError> {
        let vehicle = rows::vehicle_of(&key)?;
        let is_behind =
            |spot: &Spot| ended.is_none_or(|ended| ended.place() < (&vehicle, moment.kind, *spot));
        let first = match RowValue::parse(&value)? {
            RowValue::Block(block) => first_spot(block, is_behind)?,
            RowValue::Record(_) => Some((moment.time, moment.hash)).filter(is_behind),
        };
        Ok(first.map(|first| Self {
            key,
            value,
            moment,
            vehicle,
            first,
        }))
    }

    const fn place(&self) -> Place<'_> {
        (&self.vehicle, self.moment.kind, self.first)
    }
}

/// The first spot of a block that is wanted.
fn first_spot(
    block: BlockReader<'_>,
    is_wanted: impl Fn(&Spot) -> bool,
) -> Result<Option<Spot>, IndexError> {
    for entry in block {
        let entry = entry.ok_or_else(damaged_block)?;
        let spot = entry.spot();
        if is_wanted(&spot) {
            return Ok(Some(spot));
        }
    }
    Ok(None)
}

impl<'a> Lane<'a> {
    fn of_rows(snapshot: &Snapshot, keyspace: &Keyspace, ended: Option<&'a Ended<'a>>) -> Self {
        let start = ended.map_or_else(Vec::new, |ended| rows::after_record(ended.key));
        Self {
            rows: Some(Rows::new(snapshot.range(keyspace, start..))),
            ended,
            records: VecDeque::new(),
            ahead: None,
        }
    }

    fn of_staged(records: Vec<Record>) -> Self {
        Self {
            rows: None,
            ended: None,
            records: records.into(),
            ahead: None,
        }
    }

    /// Reads rows until there is one with a record, or no row.
    fn fill(&mut self) -> Result<(), IndexError> {
        let Some(rows) = &mut self.rows else {
            return Ok(());
        };
        while self.records.is_empty()
            && self.ahead.is_none()
            && let Some(row) = rows.next_first()?
        {
            self.ahead = RowAhead::new(row, self.ended)?;
        }
        Ok(())
    }

    fn place(&self) -> Option<Place<'_>> {
        let next = self.records.front().map(place_of);
        next.or_else(|| self.ahead.as_ref().map(RowAhead::place))
    }

    fn take(&mut self) -> Result<Option<Record>, IndexError> {
        if let (Some(rows), Some(row)) = (&mut self.rows, self.ahead.take()) {
            // The further rows of a large record are the next ones.
            let mut read = Vec::new();
            let is_wanted = |spot| row.first <= spot;
            rows.records((row.moment, &row.key, &row.value), is_wanted, &mut read)?;
            self.records = read.into();
        }
        let taken = self.records.pop_front();
        self.fill()?;
        Ok(taken)
    }
}

/// The first records behind `ended` that are asked for of those that wait in memory, in order: all, or as
/// many as a page holds at most.
fn read_staged(
    stage: &Stage,
    query: &ScanQuery,
    ended: Option<&Ended<'_>>,
    limit: usize,
) -> Result<Vec<Record>, IndexError> {
    let oldest = stage.oldest();
    if query
        .to
        .is_some_and(|to| oldest.is_none_or(|oldest| to <= oldest))
    {
        return Ok(Vec::new());
    }
    let vehicles = stage.vehicles().filter(|(id, staged)| {
        ended.is_none_or(|ended| ended.vehicle <= **id) && may_have(staged, query)
    });
    // A page mostly takes few of them: to sort all would take longer than the rest of it.
    let mut vehicles: BinaryHeap<_> = vehicles.map(|(id, _)| Reverse(id)).collect();
    let to = query.to.map(|to| (to, 0));
    // If these end by their number or bytes, so does the page, with the last of them.
    let (mut records, mut room) = (Vec::new(), ReadRoom::new(limit, PAGE_BYTES_MAX));
    while !room.is_full()
        && let Some(Reverse(id)) = vehicles.pop()
    {
        if let Some(from) = first_wanted(query, ended, id)
            && let Some(staged) = stage.vehicle(id)
        {
            records.extend(staged.read((id, query.kind), (from, to), &mut room)?);
        }
    }
    Ok(records)
}

/// Whether a vehicle may have what is asked for, as far as that is told without looking at its records.
fn may_have(staged: &StagedVehicle, query: &ScanQuery) -> bool {
    match query.kind {
        Kind::Position => staged.newest().is_some_and(|newest| {
            let (time, _) = newest.spot();
            query.from.is_none_or(|from| from <= time)
        }),
        Kind::Event => staged.lanes().iter().any(|lane| lane.kind == Kind::Event),
    }
}

/// The first spot of a vehicle, not before that of `ended`, that is asked for.
fn first_wanted(query: &ScanQuery, ended: Option<&Ended<'_>>, id: &VehicleId) -> Option<Spot> {
    let from = (query.from.unwrap_or(UnixMillis(i64::MIN)), 0);
    let ended = ended.filter(|ended| ended.vehicle == *id);
    let Some(ended) = ended else {
        return Some(from);
    };
    match ended.kind.cmp(&query.kind) {
        Ordering::Less => Some(from),
        Ordering::Equal => behind(ended.spot).map(|behind| behind.max(from)),
        Ordering::Greater => None,
    }
}

/// Takes the least record of all lanes. That of the first lane counts: one that waits may be written
/// already, as it was before; one that was not believed at first and came again later is in its month and in
/// `future`.
fn take_least(lanes: &mut [Lane<'_>]) -> Result<Option<Record>, IndexError> {
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

#[cfg(test)]
mod tests {
    use super::{super::Index as _, *};
    use crate::{
        base::prng::Prng,
        store::index::{
            IndexConfig, MapIndex,
            tests::{KINDS, MONTH_END, large, position, random_record, random_time, small},
        },
    };

    const ALL: ScanQuery = ScanQuery {
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };

    /// An index in which all waits until it is told to write it.
    fn patient(folder: &std::path::Path) -> FjallIndex {
        let config = IndexConfig {
            stage_bytes: u64::MAX,
            ..small()
        };
        FjallIndex::open(folder, config).unwrap()
    }

    /// All pages of a scan.
    fn pages(index: &FjallIndex, query: &ScanQuery, limit: usize) -> Vec<Vec<Record>> {
        let (mut pages, mut query) = (Vec::new(), query.clone());
        loop {
            let page = index.scan(&query, limit).unwrap();
            pages.push(page.records);
            query.after = page.next;
            if query.after.is_none() {
                return pages;
            }
        }
    }

    fn n_bytes(records: &[Record]) -> usize {
        records.iter().map(Record::memory_bytes).sum()
    }

    #[test]
    fn what_waits_is_in_a_scan_and_goes_on_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let index = patient(folder.path());
        let records: Vec<Record> = (0..9)
            .map(|number| position(&format!("v{number}"), MONTH_END + number, 1))
            .collect();
        let (written, waiting) = records.split_at(4);
        index.apply(written).unwrap();
        index.flush_waiting().unwrap();
        index.apply(waiting).unwrap();
        assert_eq!(pages(&index, &ALL, 2).concat(), records);
        assert_eq!(index.staged().sorted().len(), waiting.len());
    }

    #[test]
    fn months_that_are_not_reached_hold_no_records() {
        const N_MONTHS: i64 = 12;
        let folder = tempfile::tempdir().unwrap();
        let index = patient(folder.path());
        let records: Vec<Record> = (0..N_MONTHS)
            .map(|month| MONTH_END + month * 31 * 86_400_000)
            .map(|time| large(position("v", time, 1), 60_000))
            .collect();
        index.apply(&records).unwrap();
        index.flush_waiting().unwrap();
        let snapshot = index.database.snapshot();
        let mut lanes = index.written(&ALL, &snapshot, None).unwrap();
        assert_eq!(lanes.len(), records.len());
        for record in &records {
            assert!(lanes.iter().all(|lane| lane.records.is_empty()));
            assert_eq!(take_least(&mut lanes).unwrap().as_ref(), Some(record));
        }
        assert_eq!(take_least(&mut lanes).unwrap(), None);
    }

    #[test]
    fn large_records_that_wait_are_read_as_far_as_a_page_holds_them() {
        for n_vehicles in [1, 60] {
            let folder = tempfile::tempdir().unwrap();
            let index = patient(folder.path());
            let mut records: Vec<Record> = (0..60)
                .map(|number| {
                    let id = format!("v{:02}", number % n_vehicles);
                    large(position(&id, MONTH_END + number, 1), 60_000)
                })
                .collect();
            records.sort_by(|one, other| one.key.cmp(&other.key));
            index.apply(&records).unwrap();
            let one = records[0].memory_bytes();
            let read = read_staged(&index.staged(), &ALL, None, 1_000).unwrap();
            assert!(n_bytes(&read) <= PAGE_BYTES_MAX + one);
            let pages = pages(&index, &ALL, 1_000);
            for page in &pages {
                assert!(n_bytes(page) <= PAGE_BYTES_MAX + one);
            }
            assert_eq!(pages.concat(), records);
        }
    }

    /// Some of it is written, some waits, some in both, and more of it is written between two pages.
    fn check_pages(seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        let (map, index) = (MapIndex::new(), patient(folder.path()));
        let mut prng = Prng::new(seed);
        for _ in 0..8 {
            let mut records: Vec<_> = (0..40).map(|_| random_record(&mut prng)).collect();
            records.sort_by(|one, other| one.key.vehicle.cmp(&other.key.vehicle));
            map.apply(&records).unwrap();
            index.apply(&records).unwrap();
            if prng.chance(30.0) {
                index.flush_waiting().unwrap();
            }
            let mut query = ScanQuery {
                kind: KINDS[prng.below(2) as usize],
                from: random_time(&mut prng),
                to: random_time(&mut prng),
                after: None,
            };
            let expected = map.scan(&query, usize::MAX).unwrap().records;
            let limit = 1 + prng.below(4) as usize;
            let mut found = Vec::new();
            loop {
                let page = index.scan(&query, limit).unwrap();
                assert!(page.records.len() <= limit);
                found.extend(page.records);
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
                if prng.chance(1.0) {
                    index.flush_waiting().unwrap();
                }
            }
            assert_eq!(found, expected, "SEED={seed} {query:?} limit {limit}");
        }
    }

    #[test]
    fn small_pages_of_many_months_are_those_of_the_map() {
        (0..4).for_each(check_pages);
    }
}
