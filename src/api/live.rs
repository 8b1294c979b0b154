//! Live streams as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! A subscriber's connection takes what is new, and makes its JSON piece by piece, when it has room for it.
//! Nothing here slows down the store or the cluster: a subscriber of positions that reads too slowly
//! loses batches, is told how many, and goes on; one of events is told, and its stream ends.
//! Shutdown ends every stream at once.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{
    Answers, Changes, ChangesEnd, LiveGap, LivePositions, pieces::EventPieces, problem::Problem,
    query::Query, routes::Api,
};
use crate::types::{
    cluster::MemberChange,
    json::{EpochJson, NodeEventJson},
};

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
    Ok(open(&api, place, PositionFeed(live)))
}

/// `GET /v1/events`.
pub(super) async fn events<A: Answers>(
    State(api): State<Api<A>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let is_all = Query::parse(&uri, &["all"])?.flag("all")?;
    let place = subscribe(&api)?;
    let changes = api.ask(api.answers.changes(is_all)).await?;
    Ok(open(&api, place, EventFeed(changes)))
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

/// What a subscriber is told, one chunk after the other.
trait Feed: Send + 'static {
    /// The next chunk. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Chunk> + Send;
}

/// What a subscriber is given.
enum Chunk {
    Text(Bytes),
    Positions(EventPieces),
    /// These are the last words.
    Farewell(Bytes),
    Over,
}

struct PositionFeed<L>(L);

impl<L: LivePositions> Feed for PositionFeed<L> {
    async fn next(&mut self) -> Chunk {
        match self.0.next().await {
            Ok(batch) => Chunk::Positions(EventPieces::new(batch)),
            Err(LiveGap::Lagged(n_batches)) => Chunk::Text(lagged("batches", n_batches)),
            Err(LiveGap::Over) => Chunk::Over,
        }
    }
}

/// Within one stream no change is missing and none comes twice: a subscriber that lags too far, or
/// whose node begins anew, is told so and disconnected. It comes back, and sees first who is there.
struct EventFeed<C>(C);

impl<C: Changes> Feed for EventFeed<C> {
    async fn next(&mut self) -> Chunk {
        match self.0.next().await {
            Ok(change) => Chunk::Text(event(&change)),
            Err(ChangesEnd::Lagged(n_changes)) => Chunk::Farewell(lagged("changes", n_changes)),
            Err(ChangesEnd::Over) => Chunk::Over,
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

/// One subscriber; its place is free again when this is dropped, which its connection does when it ends.
struct Subscriber<F> {
    feed: F,
    /// What is being given. Nothing further is taken before its end: what a subscriber that does not read
    /// holds is one batch.
    positions: Option<EventPieces>,
    is_over: bool,
    shutdown: CancellationToken,
    keep_alive: Duration,
    _place: OwnedSemaphorePermit,
}

impl<F: Feed> Subscriber<F> {
    /// The next bytes; none at the end.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        while !self.is_over {
            if let Some(piece) = self.next_piece() {
                return Some((piece, self));
            }
            // Cancel safe, all of them.
            let chunk = tokio::select! {
                () = self.shutdown.cancelled() => Chunk::Over,
                chunk = self.feed.next() => chunk,
                () = tokio::time::sleep(self.keep_alive) => Chunk::Text(Bytes::from_static(KEEP_ALIVE)),
            };
            match chunk {
                Chunk::Text(text) => return Some((Ok(text), self)),
                Chunk::Positions(positions) => self.positions = Some(positions),
                Chunk::Farewell(text) => {
                    self.is_over = true;
                    return Some((Ok(text), self));
                }
                Chunk::Over => self.is_over = true,
            }
        }
        None
    }

    /// The next piece of the positions that are being given; none at their end. The stream ends with an
    /// error.
    fn next_piece(&mut self) -> Option<io::Result<Bytes>> {
        let piece = self.positions.as_mut()?.next_piece().transpose();
        match &piece {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::error!(%error, "a position of a live stream has no JSON; the stream ends");
                self.is_over = true;
            }
            None => self.positions = None,
        }
        piece
    }
}

/// The answer to a subscriber; its bytes are made as its connection takes them.
fn open<A: Answers>(api: &Api<A>, place: OwnedSemaphorePermit, feed: impl Feed) -> Response {
    let subscriber = Subscriber {
        feed,
        positions: None,
        is_over: false,
        shutdown: api.shutdown.clone(),
        keep_alive: api.config.keep_alive,
        _place: place,
    };
    let body = Body::from_stream(unfold(subscriber, Subscriber::next));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::{super::pieces::tests::position, *};

    /// Batches that take more than one piece.
    struct Batches {
        n_taken: u32,
    }

    impl Feed for Batches {
        async fn next(&mut self) -> Chunk {
            self.n_taken += 1;
            let batch = [0, 1].map(|number| position(number, 20_000));
            Chunk::Positions(EventPieces::new(Arc::new(batch)))
        }
    }

    #[tokio::test]
    async fn a_batch_is_taken_when_the_one_before_is_given() {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut subscriber = Subscriber {
            feed: Batches { n_taken: 0 },
            positions: None,
            is_over: false,
            shutdown: CancellationToken::new(),
            keep_alive: Duration::from_secs(3_600),
            _place: place,
        };
        let mut text = Vec::new();
        while text.iter().filter(|byte| **byte == b'\n').count() < 2 * 2 * 3 {
            let (piece, rest) = subscriber.next().await.unwrap();
            subscriber = rest;
            text.extend(piece.unwrap());
            let n_begun = text.windows(7).filter(|at| *at == b"data: {").count();
            assert_eq!(subscriber.feed.n_taken as usize, n_begun.div_ceil(2));
        }
        assert_eq!(subscriber.feed.n_taken, 3);
    }
}
