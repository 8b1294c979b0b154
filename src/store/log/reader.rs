//! Reads durable frames in order, across segments, while the log is being written.

use std::sync::Arc;

use super::{
    LogOffset,
    error::LogError,
    segments::{Segments, Span, file_name},
};
use crate::{
    delivery::group::{FrameFault, FramePlace, HEADER_BYTES, open_frame},
    store::storage::{Storage, StorageFile},
    types::record::Record,
};

/// Bytes read at once; a longer frame takes one more read.
const READ_BYTES: usize = 1024 * 1024;

/// A reader of a log.
#[derive(Debug)]
pub struct LogReader<S: Storage> {
    storage: Arc<S>,
    segments: Arc<Segments>,
    /// The file read last, with its base.
    file: Option<(u64, S::File)>,
    buffer: Vec<u8>,
}

impl<S: Storage> LogReader<S> {
    pub(super) const fn new(storage: Arc<S>, segments: Arc<Segments>) -> Self {
        Self {
            storage,
            segments,
            file: None,
            buffer: Vec::new(),
        }
    }

    /// Appends records that lie from `from` up to `to`, both ends of frames, to `into`: whole frames,
    /// until there are at least `n_records_max` new ones, or a mebibyte was read. Returns the end of
    /// the last frame read; `to` when there are no more. Blocking.
    ///
    /// # Errors
    /// [`LogError`] when a file cannot be read, or is not what was written.
    pub fn read(
        &mut self,
        from: LogOffset,
        to: LogOffset,
        n_records_max: usize,
        into: &mut Vec<Record>,
    ) -> Result<LogOffset, LogError> {
        let mut at = from.0;
        let n_before = into.len();
        let is_enough = |at: u64| at.saturating_sub(from.0) >= READ_BYTES as u64;
        while at < to.0 && into.len() - n_before < n_records_max && !is_enough(at) {
            let Some(span) = self.segments.first_behind(at) else {
                return Ok(to);
            };
            at = at.max(span.base + HEADER_BYTES as u64);
            let end = span.end.min(to.0);
            if at >= end {
                // Nothing was confirmed in this one; there may be more behind it.
                at = at.max(span.end);
                continue;
            }
            self.fill(span.base, at, end, READ_BYTES)?;
            at = self.frames(span, at, n_before + n_records_max, into)?;
        }
        Ok(LogOffset(at.min(to.0)))
    }

    /// Reads the frames in the buffer, which begins at `at`.
    fn frames(
        &mut self,
        span: Span,
        at: u64,
        n_records_goal: usize,
        into: &mut Vec<Record>,
    ) -> Result<u64, LogError> {
        let mut n_done = 0;
        while into.len() < n_records_goal {
            let offset = at + n_done as u64;
            let place = FramePlace {
                base: span.base,
                offset,
            };
            let rest = self.buffer.get(n_done..).unwrap_or_default();
            match open_frame(rest, place) {
                Ok(frame) => {
                    frame
                        .for_each_record(|record| into.push(record))
                        .map_err(|source| {
                            let file = file_name(span.base);
                            LogError::Record {
                                file,
                                position: offset - span.base,
                                source,
                            }
                        })?;
                    n_done += frame.bytes;
                }
                Err(FrameFault::Short(_)) if n_done > 0 => break,
                Err(FrameFault::Short(n_bytes)) if n_bytes > READ_BYTES => {
                    self.fill(span.base, at, span.end, n_bytes)?;
                    if self.buffer.len() < n_bytes {
                        return Err(damaged(span.base, offset, "a frame is cut"));
                    }
                }
                Err(_) => {
                    return Err(damaged(
                        span.base,
                        offset,
                        "a frame is not what was written",
                    ));
                }
            }
        }
        Ok(at + n_done as u64)
    }

    /// Reads up to `n_bytes` from `at`, not beyond `end`, into the buffer.
    fn fill(&mut self, base: u64, at: u64, end: u64, n_bytes: usize) -> Result<(), LogError> {
        let failed = |source| LogError::io("read", file_name(base), source);
        let file = match self.file.take() {
            Some((open_base, file)) if open_base == base => file,
            _ => self.storage.open(&file_name(base)).map_err(failed)?,
        };
        let n_bytes = usize::try_from(end.saturating_sub(at))
            .unwrap_or(usize::MAX)
            .min(n_bytes);
        self.buffer.resize(n_bytes, 0);
        let n_read = file.read_at(&mut self.buffer, at - base).map_err(failed)?;
        self.buffer.truncate(n_read);
        self.file = Some((base, file));
        Ok(())
    }
}

fn damaged(base: u64, offset: u64, what: &str) -> LogError {
    let position = offset - base;
    LogError::Damaged {
        file: file_name(base),
        position,
        what: what.to_owned(),
    }
}
