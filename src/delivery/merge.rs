//! Answers of several nodes made into one. Pure: it must not know where records come from, or when.
//!
//! Each source gives records in one strict order, and the merge gives them in that order, those that belong
//! together side by side: the copies of one record, or the last positions of one vehicle.
//!
//! What counts:
//! - Of two copies of a record one that was believed counts before one that lay in the future when
//!   it came, then the one that was received first, then the smaller bytes.
//! - Of the last positions of a vehicle the one with the greatest fix time counts, of those the one
//!   received last, then the greater hash: as in the index of one node. Reception is that of the copy
//!   that counts, and a node tells only of its own last position. So where several nodes have one of the
//!   same time and do not agree, all positions of that time must be looked at.

use std::{cmp::Ordering, collections::VecDeque};

use super::frame::encode_record;
use crate::types::{
    ids::VehicleId,
    record::{Flags, Record, RecordKey},
    time::UnixMillis,
};

/// What records are ordered by, and which of them belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One of each source and vehicle.
    Vehicle,
    /// Vehicle, time, hash: those of one key are copies.
    Key,
}

/// Sources whose records become one stream.
#[derive(Debug)]
pub struct Merge {
    order: Order,
    lanes: Vec<Lane>,
}

/// What a merge says when it is asked for the next records that belong together.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// They were given.
    Group,
    /// First this source must give records, or end.
    Wants(usize),
    /// All sources have ended.
    Over,
}

/// A source broke its order; nothing of it can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its records were not in their order")]
pub struct Disorder;

/// One of the records that belong together, with the number of its source.
pub type Sourced = (usize, Record);

/// Which of the last positions of a vehicle counts.
#[derive(Debug, PartialEq)]
pub enum Newest {
    /// This one.
    Sure(Record),
    /// That is told by all positions of this time that these sources have.
    Tied {
        /// Whose they are.
        vehicle: VehicleId,
        /// When.
        time: UnixMillis,
        /// Numbers of the sources that have one.
        sources: Vec<usize>,
    },
}

#[derive(Debug, Default)]
struct Lane {
    records: VecDeque<Record>,
    /// Key of the last one that it ever had.
    last: Option<RecordKey>,
    is_over: bool,
}

impl Merge {
    /// A merge of so many sources.
    pub fn new(order: Order, n_sources: usize) -> Self {
        let lanes = std::iter::repeat_with(Lane::default);
        Self {
            order,
            lanes: lanes.take(n_sources).collect(),
        }
    }

    /// Takes further records of a source. Those of one that has ended are not taken.
    ///
    /// # Errors
    /// [`Disorder`]; nothing was taken.
    pub fn push(&mut self, source: usize, records: Vec<Record>) -> Result<(), Disorder> {
        let order = self.order;
        let Some(lane) = self.lanes.get_mut(source).filter(|lane| !lane.is_over) else {
            return Ok(());
        };
        let before = lane.last.iter();
        let keys = before.chain(records.iter().map(|record| &record.key));
        if !keys.is_sorted_by(|one, other| order.compare(one, other).is_lt()) {
            return Err(Disorder);
        }
        if let Some(last) = records.last() {
            lane.last = Some(last.key.clone());
        }
        lane.records.extend(records);
        Ok(())
    }

    /// A source has ended, whole or not; what it gave stays.
    pub fn end(&mut self, source: usize) {
        if let Some(lane) = self.lanes.get_mut(source) {
            lane.is_over = true;
        }
    }

    /// Puts the next records that belong together into `group`, in the order of their sources.
    pub fn next(&mut self, group: &mut Vec<Sourced>) -> Next {
        group.clear();
        let mut least: Option<(usize, &RecordKey)> = None;
        for (number, lane) in self.lanes.iter().enumerate() {
            let Some(record) = lane.records.front() else {
                if lane.is_over {
                    continue;
                }
                return Next::Wants(number);
            };
            let key = &record.key;
            if least.is_none_or(|(_, least)| self.order.compare(key, least).is_lt()) {
                least = Some((number, key));
            }
        }
        let Some(least) = least.map(|(number, _)| number) else {
            return Next::Over;
        };
        for (number, lane) in self.lanes.iter_mut().enumerate().skip(least) {
            let belongs = |record: &Record| {
                let first = group.first();
                first.is_none_or(|(_, first): &Sourced| {
                    self.order.compare(&record.key, &first.key).is_eq()
                })
            };
            if let Some(record) = lane.records.pop_front_if(|record| belongs(record)) {
                group.push((number, record));
            }
        }
        Next::Group
    }
}

impl Order {
    fn compare(self, one: &RecordKey, other: &RecordKey) -> Ordering {
        match self {
            Self::Vehicle => one.vehicle.cmp(&other.vehicle),
            Self::Key => one.cmp(other),
        }
    }
}

/// The copy that counts; none of none.
pub fn first_copy(group: &mut Vec<Sourced>) -> Option<Record> {
    if group.len() == 1 {
        return group.pop().map(|(_, record)| record);
    }
    let copies = group.drain(..).map(|(_, record)| record);
    copies.min_by(compare_copies)
}

/// Which copy counts: the lesser.
fn compare_copies(one: &Record, other: &Record) -> Ordering {
    let is_future = |record: &Record| record.flags.contains(Flags::FUTURE);
    let order = (is_future(one), one.received).cmp(&(is_future(other), other.received));
    order.then_with(|| bytes_of(one).cmp(&bytes_of(other)))
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_record(record, &mut bytes);
    bytes
}

/// The last position of a vehicle, from those of several sources; none of none.
pub fn newest(group: &mut Vec<Sourced>) -> Option<Newest> {
    let time = group.iter().map(|(_, record)| record.key.time).max()?;
    group.retain(|(_, record)| record.key.time == time);
    let (_, first) = group.first()?;
    let rank = last_rank(first);
    let is_agreed = group.iter().all(|(_, record)| last_rank(record) == rank);
    if is_agreed {
        return first_copy(group).map(Newest::Sure);
    }
    Some(Newest::Tied {
        vehicle: first.key.vehicle.clone(),
        time,
        sources: group.iter().map(|(source, _)| *source).collect(),
    })
}

/// The last of the positions of one vehicle and time, each the copy that counts; those in the future
/// left out.
pub fn last_of(positions: impl IntoIterator<Item = Record>) -> Option<Record> {
    let believed = positions
        .into_iter()
        .filter(|record| !record.flags.contains(Flags::FUTURE));
    believed.max_by_key(last_rank)
}

/// What last positions are compared by.
const fn last_rank(record: &Record) -> (UnixMillis, UnixMillis, u64) {
    (record.key.time, record.received, record.key.hash)
}
