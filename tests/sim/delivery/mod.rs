//! Records between nodes: the real forwarders and inboxes, over links with little credit that are cut,
//! with stores that hang, are full, and lose what was not synced, nodes that die, and views of who owns
//! what that differ.
//!
//! [`node`] is one node as its parts are put together, [`way`] a direction of a link, [`world`] the
//! network, the vehicles and the faults, and [`questions`] what any node is asked meanwhile. Two phases:
//! faults, in which nothing that was acknowledged may be lost, and peace, in which every vehicle must get
//! its answers and nothing may stay behind.

mod node;
mod questions;
mod way;
mod world;

use world::World;

/// One seed of many, or the one that is given.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, n_seeds) => 0..n_seeds.unwrap_or(6),
    }
}

fn explore(seed: u64) {
    let outcome = std::panic::catch_unwind(|| {
        let mut world = World::new(seed);
        world.suffer(5_000);
        world.heal();
        world.recover(6_000);
    });
    if let Err(cause) = outcome {
        println!("again: SEED={seed} cargo test --test sim delivery");
        std::panic::resume_unwind(cause);
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_and_nothing_stands_still_under_any_seed() {
    seeds().for_each(explore);
}

#[test]
fn the_seeds_reach_what_they_are_for() {
    let mut reached = world::Reached::default();
    for seed in 0..8 {
        let mut world = World::new(seed);
        world.suffer(4_000);
        reached.add(&world.reached());
    }
    println!("{reached:?}");
    assert!(
        reached.n_forwarded > 0 && reached.n_rerouted > 0,
        "{reached:?}"
    );
    assert!(
        reached.n_refused > 0 && reached.n_reclaimed > 0,
        "{reached:?}"
    );
    assert!(reached.n_doubled > 0 && reached.n_waits > 0, "{reached:?}");
}

/// Two nodes each believe that the other owns everything, and both are full of it.
#[test]
fn two_that_disagree_about_owners_do_not_stand_still() {
    let mut world = World::with_nodes(7, 2);
    world.believe_in_each_other();
    world.run(3_000);
    let n_acknowledged = world.n_acknowledged();
    world.run(1_000);
    assert!(
        world.n_acknowledged() > n_acknowledged + 500,
        "{n_acknowledged}"
    );
}
