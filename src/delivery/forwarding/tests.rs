//! The forwarder by rule: to whom a parcel goes, when it goes elsewhere, what it costs others.

use super::{
    testing::{large_parcel, parcel},
    *,
};
use crate::cluster::proto::NodeName;

const OWN: NodeId = NodeId(1);

fn map(nodes: &[u64]) -> Arc<ShardMap> {
    let nodes = nodes
        .iter()
        .map(|id| (NodeName::parse(&format!("n{id}")).unwrap(), NodeId(*id)));
    Arc::new(ShardMap::new(nodes))
}

/// A vehicle that a node owns in a map.
fn vehicle_of(map: &ShardMap, owner: u64) -> String {
    let mut names = (0..).map(|number| format!("bus-{number}"));
    let is_owned = |name: &String| {
        let vehicle = crate::types::ids::VehicleId::parse(name.as_bytes()).unwrap();
        map.owner(ShardId::of(&vehicle)) == Some(NodeId(owner))
    };
    names.find(is_owned).unwrap()
}

struct Talk {
    forwarder: Forwarder<u64>,
    now: u64,
    out: Vec<ForwardOutput<u64>>,
}

impl Talk {
    fn new(nodes: &[u64]) -> Self {
        let mut talk = Self {
            forwarder: Forwarder::new(OWN, 1_000_000),
            now: 0,
            out: Vec::new(),
        };
        talk.meets(nodes, &others(nodes));
        talk
    }

    fn tells(&mut self, input: ForwardInput<u64>) -> Vec<String> {
        let now = Instant::from_millis(self.now);
        self.forwarder.handle(now, input, &mut self.out);
        self.forwarder.pump(&mut self.out);
        self.out.drain(..).map(|output| word(&output)).collect()
    }

    /// Owners, and the links by node and number.
    fn meets(&mut self, nodes: &[u64], links: &[(u64, u64)]) -> Vec<String> {
        let links = links.iter().map(|(id, link)| (NodeId(*id), LinkId(*link)));
        self.tells(ForwardInput::Neighbours {
            map: map(nodes),
            links: links.collect(),
        })
    }

    fn hands_in(&mut self, vehicle: &str, number: u64) -> Vec<String> {
        self.tells(ForwardInput::Parcel(parcel(vehicle, number)))
    }

    fn hears(&mut self, from: u64, session: u64, below: u64, refused: &[u64]) -> Vec<String> {
        let acks = Acks {
            session,
            below,
            refused: refused.to_vec(),
        };
        let (from, link) = (NodeId(from), LinkId(from));
        self.tells(ForwardInput::Acks { from, link, acks })
    }

    fn ticks(&mut self, millis: u64) -> Vec<String> {
        self.now += millis;
        self.tells(ForwardInput::Tick)
    }
}

fn others(nodes: &[u64]) -> Vec<(u64, u64)> {
    let others = nodes.iter().filter(|id| **id != OWN.0);
    others.map(|id| (*id, *id)).collect()
}

fn word(output: &ForwardOutput<u64>) -> String {
    match output {
        ForwardOutput::Send { to, link, payload } => {
            let (frame, batch) = wire::read_records(payload).unwrap();
            format!(
                "send {}/{} session {} frame {}: {}",
                to.0,
                link.0,
                frame.session,
                frame.number,
                batch.n_records()
            )
        }
        ForwardOutput::Store(parcel) => format!("store {}", parcel.token),
        ForwardOutput::Settle {
            token, is_durable, ..
        } => format!("settle {token} {is_durable}"),
        ForwardOutput::Close { peer, link } => format!("close {}/{}", peer.0, link.0),
    }
}

