//! Tests over this machine's loopback, which every machine has; what needs a LAN of several
//! machines is tried in network namespaces by `tests/process`.

use std::{
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    num::NonZeroU16,
    time::Duration,
};

use tokio::time::timeout;

use crate::cluster::net::interfaces::{InterfaceName, interfaces};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 0, 1);

/// Settings for loopback alone, on a port that is kept for this test: nobody else gets it while
/// this process lives, and a socket of a group can still be bound.
fn on_loopback(transport: Transport) -> SocketsConfig {
    let keeper = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = keeper.local_addr().unwrap().port();
    std::mem::forget(keeper);
    on_port(transport, port)
}

fn on_port(transport: Transport, port: u16) -> SocketsConfig {
    let all = interfaces().unwrap();
    let loopback = all.into_iter().find(|one| one.is_loopback).unwrap();
    SocketsConfig {
        transports: vec![transport],
        port: NonZeroU16::new(port).unwrap(),
        group: GROUP,
        group6: Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x5741, 0x594d),
        ttl: 1,
        broadcast_address: None,
        interfaces: vec![InterfaceName::Name(loopback.name)],
    }
}

/// The next turn's events.
async fn turn(sockets: &mut DiscoverySockets) -> Vec<SocketEvent> {
    let mut events = Vec::new();
    timeout(PATIENCE, sockets.recv(&mut events)).await.unwrap();
    events
}

/// Sockets whose opening was told, and the place that was opened.
async fn opened(config: &SocketsConfig) -> (DiscoverySockets, SocketPlace) {
    let mut sockets = DiscoverySockets::open(config.clone(), 1);
    match turn(&mut sockets).await.as_slice() {
        [SocketEvent::Opened(place)] => (sockets, *place),
        other => panic!("{other:?}"),
    }
}

/// Waits for a datagram that says `text`.
async fn hear(sockets: &mut DiscoverySockets, text: &str) -> Datagram {
    loop {
        for event in turn(sockets).await {
            match event {
                SocketEvent::Datagram(datagram) if datagram.bytes == text => return datagram,
                _ => {}
            }
        }
    }
}

/// Somebody who is no node and sends to the group.
fn stranger() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let chosen = socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST);
    chosen.unwrap();
    socket
}

#[tokio::test]
async fn nodes_of_one_host_hear_each_other_and_themselves() {
    for transport in [Transport::Multicast, Transport::Broadcast] {
        let config = on_loopback(transport);
        let (mut one, place) = opened(&config).await;
        let (mut two, _) = opened(&config).await;
        let (mut three, _) = opened(&config).await;
        one.send(b"hello");
        for sockets in [&mut one, &mut two, &mut three] {
            let datagram = hear(sockets, "hello").await;
            let from = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port.get()));
            assert_eq!(datagram.from, from);
            assert_eq!(datagram.interface, place.interface);
            assert_eq!(datagram.transport, transport);
        }
    }
}

