//! The gate before the index: it can be closed, opened anew and caught up from the log while others
//! hold it, and lets questions through only when it shows all that it has shown before.
//!
//! After a failed write or sync nothing is known about an index but what it says after it was opened
//! anew. Until the log has been applied again up to where it was, a question would miss records that
//! an earlier one has seen, and a repeat would count as new; so questions wait meanwhile, and are
//! told so when that takes too long, or at once where a damaged file keeps the index from being fed. Who feeds the index is let through.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    index::{Examination, Index, IndexError, RangeQuery, Removed, ScanPage, ScanQuery, SpotPage},
    log::LogOffset,
    retention::{Age, Horizon},
    survey::Survey,
};
use crate::types::{
    ids::VehicleId,
    record::{Kind, Record, RecordKey},
};

type Open<I> = dyn Fn() -> Result<I, IndexError> + Send + Sync;
type SetAside = dyn Fn() -> io::Result<PathBuf> + Send + Sync;

/// Opens an index: at a start, and again after a failure, when the one before is closed.
pub struct IndexOpener<I> {
    open: Box<Open<I>>,
    set_aside: Option<Box<SetAside>>,
}

impl<I> IndexOpener<I> {
    /// An opener that calls `open`.
    pub fn new(open: impl Fn() -> Result<I, IndexError> + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(open),
            set_aside: None,
        }
    }

    /// The same for an index that `set_aside` can put where it is not opened, whereupon an empty one
    /// is; it says where.
    #[must_use]
    pub fn with_set_aside(
        self,
        set_aside: impl Fn() -> io::Result<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        Self {
            set_aside: Some(Box::new(set_aside)),
            ..self
        }
    }

    /// Puts it where it is not opened; where. Nothing if that is not possible.
    pub(super) fn set_aside(&self) -> Option<io::Result<PathBuf>> {
        self.set_aside.as_ref().map(|set_aside| set_aside())
    }

    /// Opens it. What is behind it may panic over a file that was altered.
    pub(super) fn open(&self) -> Result<I, IndexError> {
        catch_unwind(AssertUnwindSafe(&self.open)).unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            let message = message.unwrap_or("a panic without a message");
            Err(IndexError::Damaged(message.to_owned()))
        })
    }
}

impl<I> fmt::Debug for IndexOpener<I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IndexOpener")
            .finish_non_exhaustive()
    }
}

/// An index behind a gate. Blocking.
#[derive(Debug)]
pub(crate) struct IndexGate<I> {
    opener: IndexOpener<I>,
    slot: RwLock<Slot<I>>,
    /// What the slot says, for those who wait.
    is_shown: Mutex<bool>,
    changed: Condvar,
    /// How long a question waits.
    patience: Duration,
    /// What is known of damaged files.
    survey: Arc<Survey>,
    /// Why it is not fed any more; absent while it is.
    held: watch::Sender<Option<IndexError>>,
}

#[derive(Debug)]
struct Slot<I> {
    /// Absent while it cannot be opened.
    index: Option<I>,
    /// Whether questions are let through.
    is_shown: bool,
}

impl<I: Index> IndexGate<I> {
    /// Opens the index; questions are let through.
    ///
    /// # Errors
    /// What the opener says.
    #[cfg(test)]
    pub(crate) fn open(opener: IndexOpener<I>, patience: Duration) -> Result<Self, IndexError> {
        let index = opener.open()?;
        Ok(Self::around(index, opener, patience))
    }

    /// The gate before an index that `opener` has opened; questions are let through.
    pub(crate) fn around(index: I, opener: IndexOpener<I>, patience: Duration) -> Self {
        let slot = Slot {
            index: Some(index),
            is_shown: true,
        };
        Self {
            opener,
            slot: RwLock::new(slot),
            is_shown: Mutex::new(true),
            changed: Condvar::new(),
            patience,
            survey: Arc::default(),
            held: watch::Sender::new(None),
        }
    }

    /// Says that it is not fed any more, and why, or that it is again. A question that would wait for
    /// what it does not show is told at once.
    pub(crate) fn hold(&self, why: Option<IndexError>) {
        self.held.send_replace(why);
        // Whoever waits looks again.
        drop(self.lock_shown());
        self.changed.notify_all();
    }

