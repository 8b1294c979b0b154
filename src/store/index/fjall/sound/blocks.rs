//! The blocks of a table, and which of them is not what was written.
//!
//! A table begins with its blocks of rows, behind which come those that say where these lie, filters,
//! and one with what is known of the table; the list of sections at its end ([`super::trees`]) names
//! where each kind begins. In a section the blocks follow each other. A block begins with a head:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `LSM` and the version of the layout, 3 |
//! | 1 | its kind |
//! | 16 | the XXH3 of its content |
//! | 4 | the length of that |
//! | 4 | its length when unpacked |
//! | 4 | the XXH3 of this head up to here, the lower half of its lower half |
//!
//! Numbers are little-endian. Files are read in pieces, whatever the length of a block.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{take, trees::sections_of};

const MAGIC: [u8; 4] = *b"LSM\x03";
const HEAD_BYTES: usize = 33;
/// The head without its own checksum.
const SUMMED_BYTES: usize = 29;

/// The sections that are made of blocks.
const BLOCKS: [&[u8]; 6] = [b"data", b"tli", b"index", b"filter_tli", b"filter", b"meta"];
/// The section with the version of the layout of the table, and that.
const VERSION: (&[u8], u8) = (b"table_version", 3);

const PIECE_BYTES: usize = 64 * 1024;

/// What is wrong with a file, and where.
pub(super) type Wrong = (u64, String);

/// The XXH3 of the rest of a reader, and how long it was. Blocking.
///
/// # Errors
/// What the disk says, with the byte at which it did.
pub(super) fn sum_of(mut file: impl Read) -> io::Result<(u128, u64)> {
    let mut hash = Xxh3::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut n_bytes = 0;
    loop {
        let n_read = match file.read(&mut piece) {
            Ok(n_read) => n_read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let text = format!("at byte {n_bytes}: {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        };
        if n_read == 0 {
            return Ok((hash.digest128(), n_bytes));
        }
        hash.update(piece.get(..n_read).unwrap_or_default());
        n_bytes += n_read as u64;
    }
}

/// The first part of a table that is not what was written, if one can be told. Blocking.
///
/// # Errors
/// What the disk says.
pub(super) fn find_wrong(file: &File) -> io::Result<Option<Wrong>> {
    let sections = match sections_of(file)? {
        Ok(sections) => sections,
        Err((at, why)) => return Ok(Some((at, why.to_owned()))),
    };
    for (name, at, length) in sections {
        let wrong = if BLOCKS.contains(&name.as_slice()) {
            wrong_block(file, at, length)?
        } else if name == VERSION.0 {
            wrong_version(file, at, length)?
        } else {
            None
        };
        if wrong.is_some() {
            return Ok(wrong);
        }
    }
    Ok(None)
}

fn wrong_version(mut file: &File, at: u64, length: u64) -> io::Result<Option<Wrong>> {
    file.seek(SeekFrom::Start(at))?;
    let mut version = Vec::new();
    file.take(length).read_to_end(&mut version)?;
    let why = "the version of the layout is another";
    Ok((version != [VERSION.1]).then(|| (at, why.to_owned())))
}

/// The first block of a section that is not what was written.
fn wrong_block(mut file: &File, at: u64, length: u64) -> io::Result<Option<Wrong>> {
    let (mut at, end) = (at, at.saturating_add(length));
    while at < end {
        file.seek(SeekFrom::Start(at))?;
        let mut head = Vec::new();
        file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let Some((sum, n_bytes)) = read_head(&head) else {
            return Ok(Some((at, "the head of a block is another".to_owned())));
        };
        let next = at + HEAD_BYTES as u64 + n_bytes;
        let (found, n_read) = sum_of(file.take(n_bytes))?;
        if n_read < n_bytes || next > end || found != sum {
            let block_bytes = next - at;
            let why = format!("the block of {block_bytes} bytes there has another checksum");
            return Ok(Some((at, why)));
        }
        at = next;
    }
    Ok(None)
}

/// The checksum and the length of the content of a block.
fn read_head(head: &[u8]) -> Option<(u128, u64)> {
    let (summed, mut own) = head.split_at_checked(SUMMED_BYTES)?;
    let [s0, s1, s2, s3, ..] = xxh3_128(summed).to_le_bytes();
    let mut rest = summed;
    let is_whole = take(&mut own)? == [s0, s1, s2, s3] && take(&mut rest)? == MAGIC;
    let [_kind] = take(&mut rest)?;
    let sum = u128::from_le_bytes(take(&mut rest)?);
    let n_bytes = u32::from_le_bytes(take(&mut rest)?);
    is_whole.then_some((sum, u64::from(n_bytes)))
}
