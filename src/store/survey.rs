//! The look through the files of an index that is in use, when it says that it cannot be read.
//!
//! What is behind an index says that a block is not what was written, not where it lies. To find it
//! all tables are read, which may take minutes and slows down who else reads: so it happens on a
//! thread of its own, at most one at a time, and what was found counts for a while. Who waits for it
//! waits no longer than he likes. Must not know what the files are.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::index::{Examination, IndexError};
use crate::base::time::Instant;

/// How long the outcome of a look counts at least; and how many times as long as it took.
const COUNTS_FOR: Duration = Duration::from_secs(60);
const COUNTS_TIMES: u32 = 20;

/// What was found by looks through the files of one index.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// Until when the outcome counts; absent before the first look.
    counts_until: Option<Instant>,
    /// What is wrong with the files, by the look before.
    found: Option<IndexError>,
}

/// Ends a look, also one that panics.
struct Look<'a> {
    survey: &'a Survey,
    began_at: Instant,
    found: Option<IndexError>,
}

impl Survey {
    /// What is wrong with the files. Has them looked through, unless that is being done or was done
    /// just now, and waits for the outcome at most `patience`; then what was found before counts.
    pub(crate) fn look(
        self: &Arc<Self>,
        examination: Option<Examination>,
        patience: Duration,
    ) -> Option<IndexError> {
        let mut state = self.lock();
        let now = Instant::now();
        let is_known = state.counts_until.is_some_and(|until| now < until);
        if let Some(examination) = examination.filter(|_| !state.is_running && !is_known) {
            state.is_running = self.start(examination);
        }
        let (state, _) = self
            .ended
            .wait_timeout_while(state, patience, |state| state.is_running)
            .unwrap_or_else(PoisonError::into_inner);
        state.found.clone()
    }

    /// Whether the thread could be started.
    fn start(self: &Arc<Self>, examination: Examination) -> bool {
        let survey = Arc::clone(self);
        let body = move || {
            let mut look = Look {
                survey: &survey,
                began_at: Instant::now(),
                found: None,
            };
            look.found = examination().err();
        };
        let thread = std::thread::Builder::new()
            .name("store-survey".to_owned())
            .spawn(body);
        match thread {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "the files of the index cannot be looked through");
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        match &self.found {
            Some(error) => tracing::error!(%error, "a file of the index is damaged"),
            None => tracing::warn!("the index failed; no file of it was found to be damaged"),
        }
        let now = Instant::now();
        let counts_for = COUNTS_FOR.max(now.since(self.began_at) * COUNTS_TIMES);
        let mut state = self.survey.lock();
        state.is_running = false;
        state.counts_until = Some(now + counts_for);
        state.found = self.found.take();
        drop(state);
        self.survey.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn failing(n_looks: &Arc<AtomicU64>) -> Option<Examination> {
        let n_looks = Arc::clone(n_looks);
        Some(Box::new(move || {
            n_looks.fetch_add(1, Ordering::Relaxed);
            Err(IndexError::Damaged("found".to_owned()))
        }))
    }

    #[test]
    fn many_who_ask_have_the_files_looked_through_once() {
        let (survey, n_looks) = (Arc::new(Survey::default()), Arc::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let found = survey.look(failing(&n_looks), LONG);
                    assert!(matches!(found, Some(IndexError::Damaged(_))));
                });
            }
        });
        assert_eq!(n_looks.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_has_no_patience_is_not_kept_and_the_next_hears_of_it() {
        let survey = Arc::new(Survey::default());
        let (go_on, wait) = mpsc::sync_channel::<()>(1);
        let examination: Examination = Box::new(move || {
            wait.recv().unwrap();
            Err(IndexError::Damaged("found".to_owned()))
        });
        assert!(survey.look(Some(examination), Duration::ZERO).is_none());
        go_on.send(()).unwrap();
        assert!(survey.look(None, LONG).is_some());
    }

    #[test]
    fn a_look_that_panics_is_over() {
        let survey = Arc::new(Survey::default());
        let examination: Examination = Box::new(|| panic!("as told"));
        assert!(survey.look(Some(examination), LONG).is_none());
    }
}
