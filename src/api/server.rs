//! The server: takes connections, holds them to the limits, and ends them at shutdown.
//!
//! `axum::serve` has no limit on connections, heads or slow readers, so hyper is driven directly.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use super::{
    Answers,
    routes::{self, Api},
    write_deadline::WriteDeadline,
};
use crate::{
    base::{
        accept::Accept,
        backoff::Backoff,
        task::{TaskGroup, keep_running},
        time::wall_millis,
    },
    metrics::names::TaskMetrics,
};

/// Limits of the HTTP side.
#[derive(Debug, Clone, Copy)]
pub struct ApiConfig {
    /// Open connections; further ones wait in the listener's backlog. Each takes a task and its
    /// buffers, about 30 KiB at most.
    pub n_connections_max: usize,
    /// Subscribers of live streams and events together; kept below the connections, so that
    /// questions find room. Further ones are told 503.
    pub n_subscribers_max: usize,
    /// Exports at the same time; further ones are told 503. Each takes a thread and some 2 MiB at
    /// most.
    pub n_exports_max: usize,
    /// Answers at the same time that may be large (pages, tracks), from the question to the last
    /// byte taken; further ones wait, then are told 503. Each takes some megabytes at most.
    pub n_pages_max: usize,
    /// Answers about one vehicle at the same time, likewise. Each takes what one line may hold, and
    /// its JSON.
    pub n_singles_max: usize,
    /// Bytes of a request's line and headers, at least 8,192; beyond it the answer is 431.
    pub head_bytes_max: usize,
    /// Headers of a request; beyond it the answer is 431.
    pub n_headers_max: usize,
    /// Wait for a whole head: from accept, and from the end of the answer before. An idle
    /// connection is closed after it.
    pub head_timeout: Duration,
    /// Wait for the answer to a question, or for an export to begin; then 504.
    pub answer_timeout: Duration,
    /// Time that a reader has to take an answer that may be large; then the connection is closed.
    pub page_timeout: Duration,
    /// Wait for a reader that takes no byte; then the connection is closed.
    pub write_timeout: Duration,
    /// Silence on a stream after which a comment is sent, so that both ends know it lives.
    pub keep_alive: Duration,
    /// Time that running answers have to end once the server is told to stop.
    pub grace_period: Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            n_connections_max: 512,
            n_subscribers_max: 128,
            n_exports_max: 8,
            n_pages_max: 3,
            n_singles_max: 32,
            head_bytes_max: 16 * 1024,
            n_headers_max: 64,
            head_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            page_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            grace_period: Duration::from_secs(10),
        }
    }
}

/// Serves the contract's calls on what `source` gives until `shutdown`, then lets what runs end
/// within the grace period; streams end at once. Returns when the last connection is closed. The
/// task that accepts is made anew and counted when it panics; a connection that panics is closed
/// and counted.
///
/// Dropped before that, it takes no more connections once the shutdown comes, and those that are
/// open go on.
pub async fn serve<A: Answers>(
    source: impl Accept,
    answers: A,
    config: ApiConfig,
    shutdown: CancellationToken,
    metrics: TaskMetrics,
) {
    let tasks = TaskGroup::new();
    let api = Api {
        answers,
        config,
        shutdown: shutdown.clone(),
        subscribers: Arc::new(Semaphore::new(config.n_subscribers_max)),
        pages: Arc::new(Semaphore::new(config.n_pages_max)),
        singles: Arc::new(Semaphore::new(config.n_singles_max)),
        exports: Arc::new(Semaphore::new(config.n_exports_max)),
    };
    let house = House {
        router: routes::router(api),
        config,
        shutdown,
        tasks: tasks.clone(),
        metrics: metrics.clone(),
        places: Arc::new(Semaphore::new(config.n_connections_max)),
    };
    let source = Arc::new(source);
    let accepting = || house.clone().accept_all(Arc::clone(&source));
    keep_running(accepting, || metrics.panics.inc("http")).await;
    drop(source);
    tasks.wait_empty().await;
}

/// What the connections share.
#[derive(Clone)]
struct House {
    router: Router,
    config: ApiConfig,
    shutdown: CancellationToken,
    tasks: TaskGroup,
    metrics: TaskMetrics,
    places: Arc<Semaphore>,
}

impl House {
    async fn accept_all(self, source: Arc<impl Accept>) {
        let seed = wall_millis().unsigned_abs();
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), seed);
        loop {
            let (socket, place) = tokio::select! {
                () = self.shutdown.cancelled() => return,
                accepted = self.accept(source.as_ref(), &mut backoff) => accepted,
            };
            let (router, shutdown) = (self.router.clone(), self.shutdown.clone());
            let connection = drive(socket, router, self.config, shutdown);
            let metrics = self.metrics.clone();
            // The handle is not needed: the group awaits the task.
            drop(self.tasks.spawn("http", async move {
                let _count = PanicCount(metrics);
                connection.await;
                drop(place);
            }));
        }
    }

    /// Waits for a place, then for a connection. Cancel safe: a place that was taken is given back.
    async fn accept(
        &self,
        source: &impl Accept,
        backoff: &mut Backoff,
    ) -> (TcpStream, OwnedSemaphorePermit) {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        loop {
            match source.accept().await {
                Ok((socket, _)) => {
                    backoff.reset();
                    return (socket, place);
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

/// Counts the panic that it is dropped by, if one is.
struct PanicCount(TaskMetrics);

impl Drop for PanicCount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panics.inc("http_connection");
        }
    }
}

/// Drives one connection to its end, which comes within the grace period after `shutdown`.
async fn drive(socket: TcpStream, router: Router, config: ApiConfig, shutdown: CancellationToken) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "an HTTP connection ended before it began");
        return;
    }
    let io = TokioIo::new(WriteDeadline::new(socket, config.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_headers(config.n_headers_max)
        .max_buf_size(config.head_bytes_max)
        .serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(config.grace_period, connection).await {
                Ok(result) => result,
                Err(_) => {
                    tracing::warn!("an HTTP answer was cut at the end of the grace period");
                    return;
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}
