//! What the index has of one vehicle in a span of time, read in one go for several questions.
//!
//! Devices send again what was not acknowledged, in the order of its time, and many events may come in
//! one moment. The keys of such runs lie side by side in the index, and reading some more of them costs a
//! fraction of looking for each. So from the second question about a vehicle on some keys are read ahead,
//! more of them as long as that helps, and none any more where it does not.
//!
//! What was read stays as it is: who asks closes the window before the index may show a record that
//! he does not know of himself. This file must not know the log or its tail.

use super::index::{Index, IndexError, RangeQuery};
use crate::{
    delivery::frame::RecordHead,
    types::{
        ids::VehicleId,
        record::{Kind, RecordKey},
        time::UnixMillis,
    },
};

/// Keys read ahead where that has not helped yet; twice as many each time that it has.
const N_AHEAD_FIRST: usize = 8;

/// Keys read ahead at most.
const N_AHEAD_MAX: usize = 64;

/// After so many reads in a row that told nothing else, each record is looked for alone.
const N_IDLE_MAX: u8 = 4;

/// With more keys of one moment than this each further one is looked for alone.
const N_KEYS_MAX: usize = 4_096;

/// Time and hash of a record.
type Spot = (UnixMillis, u64);

/// The keys of one vehicle and kind in a span of time.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// What was asked about last; absent: nothing.
    track: Option<(VehicleId, Kind)>,
    span: Option<Span>,
    /// How many keys were read ahead.
    n_ahead: usize,
    /// Whether that has told anything but what it was read for.
    has_helped: bool,
    /// How many reads in a row have not.
    n_idle: u8,
}

/// All keys from the moment `first` on up to `last`, both within one month.
#[derive(Debug)]
struct Span {
    first: UnixMillis,
    last: Spot,
    /// In order.
    keys: Vec<Spot>,
}

impl Window {
    /// Whether the index has a record, or had it at some time since the window was last closed.
    ///
    /// # Errors
    /// What the index says.
    pub(super) fn contains<I: Index>(
        &mut self,
        index: &I,
        vehicle: &VehicleId,
        record: &RecordHead,
    ) -> Result<bool, IndexError> {
        let (kind, spot) = (record.kind, (record.time, record.hash));
        let track = self.track.as_ref();
        if track.is_none_or(|track| track.0 != *vehicle || track.1 != kind) {
            self.close();
            self.track = Some((vehicle.clone(), kind));
        } else if let Some(is_there) = self.told(spot) {
            self.has_helped = true;
            return Ok(is_there);
        } else {
            self.read(index, (vehicle, kind), spot)?;
            if let Some(is_there) = self.told(spot) {
                return Ok(is_there);
            }
        }
        let key = RecordKey {
            vehicle: vehicle.clone(),
            time: record.time,
            hash: record.hash,
        };
        index.contains(kind, &key)
    }

    /// Nothing is known any more.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// What is known of a record.
    fn told(&self, spot: Spot) -> Option<bool> {
        let span = self.span.as_ref().filter(|span| span.covers(spot))?;
        Some(span.keys.binary_search(&spot).is_ok())
    }

    /// Reads on where a moment has more keys than were read, else from the beginning of another one.
    fn read<I: Index>(
        &mut self,
        index: &I,
        (vehicle, kind): (&VehicleId, Kind),
        spot: Spot,
    ) -> Result<(), IndexError> {
        (self.n_ahead, self.n_idle) = if std::mem::take(&mut self.has_helped) {
            (N_AHEAD_MAX.min(self.n_ahead * 2), 0)
        } else {
            (N_AHEAD_FIRST, self.n_idle.saturating_add(1))
        };
        let span = self.span.take();
        if self.n_idle > N_IDLE_MAX {
            return Ok(());
        }
        let span = span.filter(|span| span.ends_within_moment_of(spot));
        let n_known = span.as_ref().map_or(0, |span| span.keys.len());
        if n_known >= N_KEYS_MAX {
            self.span = span;
            return Ok(());
        }
        // Months lie apart, and looking into each for the next key would cost more than it tells.
        let to = spot.0.month().next().start();
        let query = RangeQuery {
            vehicle: vehicle.clone(),
            kind,
            from: Some(spot.0),
            to: Some(to),
            after: span.as_ref().map(|span| span.last),
        };
        let page = match index.spots(&query, self.n_ahead) {
            // What cannot be read with others may be found alone.
            Err(error) if error.is_damage() => return Ok(()),
            page => page?,
        };
        if page.spots.is_empty() && !page.is_whole {
            return Ok(());
        }
        let end = (UnixMillis(to.0.saturating_sub(1)), u64::MAX);
        let last = page.spots.last().filter(|_| !page.is_whole);
        let last = *last.unwrap_or(&end);
        let mut span = span.unwrap_or_else(|| Span {
            first: spot.0,
            last,
            keys: Vec::new(),
        });
        span.last = last;
        span.keys.extend(page.spots);
        self.span = Some(span);
        Ok(())
    }
}

impl Span {
    fn covers(&self, spot: Spot) -> bool {
        self.first <= spot.0 && spot <= self.last
    }

    /// Whether it ends before `spot`, among the keys of its moment.
    fn ends_within_moment_of(&self, spot: Spot) -> bool {
        self.last < spot && self.last.0 == spot.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        store::{
            index::MapIndex,
            tests::{Call, TestIndex, position, vehicle},
        },
        types::record::Record,
    };

