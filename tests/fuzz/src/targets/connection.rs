//! A connection as a whole: bytes over a real socket, in pieces, give the records, replies and
//! rejected lines of the same bytes as a whole (of many of those a part, as they come); the books
//! balance, and all room comes back.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};
use waymesh::{
    base::{
        time::Stopwatch,
        verdict::{Settle, Verdict},
    },
    ingest::{
        BindAddress, Ingest, IngestConfig, IngestParts, ListenerConfig, RejectedLine, ReplyPolicy,
        Route, listener::bind,
    },
    metrics::Metrics,
    protocol::{Registry, RejectReason},
    types::record::{Kind, Record},
    vehicles::{KnownVehicle, KnownVehicles},
};

use super::{choices::Choices, seal::sealed, whole};

/// Longest line in bytes.
pub(crate) const LINE_BYTES_MAX: u32 = 256;

/// Rejected lines that are set aside of what is read at once.
const SET_ASIDE_MAX: usize = 256;

/// A run that took longer may have seen a deadline pass: a merge waits for a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// Runs until one takes no longer than that: a busy machine may hold up some. Together they stay below
/// the time that `tests/fuzz/run` allows an input.
const RUNS_MAX: usize = 20;

/// What became of the bytes of a connection.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcomes {
    /// The records, without the time of reception.
    pub(crate) records: Vec<Record>,
    pub(crate) replies: Vec<u8>,
    /// Lines that were rejected at once, as far as they were set aside.
    pub(crate) rejected: Vec<(RejectReason, Vec<u8>)>,
    /// Lines with positions, merged, without a position, rejected at once or later.
    pub(crate) counts: [u64; 4],
}

/// The input: four lengths of pieces that take turns, then what the device says.
pub(crate) fn check(input: &[u8]) {
    thread_local! {
        static NODE: Node = Node::new();
    }
    let mut choices = Choices::new(input);
    let cuts = [(); 4].map(|()| 1 + choices.number() % 600);
    let stream = sealed(choices.rest());
    let mut expected = whole::outcomes(&stream);
    for _ in 0..RUNS_MAX {
        let watch = Stopwatch::start();
        let mut outcomes = NODE.with(|node| node.take(&stream, &cuts));
        if watch.elapsed() < PATIENCE {
            let rejected = std::mem::take(&mut expected.rejected);
            check_set_aside(&std::mem::take(&mut outcomes.rejected), &rejected);
            assert_eq!(outcomes, expected);
            return;
        }
    }
    panic!("no run was fast enough to be compared");
}

/// All of `rejected` are set aside if they are few, else some; in their order.
fn check_set_aside(set_aside: &[(RejectReason, Vec<u8>)], rejected: &[(RejectReason, Vec<u8>)]) {
    let mut left = rejected.iter();
    let mut are_theirs = set_aside.iter().map(|line| left.any(|other| other == line));
    assert!(
        are_theirs.all(|is_one| is_one),
        "{set_aside:?} of {rejected:?}"
    );
    assert!(
        set_aside.len() >= rejected.len().min(SET_ASIDE_MAX),
        "{set_aside:?}"
    );
}

/// The vehicles that are known: one has a password.
pub(crate) fn vehicles() -> KnownVehicles {
    let locked = KnownVehicle {
        name: None,
        password: Some("secret".into()),
    };
    KnownVehicles {
        by_id: [("locked".into(), locked)].into(),
        accepts_unknown: true,
    }
}

/// A listener on loopback, and what comes of its connections.
struct Node {
    runtime: Runtime,
    ingest: Ingest,
    metrics: Metrics,
    collected: Arc<Collected>,
    address: SocketAddr,
}

#[derive(Debug, Default)]
struct Collected(Mutex<Outcomes>);

impl Route for Collected {
    fn deliver(&self, records: Vec<Record>, settle: Settle) {
        self.0
            .lock()
            .expect("no one panics")
            .records
            .extend(records);
        settle.settle(Verdict::Durable);
    }

    fn quarantine(&self, line: RejectedLine) {
        let rejected = (line.reason, line.line.to_vec());
        self.0
            .lock()
            .expect("no one panics")
            .rejected
            .push(rejected);
    }
}

