//! Keys of the part of the log that the index does not show yet.
//!
//! There may be many, so each takes little: 12 bytes in a list that grows by pieces, and, once one is
//! looked for, six to some twenty in a table of places in the list. Most are never looked for, so what has
//! come since the last time is entered in the table when one is.
//!
//! This file must not know the index.

use std::{collections::VecDeque, ops::Range};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{
    digest::{SEED, VehicleDigest},
    log::LogOffset,
};
use crate::{delivery::frame::RecordHead, types::record::Kind};

/// Keys of one piece of the list.
const PIECE_KEYS: usize = 4_096;

/// A table of which a smaller part than one of so many is in use gives room back.
const PARTS: usize = 8;

/// A record's key and kind in 96 bits: where each of a thousand million records is looked for among a
/// million, the chance that one passes for another is below 1e-13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u32; 3]);

/// The keys of groups that are durable, and of one that is being gathered.
#[derive(Debug, Default)]
pub(super) struct Tail {
    keys: Keys,
    /// Groups that are durable, oldest first.
    groups: VecDeque<Group>,
    /// How many keys they have together; the others are being gathered.
    n_durable: usize,
    /// The places of keys that can be looked for: of the oldest ones.
    entered: HashTable<Place>,
}

#[derive(Debug)]
struct Group {
    /// Where the group ends in the log.
    end: LogOffset,
    n_keys: usize,
}

/// Number of a key, counted from the start on; after the greatest one comes 0.
type Place = u32;

/// A list of keys, in the order of the log, that gives room back at its front.
#[derive(Debug, Default)]
struct Keys {
    pieces: VecDeque<Vec<Key>>,
    /// The place of the first key.
    first: Place,
    /// Where the first key stands in the first piece.
    n_gone: usize,
    n_keys: usize,
}

impl Tail {
    /// Whether a key was pushed and is still held.
    pub(super) fn contains(&mut self, key: Key) -> bool {
        self.enter();
        let is_it = |place: &Place| self.keys.get(*place) == Some(key);
        self.entered.find(key.hash(), is_it).is_some()
    }

    /// Adds a key to the group that is being gathered.
    pub(super) fn push(&mut self, key: Key) {
        self.keys.push(key);
    }

    /// Adds a key that recovery found in a group that ends at `end`.
    pub(super) fn recover(&mut self, end: LogOffset, key: Key) {
        self.keys.push(key);
        self.confirm(end);
    }

    /// The group that was gathered is durable and ends at `end`.
    pub(super) fn confirm(&mut self, end: LogOffset) {
        let n_keys = self.keys.n_keys - self.n_durable;
        self.n_durable = self.keys.n_keys;
        match self.groups.back_mut() {
            Some(group) if group.end == end => group.n_keys += n_keys,
            _ if n_keys == 0 => {}
            _ => self.groups.push_back(Group { end, n_keys }),
        }
    }

    /// The group that was gathered is not durable: its keys are not held any more.
    pub(super) fn withdraw(&mut self) {
        self.leave(self.n_durable..self.entered.len());
        self.keys.truncate(self.n_durable);
    }

    /// The keys of groups that end at `applied` or before are not held any more.
    pub(super) fn forget(&mut self, applied: LogOffset) {
        let mut n_keys = 0;
        while let Some(group) = self.groups.pop_front_if(|group| group.end <= applied) {
            n_keys += group.n_keys;
        }
        self.leave(0..n_keys.min(self.entered.len()));
        self.n_durable -= n_keys;
        self.keys.remove_first(n_keys);
        let n_in_use = self.entered.len().max(PIECE_KEYS);
        if n_in_use < self.entered.capacity() / PARTS {
            let Self { entered, keys, .. } = self;
            entered.shrink_to(n_in_use * 2, |place| keys.hash(*place));
        }
    }

    /// Enters the keys that are not.
    fn enter(&mut self) {
        let Self { entered, keys, .. } = self;
        let n_entered = entered.len();
        entered.reserve(keys.n_keys - n_entered, |place| keys.hash(*place));
        for idx in n_entered..keys.n_keys {
            let place = keys.place(idx);
            entered.insert_unique(keys.hash(place), place, |place| keys.hash(*place));
        }
    }

    /// Takes keys that are entered out of the table.
    fn leave(&mut self, keys: Range<usize>) {
        for idx in keys {
            let place = self.keys.place(idx);
            let entry = self
                .entered
                .find_entry(self.keys.hash(place), |found| *found == place);
            debug_assert!(entry.is_ok(), "each key before the last entered one is");
            if let Ok(entry) = entry {
                entry.remove();
            }
        }
    }
}

impl Keys {
    fn push(&mut self, key: Key) {
        self.n_keys += 1;
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE_KEYS => piece.push(key),
            _ => {
                let mut piece = Vec::with_capacity(PIECE_KEYS);
                piece.push(key);
                self.pieces.push_back(piece);
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "places begin again from 0")]
    const fn place(&self, idx: usize) -> Place {
        self.first.wrapping_add(idx as Place)
    }

    fn get(&self, place: Place) -> Option<Key> {
        let idx = self.n_gone + place.wrapping_sub(self.first) as usize;
        let piece = self.pieces.get(idx / PIECE_KEYS)?;
        piece.get(idx % PIECE_KEYS).copied()
    }

    fn hash(&self, place: Place) -> u64 {
        self.get(place).map_or(0, Key::hash)
    }

