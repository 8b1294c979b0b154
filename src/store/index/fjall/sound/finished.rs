//! Which keyspaces are finished and may have rows: the file `finished`.
//!
//! fjall takes a keyspace without its file `current` for one that was being made when the process
//! ended, and removes it with all that is in it; what the journals have of it is lost then too. So
//! before fjall opens an index each keyspace that is listed must be there. One is listed when its
//! files are durable and before its first row is written, and no more before it is removed: what is
//! not listed was never finished or is half removed, and fjall may do with it as it likes.
//!
//! One line with the number of each, 0 for the one in which fjall keeps their names; then a checksum
//! ([`summed`]):
//!
//! ```text
//! 0
//! 1
//! 4
//! xxh3 8c0a4b1f52d7e690
//! ```
//!
//! An index of an earlier version has no such file, and gets it when it is opened.

use std::{collections::BTreeSet, path::Path};

use ::fjall::Keyspace;

use super::{KEYSPACES, damaged, summed, trees, unreadable};
use crate::store::index::IndexError;

pub(super) const FINISHED: &str = "finished";

/// The keyspace in which fjall keeps the names of the others.
const NAMES: u64 = 0;

/// The keyspaces that are finished, by number.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Finished(BTreeSet<u64>);

impl Finished {
    /// These, and that of their names.
    pub(in super::super) fn of<'a>(keyspaces: impl IntoIterator<Item = &'a Keyspace>) -> Self {
        let numbers = keyspaces.into_iter().map(|keyspace| keyspace.id());
        Self(numbers.chain([NAMES]).collect())
    }

    /// Reads the list; nothing where there is none.
    ///
    /// # Errors
    /// As [`super::check`].
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, IndexError> {
        summed::read(folder, FINISHED, |lines| {
            let numbers = lines.lines().map(|line| line.parse().ok());
            numbers.collect::<Option<_>>().map(Self)
        })
    }

    /// Replaces the list by this, durably.
    ///
    /// # Errors
    /// [`IndexError::Backend`].
    pub(in super::super) fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let lines: String = self.0.iter().map(|number| format!("{number}\n")).collect();
        summed::write(folder, FINISHED, &lines)
    }

    /// Checks that each of them is there.
    ///
    /// # Errors
    /// As [`super::check`]; with the first that is not.
    pub(super) fn check(&self, folder: &Path) -> Result<(), IndexError> {
        let is_there = |path: &Path| path.try_exists().map_err(|error| unreadable(path, &error));
        for number in &self.0 {
            let keyspace = folder.join(KEYSPACES).join(number.to_string());
            let current = keyspace.join(trees::CURRENT);
            for path in [&keyspace, &current] {
                if !is_there(path)? {
                    return Err(damaged(path, 0, "it is missing"));
                }
            }
        }
        Ok(())
    }

    /// Whether the keyspace in this folder is one of them.
    pub(super) fn has(&self, keyspace: &Path) -> bool {
        let name = keyspace.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.parse().ok());
        number.is_some_and(|number| self.0.contains(&number))
    }
}
