//! The world: one queue of timed events, the nodes, the network between them.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use bytes::Bytes;
use waymesh::{
    base::prng::Prng,
    cluster::proto::{
        ClusterEvent, ClusterInput, ClusterOutput, DialId, Haste, LinkId, Refusal,
        link::outcome::{DialFailure, LinkEnd},
    },
    types::ids::NodeId,
};

use super::{
    checks,
    node::{Node, PLACE, Setup},
    wires::{End, EndState, HEARTBEAT_MS, Network, Parcel, Pipe, QUIET_MS, SILENT_MS},
};

/// How long a handshake may take.
const HELLO_MS: u64 = 3_000;

/// All there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) pipes: BTreeMap<u64, Pipe>,
    pub(crate) prng: Prng,
    /// What happened, where it is asked for.
    pub(crate) log: Option<Vec<Entry>>,
    /// Whether what happens is printed as well.
    pub(crate) is_aloud: bool,
    /// Datagrams sent by kind: PING, PONG, beat.
    pub(crate) n_datagrams: [u64; 3],
    pub(crate) n_events: u64,
    queue: BTreeMap<(u64, u64), Event>,
    last_event: u64,
    last_pipe: u64,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) node: usize,
    pub(crate) what: String,
}

/// What is to happen.
#[derive(Debug)]
enum Event {
    Tick(usize),
    Datagram {
        from: SocketAddr,
        to: usize,
        bytes: Bytes,
    },
    /// The first packet of a dial arrives, then its hello, then the answer to that.
    Dial(Dial, Step),
    DialEnds {
        node: usize,
        run: u64,
        dial: DialId,
        why: DialFailure,
    },
    Parcel {
        pipe: u64,
        to: usize,
        parcel: Parcel,
    },
    /// Time to look whether an end was silent, and to say something over it.
    Watch {
        pipe: u64,
        end: usize,
    },
    /// The answer to a hello has taken too long.
    HelloOverdue(u64),
    Continue(usize),
    SocketOpens(usize, u64),
    TakesIn(usize, u64),
}

#[derive(Debug, Clone)]
struct Dial {
    from: usize,
    run: u64,
    to: SocketAddr,
    dial: DialId,
    patience: u64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Connect,
    Hello,
}

