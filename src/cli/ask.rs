//! What all commands share that ask a running node: its URL, and how they end.

use std::io;

use clap::Args;

use crate::{
    client::{Client, ClientError},
    types::{
        ids::{VehicleId, VehicleIdError},
        time::UnixMillis,
    },
};

/// Exit code for an answer that was printed, and that storing nodes are missing from.
const EXIT_MISSING: u8 = 3;

/// Which node is asked, and how its answer is printed.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// The node to ask
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub node: String,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why a command that asks a node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The node did not answer, or answered an error.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What the node gave could not be read to its end.
    #[error("the answer broke off and is not whole: {0}")]
    BrokeOff(io::Error),
    /// What was to be printed could not be written.
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
    /// The answer was printed, and is not whole.
    #[error(
        "not asked: {}; what these storing nodes have is not in the answer. They are shown by \
         waymesh nodes; one that is gone for good is struck off with waymesh forget",
        .0.join(", ")
    )]
    Missing(Vec<String>),
    /// A vehicle is asked for that no node has a position of; all were asked.
    #[error("no position of vehicle '{0}' is stored")]
    NoPosition(VehicleId),
    /// What was to be printed has no JSON.
    #[error("the answer could not be printed: {0}")]
    Json(#[from] serde_json::Error),
}

impl AskError {
    /// The exit code of the command: 64 for bad arguments, 3 for an answer that storing nodes are
    /// missing from, 1 for anything else, and 0 where the reader of the output went away, which is its
    /// right.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::BadUrl { .. }) => 64,
            Self::Missing(_) => EXIT_MISSING,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Json(error) if error.io_error_kind() == Some(io::ErrorKind::BrokenPipe) => 0,
            _ => 1,
        }
    }
}

impl NodeArgs {
    /// A client of the node.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn client(&self) -> Result<Client, AskError> {
        Ok(Client::new(&self.node)?)
    }
}

/// Says of an answer that was printed whether it is whole.
///
/// # Errors
/// [`AskError::Missing`] where storing nodes are missing from it.
pub fn check_whole(missing: impl IntoIterator<Item = String>) -> Result<(), AskError> {
    let missing: Vec<String> = missing.into_iter().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(AskError::Missing(missing))
}

/// Ends a command: writes why it failed, in one line, and gives the exit code.
pub fn finish(result: Result<(), AskError>, errors: &mut dyn io::Write) -> u8 {
    let Err(error) = result else { return 0 };
    let code = error.exit_code();
    if code == 0 {
        return 0;
    }
    // Where nobody can be told, the code still says it.
    writeln!(errors, "{error}").ok();
    code
}

/// Reads a vehicle id from an argument.
///
/// # Errors
/// Says which rule it breaks.
pub fn parse_vehicle(text: &str) -> Result<VehicleId, VehicleIdError> {
    VehicleId::parse(text.as_bytes())
}

/// Reads a node's name or id from an argument.
///
/// # Errors
/// Says what a name is.
pub fn parse_node(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || text.contains(char::is_control) {
        return Err("a name has 1 to 64 bytes without control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads a time from an argument.
///
/// # Errors
/// Says how a time is written.
pub fn parse_time(text: &str) -> Result<UnixMillis, String> {
    UnixMillis::parse(text).ok_or_else(|| {
        "a time is written as in RFC 3339, for example 2026-11-20T09:05:01Z".to_owned()
    })
}
