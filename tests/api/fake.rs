//! Answers made up for tests, and a server that gives them.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Notify, broadcast, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use waymesh::{
    api::{
        AnswerError, Answers, ApiConfig, Changes, ChangesEnd, Export, ExportQuestion,
        TrackQuestion, VehiclesQuestion, serve,
    },
    base::accept::Accept,
    metrics::Metrics,
    types::{
        attributes::{Attributes, Value},
        cluster::{
            Discovery, Member, MemberChange, MemberState, Members, Moment, NodeNews, Peer, Place,
            PlaceState, Role, SearchPhase, Sender,
        },
        dial::DialAddress,
        ids::{NodeId, VehicleId},
        key::position_hash,
        number::{Degrees, Milli},
        record::{Body, Fix, Flags, Kind, Record, RecordKey},
        status::{Addresses, NodeStatus, Page, Readiness, VehicleAnswer},
        time::UnixMillis,
    },
};

pub type Batch = Result<Vec<Record>, AnswerError>;

#[derive(Clone)]
pub struct Fake(Arc<State>);

pub struct State {
    pub records: Vec<Record>,
    pub missing: Vec<String>,
    pub conditions: Vec<(&'static str, bool)>,
    /// Every question is answered by this.
    pub error: Option<AnswerError>,
    /// Questions wait for this before they are answered.
    pub gate: Option<Arc<Notify>>,
    /// A question that waits at the gate says so here.
    pub asked: Arc<Notify>,
    /// What an export gives instead of the records; its sender is dropped after the last.
    pub batches: Mutex<Option<Vec<Batch>>>,
    /// An export never ends; this is notified when its reader is gone.
    pub endless: Option<Arc<Notify>>,
    pub live: broadcast::Sender<Arc<[Record]>>,
    /// What happens to the members.
    pub changes: broadcast::Sender<MemberChange>,
    /// What was ordered, in a few words each.
    pub orders: Mutex<Vec<String>>,
    /// Every question panics.
    pub is_panicking: bool,
    /// `live` has no place left.
    pub is_live_full: bool,
    pub exported: Mutex<Vec<ExportQuestion>>,
    pub tracked: Mutex<Vec<TrackQuestion>>,
    pub listed: Mutex<Vec<VehiclesQuestion>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            missing: Vec::new(),
            conditions: vec![("store", true), ("vehicles", true)],
            error: None,
            gate: None,
            asked: Arc::default(),
            batches: Mutex::default(),
            endless: None,
            live: broadcast::Sender::new(2),
            changes: broadcast::Sender::new(2),
            orders: Mutex::default(),
            is_panicking: false,
            is_live_full: false,
            exported: Mutex::default(),
            tracked: Mutex::default(),
            listed: Mutex::default(),
        }
    }
}

impl State {
    pub fn with_records(records: Vec<Record>) -> Self {
        Self {
            records,
            ..Self::default()
        }
    }

    fn failure(&self) -> Result<(), AnswerError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    async fn pass(&self) -> Result<(), AnswerError> {
        assert!(!self.is_panicking, "a test's panic");
        if let Some(gate) = &self.gate {
            self.asked.notify_one();
            gate.notified().await;
        }
        self.failure()
    }

    fn note(&self, order: String) {
        self.orders.lock().unwrap().push(order);
    }

    fn page(
        &self,
        records: Vec<&Record>,
        limit: usize,
        next: fn(&Record) -> String,
    ) -> Page<Record> {
        let items: Vec<_> = records.iter().take(limit).map(|r| (*r).clone()).collect();
        let has_more = records.len() > limit;
        Page {
            next: items.last().filter(|_| has_more).map(next),
            items,
            missing: self.missing.clone(),
        }
    }
}

impl Answers for Fake {
    fn status(&self) -> NodeStatus {
        NodeStatus {
            name: "alpha".to_owned(),
            id: NodeId(0xabc),
            version: "0.1.0",
            incarnation: 3,
            cluster: "waymesh".to_owned(),
            addresses: Addresses {
                vehicles: vec![address(5000), address(5010)],
                link: Some(address(5001)),
                http: Some(address(8080)),
            },
            uptime: Duration::from_millis(65_900),
            epoch: 0x1f,
            counts: BTreeMap::from([("connections", 2), ("lines_received", 17)]),
            readiness: Readiness(self.0.conditions.clone()),
        }
    }

    async fn nodes(&self) -> Result<Members, AnswerError> {
        self.0.failure()?;
        let member = |name: &str, id, state: MemberState| Member {
            name: name.to_owned(),
            reason: (!state.is_present()).then_some("silent"),
            state,
            id: NodeId(id),
            link: Some(address(5001)),
            http: None,
            incarnation: 3,
            roles: vec![Role::Ingest, Role::Store],
            since: time(0),
            owned_shards: 4096,
            matches: true,
            linked: false,
        };
        Ok(Members {
            self_name: "alpha".to_owned(),
            epoch: 0x1f,
            members: vec![
                member("alpha", 0xabc, MemberState::Up),
                member("beta", 0xdef, MemberState::Down),
            ],
        })
    }

