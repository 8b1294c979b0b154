//! kill -9 at any instant: what was acknowledged is there once, in order, and nothing else is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
    time::Duration,
};

use waymesh::{client::TimeRange, types::ids::VehicleId};

use crate::{
    node::Node,
    vehicle::{Diary, End, drive, times_of},
};

const N_VEHICLES: usize = 24;
const N_KILLS: usize = 20;

#[test]
fn what_was_acknowledged_survives_twenty_kills_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(&folder.path().join("data"));
    let is_over = AtomicBool::new(false);
    let address = node.vehicles;
    let diaries: Vec<Diary> = std::thread::scope(|scope| {
        let end = End(&is_over);
        let vehicles: Vec<_> = (0..N_VEHICLES)
            .map(|number| {
                // Every third sends ahead of the answers.
                let window = if number % 3 == 0 { 6 } else { 1 };
                let is_over = &is_over;
                scope.spawn(move || drive(address, &id(number), window, is_over))
            })
            .collect();
        for kill in 0..N_KILLS {
            wait_for_progress(&node, 200 + 7 * kill as u64);
            node.kill_and_restart();
        }
        wait_for_progress(&node, 500);
        drop(end);
        vehicles
            .into_iter()
            .map(|vehicle| vehicle.join().unwrap())
            .collect()
    });
    let n_connections: u32 = diaries.iter().map(|diary| diary.n_connections).sum();
    assert!(
        n_connections as usize > N_VEHICLES * N_KILLS / 2,
        "the kills were felt"
    );
    check(&node, &diaries);
    node.kill_and_restart();
    check(&node, &diaries);
    assert_eq!(node.stop(), Some(0));
}

/// Waits until this run of the node has stored `n_positions`.
pub fn wait_for_progress(node: &Node, n_positions: u64) {
    wait_for_count(node, "waymesh_positions_stored_total", n_positions);
}

/// Waits until a counter of the node is at `count` or beyond.
pub fn wait_for_count(node: &Node, name: &str, count: u64) {
    for _ in 0..4_000 {
        if node.metrics().get(name).is_some_and(|n| *n >= count) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{name} was not at {count} within 20 s");
}

pub fn check(node: &Node, diaries: &[Diary]) {
    let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for position in node.export() {
        let text = |field: &str| position[field].as_str().unwrap().to_owned();
        stored
            .entry(text("vehicle"))
            .or_default()
            .push(text("time"));
    }
    for (number, diary) in diaries.iter().enumerate() {
        assert_eq!(diary.n_shifted, 0, "an answer belonged to another line");
        let times = stored.remove(&id(number)).unwrap_or_default();
        let distinct: BTreeSet<_> = times.iter().cloned().collect();
        assert_eq!(distinct.len(), times.len(), "something is stored twice");
        let acknowledged = diary.acknowledged.iter().flat_map(|line| times_of(*line));
        let lost: Vec<_> = acknowledged
            .filter(|time| !distinct.contains(time))
            .collect();
        assert!(lost.is_empty(), "{} lost {lost:?}", id(number));
        let sent: BTreeSet<_> = (0..diary.n_sent).flat_map(times_of).collect();
        assert!(
            distinct.is_subset(&sent),
            "something is stored that was never sent"
        );
        check_track(node, &id(number), &distinct);
    }
    assert!(stored.is_empty(), "vehicles that never were: {stored:?}");
}

/// The track shows the same, in order of time.
fn check_track(node: &Node, id: &str, times: &BTreeSet<String>) {
    let vehicle = VehicleId::parse(id.as_bytes()).unwrap();
    let track = node.client().track(&vehicle, TimeRange::default(), 500);
    let track: Vec<_> = track.map(|position| position.unwrap().time).collect();
    assert!(
        track.iter().eq(times.iter()),
        "the track of {id} is not all, or not in order"
    );
}

pub fn id(number: usize) -> String {
    format!("kill-{number:03}")
}
