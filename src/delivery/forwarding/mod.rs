//! Records on their way to the node that owns their vehicle. Pure: no clock, no link, no store.
//!
//! ```text
//! Parcel ─▶ owner? ─ this node ─────────────────────▶ Store
//!             │ ├── another ─▶ outbox ─▶ Send ─ acks ─▶ Settle
//!             │ └── nobody ──▶ held ──┐
//!             └◀── routed anew ◀──────┴── refused, or the destination no longer stores
//! ```
//!
//! Who owns a vehicle is asked when a parcel comes and when it comes back, never in between: a node
//! stores what it is sent, and what lies on several nodes is one in every answer, by its key. So
//! nothing waits for nodes to agree, and two that disagree do not send a parcel to and fro.
//!
//! Invariants:
//! - A parcel is settled once: as durable when its destination said so, else as refused.
//! - It is in one place: an outbox, held, or given away by an output.
//! - Parcels for one destination go in the order in which they came.
//! - What waits for a destination is bounded by who is let in: [`Forwarder::closed`] names those that
//!   hold more than their share of the room, be it in an outbox or after they refused it, and whoever
//!   reads vehicles stops reading those that they own.
//! - What nobody takes is given up after [`HOLD_MAX`], however often it was offered.

mod inbox;
mod outbox;
pub mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use self::wire::Acks;
pub use self::{
    inbox::{Inbox, WrongNumber},
    outbox::{Outbox, Returned, WINDOW_BYTES, WrongAcks},
};
use super::batch::Batch;
use crate::{
    base::time::Instant,
    cluster::proto::{
        LinkId,
        shard_map::{ShardId, ShardMap},
    },
    types::ids::NodeId,
};

/// How long a parcel that was refused waits before it is routed anew, unless owners change before.
pub const RETRY: Duration = Duration::from_millis(100);

/// How long a parcel may wait for somebody to take it; its vehicle has given up by then.
pub const HOLD_MAX: Duration = Duration::from_secs(30);

/// Records that go one way, and what is to be done when their fate is known.
#[derive(Debug)]
pub struct Parcel<T> {
    /// The records of one chunk of a connection.
    pub batch: Batch,
    /// Whose they are; given back with the verdict.
    pub token: T,
    /// Bytes of room that stay taken until its fate is known.
    weight_bytes: usize,
    /// Since when it is known that somebody does not take it.
    since: Option<Instant>,
}

impl<T> Parcel<T> {
    /// A new one, for which `room_bytes` of the room stay taken until its fate is known.
    pub fn new(batch: Batch, token: T, room_bytes: usize) -> Self {
        let weight_bytes = room_bytes.max(batch.as_bytes().len());
        Self {
            batch,
            token,
            weight_bytes,
            since: None,
        }
    }

    /// What it counts for against the share of its destination, in bytes of room.
    pub const fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Bytes of its records.
    pub fn n_bytes(&self) -> usize {
        self.batch.as_bytes().len()
    }

    fn is_given_up(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.since(since) >= HOLD_MAX)
    }

    fn settled(self, is_durable: bool) -> ForwardOutput<T> {
        ForwardOutput::Settle {
            n_positions: self.batch.n_positions(),
            token: self.token,
            is_durable,
        }
    }
}

/// What happens to a [`Forwarder`].
#[derive(Debug)]
pub enum ForwardInput<T> {
    /// Records to be brought to their owner.
    Parcel(Parcel<T>),
    /// Owners or links have changed.
    Neighbours {
        /// Who owns what.
        map: Arc<ShardMap>,
        /// The link to each node that has one.
        links: BTreeMap<NodeId, LinkId>,
    },
    /// Acknowledgements came in over a link.
    Acks {
        /// Who sent them.
        from: NodeId,
        /// The link they came over.
        link: LinkId,
        /// What they say.
        acks: Acks,
    },
    /// A deadline has come.
    Tick,
}

