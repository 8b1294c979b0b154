//! Exact duplicates out, by the record's key.
//!
//! A key can be in two places: in the index, or in the tail of the log that the index has not
//! applied yet. The tail's keys are held here. Invariant: at every moment each durable key is in the
//! index or in the tail, since a key leaves the tail only after the index shows it.
//!
//! Most records need no look at the index: a fix newer than the newest one the index has of its
//! vehicle cannot be there. Events, future fixes, and fixes of vehicles with future fixes are always
//! looked for, since the newest fix says nothing about them. What is known of vehicles is a cache
//! of two generations: bounded, and refilled from the index.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_128;

use super::{
    index::{Index, IndexError},
    log::LogOffset,
};
use crate::types::{
    ids::VehicleId,
    record::{Flags, Kind, Record},
    time::UnixMillis,
};

/// Vehicles of one generation of the cache; two generations are held.
const VEHICLES_PER_GENERATION: usize = 65_536;

/// 128 bits of a record's key and kind: with a thousand million records the chance that any two
/// of them share it is below 1e-20.
type KeyDigest = u128;

type Hasher = foldhash::fast::RandomState;

/// What is known of one vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Not older than the newest fix in the index, future ones aside; absent if there is none.
    newest: Option<UnixMillis>,
    /// Whether any of its records may lie in the future.
    has_future: bool,
}

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
    tail: HashSet<KeyDigest, Hasher>,
    /// Keys of the tail by the end of the group they lie in, oldest first.
    groups: VecDeque<(LogOffset, Vec<KeyDigest>)>,
    /// Keys of the group that is being gathered.
    current: Vec<KeyDigest>,
    young: HashMap<VehicleId, Known, Hasher>,
    old: HashMap<VehicleId, Known, Hasher>,
}

impl<I: Index> Dedupe<I> {
    pub(crate) fn new(index: Arc<I>) -> Self {
        Self {
            index,
            tail: HashSet::default(),
            groups: VecDeque::new(),
            current: Vec::new(),
            young: HashMap::default(),
            old: HashMap::default(),
        }
    }

    /// Enters a record that recovery found in the tail of the log, in a group that ends at `end`.
    pub(crate) fn recover(&mut self, end: LogOffset, record: &Record) {
        let digest = digest_of(record);
        self.tail.insert(digest);
        match self.groups.back_mut() {
            Some((last, digests)) if *last == end => digests.push(digest),
            _ => self.groups.push_back((end, vec![digest])),
        }
    }

    /// Whether `record` is new; if so, its key is in the tail from now on.
    pub(crate) fn admit(&mut self, record: &Record) -> Result<Novelty, IndexError> {
        let digest = digest_of(record);
        if self.tail.contains(&digest) {
            return Ok(Novelty::Repeat);
        }
        let known = self.known(&record.key.vehicle)?;
        let is_future = record.flags.contains(Flags::FUTURE);
        let is_fix = record.kind() == Kind::Position;
        let is_newer = known.newest.is_none_or(|newest| record.key.time > newest);
        let is_surely_new = is_fix && is_newer && !is_future && !known.has_future;
        if !is_surely_new && self.index.contains(record.kind(), &record.key)? {
            return Ok(Novelty::Repeat);
        }
        self.tail.insert(digest);
        self.current.push(digest);
        if is_future && !known.has_future {
            self.remember(
                &record.key.vehicle,
                Known {
                    has_future: true,
                    ..known
                },
            );
        } else if is_fix && is_newer && !is_future {
            let newest = Some(record.key.time);
            self.remember(&record.key.vehicle, Known { newest, ..known });
        }
        let is_late = is_fix && known.newest.is_some_and(|newest| record.key.time < newest);
        Ok(Novelty::New { is_late })
    }

    /// The records admitted since the last call are durable in a group that ends at `end`.
    pub(crate) fn confirm(&mut self, end: LogOffset) {
        if !self.current.is_empty() {
            self.groups
                .push_back((end, std::mem::take(&mut self.current)));
        }
    }

    /// The records admitted since the last call were not made durable: their keys are free again.
    pub(crate) fn withdraw(&mut self) {
        for digest in self.current.drain(..) {
            self.tail.remove(&digest);
        }
    }

    /// The index shows everything up to `applied`: those keys need not be held any more.
    pub(crate) fn forget(&mut self, applied: LogOffset) {
        while let Some((_, digests)) = self.groups.pop_front_if(|(end, _)| *end <= applied) {
            for digest in digests {
                self.tail.remove(&digest);
            }
        }
    }

    fn known(&mut self, vehicle: &VehicleId) -> Result<Known, IndexError> {
        if let Some(known) = self.young.get(vehicle) {
            return Ok(*known);
        }
        let known = match self.old.get(vehicle) {
            Some(known) => *known,
            None => Known {
                newest: self.index.last(vehicle)?.map(|record| record.key.time),
                has_future: self.index.has_future(vehicle)?,
            },
        };
        self.remember(vehicle, known);
        Ok(known)
    }

    fn remember(&mut self, vehicle: &VehicleId, known: Known) {
        if let Some(present) = self.young.get_mut(vehicle) {
            *present = known;
            return;
        }
        if self.young.len() >= VEHICLES_PER_GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(vehicle.clone(), known);
    }
}

fn digest_of(record: &Record) -> KeyDigest {
    let mut bytes = [0_u8; 17 + crate::types::ids::VEHICLE_ID_BYTES_MAX];
    let kind = [u8::from(record.kind() == Kind::Event)];
    let parts: [&[u8]; 4] = [
        &kind,
        &record.key.time.0.to_le_bytes(),
        &record.key.hash.to_le_bytes(),
        record.key.vehicle.as_str().as_bytes(),
    ];
    let mut n_bytes = 0;
    for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
        n_bytes += 1;
    }
    xxh3_128(bytes.get(..n_bytes).unwrap_or_default())
}
