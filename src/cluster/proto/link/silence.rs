//! When a link is silent, and when its own end must say something.
//!
//! [`Hearing`] measures the time in which nothing came **while we listened**. It is not told what
//! the clock says about the other end, but each time the socket was found empty; between two such
//! looks no more counts than was to pass and one look's pause, however much has passed. So a process
//! that was stopped, or starved by its neighbours, drains its sockets before it accuses anyone: its
//! first look finds what came meanwhile. A link on which heartbeats come in time is not looked at.
//!
//! [`Beat`] says something whenever nothing was said for a while, and at once when what it has to say
//! has changed. A node with fifty links would be woken by each of them three times a second for its own
//! beats, as often for those of the others, and as often for looks. So all links of a node beat and look
//! at the same moments, multiples of [`LinkTiming::look`] on its clock; and a beat that is heard is
//! answered by the one that would be due a moment later: the two ends of a link wake each other once.

use std::time::Duration;

use bytes::Bytes;

use crate::base::time::Instant;

/// The times of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTiming {
    /// A direction in which nothing was sent for this long gets a heartbeat, at the next multiple of
    /// `look`; 350 ms.
    pub heartbeat: Duration,
    /// Silence after which the other end is suspect; 1 s.
    pub quiet: Duration,
    /// Silence after which the link is given up; 1.4 s, so that all others know of it 1.5 s after the last
    /// sign of life.
    pub dead: Duration,
    /// Silence after which a socket is looked at first; 500 ms, more than a heartbeat is late.
    pub first_look: Duration,
    /// Time between two looks from then on; 50 ms. A look that comes later than it should counts as
    /// this much more at most. What all links of a node do at some time, they do together at a multiple
    /// of this.
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
    timing: LinkTiming,
    last_said: Instant,
    payload: Bytes,
    /// A payload that was never said, and goes now.
    is_changed: bool,
    /// One that goes with whatever goes next: on a busy link no heartbeat is due by itself.
    is_waiting: bool,
    /// The other end is to be answered.
    is_asked: bool,
}

impl Default for LinkTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(350),
            quiet: Duration::from_secs(1),
            dead: Duration::from_millis(1_400),
            first_look: Duration::from_millis(500),
            look: Duration::from_millis(50),
        }
    }
}

impl LinkTiming {
    /// The first moment that all links of this node share, not before `due`.
    fn together(&self, due: Instant) -> Instant {
        let look = u64::try_from(self.look.as_millis()).unwrap_or(u64::MAX);
        let millis = due.as_millis().checked_next_multiple_of(look);
        millis.map_or(due, Instant::from_millis)
    }
}

impl Hearing {
    /// A link on which something was heard just `now`.
    pub fn new(timing: LinkTiming, now: Instant) -> Self {
        Self {
            timing,
            silent: Duration::ZERO,
            last_look: now,
            pause: timing.together(now + timing.first_look).since(now),
            is_quiet: false,
        }
    }

    /// Any byte came in.
    pub fn heard(&mut self, now: Instant) -> Option<HearingChange> {
        self.silent = Duration::ZERO;
        self.last_look = now;
        self.pause = self
            .timing
            .together(now + self.timing.first_look)
            .since(now);
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
    pub const fn new(timing: LinkTiming, now: Instant) -> Self {
        Self {
            timing,
            last_said: now,
            payload: Bytes::new(),
            is_changed: false,
            is_waiting: false,
            is_asked: false,
        }
    }

    /// What heartbeats say from now on. True if that is something else than before, and must be said
    /// at once, however busy the link is.
    pub fn set_payload(&mut self, payload: Bytes) -> bool {
        if self.payload != payload || self.is_waiting {
            self.payload = payload;
            self.is_changed = true;
        }
        self.is_changed
    }

    /// What heartbeats say from the next one on; that one goes with whatever else goes, or when it would.
    pub fn set_next_payload(&mut self, payload: Bytes) {
        self.is_waiting |= self.payload != payload;
        self.payload = payload;
    }

    /// Something was sent, be it a heartbeat or not.
    pub const fn said(&mut self, now: Instant) {
        self.last_said = now;
        self.is_asked = false;
    }

    /// A heartbeat came in that says nothing new. True if one goes now rather than by itself later: half
    /// the time has passed. Of two ends that beat at different times one finds that, so they beat together
    /// from then on.
    pub fn answer(&mut self, now: Instant) -> bool {
        self.is_asked |= now.since(self.last_said) * 2 >= self.timing.heartbeat;
        self.is_asked
    }

    /// The payload of the heartbeat that is due, which counts as said. `is_speaking`: something else
    /// goes now.
    pub fn take_due(&mut self, now: Instant, is_speaking: bool) -> Option<Bytes> {
        let is_due = self.is_changed
            || self.is_asked
            || (is_speaking && self.is_waiting)
            || now >= self.next_deadline();
        is_due.then(|| {
            self.is_changed = false;
            self.is_waiting = false;
            self.said(now);
            self.payload.clone()
        })
    }

    /// When a heartbeat is due at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.timing.together(self.last_said + self.timing.heartbeat)
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
        assert_eq!(found[0], (3_000, HearingChange::Quiet));
        assert_eq!(found[1], (5_000, HearingChange::Dead));
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
        assert_eq!(hearing.next_look(), at(1_750));
        assert_eq!(hearing.found_empty(at(1_750)), None);
        assert_eq!(hearing.next_look(), at(1_800));
    }

