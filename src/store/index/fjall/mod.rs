//! The index on disk: fjall, a keyspace for each month.
//!
//! How rows look stands in [`super::rows`]. [`Index::apply`] puts records into memory only
//! ([`stage`]), where those of a vehicle gather and are packed into blocks; questions look there too.
//! When they take too much memory, or at [`Index::persist`], they are written ([`flush`]): into tables at
//! once ([`tables`]) the months of which much waits, the rest in batches, each synced in fjall's journal. A
//! process that ends before loses them, and applies them again from the log. `persist` then syncs what else there is, writes the offset, and
//! syncs once more: keyspaces go to tables of their own whenever they are full, so an offset that was
//! written before its rows were synced could outlive them. Last it notes how far the journals go
//! ([`sound`]).
//!
//! This file must not know how the log is laid out, or who asks.

mod failure;
mod flush;
mod lane;
mod memtables;
mod months;
mod newest;
mod output;
mod pace;
mod read;
mod retention;
mod scan;
mod settings;
mod sound;
mod spots;
mod stage;
mod tables;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};

use self::{
    failure::backend,
    lane::only_position,
    months::Months,
    newest::NewestCache,
    read::{Rows, keys_from, newer},
    retention::Sweep,
    settings::{month_options, options},
    sound::{Found, Journals},
    stage::Stage,
};
use crate::{
    store::{
        index::{
            Examination, Index, IndexError, RangeQuery, Removed, ScanPage, ScanQuery, SpotPage,
            age_row,
            block::spot_of,
            rows::{self, RowValue, RowWriter},
        },
        log::LogOffset,
        retention::{Age, Horizon},
    },
    types::{
        ids::VehicleId,
        record::{Flags, Kind, Record, RecordKey},
    },
};

const LAYOUT_ROW: &str = "layout";
const APPLIED_ROW: &str = "applied";
const AGE_ROW: &str = "age";

/// Least that fjall takes for [`IndexConfig::journal_bytes`].
const JOURNAL_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Fewest open files that fjall works with.
const OPEN_FILES_MIN: usize = 10;

/// How much memory and how many threads the index may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexConfig {
    /// Blocks of tables kept in memory, in bytes; reads are faster with more. Default 8 MiB.
    pub cache_bytes: u64,
    /// Rows of one month kept in memory before they become a table, in bytes, half as much for last
    /// positions; fewer and larger tables with more, and more to read at the next start. Holds for
    /// keyspaces made from now on. Default 3 MiB.
    pub memtable_bytes: u64,
    /// The same for all months together, in bytes. While tables are merged, up to twice as much waits
    /// to be written. Default 6 MiB.
    pub memtables_bytes: u64,
    /// Records kept in memory before they become rows, in bytes, about; the more there are of a
    /// vehicle the fewer rows they take. Default 6 MiB.
    pub stage_bytes: u64,
    /// Size of fjall's closed journals, in bytes, from which keyspaces with old rows in memory are
    /// made to write them; the next start reads journals of up to about this size and 64 MiB more.
    /// At least 64 MiB, which is the default.
    pub journal_bytes: u64,
    /// Size of what waits of a month, in bytes, from which it becomes a table at once, without fjall's
    /// journal and its memory. Default 256 KiB.
    pub table_bytes: u64,
    /// Threads that write and merge tables; at least 1. Default 1.
    pub worker_threads: usize,
    /// Tables kept open; at least 10. Default 256.
    pub open_files: usize,
    /// Vehicles whose last position's key is kept in memory, so that their next one needs no read;
    /// about 60 bytes each if two hash tables are just full with them. Default 57,344.
    pub newest_vehicles: usize,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 8 * 1024 * 1024,
            memtable_bytes: 3 * 1024 * 1024,
            memtables_bytes: 6 * 1024 * 1024,
            stage_bytes: 6 * 1024 * 1024,
            journal_bytes: JOURNAL_BYTES_MIN,
            table_bytes: 256 * 1024,
            worker_threads: 1,
            open_files: 256,
            newest_vehicles: 57_344,
        }
    }
}

/// An [`Index`] in a folder of its own.
pub struct FjallIndex {
    folder: PathBuf,
    config: IndexConfig,
    database: Database,
    meta: Keyspace,
    last: Keyspace,
    future: Keyspace,
    months: RwLock<Months>,
    /// The lock is held for the whole of an `apply`, and taken before that of `stage`.
    writing: Mutex<Writing>,
    stage: RwLock<Stage>,
    persisted: AtomicU64,
    sweep: Mutex<Sweep>,
    /// What was read back of the journals.
    journals: Mutex<Journals>,
}

/// What one [`Index::apply`] hands on to the next.
struct Writing {
    newest: NewestCache,
    /// Written in batches since fjall was last made to look at its journals.
    journal_bytes: u64,
}

impl fmt::Debug for FjallIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FjallIndex")
            .field("persisted", &self.persisted)
            .finish_non_exhaustive()
    }
}

