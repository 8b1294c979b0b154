//! What comes in over the port of discovery: any datagram is a beacon or has one reason why not, and
//! what is read is the same when it is written and read again.

use waymesh::cluster::proto::{BEACON_BYTES_MAX, Beacon, BeaconKeys, BeaconRejection, NodeName};

const SECRET: [u8; 32] = [42; 32];
const CLUSTER: &str = "waymesh";

/// Where the hash of the cluster's name stands, and what stands before it.
const HEAD_BYTES: usize = 7;

/// The input is a datagram; then it is what stands between head and tag of one that the secret signed.
pub(crate) fn check(input: &[u8]) {
    let cluster = NodeName::parse(CLUSTER).expect("a name");
    let keys = BeaconKeys::new(&[SECRET], &cluster);
    check_datagram(input, &keys);
    if let Some((choice, rest)) = input.split_first() {
        let signed = signed(*choice, rest);
        let reason = check_datagram(&signed, &keys);
        let is_long = signed.len() > BEACON_BYTES_MAX;
        let expected = [if is_long {
            BeaconRejection::TooLong
        } else {
            BeaconRejection::Malformed
        }];
        assert!(reason.is_none_or(|reason| expected.contains(&reason)));
    }
}

/// Why it is no beacon.
fn check_datagram(datagram: &[u8], keys: &BeaconKeys) -> Option<BeaconRejection> {
    match Beacon::read(datagram, keys) {
        Ok(beacon) => {
            assert!(datagram.len() <= BEACON_BYTES_MAX);
            assert!(beacon.advertised.is_none_or(|address| address.port() != 0));
            let written = beacon.to_bytes(keys);
            assert!(written.len() <= datagram.len(), "later fields are left out");
            assert_eq!(Beacon::read(&written, keys).as_ref(), Ok(&beacon));
            check_damaged(&written, keys);
            None
        }
        Err(rejected) => Some(rejected.reason),
    }
}

/// One bit that is another: no beacon.
fn check_damaged(written: &[u8], keys: &BeaconKeys) {
    let at = written.last().map_or(0, |byte| usize::from(*byte)) % written.len();
    let mut damaged = written.to_vec();
    damaged[at] ^= 1 << (at % 8);
    assert!(Beacon::read(&damaged, keys).is_err(), "bit of byte {at}");
}

/// A datagram of the kind and the flags that `choice` holds, which says `rest`, with the tag of the
/// secret.
fn signed(choice: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"WMSH\x01".to_vec();
    bytes.extend([choice >> 4, choice & 0x0f]);
    let key = blake3::derive_key("waymesh beacon cluster v1", &SECRET);
    let cluster = blake3::keyed_hash(&key, CLUSTER.as_bytes());
    assert_eq!(bytes.len(), HEAD_BYTES);
    bytes.extend(&cluster.as_bytes()[..8]);
    bytes.extend(rest);
    let key = blake3::derive_key("waymesh beacon tag v1", &SECRET);
    let tag = blake3::keyed_hash(&key, &bytes);
    bytes.extend(&tag.as_bytes()[..16]);
    bytes
}