    #[test]
    fn a_beat_is_due_when_nothing_was_said() {
        let mut beat = Beat::new(LinkTiming::default(), at(0));
        assert_eq!(beat.take_due(at(349), false), None);
        assert_eq!(beat.take_due(at(350), false), Some(Bytes::new()));
        beat.said(at(400));
        assert_eq!(beat.take_due(at(600), false), None);
        assert_eq!(beat.next_deadline(), at(750));
    }

    #[test]
    fn links_beat_and_look_at_the_same_moments() {
        let timing = LinkTiming::default();
        for start in 0..50 {
            let (beat, hearing) = (
                Beat::new(timing, at(start)),
                Hearing::new(timing, at(start)),
            );
            let due = |pause: u64| at((start + pause).next_multiple_of(50));
            assert_eq!(beat.next_deadline(), due(350));
            assert_eq!(hearing.next_look(), due(500));
        }
    }

    /// Counts the beats of each end in ten seconds; what is said is heard a millisecond later.
    #[test]
    fn the_two_ends_of_a_link_beat_together() {
        let phases = [1, 7, 63, 174, 175, 176, 349];
        for phase in phases {
            let mut ends = [0, phase].map(|start| Beat::new(LinkTiming::default(), at(start)));
            let (mut n_said, mut n_answers, mut last_said) = ([0; 2], 0, [0, phase]);
            for time in phase..10_000 {
                for from in 0..2 {
                    if ends[from].take_due(at(time), false).is_none() {
                        continue;
                    }
                    assert!(time - last_said[from] <= 400, "nothing for long at {time}");
                    (n_said[from], last_said[from]) = (n_said[from] + 1, time);
                    n_answers += u32::from(ends[1 - from].answer(at(time + 1)));
                }
            }
            assert!(n_said.iter().all(|n| (27..=29).contains(n)), "{n_said:?}");
            assert!(
                n_answers >= 26,
                "{n_answers} answers of {n_said:?} at {phase}"
            );
        }
    }

    #[test]
    fn a_beat_is_not_answered_by_who_spoke_just_now() {
        let mut beat = Beat::new(LinkTiming::default(), at(0));
        assert!(!beat.answer(at(174)));
        assert_eq!(beat.take_due(at(174), false), None);
        assert!(beat.answer(at(175)));
        assert_eq!(beat.take_due(at(175), false), Some(Bytes::new()));
        assert!(!beat.answer(at(176)));
        assert!(beat.answer(at(400)));
        beat.said(at(401));
        assert_eq!(
            beat.take_due(at(402), false),
            None,
            "something else was said"
        );
    }

    #[test]
    fn a_payload_that_may_wait_goes_with_what_goes_however_busy_the_link() {
        let mut beat = Beat::new(LinkTiming::default(), at(0));
        beat.set_next_payload(Bytes::from_static(b"new"));
        assert_eq!(beat.take_due(at(10), false), None);
        assert_eq!(
            beat.take_due(at(20), true),
            Some(Bytes::from_static(b"new"))
        );
        beat.set_next_payload(Bytes::from_static(b"new"));
        for time in (30..5_000).step_by(10) {
            assert_eq!(beat.take_due(at(time), true), None, "it is known");
            beat.said(at(time));
        }
        beat.set_next_payload(Bytes::from_static(b"urgent"));
        assert!(
            beat.set_payload(Bytes::from_static(b"urgent")),
            "it was never said"
        );
        assert!(beat.take_due(at(5_000), false).is_some());
    }

    #[test]
    fn a_new_payload_is_said_at_once_and_once() {
        let mut beat = Beat::new(LinkTiming::default(), at(0));
        assert!(beat.set_payload(Bytes::from_static(b"healthy")));
        beat.said(at(5));
        assert_eq!(
            beat.take_due(at(6), false),
            Some(Bytes::from_static(b"healthy"))
        );
        assert!(!beat.set_payload(Bytes::from_static(b"healthy")));
        assert_eq!(beat.take_due(at(7), false), None);
        assert_eq!(
            beat.take_due(at(400), false),
            Some(Bytes::from_static(b"healthy"))
        );
    }
}
