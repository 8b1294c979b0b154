//! What a time must be to be taken, and what is noted about it.

use crate::{
    protocol::RejectReason,
    types::{
        record::Flags,
        time::{DAY_MILLIS, UnixMillis},
    },
};

/// 1990-01-01T00:00:00Z: no receiver had a fix worth keeping before.
const EARLIEST: UnixMillis = UnixMillis(631_152_000_000);

/// Refuses a time that no vehicle can have had a fix at.
pub(super) fn check_time(time: UnixMillis) -> Result<UnixMillis, RejectReason> {
    if time < EARLIEST {
        return Err(RejectReason::TimeImpossible);
    }
    Ok(time)
}

/// The flags of a fix at `time` that was read at `received`.
pub(super) const fn flags(time: UnixMillis, received: UnixMillis) -> Flags {
    if time.0 > received.0.saturating_add(DAY_MILLIS) {
        return Flags::FUTURE;
    }
    Flags(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_is_possible_from_1990_on() {
        let first = UnixMillis::parse("1990-01-01T00:00:00Z").unwrap();
        assert_eq!(check_time(first), Ok(first));
        assert_eq!(
            check_time(UnixMillis(first.0 - 1)),
            Err(RejectReason::TimeImpossible)
        );
    }

    #[test]
    fn a_fix_more_than_a_day_ahead_is_marked() {
        let received = UnixMillis::parse("2026-11-20T09:05:01Z").unwrap();
        let later = |millis| flags(UnixMillis(received.0 + millis), received);
        assert_eq!(later(DAY_MILLIS), Flags(0));
        assert_eq!(later(DAY_MILLIS + 1), Flags::FUTURE);
    }
}
