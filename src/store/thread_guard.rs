//! What watches over a thread of the store.

use std::sync::{Arc, mpsc};

use super::Shared;
use crate::base::verdict::RefuseReason;

/// What is never sent.
#[derive(Debug)]
pub(crate) enum Never {}

/// Tells of the end of a thread, and turns its panic into the failure of the store.
pub(crate) struct ThreadGuard {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: String,
    /// Held until the thread ends.
    pub(crate) _running: mpsc::SyncSender<Never>,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.shared.progress.stop();
        self.shared
            .fail(format!("the thread {} panicked", self.name));
        // If it was the writer, nobody else will settle what waits.
        let mut waiting = std::mem::take(&mut *self.shared.hand.group());
        waiting.extend(self.shared.queue.drain());
        let refuse = |submission| self.shared.refuse(submission, RefuseReason::Stopping);
        waiting.into_iter().for_each(refuse);
    }
}
