//! When the answer to PINGs leaves: a little later, so that not all answer at once, and seldom, so that
//! one answer serves many PINGs.

use std::time::Duration;

use crate::{
    base::{prng::Prng, time::Instant},
    types::ids::NodeId,
};

use super::super::{
    beacon::Nonce,
    timing::{PONG_JITTER_MS, PONG_SPACING},
};

/// The one answer that is planned, and when the last one left.
#[derive(Debug, Default)]
pub(crate) struct Pongs {
    planned: Option<(Instant, Nonce, NodeId)>,
    last_at: Option<Instant>,
}

impl Pongs {
    /// A PING is to be answered. An answer that is planned already answers the newest instead.
    pub(crate) fn plan(&mut self, now: Instant, nonce: Nonce, pinger: NodeId, prng: &mut Prng) {
        let jitter = Duration::from_millis(prng.below(PONG_JITTER_MS + 1));
        let allowed = self.last_at.map_or(now, |at| at + PONG_SPACING);
        let at = self
            .planned
            .map_or((now + jitter).max(allowed), |(at, ..)| at);
        self.planned = Some((at, nonce, pinger));
    }

    /// The answer that leaves now: nonce and pinger.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(Nonce, NodeId)> {
        let (_, nonce, pinger) = self.planned.take_if(|(at, ..)| *at <= now)?;
        self.last_at = Some(now);
        Some((nonce, pinger))
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.planned.map(|(at, ..)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_wait_a_little_and_are_fifty_milliseconds_apart() {
        let mut prng = Prng::new(1);
        let mut pongs = Pongs::default();
        let mut sent = Vec::new();
        for millis in 0..1_000 {
            let now = Instant::from_millis(millis);
            pongs.plan(now, Nonce(millis), NodeId(1), &mut prng);
            if let Some((nonce, _)) = pongs.due(now) {
                assert_eq!(nonce, Nonce(millis), "the newest is answered");
                sent.push(millis);
            }
        }
        assert!(sent[0] <= 10, "{sent:?}");
        assert!((18..=20).contains(&sent.len()), "{sent:?}");
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 50));
    }
}
