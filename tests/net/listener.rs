//! The sockets of a node that does nothing but listen, and send when it is told to: a thread in a
//! host.

use std::{
    net::Ipv4Addr,
    num::NonZeroU16,
    sync::mpsc as std_mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use waymesh::cluster::{
    net::sockets::{Datagram, DiscoverySockets, PlaceStatus, SocketEvent, SocketsConfig},
    proto::{SocketPlace, Transport},
};

use crate::namespace::Host;

/// How long anything is waited for before the test has failed.
const PATIENCE: Duration = Duration::from_secs(15);

pub const PORT: u16 = 50_337;
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 0, 1);

pub fn config(transports: &[Transport]) -> SocketsConfig {
    SocketsConfig {
        transports: transports.to_vec(),
        port: NonZeroU16::new(PORT).unwrap(),
        group: GROUP,
        group6: "ff12::5741:594d".parse().unwrap(),
        ttl: 1,
        broadcast_address: None,
        interfaces: Vec::new(),
    }
}

enum Order {
    Send(&'static str),
    Status(std_mpsc::SyncSender<Vec<PlaceStatus>>),
}

/// Discovery's sockets in a host; they end when this is dropped.
pub struct Listener {
    orders: Option<mpsc::Sender<Order>>,
    /// Turns: what `recv` gave at once.
    turns: std_mpsc::Receiver<Vec<SocketEvent>>,
    /// What has come and was not looked at.
    events: Vec<SocketEvent>,
    /// Most datagrams of one turn so far.
    pub most_in_a_turn: usize,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub fn start(host: &Host, config: SocketsConfig) -> Self {
        let (orders, orders_in) = mpsc::channel(64);
        let (turns_out, turns) = std_mpsc::sync_channel(100_000);
        let thread = host.enter(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(run(config, orders_in, turns_out));
        });
        Self {
            orders: Some(orders),
            turns,
            events: Vec::new(),
            most_in_a_turn: 0,
            thread: Some(thread),
        }
    }

    /// The same, once each transport has a socket.
    pub fn start_open(host: &Host, transports: &[Transport]) -> Self {
        let mut listener = Self::start(host, config(transports));
        for transport in transports {
            listener.opened(*transport);
        }
        listener
    }

    pub fn send(&self, text: &'static str) {
        self.order(Order::Send(text));
    }

    pub fn status(&self) -> Vec<PlaceStatus> {
        let (answer, answered) = std_mpsc::sync_channel(1);
        self.order(Order::Status(answer));
        answered.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until a socket of `transport` is opened.
    pub fn opened(&mut self, transport: Transport) -> SocketPlace {
        self.wait_for("an opened socket", |event| match event {
            SocketEvent::Opened(place) if place.transport == transport => Some(*place),
            _ => None,
        })
    }

    /// Waits until a socket of `transport` is opened with `local` as its address.
    pub fn opened_on(&mut self, transport: Transport, local: Ipv4Addr) -> SocketPlace {
        loop {
            let place = self.opened(transport);
            let is_it = |one: &PlaceStatus| one.place == place && one.local == local;
            if self.status().iter().any(is_it) {
                return place;
            }
        }
    }

    /// Whether `place` is one of the interface called `name` now.
    pub fn is_on(&self, place: SocketPlace, name: &str) -> bool {
        let is_it = |one: &PlaceStatus| one.place == place && one.interface == name;
        self.status().iter().any(is_it)
    }

    /// Waits until the socket of `place` is closed.
    pub fn closed(&mut self, place: SocketPlace) {
        self.wait_for("a closed socket", |event| {
            (*event == SocketEvent::Closed(place)).then_some(())
        });
    }

    /// Waits for a datagram that says `text`.
    pub fn hear(&mut self, text: &str) -> Datagram {
        self.wait_for(text, |event| match event {
            SocketEvent::Datagram(datagram) if datagram.bytes == text => Some(datagram.clone()),
            _ => None,
        })
    }

    /// Waits for a datagram that says `text`, by `transport`.
    pub fn hear_over(&mut self, transport: Transport, text: &str) -> Datagram {
        self.wait_for(text, |event| match event {
            SocketEvent::Datagram(datagram)
                if datagram.bytes == text && datagram.transport == transport =>
            {
                Some(datagram.clone())
            }
            _ => None,
        })
    }

    /// All datagrams that came before the one that says `last`, and that one.
    pub fn hear_all_until(&mut self, last: &str) -> Vec<Datagram> {
        let mut heard = Vec::new();
        loop {
            let datagram = self.wait_for(last, |event| match event {
                SocketEvent::Datagram(datagram) => Some(datagram.clone()),
                _ => None,
            });
            let is_last = datagram.bytes == last;
            heard.push(datagram);
            if is_last {
                return heard;
            }
        }
    }

    /// Takes the first event that is meant, now or later; the others stay.
    fn wait_for<T>(&mut self, what: &str, is_meant: impl Fn(&SocketEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut n_seen = 0;
        loop {
            while let Some(event) = self.events.get(n_seen) {
                if let Some(found) = is_meant(event) {
                    self.events.remove(n_seen);
                    return found;
                }
                n_seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let turn = self.turns.recv_timeout(left);
            let turn = turn.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            let is_datagram = |event: &&SocketEvent| matches!(event, SocketEvent::Datagram(_));
            let n_datagrams = turn.iter().filter(is_datagram).count();
            self.most_in_a_turn = self.most_in_a_turn.max(n_datagrams);
            self.events.extend(turn);
        }
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().unwrap();
        assert!(orders.blocking_send(order).is_ok(), "the listener ended");
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = self.thread.take().unwrap().join();
        if ended.is_err() && !std::thread::panicking() {
            panic!("the listener panicked");
        }
    }
}

async fn run(
    config: SocketsConfig,
    mut orders: mpsc::Receiver<Order>,
    turns: std_mpsc::SyncSender<Vec<SocketEvent>>,
) {
    let mut sockets = DiscoverySockets::open(config, 7);
    let mut turn = Vec::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Send(text)) => sockets.send(text.as_bytes()),
                Some(Order::Status(answer)) => answer.send(sockets.status()).unwrap(),
                None => return,
            },
            () = sockets.recv(&mut turn) => {
                // The test may have ended.
                if turns.try_send(std::mem::take(&mut turn)).is_err() {
                    return;
                }
            }
        }
    }
}
