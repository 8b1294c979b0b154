//! The cluster's secret: its file, and how it is made.
//!
//! A file holds one secret, or two while they are changed: 64 hex digits a line. Blank lines, and
//! what stands behind a `#`, count for nothing. The **first** secret signs and dials, **both** are
//! accepted, so a running cluster changes its secret node by node in three rounds: put the new one
//! second on every node, then the new one first, then take the old one out.
//!
//! A file that its group or others may read is refused. Files are made at once and whole, with mode
//! 0600: they are written under another name and linked to their own, which fails if that is taken,
//! so of two nodes that start together one makes the file and both read the same.
//!
//! A secret never leaves this file as text but into such a file, and has no `Display`; `Debug` hides
//! it. Its bytes go nowhere but into the derivation of keys.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;

/// Bytes of the longest file of secrets, comments and all.
const FILE_BYTES_MAX: u64 = 4_096;

/// Secrets that a file may hold.
const N_SECRETS_MAX: usize = 2;

/// Name of the file in the folder of the user's settings, and in the data folder.
const FILE_NAME: &str = "secret";

/// Folder of the file among the user's settings.
const FOLDER_NAME: &str = "waymesh";

/// What the members of a cluster know and nobody else does.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

/// The secrets that hold now: the one that signs and dials, and one more that is accepted while the
/// secret is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

/// Secrets, and where they were found.
#[derive(Debug, Clone)]
pub struct LoadedSecrets {
    /// What the file holds.
    pub secrets: Secrets,
    /// The file.
    pub path: PathBuf,
    /// Whether it was made just now, by this process: the owner of the node must be told, since
    /// nodes on other machines need a copy.
    pub is_new: bool,
}

/// Where the user's own secret is looked for when no file is named.
#[derive(Debug, Clone, Default)]
pub struct SecretPlaces {
    /// `$XDG_CONFIG_HOME`; counts only if it is absolute.
    pub config_home: Option<OsString>,
    /// `$HOME`; counts only if it is absolute.
    pub home: Option<OsString>,
    /// The node's data folder.
    pub data: PathBuf,
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Others than its owner may read it. Nothing was changed.
    #[error(
        "{path} can be read by others than its owner (mode {mode:04o}); whoever read it may be a \
         member of the cluster: `chmod 600 {path}`, or better make a new one with `waymesh keygen FILE`",
        path = path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It does not hold secrets. What it holds is not told.
    #[error(
        "{path} is no file of secrets: {why}; it must hold 64 hex digits a line, as \
         `waymesh keygen {path}` writes them into a new file",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where that is known.
        why: String,
    },
    /// A file of that name is there; it was left as it is.
    #[error("{} is there already and was left as it is; a secret is never overwritten", .0.display())]
    Exists(PathBuf),
    /// No folder can be written in which the user's own secret may lie. Nothing was made.
    #[error(
        "no place for the cluster's secret: {0}; make one with `waymesh keygen FILE` and name it \
         with `--secret-file FILE`"
    )]
    NoPlace(String),
    /// The system refused.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    System(PathBuf, io::Error),
}

impl Secret {
    /// A new secret from the system's randomness.
    ///
    /// # Errors
    /// If the system has none.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// A secret from its bytes; for tests and simulations.
    pub const fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The secret as the 64 hex digits of a file; for such a file, and nothing else.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse(digits: &str) -> Result<Self, &'static str> {
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || digits.len() != 2 * SECRET_BYTES {
            return Err("these are not 64 hex digits");
        }
        let mut bytes = [0; SECRET_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| "these are not hex digits")?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| "these are not hex digits")?;
        }
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err("all bytes are the same, which anybody guesses");
        }
        Ok(Self(bytes))
    }
}

/// For the derivation of keys.
impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

impl Secrets {
    /// Secrets of which the first signs and dials.
    pub fn new(first: Secret, second: Option<Secret>) -> Self {
        Self(std::iter::once(first).chain(second).collect())
    }