#[test]
fn a_parcel_goes_to_the_owner_and_is_settled_when_that_has_stored_it() {
    let mut talk = Talk::new(&[1, 2]);
    let (own, other) = (vehicle_of(&map(&[1, 2]), 1), vehicle_of(&map(&[1, 2]), 2));
    assert_eq!(talk.hands_in(&own, 1), ["store 1"]);
    assert_eq!(talk.hands_in(&other, 2), ["send 2/2 session 1 frame 0: 1"]);
    assert_eq!(talk.hands_in(&other, 3), ["send 2/2 session 1 frame 1: 1"]);
    assert_eq!(talk.hears(2, 1, 1, &[]), ["settle 2 true"]);
    assert_eq!(talk.hears(2, 1, 2, &[]), ["settle 3 true"]);
    assert_eq!(talk.forwarder.sizes(), (0, 0));
}

#[test]
fn what_an_owner_that_leaves_has_not_acknowledged_goes_to_the_next() {
    let mut talk = Talk::new(&[1, 2, 3]);
    let name = vehicle_of(&map(&[2, 3]), 3);
    let owner = if vehicle_of(&map(&[1, 2, 3]), 3) == name {
        3
    } else {
        2
    };
    let name = vehicle_of(&map(&[1, 2, 3]), owner);
    talk.hands_in(&name, 1);
    talk.hands_in(&name, 2);
    // Its link is gone, and may come back.
    assert!(talk.meets(&[1, 2, 3], &[]).is_empty());
    assert!(talk.hands_in(&name, 3).is_empty());
    let next: Vec<String> = talk.meets(&[1], &[]);
    assert_eq!(next, ["store 1", "store 2", "store 3"]);
    assert_eq!(talk.forwarder.n_rerouted(), 3);
}

#[test]
fn over_a_link_that_comes_again_what_was_under_way_goes_again() {
    let mut talk = Talk::new(&[1, 2]);
    let name = vehicle_of(&map(&[1, 2]), 2);
    talk.hands_in(&name, 1);
    assert!(talk.meets(&[1, 2], &[]).is_empty());
    assert_eq!(
        talk.meets(&[1, 2], &[(2, 9)]),
        ["send 2/9 session 3 frame 0: 1"]
    );
    assert!(
        talk.hears(2, 1, 1, &[]).is_empty(),
        "said over the link before"
    );
    let acks = Acks {
        session: 3,
        below: 1,
        refused: Vec::new(),
    };
    let (from, link) = (NodeId(2), LinkId(9));
    assert_eq!(
        talk.tells(ForwardInput::Acks { from, link, acks }),
        ["settle 1 true"]
    );
}

#[test]
fn what_is_refused_is_offered_again_a_little_later_or_when_owners_change() {
    let mut talk = Talk::new(&[1, 2]);
    let name = vehicle_of(&map(&[1, 2]), 2);
    talk.hands_in(&name, 1);
    assert!(talk.hears(2, 1, 1, &[0]).is_empty());
    assert!(talk.ticks(99).is_empty());
    assert_eq!(talk.ticks(1), ["send 2/2 session 1 frame 1: 1"]);
    talk.hears(2, 1, 2, &[1]);
    assert_eq!(talk.meets(&[1], &[(2, 2)]), ["store 1"]);
}

#[test]
fn without_owners_parcels_are_held_for_a_while() {
    let mut talk = Talk::new(&[]);
    assert!(talk.hands_in("a", 1).is_empty());
    assert!(talk.ticks(20_000).is_empty());
    assert_eq!(talk.ticks(10_000), ["settle 1 false"]);
    assert_eq!(talk.forwarder.next_deadline(), None);
}

