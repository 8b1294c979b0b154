//! Replies of one connection: those that wait for a verdict, in order, and the bytes on their way.
//!
//! State machine: a chunk's replies enter at the back, with a verdict to wait for or without. Only
//! the front may leave. `Durable` lets it leave, and all behind it that wait for nothing; a refusal
//! or a passed deadline is a gap, after which nothing leaves any more.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::base::{
    room::RoomGuard,
    time::Instant,
    verdict::{Verdict, VerdictReceiver},
};

/// Chunks of one connection that may wait for a verdict; then it is not read.
pub(crate) const CHUNKS_IN_FLIGHT_MAX: usize = 8;

/// Reply bytes that may wait for a device to take them; then it is not read.
pub(crate) const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// A device that takes none of its waiting replies for so long is closed.
pub(crate) const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Replies of one connection.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    waiting: VecDeque<Waiting>,
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that have left already.
    sent_bytes: usize,
    /// Since when the device has taken nothing, while something waits for it.
    stuck_since: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    replies: Vec<u8>,
    verdict: Option<VerdictReceiver>,
    deadline: Instant,
    /// Room for the replies, where it does not go with the records.
    _room: Option<RoomGuard>,
}

/// No later reply may leave: the answer to an earlier line is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap;

impl Replies {
    /// Appends the replies of a chunk; they leave after `verdict`, if there is one to wait for.
    /// `room` is given back when they may leave.
    pub(crate) fn push(
        &mut self,
        replies: Vec<u8>,
        verdict: Option<VerdictReceiver>,
        deadline: Instant,
        room: Option<RoomGuard>,
    ) {
        if verdict.is_none() && self.waiting.is_empty() {
            self.put_out(replies);
            return;
        }
        self.waiting.push_back(Waiting {
            replies,
            verdict,
            deadline,
            _room: room,
        });
    }

    /// Whether a chunk waits for its verdict.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether replies wait for a verdict, or for the device to take them.
    pub(crate) fn are_pending(&self) -> bool {
        self.is_waiting() || !self.unsent().is_empty()
    }

