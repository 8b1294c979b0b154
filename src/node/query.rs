//! Answers the questions of the contract; the api's trait, implemented.
//!
//! A question first waits until the index shows what was durable when it was asked, so that what a
//! vehicle was told is what an asker sees. Where other nodes are linked, they are asked at the same time,
//! and the answers are merged; a node alone reads its own index and makes no detour for a page.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{AnswerError, Answers, Export, ExportQuestion, TrackQuestion, VehiclesQuestion},
    base::task::TaskGroup,
    cluster::proto::shard_map::ShardId,
    node::{
        asking::{Asking, AskingParts, LiveFeed, PageQuestion, Stream},
        clock::WallClock,
        cluster::{ClusterHandle, Traffic},
        discovery, export, members,
        members::MemberChanges,
        reading::{IndexReader, Reading},
        status::StatusSource,
    },
    store::{
        Store,
        index::{IndexError, RangeQuery},
        retention::ShownIndex,
    },
    types::{
        cluster::{Discovery, Members, Peer, SearchPhase},
        dial::DialAddress,
        ids::VehicleId,
        record::{Kind, Record},
        status::{NodeStatus, Page, VehicleAnswer},
        time::UnixMillis,
    },
};

/// Bytes of memory of a page's records after which it ends, however many were asked for; 10,000
/// positions without much beside them are fewer.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records that are looked at for one page; further ones are looked at for the next.
const LOOKS_MAX: usize = 50_000;

/// Says where a page ended, by its last record.
type Cursor = fn(&Record) -> String;

/// Subscribers of the live stream at most.
const LIVE_SUBSCRIBERS_MAX: usize = 256;

/// Answers for this node.
#[derive(Debug, Clone)]
pub struct NodeAnswers {
    reader: IndexReader,
    status: Arc<StatusSource>,
    cluster: ClusterHandle,
    clock: Arc<WallClock>,
    asking: Asking,
    tasks: TaskGroup,
}

/// Where the questions of other nodes come in, and what works on them.
#[derive(Debug)]
pub struct Questions<'a> {
    /// Frames of questions and answers.
    incoming: mpsc::Receiver<Traffic>,
    /// Holds the tasks that answer.
    tasks: &'a TaskGroup,
    /// Ends them.
    stop: &'a CancellationToken,
}

impl<'a> Questions<'a> {
    /// Questions that come in by `incoming`, worked on in `tasks` until `stop`.
    pub const fn new(
        incoming: mpsc::Receiver<Traffic>,
        tasks: &'a TaskGroup,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            incoming,
            tasks,
            stop,
        }
    }
}

impl NodeAnswers {
    /// Answers from a store, about this node from its status, and from and about the others by the
    /// cluster. Answers what the others ask from now on.
    pub fn new(
        (store, status, cluster): (Arc<Store>, Arc<StatusSource>, ClusterHandle),
        questions: Questions<'_>,
    ) -> Self {
        let reader = IndexReader::new(store, status.task_metrics().clone());
        let parts = AskingParts {
            cluster: cluster.clone(),
            reader: reader.clone(),
            status: Arc::clone(&status),
            metrics: status.question_metrics().clone(),
        };
        let Questions {
            incoming,
            tasks,
            stop,
        } = questions;
        Self {
            asking: Asking::start(parts, incoming, tasks, stop),
            reader,
            status,
            cluster,
            clock: Arc::new(WallClock::new()),
            tasks: tasks.clone(),
        }
    }

    /// The name of the node that owns a vehicle: this one where nobody stores.
    fn owner(&self, vehicle: &VehicleId) -> String {
        let neighbourhood = self.cluster.neighbourhood();
        let neighbourhood = neighbourhood.borrow();
        let owner = neighbourhood.map.owner(ShardId::of(vehicle));
        let neighbour = owner.and_then(|owner| neighbourhood.linked.get(&owner));
        let own = || self.status.name().to_owned();
        neighbour.map_or_else(own, |neighbour| neighbour.name.to_string())
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
        let around = self.asking.around().await?;
        if around.is_alone() {
            let found = self
                .reader
                .ask(move |index| last_positions(index, after, limit, bbox))
                .await?;
            return Ok(found.into_page(around.missing()));
        }
        // What a filter leaves of each node is not what it leaves of the cluster.
        let limit_each = bbox.is_none().then_some(limit + 1);
        let question = PageQuestion::Vehicles {
            after,
            limit: limit_each,
        };
        let is_wanted = |record: &Record| bbox.is_none_or(|bbox| is_inside(record, &bbox));
        let items = self.asking.page(around, question);
        fill_page(items, limit, is_wanted, last_id).await
    }

