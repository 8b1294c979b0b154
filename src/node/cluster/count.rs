//! The core's own counts, handed on to the metrics: what has been added since the last time.

use std::collections::BTreeMap;

use crate::{
    cluster::{
        net::sockets::PlaceStatus,
        proto::{ClusterCounts, MemberState, MemberView, PlaceView, SocketPlace},
    },
    metrics::{InterfaceLabel, StateLabel, names::ClusterMetrics},
};

/// What the metrics have been told already.
#[derive(Debug)]
pub(super) struct Counted {
    metrics: ClusterMetrics,
    before: ClusterCounts,
    reopens_before: BTreeMap<SocketPlace, u64>,
}

impl Counted {
    /// Nothing has been told: a core begins to count at 0.
    pub(super) fn new(metrics: ClusterMetrics) -> Self {
        Self {
            metrics,
            before: ClusterCounts::default(),
            reopens_before: BTreeMap::new(),
        }
    }

    /// Tells what has been added to the counts and to the re-opens of places.
    pub(super) fn note(
        &mut self,
        counts: &ClusterCounts,
        places: &[PlaceView],
        sockets: &[PlaceStatus],
    ) {
        let (metrics, before) = (&self.metrics, &self.before);
        let sent = |counts: &ClusterCounts| counts.n_beacons_sent.iter().sum::<u64>();
        let received = counts.n_beacons_received - before.n_beacons_received;
        metrics.beacons.inc_by("in", received);
        metrics.beacons.inc_by("out", sent(counts) - sent(before));
        for (idx, (reason, n_all)) in counts.n_beacons_rejected.iter().enumerate() {
            let n_before = before.n_beacons_rejected.get(idx).map_or(0, |(_, n)| *n);
            let added = n_all - n_before;
            metrics.beacons_rejected.inc_by(reason.as_str(), added);
        }
        let malformed = counts.n_frames_malformed - before.n_frames_malformed;
        metrics.frames_malformed.inc_by(malformed);
        for ((table, n_all), (_, n_before)) in counts.n_full.iter().zip(&before.n_full) {
            metrics.tables_full.inc_by(table, n_all - n_before);
        }
        self.before = counts.clone();
        for place in places {
            let Some(socket) = sockets.iter().find(|one| one.place == place.place) else {
                continue;
            };
            let n_before = self.reopens_before.insert(place.place, place.n_reopens);
            let label = InterfaceLabel {
                interface: socket.interface.clone(),
            };
            // A place that went and came again counts from 0.
            let added = place.n_reopens.saturating_sub(n_before.unwrap_or(0));
            metrics
                .discovery_reopens
                .get_or_create(&label)
                .inc_by(added);
        }
        self.reopens_before
            .retain(|place, _| places.iter().any(|one| one.place == *place));
    }

    /// Tells how many members stand how.
    pub(super) fn note_members(&self, members: &[MemberView]) {
        let states = [
            MemberState::Up,
            MemberState::Suspect,
            MemberState::Down,
            MemberState::Left,
        ];
        for state in states {
            let n_members = members
                .iter()
                .filter(|member| member.state == state)
                .count();
            let label = StateLabel {
                state: state.as_str(),
            };
            let level = self.metrics.members.get_or_create(&label);
            level.set(n_members as i64);
        }
    }
}
