//! Asks a node over HTTP; for the command line and the load test.
//!
//! Blocking. Knows the contract's calls and JSON, and nothing of how a node answers them. A
//! question has a connection of its own: a node that was started anew is never asked over a
//! connection to its former life.

mod answers;
mod cluster;
mod error;
mod events;
mod pages;

use std::{
    fmt::{self, Write as _},
    io::{self, BufRead, BufReader, Read as _},
    time::Duration,
};

use serde::de::DeserializeOwned;
use ureq::{Agent, Body, BodyReader, http::Response, http::Uri};

pub use answers::{PositionJson, VehicleAnswerJson};
pub use cluster::{
    DiscoveryReportJson, MemberJson, MembersJson, MomentReportJson, PeerReportJson,
    PlaceReportJson, SenderReportJson,
};
pub use error::ClientError;
pub use events::{EventJson, Events};
pub use pages::Positions;

use crate::types::{ids::VehicleId, record::Kind, time::UnixMillis};

/// Longest JSON object that is taken in; a page of 10,000 positions has a few MiB.
const JSON_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Longest text of an error that is taken in.
const PROBLEM_BYTES_MAX: u64 = 64 * 1024;

/// Wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Wait for the next byte; longer than a node lets a question wait.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A node that can be asked; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    /// Scheme, host and port, without a slash at the end.
    url: String,
}

/// Part of time: `from` counts, `to` does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeRange {
    /// Not before.
    pub from: Option<UnixMillis>,
    /// Before.
    pub to: Option<UnixMillis>,
}

/// What is exported.
#[derive(Debug, Clone, Default)]
pub struct ExportFilter {
    /// Only of this time.
    pub range: TimeRange,
    /// Only of this vehicle.
    pub vehicle: Option<VehicleId>,
    /// Of this kind; positions if absent.
    pub kind: Option<Kind>,
    /// Whether to take what is there while storing nodes are missing.
    pub is_partial: bool,
}

/// An export that has begun: one JSON object a line. Reading fails with an [`std::io::Error`] when the
/// export breaks off: only where reading ends without one, it is whole.
pub struct ExportLines {
    lines: BufReader<BodyReader<'static>>,
    missing: Vec<String>,
}

impl fmt::Debug for ExportLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExportLines")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

impl ExportLines {
    /// Names of storing nodes whose records are left out; none unless that was allowed.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }
}

impl io::Read for ExportLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines.read(buffer)
    }
}

impl BufRead for ExportLines {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines.fill_buf()
    }

    fn consume(&mut self, n_bytes: usize) {
        self.lines.consume(n_bytes);
    }
}

