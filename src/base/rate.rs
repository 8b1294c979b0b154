//! A limit on how often something is said.

use std::sync::{Mutex, PoisonError};

use super::time::Instant;

/// Passes at most so many calls a second, and tells the next one passed how many were not.
#[derive(Debug)]
pub struct RateLimit {
    n_per_second: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    second: u64,
    n_passed: u32,
    n_held_back: u64,
}

impl RateLimit {
    /// A limit of `n_per_second` calls within a second of the clock.
    pub const fn per_second(n_per_second: u32) -> Self {
        let state = State {
            second: 0,
            n_passed: 0,
            n_held_back: 0,
        };
        Self {
            n_per_second,
            state: Mutex::new(state),
        }
    }

    /// Whether the caller may go on: the number of calls held back since the last that passed.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.as_millis() / 1_000;
        if state.second != second {
            state.second = second;
            state.n_passed = 0;
        }
        if state.n_passed >= self.n_per_second {
            state.n_held_back += 1;
            return None;
        }
        state.n_passed += 1;
        Some(std::mem::take(&mut state.n_held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_told_later() {
        let limit = RateLimit::per_second(2);
        let at = |millis| limit.pass_at(Instant::from_millis(millis));
        assert_eq!(at(1_000), Some(0));
        assert_eq!(at(1_400), Some(0));
        assert_eq!(at(1_500), None);
        assert_eq!(at(1_999), None);
        assert_eq!(at(2_000), Some(2));
    }
}
