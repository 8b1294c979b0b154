//! The times that the cluster is held against, in the time of the simulation: every way takes 1 ms, a
//! dial some six.

use waymesh::{
    cluster::proto::{
        ClusterInput, ConnectMode, Forgotten, MemberState, MinConnections, NameMatch,
    },
    types::ids::NodeId,
};

use super::{checks, faults, node::Setup, world::World};

/// Nodes with names `n0`, `n1`, ...; identities in no order.
fn machines(seed: u64, n_nodes: usize) -> World {
    let mut world = World::new(seed);
    for at in 0..n_nodes {
        let id = world.prng.next_u64() >> 1;
        world.add(Setup::new(id, &format!("n{at}")));
    }
    world
}

fn formed(seed: u64, n_nodes: usize) -> World {
    let mut world = machines(seed, n_nodes);
    (0..n_nodes).for_each(|at| world.start(at));
    let formed = world.run_until(2_000, is_one);
    assert!(formed.is_some(), "{:?}", checks::divided(&world));
    world.run_until(5_000, |_| false);
    world
}

fn is_one(world: &World) -> bool {
    // Cheaper than the full check, which follows.
    let n_living = world.nodes.iter().filter(|node| node.is_alive()).count();
    let mut living = world.nodes.iter().filter(|node| node.is_alive());
    living.all(|node| node.told_up.len() == n_living) && checks::divided(world).is_none()
}

#[track_caller]
fn check_formation(n_nodes: usize, within_ms: u64) {
    for seed in 0..3 {
        let mut world = machines(seed, n_nodes);
        (0..n_nodes).for_each(|at| world.start(at));
        let formed = world
            .run_until(1_000, is_one)
            .expect("they find each other");
        let n_datagrams: u64 = world.n_datagrams.iter().sum();
        println!("{n_nodes} nodes after {formed} ms with {n_datagrams} datagrams");
        assert!(formed <= within_ms, "{formed} ms");
    }
}

#[test]
fn twenty_nodes_are_one_within_150_ms() {
    check_formation(20, 150);
}

#[test]
fn fifty_nodes_are_one_within_300_ms() {
    check_formation(50, 300);
}

#[test]
fn nodes_that_start_one_after_the_other_are_one_within_150_ms_of_the_last() {
    let mut world = machines(1, 20);
    for at in 0..20 {
        world.start(at);
        world.run_for(37);
    }
    let last = world.now;
    let formed = world.run_until(last + 150, is_one);
    assert!(formed.is_some(), "{:?}", checks::divided(&world));
}

#[test]
fn a_late_joiner_and_a_restart_are_seen_within_100_ms() {
    let mut world = formed(2, 10);
    let mut setup = Setup::new(77, "late");
    setup.id = NodeId(77);
    let late = world.add(setup);
    let begin = world.now;
    world.start(late);
    let seen = world.run_until(begin + 100, is_one);
    assert!(seen.is_some(), "{:?}", checks::divided(&world));
    world.run_for(3_000);
    world.kill(late, false);
    world.run_for(30);
    let begin = world.now;
    world.start(late);
    let seen = world.run_until(begin + 100, is_one);
    assert!(seen.is_some(), "{:?}", checks::divided(&world));
}

#[test]
fn a_killed_process_is_down_within_10_ms() {
    let mut world = formed(3, 10);
    world.kill(4, false);
    let begin = world.now;
    let id = world.nodes[4].setup.id;
    let is_told = |world: &World| {
        let mut living = world.nodes.iter().filter(|node| node.is_alive());
        living.all(|node| !node.told_up.contains_key(&id))
    };
    assert!(world.run_until(begin + 10, is_told).is_some());
    world.run_for(1_000);
    assert_eq!(checks::divided(&world), None);
}

#[test]
fn a_silent_machine_is_suspect_after_1_s_and_down_within_1_5_s() {
    let mut world = formed(4, 5);
    let id = world.nodes[2].setup.id;
    world.kill(2, true);
    let begin = world.now;
    let state = |world: &World, at: usize| {
        let members = world.nodes[at].cluster.as_ref().unwrap().members();
        members
            .into_iter()
            .find(|member| member.id == id)
            .unwrap()
            .state
    };
    world.run_until(begin + 700, |_| false);
    assert_eq!(state(&world, 0), MemberState::Up);
    let suspect = |world: &World| state(world, 0) == MemberState::Suspect;
    assert!(world.run_until(begin + 1_300, suspect).is_some());
    let all_down = |world: &World| {
        [0, 1, 3, 4]
            .iter()
            .all(|at| state(world, *at) == MemberState::Down)
    };
    let down = world.run_until(begin + 1_500, all_down);
    assert!(down.is_some_and(|at| at >= begin + 1_100), "{down:?}");
}

