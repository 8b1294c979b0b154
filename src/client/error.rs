//! Why a node did not answer a question.

use serde::Deserialize;
use ureq::http::StatusCode;

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL of the node is none. The asker's mistake; nothing was asked.
    #[error("'{url}' is not the URL of a node: {reason}; it looks like http://127.0.0.1:8080")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection, or no answer over it. Asking again later may work.
    #[error("no answer from {url} ({cause}); is a node running there? --node URL asks another")]
    NotReachable {
        /// Who was asked.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The node answered that it cannot answer, and why.
    #[error("{detail}")]
    Problem {
        /// HTTP status: 4xx for a wrong question, 5xx where the node is at fault.
        status: u16,
        /// What is wrong and what to do.
        detail: String,
    },
    /// The answer began and did not end. Asking again may work.
    #[error("the answer broke off: {cause}")]
    BrokeOff {
        /// What happened.
        cause: String,
    },
    /// Something answered, and not as a node does.
    #[error("the answer of {url} is not that of a node: {cause}")]
    NotUnderstood {
        /// Who was asked.
        url: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

#[derive(Deserialize)]
struct ProblemJson {
    detail: String,
}

impl ClientError {
    /// Whether the same question may be answered later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NotReachable { .. } | Self::BrokeOff { .. } => true,
            Self::Problem { status, .. } => matches!(status, 503 | 504),
            Self::BadUrl { .. } | Self::NotUnderstood { .. } => false,
        }
    }

    /// Whether the node says that there is no such thing.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem { status: 404, .. })
    }

    pub(super) fn from_ureq(url: &str, error: ureq::Error) -> Self {
        let url = url.to_owned();
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Self::BadUrl {
                url,
                reason: error.to_string(),
            },
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                Self::NotUnderstood {
                    url,
                    cause: error.to_string(),
                }
            }
            _ => Self::NotReachable {
                url,
                cause: error.to_string(),
            },
        }
    }

    pub(super) fn from_problem(status: StatusCode, text: &str) -> Self {
        let detail = match serde_json::from_str::<ProblemJson>(text) {
            Ok(problem) => problem.detail,
            Err(_) => format!("the answer is HTTP status {status}"),
        };
        Self::Problem {
            status: status.as_u16(),
            detail,
        }
    }
}
