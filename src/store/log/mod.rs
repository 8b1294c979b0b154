//! The log: segments of framed records, group commit, recovery. The only point of acknowledgement.
//!
//! The byte layout stands in [`crate::delivery::group`]. A segment is a file, named by the offset of
//! its first byte; segments form a chain, each naming its predecessor and where that one ends.
//!
//! Invariants:
//! - Nothing is written to a segment before its header and its name are durable.
//! - A segment that is closed is never written again: after a failed write or sync, after a start,
//!   and when it is full, the next group goes to a new one. What lies in a closed segment beyond the
//!   end that its successor names is void.
//! - What [`Log::commit`] returned `Ok` for is on the disk, below [`Log::durable`].
//! - Offsets never restart, and no two segments share one.
//!
//! Of the disk this asks that a write that fails leaves what was confirmed on the same page as it was,
//! and can be read; a block of it that cannot be read any more is damage.
//!
//! Recovery reads only what lies at or above the offset that is still needed. In the last segment it
//! cuts at the first bad frame, unless something shows that the disk had confirmed it: a later frame
//! that tells how far the segment was synced before it, or the offset that is still needed. Damage
//! below such an offset is an error that names file and offset; nothing is changed then.

mod error;
mod reader;
mod recovery;
mod segments;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

pub use self::{
    error::{CommitError, LogError},
    reader::LogReader,
    recovery::{Cut, Recovery},
};
use self::{
    recovery::recover,
    segments::{Segments, Span, file_name},
};
use super::storage::{Storage, StorageFile};
use crate::{
    base::rate::RateLimit,
    delivery::{
        batch::{Batch, Entry},
        group::{
            FRAME_HEAD_BYTES, FrameHead, FrameKind, FramePlace, HEADER_BYTES, SegmentHeader,
            seal_frame,
        },
    },
    types::record::{Flags, Record},
};

/// See [`Log::probe`].
const PROBE_BYTES: usize = 64 * 1024;

static WARNINGS: RateLimit = RateLimit::per_second(1);

/// A place in the log: bytes since the first segment ever made. Never restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogOffset(pub u64);

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Bytes after which a segment is followed by a new one; default 64 MiB. One group may exceed it.
    pub segment_bytes_max: u64,
    /// Payload bytes after which a frame is followed by a new one; default 256 KiB. Readers hold the
    /// records of one in memory.
    pub frame_bytes_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 * 1024 * 1024,
            frame_bytes_max: 256 * 1024,
        }
    }
}

/// An open log. One thread writes; [`Log::reader`] gives readers for others. Blocking.
#[derive(Debug)]
pub struct Log<S: Storage> {
    storage: Arc<S>,
    config: LogConfig,
    segments: Arc<Segments>,
    open: Option<OpenSegment<S::File>>,
    durable: u64,
    /// Least offset that the next segment may have.
    next_base: u64,
    /// Frames of the group that is gathered, each with room for its head, one behind the other.
    group: Vec<u8>,
    /// Where each frame of the group begins, and its records.
    frames: Vec<GatheredFrame>,
}

#[derive(Debug)]
struct OpenSegment<F> {
    file: F,
    base: u64,
    /// Where its last confirmed frame ends, or its header.
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct GatheredFrame {
    start: usize,
    n_records: u32,
}

/// Whether a log has its first segment still, so that nothing was ever trimmed. False where there is
/// none.
///
/// # Errors
/// The folder cannot be read.
pub fn goes_back_to_its_first_record<S: Storage>(storage: &S) -> io::Result<bool> {
    let names = storage.list()?;
    Ok(names.contains(&file_name(0)))
}

impl<S: Storage> Log<S> {
    /// Recovers the log and hands every record at or after `needed_from` to `each`, in order, with
    /// the end of its frame.
    ///
    /// # Errors
    /// [`LogError`] names file and offset of what cannot be used; nothing was changed that a later
    /// open would miss.
    pub fn open(
        storage: Arc<S>,
        config: LogConfig,
        needed_from: LogOffset,
        each: impl FnMut(LogOffset, Record),
    ) -> Result<(Self, Recovery), LogError> {
        let recovered = recover(storage.as_ref(), needed_from.0, each)?;
        let log = Self {
            storage,
            config,
            segments: Arc::new(Segments::new(recovered.chain)),
            open: None,
            durable: recovered.durable,
            next_base: recovered.next_base,
            group: Vec::new(),
            frames: Vec::new(),
        };
        Ok((log, recovered.report))
    }

