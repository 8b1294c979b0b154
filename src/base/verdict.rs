//! What became of a batch: the one answer that travels back from where it is made durable.
//!
//! A batch has one [`Settle`]; whoever ends up responsible for the batch uses it once. A `Settle`
//! that is dropped unused counts as [`Verdict::Refused`] with [`RefuseReason::Lost`], so that no
//! one waits for ever and nothing is acknowledged by accident.

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
    answer: oneshot::Sender<Verdict>,
    /// Room the batch takes up; free again once it is settled.
    _room: Option<RoomGuard>,
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
                answer,
                _room: room,
            },
            VerdictReceiver(receiver),
        )
    }

    /// Says what became of the batch. Nobody may be waiting any more; that is no error.
    pub fn settle(self, verdict: Verdict) {
        if self.answer.send(verdict).is_err() {
            tracing::trace!("nobody waits for the verdict any more");
        }
    }
}

impl VerdictReceiver {
    /// Waits for the verdict. Cancel safe: call again until it has returned once.
    pub async fn verdict(&mut self) -> Verdict {
        (&mut self.0)
            .await
            .unwrap_or(Verdict::Refused(RefuseReason::Lost))
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
}
