//! `waymesh check-config`: loads the settings, says what is wrong with them or what holds.
//!
//! Works alone: no node needs to run, and none is started. This file must not know what a key means.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    config::{Environment, Overlay, Paint, Sources, load},
    protocol::Registry,
};

/// Exit code of settings that hold.
const OK: u8 = 0;
/// Exit code of settings with a fault.
const BAD_CONFIG: u8 = 64;

/// Checks the settings from a file (absent: as `run` would look for it) and the environment, and
/// writes all faults, or `ok` and the effective values as TOML. Gives the exit code: 0, or 64 where
/// something is wrong.
///
/// # Errors
/// That of the writer.
pub fn check_config(
    path: Option<&Path>,
    environment: Environment,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let registry = Registry::built_in();
    let protocols: Vec<_> = registry.iter().map(|protocol| protocol.name()).collect();
    let protocols: Vec<&str> = protocols.iter().map(AsRef::as_ref).collect();
    let loaded = load(&Sources {
        file: path,
        environment,
        overlay: Overlay::default(),
        protocols: &protocols,
    });
    match loaded {
        Ok(loaded) => {
            // As a comment, so that the output as a whole is a file that can be used, once the passwords
            // are put in again; until then it is refused.
            write!(out, "# ok\n{}", loaded.effective())?;
            Ok(OK)
        }
        Err(faults) => {
            writeln!(out, "{}", faults.render(paint))?;
            Ok(BAD_CONFIG)
        }
    }
}
