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
//! the folder. Two shared cores, ext4; the system's allocator, no optimisation while linking. One run each:
//!
//! | records | vehicles | months | processor, all threads | resident | open after the kill, processor |
//! |---|---|---|---|---|---|
//! | 1,000,000 | 5,000 | 1 | 0.9 µs a record | 12 MiB | 0.01 s |
//! | 3,000,000 | 5,000 | 1 | 0.8 µs | 13 MiB | 0.01 s |
//! | 1,000,000 | 200,000 | 1 | 9.6 µs | 46 MiB | 0.01 s |
//! | 1,000,000 | 5,000 | 12, at random | 9.6 µs | 36 MiB | 0.02 s |
//!
//! With all rows in batches, which fjall writes into a journal and keeps in memory until they are a table,
//! it was 0.8-1.3, 1.1, 11-12 and 8.1 µs in the same order, 39-168 MiB, and 0.1-0.7 s to open, on a busier
//! machine. Over the whole path `load-test bench --load flood100` takes 0.4-0.6 µs a line more with the
//! index than without it.
//!
//! What is paid is a row, so what counts is how many records of a vehicle gather until they are
//! written: 20 in the first two cases, where a row takes about 17, 1 in the third, where each brings a
//! row and a last position. In the fourth each record is late: the block it falls into is read and written anew.
//!
//! `contains` takes 13-16 µs of processor for a record that is there and for one that is not, 20-35 µs
//! where there are many tables: it seeks in each of them, where a key of its own had a filter and took
//! 6-10 and 2 µs. `last` takes 2.3 µs (7.4 µs with 200,000 vehicles), a range of 181 records 0.4 ms, a
//! scan 0.5-0.7 µs a record, 1.6-1.9 µs with 200,000 vehicles or twelve months.
//!
//! # Invariants of [`FjallIndex`]
//!
//! - Each believed record is in memory or on disk, or the same in both for a moment; who looks for it
//!   looks in memory first, and takes a snapshot of the disk before that is emptied.
//! - Blocks of one vehicle, kind and month never overlap. A block stands under its last record's key,
//!   so the first row not before a record is the only one that can hold it, and merging a late
//!   record into a block rewrites that row and removes none.
//! - No believed position is on disk beyond the last position that is there of its vehicle, after a
//!   power cut too. So what is newer than that is appended without a look.
//! - What is in memory only is in the log behind [`Index::persisted`]. Applying it again merges it
//!   with what is there already.

mod age_row;
mod block;
mod fjall;
mod map;
mod none;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
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

    /// Last positions in order of vehicle id, strictly after `after`, at most `limit`; fewer where they
    /// are large, but none only where there are no more.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn vehicles(&self, after: Option<&VehicleId>, limit: usize) -> Result<Vec<Record>, IndexError>;

    /// Records of one vehicle in order of (time, hash), at most `limit`; fewer where they are large, but
    /// none only where there are no more.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError>;

    /// (time, hash) of the records that [`Index::range`] gives, at most `limit`; fewer where they are large,
    /// but none only where there are none.
    ///
    /// # Errors
    /// [`IndexError`] when it cannot be read.
    fn spots(&self, query: &RangeQuery, limit: usize) -> Result<SpotPage, IndexError>;

    /// Records of all vehicles, each once, in order of (vehicle, time, hash); at most `limit` (0 is
    /// taken as 1), continued by [`ScanCursor`]. A page may end early, even empty, and still have a next
    /// one.
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

    /// What reads all that is on the disk, which may take minutes, to find out why it fails; none where
    /// nothing is. It does not hold this index.
    fn examination(&self) -> Option<Examination> {
        None
    }

    /// The file that is behind an error of this index in place of it, if one is known or found within
    /// `patience`. Looking for it begins with this.
    fn blame(&self, error: IndexError, patience: Duration) -> IndexError {
        let _patience = patience;
        error
    }
}

/// Reads all files of an index. Blocking.
///
/// # Errors
/// [`IndexError::InUse`] for the first file that is not what was written.
pub type Examination = Box<dyn FnOnce() -> Result<(), IndexError> + Send>;

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

/// Where records of one vehicle are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotPage {
    /// (time, hash) of each, in order.
    pub spots: Vec<(UnixMillis, u64)>,
    /// Whether there are no further ones.
    pub is_whole: bool,
}

impl SpotPage {
    /// There are none.
    pub const fn none() -> Self {
        Self {
            spots: Vec::new(),
            is_whole: true,
        }
    }
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
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The database behind it failed; what was asked may be half done.
    #[error("the index failed: {0}")]
    Backend(String),
    /// It has failed before and is not back yet. Nothing was done.
    #[error("the index is being opened anew after a failure")]
    Closed,
    /// Something in it is not as this version writes it: another version, or an altered file.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// A file of it is not what was written. Nothing was changed.
    #[error("{} is damaged at byte {position}: {why}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Position in the file, in bytes: behind all that is right, or 0 where that cannot be told.
        position: u64,
        /// What is wrong.
        why: String,
    },
    /// It cannot be opened, for the reason given.
    #[error("{folder}: {source}; {remedy}", remedy = .source.remedy())]
    Folder {
        /// Where it is.
        folder: PathBuf,
        /// Why.
        source: Box<Self>,
    },
    /// A file was found to be damaged while the index was in use. What does not need it is answered.
    #[error(
        "{source}; what needs it is not answered: stop the node and move the folder {} away, it is made \
         anew from the log if that still goes back to its first record; else the node does not start \
         without it: restore the whole data folder from a copy of the disk",
        .folder.display()
    )]
    InUse {
        /// Where the index is.
        folder: PathBuf,
        /// What was found.
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
    /// What may help whoever starts the program.
    const fn remedy(&self) -> &'static str {
        match self {
            Self::Layout { .. } => {
                "start the version of the program that wrote it, or this one with another data folder \
                 (--data DIR)"
            }
            Self::Damaged(_) | Self::File { .. } => {
                "the log no longer has all that was in it: restore the whole data folder from a copy \
                 of the disk, or move that folder away to give up what it holds"
            }
            _ => "if its files are damaged, restore the whole data folder from a copy of the disk",
        }
    }

    /// Whether its files are not what was written, so that opening it again does not help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::File { .. } => true,
            Self::Folder { source, .. } | Self::InUse { source, .. } => source.is_damage(),
            Self::Backend(_) | Self::Closed | Self::Layout { .. } => false,
        }
    }

    /// What has happened, without the folder and what may help.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Folder { source, .. } | Self::InUse { source, .. } => source.cause(),
            _ => self,
        }
    }

    /// The same with the folder that it is about.
    #[must_use]
    pub fn in_folder(self, folder: &Path) -> Self {
        Self::Folder {
            folder: folder.to_owned(),
            source: Box::new(self),
        }
    }
}
