//! The router, and the questions that are answered by one JSON object.

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::{RawPathParams, State, rejection::RawPathParamsRejection},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    AnswerError, Answers, ApiConfig, TrackQuestion, VehiclesQuestion,
    cluster::{discovery, nodes},
    export::export,
    health::{healthz, metrics, readyz},
    live::{events, stream},
    orders::{dial, forget, pause, ping, resume},
    page,
    problem::Problem,
    query::{Query, parse_vehicle},
};
use crate::types::{
    ids::VehicleId,
    json::{StatusJson, TrackJson, VehicleJson, VehiclesJson},
    record::Record,
    status::Page,
};

/// What every call needs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Api<A> {
    pub(super) answers: A,
    pub(super) config: ApiConfig,
    pub(super) shutdown: CancellationToken,
    /// Places for subscribers.
    pub(super) subscribers: Arc<Semaphore>,
    /// Places for answers that may be large.
    pub(super) pages: Arc<Semaphore>,
    /// Places for answers of one record.
    pub(super) singles: Arc<Semaphore>,
    /// Places for exports.
    pub(super) exports: Arc<Semaphore>,
}

impl<A> Api<A> {
    /// Waits for an answer as long as an asker is made to wait.
    pub(super) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, AnswerError>>,
    ) -> Result<T, Problem> {
        match tokio::time::timeout(self.config.answer_timeout, answer).await {
            Ok(answer) => answer.map_err(Problem::from),
            Err(_) => Err(Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "there was no answer in time; ask for less, or again later",
            )),
        }
    }

    /// Waits for one of the places for answers of a kind.
    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
        page::take_place(places, self.config.answer_timeout).await
    }

    /// Gives a page, whose JSON without its items is made by `shape`.
    async fn page(
        &self,
        page: Page<Record>,
        shape: impl FnOnce(&Page<Record>) -> Result<Vec<u8>, Problem>,
        place: OwnedSemaphorePermit,
    ) -> Result<Response, Problem> {
        let (items, empty) = page.split_items();
        let holding = (place, self.config.page_timeout);
        page::respond(&shape(&empty)?, items, holding).await
    }
}

/// All calls of the contract.
pub(super) fn router<A: Answers>(api: Api<A>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<A>))
        .route("/v1/nodes", get(nodes::<A>))
        .route("/v1/nodes/{name}/ping", post(ping::<A>))
        .route("/v1/nodes/{name}/forget", post(forget::<A>))
        .route("/v1/discovery", get(discovery::<A>))
        .route("/v1/discovery/pause", post(pause::<A>))
        .route("/v1/discovery/resume", post(resume::<A>))
        .route("/v1/discovery/dial", post(dial::<A>))
        .route("/v1/vehicles", get(vehicles::<A>))
        .route("/v1/vehicles/{id}", get(vehicle::<A>))
        .route("/v1/vehicles/{id}/track", get(track::<A>))
        .route("/v1/export", get(export::<A>))
        .route("/v1/stream", get(stream::<A>))
        .route("/v1/events", get(events::<A>))
        .route("/metrics", get(metrics::<A>))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz::<A>))
        .fallback(no_such_call)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

async fn status<A: Answers>(State(api): State<Api<A>>, uri: Uri) -> Result<Response, Problem> {
    Query::parse(&uri, &[])?;
    json(&StatusJson::new(&api.answers.status()))
}

async fn vehicles<A: Answers>(State(api): State<Api<A>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &["limit", "after", "bbox"])?;
    let question = VehiclesQuestion {
        limit: query.limit()?,
        after: query.text("after")?.map(str::to_owned),
        bbox: query.bbox()?,
    };
    let place = api.place(&api.pages).await?;
    let page = api.ask(api.answers.vehicles(question)).await?;
    let shape = |empty: &_| to_json(&VehiclesJson::new(empty));
    api.page(page, shape, place).await
}

async fn vehicle<A: Answers>(
    State(api): State<Api<A>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let vehicle = vehicle_of(path)?;
    Query::parse(&uri, &[])?;
    let place = api.place(&api.singles).await?;
    let answer = api.ask(api.answers.vehicle(vehicle.clone())).await?;
    if answer.position.is_some() {
        let json = to_json(&VehicleJson::new(&answer))?;
        let holding = (place, api.config.page_timeout);
        return page::respond(&json, Vec::new(), holding).await;
    }
    if answer.missing.is_empty() {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "no position of vehicle '{vehicle}' is stored that counts as its last; fixes more than \
                 a day in the future, if there are any, are in its track and in the export only"
            ),
        ));
    }
    let detail = format!(
        "nothing is known of vehicle '{vehicle}', and storing nodes could not be asked: {}",
        answer.missing.join(", ")
    );
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_missing(answer.missing))
}

async fn track<A: Answers>(
    State(api): State<Api<A>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let vehicle = vehicle_of(path)?;
    let query = Query::parse(&uri, &["from", "to", "limit", "after"])?;
    let (from, to) = query.range()?;
    let question = TrackQuestion {
        vehicle,
        from,
        to,
        limit: query.limit()?,
        after: query.text("after")?.map(str::to_owned),
    };
    let place = api.place(&api.pages).await?;
    let page = api.ask(api.answers.track(question)).await?;
    let shape = |empty: &_| to_json(&TrackJson::new(empty));
    api.page(page, shape, place).await
}

async fn no_such_call(uri: Uri) -> Problem {
    let known = "/v1/status, /v1/nodes, /v1/nodes/NAME/ping, /v1/nodes/NAME/forget, /v1/discovery, \
                 /v1/discovery/pause, /v1/discovery/resume, /v1/discovery/dial, /v1/vehicles, \
                 /v1/vehicles/ID, /v1/vehicles/ID/track, /v1/export, /v1/stream, /v1/events, /metrics, \
                 /healthz, /readyz";
    let path: String = uri.path().chars().take(64).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at '{path}'; there is {known}"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let method: String = method.as_str().chars().take(16).collect();
    let is_order = |root: &str| uri.path().starts_with(root);
    let right = if is_order("/v1/discovery/") || is_order("/v1/nodes/") {
        "POST"
    } else {
        "GET"
    };
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this call cannot be made with {method}; use {right}"),
    )
}

/// The id in the path, where `/` stands as `%2F`.
fn vehicle_of(path: Result<RawPathParams, RawPathParamsRejection>) -> Result<VehicleId, Problem> {
    let path = path.map_err(|_| Problem::bad_request("the vehicle id in the path is not UTF-8"))?;
    let id = path.iter().next().map_or("", |(_, id)| id);
    parse_vehicle(id)
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let mut response = to_json(value)?.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| no_json(&error))
}

/// What is said of an answer that cannot be written.
pub(super) fn no_json(error: &serde_json::Error) -> Problem {
    tracing::error!(%error, "an answer has no JSON");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the answer has no JSON; please report this",
    )
}
