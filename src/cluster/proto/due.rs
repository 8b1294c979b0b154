//! When it is worth looking for what is due among many things: an input changes few of them, and asking all
//! of them after each input is what a core with many members would do most.

use crate::base::time::Instant;

/// The earliest moment at which something may be due. It may be too early, never too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DueAt {
    /// Something changed since it was looked up.
    Unknown,
    Never,
    At(Instant),
}

impl DueAt {
    /// Something changed: it is to be looked up again.
    pub(crate) const fn forget(&mut self) {
        *self = Self::Unknown;
    }

    /// One thing more is due, at `at`.
    pub(crate) fn add(&mut self, at: Instant) {
        *self = match *self {
            Self::Unknown => Self::Unknown,
            Self::Never => Self::At(at),
            Self::At(before) => Self::At(before.min(at)),
        };
    }

    /// Whether something may be due by `now`.
    pub(crate) fn may_be(self, now: Instant) -> bool {
        match self {
            Self::Unknown => true,
            Self::Never => false,
            Self::At(at) => at <= now,
        }
    }

    /// What is known; else what `look` finds. Debug builds look in any case, and panic if what is known is
    /// too late.
    pub(crate) fn or_look(self, look: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        let known = match self {
            Self::Unknown => return look(),
            Self::Never => None,
            Self::At(at) => Some(at),
        };
        debug_assert!(
            look().is_none_or(|found| known.is_some_and(|at| at <= found)),
            "something is due earlier than {known:?}"
        );
        known
    }
}

impl From<Option<Instant>> for DueAt {
    fn from(at: Option<Instant>) -> Self {
        at.map_or(Self::Never, Self::At)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_never_missed_and_what_is_unknown_is_looked_up() {
        let at = Instant::from_millis;
        let mut due = DueAt::Unknown;
        due.add(at(5));
        assert!(due.may_be(at(0)) && due.or_look(|| Some(at(7))) == Some(at(7)));
        due = DueAt::from(None);
        assert!(!due.may_be(at(u64::MAX)) && due.or_look(|| None).is_none());
        for millis in [9, 3, 6] {
            due.add(at(millis));
        }
        assert!(!due.may_be(at(2)) && due.may_be(at(3)));
        assert_eq!(due.or_look(|| Some(at(4))), Some(at(3)));
        due.forget();
        assert_eq!(due, DueAt::Unknown);
    }
}
