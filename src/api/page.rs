//! Answers that may be large: a few at a time, given piece by piece.
//!
//! A page holds up to some megabytes until its reader has taken it. So there are places for a few
//! of them, from the question to the last byte; who finds none in time is told 503, and a reader
//! that takes too long is cut off. Must not know what is in a page.

use std::{
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

use super::problem::Problem;
use crate::base::time::Instant;

/// Bytes that are handed to the connection at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

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
            "as many large answers are being given as may be; ask again later",
        )),
    }
}

/// An answer that holds `place` until all of `json` is taken, which may last `patience`.
pub(super) fn respond(json: Bytes, place: OwnedSemaphorePermit, patience: Duration) -> Response {
    let body = PageBody {
        rest: json,
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
    response
}

/// Why a page is not whole.
#[derive(Debug, thiserror::Error)]
#[error("the page was not taken in time")]
struct NotTaken;

#[derive(Debug)]
struct PageBody {
    rest: Bytes,
    deadline: Instant,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for PageBody {
    type Data = Bytes;
    type Error = NotTaken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotTaken>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if Instant::now() > self.deadline {
            return Poll::Ready(Some(Err(NotTaken)));
        }
        let n_bytes = self.rest.len().min(PIECE_BYTES_MAX);
        let piece = self.rest.split_to(n_bytes);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
