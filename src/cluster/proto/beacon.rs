//! The datagrams of discovery, byte for byte: [`beacons`](super::beacons) is their document, this file
//! follows it.
//!
//! A beacon is signed, not secret. Reading never panics and never allocates by what the datagram
//! claims; each datagram that is no beacon of this cluster has one named reason.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::types::ids::NodeId;

use super::{
    card::{Incarnation, NodeName, RunNumber},
    keys::{BeaconKeys, CLUSTER_HASH_BYTES, Signature, TAG_BYTES},
    view::ViewDigest,
};

/// Longest datagram that is looked at; longer ones are not beacons.
pub const BEACON_BYTES_MAX: usize = 511;

/// Version of the wire that this release speaks.
pub const WIRE_VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"WMSH";
const SETTLED: u8 = 0b0000_0001;
/// Bit of the flags.
const WANTS_FEW: u8 = 0b0000_0010;
/// Magic, version, kind and flags: where the hash of the cluster's name begins.
const CLUSTER_HASH_AT: usize = 7;

/// Number that a PING carries and its PONGs echo; random, and not used again in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// What a beacon is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeaconKind {
    /// Who is there? One of a series.
    Ping(Nonce),
    /// I am: the answer to the PING of `pinger` that carried the nonce.
    Pong {
        /// Echoed.
        nonce: Nonce,
        /// Whose PING is answered.
        pinger: NodeId,
    },
    /// The PING of a node at rest, which joins islands and feeds the watchdogs.
    Beat(Nonce),
}

impl BeaconKind {
    /// The nonce that it carries, its own or echoed.
    pub const fn nonce(self) -> Nonce {
        match self {
            Self::Ping(nonce) | Self::Beat(nonce) | Self::Pong { nonce, .. } => nonce,
        }
    }
}

/// What one datagram says about its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beacon {
    /// What it is sent for.
    pub kind: BeaconKind,
    /// Identity of the sender.
    pub id: NodeId,
    /// Name of the sender.
    pub name: NodeName,
    /// Of the sender.
    pub incarnation: Incarnation,
    /// Of the sender.
    pub run: RunNumber,
    /// Whether the sender holds its name already, rather than having just started.
    pub is_settled: bool,
    /// Whether answers of some will do: the sender takes their word for where the others are.
    pub wants_few: bool,
    /// Digest of the members that the sender takes for up.
    pub digest: ViewDigest,
    /// Port of the sender's links, at the datagram's source address.
    pub link_port: u16,
    /// Address of the sender's links where the source address leads astray.
    pub advertised: Option<SocketAddr>,
}

/// Why a datagram is no beacon for this node. Each is counted under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum BeaconRejection {
    /// Longer than [`BEACON_BYTES_MAX`].
    #[error("too long")]
    TooLong,
    /// No beacon at all, or one whose fields cannot be.
    #[error("malformed")]
    Malformed,
    /// Of a version that this release does not speak.
    #[error("other version")]
    OtherVersion,
    /// Signed with a secret that this node does not have, or altered.
    #[error("wrong secret")]
    WrongSecret,
    /// Signed with our secret for a cluster of another name.
    #[error("other cluster")]
    OtherCluster,
    /// Sent by this node in this run; feeds the watchdog only.
    #[error("own")]
    Own,
    /// It answers, or repeats, nothing that was heard within the last second.
    #[error("stale nonce")]
    StaleNonce,
}

impl BeaconRejection {
    /// All of them, in the order of their counts.
    pub const ALL: [Self; 7] = [
        Self::TooLong,
        Self::Malformed,
        Self::OtherVersion,
        Self::WrongSecret,
        Self::OtherCluster,
        Self::Own,
        Self::StaleNonce,
    ];

    /// The value of a label for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::OtherVersion => "other_version",
            Self::WrongSecret => "wrong_secret",
            Self::OtherCluster => "other_cluster",
            Self::Own => "own",
            Self::StaleNonce => "stale_nonce",
        }
    }
}

/// A datagram that is no beacon of this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: BeaconRejection,
    /// Name that the sender gives itself, where the datagram has one: proven for
    /// [`BeaconRejection::OtherCluster`], a mere claim otherwise.
    pub name: Option<NodeName>,
}

