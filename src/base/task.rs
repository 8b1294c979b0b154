//! Tasks with a name, in a group that somebody awaits.

use std::future::Future;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// A group of tasks that ends when all of them have ended.
#[derive(Debug, Clone, Default)]
pub struct TaskGroup(TaskTracker);

impl TaskGroup {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` as a task of this group, inside a span called `name`.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let span = tracing::debug_span!("task", name);
        if span.is_disabled() {
            return tokio::spawn(self.0.track_future(future));
        }
        tokio::spawn(self.0.track_future(future.instrument(span)))
    }

    /// Number of tasks that have not ended.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no task is running.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until no task of the group is left. New tasks may still be started meanwhile.
    pub async fn wait_empty(&self) {
        self.0.close();
        self.0.wait().await;
        self.0.reopen();
    }
}

/// Starts a short piece of work whose end its owner awaits by the handle: a panic of the work is
/// the handle's error, and nothing else suffers from it.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn_child<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Starts `future` in `set`, inside a span called `name`; the set's owner awaits it.
pub fn spawn_in<F>(set: &mut JoinSet<F::Output>, name: &'static str, future: F)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    set.spawn(future.instrument(tracing::info_span!("task", name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_group_waits_for_its_last_task() {
        let group = TaskGroup::new();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let handle = group.spawn("waits", async move { receiver.await.is_ok() });
        assert_eq!(group.len(), 1);
        sender.send(()).unwrap();
        group.wait_empty().await;
        assert!(handle.await.unwrap());
        assert!(group.is_empty());
    }
}
