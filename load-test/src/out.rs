//! Where the tool writes: results to standard output, progress to standard error.

use std::{
    cell::Cell,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use waymesh::base::time::Instant;

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

/// Progress of a long work: a bar on a terminal, with a table over it if there is one; a line now and
/// then elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    all: MultiProgress,
    rows: Vec<ProgressBar>,
    bar: ProgressBar,
    is_drawn: bool,
    told: Cell<Instant>,
}

impl Progress {
    /// Progress of a work of `n_steps`.
    pub(crate) fn new(n_steps: u64) -> Self {
        Self::with_table(n_steps, 0)
    }

    /// The same with a table of so many rows.
    pub(crate) fn with_table(n_steps: u64, n_rows: usize) -> Self {
        let is_drawn = io::stderr().is_terminal();
        let target = if is_drawn {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let all = MultiProgress::with_draw_target(target);
        let styled = |template| {
            let style = ProgressStyle::with_template(template);
            style.unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let row = |_| {
            let row = all.add(ProgressBar::new(0));
            row.set_style(styled("{msg}"));
            row
        };
        let rows = (0..n_rows).map(row).collect();
        let bar = all.add(ProgressBar::new(n_steps));
        bar.set_style(styled("{elapsed:>4} {bar:40.cyan} {percent:>3} % {msg}"));
        Self {
            all,
            rows,
            bar,
            is_drawn,
            told: Cell::new(Instant::now()),
        }
    }

    /// The work stands at `step`; `message` says how it goes.
    pub(crate) fn stand(&self, step: u64, message: &str) {
        self.bar.set_position(step);
        self.bar.set_message(message.to_owned());
        let now = Instant::now();
        if !self.is_drawn && now.since(self.told.get()) >= PLAIN_INTERVAL {
            self.told.set(now);
            Out.note(&format!("  {message}"));
            for row in self.rows.iter().filter(|row| !row.message().is_empty()) {
                Out.note(&format!("    {}", row.message()));
            }
        }
    }

    /// The table says this now.
    pub(crate) fn table(&self, rows: impl IntoIterator<Item = String>) {
        for (row, text) in self.rows.iter().zip(rows) {
            row.set_message(text);
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        self.all.suspend(|| Out.note(text));
    }

    /// The work is done.
    pub(crate) fn finish(&self) {
        self.rows.iter().for_each(ProgressBar::finish_and_clear);
        self.bar.finish_and_clear();
    }
}
