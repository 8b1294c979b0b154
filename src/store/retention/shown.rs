//! The index as those see it who ask: without what is too old.
//!
//! What is too old is removed in larger steps; here it is hidden from the moment on when it is. Who
//! tells duplicates must not look through this: what is hidden may be there still.

use std::{sync::Arc, time::Duration};

use super::horizon::{Horizon, SharedHorizon};
use crate::{
    delivery::frame::RecordHead,
    store::index::{Index, IndexError, RangeQuery, ScanPage, ScanQuery},
    types::{ids::VehicleId, record::Record, time::UnixMillis},
};

/// How long a question that failed waits for the files of the index to be looked through.
const BLAME_PATIENCE: Duration = Duration::from_secs(2);

/// The index, for questions. Blocking.
#[derive(Debug, Clone)]
pub struct ShownIndex {
    index: Arc<dyn Index>,
    horizon: Arc<SharedHorizon>,
}

impl ShownIndex {
    pub(crate) fn new(index: Arc<dyn Index>, horizon: Arc<SharedHorizon>) -> Self {
        Self { index, horizon }
    }

    /// See [`Index::last`].
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    pub fn last(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        let last = self
            .index
            .last(vehicle)
            .map_err(|error| self.blame(error))?;
        Ok(last.filter(|record| is_shown(self.horizon.now(), record)))
    }

    /// See [`Index::vehicles`].
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    pub fn vehicles(
        &self,
        after: Option<&VehicleId>,
        limit: usize,
    ) -> Result<Vec<Record>, IndexError> {
        let mut after = after.cloned();
        self.fill(limit, |limit| {
            let page = self.index.vehicles(after.as_ref(), limit);
            let page = page.map_err(|error| self.blame(error))?;
            if let Some(last) = page.last() {
                after = Some(last.key.vehicle.clone());
            }
            Ok(page)
        })
    }

    /// See [`Index::range`].
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    pub fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError> {
        let mut query = RangeQuery {
            from: self.from(query.from),
            ..query.clone()
        };
        self.fill(limit, |limit| {
            let page = self.index.range(&query, limit);
            let page = page.map_err(|error| self.blame(error))?;
            if let Some(last) = page.last() {
                query.after = Some((last.key.time, last.key.hash));
            }
            Ok(page)
        })
    }

    /// See [`Index::scan`].
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read, or when the cursor is not of this index's making.
    pub fn scan(&self, query: &ScanQuery, limit: usize) -> Result<ScanPage, IndexError> {
        let query = ScanQuery {
            from: self.from(query.from),
            ..query.clone()
        };
        let page = self.index.scan(&query, limit);
        let mut page = page.map_err(|error| self.blame(error))?;
        let horizon = self.horizon.now();
        page.records.retain(|record| is_shown(horizon, record));
        Ok(page)
    }

    /// Says which file is behind an error, where that can be found out.
    fn blame(&self, error: IndexError) -> IndexError {
        self.index.blame(error, BLAME_PATIENCE)
    }

    /// The beginning of what is shown of what begins at `from`: no record that is shown lies before
    /// the horizon, since one that was received as a future one is newer than its reception.
    fn from(&self, from: Option<UnixMillis>) -> Option<UnixMillis> {
        from.max(self.horizon.now().map(|horizon| horizon.oldest))
    }

    /// Takes pages until `limit` records are there that are shown, or a page is all there is.
    fn fill(
        &self,
        limit: usize,
        mut next_page: impl FnMut(usize) -> Result<Vec<Record>, IndexError>,
    ) -> Result<Vec<Record>, IndexError> {
        let horizon = self.horizon.now();
        let mut found = Vec::new();
        loop {
            // A whole page each time: many may be hidden in a row.
            let mut page = next_page(limit)?;
            let is_last = page.len() < limit;
            page.retain(|record| is_shown(horizon, record));
            found.append(&mut page);
            if is_last || found.len() >= limit {
                // Who asks goes on behind the last one given.
                found.truncate(limit);
                return Ok(found);
            }
        }
    }
}

fn is_shown(horizon: Option<Horizon>, record: &Record) -> bool {
    horizon.is_none_or(|horizon| !horizon.is_past(&RecordHead::of(record)))
}
