//! How far fjall may lag behind what it is given, and how it is made to go on. Must not know what is in a
//! row.

use std::{sync::PoisonError, time::Duration};

use ::fjall::{AbstractTree as _, Keyspace};

use super::{FjallIndex, backend, memtables};
use crate::{base::time::Instant, store::index::IndexError};

/// Rows in memory, as times [`super::IndexConfig::memtables_bytes`], from which more are waited with.
const UNWRITTEN_PART: u64 = 2;
/// How long at most before the next batch: fjall is asked to write only by a batch.
const UNWRITTEN_PATIENCE: Duration = Duration::from_secs(1);
const UNWRITTEN_POLL: Duration = Duration::from_millis(1);
/// Tables of a keyspace that are not merged yet, from which more are waited with.
pub(super) const TABLES_MAX: usize = 16;
/// Bytes in batches from which fjall is made to look at its journals: it does when it writes what a
/// keyspace has in memory, and tables that come in have written that already.
pub(super) const JOURNAL_STEP_BYTES: u64 = 16 * 1024 * 1024;

impl FjallIndex {
    /// Has the largest months written to tables while all hold too much in memory.
    pub(super) fn write_out_months(&self) -> Result<(), IndexError> {
        // Calls that fjall keeps out of its documentation; its documented limits know one
        // keyspace only, or the size of the journals.
        let months = self.months.read().unwrap_or_else(PoisonError::into_inner);
        let size = |keyspace: &Keyspace| keyspace.tree.active_memtable().size();
        let sizes = months
            .iter()
            .map(|(month, keyspace)| (size(keyspace), *month));
        let mut due = memtables::due(sizes.collect(), self.config.memtables_bytes).into_iter();
        due.try_for_each(|month| {
            let rotated = months.get(&month).map(Keyspace::rotate_memtable);
            rotated.transpose().map_err(backend).map(|_| ())
        })
    }

    /// Makes fjall look at its journals; whether it will.
    pub(super) fn turn_journal(&self) -> Result<bool, IndexError> {
        // There is something in `meta` once the index was made durable.
        self.meta.rotate_memtable().map_err(backend)
    }

    /// Waits while more rows are in memory than may wait to be written, or more tables than questions
    /// should look through. fjall itself looks at one keyspace at a time, and while it merges tables not
    /// even at that: what it should write is found out by the thread that merges.
    #[expect(
        clippy::disallowed_methods,
        reason = "fjall has nothing that could be awaited"
    )]
    pub(super) fn wait_for_tables(&self) {
        let until = Instant::now() + UNWRITTEN_PATIENCE;
        while self.is_behind() && Instant::now() < until {
            std::thread::sleep(UNWRITTEN_POLL);
        }
    }

    /// Whether fjall is to write or to merge before there is more. What it has not begun to write does not
    /// count: waiting does not make it less.
    fn is_behind(&self) -> bool {
        let months = self.months.read().unwrap_or_else(PoisonError::into_inner);
        let keyspaces = months.values().chain([&self.last, &self.future]);
        let n_bytes: u64 = keyspaces.map(|keyspace| self.waiting_bytes(keyspace)).sum();
        drop(months);
        n_bytes > UNWRITTEN_PART * self.config.memtables_bytes
            || self.n_unmerged_tables() >= TABLES_MAX
    }

    /// What of a keyspace waits to be written, in bytes, about. What fjall counts itself never ends to
    /// count what it writes besides when tables come in.
    fn waiting_bytes(&self, keyspace: &Keyspace) -> u64 {
        // Calls that fjall keeps out of its documentation.
        let (n_bytes, memtable_bytes) = (
            keyspace.tree.active_memtable().size(),
            self.config.memtable_bytes,
        );
        let n_sealed = keyspace.sealed_memtable_count() as u64;
        let is_asked_for = n_bytes > memtable_bytes;
        n_sealed * memtable_bytes + if is_asked_for { n_bytes } else { 0 }
    }

    /// Most tables of a keyspace that are not merged yet.
    pub(super) fn n_unmerged_tables(&self) -> usize {
        let months = self.months.read().unwrap_or_else(PoisonError::into_inner);
        let keyspaces = months.values().chain([&self.last]);
        let n_tables = keyspaces.map(Keyspace::l0_table_count);
        n_tables.max().unwrap_or_default()
    }
}
