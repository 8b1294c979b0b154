//! One node of the world: its machine's clock, its process, and what its subscribers were told.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use waymesh::{
    base::time::Instant,
    cluster::proto::{
        BeaconKeys, Cluster, ClusterConfig, ClusterInput, ConnectMode, Incarnation, InterfaceIndex,
        MinConnections, NameMatch, NodeCard, NodeName, PeerAddress, RememberedMember, Roles,
        RunNumber, SocketPlace, Transport,
    },
    types::ids::NodeId,
};

/// The one network of the world.
pub(crate) const PLACE: SocketPlace = SocketPlace {
    interface: InterfaceIndex(2),
    transport: Transport::Multicast,
};

/// What differs between nodes.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) ping_interval: Duration,
    pub(crate) min_connections: MinConnections,
    pub(crate) connect: NameMatch,
    pub(crate) accept: NameMatch,
    pub(crate) connect_mode: ConnectMode,
    pub(crate) peers: Vec<PeerAddress>,
    pub(crate) has_multicast: bool,
    pub(crate) secret: &'static str,
}

impl Setup {
    pub(crate) fn new(id: u64, name: &str) -> Self {
        Self {
            id: NodeId(id),
            name: name.to_owned(),
            ping_interval: Duration::from_secs(10),
            min_connections: MinConnections::All,
            connect: NameMatch::All,
            accept: NameMatch::All,
            connect_mode: ConnectMode::Visible,
            peers: Vec::new(),
            has_multicast: true,
            secret: "secret",
        }
    }
}

/// A machine with, most of the time, a process on it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) setup: Setup,
    pub(crate) address: SocketAddr,
    /// Gone while the process is dead.
    pub(crate) cluster: Option<Cluster>,
    /// Of the data folder.
    pub(crate) incarnation: u64,
    /// Of the data folder, too.
    pub(crate) remembered: Vec<RememberedMember>,
    pub(crate) run: u64,
    /// When the process last started.
    pub(crate) started: u64,
    pub(crate) is_powered: bool,
    /// While the process is stopped: until when.
    pub(crate) stopped_until: Option<u64>,
    pub(crate) heartbeat: Bytes,
    /// What the core is to take in.
    pub(crate) inputs: Vec<ClusterInput>,
    /// Runs that subscribers were told are up.
    pub(crate) told_up: BTreeMap<NodeId, Incarnation>,
    pub(crate) is_refused: bool,
    pub(crate) is_leaving: bool,
    /// When datagrams left, by kind, within the last second.
    pub(crate) sent: VecDeque<u64>,
    pub(crate) dialled: VecDeque<u64>,
    /// The tick that counts: the earliest scheduled.
    pub(crate) tick_at: Option<u64>,
    /// Parts per million that the clock runs fast.
    drift: i64,
    clock_offset: u64,
}

impl Node {
    pub(crate) fn new(setup: Setup, address: SocketAddr, drift: i64, clock_offset: u64) -> Self {
        Self {
            setup,
            address,
            cluster: None,
            incarnation: 0,
            remembered: Vec::new(),
            run: 0,
            started: 0,
            is_powered: true,
            stopped_until: None,
            heartbeat: Bytes::new(),
            inputs: Vec::new(),
            told_up: BTreeMap::new(),
            is_refused: false,
            is_leaving: false,
            sent: VecDeque::new(),
            dialled: VecDeque::new(),
            tick_at: None,
            drift,
            clock_offset,
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.cluster.is_some()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped_until.is_some()
    }

    /// Starts the process: one more incarnation, another run.
    pub(crate) fn start(&mut self, now: u64, run: u64, seed: u64) {
        self.incarnation += 1;
        self.run = run;
        self.started = now;
        self.is_powered = true;
        self.stopped_until = None;
        self.told_up.clear();
        self.is_refused = false;
        self.is_leaving = false;
        self.tick_at = None;
        let config = self.config(seed);
        self.cluster = Some(Cluster::new(self.clock(now), config));
    }

    /// What this machine's clock shows.
    pub(crate) fn clock(&self, now: u64) -> Instant {
        let drifted = i128::from(now) * i128::from(1_000_000 + self.drift) / 1_000_000;
        Instant::from_millis(self.clock_offset + u64::try_from(drifted).unwrap())
    }

    /// When this machine's clock shows a time, or has passed it.
    pub(crate) fn when(&self, clock: Instant) -> u64 {
        let drifted = clock.as_millis().saturating_sub(self.clock_offset);
        let mut now =
            u64::try_from(i128::from(drifted) * 1_000_000 / i128::from(1_000_000 + self.drift))
                .unwrap();
        while self.clock(now) < clock {
            now += 1;
        }
        now
    }

    pub(crate) fn card(&self) -> NodeCard {
        NodeCard {
            id: self.setup.id,
            name: NodeName::parse(&self.setup.name).unwrap(),
            incarnation: Incarnation(self.incarnation),
            run: RunNumber(self.run),
            roles: Roles {
                is_ingest: true,
                is_store: true,
            },
            link: SocketAddr::new([0, 0, 0, 0].into(), self.address.port()),
            http: None,
        }
    }

    fn config(&self, seed: u64) -> ClusterConfig {
        let cluster = NodeName::parse("sim").unwrap();
        ClusterConfig {
            card: self.card(),
            keys: BeaconKeys::new(&[self.setup.secret], &cluster),
            advertised: None,
            ping_interval: self.setup.ping_interval,
            min_connections: self.setup.min_connections,
            connect: self.setup.connect.clone(),
            accept: self.setup.accept.clone(),
            connect_mode: self.setup.connect_mode,
            is_active: true,
            peers: self.setup.peers.clone(),
            members_max: 64,
            remembered: self.remembered.clone(),
            seed,
        }
    }
}