/// Those who watch hear of it from each other: the more they are, the longer an echo could last.
#[test]
fn a_silent_machine_is_down_within_1_5_s_however_many_see_it() {
    for (n_nodes, seed) in [(5, 12), (20, 13)] {
        let mut world = formed(seed, n_nodes);
        let id = world.nodes[2].setup.id;
        world.kill(2, true);
        let begin = world.now;
        let all_down = |world: &World| {
            let mut living = world.nodes.iter().filter(|node| node.is_alive());
            living.all(|node| !node.told_up.contains_key(&id))
        };
        let down = world.run_until(begin + 1_500, all_down);
        println!("{n_nodes} nodes: {:?} ms", down.map(|at| at - begin));
        assert!(down.is_some(), "{n_nodes} nodes");
    }
}

#[test]
fn halves_parted_for_10_s_are_one_within_1_s_of_healing() {
    for seed in 0..3 {
        let mut world = formed(seed, 20);
        faults::cut(&mut world, |one, other| (one < 10) != (other < 10));
        let begin = world.now;
        let seen = world.run_until(begin + 2_000, |world| {
            world.nodes.iter().all(|node| node.told_up.len() == 10)
        });
        assert!(seen.is_some(), "the halves see that they are parted");
        world.run_until(begin + 10_000, |_| false);
        faults::heal(&mut world);
        let merged = world.run_until(begin + 11_000, is_one);
        println!("merged after {:?} ms", merged.map(|at| at - begin - 10_000));
        assert!(merged.is_some(), "{:?}", checks::divided(&world));
        world.run_for(5_000);
        assert_eq!(checks::divided(&world), None);
    }
}

#[test]
fn a_minute_of_a_bad_network_gives_no_false_alarm_and_rest_is_beats_only() {
    let mut world = formed(6, 8);
    checks::is_at_rest(&mut world, 30_000);
    world.network.loss_percent = 5.0;
    world.network.repeat_percent = 5.0;
    world.network.delay_max_ms = 80;
    for _ in 0..60 {
        let at = usize::try_from(world.prng.below(8)).unwrap();
        let millis = world.prng.below(400);
        world.stop_for(at, millis);
        world.run_for(1_000);
        assert!(world.nodes.iter().all(|node| node.told_up.len() == 8));
    }
    assert_eq!(checks::divided(&world), None);
}

#[test]
fn a_network_that_comes_late_is_joined_when_it_comes() {
    let mut world = machines(7, 3);
    faults::cut(&mut world, |_, _| true);
    (0..3).for_each(|at| world.start(at));
    world.run_for(60_000);
    faults::heal(&mut world);
    let begin = world.now;
    let joined = world.run_until(begin + 12_000, is_one);
    assert!(joined.is_some(), "{:?}", checks::divided(&world));
}

#[test]
fn one_static_peer_is_enough_where_there_is_no_multicast() {
    let mut world = machines(8, 20);
    let hub = world.nodes[0].address;
    for node in &mut world.nodes {
        node.setup.has_multicast = false;
        node.setup.peers = vec![waymesh::cluster::proto::PeerAddress::Address(hub)];
    }
    (0..20).for_each(|at| world.start(at));
    let formed = world.run_until(400, is_one);
    println!("static: {formed:?}");
    assert!(formed.is_some(), "{:?}", checks::divided(&world));
    world.run_for(10_000);
    assert_eq!(checks::divided(&world), None);
}

/// The one peer that all were given says goodbye and starts anew; it knows nobody, so it is for the
/// others to dial it.
#[test]
fn a_static_peer_that_left_is_dialled_until_it_is_there_again() {
    let mut world = machines(8, 3);
    let hub = world.nodes[0].address;
    for node in &mut world.nodes {
        node.setup.has_multicast = false;
    }
    for node in &mut world.nodes[1..] {
        node.setup.peers = vec![waymesh::cluster::proto::PeerAddress::Address(hub)];
    }
    (0..3).for_each(|at| world.start(at));
    assert!(world.run_until(1_000, is_one).is_some());
    world.command(0, ClusterInput::Leave);
    world.run_for(20);
    world.kill(0, false);
    world.run_for(30_000);
    world.start(0);
    let begin = world.now;
    let joined = world.run_until(begin + 10_000, is_one);
    assert!(joined.is_some(), "{:?}", checks::divided(&world));
}

