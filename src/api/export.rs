//! The export: batches of records as NDJSON, as fast as the reader reads.
//!
//! The answer begins with 200 before its end is known, so the end itself says whether it is whole:
//! only the final empty batch ends the body; anything else breaks the connection before the last
//! chunk, by which every HTTP/1.1 client can tell. Not all do: Python's `urlopen` raises from `read()`,
//! and ends a loop over its lines as if all had come.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, Uri, Version, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{AnswerError, Answers, ExportQuestion, problem::Problem, query::Query, routes::Api};
use crate::types::{json::RecordJson, record::Record};

/// `GET /v1/export`.
pub(super) async fn export<A: Answers>(
    State(api): State<Api<A>>,
    version: Version,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &["from", "to", "vehicle", "kind", "partial"])?;
    let (from, to) = query.range()?;
    let question = ExportQuestion {
        kind: query.kind()?,
        from,
        to,
        vehicle: query.vehicle()?,
        is_partial: query.flag("partial")?,
    };
    if version < Version::HTTP_11 {
        return Err(Problem::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "an export that breaks off cannot be told from a whole one over HTTP/1.0; use HTTP/1.1",
        ));
    }
    let place = Arc::clone(&api.exports).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "as many exports are running as may; ask again when one has ended",
        )
    })?;
    let export = api.ask(api.answers.export(question)).await?;
    let body = ExportBody {
        batches: export.batches,
        _place: place,
    };
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !export.missing.is_empty() {
        // A name has no control characters, so it always fits.
        let names = HeaderValue::try_from(export.missing.join(", "));
        let names = names.unwrap_or(HeaderValue::from_static("?"));
        headers.insert(MISSING, names);
    }
    Ok(response)
}

/// Header that names the storing nodes whose records are left out.
const MISSING: HeaderName = HeaderName::from_static("waymesh-missing");

/// Why an export is not whole.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    /// Whoever gives the batches says that it cannot go on.
    #[error("the export broke off: {0}")]
    Answer(#[from] AnswerError),
    /// Whoever gives the batches went away.
    #[error("the export broke off: it ended without its final batch")]
    NoFinalBatch,
    /// A record has no JSON.
    #[error("the export broke off: {0}")]
    Json(#[from] serde_json::Error),
}

/// Takes a batch when the one before is written: a slow reader slows the store's reading.
#[derive(Debug)]
struct ExportBody {
    batches: mpsc::Receiver<Result<Vec<Record>, AnswerError>>,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for ExportBody {
    type Data = Bytes;
    type Error = ExportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExportError>>> {
        let chunk = match ready!(self.batches.poll_recv(context)) {
            Some(Ok(batch)) if batch.is_empty() => return Poll::Ready(None),
            Some(Ok(batch)) => to_lines(&batch),
            Some(Err(error)) => Err(error.into()),
            None => Err(ExportError::NoFinalBatch),
        };
        if let Err(error) = &chunk {
            tracing::warn!(%error, "an export is cut");
        }
        Poll::Ready(Some(chunk.map(Frame::data)))
    }
}

fn to_lines(batch: &[Record]) -> Result<Bytes, ExportError> {
    let mut bytes = Vec::with_capacity(batch.len() * 256);
    for record in batch {
        serde_json::to_writer(&mut bytes, &RecordJson::new(record))?;
        bytes.push(b'\n');
    }
    Ok(bytes.into())
}
