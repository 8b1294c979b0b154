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
            let n_read = page.len();
            page.retain(|record| is_shown(horizon, record));
            // A page that is short may be so because its records are large.
            let is_last = n_read == 0;
            let is_whole = page.len() == n_read;
            found.append(&mut page);
            if is_last || is_whole || found.len() >= limit {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::tests::{TestIndex, position, vehicle},
        types::record::Kind,
    };

    #[test]
    fn however_short_the_pages_of_the_index_are_what_is_hidden_ends_no_page() {
        let index = Arc::new(TestIndex::default());
        let of_vehicle = |number: i64| {
            let mut record = position(number % 5 * 1_000);
            record.key.vehicle = VehicleId::parse(format!("v{number}").as_bytes()).unwrap();
            record
        };
        let records: Vec<Record> = (0..10)
            .map(of_vehicle)
            .chain((0..10).map(position))
            .collect();
        index.apply(&records).unwrap();
        let horizon = Horizon {
            oldest: UnixMillis(4_000),
            newest: UnixMillis(5_000),
        };
        let shared = Arc::new(SharedHorizon::default());
        shared.set(Some(horizon));
        for n_page_max in [1, 2, 3, 0] {
            index
                .n_page_max
                .store(n_page_max, std::sync::atomic::Ordering::Relaxed);
            let shown = ShownIndex::new(Arc::new(Arc::clone(&index)), Arc::clone(&shared));
            for limit in [1, 2, 64] {
                let (mut found, mut after) = (Vec::new(), None);
                while let Some(last) = {
                    let page = shown.vehicles(after.as_ref(), limit).unwrap();
                    assert!(page.len() <= limit);
                    found.extend(page.iter().map(|record| record.key.vehicle.to_string()));
                    page.last().map(|record| record.key.vehicle.clone())
                } {
                    after = Some(last);
                }
                assert_eq!(found, ["v4", "v9"], "{n_page_max} {limit}");
            }
            let query = RangeQuery {
                vehicle: vehicle(),
                kind: Kind::Position,
                from: None,
                to: None,
                after: None,
            };
            assert!(shown.range(&query, 64).unwrap().is_empty());
        }
    }
}
