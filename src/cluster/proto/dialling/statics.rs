//! Peers given by hand: dialled until they answer, whoever they turn out to be.

use std::{net::SocketAddr, time::Duration};

use crate::{base::time::Instant, types::ids::NodeId};

use super::super::{
    config::PeerAddress,
    link::outcome::DialFailure,
    link_id::DialId,
    output::ClusterOutput,
    timing::{PATIENCE_FAR, REDIAL, STATIC_PEERS_MAX},
};

/// All peers given by hand.
#[derive(Debug, Default)]
pub(crate) struct Statics(Vec<StaticPeer>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct StaticPeer {
    pub(crate) address: PeerAddress,
    /// Who answered there last.
    pub(crate) node: Option<NodeId>,
    pub(crate) failure: Option<DialFailure>,
    next: Option<Instant>,
    is_flying: bool,
    n_failed: u32,
}

impl Statics {
    /// Dials a peer now and remembers it; false if there is no room.
    pub(super) fn add(&mut self, now: Instant, address: PeerAddress) -> bool {
        if let Some(known) = self.0.iter_mut().find(|known| known.address == address) {
            if !known.is_flying && known.node.is_none() {
                known.next = Some(now);
            }
            return true;
        }
        if self.0.len() >= STATIC_PEERS_MAX {
            return false;
        }
        self.0.push(StaticPeer {
            address,
            node: None,
            failure: None,
            next: Some(now),
            is_flying: false,
            n_failed: 0,
        });
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &StaticPeer> {
        self.0.iter()
    }

    pub(super) fn node(&self, at: usize) -> Option<NodeId> {
        self.0.get(at).and_then(|peer| peer.node)
    }

    pub(super) fn due(&self, now: Instant) -> Option<(usize, PeerAddress)> {
        let mut due = self.0.iter().enumerate();
        due.find(|(_, peer)| peer.next.is_some_and(|at| at <= now))
            .map(|(at, peer)| (at, peer.address.clone()))
    }

    /// Too much is dialled as it is.
    pub(super) fn put_off(&mut self, at: usize, until: Instant) {
        if let Some(peer) = self.0.get_mut(at) {
            peer.next = Some(until);
        }
    }

    pub(super) fn flies(&mut self, at: usize) {
        if let Some(peer) = self.0.get_mut(at) {
            peer.next = None;
            peer.is_flying = true;
        }
    }

    pub(super) fn reached(&mut self, at: usize, id: NodeId) {
        if let Some(peer) = self.0.get_mut(at) {
            peer.is_flying = false;
            peer.node = Some(id);
            peer.next = None;
            peer.failure = None;
            peer.n_failed = 0;
        }
    }

    /// A link to a node stands, whoever dialled: the peer of that address needs no dial.
    pub(super) fn linked(&mut self, id: NodeId, address: SocketAddr) {
        let is_it = |peer: &&mut StaticPeer| peer.address == PeerAddress::Address(address);
        for peer in self.0.iter_mut().filter(is_it) {
            peer.node = Some(id);
            peer.next = None;
        }
    }

    pub(super) fn lost(&mut self, now: Instant, id: NodeId) {
        for peer in self.0.iter_mut().filter(|peer| peer.node == Some(id)) {
            peer.node = None;
            if !peer.is_flying {
                peer.next = Some(now + REDIAL);
            }
        }
    }

    /// Tries again later: twice as late each time, up to an interval, which has its jitter already.
    pub(super) fn failed(&mut self, now: Instant, at: usize, why: DialFailure, interval: Duration) {
        let Some(peer) = self.0.get_mut(at) else {
            return;
        };
        peer.is_flying = false;
        if peer.node.is_some() {
            return;
        }
        // A name may lead elsewhere another time.
        let is_address = matches!(peer.address, PeerAddress::Address(_));
        let is_final = is_address && why == DialFailure::Itself;
        let delay = match why {
            DialFailure::Duplicate | DialFailure::Itself => interval,
            _ => (REDIAL * (1 << peer.n_failed.min(16))).min(interval),
        };
        peer.failure = (why != DialFailure::Duplicate).then_some(why);
        peer.n_failed = peer.n_failed.saturating_add(1);
        peer.next = (!is_final).then(|| now + delay);
    }

    pub(super) fn stop(&mut self) {
        for peer in &mut self.0 {
            peer.next = None;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|peer| peer.next).min()
    }
}

/// The order to dial a peer given by hand.
pub(super) fn output(address: PeerAddress, dial: DialId) -> ClusterOutput {
    let patience = PATIENCE_FAR;
    match address {
        PeerAddress::Address(address) => ClusterOutput::Dial {
            peer: None,
            address,
            dial,
            patience,
        },
        PeerAddress::Name(name) => ClusterOutput::DialName {
            name,
            dial,
            patience,
        },
    }
}
