//! The whole store in one thread, under a seed: groups with repeats, late and future fixes, an index
//! that lags, retention, an index that fails, failing disks, power cuts and kills at any operation of
//! the disk, start after start.
//!
//! Writer and indexer are those of a node; only their threads are missing, so that a seed is a run.
//! After each group, each start and at the end the store is held against the [`model`].
//! `SEED`, `SEEDS` and `STEPS` come from the environment.

mod each;
mod index_steps;
mod model;
mod node;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::world::World;

/// Seeds that found something once.
const FOUND: [u64; 0] = [];

const SEEDS: u64 = 150;
const STEPS: u64 = 60;

#[test]
fn the_store_keeps_its_promises_under_any_seed() {
    let from_environment = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let n_steps = from_environment("STEPS").unwrap_or(STEPS);
    let seeds: Vec<u64> = match from_environment("SEED") {
        Some(seed) => vec![seed],
        None => {
            let n_seeds = from_environment("SEEDS").unwrap_or(SEEDS);
            FOUND.into_iter().chain(0..n_seeds).collect()
        }
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, n_steps)));
        assert!(
            outcome.is_ok(),
            "seed {seed} failed; again with\n  \
             SEED={seed} STEPS={n_steps} cargo test --lib store::sim_tests -- --nocapture"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, other) = (run(7, STEPS), run(7, STEPS));
    assert!(one.len() > 40);
    assert_eq!(one, other);
    assert_ne!(one, run(8, STEPS));
}

#[test]
fn the_runs_reach_what_they_are_for() {
    let lines: Vec<String> = (0..40).flat_map(|seed| run(seed, STEPS)).collect();
    let has = |wanted: &[&str]| {
        let is_wanted = |line: &&String| wanted.iter().all(|word| line.contains(word));
        lines.iter().filter(is_wanted).count()
    };
    for wanted in [
        &["told", "Durable"][..],
        &["told", "DiskError"],
        &["told", "Stopping"],
        &["end in a group", "PowerCut"],
        &["end in a group", "Kill"],
        &["end in a start"],
        &["start refused"],
        &["trim", "removed"],
        &["retention", "removed"],
        &["mended", "forgets true"],
        &["mended", "forgets false"],
        &["not mended", "Open"],
        &["not mended", "Apply"],
        &["start", "unconfirmed"],
    ] {
        assert!(has(wanted) >= 3, "{wanted:?}: {}", has(wanted));
    }
}

fn run(seed: u64, n_steps: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..n_steps {
        world.step();
    }
    world.finish();
    world.trace
}