    /// Why it is not fed any more; absent while it is.
    pub(crate) fn held(&self) -> watch::Receiver<Option<IndexError>> {
        self.held.subscribe()
    }

    /// Stops questions, closes the index when those under way are through, and opens it anew. By one
    /// thread, which feeds it.
    ///
    /// # Errors
    /// What the opener says; then there is no index until a later call succeeds.
    pub(crate) fn reopen(&self) -> Result<(), IndexError> {
        *self.lock_shown() = false;
        let closed = {
            let mut slot = self.write_slot();
            slot.is_shown = false;
            slot.index.take()
        };
        drop(closed);
        let opened = self.opener.open()?;
        self.write_slot().index = Some(opened);
        Ok(())
    }

    /// Lets questions through again.
    pub(crate) fn show(&self) {
        self.write_slot().is_shown = true;
        *self.lock_shown() = true;
        self.changed.notify_all();
    }

    /// What is wrong with the files of the index, if anything is found within `patience`. Holds up
    /// nobody else.
    pub(crate) fn look_for_damage(&self, patience: Duration) -> Option<IndexError> {
        self.survey.look(self.examination(), patience)
    }

    /// For who feeds the index.
    fn feed<T>(&self, act: impl FnOnce(&I) -> Result<T, IndexError>) -> Result<T, IndexError> {
        let slot = self.read_slot();
        slot.index.as_ref().map_or(Err(IndexError::Closed), act)
    }

    /// For who asks.
    fn ask<T>(&self, question: impl FnOnce(&I) -> Result<T, IndexError>) -> Result<T, IndexError> {
        loop {
            let slot = self.read_slot();
            if let Some(index) = slot.index.as_ref().filter(|_| slot.is_shown) {
                return question(index);
            }
            drop(slot);
            let is_held = || self.held.borrow().is_some();
            let waited = self
                .changed
                .wait_timeout_while(self.lock_shown(), self.patience, |is_shown| {
                    !*is_shown && !is_held()
                })
                .unwrap_or_else(PoisonError::into_inner);
            let (is_shown, timeout) = (*waited.0, waited.1);
            if !is_shown && let Some(why) = self.held.borrow().clone() {
                return Err(why);
            }
            if timeout.timed_out() {
                return Err(IndexError::Closed);
            }
        }
    }

    // A panic under one of these locks leaves nothing half done.

