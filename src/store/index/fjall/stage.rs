//! Records that were applied and are not in the database yet.
//!
//! They are lost with the process, and applied again from the log. While they wait, records of one
//! vehicle gather, so that one row takes several of them. Must not know the database.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use super::{
    lane::{Lane, ReadRoom},
    newest::NewestKey,
};
use crate::{
    store::index::{IndexError, block::Spot},
    types::{
        ids::VehicleId,
        record::{Kind, Record},
        time::{Month, UnixMillis},
    },
};

/// Records by vehicle.
#[derive(Debug, Default)]
pub(super) struct Stage {
    vehicles: HashMap<VehicleId, Box<StagedVehicle>, foldhash::fast::RandomState>,
    n_bytes: u64,
    oldest: Option<UnixMillis>,
    scratch: Vec<u8>,
    /// That of the record before, and its times.
    month: Option<(Month, Range<UnixMillis>)>,
}

/// Records of one vehicle.
#[derive(Debug, Default)]
pub(super) struct StagedVehicle {
    /// In the order of kind and month.
    lanes: Vec<Lane>,
    newest: Option<NewestKey>,
    /// The newest position, if another one with its spot, received earlier, has taken its place.
    displaced: Option<Box<Record>>,
}

impl Stage {
    /// Adds records of one vehicle whose times are believed.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if its own bytes cannot be read.
    pub(super) fn put(&mut self, run: &[&Record]) -> Result<(), IndexError> {
        let Some(first) = run.first() else {
            return Ok(());
        };
        let id = &first.key.vehicle;
        let vehicle = match self.vehicles.get_mut(id) {
            Some(vehicle) => vehicle,
            None => self.vehicles.entry(id.clone()).or_default(),
        };
        for record in run {
            let time = record.key.time;
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
            let month = month_of(time, &mut self.month);
            self.n_bytes += vehicle.put(record, month, &mut self.scratch)?;
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.vehicles.is_empty()
    }

    /// About how much memory it takes.
    pub(super) const fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The least time of a record.
    pub(super) const fn oldest(&self) -> Option<UnixMillis> {
        self.oldest
    }

    pub(super) fn vehicle(&self, vehicle: &VehicleId) -> Option<&StagedVehicle> {
        self.vehicles.get(vehicle).map(Box::as_ref)
    }

    /// All vehicles, in no order.
    pub(super) fn vehicles(&self) -> impl Iterator<Item = (&VehicleId, &StagedVehicle)> {
        self.vehicles.iter().map(|(id, staged)| (id, &**staged))
    }

    /// All vehicles in order.
    pub(super) fn sorted(&self) -> Vec<(&VehicleId, &StagedVehicle)> {
        let mut vehicles: Vec<_> = self.vehicles().collect();
        vehicles.sort_unstable_by_key(|(id, _)| *id);
        vehicles
    }

    /// The months whose rows take `n_bytes_min` or more, in order.
    pub(super) fn large_months(&self, n_bytes_min: u64) -> Vec<Month> {
        let mut n_bytes = BTreeMap::<Month, u64>::new();
        for lane in self.vehicles.values().flat_map(|vehicle| &vehicle.lanes) {
            *n_bytes.entry(lane.month).or_default() += lane.n_bytes();
        }
        n_bytes.retain(|_, n_bytes| *n_bytes >= n_bytes_min);
        n_bytes.into_keys().collect()
    }

    /// The newest positions of the first vehicles behind `after`, in order, at most `limit` and about
    /// `n_bytes_max` bytes of them; whether that is all.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if its own bytes cannot be read.
    pub(super) fn newest_behind(
        &self,
        after: Option<&VehicleId>,
        limit: usize,
        n_bytes_max: usize,
    ) -> Result<(Vec<Record>, bool), IndexError> {
        let mut vehicles: Vec<_> = self
            .vehicles
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| *id > after))
            .filter(|(_, staged)| staged.newest.is_some())
            .collect();
        let mut is_whole = true;
        if limit < vehicles.len() {
            vehicles.select_nth_unstable_by_key(limit, |(id, _)| *id);
            vehicles.truncate(limit);
            is_whole = false;
        }
        vehicles.sort_unstable_by_key(|(id, _)| *id);
        let mut records = Vec::with_capacity(vehicles.len());
        let mut n_bytes = 0;
        for (id, staged) in vehicles {
            if n_bytes >= n_bytes_max {
                is_whole = false;
                break;
            }
            let record = staged.newest_record(id)?;
            n_bytes += record.as_ref().map_or(0, Record::memory_bytes);
            records.extend(record);
        }
        Ok((records, is_whole))
    }
}

