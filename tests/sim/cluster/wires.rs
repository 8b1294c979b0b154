//! Links as reliable ordered pipes, and the network that may delay, lose, repeat or cut off.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use waymesh::{
    base::prng::Prng,
    cluster::proto::{DialId, NodeCard, link::outcome::LinkEnd},
};

/// After so long without a byte a link is quiet.
pub(crate) const QUIET_MS: u64 = 1_000;
/// After so long without a byte a link is dead.
pub(crate) const SILENT_MS: u64 = 1_400;
/// An idle link says so.
pub(crate) const HEARTBEAT_MS: u64 = 350;

/// How the network behaves at present.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) delay_min_ms: u64,
    pub(crate) delay_max_ms: u64,
    /// Datagrams lost, and frames sent again later.
    pub(crate) loss_percent: f64,
    pub(crate) repeat_percent: f64,
    /// Whether every datagram is heard a second time from an address of the segment alone.
    pub(crate) has_segment: bool,
    /// Whether datagrams are heard from there only.
    pub(crate) is_segment_only: bool,
    /// Whether processes take in several things together now and then.
    pub(crate) is_busy: bool,
    /// Pairs of nodes between which nothing passes, from the first to the second.
    cut: BTreeMap<(usize, usize), ()>,
}

impl Network {
    /// Nothing lost; every way takes 1 ms.
    pub(crate) fn perfect() -> Self {
        Self {
            delay_min_ms: 1,
            delay_max_ms: 1,
            loss_percent: 0.0,
            repeat_percent: 0.0,
            has_segment: false,
            is_segment_only: false,
            is_busy: false,
            cut: BTreeMap::new(),
        }
    }

    pub(crate) fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut.contains_key(&(from, to))
    }

    pub(crate) fn passes_both_ways(&self, one: usize, other: usize) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to), ());
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn delay(&self, prng: &mut Prng) -> u64 {
        self.delay_min_ms + prng.below(self.delay_max_ms - self.delay_min_ms + 1)
    }
}

/// What goes through a pipe.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    /// The answer to the caller's hello: the first that goes to the end that dialled.
    Hello,
    Members(Bytes),
    Heartbeat(Bytes),
    /// The end of the stream.
    Close(LinkEnd),
}

/// A connection, from the moment both sides have said hello.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// The one that dialled, the one that accepted.
    pub(crate) ends: [End; 2],
    /// What each said of itself.
    pub(crate) cards: [NodeCard; 2],
    /// Where each sees the other.
    pub(crate) observed: [SocketAddr; 2],
    pub(crate) dial: DialId,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) run: u64,
    pub(crate) state: EndState,
    pub(crate) up_at: u64,
    pub(crate) heard_at: u64,
    pub(crate) is_quiet: bool,
    pub(crate) said_at: u64,
    /// When the last parcel that was sent arrives: none overtakes another.
    pub(crate) arrives_at: u64,
    /// What waits for the network to be whole again.
    pub(crate) held: Vec<Parcel>,
    /// What goes with the next word.
    pub(crate) later: Vec<Parcel>,
}

/// What the core at an end knows of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndState {
    /// Nothing yet.
    Opening,
    /// That it stands.
    Up,
    /// That it is gone.
    Gone,
}

impl End {
    pub(crate) fn is_up(&self) -> bool {
        self.state == EndState::Up
    }

    pub(crate) fn new(node: usize, run: u64, now: u64) -> Self {
        Self {
            node,
            run,
            state: EndState::Opening,
            up_at: now,
            heard_at: now,
            is_quiet: false,
            said_at: now,
            arrives_at: now,
            held: Vec::new(),
            later: Vec::new(),
        }
    }
}
