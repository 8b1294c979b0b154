//! Who this node is: what is kept in its data folder, and the lock that makes it the only one there.
//!
//! File `identity`, replaced as a whole and synced at each start before anything is said to others:
//!
//! ```text
//! layout = 1
//! id = "16 hex digits"
//! incarnation = 3
//! ```
//!
//! The id is made once from the system's randomness. The incarnation orders the starts, since clocks
//! order nothing: each raises it by one, and it jumps where others know a later start than the
//! folder does ([`Identity::keep_incarnation`]). A folder with data and without an identity gets a new
//! one, and the log says so.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    base::{folder::make_folder, machine},
    types::ids::NodeId,
};

/// Version of the data folder as a whole.
const LAYOUT: u32 = 1;

const FILE_NAME: &str = "identity";

/// What lies in the folder only when a node has been started there.
const OF_A_NODE: [&str; 3] = ["log", "index", "members"];

/// The identity of a node in this run. The folder is locked as long as this lives.
#[derive(Debug)]
pub struct Identity {
    /// Made once for the data folder.
    pub id: NodeId,
    /// Of this start: higher than that of any start before.
    pub incarnation: u64,
    folder: PathBuf,
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Another process has it, which is named where it is known. Nothing was changed.
    #[error(
        "the data folder {0} is used by {holder}; stop it, or start this node with another folder \
         (--data DIR)", holder = .1.as_deref().unwrap_or("another process")
    )]
    Locked(PathBuf, Option<String>),
    /// It was written by a version with another layout. Nothing was changed.
    #[error("the data folder {0} has layout {1}, this version knows {LAYOUT}")]
    OtherLayout(PathBuf, u32),
    /// The file does not say what it should. Nothing was changed.
    #[error("{0} is damaged: {1}; restore it, or move the whole data folder away to start anew")]
    Damaged(PathBuf, String),
    /// It cannot be made or written to. No node has started in it.
    #[error(
        "data: the folder {0} cannot be made, or nothing can be written there: {1}; choose another \
         (--data DIR, or `data` in the configuration), or give this user the right to it"
    )]
    Folder(PathBuf, io::Error),
    /// The disk refused.
    #[error("{0}: {1}")]
    Disk(PathBuf, io::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct IdentityFile {
    layout: u32,
    id: String,
    incarnation: u64,
}

impl Identity {
    /// Makes the folder if need be, locks it, and counts one more start. Blocking.
    ///
    /// # Errors
    /// [`IdentityError`] says what is in the way.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |error| IdentityError::Disk(path, error)
        };
        let unusable = |error| IdentityError::Folder(folder.to_owned(), error);
        make_folder(folder).map_err(unusable)?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = machine::holder_of_lock(&lock_path);
                return Err(IdentityError::Locked(folder.to_owned(), holder));
            }
            Err(TryLockError::Error(error)) => return Err(disk(&lock_path)(error)),
        }
        let path = folder.join(FILE_NAME);
        let mut file = match fs::read_to_string(&path) {
            Ok(text) => read(folder, &path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = random_id().map_err(disk(&path))?;
                warn_if_used(folder, id);
                IdentityFile {
                    layout: LAYOUT,
                    id: id.to_string(),
                    incarnation: 0,
                }
            }
            Err(error) => return Err(disk(&path)(error)),
        };
        file.incarnation += 1;
        replace(folder, &path, &file).map_err(disk(&path))?;
        let id = u64::from_str_radix(&file.id, 16);
        let id = id.map_err(|error| IdentityError::Damaged(path, error.to_string()))?;
        Ok(Self {
            id: NodeId(id),
            incarnation: file.incarnation,
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Counts starts from `incarnation` on, durably: others know that number already, since the data
    /// folder is an older copy. Blocking.
    ///
    /// # Errors
    /// What the disk says; the number before stays.
    pub fn keep_incarnation(&self, incarnation: u64) -> io::Result<()> {
        let file = IdentityFile {
            layout: LAYOUT,
            id: self.id.to_string(),
            incarnation,
        };
        replace(&self.folder, &self.folder.join(FILE_NAME), &file)
    }
}

fn read(folder: &Path, path: &Path, text: &str) -> Result<IdentityFile, IdentityError> {
    let damaged = |why: String| IdentityError::Damaged(path.to_owned(), why);
    let file: IdentityFile = toml::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if file.layout != LAYOUT {
        return Err(IdentityError::OtherLayout(folder.to_owned(), file.layout));
    }
    u64::from_str_radix(&file.id, 16).map_err(|error| damaged(error.to_string()))?;
    Ok(file)
}

fn replace(folder: &Path, path: &Path, file: &IdentityFile) -> io::Result<()> {
    let text = toml::to_string(file).map_err(io::Error::other)?;
    let new_path = path.with_extension("new");
    let mut new = File::create(&new_path)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    fs::rename(&new_path, path)?;
    File::open(folder)?.sync_all()
}

/// Says that a folder in which there was a node gets another identity.
fn warn_if_used(folder: &Path, id: NodeId) {
    if OF_A_NODE.iter().any(|name| folder.join(name).exists()) {
        tracing::warn!(
            folder = %folder.display(),
            new_id = %id,
            "there is data and no file identity: it was lost, or the data is another node's. This node has a \
             new id, and others may miss the one before until waymesh forget strikes it off"
        );
    }
}

fn random_id() -> io::Result<NodeId> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(NodeId(u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged, as lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while a folder is opened.
    fn log_of_open(folder: &Path) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || drop(Identity::open(folder).unwrap()));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_id_stays_and_starts_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open(folder.path()).unwrap();
        let (id, incarnation) = (first.id, first.incarnation);
        assert_eq!(incarnation, 1);
        drop(first);
        let second = Identity::open(folder.path()).unwrap();
        assert_eq!((second.id, second.incarnation), (id, 2));
    }

    #[test]
    fn an_identity_that_is_lost_beside_data_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(log_of_open(folder.path()), "");
        fs::create_dir(folder.path().join("log")).unwrap();
        assert_eq!(log_of_open(folder.path()), "");
        fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
        let told = log_of_open(folder.path());
        assert_eq!(told.matches("WARN").count(), 1, "{told}");
        assert!(told.contains("waymesh forget"), "{told}");
        assert_eq!(log_of_open(folder.path()), "");
    }

    #[test]
    fn a_folder_serves_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Identity::open(folder.path()).unwrap();
        assert!(matches!(
            Identity::open(folder.path()),
            Err(IdentityError::Locked(..))
        ));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let data = file.join("data");
        let error = Identity::open(&data).unwrap_err().to_string();
        for part in ["data: ", data.to_str().unwrap(), "--data DIR"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        for (text, expected) in [
            ("rubbish", "damaged"),
            ("layout = 9\nid = \"1\"\nincarnation = 1\n", "layout 9"),
            ("layout = 1\nid = \"xyz\"\nincarnation = 1\n", "damaged"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Identity::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
