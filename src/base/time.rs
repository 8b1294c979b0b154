//! The one clock: monotonic [`Instant`] for deadlines, wall time for values in records.
//!
//! Pure rooms receive an [`Instant`] as an argument and never read it here. It counts milliseconds
//! since the process started, so that a test writes it as a number.

#![allow(clippy::disallowed_methods, reason = "the one place that reads clocks")]

use std::{
    ops::Add,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A point of monotonic time: milliseconds since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The instant `millis` milliseconds after the start of the process.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the process started.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Reads the monotonic clock.
    pub fn now() -> Self {
        Self(u64::try_from(origin().elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Time passed from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The same instant for tokio's timers.
    pub fn to_tokio(self) -> tokio::time::Instant {
        tokio::time::Instant::from_std(origin() + Duration::from_millis(self.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// Wall time in milliseconds since 1970-01-01 UTC; a value for records, never a reason to act.
pub fn wall_millis() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
        }
    }
}

/// A stop-watch for measurements of less than a millisecond.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts to measure now.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_a_number_of_milliseconds() {
        let start = Instant::from_millis(1_000);
        let later = start + Duration::from_millis(250);
        assert_eq!(later.as_millis(), 1_250);
        assert_eq!(later.since(start), Duration::from_millis(250));
        assert_eq!(start.since(later), Duration::ZERO);
    }

    #[test]
    fn wall_time_is_in_this_century() {
        assert!(wall_millis() > 1_700_000_000_000);
    }
}
