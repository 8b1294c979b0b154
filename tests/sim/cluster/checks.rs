//! What must hold: at each step of a node, and when all has been whole for long enough.

use waymesh::cluster::proto::{
    ClusterEvent, DownReason, MemberState, NodeEvent, PingPhase, TableSizes,
};

use super::world::World;

/// Datagrams that a node may send within a second, whatever happens: 20 PONGs, and the PINGs of the
/// series that losses (two a second), beats (one a second) and sockets start.
const DATAGRAMS_PER_SECOND_MAX: usize = 20 + 16;

/// Dials that a node may begin within a second, for each other node.
const DIALS_PER_SECOND_MAX: usize = 24;

/// After each input of a node.
pub(crate) fn after_step(world: &World, at: usize) {
    let node = &world.nodes[at];
    let Some(cluster) = &node.cluster else {
        return;
    };
    let sizes = cluster.sizes();
    let n_nodes = world.nodes.len();
    let caps = TableSizes {
        n_members: n_nodes,
        n_links: 2 * n_nodes,
        n_peers: n_nodes + 1,
        n_dials: 2 * n_nodes + 2,
        n_senders: 2 * n_nodes,
        n_nonces: 32 * (n_nodes + 1),
        n_places: 1,
    };
    let pairs = [
        (sizes.n_members, caps.n_members),
        (sizes.n_links, caps.n_links),
        (sizes.n_peers, caps.n_peers),
        (sizes.n_dials, caps.n_dials),
        (sizes.n_senders, caps.n_senders),
        (sizes.n_nonces, caps.n_nonces),
        (sizes.n_places, caps.n_places),
    ];
    assert!(
        pairs.iter().all(|(size, cap)| size <= cap),
        "{at}: {sizes:?} over {caps:?}"
    );
}

/// Inputs of a node that come within so many milliseconds may be handled together.
const TURN_MS: u64 = 1;

/// A node told its subscribers something: each change once, up and down in turn, and nobody is down
/// to whom it has a living link.
pub(crate) fn told(world: &mut World, at: usize, event: &ClusterEvent) {
    let now = world.now;
    match event {
        ClusterEvent::NodeUp(NodeEvent {
            id, incarnation, ..
        }) => {
            let known = world.nodes[at].told_up.insert(*id, *incarnation);
            assert_eq!(known, None, "{now}: {at} says twice that {id} is up");
        }
        ClusterEvent::NodeDown(NodeEvent { id, .. }, reason) => {
            let known = world.nodes[at].told_up.remove(id);
            assert!(known.is_some(), "{now}: {at} never said that {id} is up");
            let is_own_word = matches!(reason, DownReason::Left | DownReason::Restarted);
            // Of a link that came to stand a moment ago the core may hear behind what it says here.
            let has_link = world.pipes.values().any(|pipe| {
                let is_it = |end: usize| {
                    pipe.ends[end].node == at
                        && pipe.ends[end].is_up()
                        && pipe.ends[end].up_at + TURN_MS < now
                        && pipe.cards[1 - end].id == *id
                };
                is_it(0) || is_it(1)
            });
            assert!(
                is_own_word || !has_link,
                "{now}: {at} says {id} down: {reason}"
            );
        }
        ClusterEvent::Epoch { .. } => {}
    }
}

/// A node sent a datagram.
pub(crate) fn sent(world: &mut World, at: usize) {
    let now = world.now;
    let sent = &mut world.nodes[at].sent;
    sent.push_back(now);
    while sent.front().is_some_and(|first| now - first >= 1_000) {
        sent.pop_front();
    }
    let n_sent = sent.len();
    assert!(
        n_sent <= DATAGRAMS_PER_SECOND_MAX,
        "{now}: {at} sent {n_sent} datagrams in a second"
    );
}

/// A node began a dial.
pub(crate) fn dialled(world: &mut World, at: usize) {
    let (now, n_others) = (world.now, world.nodes.len());
    let dialled = &mut world.nodes[at].dialled;
    dialled.push_back(now);
    while dialled.front().is_some_and(|first| now - first >= 1_000) {
        dialled.pop_front();
    }
    let n_dialled = dialled.len();
    assert!(
        n_dialled <= DIALS_PER_SECOND_MAX * n_others,
        "{now}: {at} began {n_dialled} dials in a second"
    );
}

/// Why the living are not yet one cluster, if they are not.
pub(crate) fn divided(world: &World) -> Option<String> {
    let mut digests = Vec::new();
    for (at, node) in world.nodes.iter().enumerate() {
        let Some(cluster) = &node.cluster else {
            continue;
        };
        digests.push((cluster.view(), cluster.epoch()));
        for member in cluster.members() {
            let other = world.by_id(member.id)?;
            let is_alive = world.nodes[other].is_alive();
            let is_away = matches!(member.state, MemberState::Down | MemberState::Left);
            if is_alive == is_away || (is_alive && member.state != MemberState::Up) {
                return Some(format!("{at} takes {other} for {:?}", member.state));
            }
            if is_alive && other != at && member.linked.is_none() {
                return Some(format!("{at} has no link to {other}"));
            }
        }
        let living = world.nodes.iter().filter(|node| node.is_alive());
        let mut expected: Vec<_> = living.map(|node| node.setup.id).collect();
        expected.sort();
        let told: Vec<_> = node.told_up.keys().copied().collect();
        if told != expected {
            return Some(format!("{at} told its subscribers of {told:?}"));
        }
    }
    digests.dedup();
    (digests.len() > 1).then(|| format!("views and epochs differ: {digests:?}"))
}

/// All is whole and has been for long: nothing but beats is sent.
pub(crate) fn is_at_rest(world: &mut World, for_ms: u64) {
    let before = world.n_datagrams;
    world.run_for(for_ms);
    let [n_pings, n_pongs, n_beats] =
        std::array::from_fn(|kind| world.n_datagrams[kind] - before[kind]);
    let living = world.nodes.iter().filter(|node| node.is_alive());
    let n_beats_max: u64 = living
        .map(|node| {
            let interval = u64::try_from(node.setup.ping_interval.as_millis()).unwrap();
            // Jitter of a tenth, and clocks that run 2 % fast.
            for_ms / (interval * 88 / 100) + 1
        })
        .sum();
    assert_eq!((n_pings, n_pongs), (0, 0), "not at rest");
    assert!((1..=n_beats_max).contains(&n_beats), "{n_beats} beats");
    for node in &world.nodes {
        if let Some(cluster) = &node.cluster {
            assert_eq!(cluster.discovery().phase, PingPhase::Rest);
        }
    }
}
