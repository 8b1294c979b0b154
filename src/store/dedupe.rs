//! Exact duplicates out, by the record's key.
//!
//! A key can be in two places: in the index, or in the tail of the log that the index has not
//! applied yet. The tail's keys are held here. Invariant: at every moment each durable key is in the
//! index or in the tail, since a key leaves the tail only after the index shows it.
//!
//! Most records need no look at the index: a fix newer than the newest one the index has of its
//! vehicle cannot be there. Events, future fixes, and fixes of vehicles with future fixes are always
//! looked for, since the newest fix says nothing about them; those that come in a run are looked for
//! together ([`Window`]). What is known of a vehicle covers the tail and the index, also when the index
//! lags: a key that goes from the one to the other is never newer than what is known.
//!
//! Where a damaged file of the index keeps it from telling, a record counts as new: the log is whole,
//! so it can be confirmed, and the index puts a repeat in the place of what it repeats. It is not
//! flagged as late then.

use std::{sync::Arc, time::Duration};

use super::{
    digest::VehicleDigest,
    index::{Index, IndexError},
    known::{Known, KnownVehicles},
    log::LogOffset,
    tail::{Key, Tail},
    window::Window,
};
use crate::{
    base::rate::RateLimit,
    delivery::frame::RecordHead,
    types::{
        ids::VehicleId,
        record::{Flags, Kind, Record},
    },
};

static WARNINGS: RateLimit = RateLimit::per_second(1);

/// Whether a record is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// It is durable, or about to be, already.
    Repeat,
    /// It is new; `is_late` if a newer fix of its vehicle is known.
    New {
        /// A newer fix of the vehicle is known.
        is_late: bool,
    },
}

/// Decides which records are new.
#[derive(Debug)]
pub(crate) struct Dedupe<I> {
    index: Arc<I>,
    /// What was read of the index for the group at hand; the tail holds what is applied meanwhile.
    window: Window,
    tail: Tail,
    vehicles: KnownVehicles,
    /// What is known of the vehicle of the record before, not yet noted: records come in runs.
    latest: Option<Latest>,
    /// Where the last group ends that is durable.
    end: LogOffset,
}

#[derive(Debug)]
struct Latest {
    vehicle: VehicleId,
    digest: VehicleDigest,
    known: Known,
}

impl<I: Index> Dedupe<I> {
    /// Nothing is in the tail; of vehicles at least `n_vehicles_max` are remembered.
    pub(crate) fn new(index: Arc<I>, n_vehicles_max: usize) -> Self {
        Self {
            index,
            window: Window::default(),
            tail: Tail::default(),
            vehicles: KnownVehicles::new(n_vehicles_max),
            latest: None,
            end: LogOffset(0),
        }
    }

    /// Enters a record that recovery found in the tail of the log, in a group that ends at `end`.
    pub(crate) fn recover(&mut self, end: LogOffset, record: &Record) {
        let vehicle = VehicleDigest::of(&record.key.vehicle);
        let head = RecordHead::of(record);
        self.tail.recover(end, Key::of(vehicle, &head));
        let known = self.vehicles.get(vehicle).unwrap_or_default();
        self.vehicles.put(vehicle, known.merge(told_by(&head)));
        self.end = end;
        self.vehicles.settle(end);
    }

    /// Whether a record of `vehicle` is new; if so, its key is in the tail from now on.
    pub(crate) fn admit(
        &mut self,
        vehicle: &VehicleId,
        record: &RecordHead,
    ) -> Result<Novelty, IndexError> {
        let Latest { digest, known, .. } = *self.latest(vehicle)?;
        let key = Key::of(digest, record);
        let is_future = record.flags.contains(Flags::FUTURE);
        let is_fix = record.kind == Kind::Position;
        let is_newer = known.newest.is_none_or(|newest| record.time > newest);
        let is_surely_new = is_fix && is_newer && !is_future && !known.has_future;
        if !is_surely_new && (self.tail.contains(key) || self.is_in_index(vehicle, record)?) {
            return Ok(Novelty::Repeat);
        }
        self.tail.push(key);
        if let Some(latest) = &mut self.latest {
            latest.known = known.merge(told_by(record));
        }
        let is_late = is_fix && known.newest.is_some_and(|newest| record.time < newest);
        Ok(Novelty::New { is_late })
    }

