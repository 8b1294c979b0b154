//! Lines between a byte that begins and a byte that ends them.
//!
//! A line that is over the cap is dropped to its end byte. A begin byte within a line is a byte of
//! the line: the protocols of this shape repeat it in their texts.

use super::{Framed, FramerState};

/// Looks for the next line; `marks` are the bytes that begin and end it.
pub(super) fn next(
    marks: (u8, u8),
    state: &mut FramerState,
    bytes: &[u8],
    line_bytes_max: usize,
) -> Framed {
    let (begin, end) = marks;
    if let Some(discarded) = state.discarded {
        return state.discard(discarded, bytes, |rest| memchr::memchr(end, rest));
    }
    let start = if state.scanned_bytes > 0 {
        0
    } else {
        memchr::memchr(begin, bytes).unwrap_or(bytes.len())
    };
    if start < bytes.len() {
        state.scanned_bytes = state.scanned_bytes.max(1);
    }
    state
        .find_line(bytes, start, line_bytes_max, |rest| {
            memchr::memchr(end, rest)
        })
        .map_line(|line| line.start..line.end.saturating_add(1))
}
