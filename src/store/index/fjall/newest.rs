//! A bounded cache of the keys of last positions, so that most new positions need no read.
//!
//! Two generations: what is asked for or written goes to the young one; when that holds half of
//! what may be held, it becomes the old one, and what was in the old one is forgotten. Only
//! what is on disk may be in it.

use std::collections::HashMap;

use crate::{
    store::{digest::VehicleDigest, index::block::Spot},
    types::{ids::VehicleId, record::Record, time::UnixMillis},
};

/// What last positions are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NewestKey {
    time: UnixMillis,
    received: UnixMillis,
    hash: u64,
}

impl NewestKey {
    /// The key of a position.
    pub(super) const fn of(record: &Record) -> Self {
        Self {
            time: record.key.time,
            received: record.received,
            hash: record.key.hash,
        }
    }

    /// The spot of the position.
    pub(super) const fn spot(self) -> Spot {
        (self.time, self.hash)
    }
}

type Generation = HashMap<VehicleDigest, NewestKey, foldhash::fast::RandomState>;

/// The keys of the last positions of some vehicles.
#[derive(Debug)]
pub(super) struct NewestCache {
    young: Generation,
    old: Generation,
    /// Most entries of one generation.
    generation_entries: usize,
}

impl NewestCache {
    /// An empty cache for at most `entries` vehicles, and at least two.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            generation_entries: (entries / 2).max(1),
        }
    }

    /// The key of the last position of a vehicle, if it is known.
    pub(super) fn key_of(&self, vehicle: &VehicleId) -> Option<NewestKey> {
        let vehicle = VehicleDigest::of(vehicle);
        let generations = [&self.young, &self.old];
        let key = generations
            .iter()
            .find_map(|generation| generation.get(&vehicle));
        key.copied()
    }

    /// Notes the key of a last position that is on disk.
    pub(super) fn insert(&mut self, vehicle: &VehicleId, key: NewestKey) {
        let vehicle = VehicleDigest::of(vehicle);
        if let Some(present) = self.young.get_mut(&vehicle) {
            *present = key;
            return;
        }
        if self.young.len() >= self.generation_entries {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&vehicle);
        self.young.insert(vehicle, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vehicle(number: usize) -> VehicleId {
        VehicleId::parse(number.to_string().as_bytes()).unwrap()
    }

    fn key(time: i64) -> NewestKey {
        NewestKey {
            time: UnixMillis(time),
            received: UnixMillis(0),
            hash: 0,
        }
    }

    #[test]
    fn the_cache_is_bounded_and_knows_the_newest_vehicles() {
        let mut cache = NewestCache::new(100);
        for number in 0..1_000 {
            cache.insert(&vehicle(number), key(1));
            assert!(cache.young.len() + cache.old.len() <= 100);
        }
        assert!((950..1_000).all(|number| cache.key_of(&vehicle(number)).is_some()));
        assert_eq!(cache.key_of(&vehicle(0)), None);
    }

    #[test]
    fn a_later_key_replaces_an_earlier_one_of_either_generation() {
        let mut cache = NewestCache::new(4);
        for number in 0..3 {
            cache.insert(&vehicle(number), key(1));
        }
        cache.insert(&vehicle(0), key(2));
        cache.insert(&vehicle(2), key(3));
        assert_eq!(cache.key_of(&vehicle(0)), Some(key(2)));
        assert_eq!(cache.key_of(&vehicle(1)), Some(key(1)));
        assert_eq!(cache.key_of(&vehicle(2)), Some(key(3)));
    }
}
