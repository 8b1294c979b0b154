//! Lines that say their length behind a prefix.
//!
//! The head is prefix, bytes without meaning for framing, digits. A head that holds no length, or
//! one that the line cannot have, is skipped to the next prefix; so is one that announces more than
//! the cap, which is told as too long at once, since a wrong length must not swallow what follows.
//! Line breaks at the end of a line are counted by its length and do not belong to it.

use super::{Framed, FramerState, head_of, widened};

/// Where the length of a line stands, and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// First bytes of every line; not empty.
    pub prefix: &'static [u8],
    /// Bytes between the prefix and the digits.
    pub skipped_bytes: usize,
    /// How the digits are written.
    pub radix: Radix,
    /// Fewest and most digits; fewer than the most end at the first byte that is none. Both 1 to 8.
    pub digits: (usize, usize),
    /// The first byte that the length counts.
    pub from: CountedFrom,
}

/// How a length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Radix {
    /// Digits 0 to 9.
    Decimal,
    /// Digits 0 to F, in either case.
    Hexadecimal,
}

/// The first byte that a length counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedFrom {
    /// The first of the prefix: the length is that of the whole line.
    Prefix,
    /// The first behind the digits.
    BehindDigits,
}

/// What the head of a line says.
enum Head {
    /// Bytes of the whole line.
    Length(usize),
    /// It has not come wholly.
    Incomplete,
    /// It is none.
    Wrong,
}

impl Counted {
    pub(super) fn next(
        &self,
        state: &mut FramerState,
        bytes: &[u8],
        line_bytes_max: usize,
    ) -> Framed {
        *state = FramerState::default();
        let mut skipped = 0;
        while let Some(rest) = bytes.get(skipped..) {
            let Some(idx) = memchr::memmem::find(rest, self.prefix) else {
                skipped += rest.len() - self.begun_prefix(rest);
                break;
            };
            skipped += idx;
            let rest = bytes.get(skipped..).unwrap_or_default();
            match self.head(rest) {
                Head::Incomplete => break,
                Head::Wrong => skipped += 1,
                Head::Length(n_bytes) if n_bytes > line_bytes_max => {
                    return Framed::TooLong {
                        // What stands behind the prefix may not have come as a whole.
                        head: head_of(self.prefix),
                        dropped_bytes: widened(n_bytes),
                        consumed: skipped + self.prefix.len(),
                    };
                }
                Head::Length(n_bytes) => match rest.get(..n_bytes) {
                    None => break,
                    Some(line) => {
                        let kept = line
                            .iter()
                            .rposition(|byte| !matches!(byte, b'\r' | b'\n'))
                            .map_or(0, |last| last + 1);
                        return Framed::Line {
                            line: skipped..skipped + kept,
                            consumed: skipped + n_bytes,
                        };
                    }
                },
            }
        }
        Framed::Incomplete { consumed: skipped }
    }

    /// How many bytes at the end of `bytes` may begin a prefix.
    fn begun_prefix(&self, bytes: &[u8]) -> usize {
        (1..self.prefix.len())
            .rev()
            .find(|n_bytes| {
                self.prefix
                    .get(..*n_bytes)
                    .is_some_and(|begun| bytes.ends_with(begun))
            })
            .unwrap_or(0)
    }

    /// Reads the head of a line that begins with the prefix.
    fn head(&self, line: &[u8]) -> Head {
        let digits_at = self.prefix.len().saturating_add(self.skipped_bytes);
        let (n_digits_min, n_digits_max) = self.digits;
        let behind = line.get(digits_at..).unwrap_or_default();
        let base = self.radix.base();
        let digits = behind
            .iter()
            .take(n_digits_max)
            .map_while(|byte| char::from(*byte).to_digit(base));
        let (n_digits, length) = digits.fold((0_usize, 0_u32), |(n_digits, length), digit| {
            (
                n_digits + 1,
                length.saturating_mul(base).saturating_add(digit),
            )
        });
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if n_digits == behind.len() && n_digits < n_digits_max {
            return Head::Incomplete;
        }
        let n_head_bytes = digits_at.saturating_add(n_digits);
        let n_bytes = match self.from {
            CountedFrom::Prefix => length,
            CountedFrom::BehindDigits => length.saturating_add(n_head_bytes),
        };
        if n_digits < n_digits_min || n_bytes <= n_head_bytes {
            return Head::Wrong;
        }
        Head::Length(n_bytes)
    }
}

impl Radix {
    const fn base(self) -> u32 {
        match self {
            Self::Decimal => 10,
            Self::Hexadecimal => 16,
        }
    }
}
