//! One fleet on many nodes: what was acknowledged over any of them is given by each of them, once,
//! whatever is killed, parted, stopped or started again meanwhile.
//!
//! `KILLS=long` takes the kills' long form: one every 5 s for a minute, then twenty more, and
//! no vehicle may go without an answer for longer than 2 s.

use std::time::{Duration, Instant};

use super::{
    depot::{CALM, Depot, is_long, pass},
    fleet::{Fleet, Habits, check_books, check_everywhere, wait_for_one_epoch},
    sibling::{Sibling, wait_all_see_all},
};

/// What a node may take more than before while another one is stopped.
const MORE_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// How long a vehicle may go without an answer while its owner is dead, in the long form.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Kills one node after the other, each dead for a while; the time between two kills.
fn kill_in_turn<'a>(
    depot: &'a Depot,
    siblings: &mut Vec<Sibling<'a>>,
    kills: std::ops::Range<usize>,
    between: Duration,
) {
    for kill in kills {
        let begins = Instant::now();
        let number = kill % siblings.len();
        siblings.remove(number).kill();
        pass(between / 3);
        siblings.insert(number, depot.start_one(number));
        siblings[number].wait_for(0, "node started");
        pass(between.saturating_sub(begins.elapsed()));
    }
}

#[test]
fn what_was_acknowledged_survives_the_kills_of_owners_and_is_given_once_by_every_node() {
    let Some(depot) = Depot::new(3) else { return };
    let is_long = is_long();
    let mut siblings = depot.start();
    let mut fleet = depot.fleet(&CALM);
    fleet.wait_until_all_are_answered();
    if is_long {
        kill_in_turn(&depot, &mut siblings, 0..12, Duration::from_secs(5));
        kill_in_turn(&depot, &mut siblings, 12..32, Duration::from_secs(3));
    } else {
        kill_in_turn(&depot, &mut siblings, 0..3, Duration::from_secs(4));
    }
    wait_all_see_all(&siblings);
    fleet.wait_until_all_are_answered();
    let report = fleet.stop();
    report.print("kills of owners");
    if is_long {
        let silence = report.longest_silence();
        assert!(
            silence <= SILENCE_MAX,
            "a vehicle had no answer for {silence:?}"
        );
    }
    wait_for_one_epoch(&siblings);
    check_everywhere(&siblings, &[report]);
    check_books(&siblings);
}

/// The same from the disks alone: all are killed at once and started again.
#[test]
fn what_was_acknowledged_survives_the_kill_of_all() {
    let Some(depot) = Depot::new(3) else { return };
    let mut siblings = depot.start();
    let mut fleet = depot.fleet(&CALM);
    fleet.wait_until_all_are_answered();
    for sibling in siblings.drain(..) {
        sibling.kill();
    }
    siblings.extend((0..3).map(|number| depot.start_one(number)));
    fleet.wait_until_all_are_answered();
    wait_all_see_all(&siblings);
    let report = fleet.stop();
    report.print("a kill of all");
    wait_for_one_epoch(&siblings);
    check_everywhere(&siblings, &[report]);
    check_books(&siblings);
}

