//! Discovery: PING and PONG, and what is learned from them.
//!
//! A datagram passes these doors, in this order: it is a beacon of this cluster ([`Beacon::read`]), it
//! is not our own (that feeds the [`watchdog`] only), and if it is a PONG it echoes a nonce sent or heard
//! within the last second ([`nonces`]). What comes through is a [`Sighting`]: who, and where it takes
//! links. A sighting leads to a dial; a PING or a beat may lead to a PONG ([`Pongs`]), and a beat of a node
//! that this one has no link to to a series of our own ([`series`]), if it wants one, or has another path
//! to it and another digest. No
//! beacon makes a node silent that needs company: the only thing that holds a PING back is the PING
//! of a lower id, never one of the first series, and never for longer than an interval. A PONG is held
//! back by those of eight nodes that are linked with this one, where the pinger wants no more ([`pongs`]).

pub(crate) mod nonces;
pub(crate) mod pongs;
pub(crate) mod senders;
pub(crate) mod series;
pub(crate) mod watchdog;

use std::net::SocketAddr;

use crate::{
    base::{prng::Prng, time::Instant},
    types::ids::NodeId,
};

use self::{
    nonces::Nonces,
    pongs::{Pongs, Question},
    senders::Senders,
    series::{Company, Due, PingPhase, Pings},
    watchdog::Watchdog,
};
use super::{
    beacon::{Beacon, BeaconKind, BeaconRejection, Nonce, Rejected},
    card::{Incarnation, NodeName, RunNumber},
    config::{ClusterConfig, ConnectMode},
    output::{BeaconTo, ClusterOutput},
    place::{SocketPlace, is_of_segment},
    timing::{FIRST_SERIES, FIRST_SERIES_WITHOUT_NETWORK},
    view::ViewDigest,
};

/// What discovery asks of the rest of the core.
pub(crate) trait Surroundings {
    /// Of this node, as beacons tell it.
    fn introduction(&self) -> Introduction;
    /// Members that are known, proven by links.
    fn n_members(&self) -> usize;
    /// Whether a link of our own to this run of a node stands, and is not quiet.
    fn is_linked(&self, id: NodeId, run: RunNumber) -> bool;
    /// Whether a node is reached, by a link of our own or over others.
    fn has_path(&self, id: NodeId) -> bool;
    /// Whether a link to this node is wanted, and may come about.
    fn is_wanted(&self, id: NodeId, name: &NodeName) -> bool;
    /// Whether this node has the links it needs.
    fn company(&self) -> Company;
}

/// What a beacon says of its sender besides what never changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Introduction {
    pub(crate) incarnation: Incarnation,
    pub(crate) is_settled: bool,
    pub(crate) digest: ViewDigest,
}

/// A node of this cluster was heard.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) run: RunNumber,
    pub(crate) is_settled: bool,
    /// Where it takes links.
    pub(crate) address: SocketAddr,
}

/// What beacons came to, by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct BeaconCounts {
    pub(crate) n_pings: u64,
    pub(crate) n_pongs: u64,
    pub(crate) n_beats: u64,
    pub(crate) n_received: u64,
    /// In the order of [`BeaconRejection::ALL`].
    pub(crate) n_rejected: [u64; BeaconRejection::ALL.len()],
    /// Sockets that could not be watched.
    pub(crate) n_unwatched: u64,
}

/// The state of discovery.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) pings: Pings,
    pub(crate) pongs: Pongs,
    pub(crate) nonces: Nonces,
    pub(crate) watchdog: Watchdog,
    pub(crate) senders: Senders,
    pub(crate) counts: BeaconCounts,
    /// When the first series counts as over; absent once that was told.
    first_over_at: Option<Instant>,
    prng: Prng,
}

/// A datagram with where it came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) from: SocketAddr,
    pub(crate) place: SocketPlace,
}

impl Discovery {
    pub(crate) fn new(now: Instant, config: &ClusterConfig, prng: Prng) -> Self {
        Self {
            pings: Pings::new(config.ping_interval, config.is_active),
            pongs: Pongs::default(),
            nonces: Nonces::default(),
            watchdog: Watchdog::new(config.ping_interval),
            senders: Senders::default(),
            counts: BeaconCounts::default(),
            first_over_at: Some(now + FIRST_SERIES_WITHOUT_NETWORK),
            prng,
        }
    }