    async fn vehicle(&self, vehicle: VehicleId) -> Result<VehicleAnswer, AnswerError> {
        let asked = vehicle.clone();
        let around = self.asking.around().await?;
        let connected_here = self.status.connected_to(&vehicle);
        let (position, connected_there, missing) = if around.is_alone() {
            let position = self.reader.ask(move |index| index.last(&asked)).await?;
            (position, None, around.missing())
        } else {
            self.asking.last(around, asked).await?
        };
        Ok(VehicleAnswer {
            position,
            owner: self.owner(&vehicle),
            connected_to: connected_here.or(connected_there),
            missing,
        })
    }

    async fn track(&self, question: TrackQuestion) -> Result<Page<Record>, AnswerError> {
        let after = match &question.after {
            None => None,
            Some(cursor) => Some(parse_cursor(cursor).ok_or(AnswerError::BadCursor)?),
        };
        let limit = question.limit;
        let around = self.asking.around().await?;
        if !around.is_alone() {
            let question = PageQuestion::Track {
                vehicle: question.vehicle,
                from: question.from,
                to: question.to,
                after,
                limit: limit + 1,
            };
            let items = self.asking.page(around, question);
            return fill_page(items, limit, |_| true, cursor_after).await;
        }
        let query = RangeQuery {
            vehicle: question.vehicle,
            kind: Kind::Position,
            from: question.from,
            to: question.to,
            after,
        };
        let found = self
            .reader
            .ask(move |index| track(index, query, limit))
            .await?;
        Ok(found.into_page(around.missing()))
    }

    async fn export(&self, question: ExportQuestion) -> Result<Export, AnswerError> {
        let around = self.asking.around().await?;
        let missing = around.missing();
        if !question.is_partial && !missing.is_empty() {
            return Err(AnswerError::Missing(missing));
        }
        // Alone as well: page by page, a long one leaves the readers' places to others in between.
        let records = self.asking.export(around, question).await?;
        let missing = records.missing();
        let batches = export::batches(records, &self.tasks);
        Ok(Export { batches, missing })
    }

    type Live = LiveFeed;

    fn live(&self) -> Option<LiveFeed> {
        let live = self.asking.listen();
        (self.reader.store().n_live_subscribers() <= LIVE_SUBSCRIBERS_MAX).then_some(live)
    }
}

/// Records for one page, and whether there are more.
struct Found {
    records: Vec<Record>,
    limit: usize,
    n_bytes: usize,
    /// Records that may still be looked at.
    n_looks_left: usize,
    /// Behind which the next page begins; absent on the last one.
    next: Option<String>,
}

impl Found {
    const fn new(limit: usize) -> Self {
        Self {
            records: Vec::new(),
            limit,
            n_bytes: 0,
            n_looks_left: LOOKS_MAX,
            next: None,
        }
    }

