//! Tests of which sockets follow from which interfaces.

use super::*;
use crate::cluster::proto::InterfaceIndex;

const ALL: [Transport; 4] = [
    Transport::Multicast,
    Transport::Multicast6,
    Transport::Broadcast,
    Transport::Static,
];

fn config(transports: &[Transport]) -> SocketsConfig {
    SocketsConfig {
        transports: transports.to_vec(),
        port: NonZeroU16::new(50_337).unwrap(),
        group: Ipv4Addr::new(239, 192, 0, 1),
        group6: "ff12::5741:594d".parse().unwrap(),
        ttl: 1,
        broadcast_address: None,
        interfaces: Vec::new(),
    }
}

fn network(address: &str, mask: &str) -> Network {
    Network::new(address.parse().unwrap(), mask.parse().unwrap(), None)
}

/// An interface of a LAN that is up; `index` is also the last byte of its addresses.
fn ethernet(index: u32, name: &str) -> Interface {
    Interface {
        index: InterfaceIndex(index),
        name: name.to_owned(),
        networks: vec![network(&format!("10.0.{index}.{index}"), "255.255.255.0")],
        addresses6: vec![
            format!("2001:db8::{index}").parse().unwrap(),
            format!("fe80::{index}").parse().unwrap(),
        ],
        is_up: true,
        is_multicast: true,
        is_broadcast: true,
        is_loopback: false,
    }
}

fn loopback() -> Interface {
    Interface {
        networks: vec![network("127.0.0.1", "255.0.0.0")],
        addresses6: vec![Ipv6Addr::LOCALHOST],
        is_multicast: false,
        is_broadcast: false,
        is_loopback: true,
        ..ethernet(1, "lo")
    }
}

/// `name transport local -> to` of each socket.
fn planned(config: &SocketsConfig, interfaces: &[Interface]) -> Vec<String> {
    let plans = Plans::new(config, interfaces);
    let line = |(place, plan): (&SocketPlace, &Plan)| {
        let (name, local, to) = (&plan.interface, plan.local, plan.to);
        format!("{name} {} {local} -> {to}", place.transport)
    };
    plans.by_place.iter().map(line).collect()
}

#[test]
fn every_transport_of_an_interface_has_its_socket() {
    assert_eq!(
        planned(&config(&ALL), &[loopback(), ethernet(2, "eth0")]),
        [
            "eth0 multicast 10.0.2.2 -> 239.192.0.1:50337",
            "eth0 multicast6 fe80::2 -> [ff12::5741:594d%2]:50337",
            "eth0 broadcast 10.0.2.2 -> 10.0.2.255:50337",
        ]
    );
}

#[test]
fn loopback_serves_only_where_nothing_else_does() {
    let two = config(&[Transport::Multicast, Transport::Multicast6]);
    let lonely = ["lo multicast 127.0.0.1 -> 239.192.0.1:50337"];
    assert_eq!(planned(&two, &[loopback()]), lonely);
    let down = Interface {
        is_up: false,
        ..ethernet(2, "eth0")
    };
    assert_eq!(planned(&two, &[loopback(), down]), lonely);
    // Up, but nothing that the transports could use.
    let bare = Interface {
        networks: Vec::new(),
        addresses6: Vec::new(),
        ..ethernet(2, "eth0")
    };
    assert_eq!(planned(&two, &[loopback(), bare]), lonely);
    assert_eq!(
        planned(&config(&[Transport::Broadcast]), &[loopback()]),
        ["lo broadcast 127.0.0.1 -> 127.255.255.255:50337"]
    );
    let down = Interface {
        is_up: false,
        ..loopback()
    };
    assert!(planned(&config(&ALL), &[down]).is_empty());
}

#[test]
fn named_interfaces_are_used_and_no_others() {
    let all = [loopback(), ethernet(2, "eth0"), ethernet(3, "eth1")];
    let named = |name| SocketsConfig {
        interfaces: vec![name],
        ..config(&[Transport::Multicast])
    };
    let by_name = |name: &str| named(InterfaceName::Name(name.into()));
    let by_address = |address: &str| named(InterfaceName::Address(address.parse().unwrap()));
    let eth1 = ["eth1 multicast 10.0.3.3 -> 239.192.0.1:50337"];
    assert_eq!(planned(&by_name("eth1"), &all), eth1);
    assert_eq!(planned(&by_address("10.0.3.3"), &all), eth1);
    assert_eq!(planned(&by_address("fe80::3"), &all), eth1);
    assert_eq!(
        planned(&by_name("lo"), &all),
        ["lo multicast 127.0.0.1 -> 239.192.0.1:50337"]
    );
    // One that is not there is waited for, and not made good by another.
    assert!(planned(&by_name("eth7"), &all).is_empty());
    assert!(planned(&by_address("10.0.3.4"), &all).is_empty());
}

#[test]
fn of_several_networks_the_named_one_is_used_else_the_first() {
    let mut eth0 = ethernet(2, "eth0");
    eth0.networks.push(network("192.168.7.9", "255.255.0.0"));
    let both = [Transport::Multicast, Transport::Broadcast];
    let mut config = config(&both);
    assert_eq!(
        planned(&config, &[eth0.clone()]),
        [
            "eth0 multicast 10.0.2.2 -> 239.192.0.1:50337",
            "eth0 broadcast 10.0.2.2 -> 10.0.2.255:50337",
        ]
    );
    let named = InterfaceName::Address("192.168.7.9".parse().unwrap());
    config.interfaces.push(named);
    assert_eq!(
        planned(&config, &[eth0]),
        [
            "eth0 multicast 192.168.7.9 -> 239.192.0.1:50337",
            "eth0 broadcast 192.168.7.9 -> 192.168.255.255:50337",
        ]
    );
}

#[test]
fn a_broadcast_address_belongs_to_the_interfaces_whose_network_it_lies_in() {
    let all = [loopback(), ethernet(2, "eth0"), ethernet(3, "eth1")];
    let to = |address: &str| SocketsConfig {
        broadcast_address: Some(address.parse().unwrap()),
        ..config(&[Transport::Broadcast])
    };
    assert_eq!(
        planned(&to("10.0.3.255"), &all),
        ["eth1 broadcast 10.0.3.3 -> 10.0.3.255:50337"]
    );
    assert_eq!(
        planned(&to("255.255.255.255"), &all),
        [
            "eth0 broadcast 10.0.2.2 -> 255.255.255.255:50337",
            "eth1 broadcast 10.0.3.3 -> 255.255.255.255:50337",
        ]
    );
}

#[test]
fn what_an_interface_cannot_carry_is_not_tried() {
    let tunnel = Interface {
        networks: vec![network("10.8.0.2", "255.255.255.255")],
        addresses6: Vec::new(),
        is_broadcast: false,
        ..ethernet(4, "tun0")
    };
    assert_eq!(
        planned(&config(&ALL), std::slice::from_ref(&tunnel)),
        ["tun0 multicast 10.8.0.2 -> 239.192.0.1:50337"]
    );
    let silent = Interface {
        is_multicast: false,
        ..tunnel
    };
    assert!(planned(&config(&ALL), &[silent]).is_empty());
    assert!(planned(&config(&[Transport::Static]), &[ethernet(2, "eth0")]).is_empty());
}

#[test]
fn more_interfaces_than_are_used_are_counted() {
    let many: Vec<Interface> = (1..=40).map(|index| ethernet(index, "veth")).collect();
    let plans = Plans::new(&config(&[Transport::Multicast]), &many);
    assert_eq!(plans.by_place.len(), INTERFACES_MAX);
    assert_eq!(plans.n_left_out, 40 - INTERFACES_MAX);
}
