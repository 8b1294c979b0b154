//! What a seed breaks, and when.

use std::time::Duration;

use waymesh::{
    base::prng::Prng,
    cluster::proto::{ClusterInput, Forgotten},
};

use super::{
    node::{Node, Setup},
    world::World,
};

/// A world of `n_nodes`, all started within a second.
pub(crate) fn world(seed: u64, n_nodes: usize) -> World {
    let mut world = World::new(seed);
    let mut dice = Prng::new(seed ^ 0x5eed);
    world.network.delay_max_ms = 1 + dice.below(20);
    world.network.is_busy = seed.is_multiple_of(3);
    for at in 0..n_nodes {
        // Identities in no order.
        let id = dice.next_u64() >> 1;
        let mut setup = Setup::new(id, &format!("n{at}"));
        setup.ping_interval = Duration::from_secs(2);
        world.add(setup);
    }
    for at in 0..n_nodes {
        world.run_for(dice.below(1_000 / n_nodes as u64));
        world.start(at);
    }
    world
}

/// Breaks things for so long, one after the other.
pub(crate) fn break_things(world: &mut World, seed: u64, for_ms: u64) {
    let mut dice = Prng::new(seed ^ 0xfa17);
    let until = world.now + for_ms;
    while world.now < until {
        break_one(world, &mut dice);
        let pause = dice.below(1_500);
        world.run_for(pause.min(until.saturating_sub(world.now)));
    }
}

fn break_one(world: &mut World, dice: &mut Prng) {
    let n_nodes = world.nodes.len();
    let at = usize::try_from(dice.below(n_nodes as u64)).unwrap();
    let is_alive = world.nodes[at].is_alive();
    match dice.below(15) {
        0 | 1 if is_alive => world.kill(at, dice.chance(30.0)),
        2..=4 if !is_alive => world.start(at),
        5 => {
            let side: Vec<bool> = (0..n_nodes).map(|_| dice.chance(50.0)).collect();
            cut(world, |one, other| side[one] != side[other]);
        }
        6 => {
            // One way only.
            let side: Vec<bool> = (0..n_nodes).map(|_| dice.chance(40.0)).collect();
            cut(world, |from, to| side[from] && !side[to]);
        }
        7 => {
            let other = usize::try_from(dice.below(n_nodes as u64)).unwrap();
            cut(world, |one, two| {
                (one, two) == (at, other) || (one, two) == (other, at)
            });
        }
        8 | 9 => heal(world),
        10 => {
            world.network.loss_percent = dice.between(0.0, 25.0);
            world.network.repeat_percent = dice.between(0.0, 10.0);
            world.network.delay_max_ms = 1 + dice.below(60);
        }
        11 => world.stop_for(at, 50 + dice.below(3_000)),
        12 => {
            let other = usize::try_from(dice.below(n_nodes as u64)).unwrap();
            let id = world.nodes[other].setup.id;
            let input = match dice.below(4) {
                0 => ClusterInput::Pause,
                1 => ClusterInput::Resume,
                2 => ClusterInput::Forget(Forgotten::Id(id)),
                _ => ClusterInput::Health {
                    is_storing: dice.chance(50.0),
                },
            };
            world.command(at, input);
        }
        13 if is_alive && dice.chance(60.0) => {
            world.command(at, ClusterInput::Leave);
            world.run_for(20);
            world.kill(at, false);
        }
        14 if is_alive => {
            // Off and on again before anybody has missed it.
            world.kill(at, true);
            world.run_for(50 + dice.below(900));
            world.start(at);
        }
        _ => {}
    }
}

/// Makes all whole: the network, the processes (but for some that stay dead), what was switched off.
pub(crate) fn mend(world: &mut World, seed: u64) {
    let mut dice = Prng::new(seed ^ 0x3e4d);
    // Whoever is stopped goes on first: a stopped process takes no command.
    while world.nodes.iter().any(Node::is_stopped) {
        world.run_for(50);
    }
    heal(world);
    world.network.loss_percent = 0.0;
    world.network.repeat_percent = 0.0;
    world.network.delay_max_ms = 5;
    for at in 0..world.nodes.len() {
        let stays_dead = at > 0 && dice.chance(15.0);
        if !world.nodes[at].is_alive() && !stays_dead {
            world.start(at);
        }
        world.command(at, ClusterInput::Resume);
        world.command(at, ClusterInput::Health { is_storing: true });
    }
}

pub(crate) fn cut(world: &mut World, is_cut: impl Fn(usize, usize) -> bool) {
    let n_nodes = world.nodes.len();
    for from in 0..n_nodes {
        for to in (0..n_nodes).filter(|to| *to != from) {
            if is_cut(from, to) {
                world.network.cut(from, to);
            }
        }
    }
}

pub(crate) fn heal(world: &mut World) {
    world.network.heal();
    world.release();
}
