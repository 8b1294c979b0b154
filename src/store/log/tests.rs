//! The log against disks that forget, fail and are altered.

mod layout;
mod recovery;

use std::{collections::BTreeMap, sync::Arc};

use super::{Log, LogConfig, LogError, LogOffset, Recovery};
use crate::{
    base::prng::Prng,
    delivery::group::HEADER_BYTES,
    store::{
        sim_disk::{End, SimDisk},
        storage::Storage,
    },
    types::{
        attributes::Attributes,
        ids::VehicleId,
        record::{Body, Fix, Flags, Record, RecordKey},
        time::UnixMillis,
    },
};

const SMALL: LogConfig = LogConfig {
    segment_bytes_max: 2_000,
    frame_bytes_max: 300,
};

fn record(number: i64) -> Record {
    let vehicle = VehicleId::parse(b"v").unwrap();
    Record {
        key: RecordKey {
            vehicle,
            time: UnixMillis(number),
            hash: 5,
        },
        received: UnixMillis(9),
        protocol: "toy".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix::default()),
    }
}

type Found = Result<(Log<SimDisk>, Recovery, Vec<i64>), LogError>;

fn open_from(disk: &SimDisk, needed_from: u64, config: &LogConfig) -> Found {
    let mut numbers = Vec::new();
    let each = |_, record: Record| numbers.push(record.key.time.0);
    let (log, recovery) = Log::open(
        Arc::new(disk.clone()),
        config.clone(),
        LogOffset(needed_from),
        each,
    )?;
    Ok((log, recovery, numbers))
}

fn open(disk: &SimDisk) -> (Log<SimDisk>, Vec<i64>) {
    let (log, _, numbers) = open_from(disk, 0, &SMALL).unwrap();
    (log, numbers)
}

fn put(log: &mut Log<SimDisk>, numbers: std::ops::Range<i64>) -> LogOffset {
    numbers.for_each(|number| log.append(&record(number)));
    log.commit().unwrap()
}

fn read_all(log: &Log<SimDisk>, from: LogOffset, n_max: usize) -> Vec<i64> {
    let (mut reader, mut at, mut records) = (log.reader(), from, Vec::new());
    while at < log.durable() {
        let next = reader.read(at, log.durable(), n_max, &mut records).unwrap();
        assert!(next > at);
        at = next;
    }
    records.iter().map(|record| record.key.time.0).collect()
}

fn range(numbers: std::ops::Range<i64>) -> Vec<i64> {
    numbers.collect()
}

#[test]
fn a_read_takes_about_a_mebibyte_however_few_records_that_is() {
    const RECORD_BYTES: usize = 60_000;
    let disk = SimDisk::new(1);
    let config = LogConfig {
        segment_bytes_max: 64 << 20,
        frame_bytes_max: 1 << 20,
    };
    let (mut log, ..) = open_from(&disk, 0, &config).unwrap();
    for number in 0..100 {
        let raw = vec![b'a'; RECORD_BYTES].into();
        log.append(&Record {
            raw: Some(raw),
            ..record(number)
        });
        log.commit().unwrap();
    }
    let mut records = Vec::new();
    let read = log
        .reader()
        .read(LogOffset(0), log.durable(), 1_000, &mut records);
    assert!(read.unwrap() < log.durable());
    let n_bytes = records.len() * RECORD_BYTES;
    assert!((1 << 20..3 << 20).contains(&n_bytes), "{n_bytes} bytes");
    assert_eq!(read_all(&log, LogOffset(0), 1_000), range(0..100));
}

#[test]
fn what_is_committed_is_read_back_across_segments_and_starts() {
    let disk = SimDisk::new(1);
    let (mut log, found) = open(&disk);
    assert!(found.is_empty());
    for group in 0..20 {
        put(&mut log, group * 10..group * 10 + 10);
    }
    assert!(disk.list().unwrap().len() > 3, "several segments");
    for n_max in [1, 7, 1_000] {
        assert_eq!(read_all(&log, LogOffset(0), n_max), range(0..200));
    }
    log.close().unwrap();
    let (mut log, found) = open(&disk);
    assert_eq!(found, range(0..200));
    put(&mut log, 200..205);
    assert_eq!(read_all(&log, LogOffset(0), 50), range(0..205));
}

