//! Folders that are there after a power cut.

use std::{fs, io, path::Path};

/// Makes the folder `path` and those above it that are missing, each durably: the name of a folder is
/// kept by the one above it. Blocking.
///
/// # Errors
/// Whatever the file system says, for example that something else has this name.
pub fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    make_folder(above)?;
    match fs::create_dir(path) {
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    match fs::File::open(above) {
        // It may be used, not looked at: its owner's file system has to do.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/../c");
        make_folder(&path).unwrap();
        assert!(folder.path().join("a/c").is_dir());
        make_folder(&path).unwrap();
        make_folder(Path::new(".")).unwrap();
        make_folder(Path::new("/")).unwrap();
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let error = make_folder(&folder.path().join("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let error = make_folder(&folder.path().join("a/b")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}