    fn is_in_index(
        &mut self,
        vehicle: &VehicleId,
        record: &RecordHead,
    ) -> Result<bool, IndexError> {
        let is_there = self.window.contains(&*self.index, vehicle, record);
        self.unless_damaged(is_there, false)
    }

    /// What the index says, or `unknown` where a damaged file keeps it from saying.
    fn unless_damaged<T>(&self, said: Result<T, IndexError>, unknown: T) -> Result<T, IndexError> {
        match said {
            Err(error) if error.is_damage() => {
                // Who makes records durable does not wait for files to be looked through.
                let error = self.index.blame(error, Duration::ZERO);
                if let Some(n_unsaid) = WARNINGS.pass() {
                    tracing::error!(%error, n_unsaid, "a record may be a repeat and is taken as new");
                }
                Ok(unknown)
            }
            said => said,
        }
    }

    /// The records admitted since the last call are durable in a group that ends at `end`.
    pub(crate) fn confirm(&mut self, end: LogOffset) {
        self.note_latest();
        self.tail.confirm(end);
        self.end = end;
        self.vehicles.settle(end);
    }

    /// The records admitted since the last call were not made durable: their keys are free again.
    pub(crate) fn withdraw(&mut self) {
        self.note_latest();
        self.tail.withdraw();
        self.vehicles.settle(self.end);
    }

    /// The index shows everything up to `applied`: those keys need not be held any more.
    pub(crate) fn forget(&mut self, applied: LogOffset) {
        self.window.close();
        self.tail.forget(applied);
        self.vehicles.forget(applied);
    }

    /// What is known of a vehicle, which is the latest one from now on.
    fn latest(&mut self, vehicle: &VehicleId) -> Result<&Latest, IndexError> {
        if self
            .latest
            .as_ref()
            .is_none_or(|latest| latest.vehicle != *vehicle)
        {
            self.note_latest();
            let digest = VehicleDigest::of(vehicle);
            let known = self.look_up(vehicle, digest)?;
            self.latest = Some(Latest {
                vehicle: vehicle.clone(),
                digest,
                known,
            });
        }
        Ok(self.latest.as_ref().expect("it was just made"))
    }

    fn note_latest(&mut self) {
        if let Some(latest) = self.latest.take() {
            self.vehicles.put(latest.digest, latest.known);
        }
    }

    fn look_up(&mut self, vehicle: &VehicleId, digest: VehicleDigest) -> Result<Known, IndexError> {
        let known = self.vehicles.get(digest).unwrap_or_default();
        if known.is_whole {
            return Ok(known);
        }
        let in_index = self.known_in_index(vehicle);
        // Not whole: the index is asked again.
        let in_index = self.unless_damaged(in_index, Known::default())?;
        Ok(known.merge(in_index))
    }

    fn known_in_index(&self, vehicle: &VehicleId) -> Result<Known, IndexError> {
        Ok(Known {
            newest: self.index.last(vehicle)?.map(|record| record.key.time),
            has_future: self.index.has_future(vehicle)?,
            is_whole: true,
        })
    }
}

