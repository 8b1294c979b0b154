//! The index: last positions, tracks by range and duplicates, fed from the log in bulk.
//!
//! A trait, so that the simulation can put an ordered map where a node has fjall. Blocking; called
//! from the store's own threads and from blocking tasks. Applying a record twice is the same as
//! applying it once, since after a crash the tail of the log is applied again.
//!
//! # Figures
//!
//! Of [`FjallIndex`] with the defaults of [`IndexConfig`], by `cargo run --release -p load-test --example
//! index_figures`: 1,000,000 positions with 15-digit ids and one attribute, in batches of 5,000,
//! vehicles at random, a `persist` every 20 batches; then the process aborts and another one opens
//! the folder. Two shared cores, ext4; the system's allocator. Several runs, least and most:
//!
//! | records | vehicles | months | processor, all threads | wall | resident | open after the kill |
//! |---|---|---|---|---|---|---|
//! | 1,000,000 | 5,000 | 1 | 4.2-5.1 µs a record | 2.8-5.1 s | 79-108 MiB | 0.15-1.3 s |
//! | 1,000,000 | 5,000 | 12 | 5.2-5.9 µs | 3.7-4.2 s | 82 MiB | 0.2-0.8 s |
//! | 1,000,000 | 5,000 | 60 | 5.0 µs | 4.0 s | 78 MiB | 0.9 s |
//! | 1,000,000 | 200,000 | 1 | 10.9 µs | 9.4 s | 102 MiB | 0.7 s |
//! | 3,000,000 | 5,000 | 1 | 6.8 µs | 11.8 s | 196 MiB | 0.8 s |
//!
//! Of the processor time two fifths are fjall's worker (tables written and merged); of the rest half
//! is the insertion of 1.6 rows a record, as a batch of 5,000 holds 3,160 vehicles. Records in the
//! order of their keys save about a fifth of it; a second worker costs a fifth more (it spins while the
//! first merges). Fleets above `newest_vehicles` pay a read of the last position for each record.
//!
//! The start read 64 to 135 MiB of journals, at about 8 ms a MiB where they were full. Without a bound on what all
//! months hold in memory (`memtables_bytes`) it took 4.5 s and 279 MiB with 60 months.
//!
//! `persist` takes 3-12 ms (most: 71 ms); with one sync in place of two it took as long, within the
//! noise (medians 6.8-8.0 against 5.9-8.8 ms), so it does both and promises the newest offset.
//!
//! `contains` takes 5-9 µs for a record that is there and 2 µs for one that is not, `last` 1.5 µs, a
//! range of 181 records 0.6 ms, a scan 1 µs a record. Right after the start with 3,000,000 records
//! `contains` was seen at 30 µs. Power cuts were not tried, kills only.

