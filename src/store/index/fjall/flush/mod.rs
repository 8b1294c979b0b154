//! Writes what waits in memory into the database.
//!
//! Blocks of one vehicle and kind must not overlap, so records that do not lie behind all that is
//! there are merged with the block that they fall into. The last record of that block stays the last
//! one, so its row is overwritten and none has to be removed.
//!
//! A block that is merged is written in one batch with what is merged into it, or into the same table. Else a
//! flush may end between any two batches: what follows comes again from the log, and is merged then.
//!
//! Where much of a month waits, it becomes tables at once, and so do the last positions of all vehicles. What
//! waits of other months follows in batches when those are durable; with little of every month, all goes in
//! batches. What is in a table is not to be read before all of it is there, so of a block into which records
//! of two turns fall the part between them is written in the second.
//!
//! What lies behind the last position of a vehicle needs no look at its track. So nothing of a track
//! may outlive its row in `last`: that goes with the first rows of the track or before them, and each
//! batch is synced before it is visible, since keyspaces go to tables of their own at any time. The
//! retention removes a last position behind the month it lies in, which is durable at once.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use ::fjall::Keyspace;

use super::{
    FjallIndex, Writing,
    lane::{Lane, ReadRoom, merge},
    newest::{NewestCache, NewestKey},
    output::Output,
    pace::{JOURNAL_STEP_BYTES, TABLES_MAX},
    read::{Rows, behind, keys_from},
    stage::{Stage, StagedVehicle},
    tables::{Keyspaces, Tables},
};
use crate::{
    store::index::{
        IndexError,
        block::{BlockWriter, Spot, spot_of},
        rows::{self, BLOCK, Moment, RowWriter},
    },
    types::{
        ids::VehicleId,
        record::{Kind, Record},
        time::{Month, UnixMillis},
    },
};

/// Records that are merged in one turn; few in tests, so that lanes take several.
const MERGED_RECORDS: usize = if cfg!(test) { 8 } else { 1_024 };

/// Bytes of memory of records after which a turn takes no more.
const MERGED_BYTES: usize = 2 * 1024 * 1024;

/// What is under way while all is written.
struct Flush<'a> {
    index: &'a FjallIndex,
    output: Output<'a>,
    /// On disk when what is in the output is.
    noted: Vec<(&'a VehicleId, NewestKey)>,
    /// What is to be merged when the tables are finished: there is none of its month.
    rest: Vec<(&'a VehicleId, &'a Lane)>,
    month: Option<(Month, Keyspace)>,
    writer: RowWriter,
    block: BlockWriter,
    scratch: Vec<u8>,
}

/// Where records of one vehicle and kind go.
#[derive(Clone, Copy)]
struct Track<'a> {
    vehicle: &'a VehicleId,
    kind: Kind,
    month: Month,
}

impl<'a> Track<'a> {
    const fn of(vehicle: &'a VehicleId, lane: &Lane) -> Self {
        Self {
            vehicle,
            kind: lane.kind,
            month: lane.month,
        }
    }
}

impl FjallIndex {
    /// Writes all that waits; it is visible all the time.
    pub(super) fn flush(&self, writing: &mut Writing) -> Result<(), IndexError> {
        let stage = self.staged();
        if stage.is_empty() {
            return Ok(());
        }
        let large = self.large_keyspaces(&stage)?;
        let tables = large.as_ref().map(Tables::begin);
        let written = Flush::new(self, tables).all_of(&stage, writing);
        drop(stage);
        if let Err(error) = written {
            // Any part of it may be on disk.
            writing.newest = NewestCache::new(self.config.newest_vehicles);
            return Err(error);
        }
        let written = std::mem::take(&mut *self.staged_mut());
        drop::<Stage>(written);
        Ok(())
    }

    /// The keyspaces whose rows are to become tables at once, if there are any; none while far too many
    /// tables wait to be merged, since fjall holds up batches only.
    fn large_keyspaces(&self, stage: &Stage) -> Result<Option<Keyspaces>, IndexError> {
        let months = stage.large_months(self.config.table_bytes);
        if months.is_empty() || self.n_unmerged_tables() >= 2 * TABLES_MAX {
            return Ok(None);
        }
        let months = months.into_iter();
        let months = months.map(|month| Ok((month, self.month_or_new(month)?)));
        Ok(Some(Keyspaces {
            last: self.last.clone(),
            months: months.collect::<Result<_, IndexError>>()?,
        }))
    }
}

impl<'a> Flush<'a> {
    fn new(index: &'a FjallIndex, tables: Option<Tables<'a>>) -> Self {
        Self {
            index,
            output: Output::new(index, tables),
            noted: Vec::new(),
            rest: Vec::new(),
            month: None,
            writer: RowWriter::default(),
            block: BlockWriter::default(),
            scratch: Vec::new(),
        }
    }

