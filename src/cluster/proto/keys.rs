//! What signs and proves beacons: keys that follow from the cluster's secret and name.

use std::fmt;

use super::card::NodeName;

/// Bytes of the tag that ends a beacon.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of the hash that stands for the cluster's name.
pub(crate) const CLUSTER_HASH_BYTES: usize = 8;

/// Secrets that are looked at: the one in use, and its predecessor or successor in a rotation.
pub(crate) const SECRETS_MAX: usize = 2;

const TAG_CONTEXT: &str = "waymesh beacon tag v1";
const CLUSTER_CONTEXT: &str = "waymesh beacon cluster v1";

/// The keys of beacons: the first secret signs, each is accepted.
#[derive(Clone)]
pub struct BeaconKeys(Vec<SecretKeys>);

#[derive(Clone)]
struct SecretKeys {
    tag: [u8; 32],
    cluster_hash: [u8; CLUSTER_HASH_BYTES],
}

/// Whose a datagram is, by its tag and its cluster hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Of this cluster.
    Ours,
    /// Signed with our secret, for a cluster of another name.
    OtherCluster,
    /// Signed with no secret of ours, or altered.
    Wrong,
}

impl BeaconKeys {
    /// Keys for a cluster's name from its secrets, which may have any length.
    ///
    /// # Panics
    /// If there is no secret, or there are more than two.
    pub fn new<S: AsRef<[u8]>>(secrets: &[S], cluster: &NodeName) -> Self {
        assert!(
            (1..=SECRETS_MAX).contains(&secrets.len()),
            "one secret signs, a second may be accepted"
        );
        let keys = secrets.iter().map(|secret| {
            let key = blake3::derive_key(CLUSTER_CONTEXT, secret.as_ref());
            SecretKeys {
                tag: blake3::derive_key(TAG_CONTEXT, secret.as_ref()),
                cluster_hash: head(&blake3::keyed_hash(&key, cluster.as_str().as_bytes())),
            }
        });
        Self(keys.collect())
    }

    /// The hash that a beacon of this cluster carries.
    pub(crate) fn cluster_hash(&self) -> [u8; CLUSTER_HASH_BYTES] {
        self.first().cluster_hash
    }

    /// The tag for what a beacon says.
    pub(crate) fn tag(&self, signed: &[u8]) -> [u8; TAG_BYTES] {
        head(&blake3::keyed_hash(&self.first().tag, signed))
    }

    /// Whose a beacon is that says `signed` and ends with `tag`.
    pub(crate) fn check(&self, signed: &[u8], cluster_hash: &[u8], tag: &[u8]) -> Signature {
        for keys in &self.0 {
            let expected: [u8; TAG_BYTES] = head(&blake3::keyed_hash(&keys.tag, signed));
            if is_same(&expected, tag) {
                return if keys.cluster_hash == cluster_hash {
                    Signature::Ours
                } else {
                    Signature::OtherCluster
                };
            }
        }
        Signature::Wrong
    }

    fn first(&self) -> &SecretKeys {
        self.0.first().expect("checked where it was made")
    }
}

impl fmt::Debug for BeaconKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BeaconKeys({} secrets)", self.0.len())
    }
}

/// The first bytes of a hash.
fn head<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    hash.as_bytes()
        .first_chunk()
        .copied()
        .expect("a hash has 32 bytes")
}

/// Compares in a time that does not depend on where the first difference is.
fn is_same(expected: &[u8], found: &[u8]) -> bool {
    let differences = expected.iter().zip(found).map(|(one, other)| one ^ other);
    expected.len() == found.len() && differences.fold(0, |all, one| all | one) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    #[test]
    fn the_first_secret_signs_and_both_are_accepted() {
        let both = BeaconKeys::new(&["new", "old"], &name("waymesh"));
        let old = BeaconKeys::new(&["old"], &name("waymesh"));
        let new = BeaconKeys::new(&["new"], &name("waymesh"));
        let signs = |keys: &BeaconKeys| (keys.cluster_hash(), keys.tag(b"said"));
        let checks =
            |keys: &BeaconKeys, (hash, tag): ([u8; 8], [u8; 16])| keys.check(b"said", &hash, &tag);
        assert_eq!(checks(&both, signs(&old)), Signature::Ours);
        assert_eq!(checks(&new, signs(&both)), Signature::Ours);
        assert_eq!(checks(&old, signs(&both)), Signature::Wrong);
    }

    #[test]
    fn another_name_is_told_from_another_secret() {
        let ours = BeaconKeys::new(&["secret"], &name("waymesh"));
        let other = BeaconKeys::new(&["secret"], &name("elsewhere"));
        let stranger = BeaconKeys::new(&["guess"], &name("waymesh"));
        let found = |keys: &BeaconKeys| ours.check(b"x", &keys.cluster_hash(), &keys.tag(b"x"));
        assert_eq!(found(&other), Signature::OtherCluster);
        assert_eq!(found(&stranger), Signature::Wrong);
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = BeaconKeys::new(&["secret"], &name("waymesh"));
        assert_eq!(format!("{keys:?}"), "BeaconKeys(1 secrets)");
    }

    #[test]
    fn a_shorter_tag_is_not_the_same() {
        assert!(is_same(b"abcd", b"abcd"));
        assert!(!is_same(b"abcd", b"abc") && !is_same(b"abcd", b"abce") && !is_same(b"abcd", b""));
    }
}