/// What a [`Forwarder`] wants done.
#[derive(Debug)]
pub enum ForwardOutput<T> {
    /// Send a frame of records.
    Send {
        /// To whom.
        to: NodeId,
        /// Over which link.
        link: LinkId,
        /// What it says.
        payload: Bytes,
    },
    /// Have the own store take it.
    Store(Parcel<T>),
    /// Its fate is known.
    Settle {
        /// The parcel's.
        token: T,
        /// Its positions.
        n_positions: usize,
        /// Durable at its destination, or not to be had.
        is_durable: bool,
    },
    /// Close a link whose other end breaks the rules.
    Close {
        /// Whose.
        peer: NodeId,
        /// Which.
        link: LinkId,
    },
}

/// Brings parcels to their owners.
#[derive(Debug)]
pub struct Forwarder<T> {
    own: NodeId,
    map: Arc<ShardMap>,
    links: BTreeMap<NodeId, LinkId>,
    outboxes: BTreeMap<NodeId, Outbox<T>>,
    /// Numbers the sessions of all outboxes.
    last_session: u64,
    /// Parcels that nobody takes at present.
    held: Vec<Parcel<T>>,
    /// What is held of what a node refused, in bytes of room.
    refused_bytes: BTreeMap<NodeId, usize>,
    /// When the held ones are routed anew.
    retry_at: Option<Instant>,
    room_bytes: usize,
    closed: BTreeSet<NodeId>,
    n_rerouted: u64,
}

impl<T> Forwarder<T> {
    /// One that knows nobody; `room_bytes` is how much of the room all destinations may hold together.
    pub fn new(own: NodeId, room_bytes: usize) -> Self {
        Self {
            own,
            map: Arc::new(ShardMap::new([])),
            links: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            last_session: 0,
            held: Vec::new(),
            refused_bytes: BTreeMap::new(),
            retry_at: None,
            room_bytes,
            closed: BTreeSet::new(),
            n_rerouted: 0,
        }
    }

    /// The same, that numbers its sessions behind those of `n_before` others that had the same links:
    /// none comes twice.
    #[must_use]
    pub fn after_others(self, n_before: u32) -> Self {
        Self {
            last_session: u64::from(n_before) << 32,
            ..self
        }
    }

    /// Takes what happened at `now`; what is to be done is put behind what is in `out`.
    pub fn handle(
        &mut self,
        now: Instant,
        input: ForwardInput<T>,
        out: &mut Vec<ForwardOutput<T>>,
    ) {
        match input {
            ForwardInput::Parcel(parcel) => self.route(now, parcel, out),
            ForwardInput::Neighbours { map, links } => self.neighbours(now, map, links, out),
            ForwardInput::Acks { from, link, acks } => {
                self.acknowledged(now, (from, link), &acks, out);
            }
            ForwardInput::Tick => {
                if self.retry_at.is_some_and(|at| at <= now) {
                    self.route_held(now, out);
                }
            }
        }
        self.note_closed();
    }

    /// When it wants a [`ForwardInput::Tick`].
    pub const fn next_deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Sends what may be sent. Apart from [`handle`](Self::handle), so that parcels that come together
    /// share frames.
    pub fn pump(&mut self, out: &mut Vec<ForwardOutput<T>>) {
        for (to, outbox) in &mut self.outboxes {
            let Some(link) = self.links.get(to).copied() else {
                continue;
            };
            while let Some(payload) = outbox.next_frame() {
                let to = *to;
                out.push(ForwardOutput::Send { to, link, payload });
            }
        }
    }

    /// The destinations that hold more than their share; until half of it is free again.
    pub const fn closed(&self) -> &BTreeSet<NodeId> {
        &self.closed
    }

    /// What a destination may hold, in bytes of room: an equal part of the room, for this node's own store
    /// as well.
    pub fn share_bytes(&self) -> usize {
        self.room_bytes / self.map.members().count().max(1)
    }

    /// Bytes that wait for a node, or are under way to it.
    pub fn waiting_bytes(&self, to: NodeId) -> usize {
        self.outboxes.get(&to).map_or(0, Outbox::n_bytes)
    }

    /// Bytes that wait for other nodes, and parcels that nobody takes at present.
    pub fn sizes(&self) -> (usize, usize) {
        let outboxes = self.outboxes.values();
        (outboxes.map(Outbox::n_bytes).sum(), self.held.len())
    }