/// The month of `time`; `latest` is that of the record before.
fn month_of(time: UnixMillis, latest: &mut Option<(Month, Range<UnixMillis>)>) -> Month {
    match latest {
        Some((month, times)) if times.contains(&time) => *month,
        _ => {
            let month = time.month();
            *latest = Some((month, month.start()..month.next().start()));
            month
        }
    }
}

impl StagedVehicle {
    fn put(
        &mut self,
        record: &Record,
        month: Month,
        scratch: &mut Vec<u8>,
    ) -> Result<u64, IndexError> {
        if record.kind() == Kind::Position {
            let key = NewestKey::of(record);
            match self.newest {
                Some(newest) if key < newest => {
                    if key.spot() == newest.spot() && self.displaced.is_none() {
                        let displaced = self.find(&record.key.vehicle, newest.spot())?;
                        self.displaced = displaced.map(Box::new);
                    }
                }
                _ => {
                    self.newest = Some(key);
                    self.displaced = None;
                }
            }
        }
        let lane = self.lane((record.kind(), month));
        Ok(lane.map_or(0, |lane| lane.put(record, scratch)))
    }

    fn lane(&mut self, place: (Kind, Month)) -> Option<&mut Lane> {
        let key = |lane: &Lane| (lane.kind, lane.month);
        let idx = match self.lanes.binary_search_by_key(&place, key) {
            Ok(idx) => idx,
            Err(idx) => {
                // Most vehicles have one, and room for four would take five hundred bytes.
                self.lanes.reserve_exact(1);
                self.lanes.insert(idx, Lane::new(place.0, place.1));
                idx
            }
        };
        self.lanes.get_mut(idx)
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// What orders the newest position.
    pub(super) const fn newest(&self) -> Option<NewestKey> {
        self.newest
    }

    /// The newest position.
    pub(super) fn newest_record(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        match (&self.displaced, self.newest) {
            (Some(record), _) => Ok(Some(Record::clone(record))),
            (None, Some(newest)) => self.find(vehicle, newest.spot()),
            (None, None) => Ok(None),
        }
    }

    /// The value of a row that has the newest position alone, if there is one.
    pub(super) fn newest_value(&self) -> Option<&[u8]> {
        let spot = self.newest.filter(|_| self.displaced.is_none())?.spot();
        let mut lanes = self.lanes.iter();
        let lane = lanes.rfind(|lane| lane.kind == Kind::Position)?;
        lane.value_of_one(spot)
    }

    fn find(&self, vehicle: &VehicleId, spot: Spot) -> Result<Option<Record>, IndexError> {
        let mut found = Vec::new();
        if let Some(lane) = self.lane_of(Kind::Position, spot.0.month()) {
            let mut room = ReadRoom::new(1, usize::MAX);
            lane.read(vehicle, (spot, None), &mut room, &mut found)?;
        }
        Ok(found.pop())
    }

    fn lane_of(&self, kind: Kind, month: Month) -> Option<&Lane> {
        let mut lanes = self.lanes.iter();
        lanes.find(|lane| (lane.kind, lane.month) == (kind, month))
    }

    pub(super) fn contains(&self, kind: Kind, spot: Spot) -> Result<bool, IndexError> {
        match self.lane_of(kind, spot.0.month()) {
            Some(lane) => lane.contains(spot),
            None => Ok(false),
        }
    }

    /// The first records of a kind from `from` up to before `to`, as many as `room` takes, in order.
    pub(super) fn read(
        &self,
        (vehicle, kind): (&VehicleId, Kind),
        spots: (Spot, Option<Spot>),
        room: &mut ReadRoom,
    ) -> Result<Vec<Record>, IndexError> {
        let mut records = Vec::new();
        for lane in self.lanes.iter().filter(|lane| lane.kind == kind) {
            lane.read(vehicle, spots, room, &mut records)?;
        }
        Ok(records)
    }

    /// Spots of a kind from `from` up to before `to`; up to where all are there; `None`: to the end.
    pub(super) fn read_spots(
        &self,
        kind: Kind,
        spots: (Spot, Option<Spot>),
        limit: usize,
    ) -> Result<(Vec<Spot>, Option<Spot>), IndexError> {
        let mut read = Vec::new();
        for lane in self.lanes.iter().filter(|lane| lane.kind == kind) {
            let end = lane.read_spots(spots, limit, &mut read)?;
            if end.is_some() {
                return Ok((read, end));
            }
        }
        Ok((read, None))
    }
}
