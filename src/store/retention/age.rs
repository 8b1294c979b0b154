//! From which time age is measured, and whether that time can be trusted. Pure.
//!
//! Records say when they were received; the newest of these times is what age is measured from. A
//! clock that is wrong by years would make everything expire at once, so times must go on evenly: one
//! that is more than a day away from those before begins a new run, of which nothing is believed
//! until it has gone on for a day by itself. Until then nothing has an age. A node that was off for
//! more than a day looks the same, and waits for a day too.

use crate::types::time::{DAY_MILLIS, UnixMillis};

/// What is known about time; kept in the index, so that a start goes on where the run before was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Age {
    /// Newest received time that was believed; absent until a record came.
    pub(in crate::store) newest: Option<UnixMillis>,
    /// The times that went on evenly up to now; absent until a time was seen.
    pub(in crate::store) run: Option<Run>,
}

/// Times of which none is more than a day away from those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Run {
    pub(in crate::store) start: UnixMillis,
    pub(in crate::store) last: UnixMillis,
    /// Newest received time of this run; absent until a record came in it.
    pub(in crate::store) newest: Option<UnixMillis>,
    /// Whether it is believed.
    pub(in crate::store) is_settled: bool,
}

/// What a time that was seen has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgeEvent {
    /// A run that was believed has broken off.
    Jumped {
        /// Its last time.
        from: UnixMillis,
        /// The first time of the run that has begun.
        to: UnixMillis,
    },
    /// A run that had begun with a jump is believed now.
    Settled,
}

impl Age {
    /// What age is measured from; absent while time is in doubt or no record came yet.
    pub(crate) fn newest(&self) -> Option<UnixMillis> {
        self.newest.filter(|_| self.is_settled())
    }

    /// Whether time goes on as it should.
    pub(crate) fn is_settled(&self) -> bool {
        self.run.is_none_or(|run| run.is_settled)
    }

    /// The clock says `now`.
    pub(crate) fn see_clock(&mut self, now: UnixMillis) -> Option<AgeEvent> {
        let jumped = match self.run {
            Some(run) if is_far(run.last, now) || is_far(now, run.last) => Some(self.jump(now)),
            _ => None,
        };
        jumped.flatten().or_else(|| self.go_on(now))
    }

    /// A record was received at `received`, by whatever node's clock. An earlier time than those
    /// before says nothing: records may come late, and again.
    pub(crate) fn see_record(&mut self, received: UnixMillis) -> Option<AgeEvent> {
        let jumped = match self.run {
            Some(run) if is_far(run.last, received) => Some(self.jump(received)),
            _ => None,
        };
        let event = jumped.flatten().or_else(|| self.go_on(received));
        match &mut self.run {
            Some(run) if run.is_settled => self.newest = self.newest.max(Some(received)),
            Some(run) if !is_far(received, run.start) => {
                run.newest = run.newest.max(Some(received));
            }
            _ => {}
        }
        event
    }

    fn jump(&mut self, to: UnixMillis) -> Option<AgeEvent> {
        let before = self.run.replace(Run {
            start: to,
            last: to,
            newest: None,
            is_settled: false,
        });
        let from = before.filter(|run| run.is_settled)?.last;
        Some(AgeEvent::Jumped { from, to })
    }

    /// `time` belongs to the present run, or begins the first one, which nothing speaks against.
    fn go_on(&mut self, time: UnixMillis) -> Option<AgeEvent> {
        let run = self.run.get_or_insert(Run {
            start: time,
            last: time,
            newest: None,
            is_settled: true,
        });
        run.last = run.last.max(time);
        let millis = run.last.0.saturating_sub(run.start.0);
        if run.is_settled || millis < DAY_MILLIS {
            return None;
        }
        run.is_settled = true;
        // Without a record the newest one is that of before, unless it lies in what is the future now.
        let newest = self.newest.map(|newest| newest.min(run.last));
        self.newest = run.newest.or(newest);
        Some(AgeEvent::Settled)
    }
}