    /// What the text of a file says.
    ///
    /// # Errors
    /// What is wrong, by line; never what stands there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let content = line.split('#').next().unwrap_or_default().trim();
            if !content.is_empty() {
                let secret = Secret::parse(content);
                found.push(secret.map_err(|why| format!("line {number}: {why}"))?);
            }
        }
        if found.len() > N_SECRETS_MAX {
            return Err(format!(
                "it holds {} secrets, at most two count",
                found.len()
            ));
        }
        if found.is_empty() {
            return Err("it holds none".into());
        }
        Ok(Self(found))
    }

    /// Reads a file of secrets. Blocking.
    ///
    /// # Errors
    /// [`SecretError::Open`], [`SecretError::Damaged`] or [`SecretError::System`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let system = |error| SecretError::System(path.to_owned(), error);
        let damaged = |why: String| SecretError::Damaged {
            path: path.to_owned(),
            why,
        };
        // Before it is opened: to open a pipe would wait for its other end.
        if !fs::metadata(path).map_err(system)?.is_file() {
            return Err(damaged("it is no plain file".into()));
        }
        let file = File::open(path).map_err(system)?;
        let mode = file.metadata().map_err(system)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(SecretError::Open { path, mode });
        }
        let mut bytes = Vec::new();
        let limited = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        if limited.map_err(system)? as u64 > FILE_BYTES_MAX {
            return Err(damaged(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| damaged("it is no text".into()))?;
        Self::parse(&text).map_err(damaged)
    }

    /// All of them, one or two: the first signs and dials, all are accepted.
    pub fn as_slice(&self) -> &[Secret] {
        &self.0
    }
}

impl LoadedSecrets {
    /// Reads the file that is named, or finds the user's own, which is made if there is none yet.
    /// Blocking.
    ///
    /// # Errors
    /// [`SecretError`]; a named file is never made, and a file that is there and cannot be used is
    /// never passed over.
    pub fn load(named: Option<&Path>, places: &SecretPlaces) -> Result<Self, SecretError> {
        if let Some(path) = named {
            return Self::found(path.to_owned(), false);
        }
        let candidates = places.candidates();
        if let Some(path) = candidates.iter().find(|path| is_there(path)) {
            return Self::found(path.clone(), false);
        }
        let mut refusals = Vec::new();
        for path in candidates {
            match make(&path) {
                Ok(()) => return Self::found(path, true),
                // Another process was quicker; its secret is the one.
                Err(SecretError::Exists(path)) => return Self::found(path, false),
                Err(error) => refusals.push(error.to_string()),
            }
        }
        Err(SecretError::NoPlace(refusals.join("; ")))
    }

    fn found(path: PathBuf, is_new: bool) -> Result<Self, SecretError> {
        let secrets = Secrets::read(&path)?;
        Ok(Self {
            secrets,
            path,
            is_new,
        })
    }
}

impl SecretPlaces {
    /// The places that this process's environment names, and its data folder.
    pub fn of_process(data: &Path) -> Self {
        Self {
            config_home: std::env::var_os("XDG_CONFIG_HOME"),
            home: std::env::var_os("HOME"),
            data: data.to_owned(),
        }
    }

    /// Where the file is looked for, in this order. The data folder comes last: it belongs to one
    /// node, and the secret to all of a user's.
    fn candidates(&self) -> Vec<PathBuf> {
        let absolute = |folder: &Option<OsString>| {
            let folder = folder.as_ref().map(PathBuf::from);
            folder.filter(|folder| folder.is_absolute())
        };
        let settings = absolute(&self.config_home);
        let settings = settings.or_else(|| Some(absolute(&self.home)?.join(".config")));
        let settings = settings.map(|settings| settings.join(FOLDER_NAME).join(FILE_NAME));
        let mut candidates: Vec<PathBuf> = settings.into_iter().collect();
        candidates.push(self.data.join(FILE_NAME));
        candidates
    }
}

/// Writes a new secret into a new file with mode 0600. Blocking.
///
/// # Errors
/// [`SecretError::Exists`] if the file is there, [`SecretError::System`]; nothing is left then.
pub fn write_new(path: &Path) -> Result<(), SecretError> {
    let system = |error| SecretError::System(path.to_owned(), error);
    let secret = Secret::generate().map_err(system)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(|error| system(io::Error::other(error.to_string())))?;
    name.push(format!(".{:016x}.new", u64::from_le_bytes(suffix)));
    let new_path = path.with_file_name(name);
    let outcome = write_whole(&new_path, &secret).and_then(|()| fs::hard_link(&new_path, path));
    let removed = fs::remove_file(&new_path);
    match outcome {
        Ok(()) => removed.and_then(|()| sync_folder_of(path)).map_err(system),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(SecretError::Exists(path.to_owned()))
        }
        Err(error) => Err(system(error)),
    }
}

/// Makes the user's own file, and the folder for it, which is his alone if it is new.
fn make(path: &Path) -> Result<(), SecretError> {
    if let Some(folder) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| SecretError::System(folder.to_owned(), error))?;
    }
    write_new(path)
}

fn write_whole(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    // Also where the umask takes the owner's own rights away.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{}", secret.to_hex())?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Whether something of that name is there, be it of use or not; what cannot be told counts as
/// there, so that an error of the moment does not part a node from its cluster.
fn is_there(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
        ),
    }
}

#[cfg(test)]
mod tests;