#[tokio::test]
async fn a_datagram_of_512_bytes_is_taken_and_a_longer_one_refused() {
    let config = on_loopback(Transport::Multicast);
    let (mut sockets, place) = opened(&config).await;
    let stranger = stranger();
    let group = (GROUP, config.port.get());
    stranger
        .send_to(&[b'a'; DATAGRAM_BYTES_MAX + 1], group)
        .unwrap();
    stranger.send_to(&[b'b'; 9_000], group).unwrap();
    stranger
        .send_to(&[b'c'; DATAGRAM_BYTES_MAX], group)
        .unwrap();
    stranger.send_to(&[], group).unwrap();
    let mut events = Vec::new();
    while events.len() < 4 {
        events.extend(turn(&mut sockets).await);
    }
    let from = stranger.local_addr().unwrap();
    let too_long = SocketEvent::TooLong { place, from };
    assert_eq!(events[..2], [too_long.clone(), too_long]);
    let lengths: Vec<usize> = events[2..]
        .iter()
        .map(|event| match event {
            SocketEvent::Datagram(datagram) => datagram.bytes.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lengths, [DATAGRAM_BYTES_MAX, 0]);
    let counts = sockets.status()[0].counts;
    assert_eq!((counts.too_long, counts.received), (2, 2));
}

#[tokio::test]
async fn what_is_sent_to_this_host_alone_is_not_heard() {
    let config = on_loopback(Transport::Multicast);
    let (mut sockets, _) = opened(&config).await;
    let stranger = stranger();
    let alone = stranger.send_to(b"alone", (Ipv4Addr::LOCALHOST, config.port.get()));
    alone.unwrap();
    sockets.send(b"all");
    let first = turn(&mut sockets).await;
    assert!(
        matches!(first.as_slice(), [SocketEvent::Datagram(one)] if one.bytes == "all"),
        "{first:?}"
    );
}

#[tokio::test]
async fn a_turn_is_bounded_and_loses_nothing() {
    let config = on_loopback(Transport::Multicast);
    let (mut sockets, _) = opened(&config).await;
    let stranger = stranger();
    for number in 0..150_u8 {
        stranger
            .send_to(&[number], (GROUP, config.port.get()))
            .unwrap();
    }
    let mut numbers = Vec::new();
    while numbers.len() < 150 {
        let events = turn(&mut sockets).await;
        assert!(events.len() <= DATAGRAMS_MAX, "{}", events.len());
        for event in events {
            match event {
                SocketEvent::Datagram(datagram) => numbers.push(datagram.bytes[0]),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(numbers, Vec::from_iter(0..150));
}

#[tokio::test]
async fn a_socket_opened_anew_or_joined_again_hears_on() {
    let config = on_loopback(Transport::Multicast);
    let (mut sockets, place) = opened(&config).await;
    sockets.reopen(place);
    let events = turn(&mut sockets).await;
    assert_eq!(
        events,
        [SocketEvent::Closed(place), SocketEvent::Opened(place)]
    );
    sockets.send(b"opened");
    hear(&mut sockets, "opened").await;
    sockets.rejoin(place);
    sockets.send(b"joined");
    hear(&mut sockets, "joined").await;
    assert_eq!(sockets.status()[0].counts.opened, 2);
    // A place that is not there is no reason to fall.
    let nowhere = SocketPlace {
        interface: InterfaceIndex(999_999),
        transport: Transport::Multicast,
    };
    sockets.reopen(nowhere);
    sockets.rejoin(nowhere);
}

#[tokio::test]
async fn two_sockets_take_turns_when_both_have_much() {
    let mut config = on_loopback(Transport::Multicast);
    config.transports.push(Transport::Broadcast);
    let mut sockets = DiscoverySockets::open(config.clone(), 1);
    assert_eq!(turn(&mut sockets).await.len(), 2);
    for _ in 0..100 {
        sockets.send(b"x");
    }
    let events = turn(&mut sockets).await;
    assert_eq!(events.len(), DATAGRAMS_MAX);
    let is_broadcast = |event: &&SocketEvent| matches!(event, SocketEvent::Datagram(one) if one.transport == Transport::Broadcast);
    assert_eq!(
        events.iter().filter(is_broadcast).count(),
        DATAGRAMS_MAX / 2
    );
}

#[tokio::test]
async fn a_port_that_another_program_keeps_for_itself_is_tried_again_until_it_is_free() {
    let keeper = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = keeper.local_addr().unwrap().port();
    let mut sockets = DiscoverySockets::open(on_port(Transport::Multicast, port), 1);
    let status = &sockets.status()[0];
    assert!(!status.is_open && status.trouble.is_some(), "{status:?}");
    // It sends nothing, and does not fall.
    sockets.send(b"lost");
    drop(keeper);
    let events = turn(&mut sockets).await;
    assert!(
        matches!(events.as_slice(), [SocketEvent::Opened(_)]),
        "{events:?}"
    );
    assert_eq!(sockets.status()[0].trouble, None);
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_waited_for() {
    let mut config = on_loopback(Transport::Multicast);
    config.interfaces = vec![InterfaceName::Name("not-there0".into())];
    let mut sockets = DiscoverySockets::open(config, 1);
    assert!(sockets.status().is_empty());
    sockets.send(b"nobody");
    let mut events = Vec::new();
    let waited = timeout(Duration::from_millis(50), sockets.recv(&mut events)).await;
    assert!(waited.is_err() && events.is_empty(), "{events:?}");
}

#[tokio::test]
async fn who_has_static_peers_alone_waits_for_no_interface() {
    for (transport, is_idle) in [(Transport::Static, false), (Transport::Multicast, true)] {
        let config = SocketsConfig {
            interfaces: vec![InterfaceName::Name("none of this machine".to_owned())],
            ..on_loopback(transport)
        };
        let sockets = DiscoverySockets::open(config, 1);
        assert_eq!(sockets.is_idle, is_idle, "{transport}");
        assert!(sockets.status().is_empty(), "{transport}");
    }
}
