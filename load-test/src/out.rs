//! Where the tool writes: results to standard output, progress to standard error.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often progress is told where there is no terminal to draw on.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Writes results; a reader that went away is no error.
#[derive(Debug, Default)]
pub(crate) struct Out;

impl Out {
    /// Writes one line of results.
    pub(crate) fn line(&self, text: &str) {
        let written = writeln!(io::stdout().lock(), "{text}");
        debug_assert!(
            written.is_ok() || !io::stdout().is_terminal(),
            "a terminal takes lines"
        );
    }

    /// Says something about the run on standard error.
    pub(crate) fn note(&self, text: &str) {
        let written = writeln!(io::stderr().lock(), "{text}");
        debug_assert!(
            written.is_ok() || !io::stderr().is_terminal(),
            "a terminal takes lines"
        );
    }
}

/// Progress of a long work: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    is_drawn: bool,
    told: waymesh::base::time::Instant,
}

impl Progress {
    /// Progress of a work of `n_steps`.
    pub(crate) fn new(n_steps: u64) -> Self {
        let is_drawn = io::stderr().is_terminal();
        let target = if is_drawn {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(n_steps), target);
        let style = ProgressStyle::with_template("{elapsed:>4} {bar:40.cyan} {percent:>3} % {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            is_drawn,
            told: waymesh::base::time::Instant::now(),
        }
    }

    /// The work stands at `step`; `message` says how it goes.
    pub(crate) fn stand(&mut self, step: u64, message: &str) {
        self.bar.set_position(step);
        self.bar.set_message(message.to_owned());
        let now = waymesh::base::time::Instant::now();
        if !self.is_drawn && now.since(self.told) >= PLAIN_INTERVAL {
            self.told = now;
            Out.note(&format!("  {message}"));
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| Out.note(text));
    }

    /// The work is done.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
