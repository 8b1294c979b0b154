//! Settings: raw values from file, environment and flags become one checked [`AppConfig`].
//!
//! ```text
//! defaults ◀─ file (TOML) ◀─ environment ◀─ flags     each value read and checked by itself
//!                      │
//!                  RawConfig ──▶ rules between keys ──▶ AppConfig, or all faults at once
//! ```
//!
//! Two stages: `raw` takes what was found, by the tables of `schema`; `check` compares keys and
//! completes. This room reads one file and the environment and nothing else: it must not bind an
//! address, resolve a name, look at the disk, or know what the settings cause.
//!
//! Invariants:
//! - All faults are reported at once, each with key, place and remedy.
//! - A key or variable that is not known is a fault.
//! - A password is never shown, neither in a fault nor among the effective values.

mod address;
mod check;
mod defaults;
mod effective;
mod fault;
mod nearest;
mod overlay;
mod own_check;
mod own_protocol;
mod raw;
mod schema;
mod settings;
mod value;

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

pub use fault::{Fault, Faults, Paint, Place, SourceText};
pub use overlay::{Environment, Overlay};
pub use settings::{
    AdvertiseConfig, AppConfig, ConnectMode, DiscoveryConfig, HostPort, HttpConfig, InterfaceName,
    LogFormat, MinConnections, NodeConfig, TracingConfig, Transport,
};

/// The file that is read where none is named, if it is there.
pub const DEFAULT_FILE: &str = "./waymesh.toml";

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    /// The file that was named; absent: that of `WAYMESH_CONFIG`, else [`DEFAULT_FILE`].
    pub file: Option<&'a Path>,
    /// The variables.
    pub environment: Environment,
    /// The flags.
    pub overlay: Overlay,
    /// Names of the protocols that a listener may be pinned to, besides those of the file itself.
    pub protocols: &'a [&'a str],
}

/// Settings that passed all checks.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: AppConfig,
    places: BTreeMap<&'static str, Place>,
}

impl Loaded {
    /// Where a key was set, with its section before a dot; absent: it has its default.
    pub fn place_of(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }
}

/// Reads and checks the settings from all sources.
///
/// # Errors
/// All that is wrong, at once; of a file that cannot be read, that alone and what the environment
/// and the flags say.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Faults> {
    let mut raw = raw::RawConfig::default();
    match read_file(sources) {
        Ok(Some(source)) => raw.apply_file(&Arc::new(source)),
        Ok(None) => {}
        Err(fault) => raw.faults.push(fault),
    }
    raw.apply_environment(&sources.environment);
    raw.apply_overlay(&sources.overlay);
    match check::checked(raw, sources.protocols) {
        Ok((config, places)) => Ok(Loaded { config, places }),
        Err(faults) => Err(Faults::new(faults)),
    }
}

/// Every key with its section, in the order of the schema.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    schema::KEYS.iter().map(|key| key.name)
}

/// The file's text; none where no file is named and the default one is not there.
fn read_file(sources: &Sources<'_>) -> Result<Option<SourceText>, Fault> {
    let from_environment = sources.environment.config_file();
    let named = sources.file.or(from_environment.as_deref());
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(SourceText {
            path: path.display().to_string(),
            text,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(Fault {
            key: String::new(),
            problem: format!("the configuration cannot be read: {error}"),
            remedy: match error.kind() {
                io::ErrorKind::InvalidData => "write it as UTF-8".into(),
                _ => format!("name another file, or none to use {DEFAULT_FILE} or the defaults"),
            },
            place: Some(Place::Path(path.display().to_string())),
        }),
    }
}