    /// Adds a record to the group that the next [`Log::commit`] makes durable.
    pub fn append(&mut self, record: &Record) {
        let batch = Batch::from(std::slice::from_ref(record));
        for entry in batch.iter() {
            self.append_entry(&entry, entry.head.flags);
        }
    }

    /// Adds a record of a batch, with `flags` in the place of its own, to the group that the next
    /// [`Log::commit`] makes durable.
    pub fn append_entry(&mut self, entry: &Entry<'_>, flags: Flags) {
        let is_full = self.frames.last().is_none_or(|frame| {
            let payload_bytes = self.group.len() - frame.start - FRAME_HEAD_BYTES;
            payload_bytes + entry.n_bytes() > self.config.frame_bytes_max && payload_bytes > 0
        });
        if is_full {
            self.frames.push(GatheredFrame {
                start: self.group.len(),
                n_records: 0,
            });
            self.group.resize(self.group.len() + FRAME_HEAD_BYTES, 0);
        }
        entry.append_to(&mut self.group, flags);
        if let Some(frame) = self.frames.last_mut() {
            frame.n_records += 1;
        }
    }

    /// Drops the group that is gathered.
    pub fn discard(&mut self) {
        self.group.clear();
        self.frames.clear();
    }

    /// Bytes of the group that is gathered.
    pub const fn pending_bytes(&self) -> usize {
        self.group.len()
    }

    /// The end of what is durable.
    pub const fn durable(&self) -> LogOffset {
        LogOffset(self.durable)
    }

    /// Writes the group and syncs it; the new end of what is durable.
    ///
    /// After a failure the segment is closed for ever and the group is written once more to a new
    /// one.
    ///
    /// # Errors
    /// [`CommitError`] when that failed too: the group is dropped and nothing of it is confirmed. The
    /// next group tries a new segment again.
    pub fn commit(&mut self) -> Result<LogOffset, CommitError> {
        let outcome = self.write_group(FrameKind::Records).or_else(|first| {
            if let Some(n_unsaid) = WARNINGS.pass() {
                tracing::warn!(
                    error = %first, n_unsaid,
                    "a segment of the log failed and is closed; trying a new one"
                );
            }
            self.write_group(FrameKind::Records)
        });
        self.discard();
        outcome.map(|()| self.durable()).map_err(CommitError)
    }

    /// Tries whether the disk takes about a group: unless a segment is open, makes a new one and writes
    /// 64 KiB to it, which are cut off again.
    ///
    /// # Errors
    /// [`LogError::Io`]; nothing is lost.
    pub fn probe(&mut self) -> Result<(), LogError> {
        if self.open.is_some() {
            return Ok(());
        }
        let segment = self.new_segment()?;
        let file = &segment.file;
        let tried = file
            .write_at(&[0; PROBE_BYTES], HEADER_BYTES as u64)
            .and_then(|()| file.sync())
            .and_then(|()| file.set_len(HEADER_BYTES as u64))
            .and_then(|()| file.sync());
        if let Err(source) = tried {
            self.segments.forget(segment.base);
            self.remove_void(segment.base);
            return Err(LogError::io("write", file_name(segment.base), source));
        }
        self.open = Some(segment);
        Ok(())
    }

    /// Removes segments of which nothing at or above `below` is left, but never the last one.
    /// Returns how many.
    ///
    /// # Errors
    /// [`LogError::Io`]; what could not be removed is tried again at the next call.
    pub fn trim(&mut self, below: LogOffset) -> Result<usize, LogError> {
        let mut n_removed = 0;
        while let Some(span) = self.segments.oldest_below(below.0) {
            let name = file_name(span.base);
            let removed = self.storage.remove(&name);
            removed.map_err(|source| LogError::io("remove", name, source))?;
            self.segments.forget(span.base);
            n_removed += 1;
        }
        if n_removed > 0 {
            let synced = self.storage.sync();
            synced.map_err(|source| LogError::io("sync the folder of", "the log", source))?;
        }
        Ok(n_removed)
    }

