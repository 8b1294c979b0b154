//! Reference data beside the package that is no part of the project: real devices' lines.

use std::path::{Path, PathBuf};

/// A file or folder of it; says so where it is not there.
pub fn path(name: &str) -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = shared.join(name);
    if path.exists() {
        return Some(path);
    }
    crate::skipped::say(&format!("{} is not there", path.display()));
    None
}
