//! One node: a forwarder, an inbox for each link, and a store that syncs now and then. What the node
//! wants done it hands to the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use waymesh::{
    base::time::Instant,
    cluster::proto::{
        LinkId, NodeName,
        shard_map::{ShardId, ShardMap},
    },
    delivery::{
        batch::Batch,
        forwarding::{
            ForwardInput, ForwardOutput, Forwarder, Inbox, Parcel,
            wire::{self, Acks, FrameNumber},
        },
    },
    types::ids::{NodeId, VehicleId},
};

/// What all outboxes of a node may hold.
pub(crate) const ROOM_BYTES: usize = 20_000;

/// How long a disk may hang before the node says that it stores nothing.
const STALL: u64 = 2_000;

/// A record: the numbers of its vehicle and of itself.
pub(crate) type Key = (u64, i64);

/// Who waits for the fate of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A vehicle at this node, by the number of what it said.
    Vehicle(u64),
    /// Another node, by the link, the frame and its length.
    Frame(u64, FrameNumber, usize),
}

/// What a node wants the world to do.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Bring a frame of records over a link.
    Records(u64, bytes::Bytes),
    /// Bring acknowledgements over a link.
    Acks(u64, Acks),
    /// Let go of a frame that came over a link, by its length: its fate is known.
    Decided(u64, usize),
    /// Tell a vehicle whether what it said is durable.
    Answer(u64, bool),
    /// Cut a link whose other end breaks the rules.
    Cut(u64),
}

pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) forwarder: Forwarder<Waiter>,
    inboxes: BTreeMap<u64, Inbox>,
    /// Appended and not synced yet.
    pending: Vec<(Batch, Waiter)>,
    pub(crate) durable: BTreeSet<Key>,
    pub(crate) hangs_since: Option<u64>,
    /// Whether its disk is full, or refuses for another reason.
    pub(crate) is_full: bool,
    pub(crate) is_storing: bool,
    /// The link to each peer.
    pub(crate) links: BTreeMap<u64, u64>,
    /// Who stores, as this node believes.
    pub(crate) storing: BTreeSet<u64>,
    map: Arc<ShardMap>,
    out: Vec<ForwardOutput<Waiter>>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) n_reclaimed: u64,
    pub(crate) n_refused: u64,
    /// What vehicles said here and nobody has settled.
    open: BTreeSet<u64>,
}

impl Node {
    /// A node that has just started on what its store holds.
    pub(crate) fn start(id: u64, durable: BTreeSet<Key>) -> Self {
        Self {
            id,
            forwarder: Forwarder::new(NodeId(id), ROOM_BYTES),
            inboxes: BTreeMap::new(),
            pending: Vec::new(),
            durable,
            hangs_since: None,
            is_full: false,
            is_storing: true,
            links: BTreeMap::new(),
            storing: [id].into(),
            map: Arc::new(ShardMap::new([])),
            out: Vec::new(),
            wishes: Vec::new(),
            n_reclaimed: 0,
            n_refused: 0,
            open: BTreeSet::new(),
        }
    }

