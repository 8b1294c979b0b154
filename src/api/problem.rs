//! Problems: every answer that is no answer, as RFC 9457 puts it.
//!
//! What the asker is told says what to do; causes inside the node stay in its log, but for a damaged
//! file, about which nobody else can do anything.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::AnswerError;
use crate::types::json::ProblemJson;

/// Why a question is not answered.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// Storing nodes that could not be asked.
    missing: Vec<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            missing: Vec::new(),
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    #[must_use]
    pub(super) fn with_missing(mut self, missing: Vec<String>) -> Self {
        self.missing = missing;
        self
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<AnswerError> for Problem {
    fn from(error: AnswerError) -> Self {
        let status = match error {
            AnswerError::BadCursor | AnswerError::Itself(_) => StatusCode::BAD_REQUEST,
            AnswerError::Missing(missing) => {
                let detail = AnswerError::Missing(missing.clone()).to_string();
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_missing(missing);
            }
            AnswerError::Behind
            | AnswerError::NoCluster
            | AnswerError::PartLost(_)
            | AnswerError::TooManyPeers => StatusCode::SERVICE_UNAVAILABLE,
            AnswerError::UnknownNode(_) => StatusCode::NOT_FOUND,
            AnswerError::NotAway(_) => StatusCode::CONFLICT,
            AnswerError::NotLinked(_) | AnswerError::NoPong(_) => StatusCode::GATEWAY_TIMEOUT,
            AnswerError::Damaged(_) => StatusCode::INTERNAL_SERVER_ERROR,
            AnswerError::Store => {
                let detail = format!("{error}; the log of the node says why");
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail);
            }
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let problem = ProblemJson {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            missing: &self.missing,
        };
        let body = serde_json::to_vec(&problem).expect("texts and a number always have a JSON");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