impl Beacon {
    /// The datagram, signed with the first secret.
    pub fn to_bytes(&self, keys: &BeaconKeys) -> Bytes {
        let mut bytes = BytesMut::with_capacity(192);
        bytes.put_slice(&MAGIC);
        bytes.put_u8(WIRE_VERSION);
        let (kind, nonce, pinger) = match self.kind {
            BeaconKind::Ping(nonce) => (1, nonce, NodeId(0)),
            BeaconKind::Pong { nonce, pinger } => (2, nonce, pinger),
            BeaconKind::Beat(nonce) => (3, nonce, NodeId(0)),
        };
        bytes.put_u8(kind);
        let flags = [(self.is_settled, SETTLED), (self.wants_few, WANTS_FEW)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        bytes.put_u8(flags.fold(0, |flags, (_, bit)| flags | bit));
        bytes.put_slice(&keys.cluster_hash());
        bytes.put_u64(self.id.0);
        bytes.put_u64(self.incarnation.0);
        bytes.put_u64(self.run.0);
        bytes.put_u64(self.digest.0);
        bytes.put_u64(nonce.0);
        bytes.put_u64(pinger.0);
        bytes.put_u16(self.link_port);
        put_address(&mut bytes, self.advertised);
        let name = self.name.as_str().as_bytes();
        bytes.put_u8(u8::try_from(name.len()).expect("a name has at most 64 bytes"));
        bytes.put_slice(name);
        let tag = keys.tag(&bytes);
        bytes.put_slice(&tag);
        assert!(bytes.len() <= BEACON_BYTES_MAX, "a beacon fits its limit");
        bytes.freeze()
    }

    /// Reads a datagram and proves whose it is. Whether it is fresh, and whether it is one's own,
    /// is for the caller to say.
    ///
    /// # Errors
    /// [`Rejected`], with the name that the sender claims.
    pub fn read(datagram: &[u8], keys: &BeaconKeys) -> Result<Self, Rejected> {
        let nameless = |reason| Rejected { reason, name: None };
        if datagram.len() > BEACON_BYTES_MAX {
            return Err(nameless(BeaconRejection::TooLong));
        }
        let malformed = || nameless(BeaconRejection::Malformed);
        let mut head = datagram;
        if head.try_get_u32() != Ok(u32::from_be_bytes(MAGIC)) {
            return Err(malformed());
        }
        if head.try_get_u8().map_err(|_| malformed())? != WIRE_VERSION {
            return Err(nameless(BeaconRejection::OtherVersion));
        }
        let at = datagram.len().checked_sub(TAG_BYTES);
        let parts = at.and_then(|at| datagram.split_at_checked(at));
        let (signed, tag) = parts.ok_or_else(malformed)?;
        let cluster_hash = signed.get(CLUSTER_HASH_AT..CLUSTER_HASH_AT + CLUSTER_HASH_BYTES);
        let cluster_hash = cluster_hash.ok_or_else(malformed)?;
        let read = read_signed(signed);
        let reason = match keys.check(signed, cluster_hash, tag) {
            Signature::Ours => return read.ok_or_else(malformed),
            Signature::OtherCluster => BeaconRejection::OtherCluster,
            Signature::Wrong => BeaconRejection::WrongSecret,
        };
        let name = read.map(|beacon| beacon.name);
        Err(Rejected { reason, name })
    }
}

/// What stands before the tag; `None` where it cannot be. Bytes behind the name are left unread:
/// a later release may say more there.
fn read_signed(signed: &[u8]) -> Option<Beacon> {
    let mut bytes = signed.get(MAGIC.len() + 1..)?;
    let kind = bytes.try_get_u8().ok()?;
    let flags = bytes.try_get_u8().ok()?;
    bytes = bytes.get(CLUSTER_HASH_BYTES..)?;
    let id = NodeId(bytes.try_get_u64().ok()?);
    let incarnation = Incarnation(bytes.try_get_u64().ok()?);
    let run = RunNumber(bytes.try_get_u64().ok()?);
    let digest = ViewDigest(bytes.try_get_u64().ok()?);
    let nonce = Nonce(bytes.try_get_u64().ok()?);
    let pinger = NodeId(bytes.try_get_u64().ok()?);
    let kind = match kind {
        1 => BeaconKind::Ping(nonce),
        2 => BeaconKind::Pong { nonce, pinger },
        3 => BeaconKind::Beat(nonce),
        _ => return None,
    };
    let link_port = bytes.try_get_u16().ok()?;
    let advertised = take_address(&mut bytes)?;
    let n_name_bytes = usize::from(bytes.try_get_u8().ok()?);
    let name = std::str::from_utf8(bytes.get(..n_name_bytes)?).ok()?;
    Some(Beacon {
        kind,
        id,
        name: NodeName::parse(name).ok()?,
        incarnation,
        run,
        is_settled: flags & SETTLED != 0,
        wants_few: flags & WANTS_FEW != 0,
        digest,
        link_port,
        advertised,
    })
}

fn put_address(bytes: &mut BytesMut, address: Option<SocketAddr>) {
    match address.map(|address| (address.ip(), address.port())) {
        None => bytes.put_u8(0),
        Some((IpAddr::V4(ip), port)) => {
            bytes.put_u8(4);
            bytes.put_slice(&ip.octets());
            bytes.put_u16(port);
        }
        Some((IpAddr::V6(ip), port)) => {
            bytes.put_u8(6);
            bytes.put_slice(&ip.octets());
            bytes.put_u16(port);
        }
    }
}

/// `None` where there is no address to be read; `Some(None)` where none is given.
fn take_address(bytes: &mut &[u8]) -> Option<Option<SocketAddr>> {
    let ip = match bytes.try_get_u8().ok()? {
        0 => return Some(None),
        4 => IpAddr::V4(Ipv4Addr::from_bits(bytes.try_get_u32().ok()?)),
        6 => IpAddr::V6(Ipv6Addr::from_bits(bytes.try_get_u128().ok()?)),
        _ => return None,
    };
    let port = bytes.try_get_u16().ok()?;
    (port != 0).then_some(Some(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests;
