//! Live streams as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! A task a subscriber takes what is new and hands it to the connection, which makes its JSON as it is
//! taken.
//! Nothing here slows down the store or the cluster: a subscriber of positions that reads too slowly
//! loses batches, is told how many, and goes on; one of events is told, and its stream ends.
//! Shutdown ends every stream at once.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Answers, Changes, ChangesEnd, LiveGap, LivePositions, pieces::EventPieces, problem::Problem,
    query::Query, routes::Api,
};
use crate::types::{
    cluster::MemberChange,
    json::{EpochJson, NodeEventJson},
};

/// Chunks that wait for a subscriber's connection; beyond it the subscription waits, and lags.
const N_CHUNKS_MAX: usize = 1;

/// A line that readers skip.
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// `GET /v1/stream`.
pub(super) async fn stream<A: Answers>(
    State(api): State<Api<A>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &["where"])?;
    if query.has("where") {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "filters are not supported yet; leave 'where' out to get every position",
        ));
    }
    let place = subscribe(&api)?;
    let live = api.answers.live().ok_or_else(too_many)?;
    let (outlet, response) = open(&api, place);
    api.tasks.spawn("http_stream", feed_live(live, outlet));
    Ok(response)
}

/// `GET /v1/events`.
pub(super) async fn events<A: Answers>(
    State(api): State<Api<A>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let is_all = Query::parse(&uri, &["all"])?.flag("all")?;
    let place = subscribe(&api)?;
    let changes = api.ask(api.answers.changes(is_all)).await?;
    let (outlet, response) = open(&api, place);
    api.tasks.spawn("http_events", feed_events(changes, outlet));
    Ok(response)
}

fn subscribe<A: Answers>(api: &Api<A>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&api.subscribers)
        .try_acquire_owned()
        .map_err(|_| too_many())
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "as many subscribers are connected as may be; ask another node, or later",
    )
}

async fn feed_live(mut live: impl LivePositions, outlet: Outlet) {
    // What finds no room yet is not taken, so that others hold it too.
    while let Some(room) = outlet.room().await {
        let chunk = tokio::select! {
            () = outlet.ended() => return,
            received = live.next() => match received {
                Ok(batch) => Chunk::Positions(EventPieces::new(batch)),
                Err(LiveGap::Lagged(n_batches)) => lagged("batches", n_batches).into(),
                Err(LiveGap::Over) => return,
            },
            () = tokio::time::sleep(outlet.keep_alive) => Bytes::from_static(KEEP_ALIVE).into(),
        };
        room.send(chunk);
    }
}

/// Within one stream no change is missing and none comes twice: a subscriber that lags too far, or
/// whose node begins anew, is told so and disconnected. It comes back, and sees first who is there.
async fn feed_events(mut changes: impl Changes, outlet: Outlet) {
    loop {
        let next = tokio::select! {
            () = outlet.ended() => return,
            next = changes.next() => next.map(|change| event(&change)),
            () = tokio::time::sleep(outlet.keep_alive) => Ok(Bytes::from_static(KEEP_ALIVE)),
        };
        let is_open = match next {
            Ok(chunk) => outlet.send(chunk).await,
            Err(ChangesEnd::Over) => false,
            Err(ChangesEnd::Lagged(n_changes)) => {
                outlet.send(lagged("changes", n_changes)).await;
                false
            }
        };
        if !is_open {
            return;
        }
    }
}

fn event(change: &MemberChange) -> Bytes {
    match change {
        MemberChange::Up(news) => event_of("node-up", &NodeEventJson::new(news)),
        MemberChange::Down(news) => event_of("node-down", &NodeEventJson::new(news)),
        MemberChange::Epoch { epoch, at } => event_of("epoch", &EpochJson::new(*epoch, *at)),
    }
}

/// What a subscriber that lags is told: of what it lost how many. A batch holds one position or more.
fn lagged(what: &str, number: u64) -> Bytes {
    format!("event: lagged\ndata: {{\"{what}\":{number}}}\n\n").into()
}

/// One event; its JSON has no line breaks, so one `data` line holds it.
fn event_of<T: Serialize>(name: &str, data: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend(b"event: ");
    bytes.extend(name.as_bytes());
    bytes.extend(b"\ndata: ");
    match serde_json::to_writer(&mut bytes, data) {
        Ok(()) => bytes.extend(b"\n\n"),
        Err(error) => {
            tracing::error!(%error, "an event of a live stream has no JSON");
            bytes.clear();
        }
    }
    bytes.into()
}

/// What a connection is given.
#[derive(Debug)]
enum Chunk {
    Text(Bytes),
    Positions(EventPieces),
}

impl From<Bytes> for Chunk {
    fn from(text: Bytes) -> Self {
        Self::Text(text)
    }
}

/// The feeding end of one subscriber's connection; its place is free again when this is dropped.
struct Outlet {
    chunks: mpsc::Sender<Chunk>,
    shutdown: CancellationToken,
    keep_alive: Duration,
    _place: OwnedSemaphorePermit,
}

impl Outlet {
    /// Waits until the subscriber is gone or the node stops.
    async fn ended(&self) {
        tokio::select! {
            () = self.chunks.closed() => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Waits for room for a chunk; `None` when nobody will read it.
    async fn room(&self) -> Option<mpsc::Permit<'_, Chunk>> {
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            room = self.chunks.reserve() => room.ok(),
        }
    }

    /// Waits for room and hands `text` over; false when nobody will read it.
    async fn send(&self, text: Bytes) -> bool {
        let room = self.room().await;
        room.map(|room| room.send(text.into())).is_some()
    }
}

fn open<A: Answers>(api: &Api<A>, place: OwnedSemaphorePermit) -> (Outlet, Response) {
    let (chunks, receiver) = mpsc::channel(N_CHUNKS_MAX);
    let outlet = Outlet {
        chunks,
        shutdown: api.shutdown.clone(),
        keep_alive: api.config.keep_alive,
        _place: place,
    };
    let body = ChunkBody {
        chunks: receiver,
        positions: None,
    };
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (outlet, response)
}

/// A body that ends when its [`Outlet`] does.
#[derive(Debug)]
struct ChunkBody {
    chunks: mpsc::Receiver<Chunk>,
    /// What is being given.
    positions: Option<EventPieces>,
}

impl ChunkBody {
    /// The next piece of the positions that are being given; none at their end.
    fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        let piece = self.positions.as_mut().map(EventPieces::next_piece);
        let piece = piece.transpose().map(Option::flatten);
        if let Err(error) = &piece {
            tracing::error!(%error, "a position of a live stream has no JSON; the stream ends");
        }
        piece
    }
}

impl hyper::body::Body for ChunkBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(piece) = self.next_piece().transpose() {
                return Poll::Ready(Some(piece.map(Frame::data)));
            }
            self.positions = None;
            match ready!(self.chunks.poll_recv(context)) {
                Some(Chunk::Text(text)) => return Poll::Ready(Some(Ok(Frame::data(text)))),
                Some(Chunk::Positions(positions)) => self.positions = Some(positions),
                None => return Poll::Ready(None),
            }
        }
    }
}