impl Node {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let metrics = Metrics::new();
        let collected = Arc::new(Collected::default());
        let listener = ListenerConfig {
            address: BindAddress::One(([127, 0, 0, 1], 0).into()),
            protocol: None,
            reply: ReplyPolicy::Stored,
            idle_timeout: None,
        };
        let ingest = Ingest::new(IngestParts {
            config: IngestConfig {
                line_bytes_max: LINE_BYTES_MAX,
                ..IngestConfig::default()
            },
            protocols: Registry::built_in(),
            vehicles: vehicles(),
            route: Arc::clone(&collected) as Arc<dyn Route>,
            metrics: metrics.ingest.clone(),
            task_metrics: metrics.tasks.clone(),
        });
        let guard = runtime.enter();
        let bound = bind(listener.address).expect("a port is free");
        let address = bound.address();
        ingest.listen(bound, listener);
        drop(guard);
        Self {
            runtime,
            ingest,
            metrics,
            collected,
            address,
        }
    }

    /// Takes one connection from its beginning to its end.
    fn take(&self, stream: &[u8], cuts: &[usize]) -> Outcomes {
        let before = Books::of(&self.metrics);
        let conversation = self.converse(stream, cuts);
        let replies = self.runtime.block_on(conversation);
        let books = Books::of(&self.metrics);
        let mut outcomes = std::mem::take(&mut *self.collected.0.lock().expect("no one panics"));
        outcomes.replies = replies.expect("loopback works");
        outcomes.counts = [0, 1, 2, 3].map(|idx| books.outcomes[idx] - before.outcomes[idx]);
        let is_position = |record: &&Record| record.kind() == Kind::Position;
        let n_positions = outcomes.records.iter().filter(is_position).count() as u64;
        assert_eq!(books.positions - before.positions, n_positions);
        let n_lines: u64 = outcomes.counts.iter().sum();
        assert_eq!(books.received - before.received, n_lines);
        assert_eq!(books.restarts, 0, "a line buffer crashed");
        assert_eq!(self.ingest.room().taken_bytes(), 0);
        for record in &mut outcomes.records {
            whole::forget_reception(record);
        }
        outcomes
    }

    /// Says all of `stream`, each piece when the one before was read, and hears what comes.
    async fn converse(&self, stream: &[u8], cuts: &[usize]) -> io::Result<Vec<u8>> {
        let metrics = &self.metrics.ingest;
        let goal = metrics.connections_accepted.get() + 1;
        let mut socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        until(|| metrics.connections_accepted.get() == goal).await;
        let is_over = || metrics.connections.get() == 0;
        let mut rest = stream;
        let mut read_goal = metrics.received_bytes.get();
        for n_bytes in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*n_bytes));
            rest = behind;
            read_goal += piece.len() as u64;
            // A node that has heard enough closes the connection.
            if piece.is_empty() || is_over() || socket.write_all(piece).await.is_err() {
                break;
            }
            until(|| is_over() || metrics.received_bytes.get() >= read_goal).await;
        }
        let mut replies = Vec::new();
        if socket.shutdown().await.is_ok() {
            // Reset, if it was closed before all was read: what came before is kept.
            socket.read_to_end(&mut replies).await.unwrap_or_default();
        }
        drop(socket);
        until(is_over).await;
        Ok(replies)
    }
}

/// What is counted.
struct Books {
    received: u64,
    outcomes: [u64; 4],
    positions: u64,
    restarts: u64,
}

impl Books {
    fn of(metrics: &Metrics) -> Self {
        let metrics = &metrics.ingest;
        let outcomes = ["positions", "merged", "no_position", "rejected"];
        Self {
            received: metrics.lines_received.get(),
            outcomes: outcomes.map(|outcome| metrics.lines.count(outcome)),
            positions: metrics.positions_accepted.get(),
            restarts: metrics.line_buffer_restarts.get(),
        }
    }
}

/// Lets others work until it is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !is_so() {
        assert!(
            watch.elapsed() < Duration::from_secs(60),
            "never came to be"
        );
        tokio::task::yield_now().await;
    }
}
