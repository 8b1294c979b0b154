//! Which segments there are, shared between the log and its readers; and how their files are named.

use std::sync::{Mutex, MutexGuard, PoisonError};

const SUFFIX: &str = ".segment";

/// Greatest base of a segment, so that sums of offsets and lengths stay numbers. No log grows so far.
pub(super) const BASE_MAX: u64 = u64::MAX / 4;

/// The durable part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Offset of its first byte.
    pub(super) base: u64,
    /// Where its last durable frame ends, or its header.
    pub(super) end: u64,
}

/// The chain of segments, oldest first.
#[derive(Debug)]
pub(super) struct Segments(Mutex<Vec<Span>>);

impl Segments {
    pub(super) const fn new(chain: Vec<Span>) -> Self {
        Self(Mutex::new(chain))
    }

    pub(super) fn push(&self, span: Span) {
        self.lock().push(span);
    }

    pub(super) fn last(&self) -> Option<Span> {
        self.lock().last().copied()
    }

    pub(super) fn extend_last(&self, end: u64) {
        if let Some(last) = self.lock().last_mut() {
            last.end = end;
        }
    }

    /// The oldest segment, if all of it lies below `offset` and it is not the last.
    pub(super) fn oldest_below(&self, offset: u64) -> Option<Span> {
        let chain = self.lock();
        chain
            .first()
            .copied()
            .filter(|oldest| chain.len() > 1 && oldest.end <= offset)
    }

    pub(super) fn forget(&self, base: u64) {
        self.lock().retain(|span| span.base != base);
    }

    /// The first segment with something durable behind `offset`.
    pub(super) fn first_behind(&self, offset: u64) -> Option<Span> {
        self.lock().iter().find(|span| span.end > offset).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name of the file of the segment at `base`.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// The base in the name of a segment's file; `None` for a file that no log has made.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let base = digits.parse().ok()?;
    (file_name(base) == name).then_some(base)
}
