//! One core of the cluster, and whatever beacons, links and frames may do to it: its tables stay within
//! their caps, time goes on, and subscribers are told of each change once.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use waymesh::{
    base::time::Instant,
    cluster::proto::{
        Beacon, BeaconKeys, BeaconKind, Cluster, ClusterConfig, ClusterEvent, ClusterInput,
        ClusterOutput, ConnectMode, DialId, Forgotten, Incarnation, InterfaceIndex, LinkId,
        MinConnections, NameMatch, NodeCard, NodeName, Nonce, Roles, RunNumber, SocketPlace,
        Transport, ViewDigest,
        link::outcome::{CloseReason, DialFailure, LinkEnd},
    },
    types::ids::NodeId,
};

use super::choices::Choices;

const MEMBERS_MAX: usize = 8;

/// Links of one node that are kept.
const LINKS_OF_ONE_MAX: usize = 4;

/// Identity of the core itself, amid those of others.
const OWN: u64 = 5;

/// Identities and names that there are.
const IDS: usize = 12;

const DEEDS_MAX: usize = 300;

/// Deadlines at one moment after which time stands still.
const TURNS_MAX: u32 = 50;

/// A core, and what is known of it.
struct Node {
    cluster: Cluster,
    keys: BeaconKeys,
    now: Instant,
    n_links: u64,
    nonces: Vec<u64>,
    dials: Vec<DialId>,
    told: BTreeMap<NodeId, NodeName>,
}

/// The input is a list of deeds.
pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut node = Node::new(choices.byte());
    for _ in 0..DEEDS_MAX {
        let deed = choices.byte();
        if deed == 0 {
            break;
        }
        node.suffer(deed, &mut choices);
        node.check();
    }
    // Whatever happened, time goes on.
    node.wait(Duration::from_secs(30));
    node.check();
}

fn id(choices: &mut Choices<'_>) -> NodeId {
    NodeId(choices.below(IDS) as u64)
}

/// Mostly its own, at times that of another.
fn name(id: NodeId, choices: &mut Choices<'_>) -> NodeName {
    let choice = u64::from(choices.byte());
    let number = if choice < 200 { id.0 } else { choice % 4 + 4 };
    NodeName::parse(&format!("n{number}")).expect("a name")
}

fn address(id: NodeId) -> SocketAddr {
    let last = u8::try_from(id.0 % 200).expect("below 256");
    SocketAddr::new(IpAddr::from([192, 0, 2, last]), 5_001)
}

fn card(choices: &mut Choices<'_>) -> NodeCard {
    let id = id(choices);
    NodeCard {
        id,
        name: name(id, choices),
        incarnation: Incarnation(choices.below(3) as u64),
        run: RunNumber(choices.below(3) as u64),
        roles: Roles {
            is_ingest: true,
            is_store: choices.byte() < 128,
        },
        link: SocketAddr::from(([0, 0, 0, 0], 5_001)),
        http: None,
    }
}

const PLACE: SocketPlace = SocketPlace {
    interface: InterfaceIndex(1),
    transport: Transport::Multicast,
};

impl Node {
    fn new(choice: u8) -> Self {
        let cluster = NodeName::parse("waymesh").expect("a name");
        let keys = BeaconKeys::new(&["secret"], &cluster);
        let own = NodeName::parse(&format!("n{OWN}")).expect("a name");
        let config = ClusterConfig {
            card: NodeCard {
                id: NodeId(OWN),
                name: own,
                incarnation: Incarnation(1),
                run: RunNumber(1),
                roles: Roles {
                    is_ingest: true,
                    is_store: true,
                },
                link: SocketAddr::from(([0, 0, 0, 0], 5_001)),
                http: None,
            },
            keys: keys.clone(),
            advertised: None,
            ping_interval: Duration::from_secs(10),
            min_connections: match choice & 3 {
                0 => MinConnections::AtLeast(1),
                _ => MinConnections::All,
            },
            connect: NameMatch::All,
            accept: NameMatch::All,
            connect_mode: match choice & 4 {
                0 => ConnectMode::Visible,
                _ => ConnectMode::Hidden,
            },
            is_active: true,
            peers: Vec::new(),
            members_max: MEMBERS_MAX,
            remembered: Vec::new(),
            seed: 1,
        };
        let now = Instant::from_millis(0);
        let mut node = Self {
            cluster: Cluster::new(now, config),
            keys,
            now,
            n_links: 0,
            nonces: Vec::new(),
            dials: Vec::new(),
            told: BTreeMap::new(),
        };
        node.tell(ClusterInput::SocketOpened(PLACE));
        node
    }

