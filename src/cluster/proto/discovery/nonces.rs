//! The nonces sent or heard within the last second: a PONG counts only if it echoes one of them.

use std::collections::VecDeque;

use crate::{base::time::Instant, types::ids::NodeId};

use super::super::{
    beacon::Nonce,
    timing::{NONCE_LIFE, NONCES_MAX, NONCES_OF_ONE_MAX},
};

/// Memory of PINGs. Own ones have room of their own, so that no flood pushes them out.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    heard: VecDeque<(Instant, NodeId, Nonce)>,
    own: VecDeque<(Instant, Nonce)>,
    /// PINGs that were not remembered, since there was no room.
    pub(crate) n_dropped: u64,
}

impl Nonces {
    /// A PING was heard. One that comes again, over another interface or from a recording, keeps
    /// the time at which it came first.
    pub(crate) fn heard(&mut self, now: Instant, pinger: NodeId, nonce: Nonce) {
        while self.heard.front().is_some_and(|first| is_old(now, first.0)) {
            self.heard.pop_front();
        }
        let of_it = self.heard.iter().filter(|(_, id, _)| *id == pinger);
        let (mut n_of_it, mut is_known) = (0, false);
        for (_, _, known) in of_it {
            n_of_it += 1;
            is_known |= *known == nonce;
        }
        if is_known {
            return;
        }
        if n_of_it >= NONCES_OF_ONE_MAX || self.heard.len() >= NONCES_MAX {
            self.n_dropped += 1;
            return;
        }
        self.heard.push_back((now, pinger, nonce));
    }

    /// A PING of this node left.
    pub(crate) fn sent(&mut self, now: Instant, nonce: Nonce) {
        if self.own.len() >= NONCES_OF_ONE_MAX {
            self.own.pop_front();
        }
        self.own.push_back((now, nonce));
    }

    /// Whether a nonce of a PING of another node can still be answered.
    pub(crate) fn is_fresh(&self, now: Instant, pinger: NodeId, nonce: Nonce) -> bool {
        let mut heard = self.heard.iter();
        heard.any(|(at, id, known)| *id == pinger && *known == nonce && !is_old(now, *at))
    }

    /// Whether a nonce is of a PING that this node sent within the last second.
    pub(crate) fn is_own(&self, now: Instant, nonce: Nonce) -> bool {
        let mut own = self.own.iter();
        own.any(|(at, known)| *known == nonce && !is_old(now, *at))
    }

    /// Number of nonces remembered.
    pub(crate) fn len(&self) -> usize {
        self.heard.len() + self.own.len()
    }
}

fn is_old(now: Instant, at: Instant) -> bool {
    now.since(at) > NONCE_LIFE
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_nonce_counts_for_a_second_from_when_it_was_heard_first() {
        let mut nonces = Nonces::default();
        nonces.heard(at(0), NodeId(1), Nonce(7));
        nonces.heard(at(900), NodeId(1), Nonce(7));
        assert!(nonces.is_fresh(at(1_000), NodeId(1), Nonce(7)));
        assert!(!nonces.is_fresh(at(1_001), NodeId(1), Nonce(7)));
        assert!(!nonces.is_fresh(at(0), NodeId(2), Nonce(7)), "of another");
        assert!(!nonces.is_fresh(at(0), NodeId(1), Nonce(8)), "another");
    }

    #[test]
    fn a_flood_pushes_nothing_out_and_is_bounded() {
        let mut nonces = Nonces::default();
        nonces.sent(at(0), Nonce(1));
        nonces.heard(at(0), NodeId(1), Nonce(1));
        for number in 0..10_000 {
            nonces.heard(at(1), NodeId(number % 100 + 2), Nonce(number));
        }
        assert!(nonces.is_fresh(at(2), NodeId(1), Nonce(1)));
        assert!(nonces.is_own(at(2), Nonce(1)) && !nonces.is_own(at(2), Nonce(2)));
        assert!(nonces.len() <= NONCES_MAX + NONCES_OF_ONE_MAX);
        assert!(nonces.n_dropped > 0);
        nonces.heard(at(2_000), NodeId(1), Nonce(9));
        assert_eq!(nonces.len(), 2, "what is old is forgotten");
    }
}
