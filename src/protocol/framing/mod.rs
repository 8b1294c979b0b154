//! Bytes to lines: the shapes in which protocols set their lines apart.
//!
//! Sync, over a slice that always begins with the first byte not yet consumed. The state is a few
//! numbers, so that a chunk can be run again from before (see `ingest::line_buffer`). This room
//! must not know what a line means.
//!
//! The shapes are those of the formats' own documents: ends of line as in Gurtam "Wialon IPS"
//! (v1.1, v2.0, v2.1) and NMEA 0183, a pair of bytes as in H02 and TK103, a length as in the
//! protocols of Meitrack and Totem.
//!
//! Invariants:
//! - What is found depends on the bytes alone, not on how they were cut into chunks.
//! - The cap holds while a line is still growing: at most `line_bytes_max` bytes of a line without
//!   its end are left unconsumed.
//! - The scan goes on where it stopped, so that a line that trickles in costs linear time.
//! - After [`Framed::Line`] and [`Framed::TooLong`] the state is that of a new connection, and the
//!   caller asks again with the bytes behind `consumed`.

mod counted;
mod enclosed;
mod terminated;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use counted::{Counted, CountedFrom, Radix};

/// First bytes of a line over the cap, filled up with zeros: by them its device is answered.
pub type LineHead = [u8; 8];

/// How the lines of a protocol are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A line ends at any of these bytes, which do not belong to it; `\r` before the end and empty
    /// lines are dropped.
    Terminated(&'static [u8]),
    /// A line ends at any of these bytes, and the last byte of the line is the one it ended at;
    /// line breaks between lines and lines that hold nothing but their end are dropped.
    TerminatedKept(&'static [u8]),
    /// A line begins with `begin` and ends with the next `end`; both belong to it, and what stands
    /// between lines is skipped.
    Enclosed {
        /// First byte of every line.
        begin: u8,
        /// Last byte of every line.
        end: u8,
    },
    /// A line begins with a prefix and says how long it is; what stands between lines is skipped.
    Counted(Counted),
}

/// Where framing stands within the bytes that are not consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FramerState {
    /// Bytes from the start that hold no end of line; where it is not 0, the slice begins with the
    /// first byte of a line.
    pub scanned_bytes: usize,
    /// Set while the rest of a line over the cap is dropped.
    pub discarded: Option<Discarded>,
}

/// What is known of a line over the cap before its end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discarded {
    /// Its first bytes.
    pub head: LineHead,
    /// Bytes of it dropped so far.
    pub n_bytes: u64,
}

/// What framing found at the start of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// A line; the slice continues after `consumed` bytes.
    Line {
        /// Where it stands in the slice; never empty.
        line: Range<usize>,
        /// Bytes of the slice that are done with.
        consumed: usize,
    },
    /// A line over the cap has ended (or, for framings without resynchronisation, begun).
    TooLong {
        /// Its first bytes; where lines say their length, their prefix.
        head: LineHead,
        /// Its bytes, its end included, all told.
        dropped_bytes: u64,
        /// Bytes of the slice that are done with.
        consumed: usize,
    },
    /// No end of line yet.
    Incomplete {
        /// Bytes of the slice that are done with: those of a line that is dropped, and those that
        /// stand before a line.
        consumed: usize,
    },
}

impl Framing {
    /// Looks for the next line in `bytes`; `line_bytes_max` caps a line without its end. It is not below
    /// the length of a [`LineHead`].
    ///
    /// The caller drops `consumed` bytes in every case. After [`Framed::Incomplete`] it asks again
    /// when there are more bytes behind those that are left; what is left when a connection ends is
    /// a cut line.
    pub fn next(&self, state: &mut FramerState, bytes: &[u8], line_bytes_max: usize) -> Framed {
        match self {
            Self::Terminated(ends) => next_terminated(ends, state, bytes, line_bytes_max),
            Self::TerminatedKept(ends) => terminated::next(ends, state, bytes, line_bytes_max)
                .map_line(|line| line.start..line.end.saturating_add(1)),
            Self::Enclosed { begin, end } => {
                enclosed::next((*begin, *end), state, bytes, line_bytes_max)
            }
            Self::Counted(counted) => counted.next(state, bytes, line_bytes_max),
        }
    }
}