#[test]
fn a_destination_over_its_share_is_closed_until_half_of_it_is_free() {
    let mut talk = Talk::new(&[1, 2]);
    let name = vehicle_of(&map(&[1, 2]), 2);
    let n_bytes = parcel(&name, 0).n_bytes() as u64;
    let n_parcels = 500_000_u64.div_ceil(n_bytes);
    for number in 0..n_parcels {
        assert!(talk.forwarder.closed().is_empty());
        talk.hands_in(&name, number);
    }
    let is_closed = |talk: &Talk| talk.forwarder.closed().contains(&NodeId(2));
    assert!(is_closed(&talk));
    talk.hears(2, 1, n_parcels / 2 - 1, &[]);
    assert!(is_closed(&talk));
    talk.hears(2, 1, n_parcels / 2 + 1, &[]);
    assert!(!is_closed(&talk));
    for number in 0..n_parcels {
        talk.hands_in(&name, number);
    }
    assert!(is_closed(&talk));
    talk.meets(&[1], &[]);
    assert!(talk.forwarder.closed().is_empty());
}

#[test]
fn what_a_parcel_takes_of_the_room_counts_and_not_its_bytes() {
    let mut talk = Talk::new(&[1, 2]);
    let name = vehicle_of(&map(&[1, 2]), 2);
    let heavy = |number: u64| {
        let batch = parcel(&name, number).batch;
        ForwardInput::Parcel(Parcel::new(batch, number, 250_000))
    };
    talk.tells(heavy(0));
    assert!(talk.forwarder.closed().is_empty());
    talk.tells(heavy(1));
    assert!(talk.forwarder.closed().contains(&NodeId(2)));
    talk.hears(2, 1, 1, &[]);
    assert!(talk.forwarder.closed().is_empty());
}

#[test]
fn what_is_refused_counts_against_who_refused_it_until_it_is_given_up() {
    let mut talk = Talk::new(&[1, 2]);
    let name = vehicle_of(&map(&[1, 2]), 2);
    let batch = parcel(&name, 1).batch;
    talk.tells(ForwardInput::Parcel(Parcel::new(batch, 1, 600_000)));
    let is_closed = |talk: &Talk| talk.forwarder.closed().contains(&NodeId(2));
    for number in 1..300 {
        assert!(is_closed(&talk));
        assert!(talk.hears(2, 1, number, &[number - 1]).is_empty());
        assert!(is_closed(&talk), "held after a refusal");
        assert_eq!(
            talk.ticks(100),
            [format!("send 2/2 session 1 frame {number}: 1")]
        );
    }
    talk.hears(2, 1, 300, &[299]);
    assert_eq!(talk.ticks(100), ["settle 1 false"]);
    assert!(!is_closed(&talk));
    assert_eq!(talk.forwarder.sizes(), (0, 0));
}

#[test]
fn another_forwarder_over_the_same_links_uses_other_numbers() {
    let session = |n_before: u32| {
        let mut talk = Talk::new(&[1, 2]);
        talk.forwarder = Forwarder::new(OWN, 1_000_000).after_others(n_before);
        talk.meets(&[1, 2], &others(&[1, 2]));
        let name = vehicle_of(&map(&[1, 2]), 2);
        let input = ForwardInput::Parcel(parcel(&name, 1));
        talk.forwarder
            .handle(Instant::from_millis(0), input, &mut talk.out);
        talk.forwarder.pump(&mut talk.out);
        let sent = talk.out.iter().find_map(|output| match output {
            ForwardOutput::Send { payload, .. } => Some(payload.clone()),
            _ => None,
        });
        wire::read_records(&sent.unwrap()).unwrap().0.session
    };
    assert!(session(0) < session(1) && session(1) < session(2));
}

#[test]
fn who_breaks_the_rules_loses_the_link_and_nothing_is_settled() {
    let mut talk = Talk::new(&[1, 2]);
    let name = vehicle_of(&map(&[1, 2]), 2);
    talk.hands_in(&name, 1);
    assert_eq!(talk.hears(2, 1, 2, &[]), ["close 2/2"]);
    assert_eq!(talk.hears(2, 1, 1, &[]), ["settle 1 true"]);
}

#[test]
fn what_fits_into_no_frame_stays_here() {
    let mut talk = Talk::new(&[2]);
    let input = ForwardInput::Parcel(large_parcel(90_000, 1));
    assert_eq!(talk.tells(input), ["store 1"]);
}
