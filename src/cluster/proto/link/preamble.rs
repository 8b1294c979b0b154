//! What the two ends of a connection say in clear before their handshake.
//!
//! It tells a foreign program, a foreign version and a foreign cluster apart from a wrong secret,
//! and gives nothing away: the tag of the cluster is a hash keyed with the secret. The call is the
//! prologue of the Noise handshake, so none of it can be altered; the answer is bound by the hello,
//! which says the versions again. What a refusal says is not proven, and leads to nothing but a word
//! in the log and a later dial.

use std::fmt;

/// Begins everything that is said on a link's port.
pub const MAGIC: [u8; 4] = *b"wmlk";

/// Bytes of a [`Call`].
pub const CALL_BYTES: usize = 22;

/// Bytes of an [`Answer`].
pub const ANSWER_BYTES: usize = 7;

/// The versions of the wire that a node speaks: all from `oldest` to `newest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireVersions {
    /// The lowest.
    pub oldest: u8,
    /// The highest.
    pub newest: u8,
}

/// Tells clusters apart, for those who have the secret only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterTag(pub [u8; 16]);

/// The first bytes of who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What it speaks.
    pub versions: WireVersions,
    /// Of its cluster, made with the secret that it dials with.
    pub tag: ClusterTag,
}

/// The first bytes of who was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What it speaks.
    pub versions: WireVersions,
    /// Whether its part of the handshake follows.
    pub verdict: Verdict,
}

/// What a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The handshake goes on.
    GoOn,
    /// No version is spoken by both.
    OtherVersion,
    /// The secret is right and the cluster's name another.
    OtherCluster,
    /// The secret is not one of those that are accepted here.
    WrongSecret,
}

/// These bytes were not written by a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rubbish;

impl WireVersions {
    /// What this program speaks.
    pub const OURS: Self = Self {
        oldest: super::WIRE_VERSION_OLDEST,
        newest: super::WIRE_VERSION,
    };

    /// The highest version that both speak.
    pub fn common(self, other: Self) -> Option<u8> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }

    pub(super) fn read(oldest: u8, newest: u8) -> Result<Self, Rubbish> {
        let is_range = 0 < oldest && oldest <= newest;
        is_range.then_some(Self { oldest, newest }).ok_or(Rubbish)
    }
}

impl fmt::Display for WireVersions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", self.oldest, self.newest)
    }
}

impl Call {
    /// The bytes of the call.
    pub fn encode(&self) -> [u8; CALL_BYTES] {
        let versions = [self.versions.oldest, self.versions.newest];
        let all = MAGIC.into_iter().chain(versions).chain(self.tag.0);
        let mut bytes = [0; CALL_BYTES];
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Reads a call.
    ///
    /// # Errors
    /// [`Rubbish`] if no node wrote it.
    pub fn decode(bytes: &[u8; CALL_BYTES]) -> Result<Self, Rubbish> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(Rubbish)?;
        let ([oldest, newest], tag) = rest.split_first_chunk().ok_or(Rubbish)?;
        if *magic != MAGIC {
            return Err(Rubbish);
        }
        Ok(Self {
            versions: WireVersions::read(*oldest, *newest)?,
            tag: ClusterTag(tag.try_into().map_err(|_| Rubbish)?),
        })
    }
}

impl Answer {
    /// The bytes of the answer.
    pub const fn encode(&self) -> [u8; ANSWER_BYTES] {
        let [a, b, c, d] = MAGIC;
        let verdict = match self.verdict {
            Verdict::GoOn => 0,
            Verdict::OtherVersion => 1,
            Verdict::OtherCluster => 2,
            Verdict::WrongSecret => 3,
        };
        let WireVersions { oldest, newest } = self.versions;
        [a, b, c, d, oldest, newest, verdict]
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`Rubbish`] if no node wrote it.
    pub fn decode(bytes: &[u8; ANSWER_BYTES]) -> Result<Self, Rubbish> {
        let [magic @ .., oldest, newest, verdict] = *bytes;
        if magic != MAGIC {
            return Err(Rubbish);
        }
        let verdict = match verdict {
            0 => Verdict::GoOn,
            1 => Verdict::OtherVersion,
            2 => Verdict::OtherCluster,
            3 => Verdict::WrongSecret,
            _ => return Err(Rubbish),
        };
        let versions = WireVersions::read(oldest, newest)?;
        Ok(Self { versions, verdict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(oldest: u8, newest: u8) -> WireVersions {
        WireVersions { oldest, newest }
    }

    #[test]
    fn the_highest_version_of_both_is_spoken() {
        assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
        assert_eq!(versions(2, 5).common(versions(1, 3)), Some(3));
        assert_eq!(versions(1, 2).common(versions(3, 4)), None);
        assert_eq!(versions(4, 4).common(versions(4, 9)), Some(4));
    }

    #[test]
    fn a_call_and_an_answer_are_read_as_they_were_written() {
        let call = Call {
            versions: versions(1, 2),
            tag: ClusterTag(*b"0123456789abcdef"),
        };
        assert_eq!(Call::decode(&call.encode()), Ok(call));
        for verdict in [
            Verdict::GoOn,
            Verdict::OtherVersion,
            Verdict::OtherCluster,
            Verdict::WrongSecret,
        ] {
            let versions = versions(3, 4);
            let answer = Answer { versions, verdict };
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn other_programs_and_impossible_versions_are_rubbish() {
        assert_eq!(Call::decode(b"GET / HTTP/1.1\r\nHost: "), Err(Rubbish));
        assert_eq!(Call::decode(b"wmlk\0\x010123456789abcdef"), Err(Rubbish));
        assert_eq!(Call::decode(b"wmlk\x02\x010123456789abcdef"), Err(Rubbish));
        assert_eq!(Answer::decode(b"SSH-2.0"), Err(Rubbish));
        assert_eq!(Answer::decode(b"wmlk\x01\x01\x09"), Err(Rubbish));
    }
}