    fn all_of(mut self, stage: &'a Stage, writing: &mut Writing) -> Result<(), IndexError> {
        for (vehicle, staged) in stage.sorted() {
            self.vehicle(vehicle, staged, writing)?;
            self.commit_if_full(writing)?;
        }
        self.output.finish_tables()?;
        self.merge_rest(writing)?;
        self.commit(writing)
    }

    fn commit(&mut self, writing: &mut Writing) -> Result<(), IndexError> {
        writing.journal_bytes += self.output.commit()?;
        for (vehicle, newest) in self.noted.drain(..) {
            writing.newest.insert(vehicle, newest);
        }
        self.index.write_out_months()?;
        if writing.journal_bytes >= JOURNAL_STEP_BYTES && self.index.turn_journal()? {
            writing.journal_bytes = 0;
        }
        self.index.wait_for_tables();
        Ok(())
    }

    fn commit_if_full(&mut self, writing: &mut Writing) -> Result<(), IndexError> {
        if self.output.is_full() {
            return self.commit(writing);
        }
        self.output.look()
    }

    fn vehicle(
        &mut self,
        vehicle: &'a VehicleId,
        staged: &'a StagedVehicle,
        writing: &mut Writing,
    ) -> Result<(), IndexError> {
        let newest = match writing.newest.key_of(vehicle) {
            Some(newest) => Some(newest),
            None => {
                let last = self.index.last_on_disk(vehicle)?;
                last.as_ref().map(NewestKey::of)
            }
        };
        self.put_last(vehicle, staged, newest)?;
        for lane in staged.lanes() {
            let track = Track::of(vehicle, lane);
            let tables = self.output.tables();
            if tables.is_some_and(|tables| !tables.holds(lane.month)) {
                self.rest.push((vehicle, lane));
            } else if lane.is_in_order() && self.is_behind_all(track, lane, newest)? {
                self.put_pieces(track, lane, writing)?;
            } else {
                self.merge_lane(track, lane, writing)?;
            }
        }
        Ok(())
    }

    fn merge_rest(&mut self, writing: &mut Writing) -> Result<(), IndexError> {
        for (vehicle, lane) in std::mem::take(&mut self.rest) {
            self.merge_lane(Track::of(vehicle, lane), lane, writing)?;
        }
        Ok(())
    }

    fn put_last(
        &mut self,
        vehicle: &'a VehicleId,
        staged: &StagedVehicle,
        present: Option<NewestKey>,
    ) -> Result<(), IndexError> {
        let newest = staged.newest().filter(|newest| present <= Some(*newest));
        if newest.is_some() {
            let output = &mut self.output;
            let emit = |key: &[u8], value: &[u8]| output.last(key, value);
            if let Some(value) = staged.newest_value() {
                self.writer.last(vehicle, value, emit);
            } else if let Some(record) = staged.newest_record(vehicle)? {
                self.block.begin(BLOCK);
                let bytes_max = rows::value_bytes_max(vehicle);
                if self.block.push(&record, bytes_max, &mut self.scratch) {
                    self.writer.last(vehicle, self.block.bytes(), emit);
                } else {
                    self.scratch.clear();
                    rows::put_whole(&record, &mut self.scratch);
                    self.writer.last(vehicle, &self.scratch, emit);
                }
            }
        }
        let noted = newest.or(present).map(|newest| (vehicle, newest));
        self.noted.extend(noted);
        Ok(())
    }

    /// Whether all of a lane lies behind what is on disk of its track; `newest` is on disk.
    fn is_behind_all(
        &self,
        track: Track<'_>,
        lane: &Lane,
        newest: Option<NewestKey>,
    ) -> Result<bool, IndexError> {
        let Some(first) = lane.first() else {
            return Ok(true);
        };
        let is_newer = newest.is_none_or(|newest| newest.spot().0 < first.0);
        if lane.kind == Kind::Position && is_newer {
            return Ok(true);
        }
        match self.rows_from(track, first) {
            Some(mut rows) => Ok(rows.next_row()?.is_none()),
            None => Ok(true),
        }
    }

    /// Writes the pieces of a lane as they are.
    fn put_pieces(
        &mut self,
        track: Track<'_>,
        lane: &Lane,
        writing: &mut Writing,
    ) -> Result<(), IndexError> {
        for piece in lane.pieces() {
            self.put_value(track, piece.moment(lane.kind), piece.value)?;
            self.commit_if_full(writing)?;
        }
        Ok(())
    }