    pub(crate) fn socket_opened(&mut self, now: Instant, place: SocketPlace) {
        if !self.watchdog.opened(now, place) {
            self.counts.n_unwatched += 1;
        }
        self.pings.socket_opened(now);
    }

    pub(crate) fn socket_closed(&mut self, place: SocketPlace) {
        self.watchdog.closed(place);
        if !self.watchdog.has_open() {
            self.pings.sockets_gone();
        }
    }

    pub(crate) fn resume(&mut self, now: Instant) {
        if self.pings.resume(now, self.watchdog.has_open()) {
            self.watchdog.restart(now);
        }
    }

    /// Somebody was lost, or company is missing again.
    pub(crate) fn lost(&mut self, now: Instant) {
        if self.watchdog.has_open() {
            self.pings.lost(now, &mut self.prng);
        }
    }

    /// A datagram came in; gives who was heard, if it is a node of this cluster.
    pub(crate) fn datagram(
        &mut self,
        now: Instant,
        arrival: Arrival<'_>,
        config: &ClusterConfig,
        around: &impl Surroundings,
    ) -> Option<Sighting> {
        self.counts.n_received += 1;
        match self.admit(now, arrival, config) {
            Ok(mut beacon) => {
                self.watchdog.heard(now, arrival.place, false);
                self.senders.ours(now, arrival.from, &beacon);
                beacon.wants_few &= tells_of_others(config) && !is_of_segment(&arrival.from);
                self.answer(now, &beacon, config.card.id, around);
                Some(sighting(beacon, arrival.from))
            }
            Err(rejected) => {
                let at = BeaconRejection::ALL
                    .iter()
                    .position(|one| *one == rejected.reason);
                if let Some(count) = at.and_then(|at| self.counts.n_rejected.get_mut(at)) {
                    *count += 1;
                }
                if !matches!(
                    rejected.reason,
                    BeaconRejection::Own | BeaconRejection::StaleNonce
                ) {
                    self.senders.rejected(now, arrival.from, rejected);
                }
                None
            }
        }
    }

