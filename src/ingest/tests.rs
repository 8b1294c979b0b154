//! Connections over real sockets, with a small language of their own and a route that the test
//! holds in its hand.

pub(super) mod bench;
mod chunks;
mod crowds;
mod deadlines;
mod panics;
mod toy;

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use self::bench::{Bench, Vehicle, until};
use super::*;
use crate::base::verdict::{RefuseReason, Verdict};

#[tokio::test]
async fn a_line_is_answered_when_it_is_durable() {
    let mut bench = Bench::new(false);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 5\n").await;
    let (times, settle) = bench.deliveries.recv().await.unwrap();
    assert_eq!(times, [5]);
    assert_eq!(bench.ingest.registry().n_vehicles(), 1);
    settle.unwrap().settle(Verdict::Durable);
    vehicle.hears("ok 5").await;
}

#[tokio::test]
async fn answers_keep_the_order_of_the_lines() {
    let mut bench = Bench::new(false);
    let mut vehicle = bench.connect().await;
    let mut settles = Vec::new();
    vehicle.say("id a\n").await;
    for millis in 1..=3 {
        vehicle.say(&format!("at {millis}\n")).await;
        settles.push(bench.deliveries.recv().await.unwrap().1.unwrap());
    }
    vehicle.say("hi\n").await;
    for settle in settles.into_iter().rev() {
        settle.settle(Verdict::Durable);
    }
    for expected in ["ok 1", "ok 2", "ok 3", "hello"] {
        vehicle.hears(expected).await;
    }
}

#[tokio::test]
async fn nothing_is_answered_after_a_gap() {
    let mut bench = Bench::new(false);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\n").await;
    let first = bench.deliveries.recv().await.unwrap().1.unwrap();
    vehicle.say("at 2\n").await;
    let second = bench.deliveries.recv().await.unwrap().1.unwrap();
    second.settle(Verdict::Durable);
    first.settle(Verdict::Refused(RefuseReason::DiskFull));
    assert_eq!(vehicle.hears_until_closed().await, "");
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::Gap), 1);
}

#[tokio::test]
async fn a_device_that_is_closed_with_much_unread_is_closed_in_order() {
    let mut bench = Bench::new(false);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nhi\nat 1\n").await;
    let first = bench.deliveries.recv().await.unwrap().1.unwrap();
    // No more of it is read than may wait for a verdict.
    let lines: String = (0..25_000).map(|number| format!("at {number}\n")).collect();
    vehicle.say(&lines).await;
    first.settle(Verdict::Refused(RefuseReason::DiskFull));
    assert!(vehicle.hears_the_end().await, "broken off");
    drop(vehicle);
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::Gap), 1);
}

#[tokio::test]
async fn a_passed_reply_deadline_is_a_gap() {
    let config = IngestConfig {
        reply_deadline: Duration::from_millis(50),
        ..IngestConfig::default()
    };
    let mut bench = Bench::with(false, ReplyPolicy::Stored, config);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\n").await;
    let held = bench.deliveries.recv().await.unwrap().1.unwrap();
    assert_eq!(vehicle.hears_until_closed().await, "");
    held.settle(Verdict::Durable);
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::Gap), 1);
}

#[tokio::test]
async fn policy_received_answers_at_once() {
    let mut bench = Bench::with(false, ReplyPolicy::Received, IngestConfig::default());
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\n").await;
    vehicle.hears("ok 1").await;
    assert_eq!(bench.deliveries.recv().await.unwrap().0, [1]);
}

#[tokio::test]
async fn a_line_that_crashes_the_line_buffer_costs_itself_alone() {
    let mut bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\nbang\nat 2\nat 3\n").await;
    for expected in ["ok 1", "error", "ok 2", "ok 3"] {
        vehicle.hears(expected).await;
    }
    vehicle.say("at 4\n").await;
    vehicle.hears("ok 4").await;
    let mut times = bench.deliveries.recv().await.unwrap().0;
    times.extend(bench.deliveries.recv().await.unwrap().0);
    assert_eq!(
        times,
        [1, 2, 3, 4],
        "each once, though their chunk was run twice"
    );
    assert_eq!(bench.rejected(), [(RejectReason::Panic, "bang".to_owned())]);
    let metrics = &bench.metrics.ingest;
    assert_eq!(metrics.line_buffer_restarts.get(), 1);
    assert_eq!(
        (
            metrics.lines_received.get(),
            metrics.lines.count("positions")
        ),
        (6, 4)
    );
    assert_eq!(metrics.lines_rejected.count("panic"), 1);
    assert_eq!(bench.ingest.registry().n_vehicles(), 1);
}

