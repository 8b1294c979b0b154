//! Whether each socket of discovery hears: its own beacons at least, since the group loops them back.
//!
//! Deaf for 3.5 intervals: open it anew. Nobody else for as long: join the group again at each beat.
//! Time alone accuses nobody: own beacons must have gone unheard, so that a process that was stopped
//! does not blame its sockets.

use std::{collections::BTreeMap, time::Duration};

use crate::base::time::Instant;

use super::super::{
    output::ClusterOutput,
    place::SocketPlace,
    timing::{PLACES_MAX, UNHEARD_MIN},
};

/// The sockets of discovery, and what they heard.
#[derive(Debug)]
pub(crate) struct Watchdog {
    places: BTreeMap<SocketPlace, Place>,
    patience: Duration,
}

/// State of one socket of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceState {
    /// It is open.
    Open,
    /// It heard nothing, and is being opened anew.
    Reopening,
    /// It is not open: no such interface at present, or it was refused.
    Closed,
}

/// One socket of discovery as it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) state: PlaceState,
    pub(crate) own_heard: Option<Instant>,
    pub(crate) others_heard: Option<Instant>,
    pub(crate) n_reopens: u64,
    /// From when on silence is measured.
    silent_since: Instant,
    /// Own PINGs and beats sent since something was heard.
    n_unheard: u32,
}