    /// Sends what is due.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        config: &ClusterConfig,
        around: &impl Surroundings,
        out: &mut Vec<ClusterOutput>,
    ) {
        let is_needed = |question: &Question| !around.is_linked(question.pinger, question.run);
        if let Some(Question { nonce, pinger, .. }) = self.pongs.due(now, is_needed) {
            self.counts.n_pongs += 1;
            send(BeaconKind::Pong { nonce, pinger }, config, around, out);
        }
        let due = self.pings.due(now, || around.company(), &mut self.prng);
        if let Some(due) = due {
            let nonce = Nonce(self.prng.next_u64());
            self.nonces.sent(now, nonce);
            self.pongs.spared(now);
            self.watchdog.sent();
            let kind = match due {
                Due::Ping => BeaconKind::Ping(nonce),
                Due::Beat => BeaconKind::Beat(nonce),
            };
            match due {
                Due::Ping => self.counts.n_pings += 1,
                Due::Beat => self.counts.n_beats += 1,
            }
            send(kind, config, around, out);
            self.watchdog_turn(now, due, out);
        }
        self.watchdog.poll(now, out);
        self.end_first_series(now, due, out);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let paused = self.pings.phase() == PingPhase::Paused;
        let deadlines = [
            self.pings.next_deadline(),
            self.pongs.next_deadline(),
            self.watchdog.next_deadline().filter(|_| !paused),
            self.first_over_at,
        ];
        deadlines.into_iter().flatten().min()
    }

    pub(crate) const fn is_first_series_over(&self) -> bool {
        self.first_over_at.is_none()
    }

    fn admit(
        &mut self,
        now: Instant,
        arrival: Arrival<'_>,
        config: &ClusterConfig,
    ) -> Result<Beacon, Rejected> {
        let beacon = Beacon::read(arrival.bytes, &config.keys)?;
        let rejected = |reason| Rejected { reason, name: None };
        if beacon.id == config.card.id && beacon.run == config.card.run {
            let is_fresh = match beacon.kind {
                BeaconKind::Ping(nonce) | BeaconKind::Beat(nonce) => self.nonces.is_own(now, nonce),
                BeaconKind::Pong { nonce, pinger } => self.nonces.is_fresh(now, pinger, nonce),
            };
            if is_fresh {
                self.watchdog.heard(now, arrival.place, true);
            }
            return Err(rejected(BeaconRejection::Own));
        }
        match beacon.kind {
            BeaconKind::Ping(nonce) | BeaconKind::Beat(nonce) => {
                self.nonces.heard(now, beacon.id, nonce);
            }
            BeaconKind::Pong { nonce, pinger } => {
                let is_answer_to_us = pinger == config.card.id && self.nonces.is_own(now, nonce);
                if !is_answer_to_us && !self.nonces.is_fresh(now, pinger, nonce) {
                    return Err(rejected(BeaconRejection::StaleNonce));
                }
            }
        }
        Ok(beacon)
    }

    /// Answers a PING or a beat, makes way for a lower identity, asks islands who else is there.
    fn answer(&mut self, now: Instant, beacon: &Beacon, own: NodeId, around: &impl Surroundings) {
        let has_path = around.has_path(beacon.id);
        let is_of_one_mind = || has_path && beacon.digest == around.introduction().digest;
        // What the views of two differ in that have a link, they tell each other over it.
        let agrees = around.is_linked(beacon.id, beacon.run) || is_of_one_mind();
        let question = |nonce| Question {
            nonce,
            pinger: beacon.id,
            run: beacon.run,
            wants_few: beacon.wants_few,
        };
        let n_members = around.n_members();
        match beacon.kind {
            BeaconKind::Pong { nonce, pinger } => {
                if around.is_linked(beacon.id, beacon.run) {
                    self.pongs.answered(nonce, pinger, beacon.id);
                }
            }
            BeaconKind::Ping(nonce) => {
                if !agrees {
                    self.pongs
                        .plan(now, question(nonce), n_members, &mut self.prng);
                }
                if beacon.id < own {
                    let company = || around.company();
                    self.pings.yield_to_lower(now, company, &mut self.prng);
                }
            }
            BeaconKind::Beat(nonce) => {
                let concerns_us = has_path || around.is_wanted(beacon.id, &beacon.name);
                if !agrees && concerns_us {
                    self.pongs
                        .plan(now, question(nonce), n_members, &mut self.prng);
                    if self.watchdog.has_open() {
                        self.pings.island_seen(now, beacon.id, &mut self.prng);
                    }
                }
            }
        }
    }

    fn watchdog_turn(&mut self, now: Instant, due: Due, out: &mut Vec<ClusterOutput>) {
        let is_slow = self
            .pings
            .next_deadline()
            .is_some_and(|next| next.since(now) > FIRST_SERIES);
        if due == Due::Beat || is_slow {
            self.watchdog.rejoin(now, out);
        }
    }

    fn end_first_series(&mut self, now: Instant, due: Option<Due>, out: &mut Vec<ClusterOutput>) {
        let is_first_ping = due.is_some() && self.counts.n_pings + self.counts.n_beats == 1;
        if is_first_ping && let Some(at) = &mut self.first_over_at {
            *at = now + FIRST_SERIES;
        }
        if self.first_over_at.is_some_and(|at| at <= now) {
            self.first_over_at = None;
            out.push(ClusterOutput::FirstSeriesOver);
        }
    }
}

fn send(
    kind: BeaconKind,
    config: &ClusterConfig,
    around: &impl Surroundings,
    out: &mut Vec<ClusterOutput>,
) {
    let introduction = around.introduction();
    let beacon = Beacon {
        kind,
        id: config.card.id,
        name: config.card.name.clone(),
        incarnation: introduction.incarnation,
        run: config.card.run,
        is_settled: introduction.is_settled,
        wants_few: tells_of_others(config) && !matches!(kind, BeaconKind::Pong { .. }),
        digest: introduction.digest,
        link_port: config.card.link.port(),
        advertised: config.advertised,
    };
    out.push(ClusterOutput::SendBeacon {
        bytes: beacon.to_bytes(&config.keys),
        to: BeaconTo::All,
    });
}

/// Whether this node tells its members on, and takes the word of others for theirs.
fn tells_of_others(config: &ClusterConfig) -> bool {
    config.connect_mode == ConnectMode::Visible
}

fn sighting(beacon: Beacon, from: SocketAddr) -> Sighting {
    let mut here = from;
    here.set_port(beacon.link_port);
    Sighting {
        id: beacon.id,
        name: beacon.name,
        run: beacon.run,
        is_settled: beacon.is_settled,
        address: beacon.advertised.unwrap_or(here),
    }
}

#[cfg(test)]
mod tests;