#[test]
fn only_what_is_needed_is_read_and_offsets_never_restart() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    put(&mut log, 0..50);
    let middle = put(&mut log, 50..60);
    let end = put(&mut log, 60..70);
    let (_, _, found) = open_from(&disk, middle.0, &SMALL).unwrap();
    assert_eq!(found, range(60..70));
    let (mut log, _, found) = open_from(&disk, end.0 + 1_000, &SMALL).unwrap();
    assert_eq!((found, log.durable()), (vec![], LogOffset(end.0 + 1_000)));
    assert!(put(&mut log, 70..71).0 > end.0 + 1_000);
    assert_eq!(read_all(&log, end, 10), [70]);
}

#[test]
fn trimming_removes_what_is_not_needed_and_keeps_the_rest() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let ends: Vec<_> = (0..20)
        .map(|group| put(&mut log, group * 10..group * 10 + 10))
        .collect();
    let n_files = disk.list().unwrap().len();
    assert!(log.trim(ends[9]).unwrap() > 0);
    assert!(disk.list().unwrap().len() < n_files);
    assert_eq!(read_all(&log, ends[9], 50), range(100..200));
    let (log, _, found) = open_from(&disk, ends[9].0, &SMALL).unwrap();
    assert_eq!(found, range(100..200));
    drop(log);
    let missing = open_from(&disk, 0, &SMALL).unwrap_err();
    assert!(matches!(missing, LogError::Missing { .. }), "{missing}");
}

/// Cuts the last file at each length, then flips each byte of each file: what was confirmed is found,
/// or the fault is named, or it lies in the last group, about which nothing else is known.
#[test]
fn no_cut_and_no_altered_byte_loses_what_is_known_as_confirmed() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for group in 0..12 {
        put(&mut log, group * 5..group * 5 + 5);
    }
    let names = disk.list().unwrap();
    assert!(names.len() >= 2);
    for (position, name) in names.iter().enumerate() {
        let is_last = position + 1 == names.len();
        let n_bytes = bytes_of(&disk, name);
        for at in 0..n_bytes {
            for is_cut in [false, true] {
                let altered = disk.copy();
                altered.alter(name, |bytes| {
                    if is_cut {
                        bytes.truncate(at)
                    } else {
                        bytes[at] ^= 0x41
                    }
                });
                let found = open_from(&altered, 0, &SMALL);
                if let Err(LogError::Damaged { file, position, .. }) = &found {
                    assert_eq!(file, name, "byte {at}");
                    assert!(*position <= at as u64, "byte {at} is found at {position}");
                }
                check_altered(found, is_last, is_cut, at);
            }
        }
    }
}

fn check_altered(found: Found, is_last: bool, is_cut: bool, at: usize) {
    match found {
        Err(LogError::Damaged { .. } | LogError::UnknownLayout { .. }) => {}
        Err(other) => panic!("byte {at}: {other}"),
        Ok((_, _, numbers)) => {
            assert!(
                numbers.iter().copied().eq(0..numbers.len() as i64),
                "byte {at}"
            );
            // Of a file cut at its end nothing remains that could tell; a flipped byte in the last
            // segment can only cost its last group.
            let n_sure = if is_cut { 0 } else { 55 };
            assert!(
                is_last && numbers.len() >= n_sure,
                "byte {at} lost {}",
                60 - numbers.len()
            );
        }
    }
}

fn bytes_of(disk: &SimDisk, name: &str) -> usize {
    use crate::store::storage::StorageFile as _;
    usize::try_from(disk.open(name).unwrap().len().unwrap()).unwrap()
}

#[test]
fn a_clean_stop_shows_any_damage() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    put(&mut log, 0..5);
    log.close().unwrap();
    let name = disk.list().unwrap().remove(0);
    let n_records_end = bytes_of(&disk, &name) - crate::delivery::group::FRAME_HEAD_BYTES;
    for at in 0..n_records_end {
        let altered = disk.copy();
        altered.alter(&name, |bytes| bytes[at] ^= 1);
        let found = open_from(&altered, 0, &SMALL);
        assert!(matches!(found, Err(LogError::Damaged { .. })), "byte {at}");
    }
}

