//! Tasks with a name, in a group that somebody awaits.

use std::{future::Future, time::Duration};

use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::{backoff::Backoff, time::wall_millis};

/// Pauses before a task that has panicked is made anew.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

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

/// Where a thread that is none of a runtime has short work done: on a runtime, so that tasks of that
/// runtime are woken by it without locks and what they made is dropped where it was made; or, by
/// default, at once where it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Errands(Option<Handle>);

impl Errands {
    /// Errands that are run on `runtime`.
    pub const fn on(runtime: Handle) -> Self {
        Self(Some(runtime))
    }

    /// Has `work`, which must not wait, done soon. It is dropped if the runtime has ended.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        match &self.0 {
            // Nobody waits for its end.
            Some(runtime) => drop(runtime.spawn(async move { work() })),
            None => work(),
        }
    }
}

/// Runs what `make` makes until it ends in order, and makes it anew each time it has panicked, after
/// `on_panic` and a pause that grows up to a second.
pub async fn keep_running<F>(mut make: impl FnMut() -> F, mut on_panic: impl FnMut())
where
    F: Future<Output = ()> + Send + 'static,
{
    let seed = wall_millis().unsigned_abs();
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX, seed);
    while let Err(error) = spawn_child(make()).await {
        if !error.is_panic() {
            return;
        }
        on_panic();
        tokio::time::sleep(backoff.next_delay()).await;
    }
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

    #[tokio::test]
    async fn an_errand_is_run_at_once_or_on_its_runtime() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let errand = |sender: std::sync::mpsc::SyncSender<_>| {
            move || sender.send(std::thread::current().id()).unwrap()
        };
        Errands::default().run(errand(sender.clone()));
        let here = std::thread::current().id();
        assert_eq!(receiver.try_recv(), Ok(here));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        Errands::on(runtime.handle().clone()).run(errand(sender));
        let there = tokio::task::spawn_blocking(move || receiver.recv().unwrap());
        assert_ne!(there.await.unwrap(), here);
        runtime.shutdown_background();
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_made_anew_until_it_ends_in_order() {
        let (mut n_made, mut n_panics) = (0, 0);
        let make = || {
            n_made += 1;
            let number = n_made;
            async move { assert!(number > 3, "a test's panic") }
        };
        keep_running(make, || n_panics += 1).await;
        assert_eq!((n_made, n_panics), (4, 3));
    }
}
