//! The inputs that the fuzzer kept (`tests/fuzz`), and damaged copies of them, against what must
//! hold for any input.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test"
)]

#[path = "fuzz/src/targets/mod.rs"]
mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use targets::TARGETS;
use waymesh::base::prng::Prng;

/// Bytes of one input, and of all.
const FILE_BYTES_MAX: usize = 4_096;
const CORPUS_BYTES_MAX: usize = 500 * 1024;

/// Damaged copies of each input.
const COPIES: u64 = 3;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name)
}

/// The inputs of a target in the order of their names.
fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder(name)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = paths
        .map(|path| {
            let input = fs::read(&path).unwrap();
            (path, input)
        })
        .collect();
    inputs.sort();
    inputs
}

/// Gives a target its inputs, and copies of them that a seeded hand has damaged.
#[track_caller]
fn hold(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let inputs = inputs(name);
    assert!(!inputs.is_empty(), "{name} has no inputs");
    target(b"");
    for (number, (path, input)) in (0_u64..).zip(&inputs) {
        for copy in 0..=COPIES {
            let mut bytes = input.clone();
            let mut prng = Prng::new(number * (COPIES + 1) + copy);
            (0..copy).for_each(|_| damage(&mut bytes, &mut prng));
            let held = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            let shown = bytes.escape_ascii();
            assert!(held.is_ok(), "{}, copy {copy}: {shown}", path.display());
        }
    }
}

fn damage(bytes: &mut Vec<u8>, prng: &mut Prng) {
    let mut below = |bound: usize| usize::try_from(prng.below(bound as u64)).unwrap();
    let at = below(bytes.len() + 1);
    let end = bytes.len().min(at + below(9));
    match below(5) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.insert(at, u8::try_from(below(256)).unwrap()),
        3 => bytes.extend_from_within(at..end),
        _ => bytes[at..end]
            .iter_mut()
            .take(1)
            .for_each(|byte| *byte ^= 1 << below(8)),
    }
}

#[test]
fn the_corpus_is_small_and_each_target_has_its_part() {
    let mut names: Vec<String> = fs::read_dir(folder(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
    let sizes = names.iter().flat_map(|name| inputs(name));
    let sizes: Vec<usize> = sizes.map(|(_, input)| input.len()).collect();
    assert!(sizes.iter().all(|n_bytes| *n_bytes < FILE_BYTES_MAX));
    assert!(sizes.iter().sum::<usize>() < CORPUS_BYTES_MAX);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(file!());
    let own = fs::read_to_string(own).unwrap();
    for name in known {
        assert!(
            own.contains(&format!("hold(\"{name}\")")),
            "{name}: no test"
        );
    }
}

#[test]
fn framing_holds() {
    hold("framing");
}

#[test]
fn wialon_holds() {
    hold("wialon");
}

#[test]
fn nmea_holds() {
    hold("nmea");
}

#[test]
fn own_protocols_hold() {
    hold("own-protocol");
}

#[test]
fn connection_holds() {
    hold("connection");
}

#[test]
fn decode_holds() {
    hold("decode");
}

#[test]
fn record_holds() {
    hold("record");
}

#[test]
fn recovery_holds() {
    hold("recovery");
}

#[test]
fn segments_hold() {
    hold("segments");
}

#[test]
fn configuration_holds() {
    hold("configuration");
}

#[test]
fn link_hello_holds() {
    hold("link-hello");
}

#[test]
fn link_frames_hold() {
    hold("link-frames");
}

#[test]
fn beacons_hold() {
    hold("beacons");
}

#[test]
fn siblings_hold() {
    hold("siblings");
}
