//! How far the journals went when the index was made durable last: the file `synced`.
//!
//! One line for each journal, with its number, where it ended and the sequence number of its first
//! batch; then a checksum ([`summed`]).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{
    Cut, Found, damaged,
    journal::{Journal, Rest},
    summed, unreadable,
};
use crate::store::index::IndexError;

const SEAL: &str = "synced";

/// What is known of the journals of an index.
#[derive(Debug, Default)]
pub(in super::super) struct Journals(BTreeMap<u64, Journal>);

/// The journals in a folder in their order.
fn journals_in(folder: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            found.insert(number, path);
        }
    }
    Ok(found)
}

impl Journals {
    /// Reads what was written to the journals since they were read last, all of which is synced, and
    /// notes durably how far they go.
    ///
    /// # Errors
    /// [`IndexError::File`] if what is read is not what was written.
    pub(in super::super) fn seal(&mut self, folder: &Path) -> Result<(), IndexError> {
        let paths = journals_in(folder).map_err(|error| unreadable(folder, &error))?;
        self.0.retain(|number, _| paths.contains_key(number));
        for (number, path) in paths {
            let file = match File::open(&path) {
                Ok(file) => file,
                // All of it is in tables by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&path, &error)),
            };
            let journal = self.0.entry(number).or_default();
            let rest = journal.read_on(&file);
            let rest = rest.map_err(|error| unreadable(&path, &error))?;
            if let Some(why) = rest.why() {
                return Err(damaged(&path, journal.end, why));
            }
        }
        let lines = self.0.iter().filter_map(|(number, journal)| {
            let first = journal.first?;
            Some(format!("{number} {} {first}\n", journal.end))
        });
        summed::write(folder, SEAL, &lines.collect::<String>())
    }
}

/// A line of the seal: where a journal ended, and the sequence number of its first batch.
type Sealed = (u64, u64);

/// Reads the seal; nothing where there is none yet.
fn read_seal(folder: &Path) -> Result<BTreeMap<u64, Sealed>, IndexError> {
    let read = summed::read(folder, SEAL, |lines| {
        lines.lines().map(sealed_journal).collect()
    });
    read.map(Option::unwrap_or_default)
}

fn sealed_journal(line: &str) -> Option<(u64, Sealed)> {
    let mut numbers = line.split(' ').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some((next()?, (next()?, next()?)))
}

/// Whether anything was ever written to a journal.
///
/// # Errors
/// One cannot be read.
pub(super) fn has_batches(folder: &Path) -> Result<bool, IndexError> {
    let paths = journals_in(folder).map_err(|error| unreadable(folder, &error))?;
    for path in paths.values() {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let mut journal = Journal::default();
        let rest = journal.read_on(&file);
        let rest = rest.map_err(|error| unreadable(path, &error))?;
        if journal.end > 0 || rest != Rest::Nothing {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the journals.
///
/// # Errors
/// One cannot be removed.
pub(super) fn remove_journals(folder: &Path) -> Result<(), IndexError> {
    let paths = journals_in(folder).map_err(|error| unreadable(folder, &error))?;
    for path in paths.values() {
        fs::remove_file(path).map_err(|error| unreadable(path, &error))?;
    }
    Ok(())
}

/// Checks the journals of an index that was made against the seal, and cuts off what is torn at the
/// end of the newest.
///
/// # Errors
/// As [`super::check`].
pub(super) fn check(folder: &Path) -> Result<Found, IndexError> {
    let sealed = read_seal(folder)?;
    let paths = journals_in(folder).map_err(|error| unreadable(folder, &error))?;
    let newest = paths.keys().next_back().copied();
    // fjall removes journals when all of them is in tables, but for the newest.
    let least = sealed.keys().next_back().copied().unwrap_or(0);
    if newest.is_none_or(|newest| newest < least) {
        let path = folder.join(format!("{least}.jnl"));
        return Err(damaged(&path, 0, "it is missing"));
    }
    let mut found = Found::default();
    let mut last = None;
    for (number, path) in paths {
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|error| unreadable(&path, &error))?;
        let mut journal = Journal {
            last,
            ..Journal::default()
        };
        let rest = journal.read_on(&file);
        let rest = rest.map_err(|error| unreadable(&path, &error))?;
        last = journal.last;
        check_seal(&path, &journal, rest, sealed.get(&number).copied())?;
        if let Some(why) = rest.why() {
            if newest != Some(number) || rest == Rest::Disordered {
                return Err(damaged(&path, journal.end, why));
            }
            let cut = file.set_len(journal.end).and_then(|()| file.sync_all());
            cut.map_err(|error| unreadable(&path, &error))?;
            found.cut = Some(Cut {
                position: journal.end,
                path,
                why,
                first: rest.number().or(last.map(|last| last + 1)),
            });
        }
        found.journals.0.insert(number, journal);
    }
    Ok(found)
}

/// Whether a journal holds all that was in it when it was sealed.
fn check_seal(
    path: &Path,
    journal: &Journal,
    rest: Rest,
    sealed: Option<Sealed>,
) -> Result<(), IndexError> {
    let Some((end, first)) = sealed else {
        return Ok(());
    };
    if journal.end < end {
        let why = rest.why();
        let why = why.unwrap_or("the journal ends before what was made durable");
        return Err(damaged(path, journal.end, why));
    }
    if journal.first != Some(first) {
        return Err(damaged(path, 0, "the first batch is another"));
    }
    Ok(())
}