    /// Whether nothing that came here is without an outcome.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.open.is_empty() && self.pending.is_empty() && self.forwarder.sizes() == (0, 0)
    }

    /// What this node believes of owners and links is what it says in its fields now.
    pub(crate) fn look_around(&mut self, now: u64) {
        let name = |id: &u64| (NodeName::parse(&format!("n{id}")).unwrap(), NodeId(*id));
        let known: BTreeSet<u64> = self.map.members().map(|id| id.0).collect();
        if known != self.storing {
            self.map = Arc::new(ShardMap::new(self.storing.iter().map(name)));
        }
        let links = self
            .links
            .iter()
            .map(|(peer, link)| (NodeId(*peer), LinkId(*link)));
        let input = ForwardInput::Neighbours {
            map: Arc::clone(&self.map),
            links: links.collect(),
        };
        self.tell(now, input);
    }

    /// Whether what a vehicle says would be taken now.
    pub(crate) fn is_open(&self, vehicle: &str) -> bool {
        match self.owner(vehicle) {
            Some(owner) if owner.0 != self.id => !self.forwarder.closed().contains(&owner),
            _ => {
                let pending = self.pending.iter();
                let n_bytes: usize = pending.map(|(batch, _)| batch.as_bytes().len()).sum();
                n_bytes < self.forwarder.share_bytes()
            }
        }
    }

    fn owner(&self, vehicle: &str) -> Option<NodeId> {
        let vehicle = VehicleId::parse(vehicle.as_bytes()).unwrap();
        self.map.owner(ShardId::of(&vehicle))
    }

    /// A vehicle says something here.
    pub(crate) fn hear(&mut self, now: u64, vehicle: &str, batch: Batch, number: u64) {
        let waiter = Waiter::Vehicle(number);
        assert!(self.open.insert(number));
        match self.owner(vehicle) {
            Some(owner) if owner.0 != self.id => {
                let token = waiter;
                self.tell(now, ForwardInput::Parcel(Parcel::new(batch, token, 0)));
            }
            _ => self.pending.push((batch, waiter)),
        }
    }

    /// A frame of records came over a link.
    pub(crate) fn take(&mut self, link: u64, payload: &[u8]) {
        let (frame, batch) = wire::read_records(payload).unwrap();
        let inbox = self.inboxes.entry(link).or_default();
        if inbox.take(frame).is_err() {
            self.wishes.push(Wish::Cut(link));
            return;
        }
        self.pending
            .push((batch, Waiter::Frame(link, frame, payload.len())));
    }

    pub(crate) fn acknowledged(&mut self, now: u64, from: u64, link: u64, acks: Acks) {
        let (from, link) = (NodeId(from), LinkId(link));
        self.tell(now, ForwardInput::Acks { from, link, acks });
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.tell(now, ForwardInput::Tick);
    }

    /// The disk has done what waited for it.
    pub(crate) fn sync(&mut self) {
        if self.hangs_since.is_some() {
            return;
        }
        for (batch, waiter) in std::mem::take(&mut self.pending) {
            if !self.is_full {
                self.durable.extend(keys(&batch));
            }
            self.settle(waiter, !self.is_full);
        }
    }

    /// Looks whether the disk hangs or is full, or is well again; whether that is news for others.
    pub(crate) fn look_at_health(&mut self, now: u64) -> bool {
        let is_ill = self.is_full || self.hangs_since.is_some_and(|since| now >= since + STALL);
        let is_news = self.is_storing == is_ill;
        self.is_storing = !is_ill;
        if is_news && is_ill {
            let told: Vec<(u64, Option<Acks>)> = self
                .inboxes
                .iter_mut()
                .map(|(link, inbox)| (*link, inbox.refuse_all()))
                .collect();
            for (link, acks) in told {
                self.say(link, acks);
            }
        }
        is_news
    }

    /// Gives what a hung disk holds to others, if there are any.
    pub(crate) fn reclaim(&mut self, now: u64) {
        let are_others = !self.storing.is_empty() && !self.storing.contains(&self.id);
        if self.is_storing || !are_others {
            return;
        }
        for (batch, token) in std::mem::take(&mut self.pending) {
            self.n_reclaimed += 1;
            self.tell(now, ForwardInput::Parcel(Parcel::new(batch, token, 0)));
        }
    }

    fn tell(&mut self, now: u64, input: ForwardInput<Waiter>) {
        let now = Instant::from_millis(now);
        self.forwarder.handle(now, input, &mut self.out);
        self.forwarder.pump(&mut self.out);
        for output in std::mem::take(&mut self.out) {
            match output {
                ForwardOutput::Send { link, payload, .. } => {
                    self.wishes.push(Wish::Records(link.0, payload));
                }
                ForwardOutput::Store(parcel) => self.pending.push((parcel.batch, parcel.token)),
                ForwardOutput::Settle {
                    token, is_durable, ..
                } => self.settle(token, is_durable),
                ForwardOutput::Close { link, .. } => self.wishes.push(Wish::Cut(link.0)),
            }
        }
    }

    fn settle(&mut self, waiter: Waiter, is_durable: bool) {
        match waiter {
            Waiter::Vehicle(number) => {
                assert!(self.open.remove(&number), "{number} is settled twice");
                self.wishes.push(Wish::Answer(number, is_durable));
            }
            Waiter::Frame(link, frame, n_bytes) => {
                let inbox = self.inboxes.entry(link).or_default();
                let acks = inbox.decide(frame, is_durable);
                self.say(link, acks);
                self.wishes.push(Wish::Decided(link, n_bytes));
            }
        }
    }

    fn say(&mut self, link: u64, acks: Option<Acks>) {
        if let Some(acks) = acks {
            self.n_refused += acks.refused.len() as u64;
            self.wishes.push(Wish::Acks(link, acks));
        }
    }
}

/// The keys of a batch.
pub(crate) fn keys(batch: &Batch) -> impl Iterator<Item = Key> {
    batch
        .iter()
        .map(|entry| (number_of(entry.vehicle.as_str()), entry.head.time.0))
}

/// The number of a vehicle, which its name ends with.
pub(crate) fn number_of(name: &str) -> u64 {
    name.rsplit('-').next().unwrap().parse().unwrap()
}