    fn suffer(&mut self, deed: u8, choices: &mut Choices<'_>) {
        match deed % 16 {
            0 | 1 => self.wait(Duration::from_millis(choices.number() as u64)),
            2 => self.wait(Duration::from_millis(u64::from(choices.byte()))),
            3 | 4 => self.hear_beacon(choices),
            5 => {
                let n_bytes = choices.number() % 600;
                self.hear(Bytes::copy_from_slice(choices.bytes(n_bytes)), NodeId(3));
            }
            6 | 7 => self.link(choices),
            8 => self.lose_link(choices),
            9 => self.fail_dial(choices),
            10 => self.ask_in(choices),
            11 => self.order(choices),
            12 => self.change_quiet(choices),
            13 => {
                let (link, n_bytes) = (self.link_of(choices), choices.number() % 400);
                let bytes = Bytes::copy_from_slice(choices.bytes(n_bytes));
                self.tell(ClusterInput::MemberFrame { link, bytes });
            }
            14 => {
                let (link, bytes) = (self.link_of(choices), said(choices).into());
                self.tell(ClusterInput::MemberFrame { link, bytes });
            }
            _ => {
                let (link, n_bytes) = (self.link_of(choices), choices.below(24));
                let bytes = Bytes::copy_from_slice(choices.bytes(n_bytes));
                self.tell(ClusterInput::Heartbeat { link, bytes });
            }
        }
    }

    fn tell(&mut self, input: ClusterInput) {
        let mut out = Vec::new();
        self.cluster.handle(self.now, input, &mut out);
        self.note(out);
    }

