//! What a link brought to be stored, until its fate is told to the other end. Pure.
//!
//! Invariants: the frames of a session are taken in the order of their numbers, none twice and none
//! left out; a frame is acknowledged only when it and all before it are decided; each is decided
//! once; what becomes of frames of an earlier session is told to nobody.

use std::collections::VecDeque;

use super::wire::{Acks, FrameNumber};

/// The frames of records of one link.
#[derive(Debug, Default)]
pub struct Inbox {
    session: u64,
    /// Number of the first frame that has not been acknowledged.
    first: u64,
    /// For each frame from there on whether it was stored, once that is known.
    waiting: VecDeque<Option<bool>>,
}

/// The other end does not number its frames as it must; the link has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frames of records are not numbered one by one")]
pub struct WrongNumber;

impl Inbox {
    /// A frame came in; the first of a session that is new ends the one before.
    ///
    /// # Errors
    /// [`WrongNumber`]; nothing was changed.
    pub fn take(&mut self, frame: FrameNumber) -> Result<(), WrongNumber> {
        if frame.session != self.session && frame.number == 0 {
            *self = Self {
                session: frame.session,
                ..Self::default()
            };
        }
        let next = self.first + self.waiting.len() as u64;
        if (frame.session, frame.number) != (self.session, next) {
            return Err(WrongNumber);
        }
        self.waiting.push_back(None);
        Ok(())
    }

    /// It is known what became of a frame; gives what the other end is to be told now, if anything.
    /// What is said of a frame a second time is not heard.
    pub fn decide(&mut self, frame: FrameNumber, is_stored: bool) -> Option<Acks> {
        if frame.session != self.session {
            return None;
        }
        let at = usize::try_from(frame.number.checked_sub(self.first)?).ok()?;
        let fate = self.waiting.get_mut(at)?;
        fate.get_or_insert(is_stored);
        self.acknowledge()
    }

    /// The store stopped taking records: whatever waits is refused, whether or not it becomes durable
    /// later.
    pub fn refuse_all(&mut self) -> Option<Acks> {
        for fate in &mut self.waiting {
            fate.get_or_insert(false);
        }
        self.acknowledge()
    }

    /// Number of frames that wait for their fate.
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn acknowledge(&mut self) -> Option<Acks> {
        let before = self.first;
        let mut refused = Vec::new();
        while let Some(Some(is_stored)) = self.waiting.front() {
            if !is_stored {
                refused.push(self.first);
            }
            self.waiting.pop_front();
            self.first += 1;
        }
        (self.first > before).then_some(Acks {
            session: self.session,
            below: self.first,
            refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn frame(number: u64) -> FrameNumber {
        FrameNumber { session: 3, number }
    }

    fn acks(below: u64, refused: &[u64]) -> Option<Acks> {
        Some(Acks {
            session: 3,
            below,
            refused: refused.to_vec(),
        })
    }

    fn with_frames(n_frames: u64) -> Inbox {
        let mut inbox = Inbox::default();
        (0..n_frames).for_each(|number| inbox.take(frame(number)).unwrap());
        inbox
    }

    #[test]
    fn frames_are_acknowledged_in_their_order() {
        let mut inbox = with_frames(4);
        assert_eq!(inbox.decide(frame(1), true), None);
        assert_eq!(inbox.decide(frame(2), false), None);
        assert_eq!(inbox.decide(frame(0), true), acks(3, &[2]));
        assert_eq!(inbox.decide(frame(0), false), None, "it was told already");
        assert_eq!(inbox.decide(frame(9), true), None, "it never came");
        assert_eq!(inbox.n_waiting(), 1);
    }

    #[test]
    fn a_number_twice_or_left_out_is_an_error() {
        let mut inbox = with_frames(1);
        assert_eq!(inbox.take(frame(0)), Err(WrongNumber));
        assert_eq!(inbox.take(frame(2)), Err(WrongNumber));
        let other = |number| FrameNumber { session: 9, number };
        assert_eq!(inbox.take(other(1)), Err(WrongNumber));
        inbox.take(frame(1)).unwrap();
    }

    #[test]
    fn what_was_brought_in_an_earlier_session_is_told_to_nobody() {
        let mut inbox = with_frames(2);
        let other = FrameNumber {
            session: 4,
            number: 0,
        };
        inbox.take(other).unwrap();
        assert_eq!(inbox.decide(frame(0), true), None);
        let told = Acks {
            session: 4,
            below: 1,
            refused: Vec::new(),
        };
        assert_eq!(inbox.decide(other, true), Some(told));
    }

    #[test]
    fn what_waits_for_a_store_that_stopped_is_refused_once() {
        let mut inbox = with_frames(3);
        assert_eq!(inbox.decide(frame(1), true), None);
        assert_eq!(inbox.refuse_all(), acks(3, &[0, 2]));
        assert_eq!(inbox.decide(frame(0), true), None);
        assert_eq!(inbox.refuse_all(), None);
    }
}