#[test]
fn parted_halves_go_on_and_lose_nothing_when_they_meet() {
    let Some(depot) = Depot::new(4) else { return };
    let far_yard = depot.lan.host(101);
    let siblings = depot.start();
    let near = depot.fleet(&Habits {
        n_vehicles: 150,
        prefix: "near-",
        ..CALM
    });
    let far = Habits {
        n_vehicles: 150,
        prefix: "far-",
        ..CALM
    };
    let far = Fleet::start(&far_yard, &far, &depot.addresses());
    let mut fleets = [near, far];
    for fleet in &mut fleets {
        fleet.wait_until_all_are_answered();
    }
    let far_side = [&depot.hosts[2], &depot.hosts[3], &far_yard];
    let parted = Instant::now();
    depot.lan.part(&far_side);
    for (number, sibling) in siblings.iter().enumerate() {
        let half = if number < 2 { ["a", "b"] } else { ["c", "d"] };
        sibling.wait_view(&half);
    }
    for fleet in &mut fleets {
        let took = fleet.wait_until_all_are_answered();
        eprintln!("all of a half are answered again after {took:.3?}");
    }
    pass(Duration::from_secs(10).saturating_sub(parted.elapsed()));
    depot.lan.heal(&far_side);
    let took = wait_for_one_epoch(&siblings);
    eprintln!("healed, one epoch everywhere after {took:.3?}");
    let reports = fleets.map(Fleet::stop);
    reports.iter().for_each(|report| report.print("a half"));
    check_everywhere(&siblings, &reports);
    check_books(&siblings);
}

#[test]
fn a_rolling_restart_under_load_loses_nothing() {
    let Some(depot) = Depot::new(3) else { return };
    let mut siblings = depot.start();
    let mut fleet = depot.fleet(&CALM);
    fleet.wait_until_all_are_answered();
    for number in 0..3 {
        let (_, code) = siblings.remove(number).stop();
        assert_eq!(code, Some(0), "it drains and ends in order");
        siblings.insert(number, depot.start_one(number));
        siblings[number].wait_for(0, "node started");
        wait_all_see_all(&siblings);
        fleet.wait_until_all_are_answered();
    }
    let report = fleet.stop();
    report.print("a rolling restart");
    wait_for_one_epoch(&siblings);
    check_everywhere(&siblings, &[report]);
    check_books(&siblings);
}

/// An owner that stands still for 8 s under all that the vehicles can say: they go on, the memory of
/// the others stays within its budget, and what the owner had taken in is not lost.
#[test]
fn a_stopped_owner_stops_no_vehicle_and_fills_no_memory() {
    let Some(depot) = Depot::new(3) else { return };
    let siblings = depot.start();
    let mut fleet = depot.fleet(&Habits {
        n_vehicles: 60,
        prefix: "flood-",
        period: Duration::ZERO,
        window: 32,
        ..CALM
    });
    fleet.wait_until_all_are_answered();
    let others = &siblings[..2];
    let before: Vec<u64> = others.iter().map(Sibling::resident_bytes).collect();
    let stopped = Instant::now();
    siblings[2].signal("STOP");
    // What it had said before is on its way still.
    for sibling in others {
        sibling.wait_down(0, "c");
    }
    let took = fleet.wait_until_all_are_answered();
    eprintln!("an owner that stands still is seen, all vehicles are answered after {took:.3?}");
    let mut peak = before.clone();
    while stopped.elapsed() < Duration::from_secs(8) {
        for (peak, sibling) in peak.iter_mut().zip(others) {
            *peak = sibling.resident_bytes().max(*peak);
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    siblings[2].signal("CONT");
    for (before, peak) in before.iter().zip(&peak) {
        eprintln!("memory: {} KiB, at most {} KiB", before / 1024, peak / 1024);
        assert!(*peak <= before + MORE_BYTES_MAX);
    }
    wait_all_see_all(&siblings);
    fleet.wait_until_all_are_answered();
    let report = fleet.stop();
    report.print("a stopped owner");
    wait_for_one_epoch(&siblings);
    wait_for_empty_outboxes(&siblings);
    check_everywhere(&siblings, &[report]);
    check_books(&siblings);
}

/// Waits until nothing lies in any outbox.
fn wait_for_empty_outboxes(siblings: &[Sibling<'_>]) {
    for sibling in siblings {
        sibling.wait_metrics("empty outboxes", |metrics| {
            let boxes = metrics.iter();
            let mut boxes = boxes.filter(|(name, _)| name.starts_with("waymesh_outbox_bytes"));
            boxes.all(|(_, bytes)| *bytes == 0).then_some(())
        });
    }
}
