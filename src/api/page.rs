//! Answers that may be large: a few at a time, given piece by piece.
//!
//! The records of a page take up to some megabytes until its reader has taken them. So there are
//! places for a few of them, from the question to the last byte; who finds none in time is told 503,
//! and a reader that takes too long is cut off. Their JSON, which may be several times as large, is made
//! piece by piece as it is taken. Answers of one record have places of their own, more of them, so that
//! slow readers of pages do not hold them up. Must not know whose page it is.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{problem::Problem, routes::no_json};
use crate::{
    base::time::Instant,
    types::{json::RecordJson, record::Record},
};

/// Bytes from which what is made of a page goes to the connection; one record more is in it.
const PIECE_BYTES: usize = 64 * 1024;

/// The list that an empty page has in the place of its items.
const NO_ITEMS: &[u8] = b"[]";

/// Waits for one of `places`, at most `patience`.
pub(super) async fn take_place(
    places: &Arc<Semaphore>,
    patience: Duration,
) -> Result<OwnedSemaphorePermit, Problem> {
    let place = Arc::clone(places).acquire_owned();
    match tokio::time::timeout(patience, place).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "as many such answers are being given as may be; ask again later",
        )),
    }
}

/// An answer that holds `place` until all of it is taken, which may last `patience`: the JSON `empty`
/// of a page without items, whose first list is theirs, with `items` in it. How long it is stands at its
/// front, so that a part of it is not taken for the whole.
pub(super) async fn respond(
    empty: &[u8],
    items: Vec<Record>,
    (place, patience): (OwnedSemaphorePermit, Duration),
) -> Result<Response, Problem> {
    let n_bytes = count(&items).await.map_err(|error| no_json(&error))?;
    let list = empty.windows(NO_ITEMS.len()).position(|at| at == NO_ITEMS);
    let (head, tail) = empty.split_at(list.map_or(empty.len(), |at| at + 1));
    let body = PageBody {
        piece: head.to_vec(),
        items: items.into_iter(),
        n_given: 0,
        tail: Some(Bytes::copy_from_slice(tail)),
        n_bytes_left: (empty.len() + n_bytes) as u64,
        deadline: Instant::now() + patience,
        _place: place,
    };
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Bytes of the JSON of `items` with the commas between them. Others have their turn after each piece: to
/// count a large page takes tens of milliseconds.
async fn count(items: &[Record]) -> serde_json::Result<usize> {
    let (mut n_bytes, mut n_counted_before) = (items.len().saturating_sub(1), 0);
    for record in items {
        let mut counter = Counter(n_bytes);
        serde_json::to_writer(&mut counter, &RecordJson::new(record))?;
        n_bytes = counter.0;
        if n_bytes - n_counted_before >= PIECE_BYTES {
            n_counted_before = n_bytes;
            tokio::task::yield_now().await;
        }
    }
    Ok(n_bytes)
}

/// Counts what is written, and keeps nothing of it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a page is not whole.
#[derive(Debug, thiserror::Error)]
enum PageError {
    /// Its reader was too slow.
    #[error("the page was not taken in time")]
    NotTaken,
    /// A record has no JSON.
    #[error("the page broke off: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Debug)]
struct PageBody {
    /// What is made and not given yet.
    piece: Vec<u8>,
    items: std::vec::IntoIter<Record>,
    n_given: usize,
    /// What follows the items; absent once it is given.
    tail: Option<Bytes>,
    n_bytes_left: u64,
    deadline: Instant,
    _place: OwnedSemaphorePermit,
}

impl PageBody {
    /// The next piece; none at the end.
    fn next_piece(&mut self) -> Result<Option<Bytes>, PageError> {
        if Instant::now() > self.deadline {
            return Err(PageError::NotTaken);
        }
        let mut piece = std::mem::take(&mut self.piece);
        while piece.len() < PIECE_BYTES {
            let Some(record) = self.items.next() else {
                piece.extend(self.tail.take().unwrap_or_default());
                break;
            };
            if self.n_given > 0 {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &RecordJson::new(&record))?;
            self.n_given += 1;
        }
        self.n_bytes_left = self.n_bytes_left.saturating_sub(piece.len() as u64);
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

impl hyper::body::Body for PageBody {
    type Data = Bytes;
    type Error = PageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PageError>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let piece = self.next_piece();
        if let Err(error) = &piece {
            tracing::debug!(%error, "a page is cut");
        }
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.n_bytes_left)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use hyper::body::Body as _;

    use super::*;
    use crate::types::{
        ids::VehicleId,
        json::VehiclesJson,
        record::{self, RecordKey},
        status::Page,
        time::UnixMillis,
    };

    fn event(number: usize, raw_bytes: usize) -> Record {
        Record {
            key: RecordKey {
                vehicle: VehicleId::parse(format!("v {number}").as_bytes()).unwrap(),
                time: UnixMillis(number as i64),
                hash: 1,
            },
            received: UnixMillis(0),
            protocol: "wialon".into(),
            code: "".into(),
            flags: record::Flags::default(),
            body: record::Body::Event,
            attributes: Default::default(),
            raw: Some(vec![b'a'; raw_bytes].into()),
        }
    }

    fn page(items: Vec<Record>) -> Page<Record> {
        Page {
            items,
            next: Some("[]".to_owned()),
            missing: Vec::new(),
        }
    }

    /// The body, and the pieces it was taken in.
    async fn take(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let places = Arc::new(Semaphore::new(1));
        let empty = serde_json::to_vec(&VehiclesJson::new(&page(Vec::new()))).unwrap();
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let holding = (place, Duration::from_secs(3_600));
        let response = respond(&empty, records.to_vec(), holding).await;
        let mut body = response.unwrap().into_body();
        let mut context = Context::from_waker(Waker::noop());
        let (mut json, mut pieces) = (Vec::new(), Vec::new());
        let n_bytes = body.size_hint().exact().unwrap();
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
            assert_eq!(places.available_permits(), 0, "it holds its place");
            let piece = frame.unwrap().into_data().unwrap();
            pieces.push(piece.len());
            json.extend(piece);
        }
        assert!(body.is_end_stream());
        assert_eq!(json.len() as u64, n_bytes);
        drop(body);
        assert_eq!(places.available_permits(), 1);
        (json, pieces)
    }

    #[tokio::test]
    async fn the_pieces_of_a_page_are_its_json() {
        for n_items in [0, 1, 2, 1_000] {
            let items: Vec<Record> = (0..n_items).map(|number| event(number, 10)).collect();
            let whole = serde_json::to_vec(&VehiclesJson::new(&page(items.clone()))).unwrap();
            assert_eq!(take(&items).await.0, whole, "{n_items} items");
        }
    }

    #[tokio::test]
    async fn a_piece_is_made_of_few_records_however_large_the_page() {
        const RECORD_BYTES: usize = 60_000;
        let items: Vec<Record> = (0..100).map(|number| event(number, RECORD_BYTES)).collect();
        let (json, pieces) = take(&items).await;
        assert!(json.len() > 100 * RECORD_BYTES);
        let bytes_max = PIECE_BYTES + RECORD_BYTES + 1_000;
        assert!(
            pieces.iter().all(|n_bytes| *n_bytes <= bytes_max),
            "{pieces:?}"
        );
    }
}
