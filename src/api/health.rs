//! What machines that watch the node ask: is it alive, is it ready, how much of what.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

use super::{Answers, problem::Problem, query::Query, routes::Api};
use crate::types::status::Readiness;

/// Type of the OpenMetrics text, <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`.
pub(super) async fn metrics<A: Answers>(State(api): State<Api<A>>) -> Response {
    let content_type = [(header::CONTENT_TYPE, OPEN_METRICS)];
    (content_type, api.answers.metrics()).into_response()
}

/// `GET /healthz`: 200 as long as the process answers at all.
pub(super) async fn healthz(uri: Uri) -> Result<Response, Problem> {
    Query::parse(&uri, &["verbose"])?;
    Ok(plain(StatusCode::OK, "ok\n".to_owned()))
}

/// `GET /readyz`: 200, or 503 with the checks that failed; with `?verbose` a line for each check.
pub(super) async fn readyz<A: Answers>(
    State(api): State<Api<A>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &["verbose"])?;
    let readiness = api.answers.status().readiness;
    let is_failed = |(name, holds): &(&'static str, bool)| (!holds).then_some(*name);
    let failed: Vec<_> = readiness.0.iter().filter_map(is_failed).collect();
    let (status, outcome) = if failed.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        let text = format!("not ready: {}\n", failed.join(", "));
        (StatusCode::SERVICE_UNAVAILABLE, text)
    };
    let mut text = String::new();
    if query.has("verbose") {
        text = checks(&readiness);
    }
    text.push_str(&outcome);
    Ok(plain(status, text))
}

fn checks(readiness: &Readiness) -> String {
    let line = |(name, holds): &(&str, bool)| {
        let outcome = if *holds { "ok" } else { "failed" };
        format!("{name}: {outcome}\n")
    };
    readiness.0.iter().map(line).collect()
}

fn plain(status: StatusCode, text: String) -> Response {
    let mut response = (status, text).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
