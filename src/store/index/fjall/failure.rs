//! What fjall's errors mean here.
//!
//! It says of a block of a table that it is not what was written, not where it is.

use std::io;

use ::fjall::{Error, LsmError};

use crate::store::index::IndexError;

/// An error of fjall, as damage if that is what it is.
pub(super) fn backend(error: Error) -> IndexError {
    IndexError::Backend(match error {
        Error::Storage(error) if is_damage(&error) => {
            return IndexError::Damaged("a block of a table is not what was written".to_owned());
        }
        Error::Storage(LsmError::Io(error)) | Error::Io(error) => error.to_string(),
        Error::Locked => "another process has the index open".to_owned(),
        Error::Poisoned => "an earlier write, sync or merge failed".to_owned(),
        other => other.to_string(),
    })
}

/// Whether a table is not what was written; shorter counts too.
fn is_damage(error: &LsmError) -> bool {
    match error {
        LsmError::Io(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        LsmError::ChecksumMismatch { .. }
        | LsmError::Decompress(_)
        | LsmError::InvalidHeader(_)
        | LsmError::InvalidTag(_)
        | LsmError::InvalidTrailer => true,
        _ => false,
    }
}
