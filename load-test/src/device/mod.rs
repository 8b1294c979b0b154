//! A device: it keeps a line until it is acknowledged, comes back after every loss of its
//! connection, and sends again what has no answer. It knows several nodes, one of which it calls
//! first: when that is gone, it goes to another.
//!
//! Where the protocol has no answers, a connection that both sides have closed in order confirms what
//! went over it; what went over any other is not sent again, as real devices do not.
//!
//! It knows its answers by their order alone, as real ones do; an answer that does not fit the line
//! it must belong to is counted as shifted, which no sound server causes.

mod language;
mod link;

pub(crate) use language::{Language, Protocol, Timing, messages};
pub(crate) use link::Device;

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use waymesh::{base::time::Instant, protocol::wialon::Answer};

use crate::fleet::Report;

/// How long a device waits for a connection, for an answer, and for the node's end of a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest latency that is told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// Something that a device does, when it is due.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Sends a line, or several that belong together.
    Send(Message),
    /// Loses its connection, at so many milliseconds since the start of the run.
    Reconnect(u64),
}

/// A line to deliver.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Milliseconds since the start of the run.
    pub(crate) due_millis: u64,
    /// The bytes, with their end.
    pub(crate) bytes: Vec<u8>,
    /// What the node must answer; absent where it does not answer.
    pub(crate) expects: Option<Expect>,
    /// What it reports.
    pub(crate) reports: Vec<Report>,
    /// It must be rejected, and what it reports never be stored.
    pub(crate) is_spoiled: bool,
}

/// An answer that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// This one.
    Exactly(Answer),
    /// One of this kind, whatever it says; of a batch it holds how many reports were said.
    KindOf(Answer),
}

impl Expect {
    /// Whether `answer` can belong to the line at all.
    fn is_kind(&self, answer: &Answer) -> bool {
        let (Self::Exactly(expected) | Self::KindOf(expected)) = self;
        std::mem::discriminant(expected) == std::mem::discriminant(answer)
    }

    /// How much of the line `answer` rejects, where it may: 1 for a line, or each report of a batch.
    fn n_rejected(&self, answer: &Answer) -> u32 {
        match (self, answer) {
            (Self::Exactly(_), _) | (Self::KindOf(_), Answer::Ping | Answer::Message(Ok(()))) => 0,
            (Self::KindOf(Answer::Batch(n_said)), answer) => {
                let n_said = n_said.unwrap_or(1).max(1);
                n_said.saturating_sub(answer.n_confirmed())
            }
            (Self::KindOf(_), answer) => u32::from(answer.n_confirmed() == 0),
        }
    }

    /// Whether `answer` says that something of the line is kept.
    const fn is_taken(answer: &Answer) -> bool {
        matches!(answer, Answer::Message(Ok(()))) || answer.n_confirmed() > 0
    }

    /// Whether `answer` is what was to come.
    fn is_met(&self, answer: &Answer) -> bool {
        match self {
            Self::Exactly(expected) => expected == answer,
            Self::KindOf(_) => self.is_kind(answer),
        }
    }
}

/// What all devices of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    /// When the run began.
    pub(crate) started: Instant,
    /// When devices give up.
    pub(crate) deadline: Instant,
    /// Without an answer for so long a device gives its connection up.
    pub(crate) answer_timeout: Duration,
    /// Where devices connect, in the order of their numbers; never none.
    doors: Vec<Door>,
    latency: Mutex<Latency>,
}

/// A node as devices know it.
#[derive(Debug)]
pub(crate) struct Door {
    /// Where they connect.
    pub(crate) address: SocketAddr,
    n_sent: AtomicU64,
    n_answered: AtomicU64,
    n_connected: AtomicU64,
    n_kills: AtomicU64,
    /// Kills that are done: all that the system had to close for the node is closed.
    n_deaths: AtomicU64,
}

/// How often a node had been killed at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kills {
    n_begun: u64,
    n_done: u64,
}