/// The mesh of the seed: one connection is enough to stop asking, and yet islands join.
#[test]
fn islands_whose_need_is_met_join_by_the_beat() {
    let mut world = machines(9, 6);
    for node in &mut world.nodes {
        node.setup.min_connections = MinConnections::AtLeast(1);
    }
    faults::cut(&mut world, |one, other| (one < 3) != (other < 3));
    (0..6).for_each(|at| world.start(at));
    world.run_for(20_000);
    assert!(world.nodes.iter().all(|node| node.told_up.len() == 3));
    faults::heal(&mut world);
    let begin = world.now;
    let joined = world.run_until(begin + 12_000, is_one);
    assert!(joined.is_some(), "{:?}", checks::divided(&world));
}

fn star(mode: ConnectMode) -> World {
    let mut world = World::new(10);
    let hub_only = NameMatch::Pattern(regex::Regex::new("^hub").unwrap());
    for (id, name) in [(5, "leaf1"), (3, "hub"), (1, "leaf2"), (9, "leaf3")] {
        let mut setup = Setup::new(id, name);
        setup.connect = hub_only.clone();
        setup.connect_mode = mode;
        world.add(setup);
    }
    (0..4).for_each(|at| world.start(at));
    world.run_for(2_000);
    world
}

/// A hidden star has the links of a star; a visible one is a mesh in which the leaves are told of the
/// hub alone.
#[test]
fn in_a_star_all_know_each_other_and_visible_ones_are_linked() {
    for mode in [ConnectMode::Hidden, ConnectMode::Visible] {
        let mut world = star(mode);
        for (at, node) in world.nodes.iter().enumerate() {
            let cluster = node.cluster.as_ref().unwrap();
            let members = cluster.members();
            assert_eq!(members.len(), 4);
            assert!(members.iter().all(|member| member.state == MemberState::Up));
            let n_linked = members
                .iter()
                .filter(|member| member.linked.is_some())
                .count();
            let is_star = mode == ConnectMode::Hidden && at != 1;
            assert_eq!(n_linked, if is_star { 1 } else { 3 }, "{mode:?} {at}");
            let is_hub = |name: &str| name == "hub" || name == node.setup.name;
            assert!(
                members
                    .iter()
                    .all(|member| member.matches == is_hub(member.name.as_str()))
            );
        }
        // A leaf dies: the others hear of it, over the hub if need be. The hub dies: leaves that it
        // alone had joined are alone.
        world.kill(2, false);
        world.run_for(300);
        assert!(!world.nodes[0].told_up.contains_key(&NodeId(1)));
        world.kill(1, false);
        world.run_for(3_000);
        let n_left = if mode == ConnectMode::Hidden { 1 } else { 2 };
        assert_eq!(world.nodes[0].told_up.len(), n_left);
        world.start(1);
        world.run_for(500);
        assert_eq!(world.nodes[0].told_up.len(), 3);
    }
}

#[test]
fn accept_regex_keeps_a_second_branch_apart() {
    let mut world = World::new(11);
    for (id, name, branch) in [
        (1, "a-hub", "^a"),
        (2, "a-leaf", "^a"),
        (3, "b-hub", "^b"),
        (4, "b-leaf", "^b"),
    ] {
        let branch = NameMatch::Pattern(regex::Regex::new(branch).unwrap());
        let mut setup = Setup::new(id, name);
        setup.accept = branch.clone();
        setup.connect = if id == 2 { NameMatch::All } else { branch };
        world.add(setup);
    }
    (0..4).for_each(|at| world.start(at));
    world.run_for(60_000);
    assert!(world.nodes.iter().all(|node| node.told_up.len() == 2));
    let refused = world.nodes[1].cluster.as_ref().unwrap().counts();
    assert!(
        refused.n_dials <= 6,
        "{} dials: not repeated",
        refused.n_dials
    );
    checks_rest(&mut world);
}

fn checks_rest(world: &mut World) {
    let before = world.n_datagrams;
    world.run_for(30_000);
    assert_eq!(world.n_datagrams[0], before[0], "no PING at rest");
    assert_eq!(world.n_datagrams[1], before[1], "no PONG at rest");
}

