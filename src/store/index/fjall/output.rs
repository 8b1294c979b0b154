//! Where the rows of a flush go: into tables at once, or into a batch. What goes wrong is told at the next
//! look, since rows are handed over one by one from deep inside. Must not know what is in a row.

use ::fjall::{Keyspace, OwnedWriteBatch, PersistMode};

use super::{FjallIndex, backend, tables::Tables};
use crate::{store::index::IndexError, types::time::Month};

/// Rows of one batch, about.
const BATCH_ROWS: usize = 20_000;

/// Their keys and values, in bytes, about: fjall looks only behind a batch whether a keyspace holds
/// too much.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;

/// A batch in the making, or tables.
pub(super) struct Output<'a> {
    index: &'a FjallIndex,
    batch: OwnedWriteBatch,
    n_bytes: u64,
    tables: Option<Tables<'a>>,
    outcome: Result<(), IndexError>,
}

impl<'a> Output<'a> {
    /// Rows go into `tables` until they are finished, then into batches.
    pub(super) fn new(index: &'a FjallIndex, tables: Option<Tables<'a>>) -> Self {
        Self {
            index,
            batch: new_batch(index),
            n_bytes: 0,
            tables,
            outcome: Ok(()),
        }
    }

    /// The tables that rows go into now, if they do.
    pub(super) const fn tables(&self) -> Option<&Tables<'a>> {
        self.tables.as_ref()
    }

    /// A row of a last position.
    pub(super) fn last(&mut self, key: &[u8], value: &[u8]) {
        match &mut self.tables {
            Some(tables) if self.outcome.is_ok() => self.outcome = tables.put_last(key, value),
            Some(_) => {}
            None => {
                self.n_bytes += (key.len() + value.len()) as u64;
                self.batch.insert(&self.index.last, key, value);
            }
        }
    }

    /// A row of a month.
    pub(super) fn row(&mut self, (month, keyspace): (Month, &Keyspace), row: (&[u8], &[u8])) {
        match &mut self.tables {
            Some(tables) if self.outcome.is_ok() => self.outcome = tables.put(month, row),
            Some(_) => {}
            None => {
                let (key, value) = row;
                self.n_bytes += (key.len() + value.len()) as u64;
                self.batch.insert(keyspace, key, value);
            }
        }
    }

    /// Whether the batch is to be committed before there is more in it.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_ROWS || self.n_bytes >= BATCH_BYTES
    }

    /// What has gone wrong since the last look.
    pub(super) fn look(&mut self) -> Result<(), IndexError> {
        std::mem::replace(&mut self.outcome, Ok(()))
    }

    /// Makes what is in the tables durable and visible; what follows goes into batches. Before that all
    /// batches are synced: what was cut off a journal must not be older than a table.
    pub(super) fn finish_tables(&mut self) -> Result<(), IndexError> {
        self.look()?;
        let Some(tables) = self.tables.take() else {
            return Ok(());
        };
        let synced = self.index.database.persist(PersistMode::SyncAll);
        synced.map_err(backend)?;
        tables.finish()
    }

    /// Takes the tables out, not finished.
    #[cfg(test)]
    pub(super) const fn take_tables(&mut self) -> Option<Tables<'a>> {
        self.tables.take()
    }

    /// Makes what is in the batch durable and visible; how many bytes that was.
    pub(super) fn commit(&mut self) -> Result<u64, IndexError> {
        self.look()?;
        let batch = std::mem::replace(&mut self.batch, new_batch(self.index));
        batch.commit().map_err(backend)?;
        Ok(std::mem::take(&mut self.n_bytes))
    }
}

fn new_batch(index: &FjallIndex) -> OwnedWriteBatch {
    OwnedWriteBatch::with_capacity(index.database.clone(), 0).durability(Some(PersistMode::SyncAll))
}
