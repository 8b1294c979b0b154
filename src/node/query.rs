//! Answers the questions of the contract from the stores; the api's trait, implemented.
//!
//! A question first waits until the index shows what was durable when it was asked, so that what a
//! vehicle was told is what an asker sees. Reading the index blocks, so it happens on the threads
//! for that.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, broadcast, mpsc};

use crate::{
    api::{AnswerError, Answers, ExportQuestion, TrackQuestion, VehiclesQuestion},
    node::{
        clock::WallClock, cluster::ClusterHandle, discovery, members, members::MemberChanges,
        status::StatusSource,
    },
    store::{
        Store,
        index::{IndexError, RangeQuery, ScanQuery},
        retention::ShownIndex,
    },
    types::{
        cluster::{Discovery, Members, Peer, SearchPhase},
        dial::DialAddress,
        ids::VehicleId,
        json::json_bytes_max,
        record::{Kind, Record},
        status::{NodeStatus, Page, VehicleAnswer},
        time::UnixMillis,
    },
};

/// How long a question waits for the index to catch up.
const PATIENCE: Duration = Duration::from_secs(8);

/// Records that are read from the index at once, whatever their size.
const STEP: usize = 64;

/// Bytes of a page's JSON after which it ends, however many records were asked for; 10,000
/// positions without much beside them are fewer.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of JSON that an export hands over at once; a larger record goes alone.
const EXPORT_BATCH_BYTES: usize = 128 * 1024;

/// Batches of an export that may wait for a slow reader.
const EXPORT_BATCHES_AHEAD: usize = 2;

/// Questions that read the index at the same time; further ones wait. Also of those whose asker has
/// gone away: a reading cannot be broken off.
const READERS_MAX: usize = 4;

/// Subscribers of the live stream at most.
const LIVE_SUBSCRIBERS_MAX: usize = 256;

/// Answers for this node.
#[derive(Debug, Clone)]
pub struct NodeAnswers {
    store: Arc<Store>,
    status: Arc<StatusSource>,
    cluster: ClusterHandle,
    clock: Arc<WallClock>,
    readers: Arc<Semaphore>,
}

impl NodeAnswers {
    /// Answers from `store`, about this node from `status`, and about the others from `cluster`.
    pub fn new(store: Arc<Store>, status: Arc<StatusSource>, cluster: ClusterHandle) -> Self {
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        Self {
            store,
            status,
            cluster,
            clock: Arc::new(WallClock::new()),
            readers,
        }
    }

    async fn index(&self) -> Result<ShownIndex, AnswerError> {
        if !self.store.is_caught_up(PATIENCE).await {
            return Err(AnswerError::Behind);
        }
        Ok(self.store.index().clone())
    }

    /// Asks the index on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ShownIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, AnswerError> {
        let index = self.index().await?;
        let place = Arc::clone(&self.readers).acquire_owned().await;
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            question(&index)
        });
        match reading.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreadable(&error)),
            Err(error) => {
                tracing::error!(%error, "a question crashed");
                self.status.task_metrics().panics.inc("query");
                Err(AnswerError::Store)
            }
        }
    }
}

impl Answers for NodeAnswers {
    fn status(&self) -> NodeStatus {
        self.status.status()
    }

    async fn nodes(&self) -> Result<Members, AnswerError> {
        members::members(&self.cluster, &self.clock, self.status.name()).await
    }

    type Changes = MemberChanges;

    async fn changes(&self, is_all: bool) -> Result<MemberChanges, AnswerError> {
        MemberChanges::subscribe(&self.cluster, &self.clock, is_all).await
    }

    async fn discovery(&self) -> Result<Discovery, AnswerError> {
        discovery::discovery(&self.cluster, &self.clock).await
    }

    async fn search(&self, is_active: bool) -> Result<SearchPhase, AnswerError> {
        discovery::search(&self.cluster, is_active).await
    }

    async fn dial(&self, address: DialAddress) -> Result<Peer, AnswerError> {
        discovery::dial(&self.cluster, address).await
    }

    async fn ping(&self, node: &str) -> Result<Duration, AnswerError> {
        discovery::ping(&self.cluster, self.status.name(), node).await
    }

