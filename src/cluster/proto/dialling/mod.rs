//! Whom to dial, when, and when again.
//!
//! | why a peer is dialled | when | again, after a failure |
//! |---|---|---|
//! | a beacon of it was heard | the lower id at once, the higher [`HIGHER_WAITS`] later, up to [`HIGHER_WAITS_MAX`] where many are to be linked | [`RETRIES`] after the failed dial began; then for a later beacon, [`REDIAL`] doubled with each failure after the one before |
//! | a neighbour tells of it | the same | [`RETRIES`]; then as if it had been lost |
//! | the last link to it was lost | at once, whatever the ids | every [`REDIAL`], from [`REDIAL_LONG_AFTER`] on once an interval; [`RETRY_DYING`] later, then after as long again as it is lost, for [`DYING`], if somebody takes the call and breaks it off, as a dying process does |
//! | its address was given by hand | at once, whatever id and name, with [`PATIENCE_FAR`] in place of [`PATIENCE_NEAR`] | [`REDIAL`] later, doubled with each failure up to an interval |
//!
//! The answers *not accepted* and *itself* end the dials of a peer until it has another run (of an
//! address given by hand, *itself* alone does; of a name, neither: it may lead elsewhere an interval
//! later); *name taken* repeats them after [`NAME_RETRY`],
//! doubled with each failure up to [`NAME_RETRY_MAX`].
//!
//! [`RETRIES`]: super::timing::RETRIES
//! [`REDIAL_LONG_AFTER`]: super::timing::REDIAL_LONG_AFTER
//! [`RETRY_DYING`]: super::timing::RETRY_DYING
//! [`DYING`]: super::timing::DYING
//! [`PATIENCE_FAR`]: super::timing::PATIENCE_FAR
//! [`NAME_RETRY`]: super::timing::NAME_RETRY
//! [`NAME_RETRY_MAX`]: super::timing::NAME_RETRY_MAX

mod peer;
mod statics;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::{
    base::{prng::Prng, time::Instant},
    types::ids::NodeId,
};

pub(crate) use self::peer::Peer;
use self::{peer::Plan, statics::Statics};
use super::{
    card::{NodeName, RunNumber},
    config::PeerAddress,
    discovery::Sighting,
    due::DueAt,
    link::outcome::DialFailure,
    link_id::DialId,
    output::ClusterOutput,
    timing::{
        BEACON_DIALS_PER_SECOND, DIAL_LIFE, DIALS_MAX, HIGHER_WAITS, HIGHER_WAITS_FREE,
        HIGHER_WAITS_MAX, HIGHER_WAITS_PER_PEER, PATIENCE_NEAR, REDIAL,
    },
};

/// All peers and the dials under way.
#[derive(Debug)]
pub(crate) struct Dialling {
    own: NodeId,
    interval: Duration,
    peers: BTreeMap<NodeId, Peer>,
    peers_max: usize,
    pub(crate) statics: Statics,
    flying: BTreeMap<DialId, Flight>,
    last_dial: DialId,
    beacon_dials: PerSecond,
    /// When to look whom to dial: forgotten with each plan that is made or given up.
    due: DueAt,
    pub(crate) counts: DialCounts,
    prng: Prng,
}

/// What dials came to, by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct DialCounts {
    pub(crate) n_dials: u64,
    pub(crate) n_failed: u64,
    /// Dials that beacons would have caused beyond their rate.
    pub(crate) n_held_back: u64,
    /// Peers that had to go for others, or found no room.
    pub(crate) n_peers_dropped: u64,
}

/// A dial under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    target: Target,
    started: Instant,
}

/// Whom a dial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Peer(NodeId),
    Static(usize),
}

/// A limit on what may happen in a second.
#[derive(Debug, Default)]
struct PerSecond {
    second: u64,
    n_passed: u32,
}

