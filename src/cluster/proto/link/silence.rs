//! When a link is silent, and when its own end must say something.
//!
//! [`Hearing`] measures the time in which nothing came **while we listened**. It is not told what
//! the clock says about the other end, but each time the socket was found empty; between two such
//! looks no more counts than was to pass and one look's pause, however much has passed. So a process
//! that was stopped, or starved by its neighbours, drains its sockets before it accuses anyone: its
//! first look finds what came meanwhile. A link on which heartbeats come in time is not looked at.
//! [`Beat`] says something whenever nothing was said for a while, and at once when what it has to say
//! has changed.

use std::time::Duration;

use bytes::Bytes;

use crate::base::time::Instant;

/// The times of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTiming {
    /// A direction in which nothing was sent for this long gets a heartbeat; 250 ms.
    pub heartbeat: Duration,
    /// Silence after which the other end is suspect; 1 s.
    pub quiet: Duration,
    /// Silence after which the link is given up; 1.4 s, so that all others know of it 1.5 s after the last
    /// sign of life.
    pub dead: Duration,
    /// Silence after which a socket is looked at first; 400 ms, more than a heartbeat is late.
    pub first_look: Duration,
    /// Time between two looks from then on; 50 ms. A look that comes later than it should counts as
    /// this much more at most.
    pub look: Duration,
}

/// The silence of a link as this end experiences it.
#[derive(Debug)]
pub struct Hearing {
    timing: LinkTiming,
    silent: Duration,
    last_look: Instant,
    /// From the last look to the next.
    pause: Duration,
    is_quiet: bool,
}

/// What a look or a sound changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HearingChange {
    /// Silent for so long that the other end is suspect.
    Quiet,
    /// Heard again after that.
    Lively,
    /// Silent for too long: the link is to be given up.
    Dead,
}

/// When this end must say something.
#[derive(Debug)]
pub struct Beat {
    every: Duration,
    last_said: Instant,
    payload: Bytes,
    is_changed: bool,
}

impl Default for LinkTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            quiet: Duration::from_secs(1),
            dead: Duration::from_millis(1_400),
            first_look: Duration::from_millis(400),
            look: Duration::from_millis(50),
        }
    }
}

impl Hearing {
    /// A link on which something was heard just `now`.
    pub const fn new(timing: LinkTiming, now: Instant) -> Self {
        Self {
            timing,
            silent: Duration::ZERO,
            last_look: now,
            pause: timing.first_look,
            is_quiet: false,
        }
    }

    /// Any byte came in.
    pub const fn heard(&mut self, now: Instant) -> Option<HearingChange> {
        self.silent = Duration::ZERO;
        self.last_look = now;
        self.pause = self.timing.first_look;
        if self.is_quiet {
            self.is_quiet = false;
            return Some(HearingChange::Lively);
        }
        None
    }

    /// How long nothing has been heard until `now`, as this end experiences it.
    pub fn silence(&self, now: Instant) -> Duration {
        let passed = now.since(self.last_look);
        self.silent + passed.min(self.pause + self.timing.look)
    }

    /// When the socket is to be looked at, if nothing comes until then.
    pub fn next_look(&self) -> Instant {
        self.last_look + self.pause
    }

    /// The socket was looked at and there was nothing.
    pub fn found_empty(&mut self, now: Instant) -> Option<HearingChange> {
        self.silent = self.silence(now);
        self.last_look = now;
        // The last look is neither late nor early, though each before was a little late.
        let left = self.timing.dead.saturating_sub(self.silent);
        self.pause = self.timing.look.min(left);
        if self.silent >= self.timing.dead {
            return Some(HearingChange::Dead);
        }
        if self.silent >= self.timing.quiet && !self.is_quiet {
            self.is_quiet = true;
            return Some(HearingChange::Quiet);
        }
        None
    }
}

impl Beat {
    /// A beat that has said something just `now`, and has no payload yet.
    pub const fn new(every: Duration, now: Instant) -> Self {
        Self {
            every,
            last_said: now,
            payload: Bytes::new(),
            is_changed: false,
        }
    }

    /// What heartbeats say from now on. True if that is something else than before, and must be said
    /// at once, however busy the link is.
    pub fn set_payload(&mut self, payload: Bytes) -> bool {
        if self.payload != payload {
            self.payload = payload;
            self.is_changed = true;
        }
        self.is_changed
    }