    /// Records that were routed anew so far.
    pub const fn n_rerouted(&self) -> u64 {
        self.n_rerouted
    }

    /// Brings a parcel on its way.
    fn route(&mut self, now: Instant, parcel: Parcel<T>, out: &mut Vec<ForwardOutput<T>>) {
        let vehicle = parcel.batch.vehicle();
        let owner = vehicle.and_then(|vehicle| self.map.owner(ShardId::of(vehicle)));
        match owner {
            Some(owner) if owner == self.own || !wire::fits(parcel.n_bytes()) => {
                out.push(ForwardOutput::Store(parcel));
            }
            _ if parcel.is_given_up(now) => out.push(parcel.settled(false)),
            Some(owner) => self.outbox(owner).push(parcel),
            None => self.hold(now, parcel),
        }
    }

    fn outbox(&mut self, to: NodeId) -> &mut Outbox<T> {
        let last_session = &mut self.last_session;
        self.outboxes.entry(to).or_insert_with(|| {
            *last_session += 1;
            Outbox::new(*last_session)
        })
    }

    fn hold(&mut self, now: Instant, mut parcel: Parcel<T>) {
        parcel.since.get_or_insert(now);
        self.held.push(parcel);
        self.retry_at.get_or_insert(now + RETRY);
    }

    fn route_held(&mut self, now: Instant, out: &mut Vec<ForwardOutput<T>>) {
        self.retry_at = None;
        self.refused_bytes.clear();
        for parcel in std::mem::take(&mut self.held) {
            self.route(now, parcel, out);
        }
    }

    fn neighbours(
        &mut self,
        now: Instant,
        map: Arc<ShardMap>,
        links: BTreeMap<NodeId, LinkId>,
        out: &mut Vec<ForwardOutput<T>>,
    ) {
        for (to, outbox) in &mut self.outboxes {
            if self.links.get(to) != links.get(to) {
                self.last_session += 1;
                outbox.restart(self.last_session);
            }
        }
        self.links = links;
        self.map = map;
        let storing: BTreeSet<NodeId> = self.map.members().collect();
        let left = self.outboxes.extract_if(.., |to, _| !storing.contains(to));
        let left: Vec<Outbox<T>> = left.map(|(_, outbox)| outbox).collect();
        for parcel in left.into_iter().flat_map(Outbox::into_parcels) {
            self.n_rerouted += parcel.batch.n_records() as u64;
            self.route(now, parcel, out);
        }
        self.route_held(now, out);
    }

    fn acknowledged(
        &mut self,
        now: Instant,
        (peer, link): (NodeId, LinkId),
        acks: &Acks,
        out: &mut Vec<ForwardOutput<T>>,
    ) {
        // What is said of an earlier link, or by a node whose parcels went elsewhere, is late.
        let is_current = self.links.get(&peer) == Some(&link);
        let Some(outbox) = self.outboxes.get_mut(&peer).filter(|_| is_current) else {
            return;
        };
        let Ok(returned) = outbox.acknowledged(acks) else {
            out.push(ForwardOutput::Close { peer, link });
            return;
        };
        let delivered = returned.delivered.into_iter();
        out.extend(delivered.map(|parcel| parcel.settled(true)));
        for parcel in returned.refused {
            self.n_rerouted += parcel.batch.n_records() as u64;
            *self.refused_bytes.entry(peer).or_default() += parcel.weight_bytes;
            self.hold(now, parcel);
        }
    }

    fn note_closed(&mut self) {
        let share_bytes = self.share_bytes();
        let is_alone = self.outboxes.is_empty();
        if is_alone && self.closed.is_empty() {
            return;
        }
        for (to, outbox) in &self.outboxes {
            let refused_bytes = self.refused_bytes.get(to).copied().unwrap_or_default();
            let weight_bytes = outbox.weight_bytes() + refused_bytes;
            if weight_bytes >= share_bytes {
                self.closed.insert(*to);
            } else if weight_bytes <= share_bytes / 2 {
                self.closed.remove(to);
            }
        }
        let outboxes = &self.outboxes;
        self.closed.retain(|to| outboxes.contains_key(to));
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
