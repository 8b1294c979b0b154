//! Many connections that keep what never ends.

use super::{
    super::*,
    bench::{Bench, until},
};

const MIB: u32 = 1024 * 1024;

fn small_room() -> IngestConfig {
    IngestConfig {
        room_bytes: MIB,
        ..IngestConfig::default()
    }
}

#[tokio::test]
async fn unfinished_lines_give_way_when_they_are_too_many() {
    const N_CONNECTIONS: u64 = 60;
    let bench = Bench::with(true, ReplyPolicy::Stored, small_room());
    let mut good = bench.connect().await;
    // Its own unfinished line is within its share, and stays.
    good.say("id good\nat 1\nat").await;
    good.hears("ok 1").await;
    let unfinished = format!("id bad\nat 2\n{}", "x".repeat(60 * 1024));
    let mut bad = Vec::new();
    for _ in 0..N_CONNECTIONS {
        let mut vehicle = bench.connect().await;
        vehicle.say(&unfinished).await;
        vehicle.hears("ok 2").await;
        bad.push(vehicle);
    }
    // A quarter of the room holds four of them.
    until(|| bench.closed(CloseReason::Limit) == N_CONNECTIONS - 4).await;
    let room = bench.ingest.room();
    until(|| room.taken_bytes() <= MIB as usize / 4).await;
    assert!(room.taken_bytes() > 4 * 60 * 1024);
    good.say(" 3\n").await;
    good.hears("ok 3").await;
    assert_eq!(bench.closed(CloseReason::Limit), N_CONNECTIONS - 4);
    assert_eq!(
        bench.metrics.ingest.lines_rejected.count("cut"),
        N_CONNECTIONS - 4
    );
    drop((good, bad));
    bench.all_closed().await;
    until(|| bench.ingest.room().taken_bytes() == 0).await;
}

#[tokio::test]
async fn a_chunk_takes_the_room_of_its_records() {
    const N_LINES: usize = 1_000;
    let mut bench = Bench::with(false, ReplyPolicy::Stored, small_room());
    let mut vehicle = bench.connect().await;
    vehicle.say("id a\n").await;
    vehicle.say(&"at 1\n".repeat(N_LINES)).await;
    let (mut n_records, mut settles) = (0, Vec::new());
    while n_records < N_LINES {
        let (times, settle) = bench.deliveries.recv().await.unwrap();
        n_records += times.len();
        settles.push(settle);
    }
    assert!(bench.ingest.room().taken_bytes() > N_LINES * size_of::<Record>());
    drop(settles);
    until(|| bench.ingest.room().taken_bytes() == 0).await;
}

#[tokio::test]
async fn an_overdrawn_room_is_read_into_no_more_until_it_is_settled() {
    let mut bench = Bench::with(false, ReplyPolicy::Stored, small_room());
    let mut vehicle = bench.connect().await;
    vehicle
        .say(&format!("id a\n{}", "at 1\n".repeat(12_000)))
        .await;
    let first = bench.deliveries.recv().await.unwrap();
    let mut settles = vec![first.1];
    // The room is full when a few chunks of what was sent are read, however they were cut.
    until(|| bench.ingest.room().free_bytes() < MIB as usize / 8).await;
    let mut other = bench.connect().await;
    other.say("id b\nat 7\n").await;
    while let Ok((times, settle)) = bench.deliveries.try_recv() {
        assert!(!times.contains(&7));
        settles.push(settle);
    }
    for settle in settles.into_iter().flatten() {
        settle.settle(crate::base::verdict::Verdict::Durable);
    }
    let mut is_answered = false;
    while !is_answered {
        let (times, settle) = bench.deliveries.recv().await.unwrap();
        settle
            .unwrap()
            .settle(crate::base::verdict::Verdict::Durable);
        is_answered = times.contains(&7);
    }
    other.hears("ok 7").await;
}