    fn read_slot(&self) -> RwLockReadGuard<'_, Slot<I>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_slot(&self) -> RwLockWriteGuard<'_, Slot<I>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_shown(&self) -> MutexGuard<'_, bool> {
        self.is_shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Index> Index for IndexGate<I> {
    fn takes_records(&self) -> bool {
        let slot = self.read_slot();
        slot.index.as_ref().is_none_or(I::takes_records)
    }

    fn persisted(&self) -> LogOffset {
        let slot = self.read_slot();
        slot.index.as_ref().map(I::persisted).unwrap_or_default()
    }

    fn apply(&self, records: &[Record]) -> Result<(), IndexError> {
        self.feed(|index| index.apply(records))
    }

    fn persist(&self, applied: LogOffset) -> Result<LogOffset, IndexError> {
        self.feed(|index| index.persist(applied))
    }

    fn contains(&self, kind: Kind, key: &RecordKey) -> Result<bool, IndexError> {
        self.ask(|index| index.contains(kind, key))
    }

    fn has_future(&self, vehicle: &VehicleId) -> Result<bool, IndexError> {
        self.ask(|index| index.has_future(vehicle))
    }

    fn last(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        self.ask(|index| index.last(vehicle))
    }

    fn vehicles(&self, after: Option<&VehicleId>, limit: usize) -> Result<Vec<Record>, IndexError> {
        self.ask(|index| index.vehicles(after, limit))
    }

    fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError> {
        self.ask(|index| index.range(query, limit))
    }

    fn spots(&self, query: &RangeQuery, limit: usize) -> Result<SpotPage, IndexError> {
        self.ask(|index| index.spots(query, limit))
    }

    fn scan(&self, query: &ScanQuery, limit: usize) -> Result<ScanPage, IndexError> {
        self.ask(|index| index.scan(query, limit))
    }

    fn age(&self) -> Result<Option<Age>, IndexError> {
        self.feed(I::age)
    }

    fn note_age(&self, age: &Age) -> Result<(), IndexError> {
        self.feed(|index| index.note_age(age))
    }

    fn remove_past(&self, horizon: &Horizon) -> Result<Removed, IndexError> {
        self.feed(|index| index.remove_past(horizon))
    }

    fn examination(&self) -> Option<Examination> {
        let slot = self.read_slot();
        slot.index.as_ref().and_then(I::examination)
    }

    fn blame(&self, error: IndexError, patience: Duration) -> IndexError {
        match error {
            IndexError::Backend(_) | IndexError::Damaged(_) => {
                self.look_for_damage(patience).unwrap_or(error)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    };

    use super::*;
    use crate::store::{
        index::{FjallIndex, IndexConfig, MapIndex},
        tests::{position, vehicle},
    };

    fn gate(patience: Duration) -> (Arc<AtomicBool>, Arc<IndexGate<MapIndex>>) {
        let is_broken = Arc::new(AtomicBool::new(false));
        let broken = Arc::clone(&is_broken);
        let opener = IndexOpener::new(move || {
            if broken.load(Ordering::Relaxed) {
                return Err(IndexError::Backend("broken".to_owned()));
            }
            Ok(MapIndex::new())
        });
        (
            is_broken,
            Arc::new(IndexGate::open(opener, patience).unwrap()),
        )
    }

    #[test]
    fn a_question_waits_until_the_index_shows_again_what_it_has_shown() {
        let (_, gate) = gate(Duration::from_secs(20));
        gate.apply(&[position(1)]).unwrap();
        gate.reopen().unwrap();
        let (asked, answered) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let asker = scope.spawn(|| {
                asked.send(()).unwrap();
                gate.last(&vehicle()).unwrap()
            });
            answered.recv().unwrap();
            gate.apply(&[position(1)]).unwrap();
            gate.show();
            assert_eq!(asker.join().unwrap(), Some(position(1)));
        });
    }

    #[test]
    fn the_index_on_disk_is_opened_anew_under_questions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let opener = IndexOpener::new(move || FjallIndex::open(&path, IndexConfig::default()));
        let gate = IndexGate::open(opener, Duration::from_secs(20)).unwrap();
        let records: Vec<Record> = (0..1_000).map(position).collect();
        gate.apply(&records).unwrap();
        let query = ScanQuery {
            kind: Kind::Position,
            from: None,
            to: None,
            after: None,
        };
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let page = gate.scan(&query, 1_000).unwrap();
                        assert_eq!(page.records.len(), 1_000);
                    }
                });
            }
            for n_persisted in 1..6 {
                gate.persist(LogOffset(n_persisted)).unwrap();
                gate.reopen().unwrap();
                assert_eq!(gate.persisted(), LogOffset(n_persisted));
                gate.show();
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_question_does_not_wait_for_an_index_that_is_held() {
        let (_, gate) = gate(Duration::from_secs(600));
        let damaged = || IndexError::Damaged("a block".to_owned());
        gate.hold(Some(damaged()));
        assert_eq!(
            gate.last(&vehicle()).unwrap(),
            None,
            "what it shows it shows"
        );
        gate.hold(None);
        gate.reopen().unwrap();
        std::thread::scope(|scope| {
            let asker = scope.spawn(|| gate.last(&vehicle()));
            gate.hold(Some(damaged()));
            assert!(asker.join().unwrap().unwrap_err().is_damage());
        });
        gate.hold(None);
        gate.show();
        assert_eq!(gate.last(&vehicle()).unwrap(), None);
    }

    #[test]
    fn a_question_is_told_when_its_patience_is_over() {
        let (is_broken, gate) = gate(Duration::ZERO);
        assert_eq!(gate.last(&vehicle()).unwrap(), None);
        is_broken.store(true, Ordering::Relaxed);
        assert!(matches!(gate.reopen(), Err(IndexError::Backend(_))));
        assert!(matches!(gate.last(&vehicle()), Err(IndexError::Closed)));
        assert!(matches!(gate.apply(&[]), Err(IndexError::Closed)));
        is_broken.store(false, Ordering::Relaxed);
        gate.reopen().unwrap();
        gate.apply(&[position(1)]).unwrap();
        assert!(matches!(gate.last(&vehicle()), Err(IndexError::Closed)));
        gate.show();
        assert_eq!(gate.last(&vehicle()).unwrap(), Some(position(1)));
    }
}
