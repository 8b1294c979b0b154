//! What became of a batch: the one answer that travels back from where it is made durable.
//!
//! A batch has one [`Settle`]; whoever ends up responsible for the batch uses it once. A `Settle`
//! that is dropped unused counts as [`Verdict::Refused`] with [`RefuseReason::Lost`], so that no
//! one waits for ever and nothing is acknowledged by accident.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use super::room::RoomGuard;

/// The outcome of a batch as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every record of the batch, or the record it repeats, is durable.
    Durable,
    /// At least one record was not taken; nothing of the batch may be acknowledged.
    Refused(RefuseReason),
}

/// Why a batch was not made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefuseReason {
    /// Less free space on the disk than the reserve.
    DiskFull,
    /// Writing or syncing failed, and failed again on a new segment.
    DiskError,
    /// More waits for the disk than may wait.
    Overloaded,
    /// The node is stopping.
    Stopping,
    /// Whoever held the batch went away without an answer.
    Lost,
}

impl RefuseReason {
    /// The value of the label `reason` in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::DiskError => "disk_error",
            Self::Overloaded => "overloaded",
            Self::Stopping => "stopping",
            Self::Lost => "lost",
        }
    }
}

/// The right, and the duty, to say once what became of a batch.
#[derive(Debug)]
pub struct Settle {
    /// Absent once it was used.
    answer: Option<Answer>,
    /// Room the batch takes up; free again once it is settled.
    room: Option<RoomGuard>,
}

/// Whom the verdict is for.
enum Answer {
    /// Somebody who waits for it.
    Waiting(oneshot::Sender<Verdict>),
    /// Something that is to be done with it at once, on the thread that says it.
    Doing(Box<dyn FnOnce(Verdict) + Send>),
}

/// Parts of a batch that go different ways, of which one verdict is to be made.
#[derive(Debug)]
struct Parts {
    whole: Option<Settle>,
    n_undecided: usize,
}

/// The other end of a [`Settle`].
#[derive(Debug)]
pub struct VerdictReceiver(oneshot::Receiver<Verdict>);

impl Settle {
    /// A pair of ends for one batch that takes up `room`.
    pub fn new(room: Option<RoomGuard>) -> (Self, VerdictReceiver) {
        let (answer, receiver) = oneshot::channel();
        (
            Self {
                answer: Some(Answer::Waiting(answer)),
                room,
            },
            VerdictReceiver(receiver),
        )
    }

    /// One that does something with the verdict, on the thread that says it: it must be short and
    /// must not wait.
    pub fn doing(act: impl FnOnce(Verdict) + Send + 'static) -> Self {
        Self {
            answer: Some(Answer::Doing(Box::new(act))),
            room: None,
        }
    }

    /// As many as there are parts of the batch, at least one: durable once each part is, refused with
    /// the first that is.
    pub fn split(self, n_parts: usize) -> Vec<Self> {
        if n_parts <= 1 {
            return vec![self];
        }
        let parts = Arc::new(Mutex::new(Parts {
            whole: Some(self),
            n_undecided: n_parts,
        }));
        let part = |_| {
            let parts = Arc::clone(&parts);
            Self::doing(move |verdict| {
                let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
                parts.n_undecided -= 1;
                let is_decided = verdict != Verdict::Durable || parts.n_undecided == 0;
                if let Some(whole) = parts.whole.take_if(|_| is_decided) {
                    whole.settle(verdict);
                }
            })
        };
        (0..n_parts).map(part).collect()
    }

    /// Says what became of the batch. Nobody may be waiting any more; that is no error.
    pub fn settle(mut self, verdict: Verdict) {
        self.answer(verdict);
    }

    /// Bytes of room that stay taken until it is settled.
    pub fn room_bytes(&self) -> usize {
        self.room.as_ref().map_or(0, RoomGuard::bytes)
    }

    /// Whether somebody waits for the verdict, or has; else something is done with it.
    pub const fn is_awaited(&self) -> bool {
        matches!(self.answer, Some(Answer::Waiting(_)))
    }

    fn answer(&mut self, verdict: Verdict) {
        match self.answer.take() {
            // An error means that nobody waits any more.
            Some(Answer::Waiting(answer)) => drop(answer.send(verdict)),
            Some(Answer::Doing(act)) => act(verdict),
            None => {}
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        self.answer(Verdict::Refused(RefuseReason::Lost));
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Waiting(_) => "Waiting",
            Self::Doing(_) => "Doing",
        })
    }
}

impl VerdictReceiver {
    /// Waits for the verdict. Cancel safe: call again until it has returned once.
    pub async fn verdict(&mut self) -> Verdict {
        poll_fn(|context| self.poll_verdict(context)).await
    }

    /// Looks for the verdict; until it is there the task of `context` is woken by it. Not to be called
    /// again after it was there.
    pub fn poll_verdict(&mut self, context: &mut Context<'_>) -> Poll<Verdict> {
        let answer = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(answer.unwrap_or(Verdict::Refused(RefuseReason::Lost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_settle_is_a_refusal() {
        let (settle, mut receiver) = Settle::new(None);
        drop(settle);
        assert_eq!(
            receiver.verdict().await,
            Verdict::Refused(RefuseReason::Lost)
        );
    }

    #[tokio::test]
    async fn a_verdict_arrives() {
        let (settle, mut receiver) = Settle::new(None);
        settle.settle(Verdict::Durable);
        assert_eq!(receiver.verdict().await, Verdict::Durable);
    }

    #[tokio::test]
    async fn a_batch_in_parts_is_durable_once_each_part_is() {
        let (settle, mut receiver) = Settle::new(None);
        let mut parts = settle.split(3);
        parts.remove(1).settle(Verdict::Durable);
        parts.remove(1).settle(Verdict::Durable);
        assert!(receiver.0.try_recv().is_err());
        drop(parts);
        let lost = Verdict::Refused(RefuseReason::Lost);
        assert_eq!(receiver.verdict().await, lost);
        let (settle, mut receiver) = Settle::new(None);
        for part in settle.split(2) {
            part.settle(Verdict::Durable);
        }
        assert_eq!(receiver.verdict().await, Verdict::Durable);
    }

    #[test]
    fn a_verdict_can_be_acted_on_at_once() {
        let (heard, hearing) = std::sync::mpsc::sync_channel(2);
        let say = move |verdict| heard.send(verdict).unwrap();
        Settle::doing(say.clone()).settle(Verdict::Durable);
        drop(Settle::doing(say));
        let lost = Verdict::Refused(RefuseReason::Lost);
        assert_eq!(hearing.iter().collect::<Vec<_>>(), [Verdict::Durable, lost]);
    }
}