    /// Something was sent, be it a heartbeat or not.
    pub const fn said(&mut self, now: Instant) {
        self.last_said = now;
    }

    /// The payload of the heartbeat that is due, which counts as said.
    pub fn take_due(&mut self, now: Instant) -> Option<Bytes> {
        let is_due = self.is_changed || now >= self.next_deadline();
        is_due.then(|| {
            self.is_changed = false;
            self.last_said = now;
            self.payload.clone()
        })
    }

    /// When a heartbeat is due at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.last_said + self.every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// What is told, with the time, when nothing comes and each look is made at these times.
    fn looks(times: impl IntoIterator<Item = u64>) -> Vec<(u64, HearingChange)> {
        let mut hearing = Hearing::new(LinkTiming::default(), at(0));
        let changes = times
            .into_iter()
            .filter_map(|time| Some((time, hearing.found_empty(at(time))?)));
        changes.collect()
    }

    #[test]
    fn a_silent_link_is_suspect_after_a_second_and_dead_a_little_later() {
        let found = looks((400..=1_400).step_by(50));
        let expected = [(1_000, HearingChange::Quiet), (1_400, HearingChange::Dead)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_link_that_is_heard_in_time_is_never_suspect() {
        let mut hearing = Hearing::new(LinkTiming::default(), at(0));
        for time in (50..60_000).step_by(50) {
            let change = match time % 250 {
                0 => hearing.heard(at(time)),
                _ => hearing.found_empty(at(time)),
            };
            assert_eq!(change, None, "at {time}");
        }
    }

    #[test]
    fn time_in_which_nobody_looked_is_not_silence() {
        // Stopped for a minute, twice.
        assert_eq!(looks([60_000, 60_050, 120_000, 120_050]), []);
        // Starved: looked at every half second only.
        let found = looks((500..10_000).step_by(500));
        assert_eq!(found[0], (3_500, HearingChange::Quiet));
        assert_eq!(found[1], (5_500, HearingChange::Dead));
    }

    #[test]
    fn silence_at_the_end_is_what_was_experienced() {
        let mut hearing = Hearing::new(LinkTiming::default(), at(0));
        assert_eq!(hearing.heard(at(60_000)), None);
        assert_eq!(hearing.silence(at(60_100)), Duration::from_millis(100));
        assert_eq!(hearing.found_empty(at(60_400)), None);
        assert_eq!(hearing.silence(at(60_420)), Duration::from_millis(420));
        // Stopped for an hour.
        let later = at(3_660_000);
        assert_eq!(hearing.silence(later), Duration::from_millis(500));
    }

    #[test]
    fn a_suspect_link_that_is_heard_is_lively_again() {
        let mut hearing = Hearing::new(LinkTiming::default(), at(0));
        let changes: Vec<_> = (8..=24)
            .filter_map(|n| hearing.found_empty(at(n * 50)))
            .collect();
        assert_eq!(changes, [HearingChange::Quiet]);
        assert_eq!(hearing.heard(at(1_210)), Some(HearingChange::Lively));
        assert_eq!(hearing.heard(at(1_220)), None);
        assert_eq!(hearing.next_look(), at(1_620));
        assert_eq!(hearing.found_empty(at(1_620)), None);
        assert_eq!(hearing.next_look(), at(1_670));
    }

    #[test]
    fn a_beat_is_due_when_nothing_was_said() {
        let mut beat = Beat::new(Duration::from_millis(250), at(0));
        assert_eq!(beat.take_due(at(249)), None);
        assert_eq!(beat.take_due(at(250)), Some(Bytes::new()));
        beat.said(at(400));
        assert_eq!(beat.take_due(at(600)), None);
        assert_eq!(beat.next_deadline(), at(650));
    }

    #[test]
    fn a_new_payload_is_said_at_once_and_once() {
        let mut beat = Beat::new(Duration::from_millis(250), at(0));
        assert!(beat.set_payload(Bytes::from_static(b"healthy")));
        beat.said(at(5));
        assert_eq!(beat.take_due(at(6)), Some(Bytes::from_static(b"healthy")));
        assert!(!beat.set_payload(Bytes::from_static(b"healthy")));
        assert_eq!(beat.take_due(at(7)), None);
        assert_eq!(beat.take_due(at(256)), Some(Bytes::from_static(b"healthy")));
    }
}
