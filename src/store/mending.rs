//! When an index that failed is tried again, and when it is given up. Pure.

use std::time::Duration;

use crate::base::{backoff::Backoff, time::Instant};

/// How patient the store is with its index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MendLimits {
    /// Delay before the first try; it doubles.
    pub(crate) delay_first: Duration,
    /// Longest delay.
    pub(crate) delay_max: Duration,
    /// Failures in a row; one more, and the index is given up.
    pub(crate) n_failures_max: u32,
    /// After so long without a failure the next one is the first again.
    pub(crate) forgiven_after: Duration,
    /// How long a question waits for an index that is being mended.
    pub(crate) patience: Duration,
}

impl Default for MendLimits {
    fn default() -> Self {
        Self {
            delay_first: Duration::from_millis(50),
            delay_max: Duration::from_secs(5),
            n_failures_max: 10,
            forgiven_after: Duration::from_secs(60),
            patience: Duration::from_secs(5),
        }
    }
}

/// The failures of one index.
#[derive(Debug)]
pub(crate) struct Mending {
    limits: MendLimits,
    backoff: Backoff,
    n_failures: u32,
    /// When it was tried, or failed, last.
    seen_at: Instant,
}

impl Mending {
    /// Nothing has failed yet; `seed` feeds the jitter of the delays.
    pub(crate) const fn new(limits: MendLimits, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(limits.delay_first, limits.delay_max, seed),
            limits,
            n_failures: 0,
            seen_at: Instant::from_millis(0),
        }
    }

    /// It was tried again, which ended at `now`: from then on counts how long it has not failed.
    pub(crate) const fn tried(&mut self, now: Instant) {
        self.seen_at = now;
    }

    /// It has failed at `now`: how long to wait before it is tried again; nothing if it is to be given
    /// up. What others are to blame for, such as a full disk, does not count.
    pub(crate) fn failed(&mut self, now: Instant, counts: bool) -> Option<Duration> {
        if now.since(self.seen_at) >= self.limits.forgiven_after {
            self.n_failures = 0;
            self.backoff.reset();
        }
        self.seen_at = now;
        self.n_failures += u32::from(counts);
        (self.n_failures <= self.limits.n_failures_max).then(|| self.backoff.next_delay())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mending() -> Mending {
        let limits = MendLimits {
            n_failures_max: 3,
            ..MendLimits::default()
        };
        Mending::new(limits, 1)
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn an_index_that_fails_again_and_again_is_given_up() {
        let mut mending = mending();
        let delays: Vec<_> = (1..=4)
            .map(|second| mending.failed(at(second), true))
            .collect();
        assert!(delays[0].unwrap() < delays[2].unwrap());
        assert_eq!(delays[3], None);
    }

    #[test]
    fn failures_far_apart_are_forgiven() {
        let mut mending = mending();
        for minute in 1..100 {
            let delay = mending.failed(at(minute * 60), true);
            assert!(delay.unwrap() <= Duration::from_millis(50));
        }
    }

    #[test]
    fn a_try_that_takes_long_is_no_time_without_a_failure() {
        let mut mending = mending();
        for minutes in 1..=3 {
            assert!(mending.failed(at(minutes * 600), true).is_some());
            mending.tried(at(minutes * 600 + 590));
        }
        assert_eq!(mending.failed(at(4 * 600), true), None);
    }

    #[test]
    fn what_others_are_to_blame_for_does_not_count() {
        let mut mending = mending();
        for second in 1..100 {
            let delay = mending.failed(at(second), false);
            assert!(delay.unwrap() <= Duration::from_secs(5));
        }
        assert!(mending.failed(at(100), true).is_some());
    }
}