impl Door {
    const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            n_sent: AtomicU64::new(0),
            n_answered: AtomicU64::new(0),
            n_connected: AtomicU64::new(0),
            n_kills: AtomicU64::new(0),
            n_deaths: AtomicU64::new(0),
        }
    }

    /// Lines sent to it so far, each time counted.
    pub(crate) fn n_sent(&self) -> u64 {
        self.n_sent.load(Ordering::Relaxed)
    }

    /// Lines that it answered so far.
    pub(crate) fn n_answered(&self) -> u64 {
        self.n_answered.load(Ordering::Relaxed)
    }

    /// The node is about to be killed. To be noted before: what its system closes for it is no
    /// confirmation.
    pub(crate) fn note_kill(&self) {
        self.n_kills.fetch_add(1, Ordering::SeqCst);
    }

    /// The node that was about to be killed is dead.
    pub(crate) fn note_death(&self) {
        self.n_deaths.fetch_add(1, Ordering::SeqCst);
    }

    /// How often the node was killed.
    pub(crate) fn n_kills(&self) -> u64 {
        self.n_kills.load(Ordering::SeqCst)
    }

    fn kills(&self) -> Kills {
        Kills {
            n_begun: self.n_kills(),
            n_done: self.n_deaths.load(Ordering::SeqCst),
        }
    }

    /// Whether the node was killed, or was dying, at some moment since `then`.
    fn is_killed_since(&self, then: Kills) -> bool {
        let now = self.kills();
        now != then || now.n_begun != now.n_done
    }
}

/// How long answers took since their lines were due, in microseconds: a line that waited for the answer
/// to the one before it, or for a connection, waited for its own.
#[derive(Debug, Clone)]
pub(crate) struct Latency {
    /// Of lines that were sent once.
    pub(crate) calm: Histogram<u64>,
    /// Of lines that had to be sent again.
    pub(crate) outage: Histogram<u64>,
}

impl Run {
    /// A run that begins now and ends at `deadline`, against nodes at these addresses.
    ///
    /// # Panics
    /// Without an address.
    pub(crate) fn new(deadline: Instant, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let histogram = || {
            Histogram::new_with_max(LATENCY_MICROS_MAX, 3).expect("three digits up to ten minutes")
        };
        let doors: Vec<Door> = addresses.into_iter().map(Door::new).collect();
        assert!(!doors.is_empty(), "devices connect somewhere");
        Self {
            started: Instant::now(),
            deadline,
            answer_timeout: ANSWER_TIMEOUT,
            doors,
            latency: Mutex::new(Latency {
                calm: histogram(),
                outage: histogram(),
            }),
        }
    }

    /// Where devices connect.
    pub(crate) fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// When a line is due.
    fn due(&self, message: &Message) -> Instant {
        self.started + Duration::from_millis(message.due_millis)
    }

    /// Lines sent so far, each time counted.
    pub(crate) fn n_sent(&self) -> u64 {
        self.doors.iter().map(Door::n_sent).sum()
    }

    /// Lines answered so far.
    pub(crate) fn n_answered(&self) -> u64 {
        self.doors.iter().map(Door::n_answered).sum()
    }

    /// Devices that are connected now.
    pub(crate) fn n_connected(&self) -> u64 {
        let connected = self.doors.iter().map(|door| &door.n_connected);
        connected.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// How long answers took.
    pub(crate) fn latency(&self) -> Latency {
        self.latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The door with this number, counted on from the last to the first.
    fn door(&self, number: usize) -> &Door {
        let door = self.doors.get(number % self.doors.len());
        door.expect("a remainder is within")
    }

    fn note_answer(&self, door: usize, took: Duration, is_resent: bool) {
        self.door(door).n_answered.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = if is_resent {
            &mut latency.outage
        } else {
            &mut latency.calm
        };
        histogram.saturating_record(micros);
    }
}