/// Whether `later` is more than a day after `earlier`.
const fn is_far(earlier: UnixMillis, later: UnixMillis) -> bool {
    later.0.saturating_sub(earlier.0) > DAY_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = DAY_MILLIS / 24;
    /// A time of this century.
    const START: i64 = 1_796_000_000_000;

    fn at(hours: i64) -> UnixMillis {
        UnixMillis(START + hours * HOUR)
    }

    /// An age that has seen a record at hour 0.
    fn begun() -> Age {
        let mut age = Age::default();
        assert_eq!(age.see_record(at(0)), None);
        age
    }

    /// Clock readings each hour, both ends included; the events.
    fn tick(age: &mut Age, hours: std::ops::RangeInclusive<i64>) -> Vec<AgeEvent> {
        hours.filter_map(|hour| age.see_clock(at(hour))).collect()
    }

    #[test]
    fn age_is_measured_from_the_newest_record_and_not_from_the_clock() {
        let mut age = begun();
        assert_eq!(tick(&mut age, 1..=100), []);
        assert_eq!(age.newest(), Some(at(0)));
        age.see_record(at(100));
        age.see_record(at(30));
        assert_eq!(age.newest(), Some(at(100)));
    }

    #[test]
    fn nothing_has_an_age_before_the_first_record() {
        let mut age = Age::default();
        assert_eq!(age.newest(), None);
        assert_eq!(tick(&mut age, 0..=50), []);
        assert_eq!((age.newest(), age.is_settled()), (None, true));
    }

    #[test]
    fn a_jump_forward_is_believed_after_a_day() {
        let mut age = begun();
        let jump = age.see_record(at(100));
        assert_eq!(
            jump,
            Some(AgeEvent::Jumped {
                from: at(0),
                to: at(100)
            })
        );
        assert_eq!((age.newest(), age.is_settled()), (None, false));
        assert_eq!(tick(&mut age, 101..=123), []);
        age.see_record(at(123));
        assert_eq!(age.newest(), None);
        assert_eq!(tick(&mut age, 124..=130), [AgeEvent::Settled]);
        assert_eq!(age.newest(), Some(at(123)));
    }

    #[test]
    fn a_jump_back_is_believed_after_a_day_and_takes_the_newest_time_along() {
        for has_records in [false, true] {
            let mut age = begun();
            let jump = age.see_clock(at(-1_000));
            assert!(matches!(jump, Some(AgeEvent::Jumped { .. })));
            if has_records {
                assert_eq!(age.see_record(at(-999)), None);
            }
            assert_eq!(tick(&mut age, -999..=-976), [AgeEvent::Settled]);
            let newest = if has_records { at(-999) } else { at(-976) };
            assert_eq!(age.newest(), Some(newest));
        }
    }

    #[test]
    fn a_clock_that_comes_back_is_believed_after_a_day_of_its_own() {
        let mut age = begun();
        assert!(age.see_clock(at(10_000)).is_some());
        // Not said again: it was in doubt already.
        assert_eq!(age.see_clock(at(1)), None);
        assert_eq!(age.newest(), None);
        assert_eq!(tick(&mut age, 2..=25), [AgeEvent::Settled]);
        assert_eq!(age.newest(), Some(at(0)));
    }

    #[test]
    fn two_clocks_that_disagree_are_never_believed() {
        let mut age = begun();
        let mut events = Vec::new();
        for hour in 1..200 {
            events.extend(age.see_clock(at(hour)));
            events.extend(age.see_record(at(hour + 5_000)));
        }
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(age.newest(), None);
    }

    #[test]
    fn records_of_before_a_jump_that_come_late_change_nothing() {
        let mut age = begun();
        age.see_clock(at(500));
        assert_eq!(age.see_record(at(3)), None);
        assert_eq!(tick(&mut age, 501..=524), [AgeEvent::Settled]);
        assert_eq!(age.newest(), Some(at(0)));
    }

    #[test]
    fn a_silence_that_the_clock_was_seen_through_is_no_jump() {
        let mut age = begun();
        assert_eq!(tick(&mut age, 1..=1_000), []);
        assert_eq!(age.see_record(at(1_000)), None);
        assert_eq!(age.newest(), Some(at(1_000)));
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let mut age = begun();
        for time in [i64::MIN, i64::MAX, 0, i64::MAX, i64::MIN] {
            age.see_record(UnixMillis(time));
            age.see_clock(UnixMillis(time));
            assert_eq!(age.newest(), None);
        }
    }
}
