//! What log and quarantine ask of a disk, as a trait: the real one is `disk`, tests hand
//! in one that forgets, fails and fills up.
//!
//! Blocking; called from the store's own threads. One flat folder of files, addressed by name.

use std::{fmt, io};

/// A folder of files.
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    /// An open file of this folder.
    type File: StorageFile;

    /// Names of all files, in order.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that exists for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or whatever the disk says.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Creates an empty file that must not exist. Its name is durable after [`Storage::sync`].
    ///
    /// # Errors
    /// `AlreadyExists`, or whatever the disk says.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Removes a file; durable after [`Storage::sync`].
    ///
    /// # Errors
    /// `NotFound`, or whatever the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations and removals durable.
    ///
    /// # Errors
    /// Whatever the disk says; then nothing is known about them.
    fn sync(&self) -> io::Result<()>;

    /// Free bytes on the disk for this process.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
#[expect(
    clippy::len_without_is_empty,
    reason = "a file's length, not a collection's"
)]
pub trait StorageFile: Send + Sync + fmt::Debug + 'static {
    /// Fills `buffer` from `offset`, as far as the file goes; the number of bytes read.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`; durable after [`StorageFile::sync`].
    ///
    /// # Errors
    /// Whatever the disk says; then any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all writes durable (fdatasync).
    ///
    /// # Errors
    /// Whatever the disk says; then nothing is known about any write since the last success.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeros) to `bytes`; durable after [`StorageFile::sync`].
    ///
    /// # Errors
    /// Whatever the disk says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
}
