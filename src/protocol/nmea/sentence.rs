//! One sentence: its content, its checksum, its fields. Knows nothing of what the fields mean.

use crate::protocol::fields;

/// Fields that are looked at; the longest sentence that is read has 29.
const N_FIELDS_MAX: usize = 32;

/// What the end of a sentence says about the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Two hexadecimal digits after `*` that are the exclusive or of the content.
    Right,
    /// Something else after `*`.
    Wrong,
    /// No `*`, or nothing after it.
    Missing,
}

/// What stands between `$` and `*`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sentence<'a> {
    /// All of it: address, comma, fields.
    pub(super) content: &'a [u8],
    /// Whether the content is as it was sent.
    pub(super) checksum: Checksum,
}

/// The comma-separated fields after the address, without spaces around them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(fields::Fields<'a, N_FIELDS_MAX>);

impl<'a> Sentence<'a> {
    /// Reads what follows the `$`.
    pub(super) fn parse(text: &'a [u8]) -> Self {
        let Some((content, given)) = memchr::memrchr(b'*', text)
            .and_then(|star| text.split_at_checked(star))
            .and_then(|(content, end)| Some((content, end.get(1..)?)))
        else {
            return Self {
                content: text,
                checksum: Checksum::Missing,
            };
        };
        let checksum = match given {
            [] => Checksum::Missing,
            [high, low] if hex_pair(*high, *low) == Some(xor(content)) => Checksum::Right,
            _ => Checksum::Wrong,
        };
        Self { content, checksum }
    }

    /// What stands before the first comma, for example `GPRMC`.
    pub(super) fn address(&self) -> &'a [u8] {
        let end = memchr::memchr(b',', self.content).unwrap_or(self.content.len());
        self.content.get(..end).unwrap_or_default()
    }

    /// The fields after the address.
    pub(super) fn fields(&self) -> Fields<'a> {
        let after = self.content.get(self.address().len()..).unwrap_or_default();
        Fields::split(after.get(1..).unwrap_or_default())
    }
}

impl<'a> Fields<'a> {
    /// Splits a text at its commas.
    pub(super) fn split(text: &'a [u8]) -> Self {
        Self(fields::Fields::split(text, b','))
    }

    /// The field at `idx`, counted from 0; empty if there is none.
    pub(super) fn at(&self, idx: usize) -> &'a [u8] {
        self.0.at(idx).trim_ascii()
    }

    /// Number of fields, at most [`N_FIELDS_MAX`].
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The index of the field that is `name`.
    pub(super) fn position(&self, name: &[u8]) -> Option<usize> {
        (0..self.len()).find(|idx| self.at(*idx) == name)
    }
}

/// The exclusive or of all bytes: NMEA 0183's checksum.
#[inline]
pub(super) fn xor(content: &[u8]) -> u8 {
    let (words, rest) = content.as_chunks();
    let words = words
        .iter()
        .fold(0, |sum, word| sum ^ u64::from_le_bytes(*word));
    let rest = rest.iter().fold(0, |sum, byte| sum ^ byte);
    let bytes = words.to_le_bytes();
    bytes.iter().fold(rest, |sum, byte| sum ^ byte)
}

#[inline]
pub(super) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_right_wrong_or_missing() {
        let cases: [(&[u8], Checksum); 8] = [
            (b"PMADE,A,017.5*31", Checksum::Right),
            (b"GNRMC,111213.00,V,,,,,,,,,,,V*56", Checksum::Right),
            (b"PMADE,A,017.5*00", Checksum::Wrong),
            (b"PMADE,A,017.5*3", Checksum::Wrong),
            (b"PMADE,A,017.5* 31", Checksum::Wrong),
            (b"PMADE,A,017.5*", Checksum::Missing),
            (b"PMADE,A,017.5", Checksum::Missing),
            (b"", Checksum::Missing),
        ];
        for (text, expected) in cases {
            assert_eq!(Sentence::parse(text).checksum, expected, "{text:?}");
        }
    }

    #[test]
    fn fields_are_what_stands_between_commas() {
        let sentence = Sentence::parse(b"GPGLL,, N ,,x*00");
        assert_eq!(sentence.address(), b"GPGLL");
        let fields = sentence.fields();
        assert_eq!(fields.len(), 4);
        assert_eq!(fields.at(1), b"N");
        assert_eq!(fields.at(3), b"x");
        assert_eq!(fields.at(99), b"");
        assert_eq!(fields.position(b"x"), Some(3));
    }
}