#[test]
fn strangers_stay_out_and_are_named() {
    let mut world = World::new(12);
    for (id, name) in [(1, "a"), (2, "b"), (3, "stranger")] {
        let mut setup = Setup::new(id, name);
        if id == 3 {
            setup.secret = "another";
        }
        world.add(setup);
    }
    (0..3).for_each(|at| world.start(at));
    world.run_for(5_000);
    let told: Vec<usize> = world.nodes.iter().map(|node| node.told_up.len()).collect();
    assert_eq!(told, [2, 2, 1]);
    let view = world.nodes[0].cluster.as_ref().unwrap().discovery();
    let verdicts: Vec<(String, String)> = view
        .senders
        .iter()
        .map(|sender| {
            let name = sender.name.as_ref().map(ToString::to_string);
            (name.unwrap_or_default(), sender.verdict.to_string())
        })
        .collect();
    let expected = [("b", "linked"), ("stranger", "wrong secret")];
    assert_eq!(
        verdicts,
        expected.map(|(name, verdict)| (name.into(), verdict.into()))
    );
}

#[test]
fn a_newcomer_with_a_taken_name_stays_out_until_the_holder_is_gone() {
    let mut world = formed(13, 4);
    let mut setup = Setup::new(1, "n2");
    setup.id = NodeId(1); // Lower than the holder's: the holder keeps the name all the same.
    let twin = world.add(setup);
    world.start(twin);
    world.run_for(3_000);
    assert!(world.nodes[twin].is_refused);
    assert!((0..4).all(|at| world.nodes[at].told_up.len() == 4 && !world.nodes[at].is_refused));
    world.kill(2, false);
    world.run_for(8_000);
    assert!(!world.nodes[twin].is_refused);
    assert_eq!(checks::divided(&world), None);
    let begin = world.now;
    world.start(2);
    world.run_until(begin + 3_000, |_| false);
    assert!(world.nodes[2].is_refused, "it finds its name taken");
}

/// Long before its first series is over: who sees it, sees that it has the name.
#[test]
fn a_name_is_held_as_soon_as_its_holder_is_seen() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        for (id, name) in [(9, "same"), (20, "n0"), (5, "n1")] {
            world.add(Setup::new(id, name));
        }
        let twin = world.add(Setup::new(2, "same"));
        (0..3).for_each(|at| world.start(at));
        let all_see_all = |world: &World| (0..3).all(|at| world.nodes[at].told_up.len() == 3);
        assert!(world.run_until(200, all_see_all).is_some());
        world.start(twin);
        // At no moment it has to give way.
        let is_refused = |world: &World| world.nodes[0].is_refused;
        let end = world.now + 4_000;
        assert_eq!(world.run_until(end, is_refused), None, "seed {seed}");
        assert!(all_see_all(&world));
        assert!(world.nodes[twin].is_refused, "seed {seed}");
    }
}

#[test]
fn of_two_that_start_together_the_lower_identity_keeps_the_name() {
    for others in 0..3_usize {
        let mut world = World::new(14);
        world.add(Setup::new(9, "same"));
        world.add(Setup::new(2, "same"));
        for at in 0..others {
            world.add(Setup::new(20 + at as u64, &format!("n{at}")));
        }
        (0..2 + others).for_each(|at| world.start(at));
        world.run_for(4_000);
        let refused: Vec<bool> = world
            .nodes
            .iter()
            .take(2)
            .map(|node| node.is_refused)
            .collect();
        assert_eq!(refused, [true, false], "with {others} others");
    }
}

#[test]
fn after_a_parting_the_lower_identity_keeps_the_name_everywhere() {
    let mut world = World::new(15);
    for (id, name) in [(9, "same"), (30, "x"), (2, "same"), (40, "y")] {
        world.add(Setup::new(id, name));
    }
    faults::cut(&mut world, |one, other| (one < 2) != (other < 2));
    (0..4).for_each(|at| world.start(at));
    world.run_for(5_000);
    assert!(
        world
            .nodes
            .iter()
            .all(|node| !node.is_refused && node.told_up.len() == 2)
    );
    faults::heal(&mut world);
    world.run_for(12_000);
    let refused: Vec<bool> = world.nodes.iter().map(|node| node.is_refused).collect();
    assert_eq!(refused, [true, false, false, false]);
    for at in [1, 3] {
        let told: Vec<u64> = world.nodes[at].told_up.keys().map(|id| id.0).collect();
        assert_eq!(told, [2, 30, 40], "{at}");
    }
}

