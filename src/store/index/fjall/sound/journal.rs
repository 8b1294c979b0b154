//! One journal of fjall, read batch by batch.
//!
//! A batch is a start (`1`, number of items `u32`, sequence number `u64`), its items, and an end (`3`,
//! XXH3 of the items `u64`, the four bytes `FJL` and 3); numbers are little-endian. An item is `2`, a
//! type, a compression, a keyspace `u64`, the length of its key `u16`, that of its value `u32`, the
//! same as it is stored `u32`, key and value; or `4` and a keyspace that is emptied. Behind the last
//! batch the file ends, or holds zeros. The checksum does not cover the start: sequence numbers rise
//! from batch to batch, and nothing else is known of them.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
};

use xxhash_rust::xxh3::Xxh3;

use super::take;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// Bytes of a start.
const START_BYTES: usize = 13;
/// Bytes of an item before its key.
const ITEM_BYTES: usize = 21;
/// Bytes of an item that empties a keyspace.
const CLEAR_BYTES: usize = 9;
/// Bytes of an end.
const END_BYTES: usize = 13;
const END_MAGIC: [u8; 4] = *b"FJL\x03";

const BUFFER_BYTES: usize = 64 * 1024;

/// What is known of a journal: the batches below an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Journal {
    /// Behind the last of them.
    pub(super) end: u64,
    /// Sequence number of the first.
    pub(super) first: Option<u64>,
    /// Sequence number of the last.
    pub(super) last: Option<u64>,
}

/// What stands behind the last whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// Something that is no batch, or not all of one; the sequence number that it begins with, if it
    /// begins like a batch.
    Torn(&'static str, Option<u64>),
    /// A batch that cannot have been written behind the one before.
    Disordered,
}

impl Rest {
    /// What is wrong with it, if it is not nothing.
    pub(super) const fn why(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Torn(why, _) => Some(why),
            Self::Disordered => Some("the batches are not in their order"),
        }
    }

    /// The sequence number of what is torn.
    pub(super) const fn number(self) -> Option<u64> {
        match self {
            Self::Torn(_, number) => number,
            Self::Nothing | Self::Disordered => None,
        }
    }

    /// The same of a batch with this number.
    const fn of(self, number: u64) -> Self {
        match self {
            Self::Torn(why, _) => Self::Torn(why, Some(number)),
            other => other,
        }
    }
}

impl Journal {
    /// Reads the batches from [`Journal::end`] on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read_on(&mut self, mut file: &File) -> io::Result<Rest> {
        let n_bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.end))?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        loop {
            let n_left = n_bytes.saturating_sub(self.end);
            match read_batch(&mut reader, n_left) {
                Ok(batch) if self.last.is_some_and(|last| batch.number <= last) => {
                    return Ok(Rest::Disordered);
                }
                Ok(batch) => {
                    self.first.get_or_insert(batch.number);
                    self.last = Some(batch.number);
                    self.end += batch.n_bytes;
                }
                Err(Stop::Rest(rest)) => return Ok(rest),
                Err(Stop::Io(error)) => return Err(error),
            }
        }
    }
}

struct Batch {
    number: u64,
    n_bytes: u64,
}

/// Why there is no further batch.
enum Stop {
    Rest(Rest),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            torn("the file ends in the middle of a batch")
        } else {
            Self::Io(error)
        }
    }
}

const fn torn(why: &'static str) -> Stop {
    Stop::Rest(Rest::Torn(why, None))
}

fn read_batch(reader: &mut impl Read, n_left: u64) -> Result<Batch, Stop> {
    if n_left == 0 {
        return Err(Stop::Rest(Rest::Nothing));
    }
    let [tag, c0, c1, c2, c3, number @ ..] = read_bytes::<START_BYTES>(reader)?;
    let (n_items, number) = (
        u32::from_le_bytes([c0, c1, c2, c3]),
        u64::from_le_bytes(number),
    );
    match (tag, n_items, number) {
        (0, 0, 0) => return Err(Stop::Rest(Rest::Nothing)),
        (START, 1.., _) => {}
        _ => return Err(torn("no batch begins here")),
    }
    let n_bytes = read_items(reader, n_items, n_left).map_err(|stop| match stop {
        Stop::Rest(rest) => Stop::Rest(rest.of(number)),
        other => other,
    })?;
    Ok(Batch { number, n_bytes })
}

/// Reads the items and the end of a batch; the length of all of it.
fn read_items(reader: &mut impl Read, n_items: u32, n_left: u64) -> Result<u64, Stop> {
    let mut hash = Xxh3::new();
    let mut n_bytes = START_BYTES as u64;
    for _ in 0..n_items {
        n_bytes += read_item(reader, n_left - n_bytes.min(n_left), &mut hash)?;
    }
    let [tag, end @ ..] = read_bytes::<END_BYTES>(reader)?;
    let [s0, s1, s2, s3, s4, s5, s6, s7, magic @ ..] = end;
    let sum = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    if (tag, magic) != (END, END_MAGIC) {
        return Err(torn("a batch does not end where it should"));
    }
    if sum != hash.digest() {
        return Err(torn("the checksum of a batch is another"));
    }
    Ok(n_bytes + END_BYTES as u64)
}

/// Reads an item of at most `n_left` bytes; its length.
fn read_item(reader: &mut impl Read, n_left: u64, hash: &mut Xxh3) -> Result<u64, Stop> {
    let [tag] = read_bytes::<1>(reader)?;
    hash.update(&[tag]);
    match tag {
        CLEAR => {
            hash.update(&read_bytes::<{ CLEAR_BYTES - 1 }>(reader)?);
            return Ok(CLEAR_BYTES as u64);
        }
        ITEM => {}
        _ => return Err(torn("no item begins here")),
    }
    let head = read_bytes::<{ ITEM_BYTES - 1 }>(reader)?;
    hash.update(&head);
    let lengths = lengths_in(&head).ok_or_else(|| torn("an item has no lengths"))?;
    let (key_bytes, value_bytes) = lengths;
    let n_bytes = ITEM_BYTES as u64 + key_bytes + value_bytes;
    if n_bytes > n_left {
        return Err(torn("an item is longer than the file"));
    }
    let mut body = reader.take(key_bytes + value_bytes);
    let mut n_read = 0;
    let mut buffer = [0; 4 * 1024];
    loop {
        let n_new = body.read(&mut buffer)?;
        if n_new == 0 {
            break;
        }
        hash.update(buffer.get(..n_new).unwrap_or_default());
        n_read += n_new as u64;
    }
    if n_read < key_bytes + value_bytes {
        return Err(torn("the file ends in the middle of an item"));
    }
    Ok(n_bytes)
}

/// How long key and value are, by what stands before them.
fn lengths_in(mut head: &[u8]) -> Option<(u64, u64)> {
    let _type_compression_keyspace: [u8; 10] = take(&mut head)?;
    let key_bytes = u16::from_le_bytes(take(&mut head)?);
    let _unpacked_bytes: [u8; 4] = take(&mut head)?;
    let value_bytes = u32::from_le_bytes(take(&mut head)?);
    Some((key_bytes.into(), value_bytes.into()))
}

fn read_bytes<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
