//! The tables of the keyspaces, and the lists of them.
//!
//! `current` holds the number M of the list `vM` (`u64`, little-endian), the XXH3 of that file in 128
//! bits, and a zero. Lists and tables end with a list of their sections, and behind that with `SFA!`,
//! two bytes, the XXH3 of that list in 128 bits, its position and its length (`u64` each). What is
//! read here is little-endian.

use std::{
    fs::{self, File},
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_128;

use super::{blocks, damaged, take, unreadable};
use crate::store::index::IndexError;

pub(super) const CURRENT: &str = "current";
const CURRENT_BYTES: usize = 25;
const TABLES: &str = "tables";
const TAIL_BYTES: usize = 38;
const TAIL_MAGIC: [u8; 6] = *b"SFA!\x01\0";
const LIST_MAGIC: [u8; 4] = *b"TOC!";
/// Longest list of sections; that of a table has some names of a few letters.
const SECTIONS_BYTES_MAX: u64 = 64 * 1024;

/// How often the list of a keyspace that changes meanwhile is read again.
const LIST_READS_MAX: usize = 16;

/// Checks each keyspace in the folder that counts: its list, and the ends of its tables.
///
/// # Errors
/// As [`super::check`].
pub(super) fn check(folder: &Path, counts: impl Fn(&Path) -> bool) -> Result<(), IndexError> {
    for table in tables_in(folder, counts)? {
        let sections = File::open(&table.path).and_then(|file| sections_of(&file));
        let sections = sections.map_err(|error| unreadable(&table.path, &error))?;
        sections.map_err(|(position, why)| damaged(&table.path, position, why))?;
    }
    Ok(())
}

/// Reads each table of each keyspace in the folder from end to end, of an index that may be open. A
/// table that is taken away meanwhile is in others.
///
/// # Errors
/// As [`super::check`]; of a damaged table with the first block that is.
pub(super) fn read_all(folder: &Path) -> Result<(), IndexError> {
    for keyspace in entries(folder)? {
        if keyspace.is_dir() {
            for table in settled_tables_of(&keyspace)? {
                read_table(&table)?;
            }
        }
    }
    Ok(())
}

fn read_table(table: &Table) -> Result<(), IndexError> {
    let file = match File::open(&table.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(|error| unreadable(&table.path, &error))?,
    };
    let is_whole = blocks::sum_of(&file).map(|(sum, _)| sum == table.sum);
    if is_whole.map_err(|error| unreadable(&table.path, &error))? {
        return Ok(());
    }
    let wrong = blocks::find_wrong(&file).map_err(|error| unreadable(&table.path, &error))?;
    let unknown = || (0, "the checksum of the table is another".to_owned());
    let (position, why) = wrong.unwrap_or_else(unknown);
    Err(damaged(&table.path, position, &why))
}

/// Whether there is nothing in the folder.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_empty(folder: &Path) -> Result<bool, IndexError> {
    entries(folder).map(|entries| entries.is_empty())
}

/// A table that a list names.
struct Table {
    path: PathBuf,
    /// The XXH3 of its bytes.
    sum: u128,
}

/// The tables of all keyspaces in the folder that count.
fn tables_in(folder: &Path, counts: impl Fn(&Path) -> bool) -> Result<Vec<Table>, IndexError> {
    let mut tables = Vec::new();
    for keyspace in entries(folder)? {
        if keyspace.is_dir() && counts(&keyspace) {
            tables.append(&mut tables_of(&keyspace)?);
        }
    }
    Ok(tables)
}

/// The paths in a folder, which may be missing.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, IndexError> {
    let read = || -> io::Result<Vec<_>> {
        fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| unreadable(folder, &error)),
    }
}

/// The tables of a keyspace that may be open: the list of which one knows may be taken away before it
/// is read, since there is another.
fn settled_tables_of(folder: &Path) -> Result<Vec<Table>, IndexError> {
    let current = || fs::read(folder.join(CURRENT)).ok();
    let mut n_reads = 0;
    loop {
        let before = current();
        let tables = tables_of(folder);
        n_reads += 1;
        if tables.is_ok() || before == current() || n_reads >= LIST_READS_MAX {
            return tables;
        }
    }
}