/// The same as [`Framing::next`] of [`Framing::Terminated`], for ends that a configuration gives.
pub fn next_terminated(
    ends: &[u8],
    state: &mut FramerState,
    bytes: &[u8],
    line_bytes_max: usize,
) -> Framed {
    terminated::next(ends, state, bytes, line_bytes_max)
        .map_line(|line| without_carriage_returns(bytes, &line))
}

impl Framed {
    fn map_line(self, change: impl FnOnce(Range<usize>) -> Range<usize>) -> Self {
        match self {
            Self::Line { line, consumed } => Self::Line {
                line: change(line),
                consumed,
            },
            other => other,
        }
    }
}

impl FramerState {
    /// Looks for the end of a line whose first byte is that of `bytes[start..]`, and holds the cap.
    /// `find_end` gives the index of the end byte within the slice it is given.
    fn find_line(
        &mut self,
        bytes: &[u8],
        start: usize,
        line_bytes_max: usize,
        find_end: impl Fn(&[u8]) -> Option<usize>,
    ) -> Framed {
        let known = start.saturating_add(self.scanned_bytes);
        let end = bytes
            .get(known..)
            .and_then(find_end)
            .map(|idx| known.saturating_add(idx));
        let n_line_bytes = end.unwrap_or(bytes.len()).saturating_sub(start);
        let is_too_long = n_line_bytes > line_bytes_max;
        match end {
            Some(end) => {
                *self = Self::default();
                let consumed = end.saturating_add(1);
                if is_too_long {
                    return Framed::TooLong {
                        head: head_of(bytes.get(start..).unwrap_or_default()),
                        dropped_bytes: widened(consumed - start),
                        consumed,
                    };
                }
                Framed::Line {
                    line: start..end,
                    consumed,
                }
            }
            None if is_too_long => {
                let discarded = Discarded {
                    head: head_of(bytes.get(start..).unwrap_or_default()),
                    n_bytes: widened(n_line_bytes),
                };
                *self = Self {
                    scanned_bytes: 0,
                    discarded: Some(discarded),
                };
                Framed::Incomplete {
                    consumed: bytes.len(),
                }
            }
            None => {
                self.scanned_bytes = n_line_bytes;
                Framed::Incomplete { consumed: start }
            }
        }
    }

    /// Drops the rest of a line over the cap.
    fn discard(
        &mut self,
        Discarded { head, n_bytes }: Discarded,
        bytes: &[u8],
        find_end: impl Fn(&[u8]) -> Option<usize>,
    ) -> Framed {
        let Some(end) = find_end(bytes) else {
            let n_bytes = n_bytes.saturating_add(widened(bytes.len()));
            self.discarded = Some(Discarded { head, n_bytes });
            return Framed::Incomplete {
                consumed: bytes.len(),
            };
        };
        *self = Self::default();
        let consumed = end.saturating_add(1);
        Framed::TooLong {
            head,
            dropped_bytes: n_bytes.saturating_add(widened(consumed)),
            consumed,
        }
    }
}

fn head_of(line: &[u8]) -> LineHead {
    let mut head = LineHead::default();
    head.iter_mut().zip(line).for_each(|(to, from)| *to = *from);
    head
}

fn widened(n_bytes: usize) -> u64 {
    u64::try_from(n_bytes).unwrap_or(u64::MAX)
}

/// `line` up to its last byte that is no `\r`.
fn without_carriage_returns(bytes: &[u8], line: &Range<usize>) -> Range<usize> {
    let kept = bytes
        .get(line.clone())
        .and_then(|line| line.iter().rposition(|byte| *byte != b'\r'))
        .map_or(line.start, |last| line.start.saturating_add(last + 1));
    line.start..kept
}
