//! A listener on loopback, a route that the test holds in its hand, and vehicles that connect.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::mpsc,
};

use super::{
    super::{listener::bind, *},
    toy::Toy,
};
use crate::{
    base::verdict::{Settle, Verdict},
    metrics::Metrics,
};

/// Passes deliveries to the test, or settles them itself.
#[derive(Debug)]
pub(super) struct TestRoute {
    deliveries: mpsc::UnboundedSender<(Vec<i64>, Option<Settle>)>,
    is_settling: bool,
    rejected: Mutex<Vec<(RejectReason, String)>>,
    /// Who said each of these.
    rejected_of: Mutex<Vec<Option<VehicleId>>>,
}

impl Route for TestRoute {
    fn deliver(&self, records: Vec<Record>, settle: Settle) {
        let times = records.iter().map(|record| record.key.time.0).collect();
        let held = if self.is_settling {
            settle.settle(Verdict::Durable);
            None
        } else {
            Some(settle)
        };
        self.deliveries.send((times, held)).unwrap_or_default();
    }

    fn quarantine(&self, line: RejectedLine) {
        let text = String::from_utf8_lossy(&line.line).into_owned();
        self.rejected.lock().unwrap().push((line.reason, text));
        self.rejected_of.lock().unwrap().push(line.vehicle);
    }
}

pub(in super::super) struct Bench {
    pub(super) ingest: Ingest,
    route: Arc<TestRoute>,
    pub(super) deliveries: mpsc::UnboundedReceiver<(Vec<i64>, Option<Settle>)>,
    pub(super) metrics: Metrics,
    pub(super) address: SocketAddr,
}

impl Bench {
    pub(super) fn new(is_settling: bool) -> Self {
        Self::with(is_settling, ReplyPolicy::Stored, IngestConfig::default())
    }

    pub(in super::super) fn with(
        is_settling: bool,
        reply: ReplyPolicy,
        config: IngestConfig,
    ) -> Self {
        let listener = ListenerConfig {
            address: BindAddress::One(([127, 0, 0, 1], 0).into()),
            protocol: None,
            reply,
            idle_timeout: None,
        };
        Self::on(listener, is_settling, config)
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own list of deliveries")]
    pub(super) fn on(listener: ListenerConfig, is_settling: bool, config: IngestConfig) -> Self {
        silence_line_buffers();
        let (sender, deliveries) = mpsc::unbounded_channel();
        let rejected = Mutex::default();
        let route = Arc::new(TestRoute {
            deliveries: sender,
            is_settling,
            rejected,
            rejected_of: Mutex::default(),
        });
        let metrics = Metrics::new();
        let ingest = Ingest::new(IngestParts {
            config,
            protocols: Registry::empty().with(Arc::new(Toy)),
            vehicles: KnownVehicles::default(),
            route: Arc::clone(&route) as Arc<dyn Route>,
            metrics: metrics.ingest.clone(),
            task_metrics: metrics.tasks.clone(),
        });
        let bound = bind(listener.address).unwrap();
        let address = bound.address();
        ingest.listen(bound, listener);
        Self {
            ingest,
            route,
            deliveries,
            metrics,
            address,
        }
    }

    /// Listens on a port more; its address.
    pub(super) fn listen_too(&self) -> SocketAddr {
        let listener = ListenerConfig {
            address: BindAddress::One(([127, 0, 0, 1], 0).into()),
            protocol: None,
            reply: ReplyPolicy::Stored,
            idle_timeout: None,
        };
        let bound = bind(listener.address).unwrap();
        let address = bound.address();
        self.ingest.listen(bound, listener);
        address
    }

    pub(in super::super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.ingest.0)
    }

    pub(super) async fn connect(&self) -> Vehicle {
        Vehicle::connect(self.address).await
    }

    pub(super) fn closed(&self, reason: CloseReason) -> u64 {
        self.metrics
            .ingest
            .connections_closed
            .count(reason.as_str())
    }

    pub(super) fn rejected(&self) -> Vec<(RejectReason, String)> {
        self.route
            .rejected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The vehicles whose lines were rejected, in their order.
    pub(super) fn rejected_of(&self) -> Vec<Option<String>> {
        let vehicles = self.route.rejected_of.lock().unwrap();
        let names = vehicles
            .iter()
            .map(|vehicle| Some(vehicle.as_ref()?.to_string()));
        names.collect()
    }

    /// Waits until no connection is left.
    pub(super) async fn all_closed(&self) {
        until(|| self.metrics.ingest.connections.get() == 0).await;
    }
}

pub(super) struct Vehicle(pub(super) BufReader<TcpStream>);

impl Vehicle {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    pub(super) async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// False once the node has closed the connection.
    pub(super) async fn tries_to_say(&mut self, text: &str) -> bool {
        self.0.get_mut().write_all(text.as_bytes()).await.is_ok()
    }

    #[track_caller]
    pub(super) fn hears(&mut self, expected: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let mut heard = String::new();
            let reading = self.0.read_line(&mut heard);
            let outcome = tokio::time::timeout(Duration::from_secs(20), reading).await;
            outcome.expect("an answer within 20 s").unwrap();
            assert_eq!(heard.trim_end(), expected, "at {place}");
        }
    }

    /// Everything that still comes until the connection ends.
    pub(super) async fn hears_until_closed(&mut self) -> String {
        let mut heard = Vec::new();
        let reading = self.0.read_to_end(&mut heard);
        let outcome = tokio::time::timeout(Duration::from_secs(20), reading).await;
        drop(outcome.expect("an end within 20 s"));
        String::from_utf8(heard).unwrap()
    }

    /// Whether the node ends the connection by saying so, and not by breaking it off.
    pub(super) async fn hears_the_end(&mut self) -> bool {
        let mut heard = Vec::new();
        let reading = self.0.read_to_end(&mut heard);
        let outcome = tokio::time::timeout(Duration::from_secs(20), reading).await;
        outcome.expect("an end within 20 s").is_ok()
    }
}

/// Panics of line buffers are what these tests are about; only others are printed.
fn silence_line_buffers() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !note_panic("a test's line buffer") {
                print(panic);
            }
        }));
    });
}

pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("did not come to be within 20 s");
}