    async fn forget(&self, node: &str) -> Result<(), AnswerError> {
        discovery::forget(&self.cluster, node).await
    }

    fn metrics(&self) -> String {
        self.status.metrics()
    }

    async fn vehicles(&self, question: VehiclesQuestion) -> Result<Page<Record>, AnswerError> {
        let after = match &question.after {
            None => None,
            Some(id) => Some(VehicleId::parse(id.as_bytes()).map_err(|_| AnswerError::BadCursor)?),
        };
        let (limit, bbox) = (question.limit, question.bbox);
        let found = self
            .ask(move |index| last_positions(index, after, limit, bbox))
            .await?;
        Ok(found.into_page(last_id))
    }

    async fn vehicle(&self, vehicle: VehicleId) -> Result<VehicleAnswer, AnswerError> {
        let asked = vehicle.clone();
        let position = self.ask(move |index| index.last(&asked)).await?;
        Ok(VehicleAnswer {
            position,
            owner: self.status.name().to_owned(),
            connected_to: self.status.connected_to(&vehicle),
            missing: Vec::new(),
        })
    }

    async fn track(&self, question: TrackQuestion) -> Result<Page<Record>, AnswerError> {
        let after = match &question.after {
            None => None,
            Some(cursor) => Some(parse_cursor(cursor).ok_or(AnswerError::BadCursor)?),
        };
        let limit = question.limit;
        let query = RangeQuery {
            vehicle: question.vehicle,
            kind: Kind::Position,
            from: question.from,
            to: question.to,
            after,
        };
        let found = self.ask(move |index| track(index, query, limit)).await?;
        Ok(found.into_page(cursor_after))
    }

    async fn export(
        &self,
        question: ExportQuestion,
    ) -> Result<mpsc::Receiver<Result<Vec<Record>, AnswerError>>, AnswerError> {
        let index = self.index().await?;
        let (sender, receiver) = mpsc::channel(EXPORT_BATCHES_AHEAD);
        // The handle is not needed: a crash drops the sender without the final empty batch, which
        // the reader takes for the failure it is.
        drop(tokio::task::spawn_blocking(move || {
            let mut export = Export {
                index,
                question,
                sender,
            };
            let outcome = match export.question.vehicle.clone() {
                Some(vehicle) => export.one_vehicle(vehicle),
                None => export.all(),
            };
            export.end(outcome);
        }));
        Ok(receiver)
    }

    fn live(&self) -> Option<broadcast::Receiver<Arc<[Record]>>> {
        let live = self.store.live();
        (self.store.n_live_subscribers() <= LIVE_SUBSCRIBERS_MAX).then_some(live)
    }
}

struct Export {
    index: ShownIndex,
    question: ExportQuestion,
    sender: mpsc::Sender<Result<Vec<Record>, AnswerError>>,
}

impl Export {
    fn all(&mut self) -> Result<(), IndexError> {
        let mut query = ScanQuery {
            kind: self.question.kind,
            from: self.question.from,
            to: self.question.to,
            after: None,
        };
        loop {
            let page = self.index.scan(&query, STEP)?;
            query.after = page.next;
            if !self.send(page.records) || query.after.is_none() {
                return Ok(());
            }
        }
    }

    fn one_vehicle(&mut self, vehicle: VehicleId) -> Result<(), IndexError> {
        let (kind, from, to) = (self.question.kind, self.question.from, self.question.to);
        let mut query = RangeQuery {
            vehicle,
            kind,
            from,
            to,
            after: None,
        };
        loop {
            let records = self.index.range(&query, STEP)?;
            query.after = records.last().map(|last| (last.key.time, last.key.hash));
            if records.is_empty() || !self.send(records) {
                return Ok(());
            }
        }
    }

    /// Sends `records` in batches; false when nobody reads any more.
    fn send(&self, records: Vec<Record>) -> bool {
        let (mut batch, mut n_bytes) = (Vec::new(), 0);
        for record in records {
            let record_bytes = json_bytes_max(&record);
            if n_bytes + record_bytes > EXPORT_BATCH_BYTES && !batch.is_empty() {
                n_bytes = 0;
                if !self.send_one(std::mem::take(&mut batch)) {
                    return false;
                }
            }
            n_bytes += record_bytes;
            batch.push(record);
        }
        batch.is_empty() || self.send_one(batch)
    }

