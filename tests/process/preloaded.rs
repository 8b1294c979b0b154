//! Libraries that are preloaded into a node, so that it meets another disk than there is.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::skipped;

/// The library made of `source`, a file of this folder, in `folder`; absent, aloud, where there is no
/// compiler.
pub fn compile(source: &str, folder: &Path) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process");
    let library = folder.join("preloaded.so");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
        .arg(&library)
        .arg(here.join(source));
    match compiler.status() {
        Ok(status) => {
            assert!(status.success(), "{source} does not compile");
            Some(library)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            skipped::say(&format!("no C compiler (cc), so there is no {source}"));
            None
        }
        Err(error) => panic!("cc: {error}"),
    }
}