    /// Takes the next record, if it is wanted and there is room; breaks at the end of the page. That is
    /// seen by the first record that finds no room: a page that is just full may be the last.
    fn take(
        &mut self,
        record: Record,
        is_wanted: impl Fn(&Record) -> bool,
        cursor: Cursor,
    ) -> ControlFlow<()> {
        let is_full = self.records.len() >= self.limit || self.n_bytes >= PAGE_BYTES_MAX;
        self.n_looks_left = self.n_looks_left.saturating_sub(1);
        let looked_at = (self.n_looks_left == 0).then(|| cursor(&record));
        if is_wanted(&record) {
            if is_full {
                self.next = self.records.last().map(cursor);
                return ControlFlow::Break(());
            }
            self.n_bytes += record.memory_bytes();
            self.records.push(record);
        }
        // Short, or even empty: what is wanted may lie far behind.
        self.next = looked_at;
        match self.next {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn into_page(self, missing: Vec<String>) -> Page<Record> {
        Page {
            next: self.next,
            items: self.records,
            missing,
        }
    }
}

/// Records of the whole cluster until a page is full.
async fn fill_page(
    mut items: Stream,
    limit: usize,
    is_wanted: impl Fn(&Record) -> bool,
    cursor: Cursor,
) -> Result<Page<Record>, AnswerError> {
    let mut found = Found::new(limit);
    while let Some(record) = items.next().await? {
        if found.take(record, &is_wanted, cursor).is_break() {
            break;
        }
    }
    Ok(found.into_page(items.missing()))
}

/// Last positions of this node, inside `bbox` if one is given, until a page is full.
fn last_positions(
    index: &ShownIndex,
    after: Option<VehicleId>,
    limit: usize,
    bbox: Option<[f64; 4]>,
) -> Result<Found, IndexError> {
    let n_left = bbox.map_or(limit + 1, |_| usize::MAX);
    let reading = Reading::Vehicles { after, n_left };
    let is_wanted = |record: &Record| bbox.is_none_or(|bbox| is_inside(record, &bbox));
    fill(index, reading, Found::new(limit), (is_wanted, last_id))
}

/// Positions of one vehicle on this node until a page is full.
fn track(index: &ShownIndex, query: RangeQuery, limit: usize) -> Result<Found, IndexError> {
    let reading = Reading::Track {
        query,
        n_left: limit + 1,
    };
    fill(
        index,
        reading,
        Found::new(limit),
        (|_: &Record| true, cursor_after),
    )
}

fn fill(
    index: &ShownIndex,
    mut reading: Reading,
    mut found: Found,
    (is_wanted, cursor): (impl Fn(&Record) -> bool, Cursor),
) -> Result<Found, IndexError> {
    while let Some(records) = reading.next_page(index)? {
        for record in records {
            if found.take(record, &is_wanted, cursor).is_break() {
                return Ok(found);
            }
        }
    }
    Ok(found)
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
    use crate::{
        delivery::forwarding::testing::record as position,
        store::index::{Index as _, MapIndex},
    };

    fn index_of(n_vehicles: usize) -> ShownIndex {
        let index = MapIndex::new();
        let records: Vec<Record> = (0..n_vehicles)
            .map(|number| position(&format!("v{number:04}"), 1_000))
            .collect();
        index.apply(&records).unwrap();
        ShownIndex::new(Arc::new(index), Arc::default())
    }

    /// Sizes of all pages.
    fn pages(index: &ShownIndex, limit: usize, bbox: Option<[f64; 4]>) -> Vec<usize> {
        let (mut sizes, mut after) = (Vec::new(), None);
        loop {
            let found = last_positions(index, after, limit, bbox).unwrap();
            let page = found.into_page(Vec::new());
            sizes.push(page.items.len());
            match page.next {
                Some(id) => after = Some(VehicleId::parse(id.as_bytes()).unwrap()),
                None => return sizes,
            }
        }
    }

    #[test]
    fn the_last_page_says_that_it_is_the_last_even_if_it_is_full() {
        let index = index_of(6);
        assert_eq!(pages(&index, 3, None), [3, 3]);
        assert_eq!(pages(&index, 6, None), [6]);
        assert_eq!(pages(&index, 4, None), [4, 2]);
        assert_eq!(pages(&index_of(0), 4, None), [0]);
        let everywhere = Some([-180.0, -90.0, 180.0, 90.0]);
        assert_eq!(pages(&index, 3, everywhere), [3, 3]);
        let nowhere = Some([-180.0, 89.0, -179.0, 90.0]);
        assert_eq!(pages(&index, 3, nowhere), [0]);
    }

    #[test]
    fn a_page_ends_when_enough_was_looked_at_and_goes_on_there() {
        let index = index_of(10);
        let look = |after: Option<VehicleId>| {
            let n_left = usize::MAX;
            let found = Found {
                n_looks_left: 4,
                ..Found::new(3)
            };
            let is_wanted = |record: &Record| record.key.vehicle.as_str().ends_with(['5', '8']);
            let reading = Reading::Vehicles { after, n_left };
            let found = fill(&index, reading, found, (is_wanted, last_id)).unwrap();
            (found.records.len(), found.next)
        };
        let after = |id: &str| Some(VehicleId::parse(id.as_bytes()).unwrap());
        assert_eq!(look(None), (0, Some("v0003".into())));
        assert_eq!(look(after("v0003")), (1, Some("v0007".into())));
        assert_eq!(look(after("v0007")), (1, None));
    }

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
