//! replay
use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    files: Vec<String>,
}
pub(crate) fn run(_a: &ReplayArgs) -> ExitCode {
    ExitCode::FAILURE
}
