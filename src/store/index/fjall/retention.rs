//! Removes what is too old from [`FjallIndex`]: months as a whole, rows of `last` and `future` one
//! by one, a bounded number at each call.

use std::sync::PoisonError;

use ::fjall::{Keyspace, OwnedWriteBatch, PersistMode, Readable, UserKey, UserValue};

use super::{FjallIndex, NewestCache, Writing, backend, lane::only_position, missing_row};
use crate::{
    store::{
        index::{
            IndexError, Removed,
            rows::{self, RowValue},
        },
        retention::Horizon,
    },
    types::{record::Record, time::Month},
};

/// Most rows that one call looks at.
const ROWS_MAX: usize = 10_000;

/// How far the removal has come.
#[derive(Default)]
pub(super) struct Sweep {
    /// Months that were removed at the call before. fjall removes the files with the last handle,
    /// and a question may be reading them still.
    graves: Vec<Keyspace>,
    /// Where the rows go on that were not looked at yet; the start where none was.
    at: Option<(Part, UserKey)>,
}

/// The keyspaces whose rows are looked at one by one, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Last,
    Future,
}

/// All rows of one record.
#[derive(Default)]
struct RecordRows(Vec<(UserKey, UserValue)>);

impl FjallIndex {
    /// See [`crate::store::index::Index::remove_past`].
    pub(super) fn remove_past_rows(&self, horizon: &Horizon) -> Result<Removed, IndexError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = self.staged().oldest();
        if oldest.is_some_and(|oldest| horizon.is_month_past(oldest.month())) {
            self.flush(&mut writing)?;
        }
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        sweep.graves.clear();
        for month in self.months_past(horizon) {
            let grave = self.remove_month(month)?;
            sweep.graves.extend(grave);
        }
        let (part, start) = match sweep.at.take() {
            Some((part, key)) => (part, key.to_vec()),
            None => (Part::Last, Vec::new()),
        };
        let stopped = self.remove_rows(part, start, horizon, &mut writing)?;
        sweep.at = match (part, stopped) {
            (part, Some(key)) => Some((part, key)),
            (Part::Last, None) => Some((Part::Future, UserKey::from([]))),
            (Part::Future, None) => None,
        };
        Ok(Removed {
            n_months: sweep.graves.len() as u64,
            is_complete: sweep.at.is_none() && sweep.graves.is_empty(),
        })
    }

    fn months_past(&self, horizon: &Horizon) -> Vec<Month> {
        let months = self.months.read().unwrap_or_else(PoisonError::into_inner);
        let is_past = |month: &&Month| horizon.is_month_past(**month);
        months.keys().filter(is_past).copied().collect()
    }

    /// Removes the records behind the horizon that begin with the key `start`; where it stopped, if
    /// that was before the end.
    fn remove_rows(
        &self,
        part: Part,
        start: Vec<u8>,
        horizon: &Horizon,
        writing: &mut Writing,
    ) -> Result<Option<UserKey>, IndexError> {
        let keyspace = match part {
            Part::Last => &self.last,
            Part::Future => &self.future,
        };
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), 0);
        batch = batch.durability(Some(PersistMode::Buffer));
        let mut record_rows = RecordRows::default();
        let mut stopped = None;
        let rows = self.database.snapshot().range(keyspace, start..);
        for (n_rows, row) in rows.map(::fjall::Guard::into_inner).enumerate() {
            let (key, value) = row.map_err(backend)?;
            if part.is_first(&key)? {
                record_rows.bury(keyspace, horizon, &mut batch)?;
                if n_rows >= ROWS_MAX {
                    stopped = Some(key);
                    break;
                }
            }
            record_rows.0.push((key, value));
        }
        record_rows.bury(keyspace, horizon, &mut batch)?;
        if part == Part::Last && !batch.is_empty() {
            // Only what is on disk may be in it.
            writing.newest = NewestCache::new(self.config.newest_vehicles);
        }
        batch.commit().map_err(backend)?;
        Ok(stopped)
    }
}

impl Part {
    fn is_first(self, key: &[u8]) -> Result<bool, IndexError> {
        match self {
            Self::Last => rows::is_first_of_last(key),
            Self::Future => Ok(rows::moment_of(key)?.is_some()),
        }
    }
}

impl RecordRows {
    /// Has the rows removed if their record is due, also those that an earlier,
    /// longer record left; empties this.
    fn bury(
        &mut self,
        keyspace: &Keyspace,
        horizon: &Horizon,
        batch: &mut OwnedWriteBatch,
    ) -> Result<(), IndexError> {
        if !self.0.is_empty() && horizon.is_due(&self.record()?) {
            for (key, _) in &self.0 {
                batch.remove(keyspace, key.clone());
            }
        }
        self.0.clear();
        Ok(())
    }

    fn record(&self) -> Result<Record, IndexError> {
        let (key, value) = self.0.first().ok_or_else(|| missing_row("", 0))?;
        let first = match RowValue::parse(value)? {
            RowValue::Block(block) => return only_position(block, &rows::vehicle_of(key)?),
            RowValue::Record(first) => first,
        };
        first.assemble(|number| {
            let row = usize::try_from(number).ok().and_then(|at| self.0.get(at));
            row.map(|(_, value)| value)
                .ok_or_else(|| missing_row(&key.escape_ascii().to_string(), number))
        })
    }
}
