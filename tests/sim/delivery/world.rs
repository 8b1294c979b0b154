//! The network, the vehicles, the faults, and what is held against them at each step.

use std::collections::{BTreeMap, BTreeSet};

use waymesh::{
    base::prng::Prng,
    cluster::proto::link::credit::Grant,
    delivery::batch::Batch,
    types::{
        attributes::Attributes,
        ids::VehicleId,
        record::{Body, Fix, Flags, Record, RecordKey},
        time::UnixMillis,
    },
};

use super::{
    node::{Key, Node, ROOM_BYTES, Wish, number_of},
    questions,
    way::Way,
};

const N_VEHICLES: usize = 40;

/// How long a vehicle waits for an answer before it says the same at another node.
const PATIENCE: u64 = 3_000;

/// A link in truth, whatever its ends know.
struct Link {
    ends: [u64; 2],
    /// When each end learns of it, and the time of the last message to it: messages keep their order.
    ready: [u64; 2],
    /// The way to each end.
    ways: [Way; 2],
}

/// What an end of a link learns later.
enum News {
    Up {
        peer: u64,
        link: u64,
    },
    Down {
        link: u64,
    },
    /// The link was not replaced in time: its peer counts no more.
    Gone {
        peer: u64,
    },
    Health {
        peer: u64,
        is_storing: bool,
    },
    Records {
        link: u64,
        payload: bytes::Bytes,
    },
    Credit {
        link: u64,
        grant: Grant,
    },
    Acks {
        link: u64,
        acks: waymesh::delivery::forwarding::wire::Acks,
    },
}

struct Vehicle {
    name: String,
    /// The node that it talks to.
    at: u64,
    next: i64,
    /// What it said and has no answer for: number, its first and how many, since when.
    said: Option<(u64, i64, i64, u64)>,
}

/// How often what the faults are for has happened.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    pub(crate) n_forwarded: u64,
    pub(crate) n_rerouted: u64,
    pub(crate) n_refused: u64,
    pub(crate) n_reclaimed: u64,
    pub(crate) n_doubled: u64,
    /// Frames had to wait for credit.
    pub(crate) n_waits: u64,
}