impl Client {
    /// A client of the node at `url`, for example `http://127.0.0.1:8080`. Does not connect yet;
    /// proxies of the environment are not used.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`] for anything but `http://HOST[:PORT]`.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let bad = |reason: &str| ClientError::BadUrl {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| bad("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(bad("nodes speak http, not https")),
            _ => return Err(bad("it does not begin with http://")),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad("it has no host"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("it has more than host and port"));
        }
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .user_agent(concat!("waymesh/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn status(&self) -> Result<serde_json::Value, ClientError> {
        self.json("/v1/status")
    }

    /// `GET /v1/nodes`.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn nodes(&self) -> Result<serde_json::Value, ClientError> {
        self.json("/v1/nodes")
    }

    /// `GET /v1/vehicles/{id}`.
    ///
    /// # Errors
    /// [`ClientError::Problem`] with status 404 for a vehicle never seen, and others.
    pub fn vehicle(&self, vehicle: &VehicleId) -> Result<VehicleAnswerJson, ClientError> {
        self.json(&vehicle_path(vehicle))
    }

    /// Reads the text of an answer about one vehicle.
    ///
    /// # Errors
    /// [`ClientError::NotUnderstood`] if it is none.
    pub fn read_vehicle(&self, text: &str) -> Result<VehicleAnswerJson, ClientError> {
        serde_json::from_str(text).map_err(|error| self.not_understood(error.to_string()))
    }

    /// Last positions in order of vehicle id, asked for in pages of `n_page` (1 to 10,000).
    pub fn vehicles(&self, n_page: usize) -> Positions {
        Positions::new(self.clone(), format!("/v1/vehicles?limit={n_page}"))
    }

    /// Positions of one vehicle in order of time, asked for in pages of `n_page` (1 to 10,000).
    pub fn track(&self, vehicle: &VehicleId, range: TimeRange, n_page: usize) -> Positions {
        let mut path = vehicle_path(vehicle);
        path.push_str(&format!("/track?limit={n_page}"));
        push_range(&mut path, range);
        Positions::new(self.clone(), path)
    }

    /// `GET /v1/export`.
    ///
    /// # Errors
    /// [`ClientError`] when it does not begin; [`ClientError::Problem`] with status 503 while storing
    /// nodes are missing.
    pub fn export(&self, filter: &ExportFilter) -> Result<ExportLines, ClientError> {
        let kind = match filter.kind {
            Some(Kind::Event) => "event",
            Some(Kind::Position) | None => "position",
        };
        let mut path = format!("/v1/export?kind={kind}");
        push_range(&mut path, filter.range);
        if let Some(vehicle) = &filter.vehicle {
            push_parameter(&mut path, "vehicle", vehicle.as_str());
        }
        if filter.is_partial {
            push_parameter(&mut path, "partial", "true");
        }
        let response = self.get(&path)?;
        let missing = response.headers().get("waymesh-missing");
        let missing = missing.map(|names| String::from_utf8_lossy(names.as_bytes()));
        let missing = missing.iter().flat_map(|names| names.split(", "));
        Ok(ExportLines {
            missing: missing.map(str::to_owned).collect(),
            lines: BufReader::with_capacity(64 * 1024, response.into_body().into_reader()),
        })
    }

    /// The text of the answer to `GET path`, as the node gave it.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn text(&self, path: &str) -> Result<String, ClientError> {
        let mut response = self.get(path)?;
        read(response.body_mut(), JSON_BYTES_MAX)
    }

    pub(super) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let text = self.text(path)?;
        serde_json::from_str(&text).map_err(|error| self.not_understood(error.to_string()))
    }

    pub(super) fn not_understood(&self, cause: String) -> ClientError {
        ClientError::NotUnderstood {
            url: self.url.clone(),
            cause,
        }
    }

    fn get(&self, path: &str) -> Result<Response<Body>, ClientError> {
        self.answer(self.agent.get(format!("{}{path}", self.url)).call())
    }

    /// The text of the answer to `POST path`.
    fn order(&self, path: &str, body: &str) -> Result<String, ClientError> {
        let order = self.agent.post(format!("{}{path}", self.url));
        let order = order.header("content-type", "application/json");
        let mut response = self.answer(order.send(body))?;
        read(response.body_mut(), JSON_BYTES_MAX)
    }

    fn answer(
        &self,
        asked: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ClientError> {
        let mut response = asked.map_err(|error| ClientError::from_ureq(&self.url, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = read(response.body_mut(), PROBLEM_BYTES_MAX).unwrap_or_default();
        Err(ClientError::from_problem(status, &text))
    }
}

/// The path of one vehicle's calls.
pub fn vehicle_path(vehicle: &VehicleId) -> String {
    let mut path = "/v1/vehicles/".to_owned();
    push_escaped(&mut path, vehicle.as_str());
    path
}

fn read(body: &mut Body, bytes_max: u64) -> Result<String, ClientError> {
    let mut text = String::new();
    let mut reader = body.with_config().limit(bytes_max).reader();
    match reader.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(ClientError::BrokeOff {
            cause: error.to_string(),
        }),
    }
}

fn push_range(path: &mut String, range: TimeRange) {
    for (name, time) in [("from", range.from), ("to", range.to)] {
        if let Some(time) = time {
            push_parameter(path, name, &time.to_string());
        }
    }
}

/// Appends a parameter to a path that has one already.
fn push_parameter(path: &mut String, name: &str, value: &str) {
    path.push('&');
    path.push_str(name);
    path.push('=');
    push_escaped(path, value);
}

/// Appends `text` with all but the unreserved characters of RFC 3986, section 2.3, escaped.
fn push_escaped(path: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_http_host_and_port_only() {
        for url in [
            "http://127.0.0.1:8080",
            "http://[::1]:80/",
            "http://localhost",
        ] {
            assert!(Client::new(url).is_ok(), "{url}");
        }
        for (url, reason) in [
            ("127.0.0.1:8080", "http://"),
            ("https://node", "not https"),
            ("ftp://node", "http://"),
            ("http://node/v1", "more than host and port"),
            ("http://node?x=1", "more than host and port"),
            ("http://", "no URL"),
            ("", "no URL"),
            ("http://a b", "no URL"),
        ] {
            let error = Client::new(url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn an_id_is_escaped_in_a_path() {
        let vehicle = VehicleId::parse("../é 1?".as_bytes()).unwrap();
        assert_eq!(vehicle_path(&vehicle), "/v1/vehicles/..%2F%C3%A9%201%3F");
    }
}