    fn send_one(&self, batch: Vec<Record>) -> bool {
        self.sender.blocking_send(Ok(batch)).is_ok()
    }

    fn end(self, outcome: Result<(), IndexError>) {
        let last = outcome
            .map(|()| Vec::new())
            .map_err(|error| unreadable(&error));
        // An error means that nobody reads any more.
        drop(self.sender.blocking_send(last));
    }
}

fn unreadable(error: &IndexError) -> AnswerError {
    tracing::error!(%error, "the index cannot be read");
    AnswerError::Store
}

/// Records for one page.
struct Found {
    records: Vec<Record>,
    limit: usize,
    json_bytes: usize,
}

impl Found {
    const fn new(limit: usize) -> Self {
        Self {
            records: Vec::new(),
            limit,
            json_bytes: 0,
        }
    }

    fn push(&mut self, record: Record) {
        self.json_bytes += json_bytes_max(&record);
        self.records.push(record);
    }

    fn is_full(&self) -> bool {
        self.records.len() >= self.limit || self.json_bytes >= PAGE_BYTES_MAX
    }

    fn into_page(self, cursor: fn(&Record) -> String) -> Page<Record> {
        let last = self.records.last().filter(|_| self.is_full());
        Page {
            next: last.map(cursor),
            items: self.records,
            missing: Vec::new(),
        }
    }
}

/// Last positions, inside `bbox` if one is given, until a page is full.
fn last_positions(
    index: &ShownIndex,
    mut after: Option<VehicleId>,
    limit: usize,
    bbox: Option<[f64; 4]>,
) -> Result<Found, IndexError> {
    let mut found = Found::new(limit);
    loop {
        let n_missing = limit - found.records.len();
        let step = bbox.map_or(n_missing.min(STEP), |_| STEP);
        let records = index.vehicles(after.as_ref(), step)?;
        let Some(last) = records.last() else {
            return Ok(found);
        };
        after = Some(last.key.vehicle.clone());
        for record in records {
            if bbox.is_none_or(|bbox| is_inside(&record, &bbox)) {
                found.push(record);
                if found.is_full() {
                    return Ok(found);
                }
            }
        }
    }
}

/// Positions of one vehicle until a page is full.
fn track(index: &ShownIndex, mut query: RangeQuery, limit: usize) -> Result<Found, IndexError> {
    let mut found = Found::new(limit);
    loop {
        let n_missing = limit - found.records.len();
        let records = index.range(&query, n_missing.min(STEP))?;
        let Some(last) = records.last() else {
            return Ok(found);
        };
        query.after = Some((last.key.time, last.key.hash));
        for record in records {
            found.push(record);
            if found.is_full() {
                return Ok(found);
            }
        }
    }
}

fn is_inside(record: &Record, [west, south, east, north]: &[f64; 4]) -> bool {
    record.fix().is_some_and(|fix| {
        let (latitude, longitude) = (fix.latitude.as_f64(), fix.longitude.as_f64());
        (*south..=*north).contains(&latitude) && (*west..=*east).contains(&longitude)
    })
}

fn last_id(record: &Record) -> String {
    record.key.vehicle.as_str().to_owned()
}

fn cursor_after(record: &Record) -> String {
    format!("{}_{:016x}", record.key.time.0, record.key.hash)
}

fn parse_cursor(text: &str) -> Option<(UnixMillis, u64)> {
    let (time, hash) = text.split_once('_')?;
    Some((
        UnixMillis(time.parse().ok()?),
        u64::from_str_radix(hash, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_rubbish_does_not() {
        assert_eq!(
            parse_cursor("-5_00000000000000ff"),
            Some((UnixMillis(-5), 255))
        );
        assert_eq!(parse_cursor("5"), None);
        assert_eq!(parse_cursor("x_1"), None);
    }
}
