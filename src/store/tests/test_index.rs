//! An index that obeys the test: it stands still, fails at any call, and loses what is not synced.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::{
    store::{
        gate::IndexOpener,
        index::{
            Examination, Index, IndexError, MapIndex, RangeQuery, Removed, ScanPage, ScanQuery,
            SpotPage,
        },
        log::LogOffset,
        retention::{Age, Horizon},
    },
    types::{
        ids::VehicleId,
        record::{Kind, Record, RecordKey},
    },
};

/// What can be asked of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Call {
    Open,
    Apply,
    Persist,
    Contains,
    HasFuture,
    Last,
    Vehicles,
    Range,
    Spots,
    Scan,
    Age,
    NoteAge,
    RemovePast,
}

/// Which calls of a kind fail.
#[derive(Debug, Clone, Copy)]
struct Failing {
    n_before: u64,
    n_times: u64,
}

/// An ordered map that stands still, or fails, when it is told to.
#[derive(Debug, Default)]
pub(in crate::store) struct TestIndex {
    pub(in crate::store) map: MapIndex,
    is_still: Mutex<bool>,
    moved: Condvar,
    failing: Mutex<BTreeMap<Call, Failing>>,
    /// Whether what was not persisted is lost when it is opened anew.
    pub(in crate::store) forgets: AtomicBool,
    /// Whether it stands still from the moment when it is opened anew.
    pub(in crate::store) stops_when_opened_anew: AtomicBool,
    /// Whether a look for a key panics.
    pub(in crate::store) is_panicking: AtomicBool,
    /// Whether what fails does so because a file is damaged.
    pub(in crate::store) is_damaged: AtomicBool,
    /// Looks for a key.
    pub(in crate::store) n_looks: AtomicU64,
    /// Records on a page at most, as if they were large; no limit if zero.
    pub(in crate::store) n_page_max: AtomicUsize,
    /// Times that keys were read ahead.
    pub(in crate::store) n_spots: AtomicU64,
    /// Times that it was opened.
    pub(in crate::store) n_opened: AtomicU64,
}

impl TestIndex {
    /// Opens this index again and again.
    pub(in crate::store) fn opener(self: &Arc<Self>) -> IndexOpener<Arc<Self>> {
        let index = Arc::clone(self);
        IndexOpener::new(move || {
            index.call(Call::Open)?;
            if index.n_opened.load(Ordering::Relaxed) > 0 {
                if index.forgets.load(Ordering::Relaxed) {
                    index.map.crash();
                }
                if index.stops_when_opened_anew.load(Ordering::Relaxed) {
                    index.stand_still(true);
                }
            }
            index.n_opened.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::clone(&index))
        })
    }

    pub(in crate::store) fn stand_still(&self, is_still: bool) {
        *self.is_still.lock().unwrap() = is_still;
        self.moved.notify_all();
    }

    /// Lets `n_times` calls fail, after `n_before` more that do not.
    pub(in crate::store) fn fail(&self, call: Call, n_before: u64, n_times: u64) {
        let failing = Failing { n_before, n_times };
        self.failing.lock().unwrap().insert(call, failing);
    }

    /// Lets nothing fail any more.
    pub(in crate::store) fn heal(&self) {
        self.failing.lock().unwrap().clear();
    }

    /// Whether what was told to fail has failed as often as it was told.
    pub(in crate::store) fn has_failed(&self) -> bool {
        self.failing.lock().unwrap().is_empty()
    }

    fn page(&self, limit: usize) -> usize {
        match self.n_page_max.load(Ordering::Relaxed) {
            0 => limit,
            n_page_max => limit.min(n_page_max),
        }
    }

    fn call(&self, call: Call) -> Result<(), IndexError> {
        let is_look = call == Call::Contains;
        let is_panicking = is_look && self.is_panicking.load(Ordering::Relaxed);
        assert!(!is_panicking, "told to panic");
        let mut all = self.failing.lock().unwrap();
        let Some(failing) = all.get_mut(&call) else {
            return Ok(());
        };
        if failing.n_before > 0 {
            failing.n_before -= 1;
            return Ok(());
        }
        failing.n_times = failing.n_times.saturating_sub(1);
        if failing.n_times == 0 {
            all.remove(&call);
        }
        drop(all);
        let why = format!("{call:?} told to fail");
        Err(match self.is_damaged.load(Ordering::Relaxed) {
            true => IndexError::Damaged(why),
            false => IndexError::Backend(why),
        })
    }
}

impl Index for TestIndex {
    fn persisted(&self) -> LogOffset {
        self.map.persisted()
    }

