//! A disk in memory on which everything lasts, for logs that are damaged with intent.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use waymesh::store::storage::{Storage, StorageFile};

/// The bytes of every file by its name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A folder in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<Files>>);

/// A file in it.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    disk: MemoryDisk,
    name: String,
}

impl MemoryDisk {
    pub(crate) fn new(files: Files) -> Self {
        Self(Arc::new(Mutex::new(files)))
    }

    /// All that lies on it now.
    pub(crate) fn files(&self) -> Files {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().expect("no one panics while holding the disk")
    }

    fn file(&self, name: &str) -> MemoryFile {
        MemoryFile {
            disk: self.clone(),
            name: name.to_owned(),
        }
    }
}

impl Storage for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        if !self.lock().contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.file(name))
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut files = self.lock();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), Vec::new());
        Ok(self.file(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.lock().remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl MemoryFile {
    /// Looks at the bytes, or changes them.
    fn with<T>(&self, use_bytes: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        let mut files = self.disk.lock();
        let bytes = files.get_mut(&self.name);
        bytes.map(use_bytes).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl StorageFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|bytes| {
            let start = usize::try_from(offset).map_or(bytes.len(), |start| start.min(bytes.len()));
            let n_bytes = buffer.len().min(bytes.len() - start);
            buffer[..n_bytes].copy_from_slice(&bytes[start..start + n_bytes]);
            n_bytes
        })
    }

    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|bytes| {
            let end = start + written.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(written);
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| bytes.len() as u64)
    }

    fn set_len(&self, n_bytes: u64) -> io::Result<()> {
        let n_bytes = usize::try_from(n_bytes).map_err(io::Error::other)?;
        self.with(|bytes| bytes.resize(n_bytes, 0))
    }
}