    fn record((time, hash): (i64, u64)) -> Record {
        let mut record = position(0);
        record.key.time = UnixMillis(time);
        record.key.hash = hash;
        record
    }

    fn asked(window: &mut Window, index: &impl Index, spot: (i64, u64)) -> bool {
        let head = RecordHead::of(&record(spot));
        window.contains(index, &vehicle(), &head).unwrap()
    }

    fn index_of(spots: impl IntoIterator<Item = (i64, u64)>) -> TestIndex {
        let records: Vec<Record> = spots.into_iter().map(record).collect();
        let index = TestIndex::default();
        index.map.apply(&records).unwrap();
        index
    }

    fn n_looks(index: &TestIndex) -> (u64, u64) {
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        (load(&index.n_looks), load(&index.n_spots))
    }

    #[test]
    fn what_is_sent_again_in_order_is_looked_for_together() {
        let index = index_of((0..2_000).map(|time| (time, 7)));
        let mut window = Window::default();
        assert!((0..2_000).all(|time| asked(&mut window, &index, (time, 7))));
        // The first alone, then 8, 16, 32, and 64 each.
        assert_eq!(n_looks(&index), (1, 34));
    }

    #[test]
    fn many_new_records_of_one_moment_are_looked_for_together_in_any_order() {
        let index = index_of([(5, 3), (6, 9)]);
        let mut window = Window::default();
        for hash in (10..2_000).rev() {
            assert!(!asked(&mut window, &index, (6, hash)));
        }
        assert!(asked(&mut window, &index, (6, 9)));
        assert!(!asked(&mut window, &index, (7, 3)));
        // 1, and all that there is up to the end of the month.
        assert_eq!(n_looks(&index), (1, 1));
    }

    #[test]
    fn a_moment_with_too_many_records_is_not_held() {
        let n_keys = N_KEYS_MAX as u64 + 1_000;
        let index = index_of((0..n_keys).map(|hash| (5, hash * 2)));
        let mut window = Window::default();
        for hash in 0..n_keys {
            assert!(asked(&mut window, &index, (5, hash * 2)));
            assert!(!asked(&mut window, &index, (5, hash * 2 + 1)));
        }
        let (n_alone, n_ranges) = n_looks(&index);
        assert!(n_alone > 1_500, "{n_alone}");
        assert!(
            n_ranges < (N_KEYS_MAX / N_AHEAD_MAX) as u64 + 10,
            "{n_ranges}"
        );
        assert!(!asked(&mut window, &index, (6, 0)));
    }

    #[test]
    fn what_cannot_be_read_with_others_is_looked_for_alone() {
        let index = index_of((0..10).map(|time| (time, 7)));
        index.is_damaged.store(true, Ordering::Relaxed);
        index.fail(Call::Spots, 0, 1_000);
        let mut window = Window::default();
        assert!((0..10).all(|time| asked(&mut window, &index, (time, 7))));
        assert_eq!(n_looks(&index), (10, u64::from(N_IDLE_MAX)));
    }

    #[test]
    fn an_index_that_fails_is_not_asked_once_more() {
        let index = index_of((0..10).map(|time| (time, 7)));
        index.fail(Call::Spots, 0, 1);
        let mut window = Window::default();
        assert!(asked(&mut window, &index, (0, 7)));
        let head = RecordHead::of(&record((1, 7)));
        let said = window.contains(&index, &vehicle(), &head);
        assert!(matches!(said, Err(IndexError::Backend(_))), "{said:?}");
        assert_eq!(n_looks(&index), (1, 1));
        assert!(asked(&mut window, &index, (1, 7)));
    }

    #[test]
    fn where_reading_ahead_does_not_help_each_record_is_looked_for_alone() {
        let index = index_of((0..1_000).map(|time| (time, 7)));
        let mut window = Window::default();
        // The newest first.
        assert!(
            (0..1_000)
                .rev()
                .all(|time| asked(&mut window, &index, (time, 7)))
        );
        assert_eq!(
            n_looks(&index),
            (1_000 - u64::from(N_IDLE_MAX), u64::from(N_IDLE_MAX))
        );
    }

    #[test]
    fn a_closed_window_shows_what_came_meanwhile() {
        let index = index_of([]);
        let mut window = Window::default();
        assert!((0..3).all(|hash| !asked(&mut window, &index, (5, hash))));
        index.map.apply(&[record((5, 1))]).unwrap();
        window.close();
        assert!((0..3).all(|hash| asked(&mut window, &index, (5, hash)) == (hash == 1)));
    }

    proptest! {
        #[test]
        fn each_answer_is_what_the_index_says(
            there in vec((0_i64..30, 0_u64..8), 0..200),
            questions in vec((0_i64..32, 0_u64..8, 0_u8..4), 1..200),
        ) {
            let index = MapIndex::new();
            let records: Vec<Record> = there.iter().copied().map(record).collect();
            index.apply(&records).unwrap();
            let mut window = Window::default();
            for (time, hash, way) in questions {
                // Alone, or a run: in the order of time, or in one moment.
                let run = match way {
                    0 => vec![(time, hash)],
                    1 => (time..32).map(|time| (time, hash)).collect(),
                    2 => (0..8).rev().map(|hash| (time, hash)).collect(),
                    _ => (0..8).map(|hash| (time, hash)).collect(),
                };
                for spot in run {
                    prop_assert_eq!(asked(&mut window, &index, spot), there.contains(&spot));
                }
            }
        }
    }
}
