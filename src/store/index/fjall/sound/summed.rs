//! Small files of lines that end with the XXH3 of these lines, replaced as a whole:
//!
//! ```text
//! 3 18264 1041
//! xxh3 8c0a4b1f52d7e690
//! ```
//!
//! It must not know what the lines say.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

use super::{damaged, sync_folder, unreadable};
use crate::store::index::IndexError;

const SUM: &str = "xxh3 ";

/// The lines of the file `name`; nothing where there is no such file. `parse` gives nothing where
/// they do not say what they should.
///
/// # Errors
/// [`IndexError::File`] if they are not what was written, [`IndexError::Backend`] if it cannot be read.
pub(super) fn read<T>(
    folder: &Path,
    name: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, IndexError> {
    let path = folder.join(name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let lines = str::from_utf8(&text).ok().and_then(lines_of);
    let parsed = lines.and_then(parse);
    let parsed = parsed.ok_or_else(|| damaged(&path, 0, "the checksum is another"));
    parsed.map(Some)
}

/// Replaces the file `name` by one with these lines, durably; each ends with a line break.
///
/// # Errors
/// [`IndexError::Backend`]; the file is the one before then, or this.
pub(super) fn write(folder: &Path, name: &str, lines: &str) -> Result<(), IndexError> {
    let path = folder.join(name);
    let new_path = folder.join(format!("{name}.new"));
    let replace = || -> io::Result<()> {
        let mut new = File::create(&new_path)?;
        let sum = xxh3_64(lines.as_bytes());
        writeln!(new, "{lines}{SUM}{sum:016x}")?;
        new.sync_all()?;
        fs::rename(&new_path, &path)?;
        sync_folder(folder)
    };
    replace().map_err(|error| unreadable(&path, &error))
}

/// The lines before the checksum, if that is right.
fn lines_of(text: &str) -> Option<&str> {
    let (lines, sum) = text.split_at_checked(text.rfind(SUM)?)?;
    let expected = format!("{SUM}{:016x}\n", xxh3_64(lines.as_bytes()));
    (sum == expected).then_some(lines)
}