#[test]
fn a_data_folder_put_back_from_a_copy_counts_on_from_what_others_know() {
    let mut world = formed(16, 3);
    for _ in 0..3 {
        world.kill(1, false);
        world.run_for(100);
        world.start(1);
        world.run_for(1_000);
    }
    world.kill(1, false);
    world.run_for(100);
    world.nodes[1].incarnation = 0;
    world.start(1);
    world.run_for(8_000);
    assert_eq!(checks::divided(&world), None);
    assert!(
        world.nodes[1].incarnation > 4,
        "{}",
        world.nodes[1].incarnation
    );
}

#[test]
fn a_goodbye_is_no_death_and_forgetting_is_for_all() {
    let mut world = formed(17, 4);
    let id = world.nodes[3].setup.id;
    world.command(3, ClusterInput::Leave);
    world.run_for(10);
    let state = |world: &World, at: usize| {
        let members = world.nodes[at].cluster.as_ref().unwrap().members();
        members
            .into_iter()
            .find(|member| member.id == id)
            .map(|member| member.state)
    };
    assert!((0..3).all(|at| state(&world, at) == Some(MemberState::Left)));
    world.kill(3, false);
    world.run_for(2_000);
    let forget = Forgotten::Id(id);
    world.command(0, ClusterInput::Forget(forget));
    world.run_for(100);
    assert!((0..3).all(|at| state(&world, at).is_none()));
    world.start(3);
    world.run_for(1_000);
    assert_eq!(checks::divided(&world), None);
}

/// All are down; those that start again miss the one that does not, until it is struck off. Without
/// multicast they find each other where they were.
#[test]
fn a_cluster_that_starts_anew_misses_who_stays_away_until_it_is_forgotten() {
    for has_multicast in [true, false] {
        let mut world = formed(20, 4);
        let id = world.nodes[3].setup.id;
        (0..4).for_each(|at| world.kill(at, at == 2));
        world.run_for(5_000);
        for node in &mut world.nodes {
            node.setup.has_multicast = has_multicast;
        }
        (0..3).for_each(|at| world.start(at));
        let state = |world: &World, at: usize| {
            let members = world.nodes[at].cluster.as_ref().unwrap().members();
            let member = members.into_iter().find(|member| member.id == id);
            member.map(|member| (member.state, member.roles.is_store))
        };
        let missed = Some((MemberState::Down, true));
        assert!((0..3).all(|at| state(&world, at) == missed));
        let begin = world.now;
        let joined = world.run_until(begin + 1_000, is_one);
        assert!(joined.is_some(), "{:?}", checks::divided(&world));
        world.run_for(1_000);
        assert!((0..3).all(|at| state(&world, at) == missed));
        world.command(1, ClusterInput::Forget(Forgotten::Id(id)));
        world.run_for(1_000);
        assert!((0..3).all(|at| state(&world, at).is_none()));
        (0..3).for_each(|at| world.kill(at, false));
        (0..3).for_each(|at| world.start(at));
        world.run_for(1_000);
        assert!((0..3).all(|at| state(&world, at).is_none()));
        world.start(3);
        let begin = world.now;
        let joined = world.run_until(begin + 1_000, is_one);
        assert!(joined.is_some(), "{:?}", checks::divided(&world));
    }
}

/// A pair that cannot reach each other, while both reach a third.
#[test]
fn a_broken_pair_suspects_each_other_and_nobody_dies() {
    let mut world = formed(18, 3);
    faults::cut(&mut world, |one, other| one < 2 && other < 2);
    world.run_for(10_000);
    assert!(world.nodes.iter().all(|node| node.told_up.len() == 3));
    let state = |at: usize, other: usize| {
        let members = world.nodes[at].cluster.as_ref().unwrap().members();
        let id = world.nodes[other].setup.id;
        members
            .into_iter()
            .find(|member| member.id == id)
            .unwrap()
            .state
    };
    assert_eq!(
        (state(0, 1), state(1, 0)),
        (MemberState::Suspect, MemberState::Suspect)
    );
    assert_eq!(
        (state(2, 0), state(2, 1)),
        (MemberState::Up, MemberState::Up)
    );
    faults::heal(&mut world);
    world.run_for(1_000);
    assert_eq!(checks::divided(&world), None);
}