pub(crate) struct World {
    prng: Prng,
    now: u64,
    nodes: BTreeMap<u64, Node>,
    /// Nodes that are off: when they come back, and what their disk holds.
    off: BTreeMap<u64, (u64, BTreeSet<Key>)>,
    links: BTreeMap<u64, Link>,
    /// Pairs without a link: when they get one.
    parted: BTreeMap<[u64; 2], u64>,
    last_link: u64,
    /// In order of time, then of their making; to whom, in which run.
    news: BTreeMap<(u64, u64), (u64, News)>,
    last_news: u64,
    vehicles: Vec<Vehicle>,
    last_said: u64,
    acknowledged: BTreeSet<Key>,
    is_peace: bool,
    /// Whether vehicles have nothing new to say.
    is_quiet: bool,
    is_fixed: bool,
    reached: Reached,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let n_nodes = 2 + seed % 4;
        Self::with_nodes(seed, n_nodes)
    }

    pub(crate) fn with_nodes(seed: u64, n_nodes: u64) -> Self {
        let mut world = Self {
            prng: Prng::new(seed),
            now: 0,
            nodes: (1..=n_nodes)
                .map(|id| (id, Node::start(id, BTreeSet::new())))
                .collect(),
            off: BTreeMap::new(),
            links: BTreeMap::new(),
            parted: BTreeMap::new(),
            last_link: 0,
            news: BTreeMap::new(),
            last_news: 0,
            vehicles: Vec::new(),
            last_said: 0,
            acknowledged: BTreeSet::new(),
            is_peace: false,
            is_quiet: false,
            is_fixed: false,
            reached: Reached::default(),
        };
        for number in 0..N_VEHICLES {
            let at = 1 + world.prng.below(n_nodes);
            let name = format!("bus-{number}");
            world.vehicles.push(Vehicle {
                name,
                at,
                next: 0,
                said: None,
            });
        }
        for one in 1..=n_nodes {
            (one + 1..=n_nodes).for_each(|other| world.join([one, other]));
            world.look_around(one);
        }
        world
    }

    /// Each of two nodes takes the other for the owner of everything, and stays with it.
    pub(crate) fn believe_in_each_other(&mut self) {
        self.run(100);
        self.is_fixed = true;
        for (id, node) in &mut self.nodes {
            node.storing = [3 - *id].into();
            node.look_around(self.now);
        }
        (self.is_peace, self.parted) = (true, BTreeMap::new());
    }

    pub(crate) fn n_acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn reached(&self) -> Reached {
        let (nodes, reached) = (self.nodes.values(), &self.reached);
        let mut stored = nodes
            .clone()
            .flat_map(|node| &node.durable)
            .collect::<Vec<_>>();
        let n_copies = stored.len();
        stored.sort();
        stored.dedup();
        Reached {
            n_forwarded: reached.n_forwarded,
            n_rerouted: nodes.clone().map(|node| node.forwarder.n_rerouted()).sum(),
            n_refused: nodes.clone().map(|node| node.n_refused).sum(),
            n_reclaimed: nodes.map(|node| node.n_reclaimed).sum(),
            n_doubled: (n_copies - stored.len()) as u64,
            n_waits: reached.n_waits,
        }
    }

    /// Faults for so long.
    pub(crate) fn suffer(&mut self, millis: u64) {
        self.run(millis);
    }

    /// All that is broken is mended, and nothing breaks any more.
    pub(crate) fn heal(&mut self) {
        self.is_peace = true;
        self.off
            .values_mut()
            .for_each(|(back_at, _)| *back_at = self.now);
        self.parted.values_mut().for_each(|until| *until = self.now);
        for node in self.nodes.values_mut() {
            (node.hangs_since, node.is_full) = (None, false);
        }
    }

    /// Every vehicle must go on, and then nothing may be left behind.
    pub(crate) fn recover(&mut self, millis: u64) {
        self.run(millis);
        let before: Vec<i64> = self.vehicles.iter().map(|vehicle| vehicle.next).collect();
        self.run(2_000);
        for (vehicle, before) in self.vehicles.iter().zip(before) {
            assert!(
                vehicle.next > before,
                "{} stands still at {before}",
                vehicle.name
            );
        }
        self.is_quiet = true;
        self.run(2_000);
        let everybody: BTreeSet<u64> = self.nodes.keys().copied().collect();
        for node in self.nodes.values() {
            assert_eq!(node.storing, everybody, "node {} has another view", node.id);
            let id = node.id;
            assert!(node.is_at_rest(), "node {id} has lost sight of something");
        }
        let stored = self.nodes.values().flat_map(|node| &node.durable);
        let stored: BTreeSet<&Key> = stored.collect();
        let lost: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|key| !stored.contains(key))
            .collect();
        assert!(lost.is_empty(), "lost {lost:?}");
    }

    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.now += 1;
            if !self.is_peace {
                self.break_something();
            }
            self.mend();
            self.bring_news();
            self.speak();
            self.work();
            self.check();
            if self.now.is_multiple_of(500) {
                questions::ask_any(&mut self.prng, &self.nodes, &self.acknowledged);
            }
        }
    }

    fn break_something(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let any = |prng: &mut Prng| ids[prng.below(ids.len() as u64) as usize];
        if self.prng.chance(0.15) && ids.len() > 1 {
            let id = any(&mut self.prng);
            let back_at = self.now + self.prng.below(1_500);
            let node = self.nodes.remove(&id).unwrap();
            self.off.insert(id, (back_at, node.durable));
            let links: Vec<u64> = self.links_of(id);
            links.into_iter().for_each(|link| self.cut(link));
            self.news.retain(|_, (to, _)| *to != id);
        }
        if self.prng.chance(0.3) {
            let links: Vec<u64> = self.links.keys().copied().collect();
            if !links.is_empty() {
                let link = links[self.prng.below(links.len() as u64) as usize];
                self.cut(link);
            }
        }
        if self.prng.chance(0.1) {
            let (id, now) = (any(&mut self.prng), self.now);
            if let Some(node) = self.nodes.get_mut(&id) {
                node.hangs_since.get_or_insert(now);
            }
        }
        if self.prng.chance(0.2) && !self.links.is_empty() {
            // A second link beside the first, which both ends use from when they learn of it.
            let at = self.prng.below(self.links.len() as u64) as usize;
            let ends = self.links.values().nth(at).map(|link| link.ends);
            ends.into_iter().for_each(|ends| self.join(ends));
        }
        if self.prng.chance(0.3) {
            let id = any(&mut self.prng);
            if let Some(node) = self.nodes.get_mut(&id) {
                node.is_full = !node.is_full;
            }
        }
        if self.prng.chance(0.1) {
            let id = any(&mut self.prng);
            if let Some(node) = self.nodes.get_mut(&id)
                && node
                    .hangs_since
                    .is_some_and(|since| self.now > since + 2_500)
            {
                node.hangs_since = None;
            }
        }
    }

    fn mend(&mut self) {
        let back: Vec<u64> = self
            .off
            .iter()
            .filter(|(_, (at, _))| *at <= self.now)
            .map(|(id, _)| *id)
            .collect();
        for id in back {
            let (_, durable) = self.off.remove(&id).unwrap();
            self.nodes.insert(id, Node::start(id, durable));
            self.look_around(id);
        }
        let due: Vec<[u64; 2]> = self
            .parted
            .iter()
            .filter(|(_, at)| **at <= self.now)
            .map(|(ends, _)| *ends)
            .collect();
        for ends in due {
            if ends.iter().all(|end| self.nodes.contains_key(end)) {
                self.parted.remove(&ends);
                self.join(ends);
            }
        }
    }

    fn join(&mut self, ends: [u64; 2]) {
        self.last_link += 1;
        let link = self.last_link;
        let ready = ends.map(|_| self.now + self.prng.below(20));
        let ways = [Way::new(), Way::new()];
        self.links.insert(link, Link { ends, ready, ways });
        for (end, peer, at) in [(ends[0], ends[1], ready[0]), (ends[1], ends[0], ready[1])] {
            self.tell_at(at, end, News::Up { peer, link });
        }
        for (end, peer) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            self.say_health(link, end, peer);
            self.give_credit(link, end);
        }
    }

    /// The receiver `to` says what it grants, if anything is due.
    fn give_credit(&mut self, link: u64, to: u64) {
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        let at = usize::from(found.ends[1] == to);
        let (sender, grant) = (found.ends[1 - at], found.ways[at].grant());
        if let Some(grant) = grant {
            self.send(link, sender, News::Credit { link, grant });
        }
    }

    /// Sends to an end of a link what has credit.
    fn pump(&mut self, link: u64, to: u64) {
        while let Some(found) = self.links.get_mut(&link) {
            let at = usize::from(found.ends[1] == to);
            let Some(payload) = found.ways[at].next() else {
                self.reached.n_waits += u64::from(found.ways[at].n_waiting() > 0);
                return;
            };
            self.send(link, to, News::Records { link, payload });
        }
    }

    /// Over a link, behind what was said before.
    fn say_health(&mut self, link: u64, from: u64, to: u64) {
        let is_storing = self.nodes.get(&from).is_some_and(|node| node.is_storing);
        self.send(
            link,
            to,
            News::Health {
                peer: from,
                is_storing,
            },
        );
    }

    fn cut(&mut self, link: u64) {
        let Some(Link { ends, .. }) = self.links.remove(&link) else {
            return;
        };
        self.news.retain(|_, (_, news)| match news {
            News::Records { link: over, .. } | News::Acks { link: over, .. } => *over != link,
            News::Up { link: over, .. } | News::Credit { link: over, .. } => *over != link,
            _ => true,
        });
        let is_silent = self.prng.chance(20.0);
        for (end, peer) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let seen = if is_silent {
                self.prng.below(1_500)
            } else {
                self.prng.below(5)
            };
            self.tell_at(self.now + seen, end, News::Down { link });
            let gone = self.now + seen + self.prng.below(1_500);
            self.tell_at(gone, end, News::Gone { peer });
        }
        let again = if self.is_peace {
            50
        } else {
            self.prng.below(2_500)
        };
        self.parted.insert(ends, self.now + again);
    }

    fn links_of(&self, id: u64) -> Vec<u64> {
        let links = self
            .links
            .iter()
            .filter(|(_, link)| link.ends.contains(&id));
        links.map(|(number, _)| *number).collect()
    }

    /// Sends over a link, if it stands: behind what goes that way already.
    fn send(&mut self, link: u64, to: u64, news: News) {
        let delay = self.prng.below(5);
        let Some(Link { ends, ready, .. }) = self.links.get_mut(&link) else {
            return;
        };
        let ready = &mut ready[usize::from(ends[1] == to)];
        *ready = (self.now + delay).max(*ready);
        let at = *ready;
        self.tell_at(at, to, news);
    }

    fn tell_at(&mut self, at: u64, to: u64, news: News) {
        self.last_news += 1;
        self.news.insert((at, self.last_news), (to, news));
    }

    fn bring_news(&mut self) {
        while let Some(((at, number), (to, news))) = self.news.pop_first() {
            if at > self.now {
                self.news.insert((at, number), (to, news));
                return;
            }
            self.hear(to, news);
        }
    }

    fn hear(&mut self, to: u64, news: News) {
        let Some(node) = self.nodes.get_mut(&to) else {
            return;
        };
        match news {
            News::Up { peer, link } => {
                node.links.insert(peer, link);
                self.look_around(to);
            }
            News::Down { link } => {
                node.links.retain(|_, known| *known != link);
                self.look_around(to);
            }
            News::Gone { peer } => {
                if !node.links.contains_key(&peer) && !self.is_fixed {
                    node.storing.remove(&peer);
                    self.look_around(to);
                }
            }
            News::Health { peer, is_storing } => {
                if is_storing {
                    node.storing.insert(peer);
                } else {
                    node.storing.remove(&peer);
                }
                self.look_around(to);
            }
            News::Records { link, payload } => {
                self.reached.n_forwarded += 1;
                node.take(link, &payload);
                if let Some(found) = self.links.get_mut(&link) {
                    found.ways[usize::from(found.ends[1] == to)].arrived(payload.len());
                }
            }
            News::Credit { link, grant } => {
                if let Some(found) = self.links.get_mut(&link) {
                    // The way from here leads to the other end.
                    let at = usize::from(found.ends[0] == to);
                    found.ways[at].granted(grant);
                    let peer = found.ends[at];
                    self.pump(link, peer);
                }
            }
            News::Acks { link, acks } => {
                let from = self.links.get(&link).map(|link| link.ends);
                let from = from.and_then(|ends| ends.into_iter().find(|end| *end != to));
                if let Some(from) = from {
                    node.acknowledged(self.now, from, link, acks);
                }
            }
        }
    }

    fn look_around(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.look_around(self.now);
        }
    }

    /// Vehicles say what is new, or the same again.
    fn speak(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for at in 0..self.vehicles.len() {
            let vehicle = &mut self.vehicles[at];
            let is_lost = !self.nodes.contains_key(&vehicle.at);
            let is_impatient = vehicle
                .said
                .is_some_and(|(.., since)| self.now > since + PATIENCE);
            if is_lost || is_impatient {
                vehicle.said = None;
                vehicle.at = ids[self.prng.below(ids.len() as u64) as usize];
            }
            let is_open = self.nodes[&vehicle.at].is_open(&vehicle.name);
            let has_news = !self.is_quiet && self.prng.chance(5.0);
            if vehicle.said.is_none() && is_open && has_news {
                let n_records = 1 + self.prng.below(3) as i64;
                self.last_said += 1;
                vehicle.said = Some((self.last_said, vehicle.next, n_records, self.now));
                let records = vehicle.next..vehicle.next + n_records;
                let records: Vec<Record> = records
                    .map(|number| record(&vehicle.name, number))
                    .collect();
                let (name, batch) = (vehicle.name.clone(), Batch::from(records));
                let node = self.nodes.get_mut(&vehicle.at).unwrap();
                node.hear(self.now, &name, batch, self.last_said);
            }
        }
    }

    fn work(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            let does_sync = self.prng.chance(30.0);
            let node = self.nodes.get_mut(&id).unwrap();
            node.tick(self.now);
            if does_sync {
                node.sync();
            }
            if self.now.is_multiple_of(100) && node.look_at_health(self.now) {
                if node.is_storing {
                    node.storing.insert(id);
                } else {
                    node.storing.remove(&id);
                }
                node.look_around(self.now);
                for link in self.links_of(id) {
                    let ends = self.links[&link].ends;
                    let peer = if ends[0] == id { ends[1] } else { ends[0] };
                    self.say_health(link, id, peer);
                }
            }
            let node = self.nodes.get_mut(&id).unwrap();
            if self.now % 100 == 50 {
                node.reclaim(self.now);
            }
            let wishes = std::mem::take(&mut node.wishes);
            wishes.into_iter().for_each(|wish| self.fulfil(id, wish));
        }
    }

    fn fulfil(&mut self, id: u64, wish: Wish) {
        let peer_of = |world: &Self, link: u64| {
            let ends = world.links.get(&link)?.ends;
            ends.into_iter().find(|end| *end != id)
        };
        match wish {
            Wish::Records(link, payload) => {
                if let Some(peer) = peer_of(self, link) {
                    let found = self.links.get_mut(&link).unwrap();
                    found.ways[usize::from(found.ends[1] == peer)].offer(payload);
                    self.pump(link, peer);
                }
            }
            Wish::Acks(link, acks) => {
                if let Some(peer) = peer_of(self, link) {
                    self.send(link, peer, News::Acks { link, acks });
                }
            }
            Wish::Decided(link, n_bytes) => {
                if let Some(found) = self.links.get_mut(&link) {
                    found.ways[usize::from(found.ends[1] == id)].decided(n_bytes);
                    self.give_credit(link, id);
                }
            }
            Wish::Answer(number, is_durable) => self.answer(number, is_durable),
            Wish::Cut(link) => panic!("node {id} found the rules broken on link {link}"),
        }
    }

    fn answer(&mut self, number: u64, is_durable: bool) {
        let is_meant =
            |vehicle: &&mut Vehicle| vehicle.said.is_some_and(|(said, ..)| said == number);
        let Some(vehicle) = self.vehicles.iter_mut().find(is_meant) else {
            return; // It has given up and said the same elsewhere.
        };
        let Some((_, first, n_records, _)) = vehicle.said.take().filter(|_| is_durable) else {
            return;
        };
        vehicle.next = first + n_records;
        for number in first..first + n_records {
            let key = (number_of(&vehicle.name), number);
            let off = self.off.values().map(|(_, durable)| durable);
            let mut disks = self.nodes.values().map(|node| &node.durable).chain(off);
            assert!(
                disks.any(|durable| durable.contains(&key)),
                "{key:?} is acknowledged and on no disk"
            );
            self.acknowledged.insert(key);
        }
    }

    /// No outbox holds more than its share, but for what was on its way when it was closed.
    fn check(&self) {
        let slack = N_VEHICLES * 3 * 100;
        for node in self.nodes.values() {
            let (n_bytes, _) = node.forwarder.sizes();
            assert!(
                n_bytes <= ROOM_BYTES + slack,
                "node {} holds {n_bytes} bytes",
                node.id
            );
        }
    }
}

impl Reached {
    pub(crate) fn add(&mut self, other: &Self) {
        self.n_forwarded += other.n_forwarded;
        self.n_rerouted += other.n_rerouted;
        self.n_refused += other.n_refused;
        self.n_reclaimed += other.n_reclaimed;
        self.n_doubled += other.n_doubled;
        self.n_waits += other.n_waits;
    }
}

pub(crate) fn record(vehicle: &str, number: i64) -> Record {
    Record {
        key: RecordKey {
            vehicle: VehicleId::parse(vehicle.as_bytes()).unwrap(),
            time: UnixMillis(number),
            hash: 7,
        },
        received: UnixMillis(number),
        protocol: "toy".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix::default()),
    }
}