/// What a record in the tail says of its vehicle.
fn told_by(record: &RecordHead) -> Known {
    let has_future = record.flags.contains(Flags::FUTURE);
    let is_told = record.kind == Kind::Position && !has_future;
    Known {
        newest: is_told.then_some(record.time),
        has_future,
        is_whole: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::index::MapIndex,
        types::{
            attributes::Attributes,
            record::{Body, Fix, RecordKey},
            time::UnixMillis,
        },
    };

    const NEW: Novelty = Novelty::New { is_late: false };
    const LATE: Novelty = Novelty::New { is_late: true };

    fn fix(vehicle: &str, millis: i64, flags: Flags) -> Record {
        Record {
            key: RecordKey {
                vehicle: VehicleId::parse(vehicle.as_bytes()).unwrap(),
                time: UnixMillis(millis),
                hash: 1,
            },
            received: UnixMillis(9),
            protocol: "toy".into(),
            flags,
            code: "".into(),
            attributes: Attributes::new(),
            raw: None,
            body: Body::Position(Fix::default()),
        }
    }

    fn plain(vehicle: &str, millis: i64) -> Record {
        fix(vehicle, millis, Flags::default())
    }

    fn admit(dedupe: &mut Dedupe<MapIndex>, record: &Record) -> Novelty {
        let head = RecordHead::of(record);
        dedupe.admit(&record.key.vehicle, &head).unwrap()
    }

    /// A start with `tail` in the log and not in the index.
    fn started(tail: &[Record]) -> (Arc<MapIndex>, Dedupe<MapIndex>) {
        let index = Arc::new(MapIndex::new());
        let mut dedupe = Dedupe::new(Arc::clone(&index), 4);
        tail.iter()
            .for_each(|record| dedupe.recover(LogOffset(10), record));
        (index, dedupe)
    }

    #[test]
    fn a_fix_of_a_lagging_index_is_still_a_repeat_when_the_index_has_caught_up() {
        let tail = [plain("v", 50)];
        let (index, mut dedupe) = started(&tail);
        assert_eq!(admit(&mut dedupe, &plain("v", 30)), LATE);
        dedupe.confirm(LogOffset(20));
        index.apply(&tail).unwrap();
        dedupe.forget(LogOffset(10));
        assert_eq!(admit(&mut dedupe, &tail[0]), Novelty::Repeat);
    }

    #[test]
    fn what_was_read_ahead_for_one_group_is_not_believed_for_the_next() {
        let (index, mut dedupe) = started(&[]);
        let all = [50, 10, 20, 30].map(|millis| plain("v", millis));
        let told = all.each_ref().map(|record| admit(&mut dedupe, record));
        assert_eq!(told, [NEW, LATE, LATE, LATE]);
        dedupe.confirm(LogOffset(1));
        index.apply(&all).unwrap();
        dedupe.forget(LogOffset(1));
        for record in all.iter().rev() {
            assert_eq!(admit(&mut dedupe, record), Novelty::Repeat);
        }
    }

    #[test]
    fn a_future_fix_of_a_lagging_index_is_a_repeat_when_its_time_has_come() {
        let tail = [fix("v", 900, Flags::FUTURE)];
        let (index, mut dedupe) = started(&tail);
        assert_eq!(admit(&mut dedupe, &plain("v", 30)), NEW);
        dedupe.confirm(LogOffset(20));
        index.apply(&tail).unwrap();
        dedupe.forget(LogOffset(20));
        assert_eq!(admit(&mut dedupe, &plain("v", 900)), Novelty::Repeat);
    }

    #[test]
    fn many_vehicles_do_not_drive_out_what_the_index_does_not_show_yet() {
        let (index, mut dedupe) = started(&[]);
        assert_eq!(admit(&mut dedupe, &plain("v", 50)), NEW);
        dedupe.confirm(LogOffset(1));
        for number in 0..40 {
            let other = plain(&format!("other{number}"), 1);
            assert_eq!(admit(&mut dedupe, &other), NEW);
            dedupe.confirm(LogOffset(2 + number));
        }
        assert_eq!(admit(&mut dedupe, &plain("v", 30)), LATE);
        index.apply(&[plain("v", 50)]).unwrap();
        dedupe.forget(LogOffset(1));
        assert_eq!(admit(&mut dedupe, &plain("v", 50)), Novelty::Repeat);
    }

    #[test]
    fn a_key_that_was_not_made_durable_is_free_again() {
        let (_, mut dedupe) = started(&[]);
        assert_eq!(admit(&mut dedupe, &plain("v", 50)), NEW);
        dedupe.withdraw();
        assert_eq!(admit(&mut dedupe, &plain("v", 50)), NEW);
        dedupe.confirm(LogOffset(1));
        dedupe.withdraw();
        assert_eq!(admit(&mut dedupe, &plain("v", 50)), Novelty::Repeat);
    }
}
