//! A text apart at its separators, eight bytes at a time: when each field was looked for by itself, it
//! was a quarter of the time of an RMC. Knows nothing of what the fields mean.

/// Bytes that are looked at together.
const WORD_BYTES: usize = 8;

/// Bytes whose separators are gathered in one number.
const BLOCK_BYTES: usize = 64;

/// All bits of each byte but the highest.
const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;

/// Times this, the lowest bits of eight bytes stand side by side in the highest byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// The first `N` fields of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a, const N: usize> {
    text: &'a [u8],
    /// Where each field ends; the end of the text where there is none.
    ends: [usize; N],
    n_fields: usize,
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Splits a text; an empty one is one empty field.
    #[inline]
    pub(super) fn split(text: &'a [u8], separator: u8) -> Self {
        let mut ends = [text.len(); N];
        let mut places = ends.iter_mut();
        let mut n_separators = 0;
        for (number, block) in text.chunks(BLOCK_BYTES).enumerate() {
            let mut found = separators(block, separator);
            while found != 0 {
                if let Some(end) = places.next() {
                    *end = number * BLOCK_BYTES + found.trailing_zeros() as usize;
                }
                n_separators += 1;
                found &= found - 1;
            }
        }
        Self {
            text,
            ends,
            n_fields: N.min(n_separators + 1),
        }
    }

    /// The fields from `start` on; those that are missing are empty.
    #[inline]
    pub(super) fn from<const M: usize>(&self, start: usize) -> [&'a [u8]; M] {
        std::array::from_fn(|idx| self.at(start + idx))
    }

    /// The field at `idx`, counted from 0; empty if there is none.
    #[inline]
    pub(super) fn at(&self, idx: usize) -> &'a [u8] {
        let before = idx.checked_sub(1).map(|before| self.ends.get(before));
        let start = match before {
            None => 0,
            Some(end) => end.map_or(self.text.len(), |end| end + 1),
        };
        let end = self.ends.get(idx).copied().unwrap_or_default();
        self.text.get(start..end).unwrap_or_default()
    }

    /// Number of fields, at most `N`.
    pub(super) const fn len(&self) -> usize {
        self.n_fields
    }
}

/// The places of `separator` in a block: bit 0 for its first byte.
#[inline]
fn separators(block: &[u8], separator: u8) -> u64 {
    let (words, rest) = block.as_chunks::<WORD_BYTES>();
    let mut found = 0;
    for (number, word) in words.iter().enumerate() {
        found |= separators_of_word(*word, separator) << (number * WORD_BYTES);
    }
    match block.last_chunk::<WORD_BYTES>() {
        // It may overlap the words before it, and says the same of them.
        Some(last) => found | separators_of_word(*last, separator) << (block.len() - WORD_BYTES),
        None => rest.iter().rev().fold(0, |found, byte| {
            (found << 1) | u64::from(*byte == separator)
        }),
    }
}

#[inline]
const fn separators_of_word(word: [u8; WORD_BYTES], separator: u8) -> u64 {
    let differing = u64::from_le_bytes(word) ^ u64::from_le_bytes([separator; WORD_BYTES]);
    // The highest bit of each byte that is a separator.
    let found = !(((differing & LOW_BITS) + LOW_BITS) | differing | LOW_BITS);
    (found >> 7).wrapping_mul(GATHER) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn fields_are_what_the_standard_library_finds() {
        let mut prng = Prng::new(5);
        for _ in 0..4_000 {
            // Now and then more than one block.
            let n_bytes_max = [20, 20, 20, 200][prng.below(4) as usize];
            let n_bytes = prng.below(n_bytes_max) as usize;
            // Bytes around the separator too, and with its lower bits; some texts hold few of it.
            let n_kinds = 8 + prng.below(40);
            let byte = |prng: &mut Prng| {
                let kind = prng.below(n_kinds) as usize;
                b";;:<\xBBa\0\xFF".get(kind).copied().unwrap_or(b'5')
            };
            let text: Vec<u8> = (0..n_bytes).map(|_| byte(&mut prng)).collect();
            let expected: Vec<_> = text.split(|byte| *byte == b';').take(12).collect();
            let fields = Fields::<12>::split(&text, b';');
            let found: Vec<_> = (0..fields.len()).map(|idx| fields.at(idx)).collect();
            assert_eq!(found, expected, "{text:?}");
            for idx in fields.len()..20 {
                assert_eq!(fields.at(idx), b"");
            }
        }
    }
}