impl Watchdog {
    /// A watchdog that accuses after 3.5 of these intervals.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            places: BTreeMap::new(),
            patience: interval * 7 / 2,
        }
    }

    /// False if there is no room to watch it.
    pub(crate) fn opened(&mut self, now: Instant, place: SocketPlace) -> bool {
        if !self.places.contains_key(&place) && self.places.len() >= PLACES_MAX {
            let closed = self
                .places
                .iter()
                .find(|(_, one)| one.state == PlaceState::Closed);
            let Some(closed) = closed.map(|(place, _)| *place) else {
                return false;
            };
            self.places.remove(&closed);
        }
        let n_reopens = self.places.get(&place).map_or(0, |known| known.n_reopens);
        let opened = Place {
            state: PlaceState::Open,
            own_heard: None,
            others_heard: None,
            n_reopens,
            silent_since: now,
            n_unheard: 0,
        };
        self.places.insert(place, opened);
        true
    }

    pub(crate) fn closed(&mut self, place: SocketPlace) {
        if let Some(known) = self.places.get_mut(&place) {
            known.state = PlaceState::Closed;
        }
    }

    pub(crate) fn heard(&mut self, now: Instant, place: SocketPlace, is_own: bool) {
        if let Some(known) = self.places.get_mut(&place) {
            known.silent_since = now;
            known.n_unheard = 0;
            if is_own {
                known.own_heard = Some(now);
            } else {
                known.others_heard = Some(now);
            }
        }
    }

    /// Own PINGs and beats are sent to all open sockets.
    pub(crate) fn sent(&mut self) {
        for place in self.places.values_mut() {
            place.n_unheard = place.n_unheard.saturating_add(1);
        }
    }

    /// Sending begins anew after a pause: silence counts from here.
    pub(crate) fn restart(&mut self, now: Instant) {
        for place in self.places.values_mut() {
            place.silent_since = now;
            place.n_unheard = 0;
        }
    }

    pub(crate) fn has_open(&self) -> bool {
        self.iter()
            .any(|(_, place)| place.state == PlaceState::Open)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketPlace, &Place)> {
        self.places.iter().map(|(place, known)| (*place, known))
    }

    /// At a beat: sockets that hear nobody else join their group again.
    pub(crate) fn rejoin(&self, now: Instant, out: &mut Vec<ClusterOutput>) {
        for (place, known) in self.iter().filter(|(place, _)| is_watched(*place)) {
            let hears_others = known
                .others_heard
                .is_some_and(|at| now.since(at) < self.patience);
            if known.state == PlaceState::Open && !hears_others {
                out.push(ClusterOutput::Rejoin(place));
            }
        }
    }

    /// Sockets that are deaf are to be opened anew; asked for again if that does not help.
    pub(crate) fn poll(&mut self, now: Instant, out: &mut Vec<ClusterOutput>) {
        let patience = self.patience;
        for (place, known) in &mut self.places {
            if known.deaf_at(*place, patience).is_some_and(|at| at <= now) {
                known.state = PlaceState::Reopening;
                known.n_reopens += 1;
                known.silent_since = now;
                known.n_unheard = 0;
                out.push(ClusterOutput::Reopen(*place));
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deaf_at = |(place, known): (SocketPlace, &Place)| known.deaf_at(place, self.patience);
        self.iter().filter_map(deaf_at).min()
    }
}

impl Place {
    fn deaf_at(&self, place: SocketPlace, patience: Duration) -> Option<Instant> {
        let is_accused =
            is_watched(place) && self.state != PlaceState::Closed && self.n_unheard >= UNHEARD_MIN;
        is_accused.then(|| self.silent_since + patience)
    }
}

const fn is_watched(place: SocketPlace) -> bool {
    place.transport.is_heard_by_sender()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::proto::place::{InterfaceIndex, Transport};

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    const fn place(interface: u32, transport: Transport) -> SocketPlace {
        SocketPlace {
            interface: InterfaceIndex(interface),
            transport,
        }
    }

    const ETHERNET: SocketPlace = place(2, Transport::Multicast);

    fn asked(watchdog: &mut Watchdog, now: Instant) -> Vec<String> {
        let mut out = Vec::new();
        watchdog.poll(now, &mut out);
        out.iter().map(|output| format!("{output:?}")).collect()
    }

    #[test]
    fn a_deaf_socket_is_opened_anew_and_only_that_one() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        let other = place(3, Transport::Multicast6);
        watchdog.opened(at(0), ETHERNET);
        watchdog.opened(at(0), other);
        watchdog.opened(at(0), place(0, Transport::Static));
        for beat in 1..=3 {
            watchdog.sent();
            watchdog.heard(at(beat * 10_000), other, true);
        }
        assert_eq!(watchdog.next_deadline(), Some(at(35_000)));
        assert!(asked(&mut watchdog, at(34_999)).is_empty());
        assert_eq!(
            asked(&mut watchdog, at(35_000)),
            [format!("Reopen({ETHERNET:?})")]
        );
        assert!(asked(&mut watchdog, at(35_001)).is_empty());
        watchdog.opened(at(35_010), ETHERNET);
        let known = watchdog.places[&ETHERNET];
        assert_eq!((known.state, known.n_reopens), (PlaceState::Open, 1));
    }

    #[test]
    fn a_process_that_was_stopped_accuses_nobody() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        watchdog.opened(at(0), ETHERNET);
        watchdog.sent();
        assert_eq!(watchdog.next_deadline(), None);
        assert!(asked(&mut watchdog, at(600_000)).is_empty());
    }

    #[test]
    fn a_socket_that_hears_only_itself_joins_again() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        watchdog.opened(at(0), ETHERNET);
        watchdog.heard(at(10), ETHERNET, true);
        let n_asked = |watchdog: &Watchdog, now| {
            let mut out = Vec::new();
            watchdog.rejoin(now, &mut out);
            out.len()
        };
        assert_eq!(n_asked(&watchdog, at(10_000)), 1);
        watchdog.heard(at(11_000), ETHERNET, false);
        assert_eq!(n_asked(&watchdog, at(20_000)), 0);
        assert_eq!(n_asked(&watchdog, at(47_000)), 1);
    }

    #[test]
    fn a_closed_place_makes_room() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        let many = |interface| place(interface, Transport::Multicast);
        assert!((0..PLACES_MAX).all(|n| watchdog.opened(at(0), many(n as u32))));
        assert!(!watchdog.opened(at(0), many(9_999)));
        watchdog.closed(many(7));
        assert!(watchdog.opened(at(0), many(9_999)));
        assert_eq!(watchdog.iter().count(), PLACES_MAX);
    }
}