    /// Merges a lane with what is on disk.
    fn merge_lane(
        &mut self,
        track: Track<'_>,
        lane: &Lane,
        writing: &mut Writing,
    ) -> Result<(), IndexError> {
        let mut from = (UnixMillis(i64::MIN), 0);
        let mut begun = None;
        loop {
            let mut records = Vec::new();
            let mut room = ReadRoom::new(MERGED_RECORDS, MERGED_BYTES);
            lane.read(track.vehicle, (from, None), &mut room, &mut records)?;
            let last = records.last().filter(|_| room.is_full());
            let next = last.map(spot_of).and_then(behind);
            let in_table = self.output.tables().is_some();
            let parts_at = next.filter(|_| in_table);
            let is_begun = self.merge_records(track, records.into(), (begun, parts_at))?;
            let Some(next) = next else {
                return self.commit_if_full(writing);
            };
            (from, begun) = (next, is_begun.then_some(next));
            if in_table {
                self.output.look()?;
            } else {
                // What comes next may fall into a block of these.
                self.commit(writing)?;
            }
        }
    }

    /// Merges records, in order, with what is on disk. What of a block lies at `parts_at` or behind it is left
    /// for the next turn, if there is a record to merge before it; whether that is so. That turn begins with
    /// that block: at `begun`.
    fn merge_records(
        &mut self,
        track: Track<'_>,
        mut records: VecDeque<Record>,
        (mut begun, parts_at): (Option<Spot>, Option<Spot>),
    ) -> Result<bool, IndexError> {
        while let Some(first) = begun.or_else(|| records.front().map(spot_of)) {
            let mut present = self.block_from(track, first)?;
            let ends = present.first().zip(present.last());
            let Some((start, end)) = ends.map(|(one, other)| (spot_of(one), spot_of(other))) else {
                self.put_records(track, records.make_contiguous())?;
                return Ok(false);
            };
            let n_before = records.partition_point(|it| spot_of(it) < start);
            let before: Vec<Record> = records.drain(..n_before).collect();
            self.put_records(track, &before)?;
            let n_inside = records.partition_point(|it| spot_of(it) <= end);
            let inside: Vec<Record> = records.drain(..n_inside).collect();
            if begun.take().is_some() {
                present.retain(|record| spot_of(record) >= first);
            } else if inside.is_empty() {
                continue;
            }
            present.extend(inside);
            let mut merged = merge(present);
            let parts_at = parts_at.filter(|parts_at| *parts_at <= end);
            if let Some(parts_at) = parts_at {
                merged.truncate(merged.partition_point(|it| spot_of(it) < parts_at));
            }
            self.put_records(track, &merged)?;
            if parts_at.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Packs records, in order, into blocks.
    fn put_records(&mut self, track: Track<'_>, records: &[Record]) -> Result<(), IndexError> {
        let bytes_max = rows::value_bytes_max(track.vehicle);
        let mut block = std::mem::take(&mut self.block);
        let mut scratch = std::mem::take(&mut self.scratch);
        block.begin(BLOCK);
        for record in records {
            if block.push(record, bytes_max, &mut scratch) {
                continue;
            }
            self.put_block(track, &block)?;
            block.begin(BLOCK);
            if !block.push(record, bytes_max, &mut scratch) {
                scratch.clear();
                rows::put_whole(record, &mut scratch);
                self.put_value(track, moment(track.kind, spot_of(record)), &scratch)?;
            }
        }
        self.put_block(track, &block)?;
        (self.block, self.scratch) = (block, scratch);
        Ok(())
    }

    fn put_block(&mut self, track: Track<'_>, block: &BlockWriter) -> Result<(), IndexError> {
        match block.ends() {
            Some((_, last)) => self.put_value(track, moment(track.kind, last), block.bytes()),
            None => Ok(()),
        }
    }

    fn put_value(
        &mut self,
        track: Track<'_>,
        moment: Moment,
        value: &[u8],
    ) -> Result<(), IndexError> {
        let keyspace = match self.month.take() {
            Some((month, keyspace)) if month == track.month => keyspace,
            _ => self.index.month_or_new(track.month)?,
        };
        let (output, month) = (&mut self.output, (track.month, &keyspace));
        self.writer
            .value((track.vehicle, moment), value, |key, value| {
                output.row(month, (key, value));
            });
        self.month = Some((track.month, keyspace));
        Ok(())
    }

    /// The records of the first row that is not all before `spot`.
    fn block_from(&self, track: Track<'_>, spot: Spot) -> Result<Vec<Record>, IndexError> {
        let mut records = Vec::new();
        if let Some(mut rows) = self.rows_from(track, spot)
            && let Some((moment, key, value)) = rows.next_first()?
        {
            rows.records((moment, &key, &value), |_| true, &mut records)?;
        }
        Ok(records)
    }

    fn rows_from(&self, track: Track<'_>, spot: Spot) -> Option<Rows> {
        let keyspace = self.index.month(track.month)?;
        let keys = keys_from(track.vehicle, track.kind, spot);
        Some(Rows::new(keyspace.range(keys)))
    }
}

const fn moment(kind: Kind, (time, hash): Spot) -> Moment {
    Moment { kind, time, hash }
}
