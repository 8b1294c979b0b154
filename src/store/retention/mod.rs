//! Retention by age: what is older than the configuration says is neither taken, shown nor kept.
//!
//! ```text
//! received times, clock ─▶ Age: newest time, if it can be trusted ─▶ Horizon ─▶ writer: expired
//!                                                                       ├─▶ ShownIndex: hidden
//!                                                                       └─▶ Index::remove_past
//! ```
//!
//! Age is measured from the newest received time in the store, never from the clock: a node that
//! stands idle forgets nothing. While time is in doubt (see `age`) there is no horizon: all is
//! taken, shown and kept. Whole months are removed when their last day is over; the last positions of
//! vehicles and what was received as a future fix one by one.
//!
//! This room must not know how rows are laid out, or how the log is.

mod age;
mod clock;
mod horizon;
mod shown;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use self::age::AgeEvent;
pub use self::{
    age::Age,
    clock::{SystemClock, WallClock},
    horizon::Horizon,
    shown::ShownIndex,
};
pub(in crate::store) use self::{age::Run, horizon::SharedHorizon};
use super::index::{Index, IndexError};
use crate::{
    metrics::names::StoreMetrics,
    types::{record::Record, time::UnixMillis},
};

/// How far the horizon moves before the rows behind it are looked for again.
const SWEEP_STEP_MILLIS: i64 = 3_600_000;

/// How far time goes on before that is noted though nothing was stored.
const NOTE_STEP_MILLIS: i64 = 3_600_000;

/// What a store needs to know of time.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    /// How long records are kept; absent: for ever.
    pub(crate) retention: Option<Duration>,
    pub(crate) clock: Arc<dyn WallClock>,
}

/// Follows time, says where the horizon is, and removes what lies behind it. One thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    timing: Timing,
    age: Age,
    /// The age that the index has noted.
    noted: Age,
    horizon: Arc<SharedHorizon>,
    metrics: StoreMetrics,
    /// Where the horizon was when all behind it had been removed.
    swept: Option<UnixMillis>,
}

impl Keeper {
    /// Goes on where the index says that time was, and looks at the clock.
    pub(crate) fn new(
        timing: Timing,
        noted: Option<Age>,
        horizon: Arc<SharedHorizon>,
        metrics: StoreMetrics,
    ) -> Self {
        let noted = noted.unwrap_or_default();
        let mut keeper = Self {
            timing,
            age: noted,
            noted,
            horizon,
            metrics,
            swept: None,
        };
        if keeper.timing.retention.is_some() && !keeper.age.is_settled() {
            tracing::warn!("the clock has jumped before this start; retention stands still");
        }
        keeper.look_at_clock();
        keeper
    }

    /// Looks at the clock.
    pub(crate) fn look_at_clock(&mut self) {
        let event = self.age.see_clock(self.timing.clock.now());
        self.tell(event);
    }

    /// These records are in the index now.
    pub(crate) fn see(&mut self, records: &[Record]) {
        for record in records {
            let event = self.age.see_record(record.received);
            self.tell(event);
        }
        self.publish();
    }

    /// What is known about time, for the index to note.
    pub(crate) const fn age(&self) -> Age {
        self.age
    }

    /// The index has made `age` durable.
    pub(crate) const fn confirm(&mut self, age: Age) {
        self.noted = age;
    }

    /// The index was opened anew: what was removed may be there again.
    pub(crate) const fn sweep_again(&mut self) {
        self.swept = None;
    }

    /// Whether time has gone on so far that it has to be noted though nothing was stored.
    pub(crate) fn is_note_due(&self) -> bool {
        let last = |age: &Age| age.run.map_or(0, |run| run.last.0);
        let is_news = self.age.is_settled() != self.noted.is_settled();
        is_news || last(&self.age).abs_diff(last(&self.noted)) >= NOTE_STEP_MILLIS as u64
    }

    /// Removes a part of what lies behind the horizon, if there may be anything. Blocking.
    pub(crate) fn sweep(&mut self, index: &dyn Index) -> Result<(), IndexError> {
        let Some(horizon) = self.horizon.now() else {
            return Ok(());
        };
        let is_swept = self.swept.is_some_and(|swept| {
            let moved_millis = horizon.oldest.0.saturating_sub(swept.0);
            (0..SWEEP_STEP_MILLIS).contains(&moved_millis)
        });
        if is_swept {
            return Ok(());
        }
        let removed = index.remove_past(&horizon)?;
        self.metrics.months_removed.inc_by(removed.n_months);
        if removed.n_months > 0 {
            let (oldest, n_months) = (horizon.oldest, removed.n_months);
            tracing::info!(%oldest, n_months, "months beyond the retention were removed");
        }
        self.swept = removed.is_complete.then_some(horizon.oldest);
        Ok(())
    }

    /// Says what has happened to time: once when it jumps, once when it is believed again.
    fn tell(&self, event: Option<AgeEvent>) {
        self.publish();
        match event.filter(|_| self.timing.retention.is_some()) {
            Some(AgeEvent::Jumped { from, to }) => tracing::warn!(
                %from, %to,
                "the clock has jumped, or the node was off for more than a day: nothing expires \
                 until the clock has gone on evenly for a day"
            ),
            Some(AgeEvent::Settled) => {
                tracing::info!("the clock has gone on evenly for a day; retention goes on");
            }
            None => {}
        }
    }

    fn publish(&self) {
        let Some(retention) = self.timing.retention else {
            return;
        };
        let retention_millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let horizon = self.age.newest().map(|newest| Horizon {
            oldest: UnixMillis(newest.0.saturating_sub(retention_millis)),
            newest,
        });
        self.horizon.set(horizon);
        let is_stopped = !self.age.is_settled();
        self.metrics.retention_stopped.set(i64::from(is_stopped));
    }
}