/// Where a machine is seen by those of its network segment alone.
fn segment_address(at: usize) -> SocketAddr {
    let ip = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::try_from(at).unwrap() + 1);
    SocketAddrV6::new(ip, 5_001, 0, 2).into()
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            nodes: Vec::new(),
            network: Network::perfect(),
            pipes: BTreeMap::new(),
            prng: Prng::new(seed),
            log: None,
            is_aloud: std::env::var_os("ALOUD").is_some(),
            n_datagrams: [0; 3],
            n_events: 0,
            queue: BTreeMap::new(),
            last_event: 0,
            last_pipe: 0,
        }
    }

    /// Adds a machine without a process; clocks differ and drift by up to 2 %.
    pub(crate) fn add(&mut self, setup: Setup) -> usize {
        let at = self.nodes.len();
        let ip = Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(at).unwrap());
        let drift = i64::try_from(self.prng.below(40_000)).unwrap() - 20_000;
        let offset = self.prng.below(1_000_000);
        let address = SocketAddr::new(ip.into(), 5_001);
        self.nodes.push(Node::new(setup, address, drift, offset));
        at
    }

    pub(crate) fn start(&mut self, at: usize) {
        let (run, seed) = (self.prng.next_u64(), self.prng.next_u64());
        self.nodes[at].start(self.now, run, seed);
        self.note(at, || "starts".to_owned());
        self.feed(at, ClusterInput::Tick);
        if self.nodes[at].setup.has_multicast {
            self.push(self.now, Event::SocketOpens(at, run));
        }
    }

    /// The process dies. Its system closes the connections, unless the machine dies, too.
    pub(crate) fn kill(&mut self, at: usize, is_power_cut: bool) {
        self.nodes[at].cluster = None;
        self.nodes[at].inputs.clear();
        self.nodes[at].stopped_until = None;
        self.nodes[at].is_powered = !is_power_cut;
        self.note(at, || "dies".to_owned());
        let mut closed = Vec::new();
        for (id, pipe) in &mut self.pipes {
            for end in 0..2 {
                let this = &mut pipe.ends[end];
                if this.node == at && this.state != EndState::Gone {
                    this.state = EndState::Gone;
                    this.held.clear();
                    closed.push((*id, end));
                }
            }
        }
        if !is_power_cut {
            for (pipe, end) in closed {
                self.send(pipe, end, Parcel::Close(LinkEnd::Closed));
            }
        }
    }

    /// The process is stopped, and goes on later: it sees nothing until then.
    pub(crate) fn stop_for(&mut self, at: usize, millis: u64) {
        if self.nodes[at].is_alive() && !self.nodes[at].is_stopped() {
            self.nodes[at].stopped_until = Some(self.now + millis);
            self.push(self.now + millis, Event::Continue(at));
        }
    }

    /// A person's command at a node.
    pub(crate) fn command(&mut self, at: usize, input: ClusterInput) {
        if !self.nodes[at].is_stopped() {
            self.nodes[at].is_leaving |= matches!(input, ClusterInput::Leave);
            self.feed(at, input);
        }
    }

    /// Goes on until a time, or until `is_enough`; gives when that was.
    pub(crate) fn run_until(
        &mut self,
        until: u64,
        is_enough: impl Fn(&Self) -> bool,
    ) -> Option<u64> {
        if is_enough(self) {
            return Some(self.now);
        }
        while let Some(next) = self.queue.first_entry() {
            if next.key().0 > until {
                break;
            }
            let ((at, _), event) = next.remove_entry();
            self.now = at;
            self.n_events += 1;
            self.happen(event);
            if is_enough(self) {
                return Some(self.now);
            }
        }
        self.now = until;
        None
    }

    pub(crate) fn run_for(&mut self, millis: u64) {
        self.run_until(self.now + millis, |_| false);
    }

    /// What waited for the network goes on its way.
    pub(crate) fn release(&mut self) {
        let waiting: Vec<u64> = self.pipes.keys().copied().collect();
        for id in waiting {
            for end in 0..2 {
                let held = std::mem::take(&mut self.pipes.get_mut(&id).unwrap().ends[end].held);
                for parcel in held {
                    self.send(id, end, parcel);
                }
            }
        }
    }

    /// Gives a node an input and does what it asks for.
    pub(crate) fn feed(&mut self, at: usize, input: ClusterInput) {
        let node = &mut self.nodes[at];
        if node.cluster.is_none() {
            return;
        }
        let is_first = node.inputs.is_empty();
        node.inputs.push(input);
        // A busy node takes in together what came one after the other.
        if is_first && self.network.is_busy && self.prng.chance(20.0) {
            let (run, delay) = (node.run, self.prng.below(5));
            self.push(self.now + delay, Event::TakesIn(at, run));
        } else if is_first {
            self.take_in(at);
        }
    }

    fn take_in(&mut self, at: usize) {
        let clock = self.nodes[at].clock(self.now);
        let inputs = std::mem::take(&mut self.nodes[at].inputs);
        let Some(cluster) = self.nodes[at].cluster.as_mut() else {
            return;
        };
        let mut out = Vec::new();
        cluster.handle_all(clock, inputs, &mut out);
        self.obey(at, out);
        checks::after_step(self, at);
        self.schedule_tick(at);
    }

    pub(crate) fn note(&mut self, node: usize, what: impl FnOnce() -> String) {
        let at = self.now;
        if self.is_aloud {
            println!("{at:>7} {node} {}", what());
        } else if let Some(log) = &mut self.log {
            let what = what();
            log.push(Entry { at, node, what });
        }
    }

    pub(crate) fn by_id(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.setup.id == id)
    }

    fn push(&mut self, at: u64, event: Event) {
        self.last_event += 1;
        self.queue.insert((at, self.last_event), event);
    }

    fn schedule_tick(&mut self, at: usize) {
        let node = &self.nodes[at];
        let deadline = node
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.next_deadline());
        let Some(deadline) = deadline else {
            return;
        };
        let due = node.when(deadline).max(self.now);
        if node
            .tick_at
            .is_none_or(|known| due < known || known < self.now)
        {
            self.nodes[at].tick_at = Some(due);
            self.push(due, Event::Tick(at));
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.stopped(&event) {
            self.push(until, event);
            return;
        }
        match event {
            Event::Tick(at) => {
                if self.nodes[at].tick_at == Some(self.now) {
                    self.nodes[at].tick_at = None;
                    self.feed(at, ClusterInput::Tick);
                }
            }
            Event::Datagram { from, to, bytes } => self.datagram(from, to, bytes),
            Event::Dial(dial, Step::Connect) => self.connect(dial),
            Event::Dial(dial, Step::Hello) => self.hello(dial),
            Event::DialEnds {
                node,
                run,
                dial,
                why,
            } => {
                if self.nodes[node].run == run {
                    self.note(node, || format!("dial fails: {why}"));
                    self.feed(node, ClusterInput::DialFailed { dial, why });
                }
            }
            Event::Parcel { pipe, to, parcel } => self.parcel(pipe, to, parcel),
            Event::Watch { pipe, end } => self.watch(pipe, end),
            Event::HelloOverdue(pipe) => self.hello_overdue(pipe),
            Event::Continue(at) => self.go_on(at),
            Event::TakesIn(at, run) => {
                if self.nodes[at].run == run {
                    self.take_in(at);
                }
            }
            Event::SocketOpens(at, run) => {
                if self.nodes[at].run == run {
                    self.feed(at, ClusterInput::SocketOpened(PLACE));
                }
            }
        }
    }

    /// Whether an event concerns a process that is stopped: it comes about when that goes on.
    fn stopped(&self, event: &Event) -> Option<u64> {
        let node = match event {
            Event::Tick(at) | Event::SocketOpens(at, _) | Event::TakesIn(at, _) => *at,
            Event::Datagram { to, .. } => *to,
            Event::DialEnds { node, .. } => *node,
            Event::Parcel { pipe, to, .. } => self.pipes.get(pipe)?.ends[*to].node,
            Event::Watch { pipe, end } => self.pipes.get(pipe)?.ends[*end].node,
            Event::Dial(dial, Step::Hello) => self.host(dial.to)?,
            Event::Dial(_, Step::Connect) | Event::HelloOverdue(_) | Event::Continue(_) => {
                return None;
            }
        };
        self.nodes[node].stopped_until
    }

    /// A stopped process goes on: it reads what came meanwhile before it blames anybody.
    fn go_on(&mut self, at: usize) {
        if self.nodes[at]
            .stopped_until
            .is_none_or(|until| until > self.now)
        {
            return;
        }
        self.nodes[at].stopped_until = None;
        let now = self.now;
        for pipe in self.pipes.values_mut() {
            for end in &mut pipe.ends {
                if end.node == at {
                    end.heard_at = now;
                }
            }
        }
        self.nodes[at].tick_at = None;
        self.feed(at, ClusterInput::Tick);
    }

    fn obey(&mut self, at: usize, out: Vec<ClusterOutput>) {
        for output in out {
            match output {
                ClusterOutput::SendBeacon { bytes, .. } => self.multicast(at, &bytes),
                ClusterOutput::Dial {
                    peer,
                    address,
                    dial,
                    patience,
                } => {
                    let whom = peer.and_then(|peer| self.by_id(peer));
                    self.note(at, || match whom {
                        Some(whom) => format!("dials {whom}"),
                        None => format!("dials {address}"),
                    });
                    checks::dialled(self, at);
                    let dial = Dial {
                        from: at,
                        run: self.nodes[at].run,
                        to: address,
                        dial,
                        patience: u64::try_from(patience.as_millis()).unwrap(),
                    };
                    let delay = self.network.delay(&mut self.prng);
                    self.push(self.now + delay, Event::Dial(dial, Step::Connect));
                }
                ClusterOutput::CloseLink { link, .. } => self.close(at, link.0),
                ClusterOutput::SendFrame {
                    link,
                    message,
                    haste,
                } => {
                    let parcel = Parcel::Members(message.into_bytes());
                    match haste {
                        Haste::AtOnce => self.say(at, link.0, parcel),
                        Haste::WithBeat => self.say_later(at, link.0, parcel),
                    }
                }
                ClusterOutput::SetHeartbeat { bytes, haste } => {
                    self.nodes[at].heartbeat = bytes.clone();
                    for link in self.pipes_of(at) {
                        let parcel = Parcel::Heartbeat(bytes.clone());
                        match haste {
                            Haste::AtOnce => self.say(at, link, parcel),
                            Haste::WithBeat => self.say_later(at, link, parcel),
                        }
                    }
                }
                ClusterOutput::Notify(event) => self.notify(at, &event),
                ClusterOutput::NameTaken { .. } => self.nodes[at].is_refused = true,
                ClusterOutput::NameFree => self.nodes[at].is_refused = false,
                ClusterOutput::KeepIncarnation(incarnation) => {
                    self.nodes[at].incarnation = incarnation.0;
                }
                ClusterOutput::Remember(members) => self.nodes[at].remembered = members,
                ClusterOutput::FirstSeriesOver => self.note(at, || "first series over".to_owned()),
                ClusterOutput::DialName { .. }
                | ClusterOutput::Reopen(_)
                | ClusterOutput::Rejoin(_)
                | ClusterOutput::Forgot(_) => {}
            }
        }
    }

    fn notify(&mut self, at: usize, event: &ClusterEvent) {
        match event {
            ClusterEvent::NodeUp(node) => {
                let whom = self.by_id(node.id).unwrap();
                self.note(at, || format!("node-up {whom}"));
            }
            ClusterEvent::NodeDown(node, reason) => {
                let whom = self.by_id(node.id).unwrap();
                self.note(at, || format!("node-down {whom} ({reason})"));
            }
            ClusterEvent::Epoch { .. } => {}
        }
        checks::told(self, at, event);
    }

    fn multicast(&mut self, at: usize, bytes: &Bytes) {
        let kind = usize::from(bytes[5]) - 1;
        self.n_datagrams[kind] += 1;
        self.note(at, || ["PING", "PONG", "beat"][kind].to_owned());
        checks::sent(self, at);
        for to in 0..self.nodes.len() {
            let is_lost = to != at
                && (!self.network.passes(at, to) || self.prng.chance(self.network.loss_percent));
            if is_lost || !self.nodes[to].is_alive() || !self.nodes[to].setup.has_multicast {
                continue;
            }
            let n_copies = 1 + usize::from(self.prng.chance(self.network.repeat_percent));
            for _ in 0..n_copies * usize::from(!self.network.is_segment_only) {
                self.send_datagram(self.nodes[at].address, to, bytes);
            }
            if self.network.has_segment {
                self.send_datagram(segment_address(at), to, bytes);
            }
        }
    }

    fn send_datagram(&mut self, mut from: SocketAddr, to: usize, bytes: &Bytes) {
        from.set_port(50_337);
        let (delay, bytes) = (self.network.delay(&mut self.prng), bytes.clone());
        self.push(self.now + delay, Event::Datagram { from, to, bytes });
    }

    fn datagram(&mut self, from: SocketAddr, to: usize, bytes: Bytes) {
        let input = ClusterInput::Datagram {
            bytes,
            from,
            interface: PLACE.interface,
            transport: PLACE.transport,
        };
        self.feed(to, input);
    }

    fn host(&self, address: SocketAddr) -> Option<usize> {
        let mut nodes = self.nodes.iter().enumerate();
        let is_it = |at, node: &Node| node.address == address || segment_address(at) == address;
        nodes.find(|(at, node)| is_it(*at, node)).map(|(at, _)| at)
    }

    /// Where the other end of a connection to `address` sees the one that dials.
    fn seen_at(&self, at: usize, address: SocketAddr) -> SocketAddr {
        if address.is_ipv6() {
            segment_address(at)
        } else {
            self.nodes[at].address
        }
    }

    fn dial_ends(&mut self, dial: &Dial, after: u64, why: DialFailure) {
        let event = Event::DialEnds {
            node: dial.from,
            run: dial.run,
            dial: dial.dial,
            why,
        };
        self.push(self.now + after, event);
    }

    /// The first packet of a dial arrives, if it does; if not, it was in vain.
    fn connect(&mut self, dial: Dial) {
        let host = self.host(dial.to).filter(|to| self.nodes[*to].is_powered);
        let host = host.filter(|to| self.network.passes_both_ways(dial.from, *to));
        let Some(host) = host.filter(|_| !self.prng.chance(self.network.loss_percent)) else {
            self.dial_ends(&dial, dial.patience, DialFailure::TimedOut);
            return;
        };
        let delay = self.network.delay(&mut self.prng);
        if self.nodes[host].is_alive() {
            self.push(self.now + 2 * delay, Event::Dial(dial, Step::Hello));
        } else {
            self.dial_ends(&dial, delay, DialFailure::Refused);
        }
    }

    /// The caller's hello arrives inside the encryption, and is answered.
    fn hello(&mut self, dial: Dial) {
        let host = self.host(dial.to).unwrap();
        let is_cut = !self.network.passes_both_ways(dial.from, host);
        if is_cut || !self.nodes[host].is_alive() {
            self.dial_ends(&dial, 500, DialFailure::TimedOut);
            return;
        }
        let delay = self.network.delay(&mut self.prng);
        if self.nodes[dial.from].setup.secret != self.nodes[host].setup.secret {
            self.dial_ends(&dial, delay, DialFailure::WrongSecret);
            return;
        }
        let caller = &self.nodes[dial.from];
        if caller.run != dial.run || !caller.is_alive() {
            return; // The caller is dead: its system says so before the hello is answered.
        }
        let observed = [dial.to, self.seen_at(dial.from, dial.to)];
        if let Err(refusal) = self.admit(host, dial.from, observed[1]) {
            let why = match refusal {
                Refusal::Itself => DialFailure::Itself,
                Refusal::NotAccepted => DialFailure::NotAccepted,
                Refusal::NameTaken { by } => DialFailure::NameTaken { by },
                Refusal::Duplicate => DialFailure::Duplicate,
                Refusal::NotReady => DialFailure::NotReady,
            };
            self.dial_ends(&dial, delay, why);
            return;
        }
        self.last_pipe += 1;
        let (id, host_run) = (self.last_pipe, self.nodes[host].run);
        let ends = [
            End::new(dial.from, dial.run, self.now),
            End::new(host, host_run, self.now),
        ];
        let pipe = Pipe {
            ends,
            cards: [self.nodes[dial.from].card(), self.nodes[host].card()],
            observed,
            dial: dial.dial,
        };
        self.pipes.insert(id, pipe);
        self.send(id, 1, Parcel::Hello);
        self.push(self.now + HELLO_MS, Event::HelloOverdue(id));
        self.link_up(id, 1);
    }

    fn hello_overdue(&mut self, id: u64) {
        let pipe = self.pipes.get_mut(&id).unwrap();
        let end = &mut pipe.ends[0];
        if end.state == EndState::Opening {
            end.state = EndState::Gone;
            let (node, run, dial) = (end.node, end.run, pipe.dial);
            if self.nodes[node].run == run && self.nodes[node].is_alive() {
                let why = DialFailure::TimedOut;
                self.feed(node, ClusterInput::DialFailed { dial, why });
            }
        }
    }

    fn admit(&mut self, host: usize, caller: usize, observed: SocketAddr) -> Result<(), Refusal> {
        let clock = self.nodes[host].clock(self.now);
        let card = self.nodes[caller].card();
        let mut out = Vec::new();
        let cluster = self.nodes[host].cluster.as_mut().unwrap();
        let answer = cluster.admit(clock, &card, observed, &mut out);
        self.obey(host, out);
        self.schedule_tick(host);
        answer
    }

    fn link_up(&mut self, id: u64, end: usize) {
        let pipe = self.pipes.get_mut(&id).unwrap();
        let (node, other) = (pipe.ends[end].node, pipe.ends[1 - end].node);
        let now = self.now;
        let this = &mut pipe.ends[end];
        this.state = EndState::Up;
        (this.up_at, this.heard_at, this.said_at) = (now, now, now);
        let dialled = (end == 0).then_some(pipe.dial);
        let (card, observed) = (pipe.cards[1 - end].clone(), pipe.observed[end]);
        self.note(node, || format!("link to {other}"));
        let input = ClusterInput::LinkUp {
            link: LinkId(id),
            dialled,
            card,
            observed,
        };
        self.push(now + HEARTBEAT_MS, Event::Watch { pipe: id, end });
        self.feed(node, input);
    }

    /// Numbers of the pipes whose end at a node is up.
    fn pipes_of(&self, at: usize) -> Vec<u64> {
        let is_up = |pipe: &Pipe| pipe.ends.iter().any(|end| end.node == at && end.is_up());
        let pipes = self.pipes.iter().filter(|(_, pipe)| is_up(pipe));
        pipes.map(|(id, _)| *id).collect()
    }

    fn end_of(&self, at: usize, id: u64) -> Option<usize> {
        let pipe = self.pipes.get(&id)?;
        (0..2).find(|end| pipe.ends[*end].node == at && pipe.ends[*end].is_up())
    }

    fn say(&mut self, at: usize, id: u64, parcel: Parcel) {
        if let Some(end) = self.end_of(at, id) {
            let this = &mut self.pipes.get_mut(&id).unwrap().ends[end];
            this.said_at = self.now;
            let later = std::mem::take(&mut this.later);
            for parcel in later.into_iter().chain([parcel]) {
                self.send(id, end, parcel);
            }
        }
    }

    /// Goes with what is said next.
    fn say_later(&mut self, at: usize, id: u64, parcel: Parcel) {
        if let Some(end) = self.end_of(at, id) {
            let pipe = self.pipes.get_mut(&id).unwrap();
            pipe.ends[end].later.push(parcel);
        }
    }

    fn close(&mut self, at: usize, id: u64) {
        if let Some(end) = self.end_of(at, id) {
            self.pipes.get_mut(&id).unwrap().ends[end].state = EndState::Gone;
            self.send(id, end, Parcel::Close(LinkEnd::Closed));
        }
    }

    /// Sends from an end to the other: in order, later if something is lost, and not before the
    /// network is whole.
    fn send(&mut self, id: u64, from: usize, parcel: Parcel) {
        let mut delay = self.network.delay(&mut self.prng);
        if self.prng.chance(self.network.loss_percent) {
            delay += 200;
        }
        let pipe = self.pipes.get_mut(&id).unwrap();
        let (node, other) = (pipe.ends[from].node, pipe.ends[1 - from].node);
        let end = &mut pipe.ends[from];
        if !self.network.passes(node, other) || !end.held.is_empty() {
            end.held.push(parcel);
            return;
        }
        end.arrives_at = end.arrives_at.max(self.now + delay);
        let event = Event::Parcel {
            pipe: id,
            to: 1 - from,
            parcel,
        };
        self.push(self.pipes[&id].ends[from].arrives_at, event);
    }

    fn parcel(&mut self, id: u64, to: usize, parcel: Parcel) {
        let (node, state) = (
            self.pipes[&id].ends[to].node,
            self.pipes[&id].ends[to].state,
        );
        if state == EndState::Opening && matches!(parcel, Parcel::Hello) {
            self.link_up(id, to);
            return;
        }
        if state != EndState::Up {
            // Nobody listens: a reset comes back, unless the machine is dead.
            if self.nodes[node].is_powered && !matches!(parcel, Parcel::Close(_)) {
                self.send(id, to, Parcel::Close(LinkEnd::Reset));
            }
            return;
        }
        let link = LinkId(id);
        let end = &mut self.pipes.get_mut(&id).unwrap().ends[to];
        let silence = Duration::from_millis(self.now - end.heard_at);
        end.heard_at = self.now;
        if std::mem::take(&mut end.is_quiet) {
            self.feed(node, ClusterInput::LinkLively { link });
        }
        match parcel {
            Parcel::Hello => {}
            Parcel::Members(bytes) => self.feed(node, ClusterInput::MemberFrame { link, bytes }),
            Parcel::Heartbeat(bytes) => {
                self.feed(node, ClusterInput::Heartbeat { link, bytes });
            }
            Parcel::Close(reason) => {
                self.pipes.get_mut(&id).unwrap().ends[to].state = EndState::Gone;
                self.feed(
                    node,
                    ClusterInput::LinkDown {
                        link,
                        reason,
                        silence,
                    },
                );
            }
        }
    }

    fn watch(&mut self, id: u64, end: usize) {
        let Some(pipe) = self.pipes.get(&id) else {
            return;
        };
        let (this, run) = (&pipe.ends[end], pipe.ends[end].run);
        let node = this.node;
        if !self.nodes[node].is_alive() || self.nodes[node].run != run {
            return;
        }
        if !this.is_up() {
            return;
        }
        let (link, silence, idle) = (
            LinkId(id),
            self.now - this.heard_at,
            self.now - this.said_at,
        );
        if silence >= SILENT_MS {
            self.pipes.get_mut(&id).unwrap().ends[end].state = EndState::Gone;
            self.send(id, end, Parcel::Close(LinkEnd::Reset));
            let (reason, silence) = (LinkEnd::Silent, Duration::from_millis(silence));
            let down = ClusterInput::LinkDown {
                link,
                reason,
                silence,
            };
            self.feed(node, down);
            return;
        }
        if silence >= QUIET_MS && !this.is_quiet {
            self.pipes.get_mut(&id).unwrap().ends[end].is_quiet = true;
            self.feed(node, ClusterInput::LinkQuiet { link });
        }
        if idle >= HEARTBEAT_MS {
            let bytes = self.nodes[node].heartbeat.clone();
            self.say(node, id, Parcel::Heartbeat(bytes));
        }
        let this = &self.pipes[&id].ends[end];
        let patience = if this.is_quiet { SILENT_MS } else { QUIET_MS };
        let next = (this.said_at + HEARTBEAT_MS).min(this.heard_at + patience);
        self.push(next.max(self.now + 1), Event::Watch { pipe: id, end });
    }
}
