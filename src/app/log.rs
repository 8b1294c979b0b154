//! The node's log: each event one line on standard error.
//!
//! Nobody waits for whoever reads it: lines wait for a thread of the log, and if too many do (a pipe that
//! is not read, a disk that hangs) further ones are lost and counted. Must not know what is logged.

use std::{
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::{
    cli::out::paint,
    config::{LogFormat, Paint, TracingConfig},
};

/// Lines that may wait to be written.
const LINES_MAX: usize = 1_024;

/// Counts what was lost, once the log has begun.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that were lost since the start, because standard error was not read in time.
pub(super) fn n_lost() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

/// Begins to log. What still waits is written when the guard is dropped, if that takes no longer than a
/// second.
///
/// # Errors
/// When the filter is none, or something else logs already.
pub(super) fn start(config: &TracingConfig) -> Result<WorkerGuard, String> {
    // The index tells about its own files at info; ours are the words that count there.
    // Of a damaged table lsm-tree says at each reading that it has met a block, and not where.
    let own = "fjall=warn,lsm_tree=warn,lsm_tree::table=off";
    let filter = EnvFilter::try_new(format!("{own},{}", config.filter))
        .map_err(|error| format!("log: '{}' is no filter: {error}", config.filter))?;
    let stderr = io::stderr();
    let is_json = match config.format {
        LogFormat::Human => false,
        LogFormat::Json => true,
        LogFormat::Auto => !stderr.is_terminal(),
    };
    let is_coloured = paint(&stderr) == Paint::Coloured;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(stderr);
    // Begun once: a second time fails below.
    LOST.get_or_init(|| writer.error_counter());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // A log whose reader is gone, or whose disk is full, must not end a node: what cannot be
        // written there cannot be complained of there either, and to try is a panic.
        .log_internal_errors(false);
    let outcome = if is_json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(is_coloured).with_target(false).try_init()
    };
    outcome.map_err(|error| format!("logging cannot start: {error}"))?;
    Ok(guard)
}
