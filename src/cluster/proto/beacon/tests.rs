//! Beacons against their document: vectors, altered bits, noise, and a program in another language.

use std::{fs, path::PathBuf, process::Command};

use proptest::prelude::*;

use super::*;

fn keys(secret: &str) -> BeaconKeys {
    BeaconKeys::new(&[secret], &NodeName::parse("waymesh").unwrap())
}

fn beacon() -> Beacon {
    Beacon {
        kind: BeaconKind::Ping(Nonce(7)),
        id: NodeId(1),
        name: NodeName::parse("a").unwrap(),
        incarnation: Incarnation(3),
        run: RunNumber(99),
        is_settled: true,
        wants_few: false,
        digest: ViewDigest(5),
        link_port: 5001,
        advertised: None,
    }
}

fn any_beacon() -> impl Strategy<Value = Beacon> {
    let kind = (1..=3, any::<u64>(), any::<u64>()).prop_map(|(kind, nonce, pinger)| {
        let (nonce, pinger) = (Nonce(nonce), NodeId(pinger));
        match kind {
            1 => BeaconKind::Ping(nonce),
            2 => BeaconKind::Pong { nonce, pinger },
            _ => BeaconKind::Beat(nonce),
        }
    });
    let ip = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ];
    let address = (ip, 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    let name = "[a-zé .-]{1,32}".prop_map(|name| NodeName::parse(&name).unwrap());
    let numbers = any::<[u64; 4]>();
    let rest = (
        any::<[bool; 2]>(),
        any::<u16>(),
        proptest::option::of(address),
        name,
    );
    (kind, numbers, rest).prop_map(|(kind, [id, incarnation, run, digest], rest)| Beacon {
        kind,
        id: NodeId(id),
        name: rest.3,
        incarnation: Incarnation(incarnation),
        run: RunNumber(run),
        is_settled: rest.0[0],
        wants_few: rest.0[1],
        digest: ViewDigest(digest),
        link_port: rest.1,
        advertised: rest.2,
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(beacon in any_beacon()) {
        let bytes = beacon.to_bytes(&keys("s"));
        prop_assert!(bytes.len() <= 170);
        prop_assert_eq!(Beacon::read(&bytes, &keys("s")), Ok(beacon));
    }

    #[test]
    fn any_altered_bit_is_refused(beacon in any_beacon(), at in any::<prop::sample::Index>()) {
        let mut bytes = beacon.to_bytes(&keys("s")).to_vec();
        let at = at.index(bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(Beacon::read(&bytes, &keys("s")).is_err());
    }

    #[test]
    fn a_cut_beacon_is_refused(beacon in any_beacon(), at in any::<prop::sample::Index>()) {
        let bytes = beacon.to_bytes(&keys("s"));
        prop_assert!(Beacon::read(&bytes[..at.index(bytes.len())], &keys("s")).is_err());
    }

    #[test]
    fn noise_is_refused_in_peace(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Beacon::read(&noise, &keys("s")).is_err());
    }

    /// Even who knows the secret cannot make a datagram that is read beyond its end.
    #[test]
    fn signed_noise_is_read_in_peace(noise in prop::collection::vec(any::<u8>(), 0..120)) {
        let keys = keys("s");
        let mut bytes = b"WMSH\x01\x01\x00".to_vec();
        bytes.extend(keys.cluster_hash());
        bytes.extend(noise);
        let tag = keys.tag(&bytes);
        bytes.extend(tag);
        if let Err(rejected) = Beacon::read(&bytes, &keys) {
            prop_assert_eq!(rejected.reason, BeaconRejection::Malformed);
        }
    }
}

#[test]
fn every_bit_of_a_beacon_counts() {
    let bytes = beacon().to_bytes(&keys("s"));
    for at in 0..bytes.len() * 8 {
        let mut altered = bytes.to_vec();
        altered[at / 8] ^= 1 << (at % 8);
        assert!(Beacon::read(&altered, &keys("s")).is_err(), "bit {at}");
    }
}

#[test]
fn strangers_are_told_apart() {
    let ours = keys("s");
    let rejected = |bytes: &[u8]| Beacon::read(bytes, &ours).unwrap_err();
    let wrong = rejected(&beacon().to_bytes(&keys("guess")));
    assert_eq!(wrong.reason, BeaconRejection::WrongSecret);
    assert_eq!(wrong.name, Some(beacon().name));
    let elsewhere = BeaconKeys::new(&["s"], &NodeName::parse("elsewhere").unwrap());
    let other = rejected(&beacon().to_bytes(&elsewhere));
    assert_eq!(other.reason, BeaconRejection::OtherCluster);
    let mut newer = beacon().to_bytes(&ours).to_vec();
    newer[4] = 2;
    assert_eq!(rejected(&newer).reason, BeaconRejection::OtherVersion);
    assert_eq!(rejected(&[b'x'; 512]).reason, BeaconRejection::TooLong);
    assert_eq!(rejected(b"hello").reason, BeaconRejection::Malformed);
    assert_eq!(rejected(b"").reason, BeaconRejection::Malformed);
}

#[test]
fn fields_of_later_releases_are_skipped() {
    let bytes = beacon().to_bytes(&keys("s"));
    let mut longer = bytes[..bytes.len() - TAG_BYTES].to_vec();
    longer.extend(b"what a later release says");
    let tag = keys("s").tag(&longer);
    longer.extend(tag);
    assert_eq!(Beacon::read(&longer, &keys("s")), Ok(beacon()));
}

/// One beacon of `fixtures/cluster/beacons`, as `field = value` lines.
fn as_text(beacon: &Beacon, secret: &[u8; 32], cluster: &str) -> String {
    let (kind, pinger) = match beacon.kind {
        BeaconKind::Ping(_) => ("ping", NodeId(0)),
        BeaconKind::Pong { pinger, .. } => ("pong", pinger),
        BeaconKind::Beat(_) => ("beat", NodeId(0)),
    };
    let keys = BeaconKeys::new(&[secret], &NodeName::parse(cluster).unwrap());
    let address = beacon.advertised.map(|address| address.to_string());
    format!(
        "secret = {}\ncluster = {cluster}\nkind = {kind}\nsettled = {}\nfew = {}\nid = {}\n\
         incarnation = {}\nrun = {:016x}\ndigest = {:016x}\nnonce = {:016x}\npinger = {pinger}\n\
         port = {}\naddress = {}\nname = {}\nbytes = {}\n",
        hex(secret),
        u8::from(beacon.is_settled),
        u8::from(beacon.wants_few),
        beacon.id,
        beacon.incarnation.0,
        beacon.run.0,
        beacon.digest.0,
        beacon.kind.nonce().0,
        beacon.link_port,
        address.as_deref().unwrap_or("none"),
        beacon.name,
        hex(&beacon.to_bytes(&keys)),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn vectors() -> Vec<(&'static str, String)> {
    let secret = [0x2a; 32];
    let ping = Beacon {
        kind: BeaconKind::Ping(Nonce(0x0123_4567_89ab_cdef)),
        id: NodeId(0x1122_3344_5566_7788),
        name: NodeName::parse("depot-1").unwrap(),
        incarnation: Incarnation(1),
        run: RunNumber(0xcafe_f00d_0000_0001),
        is_settled: false,
        wants_few: false,
        digest: ViewDigest(0x00ff_00ff_00ff_00ff),
        link_port: 5001,
        advertised: None,
    };
    let pong = Beacon {
        kind: BeaconKind::Pong {
            nonce: ping.kind.nonce(),
            pinger: ping.id,
        },
        id: NodeId(0x8877_6655_4433_2211),
        name: NodeName::parse("Tramhalle Süd").unwrap(),
        incarnation: Incarnation(17),
        is_settled: true,
        advertised: Some("192.0.2.7:15001".parse().unwrap()),
        ..ping.clone()
    };
    let beat = Beacon {
        kind: BeaconKind::Beat(Nonce(u64::MAX)),
        name: NodeName::parse(&"n".repeat(64)).unwrap(),
        link_port: u16::MAX,
        advertised: Some("[2001:db8::7]:1".parse().unwrap()),
        ..pong.clone()
    };
    let few = Beacon {
        wants_few: true,
        ..ping.clone()
    };
    vec![
        ("few.txt", as_text(&few, &secret, "waymesh")),
        ("ping.txt", as_text(&ping, &secret, "waymesh")),
        ("pong.txt", as_text(&pong, &secret, "waymesh")),
        ("beat.txt", as_text(&beat, &[0x07; 32], "Fähre Ost")),
    ]
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A published byte never changes: `UPDATE=1` writes new files, to be looked at before they are kept.
#[test]
fn vectors_stay_as_they_are() {
    let folder = top().join("fixtures/cluster/beacons");
    for (file, text) in vectors() {
        let path = folder.join(file);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{file}");
    }
}

/// Runs the program that was written from the document alone; `None`, aloud, without Python.
fn foreign(arguments: &[&str]) -> Option<String> {
    let script = top().join("tests/foreign/beacons.py");
    let output = match Command::new("python3").arg(script).args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: a program in another language reads beacons: python3: {error}");
            return None;
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{}", text(output.stderr));
    Some(text(output.stdout))
}

#[test]
fn a_program_in_another_language_reads_and_writes_the_vectors() {
    let folder = top().join("fixtures/cluster/beacons");
    if let Some(said) = foreign(&["check", folder.to_str().unwrap()]) {
        assert_eq!(said.trim(), "4 beacons read and written alike");
    }
}

#[test]
fn beacons_of_a_program_in_another_language_are_read_or_refused() {
    let Some(said) = foreign(&["make", "40"]) else {
        return;
    };
    let secret = [0x55; 32];
    let ours = BeaconKeys::new(&[secret], &NodeName::parse("waymesh").unwrap());
    let mut n_read = 0;
    for line in said.lines() {
        let (expected, bytes) = line.split_once(' ').unwrap();
        match Beacon::read(&from_hex(bytes), &ours) {
            Ok(beacon) => {
                let text = as_text(&beacon, &secret, "waymesh");
                assert!(text.ends_with(&format!("bytes = {bytes}\n")), "{text}");
                assert_eq!(expected, "ok");
                n_read += 1;
            }
            Err(rejected) => assert_eq!(expected.replace('-', " "), rejected.reason.to_string()),
        }
    }
    assert_eq!((n_read, said.lines().count()), (40, 40 + 5));
}
