//! Wall time for moments of the monotonic clock.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::{
    base::time::{Instant, wall_millis},
    types::time::UnixMillis,
};

/// How far the wall clock may be from where it was expected before that is believed. Less is the
/// rounding of two clocks, and a moment that is told twice should have one time.
const TOLERANCE_MILLIS: u64 = 20;

/// Tells when something happened by the wall clock, as that stands now.
#[derive(Debug)]
pub(super) struct WallClock {
    /// What the wall clock is ahead of the monotonic one, in milliseconds.
    ahead: AtomicI64,
}

impl WallClock {
    pub(super) fn new() -> Self {
        let ahead = AtomicI64::new(ahead(Instant::now(), wall_millis()));
        Self { ahead }
    }

    /// The wall time of a moment.
    pub(super) fn at(&self, moment: Instant) -> UnixMillis {
        self.at_by(moment, ahead(Instant::now(), wall_millis()))
    }

    fn at_by(&self, moment: Instant, ahead_now: i64) -> UnixMillis {
        let mut ahead = self.ahead.load(Ordering::Relaxed);
        if ahead.abs_diff(ahead_now) > TOLERANCE_MILLIS {
            ahead = ahead_now;
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        UnixMillis(ahead.saturating_add(millis(moment)))
    }
}

fn ahead(now: Instant, wall: i64) -> i64 {
    wall.saturating_sub(millis(now))
}

fn millis(moment: Instant) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_keeps_its_time_until_the_clock_is_set() {
        let clock = WallClock {
            ahead: AtomicI64::new(1_000_000),
        };
        let moment = Instant::from_millis(500);
        assert_eq!(clock.at_by(moment, 1_000_001), UnixMillis(1_000_500));
        assert_eq!(clock.at_by(moment, 999_990), UnixMillis(1_000_500));
        assert_eq!(clock.at_by(moment, 5_000_000), UnixMillis(5_000_500));
        assert_eq!(clock.at_by(moment, 5_000_009), UnixMillis(5_000_500));
    }
}
