//! The sentences of one time stamp, while they come in. Knows nothing of vehicles.

use std::time::Duration;

use bytes::Bytes;

use super::{extras::Extras, reading::Reading};
use crate::{
    base::time::Instant,
    protocol::{Decoded, Outcome, RejectReason},
    types::record::Fix,
};

/// How long a merge waits for further sentences.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines whose outcome may wait for one RMC; a receiver sends about ten a time stamp.
const N_WAITING_MAX: u8 = 64;

/// The sentences of one time stamp so far.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    /// Milliseconds since midnight.
    pub(super) time_of_day: i64,
    /// The RMC, if it has come.
    pub(super) reading: Option<Reading>,
    /// Its line, where lines are kept.
    pub(super) raw: Option<Bytes>,
    /// What other sentences add.
    pub(super) extras: Extras,
    /// Lines whose outcome depends on what becomes of the RMC.
    pub(super) waiting: Waiting,
    deadline: Instant,
}

/// A complete fix of a vehicle that is not known yet.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The sentence that the record's key covers.
    pub(super) reading: Reading,
    /// The fix with what was merged into it.
    pub(super) fix: Fix,
    /// The line of the reading, where lines are kept.
    pub(super) raw: Option<Bytes>,
    /// Lines that were merged into it.
    pub(super) waiting: Waiting,
}

/// A number of held lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waiting(u8);

impl Epoch {
    /// An empty merge of a time stamp that begins at `now`.
    pub(super) fn new(time_of_day: i64, now: Instant) -> Self {
        Self {
            time_of_day,
            reading: None,
            raw: None,
            extras: Extras::default(),
            waiting: Waiting::default(),
            deadline: now + PATIENCE,
        }
    }

    /// The RMC has come: what enriches it may come for another second.
    pub(super) fn set_reading(&mut self, reading: Reading, raw: Option<Bytes>, now: Instant) {
        self.reading = Some(reading);
        self.raw = raw;
        self.deadline = now + PATIENCE;
    }

    /// When the merge is complete by time alone; `None` while nothing would come of it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.reading.is_some() || self.waiting.0 > 0).then_some(self.deadline)
    }

    /// The RMC with all that was merged into it.
    pub(super) fn into_held(self) -> Option<Held> {
        let reading = self.reading?;
        Some(Held {
            reading,
            fix: self.extras.complete(reading.fix),
            raw: self.raw,
            waiting: self.waiting,
        })
    }
}

impl Held {
    /// A fix that nothing is merged into.
    pub(super) fn alone(reading: Reading, raw: Option<Bytes>) -> Self {
        Self {
            reading,
            fix: reading.fix,
            raw,
            waiting: Waiting::default(),
        }
    }

    /// Gives up on the fix: nobody said whose it is.
    pub(super) fn reject(self, out: &mut Decoded) {
        out.released
            .push(Outcome::Rejected(RejectReason::NoIdentity));
        self.waiting.release(Outcome::NoPosition, out);
    }
}

impl Waiting {
    /// One more line waits; its outcome for now.
    pub(super) const fn hold_line(&mut self) -> Outcome {
        if self.0 >= N_WAITING_MAX {
            return Outcome::NoPosition;
        }
        self.0 += 1;
        Outcome::Held
    }

    /// Gives all lines that waited their outcome.
    pub(super) fn release(self, outcome: Outcome, out: &mut Decoded) {
        out.released
            .extend(std::iter::repeat_n(outcome, usize::from(self.0)));
    }
}