#[tokio::test]
async fn two_crashing_lines_of_one_chunk_cost_two_lines() {
    let bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nbang 1\nat 1\nbang 2\nat 2\n").await;
    for expected in ["error", "ok 1", "error", "ok 2"] {
        vehicle.hears(expected).await;
    }
}

#[tokio::test]
async fn a_line_that_cannot_even_be_refused_is_a_gap() {
    let bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\nbang twice\nat 2\n").await;
    assert_eq!(vehicle.hears_until_closed().await, "ok 1\n");
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::Gap), 1);
}

#[tokio::test]
async fn too_many_crashes_close_the_connection() {
    let bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\n").await;
    for _ in 0..supervisor::RESTARTS_MAX {
        vehicle.say("bang\n").await;
        vehicle.hears("error").await;
    }
    vehicle.say("bang\n").await;
    assert_eq!(vehicle.hears_until_closed().await, "");
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::Restarts), 1);
}

#[tokio::test]
async fn a_cut_last_line_is_an_outcome_of_its_own() {
    let mut bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\nat 2").await;
    vehicle.0.get_mut().shutdown().await.unwrap();
    assert_eq!(vehicle.hears_until_closed().await, "ok 1\n");
    bench.all_closed().await;
    assert_eq!(bench.deliveries.recv().await.unwrap().0, [1]);
    assert_eq!(bench.rejected(), [(RejectReason::Cut, "at 2".to_owned())]);
    assert_eq!(bench.closed(CloseReason::Peer), 1);
}

#[tokio::test]
async fn a_line_over_the_limit_is_answered_and_passed_over() {
    let config = IngestConfig {
        line_bytes_max: 100,
        ..IngestConfig::default()
    };
    let bench = Bench::with(true, ReplyPolicy::Stored, config);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\n").await;
    vehicle.say(&"x".repeat(200_000)).await;
    vehicle.say("\nat 1\n").await;
    vehicle.hears("error").await;
    vehicle.hears("ok 1").await;
    assert_eq!(bench.metrics.ingest.lines_rejected.count("too_long"), 1);
}

#[tokio::test]
async fn what_fits_no_protocol_is_passed_over_until_something_does() {
    let bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    vehicle.say("GET / HTTP/1.1\r\nid a\nat 1\n").await;
    vehicle.hears("ok 1").await;
    let unknown = (RejectReason::UnknownProtocol, "GET / HTTP/1.1".to_owned());
    assert_eq!(bench.rejected(), [unknown]);
}

#[tokio::test]
async fn a_rejected_line_is_set_aside_as_that_of_who_said_it() {
    let bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    vehicle
        .say("nonsense\nid a\nnonsense\nid b\nnonsense\nat 1\n")
        .await;
    vehicle.hears("ok 1").await;
    let names = [None, Some("a"), Some("b")].map(|name| name.map(str::to_owned));
    assert_eq!(bench.rejected_of(), names);
}

#[tokio::test]
async fn a_vehicle_that_was_nobody_for_a_while_is_connected_again() {
    let bench = Bench::new(true);
    let mut vehicle = bench.connect().await;
    let bus = VehicleId::parse(b"bus").unwrap();
    let is_connected = || bench.ingest.registry().connection(&bus).is_some();
    for (text, is_there) in [("id bus\n", true), ("id \n", false), ("id bus\n", true)] {
        vehicle.say(text).await;
        vehicle.say("hi\n").await;
        vehicle.hears("hello").await;
        assert_eq!(is_connected(), is_there, "{text}");
    }
    drop(vehicle);
    bench.all_closed().await;
    assert!(!is_connected());
}

#[tokio::test]
async fn what_is_half_merged_at_a_gap_is_delivered_and_not_answered() {
    let mut bench = Bench::new(false);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\nlater 2\n").await;
    let (times, settle) = bench.deliveries.recv().await.unwrap();
    assert_eq!(times, [1]);
    settle.unwrap().settle(Verdict::Refused(RefuseReason::Lost));
    let (times, _settle) = bench.deliveries.recv().await.unwrap();
    assert_eq!(times, [2]);
    assert_eq!(vehicle.hears_until_closed().await, "");
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::Gap), 1);
}

