//! An index that is switched off: it takes nothing and knows nothing.
//!
//! For measurements of all that lies before the index. Without it repeats are found only where a
//! vehicle's newest fix is remembered, and no question has an answer, so no node should run so.

use super::{Index, IndexError, RangeQuery, Removed, ScanPage, ScanQuery, SpotPage};
use crate::{
    store::{
        log::LogOffset,
        retention::{Age, Horizon},
    },
    types::{
        ids::VehicleId,
        record::{Kind, Record, RecordKey},
    },
};

/// No index.
#[derive(Debug, Default)]
pub struct NoIndex;

impl Index for NoIndex {
    fn takes_records(&self) -> bool {
        false
    }

    fn persisted(&self) -> LogOffset {
        LogOffset::default()
    }

    fn apply(&self, _records: &[Record]) -> Result<(), IndexError> {
        Ok(())
    }

    fn persist(&self, applied: LogOffset) -> Result<LogOffset, IndexError> {
        Ok(applied)
    }

    fn contains(&self, _kind: Kind, _key: &RecordKey) -> Result<bool, IndexError> {
        Ok(false)
    }

    fn has_future(&self, _vehicle: &VehicleId) -> Result<bool, IndexError> {
        Ok(false)
    }

    fn last(&self, _vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        Ok(None)
    }

    fn vehicles(
        &self,
        _after: Option<&VehicleId>,
        _limit: usize,
    ) -> Result<Vec<Record>, IndexError> {
        Ok(Vec::new())
    }

    fn range(&self, _query: &RangeQuery, _limit: usize) -> Result<Vec<Record>, IndexError> {
        Ok(Vec::new())
    }

    fn spots(&self, _query: &RangeQuery, _limit: usize) -> Result<SpotPage, IndexError> {
        Ok(SpotPage::none())
    }

    fn scan(&self, _query: &ScanQuery, _limit: usize) -> Result<ScanPage, IndexError> {
        Ok(ScanPage {
            records: Vec::new(),
            next: None,
        })
    }

    fn age(&self) -> Result<Option<Age>, IndexError> {
        Ok(None)
    }

    fn note_age(&self, _age: &Age) -> Result<(), IndexError> {
        Ok(())
    }

    fn remove_past(&self, _horizon: &Horizon) -> Result<Removed, IndexError> {
        Ok(Removed {
            n_months: 0,
            is_complete: true,
        })
    }
}
