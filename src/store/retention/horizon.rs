//! What is too old to be kept. Pure.

use std::sync::{Mutex, PoisonError};

use crate::{
    delivery::frame::RecordHead,
    types::{
        record::{Flags, Record},
        time::{DAY_MILLIS, Month, UnixMillis},
    },
};

/// What lies behind it is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Fixes before this are too old.
    pub(in crate::store) oldest: UnixMillis,
    /// The time that age is measured from.
    pub(in crate::store) newest: UnixMillis,
}

impl Horizon {
    /// Whether a record is too old: by its own time; one that was received as a future one by the
    /// time of its reception, unless its time has come meanwhile and is not too old: the clock may
    /// have been wrong when it came.
    pub fn is_past(&self, record: &RecordHead) -> bool {
        if !record.flags.contains(Flags::FUTURE) {
            return record.time < self.oldest;
        }
        let is_future_still = record.time.0.saturating_sub(self.newest.0) > DAY_MILLIS;
        record.received < self.oldest && (is_future_still || record.time < self.oldest)
    }

    /// Whether a record is to be removed: months go as a whole, and so does a last position with the
    /// month it lies in, since it must be the newest of what there is.
    pub fn is_due(&self, record: &Record) -> bool {
        let is_future = record.flags.contains(Flags::FUTURE);
        self.is_past(&RecordHead::of(record))
            && (is_future || self.is_month_past(record.key.time.month()))
    }

    /// Whether all of a month is too old.
    pub fn is_month_past(&self, month: Month) -> bool {
        month.next().start() <= self.oldest
    }
}

/// The horizon that holds now, if any, shared between those who heed it.
#[derive(Debug, Default)]
pub(crate) struct SharedHorizon(Mutex<Option<Horizon>>);

impl SharedHorizon {
    /// The horizon now.
    pub(crate) fn now(&self) -> Option<Horizon> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `horizon` holds.
    pub(crate) fn set(&self, horizon: Option<Horizon>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = horizon;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::position;

    const HORIZON: Horizon = Horizon {
        oldest: UnixMillis(10 * DAY_MILLIS),
        newest: UnixMillis(100 * DAY_MILLIS),
    };

    fn record(day: i64, received_day: i64, flags: Flags) -> Record {
        Record {
            received: UnixMillis(received_day * DAY_MILLIS),
            flags,
            ..position(day * DAY_MILLIS)
        }
    }

    #[test]
    fn a_record_is_past_by_its_own_time() {
        let is_past = |day| HORIZON.is_past(&RecordHead::of(&record(day, 0, Flags::default())));
        assert!(is_past(9) && is_past(-400));
        assert!(!is_past(10) && !is_past(5_000));
    }

    #[test]
    fn a_future_record_is_past_by_its_reception_until_its_time_has_come() {
        let is_past = |day, received| {
            let record = record(day, received, Flags::FUTURE);
            HORIZON.is_past(&RecordHead::of(&record))
        };
        assert!(is_past(5_000, 9));
        assert!(!is_past(5_000, 10));
        assert!(!is_past(60, 9), "its time has come");
        assert!(is_past(9, 7), "its time has come and gone");
    }

    #[test]
    fn a_month_is_past_when_its_last_day_is_over() {
        let month = UnixMillis(0).month();
        let at = |millis| Horizon {
            oldest: UnixMillis(31 * DAY_MILLIS + millis),
            ..HORIZON
        };
        assert!(at(0).is_month_past(month));
        assert!(!at(-1).is_month_past(month));
        assert!(!at(0).is_month_past(month.next()));
    }
}
