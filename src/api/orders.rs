//! Orders: calls that change something, all by POST.
//!
//! There is no password, and a browser sends a simple POST wherever a page asks it to. So an order
//! that a browser sends for a page of another origin is refused.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, RawPathParams, State, rejection::RawPathParamsRejection},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
    response::Response,
};

use super::{
    Answers,
    problem::Problem,
    query::{Query, parse_node, shown},
    routes::{Api, json},
};
use crate::types::{
    dial::DialAddress,
    json::{DialJson, ForgottenJson, PeerJson, PhaseJson, PingJson},
};

/// Longest body of an order in bytes; a host's name is far shorter.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// The path of an order, checked: no page of another origin sent it, and it has no parameters.
pub(super) struct Order {
    /// What stands in the path for a node.
    node: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Order {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check_origin(&parts.headers, &parts.uri)?;
        Query::parse(&parts.uri, &[])?;
        let path: Result<RawPathParams, RawPathParamsRejection> =
            RawPathParams::from_request_parts(parts, state).await;
        let path = path.map_err(|_| Problem::bad_request("the name in the path is not UTF-8"))?;
        let node = path.iter().next().map(|(_, node)| node.to_owned());
        Ok(Self { node })
    }
}

impl Order {
    fn node(&self) -> Result<&str, Problem> {
        parse_node(self.node.as_deref().unwrap_or_default())
    }
}

/// `POST /v1/discovery/pause`.
pub(super) async fn pause<A: Answers>(
    State(api): State<Api<A>>,
    _order: Order,
) -> Result<Response, Problem> {
    let phase = api.ask(api.answers.search(false)).await?;
    json(&PhaseJson::new(phase))
}

/// `POST /v1/discovery/resume`.
pub(super) async fn resume<A: Answers>(
    State(api): State<Api<A>>,
    _order: Order,
) -> Result<Response, Problem> {
    let phase = api.ask(api.answers.search(true)).await?;
    json(&PhaseJson::new(phase))
}

/// `POST /v1/discovery/dial`.
pub(super) async fn dial<A: Answers>(
    State(api): State<Api<A>>,
    _order: Order,
    body: Body,
) -> Result<Response, Problem> {
    let body = tokio::time::timeout(api.config.answer_timeout, read(body)).await;
    let body = body.map_err(|_| {
        let late = "the rest of the body did not come in time";
        Problem::new(StatusCode::REQUEST_TIMEOUT, late)
    })??;
    let asked: DialJson = serde_json::from_slice(&body).map_err(|error| {
        let example = r#"{"address":"10.0.0.7:5001"}"#;
        Problem::bad_request(format!("the body must be JSON such as {example}: {error}"))
    })?;
    let address = DialAddress::parse(&asked.address).ok_or_else(|| {
        Problem::bad_request(format!(
            "'address' must be HOST, HOST:PORT or [IPv6]:PORT of another node's link port, not '{}'",
            shown(&asked.address)
        ))
    })?;
    let peer = api.ask(api.answers.dial(address)).await?;
    json(&PeerJson::new(&peer))
}

/// `POST /v1/nodes/{name}/ping`.
pub(super) async fn ping<A: Answers>(
    State(api): State<Api<A>>,
    order: Order,
) -> Result<Response, Problem> {
    let took = api.ask(api.answers.ping(order.node()?)).await?;
    json(&PingJson::new(took))
}

/// `POST /v1/nodes/{name}/forget`.
pub(super) async fn forget<A: Answers>(
    State(api): State<Api<A>>,
    order: Order,
) -> Result<Response, Problem> {
    let forgotten = order.node()?;
    api.ask(api.answers.forget(forgotten)).await?;
    json(&ForgottenJson { forgotten })
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body broke off, or is over {BODY_BYTES_MAX} bytes"),
            )
        })
}

/// Refuses what a browser says that a page of another origin sent.
fn check_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| headers.get(header::HOST).map(|host| host.as_bytes()));
    let origin_host = origin.as_bytes().strip_prefix(b"http://");
    if origin_host.is_some() && origin_host == host {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "a page of another origin may not give orders to a node",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_node_itself_give_orders() {
        let check = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            check_origin(&headers, &Uri::from_static("/v1/discovery/pause")).is_ok()
        };
        assert!(check(None) && check(Some("http://127.0.0.1:8080")));
        for foreign in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1:8081",
            "https://127.0.0.1:8080",
        ] {
            assert!(!check(Some(foreign)), "{foreign}");
        }
    }
}