    fn remove_first(&mut self, n_keys: usize) {
        self.first = self.place(n_keys);
        self.n_keys -= n_keys;
        self.n_gone += n_keys;
        while self.n_gone >= PIECE_KEYS && self.pieces.pop_front().is_some() {
            self.n_gone -= PIECE_KEYS;
        }
    }

    fn truncate(&mut self, n_keys: usize) {
        let end = self.n_gone + n_keys;
        self.pieces.truncate(end.div_ceil(PIECE_KEYS));
        let n_before = self.pieces.len().saturating_sub(1) * PIECE_KEYS;
        if let Some(piece) = self.pieces.back_mut() {
            piece.truncate(end - n_before);
        }
        self.n_keys = n_keys;
    }
}

impl Key {
    /// The key of a record of the vehicle that `vehicle` is made of.
    pub(super) fn of(vehicle: VehicleDigest, record: &RecordHead) -> Self {
        let kind = u128::from(record.kind == Kind::Event);
        let mut bytes = [0; 32];
        let (front, back) = bytes.split_at_mut(16);
        front.copy_from_slice(&(vehicle.bits() ^ kind).to_le_bytes());
        let moment = u128::from(record.time.0.cast_unsigned()) << 64;
        back.copy_from_slice(&(moment | u128::from(record.hash)).to_le_bytes());
        let digest = xxh3_128_with_seed(&bytes, *SEED);
        Self([0, 32, 64].map(|bits| (digest >> bits) as u32))
    }

    fn hash(self) -> u64 {
        let Self([low, high, _]) = self;
        u64::from(high) << 32 | u64::from(low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn key(number: u32) -> Key {
        // Some share the part that is hashed.
        Key([number / 4, 0, number])
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Push(u32),
        Ask(u32),
        Confirm,
        /// A start finds so many in two groups, or in one that goes on.
        Recover(u32, bool),
        Withdraw,
        /// Up to this part, of eight, of what is durable.
        Forget(u64),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            8 => (1_u32..2_000).prop_map(Deed::Push),
            2 => (0_u32..20_000).prop_map(Deed::Ask),
            2 => Just(Deed::Confirm),
            1 => (1_u32..2_000, any::<bool>()).prop_map(|(n_keys, is_new)| Deed::Recover(n_keys, is_new)),
            1 => Just(Deed::Withdraw),
            2 => (0_u64..=8).prop_map(Deed::Forget),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// `first`: places begin again from 0 meanwhile, or do not.
        #[test]
        fn what_is_held_is_what_was_pushed_and_neither_withdrawn_nor_forgotten(
            deeds in vec(deed(), 1..60),
            first in prop_oneof![Just(0), (Place::MAX - 50_000)..=Place::MAX],
        ) {
            let mut tail = Tail::default();
            tail.keys.first = first;
            let (mut groups, mut current) = (VecDeque::<(u64, Vec<u32>)>::new(), Vec::new());
            let (mut n_pushed, mut end) = (0, 0);
            for deed in deeds {
                match deed {
                    Deed::Push(n_keys) => {
                        for number in n_pushed..n_pushed + n_keys {
                            tail.push(key(number));
                            current.push(number);
                        }
                        n_pushed += n_keys;
                    }
                    Deed::Ask(number) => {
                        let is_held = groups.iter().any(|(_, group)| group.contains(&number))
                            || current.contains(&number);
                        prop_assert_eq!(tail.contains(key(number)), is_held);
                    }
                    Deed::Confirm => {
                        end += 1;
                        tail.confirm(LogOffset(end));
                        groups.push_back((end, std::mem::take(&mut current)));
                    }
                    Deed::Recover(n_keys, is_new) => {
                        // Nothing is being gathered at a start.
                        tail.withdraw();
                        current.clear();
                        if is_new || groups.back().is_none_or(|(last, _)| *last != end) {
                            end += 1;
                            groups.push_back((end, Vec::new()));
                        }
                        for number in n_pushed..n_pushed + n_keys {
                            tail.recover(LogOffset(end), key(number));
                            groups.back_mut().unwrap().1.push(number);
                        }
                        n_pushed += n_keys;
                    }
                    Deed::Withdraw => {
                        tail.withdraw();
                        current.clear();
                    }
                    Deed::Forget(part) => {
                        let applied = end * part / 8;
                        tail.forget(LogOffset(applied));
                        groups.retain(|(end, _)| *end > applied);
                    }
                }
                let n_held = groups.iter().map(|(_, group)| group.len()).sum::<usize>();
                prop_assert_eq!(tail.keys.n_keys, n_held + current.len());
                prop_assert!(tail.keys.pieces.len() <= tail.keys.n_keys / PIECE_KEYS + 2);
            }
        }
    }

    #[test]
    fn a_tail_that_has_become_short_gives_room_back() {
        let mut tail = Tail::default();
        for number in 0..100_000 {
            tail.push(key(number));
        }
        tail.confirm(LogOffset(1));
        tail.push(key(100_000));
        tail.confirm(LogOffset(2));
        assert!(tail.contains(key(99_999)));
        let n_before = tail.entered.capacity();
        tail.forget(LogOffset(1));
        assert!(tail.entered.capacity() < n_before / 5);
        assert_eq!(tail.keys.pieces.len(), 1);
        assert!(!tail.contains(key(99_999)));
        assert!(tail.contains(key(100_000)));
    }
}