    type Changes = FakeChanges;

    async fn changes(&self, is_all: bool) -> Result<FakeChanges, AnswerError> {
        self.0.failure()?;
        let changes = self.0.changes.subscribe();
        let all = is_all.then(|| up("hidden", "present"));
        Ok(FakeChanges {
            present: all.into_iter().chain([up("alpha", "present")]).collect(),
            changes,
        })
    }

    async fn discovery(&self) -> Result<Discovery, AnswerError> {
        self.0.failure()?;
        let moment = |seconds: u64| Moment {
            at: time(0),
            ago: Duration::from_secs(seconds),
        };
        Ok(Discovery {
            phase: SearchPhase::Resting,
            places: vec![Place {
                interface: "eth0".to_owned(),
                transport: "multicast",
                state: PlaceState::Open,
                address: [10, 0, 0, 7].into(),
                to: ([239, 192, 0, 1], 50337).into(),
                own_heard: Some(moment(3)),
                others_heard: None,
                n_reopens: 1,
                n_received: 5,
                n_sent: 6,
                n_unsent: 0,
                n_too_long: 0,
                trouble: None,
            }],
            senders: vec![Sender {
                from: ([10, 0, 0, 8], 50337).into(),
                name: Some("beta".to_owned()),
                heard: moment(1),
                verdict: "wrong secret".to_owned(),
            }],
            peers: vec![Peer {
                address: "gate-1:5001".to_owned(),
                node: None,
                verdict: "refused".to_owned(),
            }],
        })
    }

    async fn search(&self, is_active: bool) -> Result<SearchPhase, AnswerError> {
        self.0.failure()?;
        self.0.note(format!("search {is_active}"));
        Ok(if is_active {
            SearchPhase::Searching
        } else {
            SearchPhase::Paused
        })
    }

    async fn dial(&self, address: DialAddress) -> Result<Peer, AnswerError> {
        self.0.failure()?;
        self.0.note(format!("dial {address}"));
        Ok(Peer {
            address: address.to_string(),
            node: None,
            verdict: "dialling".to_owned(),
        })
    }

    async fn ping(&self, node: &str) -> Result<Duration, AnswerError> {
        self.0.failure()?;
        self.0.note(format!("ping {node}"));
        Ok(Duration::from_nanos(1_234_567))
    }

    async fn forget(&self, node: &str) -> Result<(), AnswerError> {
        self.0.failure()?;
        self.0.note(format!("forget {node}"));
        Ok(())
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }

    async fn vehicles(&self, question: VehiclesQuestion) -> Result<Page<Record>, AnswerError> {
        self.0.pass().await?;
        self.0.listed.lock().unwrap().push(question.clone());
        let mut last: BTreeMap<&str, &Record> = BTreeMap::new();
        for record in &self.0.records {
            last.insert(record.key.vehicle.as_str(), record);
        }
        let after = question.after.unwrap_or_default();
        let records = last
            .into_iter()
            .filter(|(vehicle, _)| *vehicle > after.as_str());
        Ok(self.0.page(
            records.map(|(_, record)| record).collect(),
            question.limit,
            |record| record.key.vehicle.to_string(),
        ))
    }

    async fn vehicle(&self, vehicle: VehicleId) -> Result<VehicleAnswer, AnswerError> {
        self.0.pass().await?;
        let of_vehicle = |record: &&Record| record.key.vehicle == vehicle;
        Ok(VehicleAnswer {
            position: self.0.records.iter().rfind(of_vehicle).cloned(),
            owner: "alpha".to_owned(),
            connected_to: None,
            missing: self.0.missing.clone(),
        })
    }

    async fn track(&self, question: TrackQuestion) -> Result<Page<Record>, AnswerError> {
        self.0.pass().await?;
        self.0.tracked.lock().unwrap().push(question.clone());
        let after = match &question.after {
            Some(after) => after.parse().map_err(|_| AnswerError::BadCursor)?,
            None => i64::MIN,
        };
        let records =
            self.0.records.iter().filter(|record| {
                record.key.vehicle == question.vehicle && record.key.time.0 > after
            });
        Ok(self.0.page(records.collect(), question.limit, |record| {
            record.key.time.0.to_string()
        }))
    }