impl FjallIndex {
    /// Opens the index in the folder `path`, or makes an empty one there. Reads fjall's journals
    /// again; the figures stand in the page of [`crate::store::index`]. Before that its files are
    /// checked.
    ///
    /// # Errors
    /// [`IndexError::Layout`] if another version of the program wrote it, [`IndexError::Damaged`]
    /// if its files are not what was written or its own rows cannot be read, [`IndexError::Backend`] if fjall cannot open it (also when
    /// another process has it open).
    pub fn open(path: &Path, config: IndexConfig) -> Result<Self, IndexError> {
        let found = sound::check(path)?;
        Self::open_checked(path, config, found).map_err(|error| match error {
            IndexError::Backend(_) | IndexError::Damaged(_) => sound::blame(path).unwrap_or(error),
            other => other,
        })
    }

    /// Opens an index whose files are what was written, as far as that was looked for.
    fn open_checked(path: &Path, config: IndexConfig, found: Found) -> Result<Self, IndexError> {
        let database = Database::builder(path)
            .cache_size(config.cache_bytes)
            .max_journaling_size(config.journal_bytes.max(JOURNAL_BYTES_MIN))
            .max_cached_files(Some(config.open_files.max(OPEN_FILES_MIN)))
            .worker_threads(config.worker_threads.max(1))
            .open()
            .map_err(backend)?;
        let meta = open_meta(&database, &config)?;
        let persisted = match meta.get(APPLIED_ROW).map_err(backend)? {
            Some(value) => u64::from_be_bytes(rows::number_of(APPLIED_ROW, &value)?),
            None => 0,
        };
        let open = |name: &str, options: KeyspaceCreateOptions| {
            database.keyspace(name, || options).map_err(backend)
        };
        let mut months = Months::new();
        for name in database.list_keyspace_names() {
            if let Some(month) = rows::month_of_name(&name) {
                months.insert(month, open(&name, month_options(&config))?);
            }
        }
        let last = open("last", options(&config, true))?;
        let future = open("future", options(&config, false))?;
        found.check_tables(months.values().chain([&meta, &last, &future]))?;
        let index = Self {
            folder: path.to_owned(),
            last,
            future,
            months: RwLock::new(months),
            writing: Mutex::new(Writing {
                newest: NewestCache::new(config.newest_vehicles),
                journal_bytes: 0,
            }),
            stage: RwLock::default(),
            persisted: AtomicU64::new(persisted),
            sweep: Mutex::default(),
            journals: Mutex::new(found.journals),
            meta,
            database,
            config,
        };
        index.finish_keyspaces(found.finished.as_ref())?;
        Ok(index)
    }

    /// What waits to be written.
    fn staged(&self) -> RwLockReadGuard<'_, Stage> {
        self.stage.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged_mut(&self) -> RwLockWriteGuard<'_, Stage> {
        self.stage.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that waits.
    fn flush_waiting(&self) -> Result<(), IndexError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.flush(&mut writing)
    }

    /// Writes records whose time is not believed yet.
    fn put_future(&self, records: &[&Record]) -> Result<(), IndexError> {
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), records.len())
            .durability(Some(PersistMode::Buffer));
        let mut writer = RowWriter::default();
        for record in records {
            writer.record(record, |key, value| batch.insert(&self.future, key, value));
        }
        batch.commit().map_err(backend)
    }

    /// The last position of a vehicle that is written.
    fn last_on_disk(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        let snapshot = self.database.snapshot();
        let key = rows::last_key(vehicle);
        let Some(value) = snapshot.get(&self.last, &key).map_err(backend)? else {
            return Ok(None);
        };
        let record = match RowValue::parse(&value)? {
            RowValue::Block(block) => only_position(block, vehicle)?,
            RowValue::Record(first) => first.assemble(|number| {
                let key = rows::further_key(&key, number);
                let value = snapshot.get(&self.last, key).map_err(backend)?;
                value.ok_or_else(|| missing_row(vehicle.as_str(), number))
            })?,
        };
        Ok(Some(record))
    }

    /// Notes how far the journals go, all of which is synced.
    fn seal(&self) -> Result<(), IndexError> {
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        journals.seal(&self.folder)
    }
}

impl Index for FjallIndex {
    fn persisted(&self) -> LogOffset {
        LogOffset(self.persisted.load(Ordering::Acquire))
    }

