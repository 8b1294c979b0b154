//! A line apart: the identity in front of a sentence, the sentence, or an identity alone.
//!
//! A line may be damaged: bytes lost in the middle glue the beginning of one sentence to another.
//! What follows the last `$` is taken if its checksum is right, and if no vehicle may be named before it;
//! an identity in front of a sentence counts only if it looks like one, so that a torn field does not
//! rename a vehicle.

use super::sentence::{Checksum, Sentence};
use crate::{protocol::RejectReason, types::ids::VEHICLE_ID_BYTES_MAX};

/// Fewest characters of an identity that nothing sets apart from what follows.
const GLUED_ID_BYTES_MIN: usize = 5;

/// Fewest digits of an identity that stands on a line without any mark.
const BARE_ID_BYTES_MIN: usize = 4;

/// What a line is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line<'a> {
    /// A sentence, perhaps with an identity in front.
    Sentence {
        /// The identity in front.
        prefix: Option<&'a [u8]>,
        /// The sentence behind it.
        sentence: Sentence<'a>,
    },
    /// An identity and nothing else.
    Identity(&'a [u8]),
    /// The fields of a `QZE` report.
    Qze(&'a [u8]),
}

impl<'a> Line<'a> {
    /// Takes a line apart; the checksum is looked at only where it tells what belongs together.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, RejectReason> {
        let line = line.trim_ascii();
        if let Some(text) = line.strip_prefix(b"!") {
            let sentence = Sentence::parse(text);
            return Ok(Self::Sentence {
                prefix: None,
                sentence,
            });
        }
        let Some(start) = memchr::memchr(b'$', line) else {
            return Self::parse_without_sentence(line);
        };
        let (front, from_dollar) = line.split_at_checked(start).unwrap_or((line, &[]));
        let sentence = Sentence::parse(from_dollar.get(1..).unwrap_or_default());
        let prefix = prefix_id(front);
        if sentence.checksum != Checksum::Right {
            if let Some(sentence) = last_sentence(from_dollar) {
                if prefix.is_some() || is_named(from_dollar) {
                    return Err(RejectReason::Checksum);
                }
                return Ok(Self::Sentence {
                    prefix: None,
                    sentence,
                });
            }
            if !front.is_empty() && prefix.is_none() {
                return Err(match sentence.checksum {
                    Checksum::Missing => RejectReason::Malformed,
                    _ => RejectReason::Checksum,
                });
            }
        }
        Ok(Self::Sentence { prefix, sentence })
    }

    fn parse_without_sentence(line: &'a [u8]) -> Result<Self, RejectReason> {
        if let Some(id) = line.strip_prefix(b"IMEI ") {
            return Ok(Self::Identity(id.trim_ascii()));
        }
        if let Some(fields) = line.strip_prefix(b"QZE,") {
            return Ok(Self::Qze(fields));
        }
        if is_bare_id(line) {
            return Ok(Self::Identity(line));
        }
        Err(RejectReason::Malformed)
    }
}

/// The identity in `front`, the text before a sentence: `{id},`, `…/{id}/` or `{id}`.
pub(super) fn prefix_id(front: &[u8]) -> Option<&[u8]> {
    let (id, n_bytes_min) = match front {
        [id @ .., b','] => (id, 1),
        [path @ .., b'/'] => (path.rsplit(|byte| *byte == b'/').next()?, 1),
        id => (id, GLUED_ID_BYTES_MIN),
    };
    let fits = (n_bytes_min..=VEHICLE_ID_BYTES_MAX).contains(&id.len());
    (fits && id.iter().all(|byte| is_id_byte(*byte))).then_some(id)
}

/// Whether a whole line is an identity without any mark: hexadecimal or decimal digits.
pub(super) fn is_bare_id(line: &[u8]) -> bool {
    (BARE_ID_BYTES_MIN..=VEHICLE_ID_BYTES_MAX).contains(&line.len())
        && line.iter().all(u8::is_ascii_hexdigit)
}

/// Whether an identity in front of a sentence may hold `byte`.
pub(super) const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':')
}

/// Whether an identity may stand before the last `$`: glued to something, it cannot be told whose it is.
fn is_named(from_dollar: &[u8]) -> bool {
    let last = memchr::memrchr(b'$', from_dollar);
    let before = last.and_then(|last| from_dollar.get(..last));
    before.is_some_and(|before| matches!(before.last(), Some(b',' | b'/')))
}

/// What follows the last `$`, if there are several and its checksum is right.
fn last_sentence(from_dollar: &[u8]) -> Option<Sentence<'_>> {
    let last = memchr::memrchr(b'$', from_dollar).filter(|last| *last > 0)?;
    let sentence = Sentence::parse(from_dollar.get(last + 1..)?);
    (sentence.checksum == Checksum::Right).then_some(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_in_front_is_told_from_a_torn_field() {
        let cases: [(&str, Option<&str>); 10] = [
            ("490154203237567,", Some("490154203237567")),
            ("4F3E2D1C0B0A9988", Some("4F3E2D1C0B0A9988")),
            ("/gps/car-7/", Some("car-7")),
            ("7,", Some("7")),
            ("5F", None),
            ("5926.232", None),
            ("0.0,M,", None),
            ("a car,", None),
            ("", None),
            ("//", None),
        ];
        for (front, expected) in cases {
            let id = prefix_id(front.as_bytes()).map(|id| std::str::from_utf8(id).unwrap());
            assert_eq!(id, expected, "{front}");
        }
    }

    #[test]
    fn the_last_sentence_of_glued_ones_counts_if_it_is_whole() {
        let glued = Line::parse(b"$GPGGA,0815$PMADE,A,017.5*31").unwrap();
        let Line::Sentence { prefix, sentence } = glued else {
            panic!("{glued:?}");
        };
        assert_eq!((prefix, sentence.address()), (None, &b"PMADE"[..]));
        let noisy = Line::parse(b"\xff\x01;$PMADE,A,017.5*31 ").unwrap();
        assert!(matches!(noisy, Line::Sentence { prefix: None, .. }));
        for whose in [
            "bus-a,$GPGGA,0815$PMADE,A,017.5*31",
            "$GPGGA,0815bus-b,$PMADE,A,017.5*31",
            "/gps/bus-a/$GPGGA,08/gps/bus-b/$PMADE,A,017.5*31",
        ] {
            let parsed = Line::parse(whose.as_bytes());
            assert_eq!(parsed.err(), Some(RejectReason::Checksum), "{whose}");
        }
        assert_eq!(
            Line::parse(b"\xff\x01;$PMADE,A,017.5*00").err(),
            Some(RejectReason::Checksum)
        );
    }
}
