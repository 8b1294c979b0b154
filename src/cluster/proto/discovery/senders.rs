//! Who was heard, and what became of it: the answer to "why do they not find each other?".

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::{base::time::Instant, types::ids::NodeId};

use super::super::{
    beacon::{Beacon, BeaconRejection, Rejected},
    card::NodeName,
    timing::SENDERS_MAX,
};

/// The senders heard last.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    by_key: BTreeMap<(IpAddr, Option<NodeName>), Sender>,
    /// Senders that had to go for others.
    pub(crate) n_dropped: u64,
}

/// A sender of beacons.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) from: SocketAddr,
    /// Proven only where it is ours.
    pub(crate) name: Option<NodeName>,
    pub(crate) at: Instant,
    pub(crate) is: SenderIs,
}

/// What a sender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SenderIs {
    /// A node of this cluster.
    Ours(NodeId),
    /// None, for this reason.
    Rejected(BeaconRejection),
}

impl Senders {
    pub(crate) fn ours(&mut self, now: Instant, from: SocketAddr, beacon: &Beacon) {
        let name = Some(beacon.name.clone());
        self.note(now, from, name, SenderIs::Ours(beacon.id));
    }

    pub(crate) fn rejected(&mut self, now: Instant, from: SocketAddr, rejected: Rejected) {
        let is = SenderIs::Rejected(rejected.reason);
        self.note(now, from, rejected.name, is);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sender> {
        self.by_key.values()
    }

    fn note(&mut self, at: Instant, from: SocketAddr, name: Option<NodeName>, is: SenderIs) {
        let key = (from.ip(), name.clone());
        if !self.by_key.contains_key(&key) && self.by_key.len() >= SENDERS_MAX {
            self.drop_one();
        }
        let sender = Sender { from, name, at, is };
        self.by_key.insert(key, sender);
    }

    /// Strangers go before nodes of this cluster, the one heard longest ago first.
    fn drop_one(&mut self) {
        let worth = |sender: &Sender| (matches!(sender.is, SenderIs::Ours(_)), sender.at);
        let least = self.by_key.iter().min_by_key(|(_, sender)| worth(sender));
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            self.by_key.remove(&key);
            self.n_dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_leaves_our_nodes_in_the_table() {
        let mut senders = Senders::default();
        let from = |n: u32| SocketAddr::new(std::net::Ipv4Addr::from_bits(n).into(), 50_337);
        let name = NodeName::parse("b").unwrap();
        senders.note(
            Instant::from_millis(0),
            from(1),
            Some(name.clone()),
            SenderIs::Ours(NodeId(2)),
        );
        for n in 2..2_000 {
            let rejected = Rejected {
                reason: BeaconRejection::WrongSecret,
                name: None,
            };
            senders.rejected(Instant::from_millis(u64::from(n)), from(n), rejected);
        }
        assert_eq!(senders.iter().count(), SENDERS_MAX);
        assert!(
            senders
                .iter()
                .any(|sender| sender.name.as_ref() == Some(&name))
        );
        assert!(senders.iter().any(|sender| sender.from == from(1_999)));
        assert!(senders.n_dropped > 1_000);
    }
}