    fn apply(&self, records: &[Record]) -> Result<(), IndexError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut future, mut run) = (Vec::new(), Vec::new());
        let mut stage = self.staged_mut();
        for records in records.chunk_by(|one, next| one.key.vehicle == next.key.vehicle) {
            run.clear();
            for record in records {
                let is_future = record.flags.contains(Flags::FUTURE);
                if is_future { &mut future } else { &mut run }.push(record);
            }
            // What comes late within its lane is kept apart, and looked for one by one when it is
            // written: events of one moment come in any order of their hashes.
            run.sort_by_key(|record| spot_of(record));
            stage.put(&run)?;
        }
        let is_full = stage.n_bytes() >= self.config.stage_bytes;
        drop(stage);
        if !future.is_empty() {
            self.put_future(&future)?;
        }
        if is_full {
            self.flush(&mut writing)?;
        }
        Ok(())
    }

    fn persist(&self, applied: LogOffset) -> Result<LogOffset, IndexError> {
        self.flush_waiting()?;
        self.database
            .persist(PersistMode::SyncAll)
            .map_err(backend)?;
        self.meta
            .insert(APPLIED_ROW, applied.0.to_be_bytes())
            .map_err(backend)?;
        self.database
            .persist(PersistMode::SyncAll)
            .map_err(backend)?;
        self.seal()?;
        self.persisted.store(applied.0, Ordering::Release);
        Ok(applied)
    }

    fn contains(&self, kind: Kind, key: &RecordKey) -> Result<bool, IndexError> {
        let spot = (key.time, key.hash);
        if let Some(staged) = self.staged().vehicle(&key.vehicle)
            && staged.contains(kind, spot)?
        {
            return Ok(true);
        }
        if let Some(month) = self.month(key.time.month()) {
            let keys = keys_from(&key.vehicle, kind, spot);
            if Rows::new(month.range(keys)).next_has(spot)? {
                return Ok(true);
            }
        }
        let row = rows::record_key(kind, key);
        self.future.contains_key(&row).map_err(backend)
    }

    fn has_future(&self, vehicle: &VehicleId) -> Result<bool, IndexError> {
        // A vehicle's rows begin with the key of its row in `last`.
        match self.future.prefix(rows::last_key(vehicle)).next() {
            Some(row) => row.key().map(|_| true).map_err(backend),
            None => Ok(false),
        }
    }

    fn last(&self, vehicle: &VehicleId) -> Result<Option<Record>, IndexError> {
        let staged = match self.staged().vehicle(vehicle) {
            Some(staged) => staged.newest_record(vehicle)?,
            None => None,
        };
        Ok(newer(self.last_on_disk(vehicle)?, staged))
    }

    fn vehicles(&self, after: Option<&VehicleId>, limit: usize) -> Result<Vec<Record>, IndexError> {
        self.read_vehicles(after, limit)
    }

    fn range(&self, query: &RangeQuery, limit: usize) -> Result<Vec<Record>, IndexError> {
        self.read_range(query, limit)
    }

    fn spots(&self, query: &RangeQuery, limit: usize) -> Result<SpotPage, IndexError> {
        self.read_spots(query, limit)
    }

    fn scan(&self, query: &ScanQuery, limit: usize) -> Result<ScanPage, IndexError> {
        self.read_scan(query, limit)
    }

    fn age(&self) -> Result<Option<Age>, IndexError> {
        let value = self.meta.get(AGE_ROW).map_err(backend)?;
        value.map(|value| age_row::parse_age(&value)).transpose()
    }

    fn note_age(&self, age: &Age) -> Result<(), IndexError> {
        let value = age_row::age_value(age);
        self.meta.insert(AGE_ROW, value).map_err(backend)
    }

    fn remove_past(&self, horizon: &Horizon) -> Result<Removed, IndexError> {
        self.remove_past_rows(horizon)
    }

    fn examination(&self) -> Option<Examination> {
        let folder = self.folder.clone();
        Some(Box::new(move || {
            sound::read_all(&folder).map_err(|found| match found {
                IndexError::File { .. } => IndexError::InUse {
                    source: Box::new(found),
                    folder,
                },
                other => other,
            })
        }))
    }
}

/// Opens the keyspace `meta`, and checks or writes the version of the layout.
fn open_meta(database: &Database, config: &IndexConfig) -> Result<Keyspace, IndexError> {
    let is_new = database
        .list_keyspace_names()
        .iter()
        .all(|name| &**name == "meta");
    let meta = database
        .keyspace("meta", || options(config, true))
        .map_err(backend)?;
    match meta.get(LAYOUT_ROW).map_err(backend)? {
        Some(value) => {
            let found = u32::from_be_bytes(rows::number_of(LAYOUT_ROW, &value)?);
            let known = rows::LAYOUT;
            if found != known {
                return Err(IndexError::Layout { found, known });
            }
        }
        None if is_new => {
            meta.insert(LAYOUT_ROW, rows::LAYOUT.to_be_bytes())
                .map_err(backend)?;
            database.persist(PersistMode::SyncAll).map_err(backend)?;
        }
        None => return Err(IndexError::Damaged("no layout version".to_owned())),
    }
    Ok(meta)
}

fn missing_row(vehicle: &str, number: u32) -> IndexError {
    IndexError::Damaged(format!("no further row {number} of vehicle {vehicle}"))
}
