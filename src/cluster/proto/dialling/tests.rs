//! Dials by rule: who begins, how often, and what a failure leads to.

use super::*;
use crate::cluster::proto::timing::REDIAL_LONG_AFTER;

const INTERVAL: Duration = Duration::from_secs(10);

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), port)
}

fn sighting(id: u64) -> Sighting {
    Sighting {
        id: NodeId(id),
        name: NodeName::parse("peer").unwrap(),
        run: RunNumber(id),
        is_settled: true,
        address: address(5_001),
    }
}

fn dialling() -> Dialling {
    Dialling::new(NodeId(5), INTERVAL, 8, Prng::new(1))
}

/// The dials that begin at a time.
fn dials(dialling: &mut Dialling, now: u64) -> Vec<DialId> {
    let mut out = Vec::new();
    dialling.poll(at(now), &mut out);
    out.iter()
        .map(|output| match output {
            ClusterOutput::Dial { dial, .. } | ClusterOutput::DialName { dial, .. } => *dial,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Runs until a time, each dial failing after `after` milliseconds; gives when dials began.
fn failing(dialling: &mut Dialling, until: u64, after: u64, why: &DialFailure) -> Vec<u64> {
    let mut begun = Vec::new();
    while let Some(next) = dialling.next_deadline().filter(|next| *next <= at(until)) {
        let now = next.as_millis();
        for dial in dials(dialling, now) {
            begun.push(now);
            dialling.failed(at(now + after), dial, why.clone());
        }
    }
    begun
}

#[test]
fn the_lower_identity_dials_at_once_the_higher_a_little_later() {
    let mut dialling = dialling();
    dialling.sighted(at(0), &sighting(9));
    dialling.sighted(at(0), &sighting(2));
    assert_eq!(dials(&mut dialling, 0).len(), 1);
    assert_eq!(dialling.next_deadline(), Some(at(100)));
    let who = (NodeId(2), &sighting(2).name, RunNumber(2));
    dialling.linked(at(0), who, address(5_001));
    assert_eq!(dials(&mut dialling, 100), [], "a link stands");
}

#[test]
fn a_node_that_does_not_listen_yet_is_tried_again_and_then_left_alone() {
    let mut dialling = dialling();
    dialling.sighted(at(0), &sighting(9));
    let begun = failing(&mut dialling, 60_000, 0, &DialFailure::Refused);
    assert_eq!(begun, [0, 10, 30, 70]);
}

#[test]
fn beacons_of_a_dead_node_cause_few_dials() {
    let mut dialling = dialling();
    let mut begun = Vec::new();
    for millis in (0..60_000).step_by(5) {
        dialling.sighted(at(millis), &sighting(9));
        begun.extend(failing(&mut dialling, millis, 0, &DialFailure::Refused));
    }
    assert!(begun.len() <= 16, "{begun:?}");
    let restarted = Sighting {
        run: RunNumber(77),
        ..sighting(9)
    };
    dialling.sighted(at(60_000), &restarted);
    assert_eq!(
        dials(&mut dialling, 60_000).len(),
        1,
        "a new run is dialled at once"
    );
}

#[test]
fn a_lost_member_is_dialled_often_for_a_minute_and_then_seldom() {
    let mut dialling = dialling();
    let who = (NodeId(2), &sighting(2).name, RunNumber(2));
    dialling.linked(at(0), who, address(5_001));
    dialling.lost(at(1_000), NodeId(2));
    let begun = failing(&mut dialling, 120_000, 1, &DialFailure::Refused);
    assert_eq!(
        begun[..3],
        [1_000, 1_250, 1_500],
        "though the identity is higher"
    );
    let minute = 1_000 + u64::try_from(REDIAL_LONG_AFTER.as_millis()).unwrap();
    let n_often = begun.iter().filter(|at| **at < minute).count();
    assert!((235..=241).contains(&n_often), "{n_often}");
    let n_seldom = begun.len() - n_often;
    assert!((5..=7).contains(&n_seldom), "{n_seldom}");
    dialling.keep(at(120_000), NodeId(2), false);
    assert_eq!(dialling.next_deadline(), None, "nobody seeks it any more");
}

#[test]
fn a_remembered_member_is_sought_now_and_then_and_at_once_when_it_is_reported_up() {
    let mut dialling = dialling();
    let name = sighting(9).name;
    dialling.remembered(NodeId(9), &name, Some(address(5_001)));
    dialling.keep(at(0), NodeId(9), true);
    assert_eq!(dials(&mut dialling, 20), []);
    dialling.reported(at(20), (NodeId(9), &name, RunNumber(9)), None);
    let begun = dials(&mut dialling, 20);
    assert_eq!(begun.len(), 1);
    for again in begun {
        dialling.failed(at(20), again, DialFailure::Refused);
    }
    dialling.reported(at(25), (NodeId(9), &name, RunNumber(9)), None);
    assert_eq!(dials(&mut dialling, 25), [], "that is known");
}

#[test]
fn a_lost_member_that_breaks_dials_off_is_dialled_again_at_once_for_a_moment() {
    for why in [
        DialFailure::Broken,
        DialFailure::TimedOut,
        DialFailure::Foreign,
    ] {
        let mut dialling = dialling();
        let who = (NodeId(2), &sighting(2).name, RunNumber(2));
        dialling.linked(at(0), who, address(5_001));
        dialling.lost(at(1_000), NodeId(2));
        let begun = failing(&mut dialling, 2_000, 1, &why);
        let expected = [0, 1, 3, 7, 15, 31, 63, 127, 377, 627, 877];
        assert_eq!(begun, expected.map(|millis| 1_000 + millis), "{why:?}");
    }
}

#[test]
fn who_does_not_accept_us_is_not_asked_again_until_it_starts_anew() {
    let mut dialling = dialling();
    for millis in (0..60_000).step_by(500) {
        dialling.sighted(at(millis), &sighting(9));
        failing(&mut dialling, millis, 1, &DialFailure::NotAccepted);
    }
    assert_eq!(dialling.counts.n_dials, 1);
    let restarted = Sighting {
        run: RunNumber(77),
        ..sighting(9)
    };
    dialling.sighted(at(60_000), &restarted);
    assert_eq!(dials(&mut dialling, 60_000).len(), 1);
}

/// The port that is dialled at `now`, where nobody answers in time.
#[track_caller]
fn port_that_times_out(dialling: &mut Dialling, now: u64) -> u16 {
    let mut out = Vec::new();
    dialling.poll(at(now), &mut out);
    let Some(ClusterOutput::Dial { address, dial, .. }) = out.first().cloned() else {
        panic!("no dial at {now}");
    };
    dialling.failed(at(now), dial, DialFailure::TimedOut);
    address.port()
}

#[test]
fn a_lost_member_is_dialled_first_where_its_link_stood() {
    let mut dialling = dialling();
    let who = (NodeId(9), &sighting(9).name, RunNumber(9));
    dialling.linked(at(0), who, address(5_009));
    for port in 6_001..6_006 {
        let elsewhere = Sighting {
            address: address(port),
            ..sighting(9)
        };
        dialling.sighted(at(10), &elsewhere);
    }
    dialling.lost(at(1_000), NodeId(9));
    let mut ports = Vec::new();
    for now in [1_000, 1_500] {
        let port = port_that_times_out(&mut dialling, now);
        let peer = dialling.peer(NodeId(9)).unwrap();
        ports.push((port == 5_009, peer.was_dialled_where_it_stood()));
    }
    assert_eq!(ports, [(true, true), (false, false)]);
}

#[test]
fn another_address_is_tried_after_one_that_failed() {
    let mut dialling = dialling();
    dialling.sighted(at(0), &sighting(9));
    let other = Sighting {
        address: address(6_001),
        ..sighting(9)
    };
    dialling.sighted(at(0), &other);
    let mut dialled = Vec::new();
    for now in [0, 10] {
        dialled.push(port_that_times_out(&mut dialling, now));
    }
    assert_eq!(dialled, [6_001, 5_001]);
}

#[test]
fn a_peer_given_by_hand_is_tried_ever_more_seldom_and_not_once_it_is_linked() {
    let mut dialling = dialling();
    let name = PeerAddress::Name("depot.example:5001".into());
    assert!(dialling.add_static(at(0), name.clone()) && dialling.add_static(at(0), name));
    let begun = failing(&mut dialling, 60_000, 0, &DialFailure::Unreachable);
    assert!((9..=14).contains(&begun.len()), "{begun:?}");
    assert!(begun.windows(2).all(|pair| pair[1] - pair[0] <= 10_000));
    let next = dialling.next_deadline().unwrap();
    let dial = dials(&mut dialling, next.as_millis())[0];
    dialling.succeeded(at(0), dial, NodeId(9));
    assert_eq!(dialling.next_deadline(), None);
    dialling.lost(next, NodeId(9));
    assert!(dialling.next_deadline().is_some());
}

#[test]
fn tables_are_bounded_and_a_dial_that_nobody_reports_about_ends() {
    let mut dialling = dialling();
    for id in 6..1_000 {
        dialling.sighted(at(0), &sighting(id));
    }
    assert_eq!(dialling.sizes().1, 8);
    assert!(dialling.counts.n_peers_dropped > 900);
    assert_eq!(dials(&mut dialling, 0).len(), 8);
    assert_eq!(dialling.next_deadline(), Some(at(0) + DIAL_LIFE));
    dials(&mut dialling, 15_000);
    assert_eq!(dialling.counts.n_failed, 8);
}

#[test]
fn a_link_that_breaks_as_soon_as_it_stands_is_dialled_at_once_only_once() {
    let mut dialling = dialling();
    let name = NodeName::parse("peer").unwrap();
    let stands_and_breaks = |dialling: &mut Dialling, stands: u64, breaks: u64| {
        let who = (NodeId(9), &name, RunNumber(9));
        dialling.linked(at(stands), who, address(5_001));
        dialling.lost(at(breaks), NodeId(9));
        dialling.next_deadline().unwrap().as_millis()
    };
    assert_eq!(stands_and_breaks(&mut dialling, 0, 5), 5);
    for began in [1_000, 2_000, 3_000] {
        let next = stands_and_breaks(&mut dialling, began, began + 5);
        assert_eq!(next, began + 250);
    }
    assert_eq!(stands_and_breaks(&mut dialling, 4_000, 9_000), 9_000);
    assert_eq!(stands_and_breaks(&mut dialling, 9_100, 9_105), 9_105);
}

#[test]
fn who_is_wanted_is_dialled_on_though_somebody_else_answered_in_its_place() {
    let mut dialling = dialling();
    dialling.sighted(at(0), &sighting(9));
    dialling.keep(at(0), NodeId(9), true);
    let [dial] = *dials(&mut dialling, 100) else {
        panic!("one dial");
    };
    dialling.succeeded(at(110), dial, NodeId(7));
    assert_eq!(dialling.next_deadline(), Some(at(110) + INTERVAL));
}

/// Its last link went while others said that it was down; then it is heard of again.
#[test]
fn who_is_wanted_on_is_dialled_on() {
    let mut dialling = dialling();
    let name = NodeName::parse("peer").unwrap();
    dialling.linked(at(0), (NodeId(9), &name, RunNumber(9)), address(5_001));
    dialling.keep(at(0), NodeId(9), true);
    dialling.unlinked(at(1_000), NodeId(9));
    assert_eq!(dialling.next_deadline(), None);
    dialling.keep(at(1_000), NodeId(9), true);
    assert_eq!(dialling.next_deadline(), Some(at(1_250)));
    dialling.keep(at(1_100), NodeId(9), true);
    assert_eq!(dialling.next_deadline(), Some(at(1_250)), "as planned");
}

#[test]
fn where_too_much_is_dialled_peers_by_hand_are_put_off() {
    let mut dialling = Dialling::new(NodeId(5), INTERVAL, 1_000, Prng::new(1));
    for id in 10..10 + DIALS_MAX as u64 {
        dialling.sighted(at(0), &sighting(id));
    }
    let n_flying = dials(&mut dialling, 100).len() + dials(&mut dialling, 5_000).len();
    dialling.add_static(at(5_000), PeerAddress::Address(address(6_000)));
    dialling.settle();
    let n_static = dials(&mut dialling, 5_000).len();
    assert_eq!((n_flying, n_static), (DIALS_MAX, 0));
    assert!(dialling.next_deadline() > Some(at(5_000)), "no hot loop");
}

#[test]
fn a_name_that_led_to_this_node_is_dialled_again_and_an_address_is_not() {
    let dialled = |address: PeerAddress| {
        let mut dialling = dialling();
        dialling.add_static(at(0), address);
        failing(&mut dialling, 60_000, 5, &DialFailure::Itself).len()
    };
    assert_eq!(dialled(PeerAddress::Address(address(5_001))), 1);
    let by_name = dialled(PeerAddress::Name("depot:5001".to_owned()));
    assert!((4..=8).contains(&by_name), "{by_name}");
}
