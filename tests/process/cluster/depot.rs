//! Nodes on one LAN and a yard of vehicles, for the tests of one fleet on many nodes.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    fleet::{Fleet, Habits, has_python},
    sibling::{Family, Sibling, wait_all_see_all},
};
use crate::namespace::{Host, Lan};

/// Vehicles that say a line every half second and wait for its answer.
pub const CALM: Habits = Habits {
    n_vehicles: 300,
    prefix: "calm-",
    period: Duration::from_millis(500),
    window: 1,
    patience: Duration::from_secs(3),
};

/// Nodes `a`, `b`, … in hosts of their own, and a host for vehicles.
pub struct Depot {
    pub lan: Lan,
    pub hosts: Vec<Host>,
    yard: Host,
    pub family: Family,
}

impl Depot {
    /// None where this machine cannot have one.
    pub fn new(n_nodes: u8) -> Option<Self> {
        let lan = Lan::new()?;
        if !has_python() {
            return None;
        }
        Some(Self {
            hosts: (1..=n_nodes).map(|number| lan.host(number)).collect(),
            yard: lan.host(100),
            family: Family::new(),
            lan,
        })
    }

    pub fn start(&self) -> Vec<Sibling<'_>> {
        let nodes = 0..self.hosts.len();
        let siblings: Vec<_> = nodes.map(|number| self.start_one(number)).collect();
        wait_all_see_all(&siblings);
        siblings
    }

    pub fn start_one(&self, number: usize) -> Sibling<'_> {
        self.start_one_with(number, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_one_with(&self, number: usize, environment: &[(&str, &Path)]) -> Sibling<'_> {
        let name = char::from(b'a' + u8::try_from(number).unwrap());
        let host = &self.hosts[number];
        self.family
            .start_serving(host, &name.to_string(), environment)
    }

    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let hosts = self.hosts.iter();
        hosts.map(|host| self.lan.address_of(host)).collect()
    }

    pub fn fleet(&self, habits: &Habits) -> Fleet {
        Fleet::start(&self.yard, habits, &self.addresses())
    }
}

/// Lets so much time go by.
pub fn pass(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Whether the long forms are wanted: `KILLS=long`.
pub fn is_long() -> bool {
    std::env::var("KILLS").is_ok_and(|how| how == "long")
}
