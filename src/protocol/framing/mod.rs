//! Bytes to lines: the shapes in which protocols set their lines apart.
//!
//! Sync, over a slice that always begins with the first byte not yet consumed. The state is two
//! numbers, so that a chunk can be run again from before (see `ingest::line_buffer`). The cap holds
//! while a line is still growing, and the scan goes on where it stopped, so that a line that
//! trickles in costs linear time.

use std::ops::Range;

/// How the lines of a protocol are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A line ends at any of these bytes, which do not belong to it; `\r` before the end and empty
    /// lines are dropped.
    Terminated(&'static [u8]),
}

/// Where framing stands within the bytes that are not consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FramerState {
    /// Bytes from the start that hold no end of line.
    pub scanned_bytes: usize,
    /// Set while the rest of a line over the cap is dropped: bytes of it dropped so far.
    pub discarded_bytes: Option<u64>,
}

/// What framing found at the start of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// A line; the slice continues after `consumed` bytes.
    Line {
        /// Where it stands in the slice.
        line: Range<usize>,
        /// Bytes of the slice that are done with.
        consumed: usize,
    },
    /// A line over the cap has ended (or, for framings without resynchronisation, begun).
    TooLong {
        /// Its bytes, all told.
        dropped_bytes: u64,
        /// Bytes of the slice that are done with.
        consumed: usize,
    },
    /// No end of line yet.
    Incomplete {
        /// Bytes of the slice that are done with: those of a line that is dropped.
        consumed: usize,
    },
}

impl Framing {
    /// Lines that end at a newline.
    pub const fn lines() -> Self {
        Self::Terminated(b"\n")
    }

    /// Looks for the next line in `bytes`; `line_bytes_max` caps a line without its end.
    pub fn next(&self, state: &mut FramerState, bytes: &[u8], line_bytes_max: usize) -> Framed {
        let Self::Terminated(ends) = self;
        let found = bytes
            .iter()
            .skip(state.scanned_bytes)
            .position(|byte| ends.contains(byte));
        let Some(found) = found.map(|idx| idx + state.scanned_bytes) else {
            if state.discarded_bytes.is_some() || bytes.len() > line_bytes_max {
                *state.discarded_bytes.get_or_insert(0) += bytes.len() as u64;
                state.scanned_bytes = 0;
                return Framed::Incomplete {
                    consumed: bytes.len(),
                };
            }
            state.scanned_bytes = bytes.len();
            return Framed::Incomplete { consumed: 0 };
        };
        state.scanned_bytes = 0;
        if let Some(dropped) = state.discarded_bytes.take() {
            return Framed::TooLong {
                dropped_bytes: dropped + found as u64,
                consumed: found + 1,
            };
        }
        if found > line_bytes_max {
            return Framed::TooLong {
                dropped_bytes: found as u64,
                consumed: found + 1,
            };
        }
        let end = if bytes.get(..found).is_some_and(|line| line.ends_with(b"\r")) {
            found - 1
        } else {
            found
        };
        Framed::Line {
            line: 0..end,
            consumed: found + 1,
        }
    }
}
