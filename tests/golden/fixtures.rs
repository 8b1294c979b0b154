//! `fixtures/<protocol>/<case>.txt` beside `<case>.expected`.
//!
//! A line of the text is a line of the device without its end; an empty one begins a new
//! connection, whose first line says which protocol it speaks. The expected file holds what
//! `waymesh decode` prints. `UPDATE=1` rewrites it; whoever does so reads the difference.

use std::{
    fs,
    path::{Path, PathBuf},
};

use waymesh::{
    cli::decode::{self, DecodeOptions, decode},
    protocol::Registry,
    types::time::UnixMillis,
};

/// The time at which all lines here are received.
const RECEIVED: &str = "2026-11-20T12:00:00Z";

#[test]
fn every_fixture_of_every_protocol_decodes_to_what_stands_beside_it() {
    let is_update = std::env::var_os("UPDATE").is_some();
    let mut differences = Vec::new();
    for protocol in registry().iter() {
        let folder = folder_of(protocol.name().as_ref());
        let cases = cases_in(&folder);
        assert!(!cases.is_empty(), "{} holds no fixture", folder.display());
        for case in cases {
            let decoded = decoded(&fs::read(&case).unwrap());
            let expected_path = case.with_extension("expected");
            if is_update {
                fs::write(&expected_path, &decoded).unwrap();
            }
            let expected = fs::read_to_string(&expected_path).unwrap_or_default();
            differences.extend(difference(&case, &expected, &decoded));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn no_fixture_is_left_without_its_protocol() {
    let registry = registry();
    for entry in fs::read_dir(folder_of("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // What nodes say to each other: tests/sim and the cluster's own tests hold it.
        assert!(
            name == "cluster" || registry.by_name(&name).is_some(),
            "fixtures/{name} belongs to no protocol of the registry"
        );
    }
}

/// The protocols that are built in, and the one that the example of the configuration describes.
pub(crate) fn registry() -> Registry {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/own-protocol.toml");
    match decode::registry(Some(Path::new(example))) {
        Ok(registry) => registry,
        Err(faults) => panic!("{faults}"),
    }
}

pub(crate) fn folder_of(protocol: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(protocol)
}

pub(crate) fn cases_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    cases.sort();
    cases
}

fn decoded(text: &[u8]) -> String {
    let options = DecodeOptions {
        protocol: None,
        is_lenient: false,
        received: UnixMillis::parse(RECEIVED).unwrap(),
    };
    let mut output = Vec::new();
    decode(text, &mut output, &registry(), &options).unwrap();
    String::from_utf8(output).unwrap()
}

/// The first lines that differ, if any do.
fn difference(case: &Path, expected: &str, decoded: &str) -> Option<String> {
    if expected == decoded {
        return None;
    }
    let mut pairs = (1..).zip(expected.lines().zip(decoded.lines()));
    let first = pairs.find(|(_, (expected, decoded))| expected != decoded);
    Some(match first {
        Some((number, (expected, decoded))) => format!(
            "{}: line {number}\n  expected {expected}\n  decoded  {decoded}",
            case.display()
        ),
        None => format!(
            "{}: {} lines expected, {} decoded",
            case.display(),
            expected.lines().count(),
            decoded.lines().count()
        ),
    })
}