    fn apply(&self, records: &[Record]) -> Result<(), IndexError> {
        let is_still = self.is_still.lock().unwrap();
        drop(
            self.moved
                .wait_while(is_still, |is_still| *is_still)
                .unwrap(),
        );
        // Of a failed one any part may be there.
        let outcome = self.call(Call::Apply);
        let n_applied = match outcome {
            Ok(()) => records.len(),
            Err(_) => records.len() / 2,
        };
        self.map.apply(&records[..n_applied])?;
        outcome
    }

    fn persist(&self, applied: LogOffset) -> Result<LogOffset, IndexError> {
        self.call(Call::Persist)?;
        self.map.persist(applied)
    }

    fn contains(&self, kind: Kind, key: &RecordKey) -> Result<bool, IndexError> {
        self.n_looks.fetch_add(1, Ordering::Relaxed);
        self.call(Call::Contains)?;
        self.map.contains(kind, key)
    }

    fn has_future(&self, vehicle: &VehicleId) -> Result<bool, IndexError> {
        self.call(Call::HasFuture)?;
        self.map.has_future(vehicle)
    }

    fn last(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        self.call(Call::Last)?;
        self.map.last(vehicle)
    }

    fn vehicles(&self, after: Option<&VehicleId>, limit: usize) -> Result<Vec<Record>, IndexError> {
        self.call(Call::Vehicles)?;
        self.map.vehicles(after, self.page(limit))
    }

    fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError> {
        self.call(Call::Range)?;
        self.map.range(query, self.page(limit))
    }

    fn spots(&self, query: &RangeQuery, limit: usize) -> Result<SpotPage, IndexError> {
        self.n_spots.fetch_add(1, Ordering::Relaxed);
        self.call(Call::Spots)?;
        self.map.spots(query, self.page(limit))
    }

    fn scan(&self, query: &ScanQuery, limit: usize) -> Result<ScanPage, IndexError> {
        self.call(Call::Scan)?;
        self.map.scan(query, limit)
    }

    fn age(&self) -> Result<Option<Age>, IndexError> {
        self.call(Call::Age)?;
        self.map.age()
    }

    fn note_age(&self, age: &Age) -> Result<(), IndexError> {
        self.call(Call::NoteAge)?;
        self.map.note_age(age)
    }

    fn remove_past(&self, horizon: &Horizon) -> Result<Removed, IndexError> {
        self.call(Call::RemovePast)?;
        self.map.remove_past(horizon)
    }

    fn examination(&self) -> Option<Examination> {
        let is_damaged = self.is_damaged.load(Ordering::Relaxed);
        is_damaged.then(|| -> Examination {
            Box::new(|| Err(IndexError::Damaged("found in a file".to_owned())))
        })
    }
}

/// An index that a test holds while a store has it.
impl<I: Index> Index for Arc<I> {
    fn examination(&self) -> Option<Examination> {
        I::examination(self)
    }

    fn takes_records(&self) -> bool {
        I::takes_records(self)
    }

    fn persisted(&self) -> LogOffset {
        I::persisted(self)
    }

    fn apply(&self, records: &[Record]) -> Result<(), IndexError> {
        I::apply(self, records)
    }

    fn persist(&self, applied: LogOffset) -> Result<LogOffset, IndexError> {
        I::persist(self, applied)
    }

    fn contains(&self, kind: Kind, key: &RecordKey) -> Result<bool, IndexError> {
        I::contains(self, kind, key)
    }

    fn has_future(&self, vehicle: &VehicleId) -> Result<bool, IndexError> {
        I::has_future(self, vehicle)
    }

    fn last(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        I::last(self, vehicle)
    }

    fn vehicles(&self, after: Option<&VehicleId>, limit: usize) -> Result<Vec<Record>, IndexError> {
        I::vehicles(self, after, limit)
    }

    fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError> {
        I::range(self, query, limit)
    }

    fn spots(&self, query: &RangeQuery, limit: usize) -> Result<SpotPage, IndexError> {
        I::spots(self, query, limit)
    }

    fn scan(&self, query: &ScanQuery, limit: usize) -> Result<ScanPage, IndexError> {
        I::scan(self, query, limit)
    }

    fn age(&self) -> Result<Option<Age>, IndexError> {
        I::age(self)
    }

    fn note_age(&self, age: &Age) -> Result<(), IndexError> {
        I::note_age(self, age)
    }

    fn remove_past(&self, horizon: &Horizon) -> Result<Removed, IndexError> {
        I::remove_past(self, horizon)
    }
}
