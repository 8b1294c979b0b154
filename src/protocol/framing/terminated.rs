//! Lines that end at any byte of a set.
//!
//! Line breaks and ends that stand before the first byte of a line belong to no line. A byte `\r`
//! before the end counts against the cap, since it cannot be told from the line's own before the
//! end has come.

use super::{Framed, FramerState};

/// Looks for the next line; its range ends before the end byte.
pub(super) fn next(
    ends: &[u8],
    state: &mut FramerState,
    bytes: &[u8],
    line_bytes_max: usize,
) -> Framed {
    if let Some(discarded) = state.discarded {
        return state.discard(discarded, bytes, |rest| find_any(ends, rest));
    }
    let start = if state.scanned_bytes > 0 {
        0
    } else {
        bytes
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n') && !ends.contains(byte))
            .unwrap_or(bytes.len())
    };
    state.find_line(bytes, start, line_bytes_max, |rest| find_any(ends, rest))
}

/// Index of the first byte that is one of `ends`.
fn find_any(ends: &[u8], bytes: &[u8]) -> Option<usize> {
    match ends {
        [one] => memchr::memchr(*one, bytes),
        [one, two] => memchr::memchr2(*one, *two, bytes),
        [one, two, three] => memchr::memchr3(*one, *two, *three, bytes),
        many => bytes.iter().position(|byte| many.contains(byte)),
    }
}
