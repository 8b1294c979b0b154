//! Questions about the other nodes: who they are, and why they are found or not.

use axum::{extract::State, http::Uri, response::Response};

use super::{
    Answers,
    problem::Problem,
    query::Query,
    routes::{Api, json},
};
use crate::types::json::{DiscoveryJson, NodesJson};

/// `GET /v1/nodes`.
pub(super) async fn nodes<A: Answers>(
    State(api): State<Api<A>>,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::parse(&uri, &[])?;
    let members = api.ask(api.answers.nodes()).await?;
    json(&NodesJson::new(&members))
}

/// `GET /v1/discovery`.
pub(super) async fn discovery<A: Answers>(
    State(api): State<Api<A>>,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::parse(&uri, &[])?;
    let discovery = api.ask(api.answers.discovery()).await?;
    json(&DiscoveryJson::new(&discovery))
}
