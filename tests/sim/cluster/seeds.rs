//! Seeds: faults at random, then a whole world that must become one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    checks, faults,
    world::{Entry, World},
};

/// Seeds that found something once.
const FOUND: [u64; 1] = [195];

const SEEDS: u64 = 50;
const STEPS_MS: u64 = 12_000;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

fn n_nodes(seed: u64) -> usize {
    // A crowd now and then: many tell each other less at once.
    let usual = if seed % 25 == 24 { 12 } else { 2 + seed % 6 };
    let n_nodes = from_environment("NODES").unwrap_or(usual);
    usize::try_from(n_nodes).unwrap()
}

/// Runs a seed: faults, then healing; gives the log.
fn run(seed: u64, steps_ms: u64, keeps_log: bool) -> (World, Vec<Entry>) {
    let mut world = faults::world(seed, n_nodes(seed));
    world.log = keeps_log.then(Vec::new);
    faults::break_things(&mut world, seed, steps_ms);
    faults::mend(&mut world, seed);
    // A sleeper wakes, a link falls silent, a beat comes round.
    let until = world.now + 12_000;
    if world
        .run_until(until, |world| checks::divided(world).is_none())
        .is_none()
    {
        panic!("still divided: {}", checks::divided(&world).unwrap());
    }
    world.run_for(10_000);
    assert_eq!(checks::divided(&world), None);
    checks::is_at_rest(&mut world, 6_000);
    let log = world.log.take().unwrap_or_default();
    (world, log)
}

#[test]
fn the_cluster_keeps_its_promises_under_any_seed() {
    let steps_ms = from_environment("STEPS").unwrap_or(STEPS_MS);
    let seeds: Vec<u64> = match from_environment("SEED") {
        Some(seed) => vec![seed],
        None => {
            let n_seeds = from_environment("SEEDS").unwrap_or(SEEDS);
            FOUND.into_iter().chain(0..n_seeds).collect()
        }
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run(seed, steps_ms, false);
        }));
        assert!(
            outcome.is_ok(),
            "seed {seed} failed; again with\n  \
             SEED={seed} NODES={} STEPS={steps_ms} ALOUD=1 cargo test --test sim any_seed -- --nocapture",
            n_nodes(seed)
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let (one, other) = (run(5, STEPS_MS, true).1, run(5, STEPS_MS, true).1);
    assert!(one.len() > 200, "{}", one.len());
    assert_eq!(one, other);
    assert_ne!(one, run(6, STEPS_MS, true).1);
}

/// The seeds are worth nothing if they do not reach what they are for.
#[test]
fn the_seeds_reach_what_they_are_for() {
    let mut lines = Vec::new();
    let (mut n_refutations, mut n_tables) = (0, 0);
    for seed in 0..24 {
        let (world, log) = run(seed, STEPS_MS, true);
        lines.extend(log.into_iter().map(|entry| entry.what));
        let living = world.nodes.iter().filter_map(|node| node.cluster.as_ref());
        for counts in living.map(|cluster| cluster.counts()) {
            n_refutations += counts.n_refutations;
            n_tables += counts.n_tables_exchanged;
        }
    }
    let n_with = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    for word in [
        "(closed)",
        "(silent)",
        "(left)",
        "(restarted)",
        "PONG",
        "beat",
        "dial fails: refused",
        "dial fails: no answer",
        "dial fails: duplicate",
    ] {
        assert!(n_with(word) >= 3, "{word}: {}", n_with(word));
    }
    assert!(n_refutations > 3, "{n_refutations} refutations");
    println!(
        "{} lines, {n_refutations} refutations, {n_tables} tables",
        lines.len()
    );
}