impl Dialling {
    pub(crate) fn new(own: NodeId, interval: Duration, peers_max: usize, prng: Prng) -> Self {
        Self {
            own,
            interval,
            peers: BTreeMap::new(),
            peers_max,
            statics: Statics::default(),
            flying: BTreeMap::new(),
            last_dial: DialId(0),
            beacon_dials: PerSecond::default(),
            due: DueAt::Unknown,
            counts: DialCounts::default(),
            prng,
        }
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// A node was heard that is not to be dialled for it, unless a dial waited for its address.
    pub(crate) fn note(&mut self, now: Instant, sighting: &Sighting) {
        let at = self.first_dial_at(now, sighting.id);
        if let Some(peer) = self.entry(sighting.id, &sighting.name) {
            peer.meet_run(sighting.run);
            peer.is_settled = sighting.is_settled;
            peer.heard_at = Some(now);
            let is_awaited = peer.is_kept && peer.addresses.is_empty() && !peer.is_linked;
            peer.add_address(sighting.address);
            if is_awaited {
                peer.plan_at(at);
                self.due.add(at);
            }
        }
    }

    /// A wanted node was heard.
    pub(crate) fn sighted(&mut self, now: Instant, sighting: &Sighting) {
        self.note(now, sighting);
        let at = self.first_dial_at(now, sighting.id);
        let Some(peer) = self.peers.get(&sighting.id) else {
            return;
        };
        if !peer.may_dial_for_beacon(now) {
            return;
        }
        if !self.beacon_dials.may(now) {
            self.counts.n_held_back += 1;
            return;
        }
        if let Some(peer) = self.peers.get_mut(&sighting.id) {
            peer.beacon_dial_at = Some(now);
            peer.plan_at(at);
            self.due.add(at);
        }
    }

    /// A member of an earlier run of this node is not forgotten: whether it is dialled,
    /// [`keep`](Self::keep) says.
    pub(crate) fn remembered(&mut self, id: NodeId, name: &NodeName, address: Option<SocketAddr>) {
        let peer = self.entry(id, name);
        if let Some((peer, address)) = peer.zip(address) {
            peer.add_address_last(address);
        }
    }

    /// A wanted member is reported to be up.
    pub(crate) fn reported(
        &mut self,
        now: Instant,
        (id, name, run): (NodeId, &NodeName, RunNumber),
        address: Option<SocketAddr>,
    ) {
        let at = self.first_dial_at(now, id);
        let Some(peer) = self.entry(id, name) else {
            return;
        };
        // One that was remembered is sought now and then until somebody knows of a run of it.
        let is_new = peer.run.is_none() && peer.flying.is_none();
        peer.meet_run(run);
        if let Some(address) = address {
            peer.add_address_last(address);
        }
        peer.is_kept = true;
        if (is_new || peer.is_idle()) && !peer.is_linked && !peer.is_barred() {
            peer.plan_at(at);
            self.due.add(at);
        }
    }

    /// A member that is dialled may be found there as well.
    pub(crate) fn also_at(&mut self, id: NodeId, address: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_linked) {
            peer.add_address_last(address);
        }
    }

    /// A link to a node stands.
    pub(crate) fn linked(
        &mut self,
        now: Instant,
        (id, name, run): (NodeId, &NodeName, RunNumber),
        address: SocketAddr,
    ) {
        self.statics.linked(id, address);
        let Some(peer) = self.entry(id, name) else {
            return;
        };
        peer.meet_run(run);
        peer.add_address(address);
        peer.link_stands(now, address);
    }

    /// The last link to a node is gone: it is dialled at once, whoever has the lower identity. One whose
    /// links break one after the other as soon as they stand is given time.
    pub(crate) fn lost(&mut self, now: Instant, id: NodeId) {
        self.due.forget();
        self.statics.lost(now, id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.is_linked = false;
            peer.is_kept = true;
            peer.plan = Plan::Redial { since: now };
            let not_before = peer.link_broke(now);
            if peer.flying.is_none() {
                peer.next = Some(not_before);
            }
        }
    }

    /// The last link to a node is gone, and that is as it should be. Where it was given by hand it is
    /// dialled on: it may be started again, and not know whom to look for.
    pub(crate) fn unlinked(&mut self, now: Instant, id: NodeId) {
        self.due.forget();
        self.statics.lost(now, id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.is_linked = false;
        }
    }

