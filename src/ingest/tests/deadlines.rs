//! What a device is closed for by the clock, and what is not its fault.

use std::time::Duration;

use super::{
    super::*,
    bench::{Bench, until},
};
use crate::base::verdict::Verdict;

const SHORT: Duration = Duration::from_millis(200);

fn listener_with_idle_timeout() -> ListenerConfig {
    ListenerConfig {
        address: BindAddress::One(([127, 0, 0, 1], 0).into()),
        protocol: None,
        reply: ReplyPolicy::Stored,
        idle_timeout: Some(SHORT),
    }
}

#[tokio::test]
async fn a_stranger_who_never_pauses_is_closed() {
    let config = IngestConfig {
        first_line_timeout: SHORT,
        ..IngestConfig::default()
    };
    let bench = Bench::with(true, ReplyPolicy::Stored, config);
    let mut stranger = bench.connect().await;
    let noise = "what is this\n".repeat(100);
    while stranger.tries_to_say(&noise).await {}
    bench.all_closed().await;
    assert_eq!(bench.closed(CloseReason::FirstLine), 1);
}

#[tokio::test]
async fn a_place_is_not_held_by_a_line_that_names_no_vehicle() {
    let config = IngestConfig {
        first_line_timeout: SHORT,
        ..IngestConfig::default()
    };
    let bench = Bench::with(true, ReplyPolicy::Stored, config);
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nid \nhi\n").await;
    vehicle.hears("hello").await;
    let mut stranger = bench.connect().await;
    stranger.say("id \nhi\n").await;
    assert_eq!(stranger.hears_until_closed().await, "hello\n");
    until(|| bench.closed(CloseReason::FirstLine) == 1).await;
    vehicle.say("hi\n").await;
    vehicle.hears("hello").await;
}

#[tokio::test]
async fn a_device_that_waits_for_its_answer_is_not_idle() {
    let listener = listener_with_idle_timeout();
    let mut bench = Bench::on(listener, false, IngestConfig::default());
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\nat 1\n").await;
    let settle = bench.deliveries.recv().await.unwrap().1.unwrap();
    let _silent = bench.connect().await;
    until(|| bench.closed(CloseReason::Idle) == 1).await;
    settle.settle(Verdict::Durable);
    vehicle.hears("ok 1").await;
    vehicle.say("hi\n").await;
    vehicle.hears("hello").await;
    until(|| bench.closed(CloseReason::Idle) == 2).await;
}

#[tokio::test]
async fn a_device_that_is_kept_waiting_for_room_is_not_closed_for_silence() {
    let config = IngestConfig {
        first_line_timeout: SHORT,
        room_bytes: 64 * 1024,
        ..IngestConfig::default()
    };
    let mut bench = Bench::on(listener_with_idle_timeout(), false, config);
    let mut first = bench.connect().await;
    first.say("id a\nat 1\n").await;
    let settle = bench.deliveries.recv().await.unwrap().1.unwrap();
    let mut second = bench.connect().await;
    second.say("id b\nat 2\n").await;
    let _silent = bench.connect().await;
    until(|| bench.closed(CloseReason::FirstLine) >= 1).await;
    settle.settle(Verdict::Durable);
    first.hears("ok 1").await;
    let settle = bench.deliveries.recv().await.unwrap().1.unwrap();
    assert_eq!(bench.closed(CloseReason::FirstLine), 1, "the silent one");
    settle.settle(Verdict::Durable);
    second.hears("ok 2").await;
}
