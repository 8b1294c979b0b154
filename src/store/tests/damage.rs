//! The quarantine on disks that refuse and with files that are altered.

use bytes::Bytes;

use super::*;
use crate::store::{
    quarantine::{Quarantine, QuarantineEntry},
    sim_disk::{End, SimDisk},
    storage::StorageFile,
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

#[test]
fn an_entry_that_there_is_no_room_for_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), Arc::default(), &StoreConfig::default());
    bench.store.quarantine(|| entry(1));
    bench.store.close();
    bench
        .store
        .quarantine(|| unreachable!("nobody would take it"));
    assert_eq!(bench.metrics.quarantined.get(), 1);
}
