//! Whether fjall's files are what was written, asked before fjall reads them.
//!
//! fjall checks each block of a table when it reads it, and each row of a journal. It does not check,
//! as of its version 3.1, what is listed here, and over some of it the process ends or asks for all
//! memory there is, so no error could be told:
//!
//! | file | what fjall takes as it is | what is checked here |
//! |---|---|---|
//! | `version` | nothing | that it is the version that this is written for |
//! | `keyspaces/N/current` | the number of the file that lists the tables | that it is whole ([`trees`]) |
//! | `keyspaces/N/vM` | all of it: the tables of a keyspace | its checksum, which stands in `current` |
//! | `keyspaces/N/tables/T` | the number of sections at its end | the checksum of that list |
//! | `N.jnl` | the order of batches; a bad batch counts as the end | each batch, its order, and where the journal must not end yet ([`journal`], [`seal`]) |
//!
//! What must hold when [`check`] has passed:
//!
//! - What was in a journal when [`Index::persist`](crate::store::index::Index::persist) returned last
//!   is there and is in its order: the file `synced` says how far each journal went then.
//! - Every journal but the newest is whole to its end.
//! - What follows in the newest one may be cut: the log has it. A row that is gone so must not be in
//!   a table of another keyspace, which would know more than its vehicle's last position: no table
//!   holds a batch behind the cut ([`Found::check_tables`]).
//!
//! A file that is missing as a whole is noticed where other files name it; the keyspaces that must be
//! there are named in a file of ours ([`finished`]). Of the journals only the newest is known to be
//! needed. Blocks of tables are left to fjall, since to read all of them would take as long as the index
//! is large: it says that it has met a bad one, not where, and then all tables are read ([`read_all`],
//! [`blocks`]).

mod blocks;
mod finished;
mod journal;
mod seal;
mod summed;
#[cfg(test)]
mod tests;
mod trees;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use ::fjall::{AbstractTree as _, Keyspace};

use self::finished::FINISHED;
pub(super) use self::{finished::Finished, seal::Journals};
use crate::store::index::IndexError;

/// The file that fjall locks.
const LOCK: &str = "lock";
const KEYSPACES: &str = "keyspaces";
const VERSION: &str = "version";
/// What stands in it: a name, and the version of the format.
const KNOWN_VERSION: [u8; 4] = *b"FJL\x03";

/// What a check has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) journals: Journals,
    /// The list of keyspaces; absent where there was none.
    pub(super) finished: Option<Finished>,
    /// The newest journal was cut here.
    cut: Option<Cut>,
}

/// Where the newest journal was cut.
#[derive(Debug)]
struct Cut {
    path: PathBuf,
    position: u64,
    why: &'static str,
    /// The sequence number of what was cut off; if it has none, the least that it can have. None where
    /// nothing is known of that either.
    first: Option<u64>,
}

/// Checks the files of an index that nobody has open, and cuts off what a power cut has left of the
/// newest journal.
///
/// # Errors
/// [`IndexError::File`] with the file and, where it can be told, the offset;
/// [`IndexError::Backend`] if a file cannot be read, or another process has the index open.
pub(super) fn check(folder: &Path) -> Result<Found, IndexError> {
    let lock = match OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.join(LOCK))
    {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_made(folder) => {
            let why = "it is missing; an empty one in its place is enough";
            return Err(damaged(&folder.join(LOCK), 0, why));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(unreadable(&folder.join(LOCK), &error)),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let why = "another process has the index open";
            return Err(IndexError::Backend(why.to_owned()));
        }
        Err(TryLockError::Error(error)) => return Err(unreadable(&folder.join(LOCK), &error)),
    }
    let finished = Finished::read(folder)?;
    if let Some(finished) = &finished {
        finished.check(folder)?;
    }
    if check_version(folder)? == Version::Unborn {
        return Ok(Found::default());
    }
    let has = |keyspace: &Path| finished.as_ref().is_none_or(|listed| listed.has(keyspace));
    trees::check(&folder.join(KEYSPACES), has)?;
    let found = seal::check(folder)?;
    Ok(Found { finished, ..found })
}

/// Whether an index was made in the folder, which begins with its lock.
fn is_made(folder: &Path) -> bool {
    [VERSION, FINISHED]
        .iter()
        .any(|name| folder.join(name).exists())
}

/// Why fjall does not open an index whose files have passed [`check`]: a table that is not what was
/// written, if there is one.
pub(super) fn blame(folder: &Path) -> Option<IndexError> {
    let read = read_all(folder);
    read.err().filter(IndexError::is_damage)
}

/// Reads all tables, of an index that may be open. One that is taken away meanwhile is in others.
///
/// # Errors
/// As [`check`].
pub(super) fn read_all(folder: &Path) -> Result<(), IndexError> {
    trees::read_all(&folder.join(KEYSPACES))
}

/// Whether there is an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Known,
    /// The process ended while it was made, which it has to be again.
    Unborn,
}

/// Checks the version of fjall's format, which fjall writes when the first journal and the folder of
/// keyspaces are there. It would not start over these.
fn check_version(folder: &Path) -> Result<Version, IndexError> {
    let path = folder.join(VERSION);
    let found = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        found => found.map_err(|error| unreadable(&path, &error))?,
    };
    if found == KNOWN_VERSION {
        return Ok(Version::Known);
    }
    let is_begun = !trees::is_empty(&folder.join(KEYSPACES))? || seal::has_batches(folder)?;
    if is_begun || !KNOWN_VERSION.starts_with(&found) {
        let why = "it does not name the version of the format that is known here";
        return Err(damaged(&path, 0, why));
    }
    seal::remove_journals(folder)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(&path, &error)),
        _ => Ok(Version::Unborn),
    }
}

impl Found {
    /// Checks, when fjall has opened it, that no table knows of what was cut off the journal.
    ///
    /// # Errors
    /// [`IndexError::File`].
    pub(super) fn check_tables<'a>(
        &self,
        keyspaces: impl IntoIterator<Item = &'a Keyspace>,
    ) -> Result<(), IndexError> {
        let Some(cut) = &self.cut else {
            return Ok(());
        };
        let newest = keyspaces
            .into_iter()
            .filter_map(|keyspace| keyspace.tree.get_highest_persisted_seqno())
            .max();
        // Tables that were written at once have numbers of their own, between those of batches.
        if cut
            .first
            .zip(newest)
            .is_some_and(|(first, newest)| newest >= first)
        {
            return Err(damaged(&cut.path, cut.position, cut.why));
        }
        Ok(())
    }
}

fn damaged(path: &Path, position: u64, why: &str) -> IndexError {
    IndexError::File {
        file: path.to_owned(),
        position,
        why: why.to_owned(),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> IndexError {
    IndexError::Backend(format!("{}: {error}", path.display()))
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Takes the first bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
