//! Digests: sets of nodes as one number, by which two nodes see that they agree.

use std::fmt;

/// Digest of the members that a node takes for up. Equal or different, never older or newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewDigest(pub u64);

/// Digest of the storing members that a node has a direct link to, itself included: its shard map
/// follows from that set alone. Equal or different, never older or newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Makes one number of words; the order counts. The same on every machine and in every release.
#[derive(Debug)]
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    /// A digest for a purpose, which sets it apart from others over the same words.
    pub(crate) fn of(purpose: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(purpose))
    }

    /// Takes in a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    /// Takes in a text with its length, so that no two texts run together.
    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    /// The digest of all that was taken in.
    pub(crate) fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_do_not_run_together() {
        let digest = |texts: &[&str]| {
            let mut digest = Digest::of("test");
            texts.iter().for_each(|text| digest.text(text));
            digest.finish()
        };
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(Digest::of("one").finish(), Digest::of("other").finish());
    }
}
