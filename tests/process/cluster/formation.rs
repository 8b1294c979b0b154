//! Nodes find each other, by each way there is.

use super::sibling::{Family, Sibling, print_time, wait_all_see_all};
use crate::namespace::{DoublesCheck, Host, Lan};

const MULTICAST: &str = "[discovery]\ntransports = [\"multicast\"]";
/// No beat ever.
const SELDOM: &str = "[discovery]\nping_interval = \"1h\"";
const MULTICAST6: &str = "[discovery]\ntransports = [\"multicast6\"]";
const BROADCAST: &str = "[discovery]\ntransports = [\"broadcast\"]";

fn print_formation(way: &str, siblings: &[Sibling<'_>]) {
    let seen = wait_all_see_all(siblings);
    let last = siblings.iter().map(|one| one.started).max().unwrap();
    let n_nodes = siblings.len();
    let what = format!("{n_nodes} nodes by {way}, from the last start until all see all");
    print_time(&what, last, seen);
}

#[test]
fn five_nodes_find_each_other_by_multicast() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=5).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, MULTICAST);
    print_formation("multicast", &siblings);
}

#[test]
fn the_metrics_of_nodes_at_rest_are_those_of_now() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, SELDOM);
    wait_all_see_all(&siblings);
    for sibling in &siblings {
        sibling.wait_count("waymesh_members{state=\"up\"}", 3);
    }
}

#[test]
fn nodes_with_ipv6_alone_find_each_other() {
    let Some(lan) = Lan::new() else { return };
    let bare = |number| {
        let host = Host::new(number, DoublesCheck::Off);
        lan.plug_bare(&host, "eth0");
        host
    };
    let hosts: Vec<Host> = (1..=3).map(bare).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, MULTICAST6);
    print_formation("multicast6", &siblings);
}

#[test]
fn nodes_find_each_other_by_broadcast() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, BROADCAST);
    print_formation("broadcast", &siblings);
}

#[test]
fn one_peer_by_hand_is_enough() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let first = lan.address_of(&hosts[0]);
    let settings = format!("[discovery]\ntransports = [\"static\"]\npeers = [\"{first}\"]");
    let family = Family::new();
    let siblings = family.start_all(&hosts, &settings);
    print_formation("one static peer", &siblings);
}

#[test]
fn several_nodes_of_a_host_and_one_of_another_find_each_other() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    let family = Family::new();
    let siblings: Vec<_> = [("a", &one), ("b", &one), ("c", &one), ("d", &two)]
        .into_iter()
        .map(|(name, host)| family.start(host, name, "link = \"0.0.0.0:0\""))
        .collect();
    print_formation("multicast, three of one host", &siblings);
}

/// Beacons go out over the LAN, where nobody listens for links.
#[test]
fn nodes_that_take_links_over_loopback_alone_find_each_other() {
    let Some(lan) = Lan::new() else { return };
    let host = lan.host(1);
    let family = Family::new();
    let siblings: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|name| family.start(&host, name, "link = \"127.0.0.1:0\""))
        .collect();
    print_formation("multicast, links over loopback", &siblings);
}

#[test]
fn a_node_that_starts_without_a_network_joins_when_it_comes() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    let late = Host::new(3, DoublesCheck::Off);
    late.ip("link set lo down");
    let family = Family::new();
    let alone = family.start(&late, "late", "");
    let mut siblings = vec![family.start(&one, "a", ""), family.start(&two, "b", "")];
    alone.wait_for(0, "node started");
    assert!(alone.view().iter().eq(["late"]));
    wait_all_see_all(&siblings);
    late.ip("link set lo up");
    lan.plug(&late, "eth0");
    let plugged = jiff::Timestamp::now();
    siblings.push(alone);
    print_time(
        "the network comes, until all see all",
        plugged,
        wait_all_see_all(&siblings),
    );
}