mod fjall;
mod map;
mod none;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    store::{
        log::LogOffset,
        retention::{Age, Horizon},
    },
    types::{
        ids::VehicleId,
        record::{Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

pub use self::{
    fjall::{FjallIndex, IndexConfig},
    map::MapIndex,
    none::NoIndex,
};

/// The queryable side of the store.
pub trait Index: Send + Sync + fmt::Debug + 'static {
    /// Whether records need to be read back from the log for [`Index::apply`]; false for one that is
    /// switched off.
    fn takes_records(&self) -> bool {
        true
    }

    /// Up to where the log is known to be in the index on disk: what it says after a power cut.
    /// The log is applied again from here.
    fn persisted(&self) -> LogOffset;

    /// Adds records, each in the place of one with its key if there is one; visible to all questions when this returns, not yet durable. A position whose
    /// flags say [`Flags::FUTURE`](crate::types::record::Flags::FUTURE) is stored apart and never
    /// becomes a last position.
    ///
    /// # Errors
    /// [`IndexError::Backend`]; any part of the records may have been added.
    fn apply(&self, records: &[Record]) -> Result<(), IndexError>;

    /// Makes everything applied durable, then notes that the log is in the index up to `applied`.
    /// Returns the offset that [`Index::persisted`] would say after a power cut right now.
    ///
    /// # Errors
    /// [`IndexError::Backend`]; the index must be opened anew.
    fn persist(&self, applied: LogOffset) -> Result<LogOffset, IndexError>;

    /// Whether a record of this kind with this key is in the index.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn contains(&self, kind: Kind, key: &RecordKey) -> Result<bool, IndexError>;

    /// Whether a vehicle may have records that are flagged
    /// [`Flags::FUTURE`](crate::types::record::Flags::FUTURE).
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn has_future(&self, vehicle: &VehicleId) -> Result<bool, IndexError>;

    /// The last position of a vehicle: greatest by (fix time, received, hash), future ones aside.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn last(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError>;

    /// Last positions in order of vehicle id, strictly after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn vehicles(&self, after: Option<&VehicleId>, limit: usize) -> Result<Vec<Record>, IndexError>;

    /// Records of one vehicle in order of (time, hash), at most `limit`.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError>;

    /// Records of all vehicles, each once, in an order of the index's own that [`ScanCursor`]
    /// continues; at most `limit` (0 is taken as 1). A page may be empty and still have a next one.
    /// Records that are applied while a scan is under way may or may not be in it; all others are.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read, or when the cursor is not of this index's making.
    fn scan(&self, query: &ScanQuery, limit: usize) -> Result<ScanPage, IndexError>;

    /// What was noted about time, if anything was.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn age(&self) -> Result<Option<Age>, IndexError>;

    /// Notes what is known about time, in place of what was; durable with the next
    /// [`Index::persist`].
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    fn note_age(&self, age: &Age) -> Result<(), IndexError>;

    /// Removes a part of what lies behind the horizon: months of which all does, last positions,
    /// future records. To be called again, not at once, until it is complete. A power cut may bring
    /// back what was removed since the last [`Index::persist`]. Only by the thread that applies.
    ///
    /// # Errors
    /// [`IndexError`]; any part may have been removed.
    fn remove_past(&self, horizon: &Horizon) -> Result<Removed, IndexError>;
}

/// What [`Index::remove_past`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Months that are gone.
    pub n_months: u64,
    /// Whether nothing is left behind the horizon.
    pub is_complete: bool,
}

/// Part of one vehicle's records.
#[derive(Debug, Clone)]
pub struct RangeQuery {
    /// Of this vehicle.
    pub vehicle: VehicleId,
    /// Of this kind.
    pub kind: Kind,
    /// Not before.
    pub from: Option<UnixMillis>,
    /// Before.
    pub to: Option<UnixMillis>,
    /// Strictly after this (time, hash).
    pub after: Option<(UnixMillis, u64)>,
}

/// Part of all records.
#[derive(Debug, Clone)]
pub struct ScanQuery {
    /// Of this kind.
    pub kind: Kind,
    /// Not before.
    pub from: Option<UnixMillis>,
    /// Before.
    pub to: Option<UnixMillis>,
    /// Continues after the page that gave this.
    pub after: Option<ScanCursor>,
}

/// A page of a scan.
#[derive(Debug, Clone)]
pub struct ScanPage {
    /// The records; may be empty with a cursor where a filter hid all of them.
    pub records: Vec<Record>,
    /// Where to go on; absent at the end.
    pub next: Option<ScanCursor>,
}

/// Where a scan stopped; opaque to all but the index that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanCursor(pub Vec<u8>);

/// Why the index did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The database behind it failed; what was asked may be half done.
    #[error("the index failed: {0}")]
    Backend(String),
    /// It has failed before and is not back yet. Nothing was done.
    #[error("the index is being opened anew after a failure")]
    Closed,
    /// A row cannot be read as this version writes it: another version, or an altered file.
    #[error("a row of the index is damaged: {0}")]
    Damaged(String),
    /// It cannot be opened, for the reason given.
    #[error(
        "{folder}: {source}; if its files are damaged, restore the whole data folder from a copy of \
         the disk"
    )]
    Folder {
        /// Where it is.
        folder: PathBuf,
        /// Why.
        source: Box<Self>,
    },
    /// The folder holds an index that another version of the program wrote; it was left as it is.
    #[error("the index has layout version {found}, this program reads version {known}")]
    Layout {
        /// The version on disk.
        found: u32,
        /// The version of this program.
        known: u32,
    },
}

impl IndexError {
    /// The same with the folder that it is about.
    #[must_use]
    pub fn in_folder(self, folder: &Path) -> Self {
        Self::Folder {
            folder: folder.to_owned(),
            source: Box::new(self),
        }
    }
}
