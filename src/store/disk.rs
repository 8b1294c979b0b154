//! The real [`Storage`]: a folder of the file system.
//!
//! Must not know what is in the files. A sync of a file is fdatasync, which also makes its length
//! durable; a sync of the folder makes names durable.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    base::folder::make_folder,
    store::storage::{Storage, StorageFile},
};

/// A folder of a file system.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    folder: File,
}

/// A file of a [`Disk`].
#[derive(Debug)]
pub struct DiskFile(File);

impl Disk {
    /// Opens the folder at `path` and makes it, with its parents, where it does not exist.
    ///
    /// # Errors
    /// Whatever the file system says, for example that something else has this name.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_folder(path)?;
        Ok(Self {
            path: path.to_owned(),
            folder: File::open(path)?,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Storage for Disk {
    type File = DiskFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        let path = self.path.join(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(DiskFile)
    }

    fn create(&self, name: &str) -> io::Result<DiskFile> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path.join(name))
            .map(DiskFile)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let numbers = rustix::fs::fstatvfs(&self.folder)?;
        Ok(numbers.f_bavail.saturating_mul(numbers.f_frsize))
    }
}

impl StorageFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut n_read = 0;
        while let Some(rest) = buffer.get_mut(n_read..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(n_read as u64)) {
                Ok(0) => break,
                Ok(n_bytes) => n_read += n_bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(n_read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_is_written_and_a_removed_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("a/b")).unwrap();
        let file = disk.create("one").unwrap();
        file.write_at(b"hello", 3).unwrap();
        file.sync().unwrap();
        disk.sync().unwrap();
        let mut buffer = [9; 16];
        assert_eq!(
            disk.open("one").unwrap().read_at(&mut buffer, 0).unwrap(),
            8
        );
        assert_eq!(&buffer[..9], b"\0\0\0hello\x09");
        file.set_len(4).unwrap();
        assert_eq!(file.len().unwrap(), 4);
        let again = disk.create("one").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.list().unwrap(), ["one"]);
        disk.remove("one").unwrap();
        assert_eq!(
            disk.open("one").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(disk.list().unwrap(), [""; 0]);
    }

    #[test]
    fn free_space_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Disk::open(folder.path()).unwrap().free_bytes().unwrap() > 0);
    }
}
