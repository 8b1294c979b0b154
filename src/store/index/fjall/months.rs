//! The keyspaces of months: made with their first row, listed as finished, removed as a whole. Must
//! not know what is in a row.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    sync::PoisonError,
};

use ::fjall::Keyspace;

use super::{FjallIndex, backend, settings::month_options, sound::Finished};
use crate::{
    store::index::{IndexError, rows},
    types::time::Month,
};

/// The months that have a keyspace.
pub(super) type Months = BTreeMap<Month, Keyspace>;

impl FjallIndex {
    /// The keyspace of a month, if there is one.
    pub(super) fn month(&self, month: Month) -> Option<Keyspace> {
        let months = self.months.read().unwrap_or_else(PoisonError::into_inner);
        months.get(&month).cloned()
    }

    /// The keyspace of a month; makes it if there is none. By the thread that holds the lock of
    /// `writing`.
    pub(super) fn month_or_new(&self, month: Month) -> Result<Keyspace, IndexError> {
        if let Some(keyspace) = self.month(month) {
            return Ok(keyspace);
        }
        let name = rows::month_name(month);
        let keyspace = self
            .database
            .keyspace(&name, || month_options(&self.config))
            .map_err(backend)?;
        self.sync_names()?;
        let mut months = self.all_months();
        months.insert(month, keyspace.clone());
        self.finished(&months).write(&self.folder)?;
        self.put_months(months);
        Ok(keyspace)
    }

    /// Removes a month with all its rows. The files go with the last handle, of which this gives one. By
    /// the thread that holds the lock of `writing`.
    pub(super) fn remove_month(&self, month: Month) -> Result<Option<Keyspace>, IndexError> {
        let mut months = self.all_months();
        let Some(keyspace) = months.remove(&month) else {
            return Ok(None);
        };
        // A start after a kill in the middle of this must not miss it.
        self.finished(&months).write(&self.folder)?;
        self.put_months(months);
        let deleted = self.database.delete_keyspace(keyspace.clone());
        deleted.map_err(backend)?;
        Ok(Some(keyspace))
    }

    /// Makes all keyspaces durable and lists them, of which `listed` are already.
    pub(super) fn finish_keyspaces(&self, listed: Option<&Finished>) -> Result<(), IndexError> {
        self.sync_names()?;
        let finished = self.finished(&self.all_months());
        if listed == Some(&finished) {
            return Ok(());
        }
        finished.write(&self.folder)
    }

    fn finished(&self, months: &Months) -> Finished {
        Finished::of(
            [&self.meta, &self.last, &self.future]
                .into_iter()
                .chain(months.values()),
        )
    }

    fn all_months(&self) -> Months {
        let months = self.months.read().unwrap_or_else(PoisonError::into_inner);
        months.clone()
    }

    fn put_months(&self, new: Months) {
        let mut months = self.months.write().unwrap_or_else(PoisonError::into_inner);
        *months = new;
    }

    /// Makes the names of new keyspaces durable. fjall syncs what is in the folder of a keyspace, not
    /// the name of that folder: after a power cut the keyspace would be gone with all its rows, though
    /// they were synced.
    fn sync_names(&self) -> Result<(), IndexError> {
        let sync = || -> io::Result<()> {
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    File::open(path)?.sync_all()?;
                }
            }
            File::open(&self.folder)?.sync_all()
        };
        sync().map_err(|error| IndexError::Backend(error.to_string()))
    }
}