    /// Whether more may be read for this connection.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < CHUNKS_IN_FLIGHT_MAX && self.unsent().len() < UNREAD_BYTES_MAX
    }

    /// Waits for the verdict of the front chunk and lets replies leave; pends for ever if none
    /// waits. Cancel safe.
    pub(crate) async fn settle_front(&mut self) -> Result<(), Gap> {
        poll_fn(|context| self.poll_settle_front(context)).await
    }

    /// Looks for the verdict of the front chunk and lets replies leave; until it is there the task of
    /// `context` is woken by it.
    pub(crate) fn poll_settle_front(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gap>> {
        let Some(front) = self.waiting.front_mut() else {
            return Poll::Pending;
        };
        if let Some(verdict) = &mut front.verdict {
            if ready!(verdict.poll_verdict(context)) != Verdict::Durable {
                self.give_up();
                return Poll::Ready(Err(Gap));
            }
            front.verdict = None;
        }
        while let Some(front) = self.waiting.pop_front_if(|front| front.verdict.is_none()) {
            self.put_out(front.replies);
        }
        if self.waiting.is_empty() {
            // An idle connection keeps no queue.
            self.waiting = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    /// A reply cannot be given: nothing that waits may leave any more.
    pub(crate) fn give_up(&mut self) {
        self.waiting.clear();
    }

    /// Bytes that are free to leave now.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.outgoing.get(self.sent_bytes..).unwrap_or_default()
    }

    /// Notes that the device took `n_bytes` of [`Replies::unsent`] at `now`.
    pub(crate) fn sent(&mut self, n_bytes: usize, now: Instant) {
        self.sent_bytes += n_bytes;
        if self.unsent().is_empty() {
            // An idle connection keeps no buffer.
            self.outgoing = Vec::new();
            self.sent_bytes = 0;
            self.stuck_since = None;
        } else if n_bytes > 0 || self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
        if self.sent_bytes > self.outgoing.len() / 2 {
            // One that is never done with taking must not keep what it took.
            self.outgoing = self.unsent().to_vec();
            self.sent_bytes = 0;
        }
    }

    /// When the first reply that waits is overdue. A chunk without one may wait for its verdict as long
    /// as that takes: its device waits for nothing, and sends nothing again.
    pub(crate) fn reply_deadline(&self) -> Option<Instant> {
        let is_answer = |waiting: &&Waiting| !waiting.replies.is_empty();
        let first = self.waiting.iter().find(is_answer);
        first.map(|waiting| waiting.deadline)
    }

    /// When the device has taken nothing for too long.
    pub(crate) fn unread_deadline(&self) -> Option<Instant> {
        self.stuck_since.map(|since| since + UNREAD_TIMEOUT)
    }

    fn put_out(&mut self, replies: Vec<u8>) {
        if self.outgoing.is_empty() {
            self.outgoing = replies;
        } else {
            self.outgoing.extend_from_slice(&replies);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::verdict::{RefuseReason, Settle};

    const LATER: Instant = Instant::from_millis(10_000);

    #[tokio::test]
    async fn replies_leave_in_the_order_of_their_chunks() {
        let mut replies = Replies::default();
        let (first, first_verdict) = Settle::new(None);
        let (second, second_verdict) = Settle::new(None);
        replies.push(b"1".to_vec(), Some(first_verdict), LATER, None);
        replies.push(b"2".to_vec(), Some(second_verdict), LATER, None);
        replies.push(b"3".to_vec(), None, LATER, None);
        second.settle(Verdict::Durable);
        assert_eq!(replies.unsent(), b"");
        first.settle(Verdict::Durable);
        replies.settle_front().await.unwrap();
        assert_eq!(replies.unsent(), b"1");
        replies.settle_front().await.unwrap();
        assert_eq!(replies.unsent(), b"123");
        assert!(!replies.is_waiting());
    }

    #[tokio::test]
    async fn nothing_leaves_after_a_refusal() {
        let mut replies = Replies::default();
        let (first, first_verdict) = Settle::new(None);
        replies.push(b"1".to_vec(), Some(first_verdict), LATER, None);
        replies.push(b"2".to_vec(), None, LATER, None);
        first.settle(Verdict::Refused(RefuseReason::DiskFull));
        assert_eq!(replies.settle_front().await, Err(Gap));
        assert_eq!(replies.unsent(), b"");
    }

    #[tokio::test]
    async fn who_waits_for_no_answer_has_no_deadline() {
        let mut replies = Replies::default();
        let (_first, first_verdict) = Settle::new(None);
        let (_second, second_verdict) = Settle::new(None);
        replies.push(Vec::new(), Some(first_verdict), LATER, None);
        assert_eq!(replies.reply_deadline(), None);
        let later = Instant::from_millis(11_000);
        replies.push(b"2".to_vec(), Some(second_verdict), later, None);
        assert_eq!(replies.reply_deadline(), Some(later));
    }

    #[test]
    fn what_was_taken_is_not_kept() {
        let mut replies = Replies::default();
        replies.push(vec![1; 1_000], None, LATER, None);
        for _ in 0..1_000 {
            replies.push(vec![2; 1_000], None, LATER, None);
            replies.sent(1_000, Instant::from_millis(1));
            assert!(replies.outgoing.capacity() < 10_000);
        }
        assert_eq!(replies.unsent(), [2; 1_000]);
    }

    #[test]
    fn a_device_that_takes_nothing_is_noticed() {
        let mut replies = Replies::default();
        replies.push(vec![0; UNREAD_BYTES_MAX], None, LATER, None);
        assert!(!replies.has_room());
        replies.sent(0, Instant::from_millis(5));
        replies.sent(0, Instant::from_millis(9));
        assert_eq!(
            replies.unread_deadline(),
            Some(Instant::from_millis(30_005))
        );
        replies.sent(1, Instant::from_millis(10));
        assert_eq!(
            replies.unread_deadline(),
            Some(Instant::from_millis(30_010))
        );
        assert!(replies.has_room());
        replies.sent(UNREAD_BYTES_MAX - 1, Instant::from_millis(11));
        assert_eq!(replies.unread_deadline(), None);
    }
}
