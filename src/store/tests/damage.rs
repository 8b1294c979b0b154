//! Quarantine and index on disks that refuse and files that are altered.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::*;
use crate::{
    base::prng::Prng,
    store::{
        gate::IndexGate,
        index::{FjallIndex, IndexConfig, ScanQuery},
        log::LogOffset,
        quarantine::{Quarantine, QuarantineEntry},
        sim_disk::{End, SimDisk},
        storage::StorageFile,
    },
};

const BYTES_MAX: u64 = 2_000;

fn entry(number: u64) -> QuarantineEntry {
    let length = usize::try_from(number * 37 % 200).unwrap();
    QuarantineEntry {
        time: UnixMillis(0),
        peer: number.to_string(),
        protocol: None,
        vehicle: None,
        reason: "checksum",
        line: Bytes::from(vec![b'x'; length]),
        line_bytes: length,
    }
}

fn text_of(disk: &SimDisk, name: &str) -> String {
    let Ok(file) = disk.open(name) else {
        return String::new();
    };
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Numbers of the entries of both files, the older file first, and how many lines are none.
fn entries(disk: &SimDisk) -> (Vec<u64>, usize) {
    let text = text_of(disk, "rejected.1.ndjson") + &text_of(disk, "rejected.ndjson");
    let mut n_spoilt = 0;
    let mut numbers = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let entry: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let number = entry.and_then(|entry| entry["peer"].as_str()?.parse().ok());
        match number {
            Some(number) => numbers.push(number),
            None => n_spoilt += 1,
        }
    }
    (numbers, n_spoilt)
}

fn set_aside(disk: &SimDisk, numbers: std::ops::Range<u64>) {
    let storage = Arc::new(disk.clone());
    let open = || Quarantine::open(Arc::clone(&storage), BYTES_MAX);
    // A start may be what fails; one of the next goes on.
    let mut quarantine = (0..3).find_map(|_| open().ok()).unwrap();
    for number in numbers {
        quarantine.push(&entry(number));
        quarantine.flush();
    }
}

#[test]
fn each_operation_of_the_quarantine_may_fail() {
    let calm = SimDisk::new(0);
    set_aside(&calm, 0..60);
    assert!(calm.n_operations() > 70);
    for failing in 0..calm.n_operations() {
        for (seed, end) in [(0, End::PowerCut), (1, End::Kill), (2, End::Kill)] {
            let disk = SimDisk::new(seed);
            disk.fail_after(failing);
            if seed == 2 {
                disk.fail_again_after(0);
            }
            set_aside(&disk, 0..60);
            let (numbers, n_spoilt) = entries(&disk);
            let case = format!("operation {failing}, seed {seed}: {numbers:?}");
            assert!(numbers.is_sorted(), "{case}");
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{case}");
            assert!(n_spoilt <= 1, "{case}");
            assert!(numbers.len() >= 5 && numbers.last() >= Some(&57), "{case}");
            let disk = disk.after(end);
            disk.calm_down();
            set_aside(&disk, 60..62);
            let (numbers, _) = entries(&disk);
            assert!(numbers.ends_with(&[60, 61]), "{case}, then {numbers:?}");
        }
    }
}

#[test]
fn no_cut_and_no_altered_byte_of_the_quarantine_does_harm() {
    let disk = SimDisk::new(0);
    set_aside(&disk, 0..12);
    for name in disk.list().unwrap() {
        let n_bytes = text_of(&disk, &name).len();
        assert!(n_bytes > 100);
        for at in 0..n_bytes {
            for is_cut in [false, true] {
                let altered = disk.copy();
                altered.alter(&name, |bytes| {
                    if is_cut {
                        bytes.truncate(at);
                    } else {
                        bytes[at] ^= 0x41;
                    }
                });
                set_aside(&altered, 50..52);
                let (numbers, _) = entries(&altered);
                assert!(numbers.ends_with(&[50, 51]), "{name} {at}: {numbers:?}");
            }
        }
    }
}

/// The files of an index, by their paths in its folder; of the journal the part that was written.
fn files_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "jnl") {
                let last = bytes.iter().rposition(|byte| *byte != 0);
                bytes.truncate(last.map_or(0, |at| at + 1));
            }
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
        }
    }
    found
}

fn index_config() -> IndexConfig {
    IndexConfig {
        memtable_bytes: 64 * 1024,
        ..IndexConfig::default()
    }
}

/// An index with rows in tables and in the journal.
fn written_index(folder: &Path, records: &[Record]) -> BTreeMap<PathBuf, Vec<u8>> {
    let (most, rest) = records.split_at(records.len() * 9 / 10);
    for (n_persisted, part) in [(1, most), (2, rest)] {
        let index = FjallIndex::open(folder, index_config()).unwrap();
        index.apply(part).unwrap();
        index.persist(LogOffset(n_persisted)).unwrap();
    }
    files_of(folder)
}

/// What an index made of these files says: all, or why it does not, or from where the log is to be
/// applied again.
fn ask(files: &BTreeMap<PathBuf, Vec<u8>>, records: &[Record], case: &str) -> &'static str {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    // A new folder lacks what fjall makes even where it is empty.
    for number in 0..5 {
        fs::create_dir_all(folder.path().join(format!("keyspaces/{number}/tables"))).unwrap();
    }
    let path = folder.path().to_owned();
    let opener = IndexOpener::new(move || FjallIndex::open(&path, index_config()));
    let index = match IndexGate::open(opener, Duration::ZERO) {
        Ok(index) => index,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "{case}");
            return "refused";
        }
    };
    let query = ScanQuery {
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    let Ok(page) = index.scan(&query, usize::MAX) else {
        return "unanswered";
    };
    let is_known = |record: &Record| {
        let number = usize::try_from(record.key.time.0).unwrap();
        records.get(number) == Some(record)
    };
    assert!(page.records.iter().all(is_known), "{case}: altered");
    if page.records.len() == records.len() {
        return "whole";
    }
    // The log is applied again from there, or the segment that is missing is named.
    assert!(index.persisted() < LogOffset(2), "{case}: a silent loss");
    "behind"
}

fn is_version(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix('v'));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Some bytes of each file. Of the files that say which tables a keyspace has the first bytes are left
/// out: over one of them, the number of levels, fjall panics twice, which ends the process.
#[test]
fn an_altered_or_cut_file_of_the_index_is_refused_or_costs_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (0..1_000).map(position).collect();
    let files = written_index(folder.path(), &records);
    assert!(
        files
            .keys()
            .any(|path| path.to_string_lossy().contains("tables/"))
    );
    assert_eq!(ask(&files, &records, "as it was"), "whole");
    let mut prng = Prng::new(1);
    let mut outcomes: BTreeMap<_, usize> = BTreeMap::new();
    for (path, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        for number in 0..bytes.len().min(8) {
            let mut at = usize::try_from(prng.below(bytes.len() as u64)).unwrap();
            if path.file_name().is_some_and(is_version) {
                at = at.max(16);
            }
            let mut altered = files.clone();
            let content = altered.get_mut(path).unwrap();
            let is_cut = number % 4 == 3;
            if is_cut {
                content.truncate(at);
            } else {
                content[at] ^= 1 << prng.below(8);
            }
            let case = format!("{} at {at}, cut: {is_cut}", path.display());
            *outcomes.entry(ask(&altered, &records, &case)).or_default() += 1;
        }
    }
    assert!(outcomes["refused"] > 20, "{outcomes:?}");
}