    /// Whether failed dials to a node are to be repeated: it is a wanted member, or one whose death
    /// is in doubt.
    pub(crate) fn keep(&mut self, now: Instant, id: NodeId, is_kept: bool) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let was_kept = std::mem::replace(&mut peer.is_kept, is_kept);
        if is_kept && peer.is_idle() && !peer.is_linked && !peer.is_barred() {
            self.due.forget();
            peer.plan = Plan::Redial { since: now };
            peer.next = Some(now + REDIAL);
        } else if was_kept && !is_kept {
            self.due.forget();
            peer.next = None;
        }
    }

    /// No peer is dialled before `until`.
    pub(crate) fn hold_back(&mut self, until: Instant) {
        for next in self
            .peers
            .values_mut()
            .filter_map(|peer| peer.next.as_mut())
        {
            *next = until.max(*next);
        }
    }

    /// Every plan ends: this node leaves.
    pub(crate) fn stop(&mut self) {
        self.statics.stop();
        for peer in self.peers.values_mut() {
            peer.next = None;
            peer.is_kept = false;
        }
    }

    pub(crate) fn add_static(&mut self, now: Instant, address: PeerAddress) -> bool {
        self.due.forget();
        self.statics.add(now, address)
    }

    /// A dial led to a link with this node.
    pub(crate) fn succeeded(&mut self, now: Instant, dial: DialId, id: NodeId) {
        match self.flying.remove(&dial).map(|flight| flight.target) {
            Some(Target::Static(at)) => self.statics.reached(at, id),
            Some(Target::Peer(expected)) => self.answered(now, expected, id),
            None => {}
        }
    }

    /// A dial led to this node, whose link is not taken now. One found by its beacons dials in its
    /// turn and is told why; one given by hand may not be able to, and is tried again.
    pub(crate) fn spurned(&mut self, now: Instant, dial: DialId, id: NodeId, why: DialFailure) {
        match self.flying.remove(&dial).map(|flight| flight.target) {
            Some(Target::Static(at)) => self.static_failed(now, at, why),
            Some(Target::Peer(expected)) => self.answered(now, expected, id),
            None => {}
        }
    }

    fn answered(&mut self, now: Instant, expected: NodeId, id: NodeId) {
        self.due.forget();
        let interval = self.interval;
        if let Some(peer) = self.peers.get_mut(&expected) {
            peer.flying = None;
            if expected != id {
                // Somebody else lives there now, and may for good: he is not to be called often.
                let is_sought = peer.is_kept && !peer.is_linked;
                peer.next = is_sought.then_some(now + interval);
                peer.n_failed = peer.n_failed.saturating_add(1);
                peer.next_address();
            }
        }
    }

    fn static_failed(&mut self, now: Instant, at: usize, why: DialFailure) {
        self.due.forget();
        let interval = self.interval.mul_f64(self.prng.between(0.75, 1.0));
        self.statics.failed(now, at, why, interval);
    }

    /// A dial came to nothing; gives whom it was for, if that is known.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        dial: DialId,
        why: DialFailure,
    ) -> Option<NodeId> {
        let flight = self.flying.remove(&dial)?;
        self.due.forget();
        self.counts.n_failed += 1;
        match flight.target {
            Target::Static(at) => {
                self.static_failed(now, at, why);
                self.statics.node(at)
            }
            Target::Peer(id) => {
                let jittered = self.interval.mul_f64(self.prng.between(0.9, 1.1));
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.dial_failed(now, flight.started, why, jittered);
                }
                Some(id)
            }
        }
    }

    /// Dials what is due.
    pub(crate) fn poll(&mut self, now: Instant, out: &mut Vec<ClusterOutput>) {
        if !self.due.may_be(now) {
            return;
        }
        self.due.forget();
        let is_lost = |flight: &Flight| now.since(flight.started) >= DIAL_LIFE;
        let lost = self.flying.iter().filter(|(_, flight)| is_lost(flight));
        let lost: Vec<DialId> = lost.map(|(dial, _)| *dial).collect();
        for dial in lost {
            self.failed(now, dial, DialFailure::TimedOut);
        }
        let is_due = |peer: &Peer| peer.next.is_some_and(|at| at <= now);
        let due = self.peers.iter().filter(|(_, peer)| is_due(peer));
        let due: Vec<NodeId> = due.map(|(id, _)| *id).collect();
        for id in due {
            self.dial_peer(now, id, out);
        }
        while let Some((at, address)) = self.statics.due(now) {
            if self.flying.len() >= DIALS_MAX {
                self.statics.put_off(at, now + REDIAL);
                continue;
            }
            let dial = self.take_off(now, Target::Static(at));
            self.statics.flies(at);
            out.push(statics::output(address, dial));
        }
    }

    /// To be called when all plans are made.
    pub(crate) fn settle(&mut self) {
        self.due = self.next_deadline().into();
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.or_look(|| self.find_next_deadline())
    }

    fn find_next_deadline(&self) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|peer| peer.next);
        let flights = self
            .flying
            .values()
            .map(|flight| flight.started + DIAL_LIFE);
        peers
            .chain(flights)
            .chain(self.statics.next_deadline())
            .min()
    }

    /// Dials under way and peers known.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.flying.len(), self.peers.len())
    }

    fn dial_peer(&mut self, now: Instant, id: NodeId, out: &mut Vec<ClusterOutput>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.next = None;
        let Some(address) = peer.addresses.first().copied() else {
            return;
        };
        if peer.is_linked || peer.flying.is_some() {
            return;
        }
        if self.flying.len() >= DIALS_MAX {
            peer.next = Some(now + REDIAL);
            return;
        }
        let dial = self.take_off(now, Target::Peer(id));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.flying = Some(dial);
            peer.dialled_at = Some(address);
        }
        out.push(ClusterOutput::Dial {
            peer: Some(id),
            address,
            dial,
            patience: PATIENCE_NEAR,
        });
    }

    fn take_off(&mut self, now: Instant, target: Target) -> DialId {
        self.last_dial = DialId(self.last_dial.0 + 1);
        let flight = Flight {
            target,
            started: now,
        };
        self.flying.insert(self.last_dial, flight);
        self.counts.n_dials += 1;
        self.last_dial
    }

    fn first_dial_at(&self, now: Instant, id: NodeId) -> Instant {
        if self.own < id {
            return now;
        }
        let is_open = |(other, peer): &(&NodeId, &Peer)| **other != id && !peer.is_idle();
        let n_open = self.peers.iter().filter(is_open).count();
        let n_crowding = n_open.saturating_sub(HIGHER_WAITS_FREE);
        let n_crowding = u32::try_from(n_crowding).unwrap_or(u32::MAX);
        let longer = HIGHER_WAITS_PER_PEER.saturating_mul(n_crowding);
        now + HIGHER_WAITS.saturating_add(longer).min(HIGHER_WAITS_MAX)
    }

    /// The peer, made if there is room: the stranger heard longest ago goes for it.
    fn entry(&mut self, id: NodeId, name: &NodeName) -> Option<&mut Peer> {
        if !self.peers.contains_key(&id) && self.peers.len() >= self.peers_max {
            self.counts.n_peers_dropped += 1;
            let idle = self.peers.iter().filter(|(_, peer)| peer.is_expendable());
            let oldest = idle.min_by_key(|(_, peer)| peer.heard_at);
            let oldest = oldest.map(|(id, _)| *id)?;
            self.peers.remove(&oldest);
        }
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(name));
        if peer.name != *name {
            peer.name = name.clone();
        }
        Some(peer)
    }
}

impl PerSecond {
    fn may(&mut self, now: Instant) -> bool {
        let second = now.as_millis() / 1_000;
        if self.second != second {
            self.second = second;
            self.n_passed = 0;
        }
        self.n_passed += 1;
        self.n_passed <= BEACON_DIALS_PER_SECOND
    }
}

#[cfg(test)]
mod tests;
