//! What can go wrong with the log.

use std::io;

use crate::delivery::frame::RecordError;

/// Why the log cannot be used as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were confirmed once, and are still needed, are not what was written.
    #[error(
        "{file} is damaged at byte {position}: {what}; acknowledged records would be lost, so the \
         node does not start over it. Restore the file from a copy of the disk; to give up what \
         lies behind it, move the data folder away"
    )]
    Damaged {
        /// The segment.
        file: String,
        /// Position in the file, in bytes.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// A segment that is still needed is not there.
    #[error(
        "{file} is missing: it holds acknowledged records that the index does not have yet; put \
         it back into the folder of the log"
    )]
    Missing {
        /// The segment.
        file: String,
    },
    /// A segment was written by a later version of the program.
    #[error("{file} has segment layout {layout}, which this version does not know")]
    UnknownLayout {
        /// The segment.
        file: String,
        /// Its layout version.
        layout: u32,
    },
    /// A record was written by a later version of the program.
    #[error("{file} holds a record that cannot be read, at byte {position}: {source}")]
    Record {
        /// The segment.
        file: String,
        /// Position of its frame in the file, in bytes.
        position: u64,
        /// Why.
        source: RecordError,
    },
}

impl LogError {
    pub(super) fn io(action: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            action,
            file: file.into(),
            source,
        }
    }
}

/// A group could not be made durable, not even in a new segment. Nothing of it is confirmed.
#[derive(Debug, thiserror::Error)]
#[error("a group could not be made durable: {0}")]
pub struct CommitError(pub(super) LogError);