#[test]
fn damage_below_what_is_needed_is_harmless() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let first = put(&mut log, 0..5);
    put(&mut log, 5..10);
    let name = disk.list().unwrap().remove(0);
    disk.alter(&name, |bytes| bytes[HEADER_BYTES + 30] ^= 1);
    let (_, _, found) = open_from(&disk, first.0, &SMALL).unwrap();
    assert_eq!(found, range(5..10));
    assert!(open_from(&disk, 0, &SMALL).is_err());
}

/// The power is cut at a random moment of a random run, again and again: whatever was confirmed is
/// there, in order, once; and nothing else but a tail that was handed over and not confirmed.
#[test]
fn no_power_cut_loses_what_was_confirmed() {
    for seed in 0..1_500 {
        let mut prng = Prng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut confirmed = Vec::new();
        let mut next = 0;
        for _ in 0..prng.below(5) + 1 {
            let (mut log, _, found) =
                open_from(&disk, 0, &SMALL).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(
                found.starts_with(&confirmed),
                "seed {seed}: {confirmed:?}, {found:?}"
            );
            assert!(
                found
                    .iter()
                    .skip(confirmed.len())
                    .all(|number| *number < next)
            );
            confirmed = found;
            // What was found is confirmed now: a repeat of it would be told apart by its key.
            for _ in 0..prng.below(12) {
                let group: Vec<_> = (next..next + 1 + prng.below(8) as i64).collect();
                next += group.len() as i64;
                if prng.chance(15.0) {
                    disk.fail_after(prng.below(4));
                }
                group.iter().for_each(|number| log.append(&record(*number)));
                let before = disk.after_power_cut();
                match log.commit() {
                    Ok(_) => confirmed.extend(&group),
                    Err(_) => continue,
                }
                if prng.chance(10.0) {
                    // Cut before the group was confirmed.
                    confirmed.truncate(confirmed.len() - group.len());
                    disk = before;
                    break;
                }
            }
            if prng.chance(30.0) {
                drop(log.close());
            }
            disk = disk.after_power_cut();
        }
    }
}

/// Each single operation of a run fails once: the group is confirmed or not, never half, and the log
/// goes on.
#[test]
fn any_operation_may_fail() {
    let n_operations = {
        let disk = SimDisk::new(0);
        run_with_failure(&disk, None);
        disk.n_operations()
    };
    assert!(n_operations > 20);
    for failing in 0..n_operations {
        for seed in 0..8 {
            let disk = SimDisk::new(seed);
            let confirmed = run_with_failure(&disk, Some(failing));
            let (_, found) = open(&disk.after_power_cut());
            let counts = found.iter().fold(BTreeMap::new(), |mut counts, number| {
                *counts.entry(*number).or_insert(0) += 1;
                counts
            });
            assert!(
                confirmed.iter().all(|number| counts.contains_key(number)),
                "{failing}/{seed}"
            );
            assert!(
                counts.values().all(|count| *count == 1),
                "{failing}/{seed}: {counts:?}"
            );
        }
    }
}

fn run_with_failure(disk: &SimDisk, failing: Option<u64>) -> Vec<i64> {
    if let Some(failing) = failing {
        disk.fail_after(failing);
    }
    // A start may be what fails; the next one goes on.
    let opened = open_from(disk, 0, &SMALL).or_else(|_| open_from(disk, 0, &SMALL));
    let mut log = opened.unwrap().0;
    let mut confirmed = Vec::new();
    for group in 0..12 {
        let numbers = group * 10..group * 10 + 10;
        numbers
            .clone()
            .for_each(|number| log.append(&record(number)));
        if log.commit().is_ok() {
            confirmed.extend(numbers);
        }
    }
    confirmed
}

#[test]
fn two_failures_in_a_row_drop_the_group_and_the_next_one_goes_on() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk);
    put(&mut log, 0..3);
    (3..6).for_each(|number| log.append(&record(number)));
    // The sync fails; then the creation of the segment for the second try.
    disk.fail_after(1);
    disk.fail_again_after(0);
    let outcome = log.commit();
    assert!(outcome.is_err());
    assert_eq!(log.pending_bytes(), 0);
    put(&mut log, 6..9);
    let (_, found) = open(&disk.after_power_cut());
    assert!(found == [0, 1, 2, 6, 7, 8], "{found:?}");
}

