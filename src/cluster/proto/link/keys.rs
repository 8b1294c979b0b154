//! What follows from the cluster's secret and name for links.

use std::fmt;

use super::preamble::ClusterTag;
use crate::cluster::proto::NodeName;

/// Contexts of the derivations: part of the wire format, never changed.
const PSK_CONTEXT: &str = "waymesh link psk v1";
const CLUSTER_CONTEXT: &str = "waymesh link cluster v1";

/// The keys of links that follow from one secret.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKeys {
    psk: [u8; 32],
    tag: ClusterTag,
}

impl LinkKeys {
    /// The keys for a cluster's name from one of its secrets.
    pub fn new(secret: &[u8], cluster: &NodeName) -> Self {
        let key = blake3::derive_key(CLUSTER_CONTEXT, secret);
        let hash = blake3::keyed_hash(&key, cluster.as_str().as_bytes());
        let mut tag = [0; 16];
        tag.iter_mut()
            .zip(hash.as_bytes())
            .for_each(|(byte, hashed)| *byte = *hashed);
        Self {
            psk: blake3::derive_key(PSK_CONTEXT, secret),
            tag: ClusterTag(tag),
        }
    }

    /// The pre-shared key of the handshake.
    pub const fn psk(&self) -> &[u8; 32] {
        &self.psk
    }

    /// What stands for the cluster in a call.
    pub const fn tag(&self) -> ClusterTag {
        self.tag
    }
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LinkKeys(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_the_secret_and_the_tag_on_the_name_too() {
        let keys = |secret, name| LinkKeys::new(&[secret; 32], &NodeName::parse(name).unwrap());
        let one = keys(1, "waymesh");
        assert_eq!(one, keys(1, "waymesh"));
        assert_eq!(one.psk(), keys(1, "other").psk());
        assert_ne!(one.tag(), keys(1, "other").tag());
        assert_ne!(one.psk(), keys(2, "waymesh").psk());
        assert_ne!(one.tag(), keys(2, "waymesh").tag());
        assert_ne!(one.psk(), &[1; 32]);
        assert_eq!(format!("{one:?}"), "LinkKeys(hidden)");
    }
}