/// The tables of a keyspace by its list, which is checked. What else lies there may be half written;
/// fjall takes it away.
fn tables_of(folder: &Path) -> Result<Vec<Table>, IndexError> {
    let tables = entries(&folder.join(TABLES))?;
    let path = folder.join(CURRENT);
    let current = match fs::read(&path) {
        Ok(current) => current,
        // One that was being made, which fjall takes away.
        Err(error) if error.kind() == io::ErrorKind::NotFound && tables.is_empty() => {
            return Ok(Vec::new());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(&path, 0, "it is missing"));
        }
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let whole = <[u8; CURRENT_BYTES]>::try_from(current.as_slice());
    let Ok([n0, n1, n2, n3, n4, n5, n6, n7, sum @ .., 0]) = whole else {
        let why = format!("{} bytes that are not the name of a list", current.len());
        return Err(damaged(&path, 0, &why));
    };
    let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let list = folder.join(format!("v{number}"));
    let bytes = match fs::read(&list) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = format!("it names {}, which is not there", list.display());
            return Err(damaged(&path, 0, &why));
        }
        Err(error) => return Err(unreadable(&list, &error)),
    };
    if xxh3_128(&bytes).to_le_bytes() != sum {
        let why = format!(
            "its {} bytes are not those of which {} has the checksum",
            bytes.len(),
            path.display()
        );
        return Err(damaged(&list, 0, &why));
    }
    let listed = listed_in(&bytes).map_err(|error| unreadable(&list, &error))?;
    let listed = listed.map_err(|(position, why)| damaged(&list, position, why))?;
    let table = |(number, sum): (u64, u128)| Table {
        path: folder.join(TABLES).join(number.to_string()),
        sum,
    };
    Ok(listed.into_iter().map(table).collect())
}

/// What is wrong with a file, and where.
pub(super) type Wrong = (u64, &'static str);

/// A part of a file: its name, where it begins, and how long it is.
pub(super) type Section = (Vec<u8>, u64, u64);

/// The sections of a file.
pub(super) fn sections_of(mut file: impl Read + Seek) -> io::Result<Result<Vec<Section>, Wrong>> {
    let n_bytes = file.seek(SeekFrom::End(0))?;
    let Some(tail_at) = n_bytes.checked_sub(TAIL_BYTES as u64) else {
        return Ok(Err((n_bytes, "the file is cut")));
    };
    file.seek(SeekFrom::Start(tail_at))?;
    let mut tail = [0; TAIL_BYTES];
    file.read_exact(&mut tail)?;
    let mut tail = tail.as_slice();
    let is_tail = take(&mut tail) == Some(TAIL_MAGIC);
    let sum: Option<[u8; 16]> = take(&mut tail);
    let (at, length) = (take_number(&mut tail), take_number(&mut tail));
    let (Some(at), Some(length), true) = (at, length, is_tail) else {
        return Ok(Err((tail_at, "the file does not end as it should")));
    };
    if at.checked_add(length) != Some(tail_at) || length > SECTIONS_BYTES_MAX {
        return Ok(Err((
            tail_at,
            "there is no list of sections where it should be",
        )));
    }
    file.seek(SeekFrom::Start(at))?;
    let mut list = Vec::new();
    file.take(length).read_to_end(&mut list)?;
    if Some(xxh3_128(&list).to_le_bytes()) != sum {
        return Ok(Err((at, "the checksum of the list of sections is another")));
    }
    let sections = read_sections(&list);
    Ok(sections.ok_or((at, "the list of sections cannot be read")))
}

fn read_sections(mut list: &[u8]) -> Option<Vec<Section>> {
    let is_list = take(&mut list)? == LIST_MAGIC;
    let n_sections = u32::from_le_bytes(take(&mut list)?);
    let mut sections = Vec::new();
    for _ in 0..n_sections {
        let (at, length) = (take_number(&mut list)?, take_number(&mut list)?);
        let name_bytes = usize::from(u16::from_le_bytes(take(&mut list)?));
        let (name, rest) = list.split_at_checked(name_bytes)?;
        sections.push((name.to_vec(), at, length));
        list = rest;
    }
    Some(sections).filter(|_| is_list)
}

/// The numbers and checksums of the tables that a list names.
fn listed_in(list: &[u8]) -> io::Result<Result<Vec<(u64, u128)>, Wrong>> {
    let sections = match sections_of(Cursor::new(list))? {
        Ok(sections) => sections,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let tables = sections.into_iter().find(|(name, ..)| name == b"tables");
    let Some((_, at, length)) = tables else {
        return Ok(Err((0, "the tables are not listed")));
    };
    let mut file = Cursor::new(list);
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    let tables = read_tables(&bytes);
    Ok(tables.ok_or((at, "the list of tables cannot be read")))
}

/// Levels of runs of tables; each table has its number, a kind of checksum, that, and a sequence
/// number.
fn read_tables(mut bytes: &[u8]) -> Option<Vec<(u64, u128)>> {
    let mut tables = Vec::new();
    let [n_levels] = take(&mut bytes)?;
    for _ in 0..n_levels {
        let [n_runs] = take(&mut bytes)?;
        for _ in 0..n_runs {
            let n_tables = u32::from_le_bytes(take(&mut bytes)?);
            for _ in 0..n_tables {
                let number = take_number(&mut bytes)?;
                let [_kind] = take(&mut bytes)?;
                tables.push((number, u128::from_le_bytes(take(&mut bytes)?)));
                let _sequence_number = take_number(&mut bytes)?;
            }
        }
    }
    Some(tables)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}
