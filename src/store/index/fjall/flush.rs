//! Writes what waits in memory into the database.
//!
//! Blocks of one vehicle and kind must not overlap, so records that do not lie behind all that is
//! there are merged with the block that they fall into. The last record of that block stays the last
//! one, so its row is overwritten and none has to be removed.
//!
//! A block that is merged is written in one batch with what is merged into it. Else a flush may end
//! between any two batches: what follows comes again from the log, and is merged then.
//!
//! What lies behind the last position of a vehicle needs no look at its track. So nothing of a track
//! may outlive its row in `last`: that goes with the first rows of the track or before them, and each
//! batch is synced before it is visible, since keyspaces go to tables of their own at any time. The
//! retention removes a last position behind the month it lies in, which is durable at once.

use ::fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use super::{
    FjallIndex, Writing, backend,
    lane::{Lane, merge},
    memtables::MonthBytes,
    newest::NewestKey,
    read::{Rows, behind, keys_from},
    stage::{Stage, StagedVehicle},
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

/// Rows of one batch, about.
const BATCH_ROWS: usize = 20_000;

/// Their keys and values, in bytes, about: fjall looks only behind a batch whether a keyspace holds
/// too much.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;

/// Records that are merged at once.
const MERGED_RECORDS: usize = 4_096;

/// One batch in the making.
struct Flush<'a> {
    index: &'a FjallIndex,
    batch: OwnedWriteBatch,
    batch_bytes: u64,
    added: MonthBytes,
    noted: Vec<(&'a VehicleId, NewestKey)>,
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

impl FjallIndex {
    /// Writes all that waits; it is visible all the time.
    pub(super) fn flush(&self, writing: &mut Writing) -> Result<(), IndexError> {
        let stage = self.staged();
        if stage.is_empty() {
            return Ok(());
        }
        let mut flush = Flush::new(self);
        for (vehicle, staged) in stage.sorted() {
            flush.vehicle(vehicle, staged, writing)?;
            flush.commit_if_full(writing)?;
        }
        flush.commit(writing)?;
        drop(stage);
        let written = std::mem::take(&mut *self.staged_mut());
        drop::<Stage>(written);
        Ok(())
    }
}

impl<'a> Flush<'a> {
    fn new(index: &'a FjallIndex) -> Self {
        Self {
            index,
            batch: new_batch(index),
            batch_bytes: 0,
            added: MonthBytes::default(),
            noted: Vec::new(),
            month: None,
            writer: RowWriter::default(),
            block: BlockWriter::default(),
            scratch: Vec::new(),
        }
    }

    fn commit(&mut self, writing: &mut Writing) -> Result<(), IndexError> {
        let batch = std::mem::replace(&mut self.batch, new_batch(self.index));
        batch.commit().map_err(backend)?;
        self.batch_bytes = 0;
        for (vehicle, newest) in self.noted.drain(..) {
            writing.newest.insert(vehicle, newest);
        }
        let due = writing.memtables.add(std::mem::take(&mut self.added));
        due.into_iter()
            .try_for_each(|month| self.index.write_out(month))?;
        self.index.wait_for_tables();
        Ok(())
    }

    fn commit_if_full(&mut self, writing: &mut Writing) -> Result<(), IndexError> {
        if self.batch.len() >= BATCH_ROWS || self.batch_bytes >= BATCH_BYTES {
            return self.commit(writing);
        }
        Ok(())
    }

    fn vehicle(
        &mut self,
        vehicle: &'a VehicleId,
        staged: &StagedVehicle,
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
            let track = Track {
                vehicle,
                kind: lane.kind,
                month: lane.month,
            };
            if lane.is_in_order() && self.is_behind_all(track, lane, newest)? {
                self.put_pieces(track, lane, writing)?;
            } else {
                self.merge_lane(track, lane, writing)?;
            }
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
            let (batch, last) = (&mut self.batch, &self.index.last);
            let n_bytes = &mut self.batch_bytes;
            let emit = |key: &[u8], value: &[u8]| {
                *n_bytes += (key.len() + value.len()) as u64;
                batch.insert(last, key, value);
            };
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
        track: Track<'a>,
        lane: &Lane,
        writing: &mut Writing,
    ) -> Result<(), IndexError> {
        let mut from = (UnixMillis(i64::MIN), 0);
        loop {
            let mut records = Vec::new();
            lane.read(track.vehicle, (from, None), MERGED_RECORDS, &mut records)?;
            let next = records.last().map(spot_of).and_then(behind);
            self.merge_records(track, records)?;
            let Some(next) = next else {
                return Ok(());
            };
            from = next;
            // What comes next may fall into a block of these.
            self.commit(writing)?;
        }
    }

    /// Merges records, in order, with what is on disk.
    fn merge_records(
        &mut self,
        track: Track<'_>,
        mut records: Vec<Record>,
    ) -> Result<(), IndexError> {
        while let Some(first) = records.first().map(spot_of) {
            let mut present = self.block_from(track, first)?;
            let ends = present.first().zip(present.last());
            let Some((start, end)) = ends.map(|(one, other)| (spot_of(one), spot_of(other))) else {
                return self.put_records(track, &records);
            };
            let rest = records.split_off(records.partition_point(|it| spot_of(it) <= end));
            let inside = records.split_off(records.partition_point(|it| spot_of(it) < start));
            self.put_records(track, &records)?;
            if !inside.is_empty() {
                present.extend(inside);
                self.put_records(track, &merge(present))?;
            }
            records = rest;
        }
        Ok(())
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
        let (batch, added) = (&mut self.batch, &mut self.added);
        let n_bytes = &mut self.batch_bytes;
        self.writer
            .value((track.vehicle, moment), value, |key, value| {
                *n_bytes += (key.len() + value.len()) as u64;
                added.add_row(track.month, key, value);
                batch.insert(&keyspace, key, value);
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

fn new_batch(index: &FjallIndex) -> OwnedWriteBatch {
    OwnedWriteBatch::with_capacity(index.database.clone(), 0).durability(Some(PersistMode::SyncAll))
}

const fn moment(kind: Kind, (time, hash): Spot) -> Moment {
    Moment { kind, time, hash }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Index as _, IndexConfig},
        *,
    };
    use crate::store::index::tests::position;

    fn large(time: i64) -> Record {
        Record {
            raw: Some(vec![b'a'; 60_000].into()),
            ..position("large", time, 1)
        }
    }

    #[test]
    fn rows_that_wait_to_be_written_are_bounded_however_much_is_flushed_at_once() {
        const MIB: u64 = 1024 * 1024;
        let folder = tempfile::tempdir().unwrap();
        let config = IndexConfig {
            stage_bytes: 24 * MIB,
            memtable_bytes: MIB,
            memtables_bytes: MIB,
            ..IndexConfig::default()
        };
        let index = FjallIndex::open(folder.path(), config).unwrap();
        let records: Vec<Record> = (0..400).map(large).collect();
        index.apply(&records).unwrap();
        index.flush_waiting().unwrap();
        let n_bytes = index.database.write_buffer_size();
        assert!(n_bytes <= 8 * MIB, "{n_bytes} bytes wait to be written");
        let last = index.last_on_disk(&records[0].key.vehicle).unwrap();
        assert_eq!(last.as_ref(), records.last());
    }
}
