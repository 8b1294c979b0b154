//! Reads the index of this node's store page by page, for questions from here and from other nodes.
//!
//! Reading blocks, so it happens on the threads for that, a few at a time. Must not know who asks.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::{
    api::AnswerError,
    base::rate::RateLimit,
    metrics::names::TaskMetrics,
    store::{
        Store,
        index::{IndexError, RangeQuery, ScanQuery},
        retention::ShownIndex,
    },
    types::{ids::VehicleId, record::Record},
};

/// How long a question waits for the index to catch up.
const PATIENCE: Duration = Duration::from_secs(8);

/// Questions that read the index at the same time; further ones wait. Also of those whose asker has
/// gone away: a reading cannot be broken off.
const READERS_MAX: usize = 4;

/// Records that are read from the index at once, which has a cap in bytes too. For each page of vehicles or
/// of a scan all that waits to be written is gone over.
const STEP: usize = 1_024;

/// A damaged file is met by each question that needs it.
static WARNINGS: RateLimit = RateLimit::per_second(1);

/// Asks the index of a store; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct IndexReader {
    store: Arc<Store>,
    places: Arc<Semaphore>,
    metrics: TaskMetrics,
}

/// A question to the index that is answered page by page, and where it goes on.
#[derive(Debug)]
pub(super) enum Reading {
    /// The last position of a vehicle; none once it is read.
    Last(Option<VehicleId>),
    /// Last positions in order of vehicle.
    Vehicles {
        /// Behind this one.
        after: Option<VehicleId>,
        /// At most so many further ones.
        n_left: usize,
    },
    /// Records of a vehicle in order of (time, hash).
    Track {
        /// Which.
        query: RangeQuery,
        /// At most so many further ones.
        n_left: usize,
    },
    /// All records in order of their keys; none once they are read.
    Export(Option<ScanQuery>),
}

impl IndexReader {
    /// A reader of the index of `store`; crashes are counted in `metrics`.
    pub(super) fn new(store: Arc<Store>, metrics: TaskMetrics) -> Self {
        Self {
            store,
            places: Arc::new(Semaphore::new(READERS_MAX)),
            metrics,
        }
    }

    /// The store that is read.
    pub(super) const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The index, once it shows what was durable when this was called.
    pub(super) async fn index(&self) -> Result<ShownIndex, AnswerError> {
        tokio::select! {
            biased;
            is_caught_up = self.store.is_caught_up(PATIENCE) => match is_caught_up {
                true => Ok(self.store.index().clone()),
                false => Err(AnswerError::Behind),
            },
            why = self.store.held() => Err(unreadable(&why)),
        }
    }

    /// Asks the index on a thread that may block, once it shows what was durable when this was called.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ShownIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, AnswerError> {
        self.index().await?;
        self.ask_now(question).await
    }

    /// The same without the wait.
    pub(super) async fn ask_now<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ShownIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, AnswerError> {
        let index = self.store.index().clone();
        let place = Arc::clone(&self.places).acquire_owned().await;
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            question(&index)
        });
        match reading.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreadable(&error)),
            Err(error) => {
                tracing::error!(%error, "a question crashed");
                self.metrics.panics.inc("query");
                Err(AnswerError::Store)
            }
        }
    }
}

impl Reading {
    /// The next records; `None` at the end. A page may be empty. Blocking.
    pub(super) fn next_page(
        &mut self,
        index: &ShownIndex,
    ) -> Result<Option<Vec<Record>>, IndexError> {
        let page = match self {
            Self::Last(vehicle) => {
                let Some(vehicle) = vehicle.take() else {
                    return Ok(None);
                };
                return Ok(Some(index.last(&vehicle)?.into_iter().collect()));
            }
            Self::Vehicles { after, n_left } => {
                let page = index.vehicles(after.as_ref(), STEP.min(*n_left))?;
                *n_left -= page.len().min(*n_left);
                if let Some(last) = page.last() {
                    *after = Some(last.key.vehicle.clone());
                }
                page
            }
            Self::Track { query, n_left } => {
                let page = index.range(query, STEP.min(*n_left))?;
                *n_left -= page.len().min(*n_left);
                if let Some(last) = page.last() {
                    query.after = Some((last.key.time, last.key.hash));
                }
                page
            }
            Self::Export(scan) => {
                let Some(query) = scan else {
                    return Ok(None);
                };
                let page = index.scan(query, STEP)?;
                query.after = page.next;
                if query.after.is_none() {
                    *scan = None;
                }
                return Ok(Some(page.records));
            }
        };
        Ok((!page.is_empty()).then_some(page))
    }
}

/// What is said of an index that cannot be read. Which file is damaged is told; else its own log says
/// why.
fn unreadable(error: &IndexError) -> AnswerError {
    if let Some(n_unsaid) = WARNINGS.pass() {
        tracing::error!(%error, n_unsaid, "the index cannot be read");
    }
    if error.is_damage() {
        return AnswerError::Damaged(error.to_string());
    }
    AnswerError::Store
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::forwarding::testing::record as position,
        store::index::{Index as _, MapIndex},
    };

    #[test]
    fn vehicles_are_read_many_at_once() {
        let index = MapIndex::new();
        let records: Vec<Record> = (0..1_000)
            .map(|number| position(&format!("v{number:04}"), 1_000))
            .collect();
        index.apply(&records).unwrap();
        let index = ShownIndex::new(Arc::new(index), Arc::default());
        let mut reading = Reading::Vehicles {
            after: None,
            n_left: usize::MAX,
        };
        assert_eq!(reading.next_page(&index).unwrap(), Some(records));
        assert_eq!(reading.next_page(&index).unwrap(), None);
    }
}
