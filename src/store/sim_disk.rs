//! A disk in memory for tests: it forgets what was not synced, and fails when told to.
//!
//! Crueller than most real ones. At a power cut any subset of the pages written since the last sync
//! is lost, in any order, and so is any subset of the creations and removals of names and of the
//! changes of length. A sync that fails makes any subset of the pages durable and takes the others
//! for clean, as Linux does: they can be read until the power cut, and no later sync saves them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use super::storage::{Storage, StorageFile};
use crate::base::prng::Prng;

const PAGE_BYTES: usize = 512;

/// A folder on the disk.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

/// A file on the disk.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    id: usize,
}

#[derive(Debug, Clone)]
struct State {
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    prng: Prng,
    /// Operations that change something until one fails, if one shall.
    n_until_failure: Option<u64>,
    /// The same for the one after that.
    n_until_next_failure: Option<u64>,
    n_operations: u64,
    /// Operations until `found` is taken, and how the process ends then.
    end: Option<(u64, End)>,
    /// What the next process finds.
    found: Option<(Box<Self>, End)>,
}

/// How a process ends in the midst of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the power: the disk has what was synced, and by chance more.
    PowerCut,
    /// Killed: what was written can be read, and is still not on the disk.
    Kill,
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    dirty_pages: BTreeSet<usize>,
}