#[test]
fn a_reader_goes_on_behind_a_segment_in_which_nothing_was_confirmed() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk);
    let first = put(&mut log, 0..3);
    (3..6).for_each(|number| log.append(&record(number)));
    // The sync fails; then the write to the segment for the second try.
    disk.fail_after(1);
    disk.fail_again_after(4);
    assert!(log.commit().is_err());
    put(&mut log, 6..9);
    assert_eq!(read_all(&log, LogOffset(0), 50), [0, 1, 2, 6, 7, 8]);
    assert_eq!(read_all(&log, first, 50), [6, 7, 8]);
}

/// A process is killed at each operation of its second group, with and without a failed sync before.
/// What the next process finds it takes for confirmed, so a power cut must not take it away.
#[test]
fn what_a_start_finds_after_a_kill_outlives_a_power_cut() {
    for (seed, n_until_kill, is_failing) in (0..200)
        .flat_map(|seed| (0..8).map(move |n| (seed, n, false)))
        .chain((0..200).flat_map(|seed| (0..8).map(move |n| (seed, n, true))))
    {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk);
        if seed % 2 == 0 {
            put(&mut log, 0..3);
        }
        if is_failing {
            disk.fail_after(seed % 5);
            disk.fail_again_after(seed / 5 % 5);
        }
        disk.end_after(n_until_kill, End::Kill);
        (3..30).for_each(|number| log.append(&record(number)));
        drop(log.commit());
        let killed = disk.found().map_or(disk, |(found, _)| found);
        killed.calm_down();
        let (mut log, found) = open(&killed);
        let (_, still) = open(&killed.after_power_cut());
        assert_eq!(found, still, "seed {seed}, {n_until_kill}, {is_failing}");
        put(&mut log, 30..31);
        let (_, still) = open(&killed.after_power_cut());
        assert_eq!(still.len(), found.len() + 1);
    }
}

#[test]
fn a_disk_that_fails_for_long_is_not_filled_with_void_segments() {
    for failing in 0..3 {
        let disk = SimDisk::new(3);
        let (mut log, _) = open(&disk);
        put(&mut log, 0..3);
        for _ in 0..50 {
            log.append(&record(3));
            // Of the making of a segment one step fails, or the first write to it; the second try
            // comes to the same step, after the removal of the first one's file.
            disk.fail_after(1 + failing);
            disk.fail_again_after(2 + failing);
            drop(log.commit());
        }
        disk.calm_down();
        assert!(disk.n_files() <= 3, "{failing}: {} files", disk.n_files());
        put(&mut log, 6..9);
        let found = read_all(&log, LogOffset(0), 50);
        assert!(found.starts_with(&[0, 1, 2]) && found.ends_with(&[6, 7, 8]));
        let (_, found_again) = open(&disk.after_power_cut());
        assert_eq!(found, found_again);
    }
}

#[test]
fn a_segment_that_failed_is_never_written_again() {
    for n_operations in [0, 1] {
        let disk = SimDisk::new(3);
        let (mut log, _) = open(&disk);
        put(&mut log, 0..3);
        disk.fail_after(n_operations);
        put(&mut log, 3..6);
        assert_eq!(disk.n_files(), 2);
        let first = disk.list().unwrap().remove(0);
        let n_bytes = bytes_of(&disk, &first);
        put(&mut log, 6..9);
        assert_eq!(bytes_of(&disk, &first), n_bytes);
        assert_eq!(read_all(&log, LogOffset(0), 50), range(0..9));
    }
}

#[test]
fn a_later_layout_is_named() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    put(&mut log, 0..3);
    let name = disk.list().unwrap().remove(0);
    disk.alter(&name, |bytes| {
        bytes[8] = 7;
        let checksum = crc32fast::hash(&bytes[..36]).to_le_bytes();
        bytes[36..40].copy_from_slice(&checksum);
    });
    let error = open_from(&disk, 0, &SMALL).unwrap_err();
    assert!(matches!(&error, LogError::UnknownLayout { file, layout: 7 } if *file == name));
}
