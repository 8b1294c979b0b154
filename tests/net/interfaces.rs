//! Interfaces come, go and change under a node, and it is heard again.

use std::time::Instant;

use waymesh::cluster::{
    net::interfaces::{InterfaceName, interfaces},
    proto::{SocketPlace, Transport},
};

use crate::{
    listener::{Listener, config},
    namespace::{DoublesCheck, Host, Lan},
    skipped,
};

const BOTH: [Transport; 2] = [Transport::Multicast, Transport::Multicast6];

#[test]
fn an_interface_that_comes_up_later_is_used() {
    let Some(lan) = Lan::new() else { return };
    let (early, late) = (lan.host(1), Host::new(2, DoublesCheck::Off));
    let mut heard_by = Listener::start_open(&early, &BOTH);
    // Until then loopback serves the nodes of this host.
    let mut listener = Listener::start(&late, config(&BOTH));
    let loopback = listener.opened(Transport::Multicast);
    let neighbour = Listener::start_open(&late, &[Transport::Multicast]);
    neighbour.send("on loopback");
    assert_eq!(listener.hear("on loopback").interface, loopback.interface);

    lan.plug(&late, "eth0");
    let start = Instant::now();
    listener.closed(loopback);
    for transport in BOTH {
        let place = listener.opened(transport);
        eprintln!(
            "{transport}: open {:?} after the cable was plugged in",
            start.elapsed()
        );
        listener.send("here I am");
        heard_by.hear_over(transport, "here I am");
        assert_ne!(place.interface, loopback.interface);
    }
}

#[test]
fn a_tunnel_is_an_interface_too() {
    let Some(lan) = Lan::new() else { return };
    if !std::path::Path::new("/dev/net/tun").exists() {
        return skipped::say("no tunnels can be made here: there is no /dev/net/tun");
    }
    let host = lan.host(1);
    host.ip("tuntap add dev tun0 mode tun\naddr add 10.8.0.2/24 dev tun0");
    let found = host.enter(|| interfaces().unwrap()).join().unwrap();
    let tunnel = found.iter().find(|one| one.name == "tun0").unwrap();
    let addresses: Vec<_> = tunnel.networks.iter().map(|one| one.address).collect();
    assert_eq!(addresses, [std::net::Ipv4Addr::new(10, 8, 0, 2)]);
}

#[test]
fn a_host_without_any_network_waits_for_one() {
    let Some(lan) = Lan::new() else { return };
    let (early, late) = (lan.host(1), Host::new(2, DoublesCheck::Off));
    late.ip("link set lo down");
    let mut listener = Listener::start(&late, config(&BOTH));
    assert!(listener.status().is_empty());
    listener.send("into nothing");
    lan.plug(&late, "eth0");
    listener.opened(Transport::Multicast);
    listener.opened(Transport::Multicast6);
    let other = Listener::start_open(&early, &BOTH);
    other.send("welcome");
    listener.hear("welcome");
    listener.hear("welcome");
}

#[test]
fn ipv6_speaks_as_soon_as_its_address_is_known_to_be_the_only_one() {
    let Some(lan) = Lan::new() else { return };
    let (early, late) = (lan.host(1), Host::new(2, DoublesCheck::On));
    let mut heard_by = Listener::start_open(&early, &[Transport::Multicast6]);
    let mut listener = Listener::start(&late, config(&[Transport::Multicast6]));
    lan.plug(&late, "eth0");
    let start = Instant::now();
    listener.opened(Transport::Multicast6);
    eprintln!("open {:?} after the cable was plugged in", start.elapsed());
    listener.send("here I am");
    heard_by.hear("here I am");
}

#[test]
fn an_interface_replaced_under_the_node_is_heard_again() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    let other = Listener::start_open(&one, &BOTH);
    let mut listener = Listener::start(&two, config(&BOTH));
    let old: Vec<SocketPlace> = BOTH.map(|transport| listener.opened(transport)).into();
    two.ip("link del eth0");
    lan.plug(&two, "eth0");
    let start = Instant::now();
    for place in &old {
        listener.closed(*place);
    }
    for (place, transport) in old.iter().zip(BOTH) {
        let new = loop {
            let new = listener.opened(transport);
            // Loopback may have served in between.
            if new.transport == Transport::Multicast6 || listener.is_on(new, "eth0") {
                break new;
            }
        };
        assert_ne!(new.interface, place.interface);
    }
    eprintln!(
        "heard again {:?} after the interface was made anew",
        start.elapsed()
    );
    other.send("still there?");
    let interfaces = [listener.hear("still there?"), listener.hear("still there?")];
    assert!(
        interfaces
            .iter()
            .all(|one| one.interface != old[0].interface)
    );
}

#[test]
fn a_cut_cable_closes_the_sockets_and_a_mended_one_opens_them() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    let other = Listener::start_open(&one, &[Transport::Multicast]);
    let mut named = config(&[Transport::Multicast]);
    named.interfaces = vec![InterfaceName::Name("eth0".into())];
    let mut listener = Listener::start(&two, named);
    let place = listener.opened(Transport::Multicast);
    lan.carry(&two, false);
    listener.closed(place);
    assert!(listener.status().is_empty());
    lan.carry(&two, true);
    assert_eq!(listener.opened(Transport::Multicast), place);
    other.send("mended");
    listener.hear("mended");
}

#[test]
fn a_new_address_is_the_one_that_others_see() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    let mut other = Listener::start_open(&one, &[Transport::Broadcast]);
    let mut listener = Listener::start(&two, config(&[Transport::Broadcast]));
    let place = listener.opened(Transport::Broadcast);
    let old = lan.address_of(&two);
    let mut octets = old.octets();
    octets[3] = 77;
    let new = std::net::Ipv4Addr::from(octets);
    two.ip(&format!(
        "addr del {old}/24 dev eth0\naddr add {new}/24 dev eth0"
    ));
    listener.closed(place);
    listener.opened_on(Transport::Broadcast, new);
    listener.send("moved");
    assert_eq!(other.hear("moved").from.ip(), new);
}