    /// Marks the log as closed in order. A group that is gathered and not committed is dropped.
    ///
    /// # Errors
    /// [`LogError::Io`] if the mark could not be made durable; that is no harm.
    pub fn close(mut self) -> Result<(), LogError> {
        if self.open.is_none() {
            return Ok(());
        }
        self.group = vec![0; FRAME_HEAD_BYTES];
        self.frames = vec![GatheredFrame {
            start: 0,
            n_records: 0,
        }];
        self.write_group(FrameKind::Closing)
    }

    /// A reader of what is durable, for another thread.
    pub fn reader(&self) -> LogReader<S> {
        LogReader::new(Arc::clone(&self.storage), Arc::clone(&self.segments))
    }

    fn write_group(&mut self, kind: FrameKind) -> Result<(), LogError> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let mut segment = self.writable_segment()?;
        self.seal(kind, segment.base, segment.end);
        // Until this has succeeded the segment is not put back: it stays closed.
        if let Err(error) = self.write_frames(&segment) {
            if segment.end == segment.base + HEADER_BYTES as u64 {
                self.segments.forget(segment.base);
                self.remove_void(segment.base);
            }
            return Err(error);
        }
        segment.end += self.group.len() as u64;
        self.durable = segment.end;
        self.next_base = segment.end;
        self.segments.extend_last(segment.end);
        self.open = Some(segment);
        Ok(())
    }

    fn write_frames(&self, segment: &OpenSegment<S::File>) -> Result<(), LogError> {
        let failed = |action, source| LogError::io(action, file_name(segment.base), source);
        let written = segment
            .file
            .write_at(&self.group, segment.end - segment.base);
        written.map_err(|source| failed("write", source))?;
        segment.file.sync().map_err(|source| failed("sync", source))
    }

    /// Removes the file of a try that failed, so that a disk that fails for long is not filled with
    /// them. What remains, also of a removal that is lost, is removed by the next start.
    fn remove_void(&self, base: u64) {
        let name = file_name(base);
        match self.storage.remove(&name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::debug!(name, %error, "a void segment remains until a start"),
        }
    }

    /// Takes the open segment out, or makes a new one if there is none or it is full.
    fn writable_segment(&mut self) -> Result<OpenSegment<S::File>, LogError> {
        let segment_bytes_max = self.config.segment_bytes_max;
        match self
            .open
            .take()
            .filter(|open| open.end - open.base < segment_bytes_max)
        {
            Some(open) => Ok(open),
            None => self.new_segment(),
        }
    }

    fn new_segment(&mut self) -> Result<OpenSegment<S::File>, LogError> {
        let base = self.next_base;
        let end = base + HEADER_BYTES as u64;
        // A try that fails may leave a file behind, so the next one must not use its name.
        self.next_base = end;
        let previous = self.segments.last();
        let header = SegmentHeader {
            base,
            previous_base: previous.map(|span| span.base),
            previous_end: previous.map_or(base, |span| span.end),
        };
        let name = file_name(base);
        let made = self.storage.create(&name).and_then(|file| {
            file.write_at(&header.encode(), 0)?;
            file.sync()?;
            self.storage.sync()?;
            Ok(file)
        });
        let file = made.map_err(|source| {
            self.remove_void(base);
            LogError::io("create", name, source)
        })?;
        self.segments.push(Span { base, end });
        Ok(OpenSegment { file, base, end })
    }

    /// Fills in the heads of the group's frames for their places in the segment at `base`.
    fn seal(&mut self, kind: FrameKind, base: u64, synced: u64) {
        let mut ends = self.frames.iter().skip(1).map(|frame| frame.start);
        for frame in &self.frames {
            let end = ends.next().unwrap_or(self.group.len());
            let place = FramePlace {
                base,
                offset: synced + frame.start as u64,
            };
            let head = FrameHead {
                kind,
                n_records: frame.n_records,
                synced,
            };
            if let Some(bytes) = self.group.get_mut(frame.start..end) {
                seal_frame(bytes, place, head);
            }
        }
    }
}