    async fn export(&self, question: ExportQuestion) -> Result<Export, AnswerError> {
        self.0.pass().await?;
        if !question.is_partial && !self.0.missing.is_empty() {
            return Err(AnswerError::Missing(self.0.missing.clone()));
        }
        self.0.exported.lock().unwrap().push(question);
        let (sender, receiver) = mpsc::channel(1);
        let whole = || vec![Ok(self.0.records.clone()), Ok(Vec::new())];
        let batches = self.0.batches.lock().unwrap().take().unwrap_or_else(whole);
        let endless = self.0.endless.clone();
        tokio::spawn(async move {
            for batch in batches {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
            if let Some(gone) = endless {
                let batch: Vec<_> = (0..1_000).map(|n| position("1", n)).collect();
                while sender.send(Ok(batch.clone())).await.is_ok() {}
                gone.notify_one();
            }
        });
        Ok(Export {
            batches: receiver,
            missing: self.0.missing.clone(),
        })
    }

    type Live = broadcast::Receiver<Arc<[Record]>>;

    fn live(&self) -> Option<broadcast::Receiver<Arc<[Record]>>> {
        (!self.0.is_live_full).then(|| self.0.live.subscribe())
    }
}

/// What a subscriber of events gets.
pub struct FakeChanges {
    present: VecDeque<MemberChange>,
    changes: broadcast::Receiver<MemberChange>,
}

impl Changes for FakeChanges {
    async fn next(&mut self) -> Result<MemberChange, ChangesEnd> {
        if let Some(change) = self.present.pop_front() {
            return Ok(change);
        }
        self.changes.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(n_changes) => ChangesEnd::Lagged(n_changes),
            broadcast::error::RecvError::Closed => ChangesEnd::Over,
        })
    }
}

pub fn up(name: &str, reason: &'static str) -> MemberChange {
    MemberChange::Up(news(name, reason))
}

pub fn news(name: &str, reason: &'static str) -> NodeNews {
    NodeNews {
        name: name.to_owned(),
        id: NodeId(0xabc),
        incarnation: 3,
        reason,
        at: time(0),
    }
}

/// A server that gives the answers of a [`State`].
pub struct Server {
    pub address: SocketAddr,
    pub state: Arc<State>,
    pub shutdown: CancellationToken,
    pub ended: JoinHandle<()>,
    pub metrics: Metrics,
}

impl Server {
    pub async fn start(state: State) -> Self {
        Self::start_with(state, ApiConfig::default()).await
    }

    pub async fn start_with(state: State, config: ApiConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, state, config)
    }

    pub fn start_on(source: impl Accept, state: State, config: ApiConfig) -> Self {
        let address = source.address().unwrap();
        let state = Arc::new(state);
        let shutdown = CancellationToken::new();
        let answers = Fake(Arc::clone(&state));
        let metrics = Metrics::new();
        let tasks = metrics.tasks.clone();
        let ended = tokio::spawn(serve(source, answers, config, shutdown.clone(), tasks));
        Self {
            address,
            state,
            shutdown,
            ended,
            metrics,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

pub fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// `seconds` after the time in the contract's example.
pub fn time(seconds: i64) -> UnixMillis {
    let start = UnixMillis::parse("2026-11-20T09:05:01Z").unwrap();
    UnixMillis(start.0 + seconds * 1_000)
}

/// The position of the contract's example, of `vehicle` and `seconds` later.
pub fn position(vehicle: &str, seconds: i64) -> Record {
    let fix = Fix {
        latitude: Degrees::from_f64(59.4372).unwrap(),
        longitude: Degrees::from_f64(24.7535).unwrap(),
        valid: true,
        speed_kmh: Milli::from_f64(42.5),
        course_deg: Milli::from_f64(181.0),
        altitude_m: Milli::from_f64(34.0),
        satellites: Some(9),
        hdop: Milli::from_f64(0.9),
    };
    let mut attributes = Attributes::new();
    attributes.insert("ignition", Value::Bool(true));
    Record {
        key: RecordKey {
            vehicle: VehicleId::parse(vehicle.as_bytes()).unwrap(),
            time: time(seconds),
            hash: position_hash(&fix, ""),
        },
        received: UnixMillis(time(seconds).0 + 734),
        protocol: "wialon".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes,
        raw: None,
        body: Body::Position(fix),
    }
}

/// A record without a fix.
pub fn event(vehicle: &str, seconds: i64) -> Record {
    let record = Record {
        body: Body::Event,
        code: "SOS".into(),
        ..position(vehicle, seconds)
    };
    assert_eq!(record.kind(), Kind::Event);
    record
}

/// The contract's example, letter by letter.
pub const EXAMPLE: &str = concat!(
    r#"{"vehicle":"353976013445485","time":"2026-11-20T09:05:01.000Z","lat":59.4372,"#,
    r#""lon":24.7535,"valid":true,"speed_kmh":42.5,"course_deg":181.0,"altitude_m":34.0,"#,
    r#""satellites":9,"hdop":0.9,"protocol":"wialon","received":"2026-11-20T09:05:01.734Z","#,
    r#""late":false,"attributes":{"ignition":true}}"#
);

/// The vehicle of the contract's example.
pub const VEHICLE: &str = "353976013445485";
