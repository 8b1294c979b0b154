//! A listener that panics, and a refusal.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::TcpListener;

use super::{
    super::*,
    bench::{Bench, Vehicle},
};
use crate::base::accept::Accept;

/// Panics twice before each connection.
struct Stumbling {
    listener: TcpListener,
    n_calls: AtomicU32,
}

impl Accept for Stumbling {
    async fn accept(&self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        let number = self.n_calls.fetch_add(1, Ordering::Relaxed);
        assert_eq!(number % 3, 2, "a test's panic");
        self.listener.accept().await
    }

    fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

#[tokio::test]
async fn a_listener_that_panics_is_made_anew_and_what_is_connected_goes_on() {
    let bench = Bench::new(true);
    let source = Stumbling {
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        n_calls: AtomicU32::new(0),
    };
    let address = source.address().unwrap();
    let config = ListenerConfig {
        address: BindAddress::One(address),
        protocol: None,
        reply: ReplyPolicy::Stored,
        idle_timeout: None,
    };
    bench.ingest.listen_on(source, Arc::new(config));
    let mut vehicles = Vec::new();
    for number in 1..=3 {
        let mut vehicle = Vehicle::connect(address).await;
        vehicle.say(&format!("id v{number}\nat {number}\n")).await;
        vehicle.hears(&format!("ok {number}")).await;
        vehicles.push(vehicle);
    }
    assert!(bench.metrics.tasks.panics.count("listener") >= 6);
    for vehicle in &mut vehicles {
        vehicle.say("hi\n").await;
        vehicle.hears("hello").await;
    }
    drop(vehicles);
    bench.ingest.drain().await;
    bench.all_closed().await;
}

#[tokio::test]
async fn a_refusal_that_panics_is_not_blamed_on_the_line_before_it() {
    let config = IngestConfig {
        line_bytes_max: 100,
        ..IngestConfig::default()
    };
    let mut bench = Bench::with(true, ReplyPolicy::Stored, config);
    let mut vehicle = bench.connect().await;
    let long = format!("bang twice{}", "x".repeat(200));
    vehicle.say(&format!("id a\nat 1\n{long}\nat 2\n")).await;
    assert_eq!(vehicle.hears_until_closed().await, "ok 1\n");
    bench.all_closed().await;
    assert_eq!(bench.deliveries.recv().await.unwrap().0, [1]);
    assert_eq!(bench.rejected(), [(RejectReason::TooLong, String::new())]);
    assert_eq!(bench.closed(CloseReason::Gap), 1);
}