#[tokio::test]
async fn a_connection_that_is_not_understood_is_closed() {
    let config = IngestConfig {
        first_line_timeout: Duration::from_millis(50),
        ..IngestConfig::default()
    };
    let bench = Bench::with(true, ReplyPolicy::Stored, config);
    let mut vehicle = bench.connect().await;
    vehicle.say("what is this\n").await;
    assert_eq!(vehicle.hears_until_closed().await, "");
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::FirstLine), 1);
}

#[tokio::test]
async fn a_drain_lets_due_replies_leave_and_takes_no_one_in() {
    let mut bench = Bench::new(false);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\nat").await;
    let settle = bench.deliveries.recv().await.unwrap().1.unwrap();
    let ingest = bench.ingest.clone();
    let draining = crate::base::task::spawn_child(async move { ingest.drain().await });
    settle.settle(Verdict::Durable);
    assert_eq!(vehicle.hears_until_closed().await, "ok 1\n");
    draining.await.unwrap();
    assert_eq!(bench.closed(CloseReason::Drain), 1);
    assert!(TcpStream::connect(bench.address).await.is_err());
}

#[tokio::test]
async fn connections_over_the_limit_wait_and_are_served_later() {
    let config = IngestConfig {
        n_connections_max: std::num::NonZeroU32::MIN,
        ..IngestConfig::default()
    };
    let bench = Bench::with(true, ReplyPolicy::Stored, config);
    let mut first = bench.connect().await;
    first.say("id a\nat 1\n").await;
    first.hears("ok 1").await;
    let mut second = bench.connect().await;
    second.say("id b\nat 2\n").await;
    drop(first);
    second.hears("ok 2").await;
}

#[tokio::test]
async fn a_port_that_nobody_comes_to_takes_no_place_of_another() {
    let config = IngestConfig {
        n_connections_max: std::num::NonZeroU32::MIN,
        ..IngestConfig::default()
    };
    let bench = Bench::with(true, ReplyPolicy::Stored, config);
    let other = bench.listen_too();
    for address in [bench.address, other] {
        let mut vehicle = Vehicle::connect(address).await;
        vehicle.say("id a\nat 1\n").await;
        vehicle.hears("ok 1").await;
    }
}

#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    let bench = Bench::new(true);
    let socket = TcpStream::connect(bench.address).await.unwrap();
    let accepted = connection::Accepted {
        id: crate::types::ids::ConnectionId(0),
        peer: socket.local_addr().unwrap(),
        socket,
        permit: Arc::clone(&bench.ingest.0.permits)
            .acquire_owned()
            .await
            .unwrap(),
        listener: Arc::new(ListenerConfig {
            address: BindAddress::Both(0),
            protocol: None,
            reply: ReplyPolicy::Stored,
            idle_timeout: None,
        }),
    };
    let serving = connection::serve(accepted, Arc::clone(&bench.ingest.0));
    let n_bytes = size_of_val(&serving);
    assert!(
        n_bytes <= 904,
        "{n_bytes} bytes for a connection's task: with the runtime's 120 it must fit in 1 KiB"
    );
    drop(serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_broken_connections_leave_nothing() {
    let bench = Bench::new(true);
    for round in 0..100 {
        let mut vehicles = Vec::new();
        for number in 0..100 {
            let mut vehicle = bench.connect().await;
            let text = match number % 4 {
                0 => format!("id v{round}-{number}\nat 1\nat 2"),
                1 => format!("id v{round}-{number}\nbang\n"),
                2 => "\u{1}\u{2} noise".to_owned(),
                _ => String::new(),
            };
            vehicle.say(&text).await;
            vehicles.push(vehicle);
        }
        for (number, vehicle) in vehicles.into_iter().enumerate() {
            if number % 2 == 0 {
                socket2::SockRef::from(vehicle.0.get_ref())
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        }
    }
    until(|| bench.metrics.ingest.connections_accepted.get() == 10_000).await;
    bench.all_closed().await;
    // The listener holds one permit for the connection that it waits for.
    until(|| bench.ingest.0.permits.available_permits() == 15_999).await;
    assert!(bench.ingest.registry().is_empty());
    until(|| bench.ingest.room().taken_bytes() == 0).await;
    until(|| bench.ingest.0.tasks.len() == 1).await;
}
