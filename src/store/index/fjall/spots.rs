//! The keys of a vehicle's records without the records: what tells repeats apart reads ahead with it.
//!
//! Large records cost no more than small ones here, which matters since devices may ask for it as fast as
//! they can repeat themselves. Must not know what the keys are for.

use std::collections::VecDeque;

use ::fjall::{Keyspace, Readable as _, Snapshot};

use super::{
    FjallIndex,
    lane::put_spots,
    read::{Bounds, Rows},
};
use crate::store::index::{IndexError, RangeQuery, SpotPage, block::Spot, rows};

impl FjallIndex {
    /// See [`crate::store::index::Index::spots`].
    pub(super) fn read_spots(
        &self,
        query: &RangeQuery,
        limit: usize,
    ) -> Result<SpotPage, IndexError> {
        let Some(bounds) = Bounds::of(query) else {
            return Ok(SpotPage::none());
        };
        let (mut staged, snapshot) = {
            let stage = self.staged();
            let staged = match stage.vehicle(&query.vehicle) {
                Some(staged) => staged.read_spots(query.kind, (bounds.from, bounds.to), limit)?,
                None => Default::default(),
            };
            (staged, self.database.snapshot())
        };
        let first = query.after.map(|(time, _)| time).max(query.from);
        let months = self.months_between(first, query.to);
        let future = VecDeque::from([self.future.clone()]);
        let mut end = staged.1;
        let mut spots = std::mem::take(&mut staged.0);
        for keyspaces in [months, future] {
            let read = read_rows(&snapshot, keyspaces, &bounds, limit, &mut spots)?;
            end = least(end, read);
        }
        spots.sort_unstable();
        spots.dedup();
        if let Some(end) = end {
            spots.truncate(spots.partition_point(|spot| *spot <= end));
        }
        let is_cut = spots.len() > limit;
        spots.truncate(limit);
        Ok(SpotPage {
            is_whole: end.is_none() && !is_cut,
            spots,
        })
    }
}

fn least(one: Option<Spot>, other: Option<Spot>) -> Option<Spot> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Appends the spots of rows, one keyspace after the other, until there are `limit` or as many rows were
/// looked at; up to where all are there; `None`: to the end.
fn read_rows(
    snapshot: &Snapshot,
    keyspaces: VecDeque<Keyspace>,
    bounds: &Bounds,
    limit: usize,
    into: &mut Vec<Spot>,
) -> Result<Option<Spot>, IndexError> {
    let n_before = into.len();
    let mut n_rows_left = limit;
    for keyspace in keyspaces {
        let mut rows = Rows::new(snapshot.range::<&[u8], _>(&keyspace, bounds.keys()));
        while let Some((key, value)) = rows.next_row()? {
            // A further row of a large record; the first row of all is none.
            if let Some(moment) = rows::moment_of(&key)? {
                let at = (moment.time, moment.hash);
                put_spots((at, &value), |spot| bounds.holds(spot), into)?;
                if bounds.to.is_some_and(|to| at >= to) {
                    break;
                }
            }
            n_rows_left = n_rows_left.saturating_sub(1);
            let is_enough = into.len() - n_before >= limit || n_rows_left == 0;
            if is_enough && let Some(last) = into.get(n_before..).and_then(<[Spot]>::last) {
                return Ok(Some(*last));
            }
        }
    }
    Ok(None)
}
