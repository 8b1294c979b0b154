//! Rows that become tables at once, in the place of a journal and a skip list: no second copy of them
//! is in memory, and they are written to the disk once. They come in the order of their keys; none is
//! visible, and none is there after a crash, before all of its keyspace are finished, which takes them
//! in as a whole. Must not know what is in a row.

use ::fjall::Keyspace;

use super::backend;
use crate::{store::index::IndexError, types::time::Month};

/// Writes a row, or finishes where there is none; fjall does not name the type that does both.
type Rows<'a> = Box<dyn FnMut(Option<(&[u8], &[u8])>) -> ::fjall::Result<()> + 'a>;

/// The keyspaces whose rows become tables.
pub(super) struct Keyspaces {
    pub(super) last: Keyspace,
    /// In order; few, since much of each waits.
    pub(super) months: Vec<(Month, Keyspace)>,
}

/// Tables in the making. Dropped before they are finished they leave files that the next start removes.
pub(super) struct Tables<'a> {
    last: Rows<'a>,
    months: Vec<(Month, Rows<'a>)>,
}

impl<'a> Tables<'a> {
    /// Begins tables for `keyspaces`.
    pub(super) fn begin(keyspaces: &'a Keyspaces) -> Self {
        let months = keyspaces.months.iter();
        let months = months.map(|(month, keyspace)| (*month, rows_of(keyspace)));
        Self {
            last: rows_of(&keyspaces.last),
            months: months.collect(),
        }
    }

    /// Whether there is one for rows of a month.
    pub(super) fn holds(&self, month: Month) -> bool {
        self.place_of(month).is_ok()
    }

    /// Writes a row with a last position, behind all of them that were written.
    pub(super) fn put_last(&mut self, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        (self.last)(Some((key, value))).map_err(backend)
    }

    /// Writes a row of a month that it [holds](Self::holds), behind all of that month that were written.
    pub(super) fn put(&mut self, month: Month, row: (&[u8], &[u8])) -> Result<(), IndexError> {
        let place = self.place_of(month).ok();
        match place.and_then(|place| self.months.get_mut(place)) {
            Some((_, rows)) => rows(Some(row)).map_err(backend),
            None => Err(IndexError::Backend(format!("no table of {month}"))),
        }
    }

    fn place_of(&self, month: Month) -> Result<usize, usize> {
        self.months
            .binary_search_by_key(&month, |(month, _)| *month)
    }

    /// Makes all durable and visible: the last positions, then month by month.
    pub(super) fn finish(mut self) -> Result<(), IndexError> {
        self.finish_last()?;
        let mut months = self.months.into_iter();
        months.try_for_each(|(_, mut rows)| rows(None).map_err(backend))
    }

    /// Makes the last positions durable and visible.
    pub(super) fn finish_last(&mut self) -> Result<(), IndexError> {
        (self.last)(None).map_err(backend)
    }
}

/// Begins with the first row: one without rows would leave an empty file.
fn rows_of(keyspace: &Keyspace) -> Rows<'_> {
    let mut begun = None;
    Box::new(move |row| match row {
        Some((key, value)) => {
            let mut rows = match begun.take() {
                Some(rows) => rows,
                None => keyspace.start_ingestion()?,
            };
            let written = rows.write(key, value);
            begun = Some(rows);
            written
        }
        None => begun.take().map_or(Ok(()), |rows| rows.finish()),
    })
}
