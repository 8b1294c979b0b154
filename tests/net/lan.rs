//! Hosts of a LAN hear each other, on the interface that it was, each datagram once.

use std::{net::SocketAddr, path::Path, thread};

use waymesh::cluster::proto::Transport;

use crate::{
    listener::{Listener, PORT, config},
    namespace::{DoublesCheck, Host, Lan},
};

const ALL: [Transport; 3] = [
    Transport::Multicast,
    Transport::Multicast6,
    Transport::Broadcast,
];

#[test]
fn two_hosts_hear_each_other_by_each_transport() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    for transport in ALL {
        let mut left = Listener::start_open(&one, &[transport]);
        let mut right = Listener::start_open(&two, &[transport]);
        left.send("from the left");
        let datagram = right.hear("from the left");
        assert_eq!(datagram.transport, transport);
        match datagram.from {
            SocketAddr::V4(from) => assert_eq!(*from.ip(), lan.address_of(&one)),
            SocketAddr::V6(from) => {
                assert!(from.ip().is_unicast_link_local(), "{from}");
                assert_eq!(from.scope_id(), datagram.interface.0);
            }
        }
        assert_eq!(datagram.from.is_ipv6(), transport == Transport::Multicast6);
        assert_eq!(datagram.from.port(), PORT);
        right.send("from the right");
        left.hear("from the right");
        // And each itself.
        left.hear("from the left");
        right.hear("from the right");
    }
}

#[test]
fn several_nodes_of_a_host_hear_each_datagram() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    let mut nodes: Vec<Listener> = (0..3).map(|_| Listener::start_open(&one, &ALL)).collect();
    let far = Listener::start_open(&two, &ALL);
    far.send("from afar");
    nodes[0].send("from a neighbour");
    for node in &mut nodes {
        for text in ["from afar", "from a neighbour"] {
            let mut transports: Vec<_> = Vec::new();
            for _ in ALL {
                transports.push(node.hear(text).transport);
            }
            transports.sort_unstable();
            assert_eq!(transports, ALL, "{text}");
        }
    }
}

#[test]
fn of_two_lans_each_datagram_is_heard_once_and_on_its_own_interface() {
    let (Some(left), Some(right)) = (Lan::new(), Lan::new()) else {
        return;
    };
    let between = left.host(1);
    right.plug(&between, "eth1");
    let (far_left, far_right) = (left.host(2), right.host(3));
    let mut listener = Listener::start(&between, config(&ALL));
    for _ in ["eth0", "eth1"] {
        for transport in ALL {
            listener.opened(transport);
        }
    }
    let status = listener.status();
    let name_of = |index| {
        let named = status.iter().find(|one| one.place.interface == index);
        named.unwrap().interface.clone()
    };
    for (host, text, interface) in [(&far_left, "left", "eth0"), (&far_right, "right", "eth1")] {
        let sender = Listener::start_open(host, &ALL);
        sender.send(text);
        sender.send("done");
        let mut heard = Vec::new();
        // Each transport says that it is done, after what it had to say.
        for _ in ALL {
            heard.extend(listener.hear_all_until("done"));
        }
        heard.retain(|datagram| datagram.bytes == text);
        assert_eq!(heard.len(), ALL.len(), "{heard:?}");
        for datagram in heard {
            assert_eq!(name_of(datagram.interface), interface, "{datagram:?}");
        }
    }
}

#[test]
fn a_host_with_ipv6_alone_is_heard() {
    let Some(lan) = Lan::new() else { return };
    let one = Host::new(1, DoublesCheck::Off);
    lan.plug_bare(&one, "eth0");
    let two = lan.host(2);
    let both = [Transport::Multicast, Transport::Multicast6];
    let mut left = Listener::start_open(&one, &[Transport::Multicast6]);
    let mut right = Listener::start_open(&two, &both);
    right.send("hello");
    let datagram = left.hear("hello");
    assert!(datagram.from.is_ipv6());
    left.send("hello yourself");
    right.hear("hello yourself");
}

#[test]
fn a_program_in_a_host_sees_the_interfaces_of_that_host() {
    let Some(lan) = Lan::new() else { return };
    let host = Host::new(1, DoublesCheck::Off);
    lan.plug(&host, "here0");
    let output = host.command("cat").arg("/proc/net/dev").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("here0:"), "{text}");
    assert!(!text.contains("br0:"), "{text}");
}

#[test]
fn nothing_is_left_of_a_lan_whose_test_panicked() {
    let Some(lan) = Lan::new() else { return };
    let host = lan.host(1);
    let file = Path::new("/run/netns").join(host.name());
    assert!(file.exists());
    let test = thread::spawn(move || {
        let _kept = (lan, host);
        panic!("on purpose");
    });
    assert!(test.join().is_err());
    assert!(!file.exists());
}
