//! Link graphs of any shape: nodes that are visible or hidden, mean few names or all, hear each other
//! or are given by hand, over addresses that mean something to all or to their segment alone, with
//! frames that come one at a time and late. When all is quiet, each node must know who can be
//! reached, over how many links, and must have the links that it wants.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use regex::Regex;
use waymesh::{
    base::prng::Prng,
    cluster::proto::{
        ClusterInput, ConnectMode, MemberState, MemberView, MinConnections, NameMatch, PeerAddress,
    },
    types::ids::NodeId,
};

use super::{faults, node::Setup, world::World};

const SEEDS: u64 = 60;

/// Seeds that found something once.
const FOUND: [u64; 2] = [178, 218];

/// How far reports go, in links.
const FAR: usize = 8;

/// Nodes that differ in all that shapes the graph of their links.
fn world(seed: u64) -> World {
    let (mut world, mut dice) = (World::new(seed), Prng::new(seed ^ 0x3a75));
    let n_nodes = 3 + usize::try_from(dice.below(7)).unwrap();
    world.network.delay_max_ms = [1, 8, 40, 120][dice.below(4) as usize];
    world.network.has_segment = dice.chance(50.0);
    world.network.is_segment_only = world.network.has_segment && dice.chance(50.0);
    let is_chain = dice.chance(30.0);
    let hears_percent = [0.0, 60.0, 100.0][dice.below(3) as usize];
    for at in 0..n_nodes {
        let mut setup = Setup::new(dice.next_u64() >> 1, &format!("n{at}"));
        setup.ping_interval = Duration::from_secs(2);
        setup.has_multicast = dice.chance(hears_percent);
        if dice.chance(60.0) {
            setup.connect_mode = ConnectMode::Hidden;
        }
        if dice.chance(30.0) {
            setup.connect = some_names(&mut dice, n_nodes);
        }
        if dice.chance(20.0) {
            setup.accept = some_names(&mut dice, n_nodes);
        }
        if dice.chance(30.0) {
            setup.min_connections = MinConnections::AtLeast(1);
        }
        world.add(setup);
    }
    for at in 1..n_nodes {
        for _ in 0..1 + dice.below(2) {
            let other = if is_chain {
                at - 1
            } else {
                usize::try_from(dice.below(at as u64)).unwrap()
            };
            let address = world.nodes[other].address;
            let peers = &mut world.nodes[at].setup.peers;
            if dice.chance(85.0) {
                peers.push(PeerAddress::Address(address));
            }
        }
    }
    for at in 0..n_nodes {
        world.run_for(dice.below(400));
        world.start(at);
    }
    world
}

fn some_names(dice: &mut Prng, n_nodes: usize) -> NameMatch {
    let names = (0..n_nodes).filter(|_| dice.chance(50.0));
    let names: Vec<String> = names.map(|at| at.to_string()).collect();
    let pattern = format!("^n({})$", names.join("|"));
    NameMatch::Pattern(Regex::new(&pattern).unwrap())
}

/// Nodes come and go, politely or not, and ways are cut and healed.
fn disturb(world: &mut World, seed: u64) {
    let mut dice = Prng::new(seed ^ 0xd157);
    let n_nodes = world.nodes.len();
    for _ in 0..dice.below(10) {
        world.run_for(dice.below(2_500));
        let at = usize::try_from(dice.below(n_nodes as u64)).unwrap();
        let other = usize::try_from(dice.below(n_nodes as u64)).unwrap();
        match dice.below(5) {
            0 if world.nodes[at].is_alive() => world.kill(at, dice.chance(20.0)),
            1 if world.nodes[at].is_alive() => {
                world.command(at, ClusterInput::Leave);
                world.run_for(20);
                world.kill(at, false);
            }
            2 => {
                let pair = |one, two| (one, two) == (at, other) || (one, two) == (other, at);
                faults::cut(world, pair);
            }
            3 => faults::heal(world),
            _ if !world.nodes[at].is_alive() => world.start(at),
            _ => {}
        }
    }
    faults::heal(world);
    world.network.is_segment_only = false;
    for at in 0..n_nodes {
        if !world.nodes[at].is_alive() && dice.chance(80.0) {
            world.start(at);
        }
    }
    world.run_for(5_000);
    for _ in 0..dice.below(4) {
        cut_a_link(world, &mut dice);
    }
}

/// A link that stands is cut until it is given up, and healed or not: members stay who they are, and
/// ways change.
fn cut_a_link(world: &mut World, dice: &mut Prng) {
    let linked: Vec<(usize, usize)> = graph(world)
        .into_iter()
        .flat_map(|(one, others)| others.into_iter().map(move |other| (one, other)))
        .collect();
    if linked.is_empty() {
        return;
    }
    let (at, other) = linked[usize::try_from(dice.below(linked.len() as u64)).unwrap()];
    faults::cut(world, |one, two| {
        (one, two) == (at, other) || (one, two) == (other, at)
    });
    world.run_for(1_000 + dice.below(3_000));
    if dice.chance(70.0) {
        faults::heal(world);
        world.run_for(dice.below(1_000));
    }
}

