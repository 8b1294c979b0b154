//! Delays between tries: doubling from a first delay to a cap, with jitter, reset by success.

use std::time::Duration;

use super::prng::Prng;

/// The series of delays of one thing that is tried again.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    n_tries: u32,
    prng: Prng,
}

impl Backoff {
    /// A series that starts at `first` and never passes `cap`; `seed` feeds the jitter.
    pub const fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        Self {
            first,
            cap,
            n_tries: 0,
            prng: Prng::new(seed),
        }
    }

    /// The delay before the next try: the doubled one of before, of which the upper half is random.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1_u32 << self.n_tries.min(20))
            .min(self.cap);
        self.n_tries = self.n_tries.saturating_add(1);
        doubled.mul_f64(0.5 + 0.5 * self.prng.unit())
    }

    /// Success: the next delay is the first one again.
    pub const fn reset(&mut self) {
        self.n_tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), 3);
        let delays: Vec<_> = (0..12).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] <= Duration::from_millis(10) && delays[0] >= Duration::from_millis(5));
        assert!(delays[11] <= Duration::from_secs(1) && delays[11] >= Duration::from_millis(500));
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(10));
    }
}
