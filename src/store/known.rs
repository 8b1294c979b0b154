//! What is known of vehicles, so that most records need no look at the index.
//!
//! A cache of generations: who is used moves to the youngest one, and a full one is followed by
//! another. Only what the index could say again is forgotten: a generation that was full when the
//! log ended at some offset stays until the index shows the log up to there. So there are two
//! generations, and more only while the index lags.

use std::collections::{HashMap, VecDeque};

use super::{digest::VehicleDigest, log::LogOffset};
use crate::types::time::UnixMillis;

type Vehicles = HashMap<VehicleDigest, Packed, foldhash::fast::RandomState>;

/// What is known of one vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known {
    /// Not older than the newest fix in index and tail, future ones aside; absent if there is none.
    pub(super) newest: Option<UnixMillis>,
    /// Whether any of its records may lie in the future.
    pub(super) has_future: bool,
    /// Whether this covers the index; else only what recovery found in the tail of the log.
    pub(super) is_whole: bool,
}

/// The same in two thirds of the memory.
#[derive(Debug, Clone, Copy)]
struct Packed {
    /// The least number there is: none.
    newest: i64,
    has_future: bool,
    is_whole: bool,
}

/// What is known of which vehicles.
#[derive(Debug)]
pub(super) struct KnownVehicles {
    n_vehicles_max: usize,
    young: Vehicles,
    /// Full generations, youngest first.
    old: VecDeque<Generation>,
}

#[derive(Debug)]
struct Generation {
    vehicles: Vehicles,
    /// Where the log ended when this generation was full; absent while that group is gathered.
    end: Option<LogOffset>,
}

impl Known {
    /// What is known when `other` is known too.
    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            newest: self.newest.max(other.newest),
            has_future: self.has_future || other.has_future,
            is_whole: self.is_whole || other.is_whole,
        }
    }
}

impl From<Known> for Packed {
    fn from(known: Known) -> Self {
        Self {
            newest: known.newest.map_or(i64::MIN, |newest| newest.0),
            has_future: known.has_future,
            is_whole: known.is_whole,
        }
    }
}

impl From<Packed> for Known {
    fn from(packed: Packed) -> Self {
        Self {
            newest: Some(UnixMillis(packed.newest)).filter(|newest| newest.0 > i64::MIN),
            has_future: packed.has_future,
            is_whole: packed.is_whole,
        }
    }
}

impl KnownVehicles {
    /// Nothing is known; a generation holds `n_vehicles_max` vehicles.
    pub(super) fn new(n_vehicles_max: usize) -> Self {
        Self {
            n_vehicles_max,
            young: Vehicles::default(),
            old: VecDeque::new(),
        }
    }

    /// What is known of a vehicle, if anything is. It counts as used now.
    pub(super) fn get(&mut self, vehicle: VehicleDigest) -> Option<Known> {
        if let Some(known) = self.young.get(&vehicle) {
            return Some(Known::from(*known));
        }
        let mut generations = self.old.iter();
        let known =
            generations.find_map(|generation| generation.vehicles.get(&vehicle).copied())?;
        let known = Known::from(known);
        self.put(vehicle, known);
        Some(known)
    }

    /// Notes what is known of a vehicle, in place of what was.
    pub(super) fn put(&mut self, vehicle: VehicleDigest, known: Known) {
        let known = Packed::from(known);
        if let Some(present) = self.young.get_mut(&vehicle) {
            *present = known;
            return;
        }
        if self.young.len() >= self.n_vehicles_max {
            let vehicles = std::mem::take(&mut self.young);
            self.old.push_front(Generation {
                vehicles,
                end: None,
            });
        }
        self.young.insert(vehicle, known);
    }

    /// All records that were noted so far lie below `end` in the log, or nowhere.
    pub(super) fn settle(&mut self, end: LogOffset) {
        for generation in &mut self.old {
            generation.end.get_or_insert(end);
        }
    }

    /// Forgets what the index, which shows the log up to `applied`, could say again.
    pub(super) fn forget(&mut self, applied: LogOffset) {
        while self.old.len() > 1
            && self
                .old
                .back()
                .is_some_and(|generation| generation.end.is_some_and(|end| end <= applied))
        {
            self.old.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::VehicleId;

    fn vehicle(number: usize) -> VehicleDigest {
        VehicleDigest::of(&VehicleId::parse(format!("v{number}").as_bytes()).unwrap())
    }

    #[test]
    fn what_is_known_is_packed_whole() {
        assert_eq!(size_of::<(VehicleDigest, Packed)>(), 32);
        for newest in [None, Some(UnixMillis(-1)), Some(UnixMillis(i64::MAX))] {
            for bits in 0..4 {
                let known = Known {
                    newest,
                    has_future: bits & 1 > 0,
                    is_whole: bits & 2 > 0,
                };
                assert_eq!(Known::from(Packed::from(known)), known);
            }
        }
    }

    fn known(millis: i64) -> Known {
        Known {
            newest: Some(UnixMillis(millis)),
            ..Known::default()
        }
    }

    #[test]
    fn what_the_index_does_not_show_yet_is_not_forgotten() {
        let mut vehicles = KnownVehicles::new(2);
        for number in 0..10 {
            vehicles.put(vehicle(number), known(number as i64));
            vehicles.settle(LogOffset(number as u64 + 1));
        }
        vehicles.forget(LogOffset(0));
        assert_eq!(vehicles.get(vehicle(0)), Some(known(0)));
        vehicles.forget(LogOffset(10));
        assert_eq!(vehicles.get(vehicle(1)), None);
        assert_eq!(vehicles.get(vehicle(9)), Some(known(9)));
    }

    #[test]
    fn what_is_used_stays_as_it_was_noted_last() {
        let mut vehicles = KnownVehicles::new(2);
        vehicles.put(vehicle(0), known(7));
        for number in 1..100 {
            vehicles.put(vehicle(number), known(0));
            vehicles.settle(LogOffset(1));
            vehicles.forget(LogOffset(1));
            assert_eq!(vehicles.get(vehicle(0)), Some(known(7)), "after {number}");
            assert!(vehicles.old.len() <= 2);
        }
    }
}