/// Who is linked, by the pipes that stand.
fn graph(world: &World) -> BTreeMap<usize, Vec<usize>> {
    let mut graph: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for pipe in world.pipes.values() {
        let [one, other] = &pipe.ends;
        if one.is_up() && other.is_up() {
            graph.entry(one.node).or_default().push(other.node);
            graph.entry(other.node).or_default().push(one.node);
        }
    }
    graph
}

/// Links to everybody who is reached from a node.
fn distances(graph: &BTreeMap<usize, Vec<usize>>, from: usize) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::from([(from, 0)]);
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for other in graph.get(&at).into_iter().flatten() {
            if !found.contains_key(other) {
                found.insert(*other, found[&at] + 1);
                next.push_back(*other);
            }
        }
    }
    found
}

/// What a node knows otherwise than it is, if anything.
fn misjudged(world: &World) -> Option<String> {
    let graph = graph(world);
    let living = (0..world.nodes.len()).filter(|at| world.nodes[*at].is_alive());
    living.clone().find_map(|at| {
        let members = world.nodes[at].cluster.as_ref()?.members();
        let members: BTreeMap<NodeId, MemberView> = members
            .into_iter()
            .map(|member| (member.id, member))
            .collect();
        let distances = distances(&graph, at);
        (0..world.nodes.len())
            .filter(|other| *other != at)
            .find_map(|other| {
                let member = members.get(&world.nodes[other].setup.id);
                let is_alive = world.nodes[other].is_alive();
                let true_way = distances.get(&other).filter(|far| is_alive && **far < FAR);
                let known_way = member.and_then(|member| member.way);
                let known_way = known_way.map(|way| usize::from(way.n_links));
                if known_way != true_way.copied() {
                    return Some(format!(
                        "{at} knows {other} at {known_way:?}, not {true_way:?}"
                    ));
                }
                let is_up = |member: &MemberView| {
                    matches!(member.state, MemberState::Up | MemberState::Suspect)
                };
                if member.is_some_and(is_up) != true_way.is_some() {
                    return Some(format!("{at} takes {other} for {member:?}"));
                }
                let is_told = world.nodes[at]
                    .told_up
                    .contains_key(&world.nodes[other].setup.id);
                let is_fit =
                    known_way == Some(1) || member.is_some_and(|it| it.state == MemberState::Up);
                // Whom this node would link and cannot, it suspects, and says nothing.
                if (is_fit && !is_told) || (is_told && true_way.is_none()) {
                    return Some(format!("{at} told its subscribers of {other}: {is_told}"));
                }
                lacks_link(world, (at, other), known_way)
                    .or_else(|| lacks_path(world, (at, other), known_way))
            })
    })
}

/// A visible node links every member that takes it.
fn lacks_link(world: &World, (at, other): (usize, usize), way: Option<usize>) -> Option<String> {
    let (one, two) = (&world.nodes[at].setup, &world.nodes[other].setup);
    if !world.network.passes_both_ways(at, other) {
        return None;
    }
    let is_wanted = one.connect_mode == ConnectMode::Visible && two.accept.matches(&one.name);
    (is_wanted && way.is_some_and(|n_links| n_links > 1))
        .then(|| format!("{at} is visible and has no link to {other}"))
}

/// A node has a path to each that it was given by hand, and to each that it means and hears.
fn lacks_path(world: &World, (at, other): (usize, usize), way: Option<usize>) -> Option<String> {
    let passes = world.network.passes_both_ways(at, other);
    if !world.nodes[other].is_alive() || !passes || way.is_some() {
        return None;
    }
    let (one, two) = (&world.nodes[at].setup, &world.nodes[other].setup);
    let address = PeerAddress::Address(world.nodes[other].address);
    let is_given = one.peers.contains(&address);
    let is_heard = one.has_multicast && two.has_multicast && one.connect.matches(&two.name);
    let needs_all = one.min_connections == MinConnections::All;
    let is_taken = two.accept.matches(&one.name);
    ((is_given || (is_heard && needs_all)) && is_taken)
        .then(|| format!("{at} has no path to {other}"))
}

fn run(seed: u64) {
    let mut world = world(seed);
    disturb(&mut world, seed);
    // The dead are found out, beats come round, whoever was lost is dialled once an interval.
    let until = world.now + 20_000;
    let agreed = world.run_until(until, |world| misjudged(world).is_none());
    assert!(agreed.is_some(), "{:?}", misjudged(&world));
    world.run_for(5_000);
    assert_eq!(
        misjudged(&world),
        None,
        "it did not last after {:?}",
        agreed
    );
}

#[test]
fn when_all_is_quiet_each_node_knows_the_ways_and_has_the_links_it_wants() {
    let from_environment = |name| {
        let text: String = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let seeds: Vec<u64> = match from_environment("SEED") {
        Some(seed) => vec![seed],
        None => {
            let n_seeds = from_environment("SEEDS").unwrap_or(SEEDS);
            FOUND.into_iter().chain(0..n_seeds).collect()
        }
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed)));
        assert!(
            outcome.is_ok(),
            "seed {seed} failed; again with\n  \
             SEED={seed} ALOUD=1 cargo test --test sim knows_the_ways -- --nocapture"
        );
    }
}