    fn note(&mut self, out: Vec<ClusterOutput>) {
        for output in out {
            match output {
                ClusterOutput::SendBeacon { bytes, .. } => {
                    let beacon = Beacon::read(&bytes, &self.keys).expect("a beacon of its own");
                    self.nonces.push(beacon.kind.nonce().0);
                }
                ClusterOutput::Dial { dial, .. } | ClusterOutput::DialName { dial, .. } => {
                    self.dials.push(dial);
                }
                ClusterOutput::Remember(members) => assert!(members.len() <= MEMBERS_MAX),
                ClusterOutput::Notify(ClusterEvent::NodeUp(node)) => {
                    let known = self.told.insert(node.id, node.name);
                    assert_eq!(known, None, "told twice that it is up");
                }
                ClusterOutput::Notify(ClusterEvent::NodeDown(node, _)) => {
                    let known = self.told.remove(&node.id);
                    assert_eq!(known, Some(node.name), "told of the end of what was up");
                }
                _ => {}
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut n_turns = 0;
        while let Some(next) = self.cluster.next_deadline().filter(|next| *next <= end) {
            n_turns = if next > self.now { 0 } else { n_turns + 1 };
            assert!(n_turns < TURNS_MAX, "time stands still");
            self.now = self.now.max(next);
            self.tell(ClusterInput::Tick);
        }
        self.now = end;
    }

    fn hear_beacon(&mut self, choices: &mut Choices<'_>) {
        let card = card(choices);
        let recent = self.nonces.len().checked_sub(1 + choices.below(4));
        let recent = recent.and_then(|at| self.nonces.get(at).copied());
        let nonce = Nonce(match choices.byte() {
            fresh @ 0..128 => u64::from(fresh),
            _ => recent.unwrap_or_default(),
        });
        let pinger = NodeId(match choices.byte() {
            0..128 => OWN,
            _ => id(choices).0,
        });
        let kind = match choices.below(3) {
            0 => BeaconKind::Ping(nonce),
            1 => BeaconKind::Pong { nonce, pinger },
            _ => BeaconKind::Beat(nonce),
        };
        let flags = choices.byte();
        let beacon = Beacon {
            kind,
            id: card.id,
            name: card.name,
            incarnation: card.incarnation,
            run: card.run,
            is_settled: flags < 128,
            wants_few: flags % 2 == 1,
            digest: ViewDigest(u64::from(choices.byte())),
            link_port: 5_001,
            advertised: None,
        };
        self.hear(beacon.to_bytes(&self.keys), card.id);
    }

    fn hear(&mut self, bytes: Bytes, from: NodeId) {
        let mut from = address(from);
        from.set_port(50_337);
        self.tell(ClusterInput::Datagram {
            bytes,
            from,
            interface: PLACE.interface,
            transport: PLACE.transport,
        });
    }

    fn link(&mut self, choices: &mut Choices<'_>) {
        let dialled = self.dials.pop().filter(|_| choices.byte() < 128);
        let card = card(choices);
        self.n_links += 1;
        self.tell(ClusterInput::LinkUp {
            link: LinkId(self.n_links),
            dialled,
            observed: address(card.id),
            card,
        });
    }

    /// One of those that stand or stood.
    fn link_of(&self, choices: &mut Choices<'_>) -> LinkId {
        LinkId(self.n_links.saturating_sub(choices.below(8) as u64))
    }

    fn lose_link(&mut self, choices: &mut Choices<'_>) {
        let link = self.link_of(choices);
        let reason = match choices.below(5) {
            0 => LinkEnd::Closed,
            1 => LinkEnd::Reset,
            2 => LinkEnd::Silent,
            3 => LinkEnd::ClosedFor(CloseReason::Leaving),
            _ => LinkEnd::Protocol("rubbish"),
        };
        self.tell(ClusterInput::LinkDown {
            link,
            reason,
            silence: Duration::from_millis(choices.number() as u64),
        });
    }

    fn fail_dial(&mut self, choices: &mut Choices<'_>) {
        let Some(dial) = self.dials.pop() else {
            return;
        };
        let why = match choices.below(8) {
            0 => DialFailure::Refused,
            1 => DialFailure::TimedOut,
            2 => DialFailure::NotAccepted,
            3 => DialFailure::Duplicate,
            4 => DialFailure::NameTaken {
                by: address(id(choices)),
            },
            5 => DialFailure::Itself,
            6 => DialFailure::NotReady,
            _ => DialFailure::Broken,
        };
        self.tell(ClusterInput::DialFailed { dial, why });
    }

    fn ask_in(&mut self, choices: &mut Choices<'_>) {
        let card = card(choices);
        let mut out = Vec::new();
        let answer = self
            .cluster
            .admit(self.now, &card, address(card.id), &mut out);
        assert!(answer.is_err() || card.id != NodeId(OWN) || card.run != RunNumber(1));
        self.note(out);
    }

    fn order(&mut self, choices: &mut Choices<'_>) {
        let input = match choices.below(8) {
            0 => ClusterInput::Pause,
            1 => ClusterInput::Resume,
            2 => ClusterInput::Health { is_storing: false },
            3 => ClusterInput::Health { is_storing: true },
            4 => ClusterInput::SocketClosed(PLACE),
            5 => ClusterInput::SocketOpened(PLACE),
            6 => ClusterInput::Leave,
            _ => ClusterInput::Forget(Forgotten::Id(id(choices))),
        };
        self.tell(input);
    }

    fn change_quiet(&mut self, choices: &mut Choices<'_>) {
        let link = self.link_of(choices);
        self.tell(match choices.below(2) {
            0 => ClusterInput::LinkQuiet { link },
            _ => ClusterInput::LinkLively { link },
        });
    }

    fn check(&self) {
        let sizes = self.cluster.sizes();
        assert!(sizes.n_members <= MEMBERS_MAX);
        assert!(sizes.n_links <= LINKS_OF_ONE_MAX * MEMBERS_MAX);
        assert!(
            sizes.n_peers <= 2 * MEMBERS_MAX + sizes.n_links,
            "{sizes:?}"
        );
        assert!(sizes.n_senders <= 256 && sizes.n_nonces <= 1_024);
        let announced = self.cluster.announced();
        let announced: BTreeMap<NodeId, NodeName> = announced
            .into_iter()
            .map(|node| (node.id, node.name))
            .collect();
        assert_eq!(
            announced, self.told,
            "who asks now is told what others were told"
        );
        assert!(self.cluster.members().len() <= sizes.n_members + 1);
        for (peer, _) in self.cluster.usable_links() {
            assert_ne!(peer, NodeId(OWN));
        }
    }
}

/// A table, a part of one, a change or a report, as the wire has it.
fn said(choices: &mut Choices<'_>) -> Vec<u8> {
    let kind = u8::try_from(choices.below(3)).expect("below 3");
    let n_items = u8::try_from(choices.below(12)).expect("below 12");
    let mut bytes = vec![kind, n_items];
    for number in 0..n_items {
        if kind == 2 {
            let n_hops = choices.byte();
            bytes.extend([number, if n_hops < 250 { n_hops % 10 } else { n_hops }]);
        } else {
            record(&mut bytes, choices);
        }
    }
    if kind != 1 {
        bytes.push(choices.byte() & 1);
    }
    bytes
}

/// All numbers in it are below 128: one byte each.
fn record(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let id = id(choices);
    let name = name(id, choices);
    bytes.push(u8::try_from(id.0).expect("a small number"));
    bytes.push(u8::try_from(name.as_str().len()).expect("a short name"));
    bytes.extend(name.as_str().bytes());
    let mut below = |bound: u8| choices.byte() % bound;
    let (incarnation, refutation, standing) = (below(3), below(3), below(4));
    bytes.extend([incarnation, refutation, standing, below(3), below(6)]);
    bytes.extend([1, below(2), 0, 0]);
}
