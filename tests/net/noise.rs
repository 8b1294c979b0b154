//! Much noise on the group neither stops a node from hearing others nor keeps it for itself.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use waymesh::cluster::{net::sockets::DATAGRAMS_MAX, proto::Transport};

use crate::{
    listener::{GROUP, Listener, PORT},
    namespace::{Host, Lan},
};

/// Datagrams of one burst; 100 bursts a second make 5,000.
const BURST: usize = 50;
const BURST_GAP: Duration = Duration::from_millis(10);
const N_BURSTS: usize = 200;

#[test]
fn five_thousand_datagrams_a_second_do_not_drown_the_one_that_counts() {
    let Some(lan) = Lan::new() else { return };
    let hosts = [lan.host(1), lan.host(2), lan.host(3)];
    let [quiet, ours, loud] = &hosts;
    let mut listener = Listener::start_open(ours, &[Transport::Multicast]);
    let sender = Listener::start_open(quiet, &[Transport::Multicast]);
    let noise = make_noise(loud, lan.address_of(loud));
    // In the midst of it.
    for _ in 0..20 {
        listener.hear("noise");
        sender.send("signal");
        listener.hear("signal");
    }
    let n_sent = noise.join().unwrap();
    sender.send("end");
    let n_heard = listener.hear_all_until("end").len();
    eprintln!("{n_sent} datagrams of noise, {} heard", n_heard + 20);
    assert!(listener.most_in_a_turn <= DATAGRAMS_MAX);
    assert!(n_heard > n_sent / 2, "{n_heard} of {n_sent}");
}

#[test]
fn a_flood_is_handed_out_in_bounded_turns() {
    let Some(lan) = Lan::new() else { return };
    let (ours, loud) = (lan.host(1), lan.host(2));
    let mut listener = Listener::start_open(&ours, &[Transport::Multicast]);
    let address = lan.address_of(&loud);
    let flood = loud.enter(move || {
        let socket = socket(address);
        for _ in 0..20_000 {
            // What the sender's own queue refuses is no less noise.
            drop(socket.send_to(b"noise", (GROUP, PORT)));
        }
    });
    flood.join().unwrap();
    let sender = Listener::start_open(&loud, &[Transport::Multicast]);
    sender.send("end");
    let n_heard = listener.hear_all_until("end").len();
    eprintln!(
        "{n_heard} of 20,000 heard, at most {} a turn",
        listener.most_in_a_turn
    );
    assert!(listener.most_in_a_turn <= DATAGRAMS_MAX);
    assert!(n_heard > DATAGRAMS_MAX);
}

/// Number of datagrams sent, once it is over.
fn make_noise(host: &Host, address: Ipv4Addr) -> std::thread::JoinHandle<usize> {
    host.enter(move || {
        let socket = socket(address);
        let start = Instant::now();
        let mut n_sent = 0;
        for burst in 1..=N_BURSTS {
            for _ in 0..BURST {
                n_sent += usize::from(socket.send_to(b"noise", (GROUP, PORT)).is_ok());
            }
            let next = start + BURST_GAP * u32::try_from(burst).unwrap();
            while Instant::now() < next {
                std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
        }
        n_sent
    })
}

/// A socket that sends to the group by the interface of `address`.
fn socket(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let chosen = socket2::SockRef::from(&socket).set_multicast_if_v4(&address);
    chosen.unwrap();
    socket
}