impl SimDisk {
    /// An empty disk whose losses depend on `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            files: Vec::new(),
            prng: Prng::new(seed),
            n_until_failure: None,
            n_until_next_failure: None,
            n_operations: 0,
            end: None,
            found: None,
        })))
    }

    /// What is found after a power cut right now. This disk goes on as if nothing had happened.
    pub(crate) fn after_power_cut(&self) -> Self {
        self.after(End::PowerCut)
    }

    /// What is found when the process ends so right now. This disk goes on as if nothing had
    /// happened.
    pub(crate) fn after(&self, end: End) -> Self {
        let mut state = self.state();
        Self(Arc::new(Mutex::new(state.after(end))))
    }

    /// Lets the process end so before the write, sync, creation or removal that comes after
    /// `n_operations` more: [`SimDisk::found`] says what is found then.
    pub(crate) fn end_after(&self, n_operations: u64, end: End) {
        self.state().end = Some((n_operations, end));
    }

    /// What is found after the end that [`SimDisk::end_after`] set, and which, if it has come.
    pub(crate) fn found(&self) -> Option<(Self, End)> {
        let (found, end) = self.state().found.take()?;
        Some((Self(Arc::new(Mutex::new(*found))), end))
    }

    /// Number of files.
    pub(crate) fn n_files(&self) -> usize {
        self.state().names.len()
    }

    /// Lets the write, sync, creation or removal fail that comes after `n_operations` more.
    pub(crate) fn fail_after(&self, n_operations: u64) {
        self.state().n_until_failure = Some(n_operations);
    }

    /// After that failure, lets another operation fail after `n_operations` more.
    pub(crate) fn fail_again_after(&self, n_operations: u64) {
        self.state().n_until_next_failure = Some(n_operations);
    }

    /// Takes back what [`SimDisk::fail_after`] and [`SimDisk::end_after`] have set.
    pub(crate) fn calm_down(&self) {
        let mut state = self.state();
        state.n_until_failure = None;
        state.n_until_next_failure = None;
        state.end = None;
    }

    /// Writes, syncs, creations and removals so far.
    pub(crate) fn n_operations(&self) -> u64 {
        self.state().n_operations
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn alter(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let id = state.names[name];
        let file = &mut state.files[id];
        change(&mut file.bytes);
        file.synced = file.bytes.clone();
        file.dirty_pages.clear();
    }

    /// A disk of its own with the same content, all of it synced.
    pub(crate) fn copy(&self) -> Self {
        let state = self.state();
        let settle = |file: &Content| Content {
            synced: file.bytes.clone(),
            dirty_pages: BTreeSet::new(),
            ..file.clone()
        };
        Self(Arc::new(Mutex::new(State {
            names: state.names.clone(),
            synced_names: state.names.clone(),
            files: state.files.iter().map(settle).collect(),
            prng: state.prng.clone(),
            n_until_failure: None,
            n_until_next_failure: None,
            n_operations: 0,
            end: None,
            found: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no test panics while it holds the disk")
    }
}

impl State {
    /// What is found after an end right now.
    fn after(&mut self, end: End) -> Self {
        let mut prng = self.prng.split();
        let mut found = Self {
            n_until_failure: None,
            n_until_next_failure: None,
            n_operations: 0,
            end: None,
            found: None,
            ..self.clone()
        };
        if end == End::PowerCut {
            found.names = self.names_after_power_cut(&mut prng);
            found.synced_names = found.names.clone();
            for file in &mut found.files {
                *file = file.after_power_cut(&mut prng);
            }
        }
        found.prng = prng;
        found
    }

    fn names_after_power_cut(&self, prng: &mut Prng) -> BTreeMap<String, usize> {
        let mut names = self.synced_names.clone();
        for (name, id) in &self.names {
            if !names.contains_key(name) && prng.chance(50.0) {
                names.insert(name.clone(), *id);
            }
        }
        for name in self.synced_names.keys() {
            if !self.names.contains_key(name) && prng.chance(50.0) {
                names.remove(name);
            }
        }
        names
    }

    /// Counts an operation that changes something; an error if it is the one to fail.
    fn operation(&mut self) -> io::Result<()> {
        self.n_operations += 1;
        match &mut self.end {
            Some((0, end)) => {
                let end = *end;
                self.end = None;
                self.found = Some((Box::new(self.after(end)), end));
            }
            Some((n_left, _)) => *n_left -= 1,
            None => {}
        }
        match &mut self.n_until_failure {
            Some(0) => {
                self.n_until_failure = self.n_until_next_failure.take();
                Err(io::Error::other("told to fail"))
            }
            Some(n_left) => {
                *n_left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.dirty_pages
            .extend(offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES));
    }

    /// Brings one page to the disk.
    fn settle(&mut self, page: usize) {
        let start = page * PAGE_BYTES;
        let end = (start + PAGE_BYTES).min(self.bytes.len());
        if start < end {
            if self.synced.len() < end {
                self.synced.resize(end, 0);
            }
            self.synced[start..end].copy_from_slice(&self.bytes[start..end]);
        }
    }

    fn after_power_cut(&self, prng: &mut Prng) -> Self {
        let mut survivor = self.clone();
        let synced_bytes = survivor.synced.len();
        for page in std::mem::take(&mut survivor.dirty_pages) {
            if prng.chance(50.0) {
                survivor.settle(page);
            }
        }
        // The new length may be lost though pages behind the old one were written.
        if prng.chance(25.0) {
            survivor.synced.truncate(synced_bytes);
        }
        survivor.bytes = survivor.synced.clone();
        survivor
    }
}

impl Storage for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let id = self.state().names.get(name).copied();
        let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(SimFile {
            disk: self.clone(),
            id,
        })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.state();
        state.operation()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.files.len();
        state.files.push(Content::default());
        state.names.insert(name.to_owned(), id);
        Ok(SimFile {
            disk: self.clone(),
            id,
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operation()?;
        let removed = state.names.remove(name);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operation()?;
        state.synced_names = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl StorageFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let bytes = state.files[self.id]
            .bytes
            .get(usize::try_from(offset).unwrap()..);
        let bytes = bytes.unwrap_or_default();
        let n_bytes = bytes.len().min(buffer.len());
        buffer[..n_bytes].copy_from_slice(&bytes[..n_bytes]);
        Ok(n_bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.operation();
        let n_written = match outcome {
            Ok(()) => bytes.len(),
            Err(_) => usize::try_from(state.prng.below(bytes.len() as u64 + 1)).unwrap(),
        };
        let offset = usize::try_from(offset).unwrap();
        state.files[self.id].write(&bytes[..n_written], offset);
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let outcome = state.operation();
        let file = &mut state.files[self.id];
        for page in std::mem::take(&mut file.dirty_pages) {
            if outcome.is_ok() || state.prng.chance(50.0) {
                file.settle(page);
            }
        }
        outcome
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.id].bytes.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operation()?;
        let file = &mut state.files[self.id];
        file.bytes.resize(usize::try_from(bytes).unwrap(), 0);
        file.synced.truncate(file.bytes.len());
        Ok(())
    }
}
