//! What a start makes of logs that a crash, a lost removal or an odd write left behind.

use super::*;
use crate::store::log::segments::file_name;

fn wide(number: i64, raw_bytes: usize) -> Record {
    Record {
        raw: Some(vec![7; raw_bytes].into()),
        ..record(number)
    }
}

/// The offset up to which the index says that it has the log lies at any end of a group: in the
/// last segment, in one before, at the end of one, behind all.
#[test]
fn a_start_reads_on_from_any_place_of_the_log() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let mut ends = vec![LogOffset(0)];
    for group in 0..30 {
        ends.push(put(&mut log, group * 4..group * 4 + 4));
    }
    for (n_groups, end) in ends.iter().enumerate() {
        let needed = range(n_groups as i64 * 4..120);
        let (log, _, found) = open_from(&disk.copy(), end.0, &SMALL).unwrap();
        assert_eq!(found, needed, "from {}", end.0);
        assert_eq!(read_all(&log, *end, 7), needed, "from {}", end.0);
        assert_eq!(log.durable(), ends[30]);
    }
    for n_bytes in [1, 25, 40, 100_000] {
        let ahead = LogOffset(ends[30].0 + n_bytes);
        let copy = disk.copy();
        let (mut log, _, found) = open_from(&copy, ahead.0, &SMALL).unwrap();
        assert_eq!((found, log.durable()), (vec![], ahead));
        put(&mut log, 200..204);
        assert_eq!(read_all(&log, ahead, 7), range(200..204));
        let (_, _, found) = open_from(&copy, ahead.0, &SMALL).unwrap();
        assert_eq!(found, range(200..204));
    }
}

#[test]
fn bytes_behind_the_last_group_are_cut_whatever_they_are() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    put(&mut log, 0..9);
    let name = disk.list().unwrap().remove(0);
    let mut prng = Prng::new(1);
    let n_bytes = bytes_of(&disk, &name);
    for n_odd in (0..60).chain([511, 512, 513, 70_000]) {
        let noise: Vec<u8> = (0..n_odd).map(|_| prng.next_u64() as u8).collect();
        let zeros = vec![0; n_odd];
        let heads: Vec<u8> = b"\xFA\x5E\x47\xD1\x01\xFF\xFF\xFF\x7F"
            .iter()
            .copied()
            .cycle()
            .take(n_odd)
            .collect();
        for odd in [noise, zeros, heads] {
            let copy = disk.copy();
            copy.alter(&name, |bytes| bytes.extend(&odd));
            let (mut log, recovery, found) = open_from(&copy, 0, &SMALL).unwrap();
            assert_eq!(found, range(0..9));
            let told = format!(", {n_odd} bytes cut off {name} at {n_bytes}: ");
            assert_eq!(recovery.to_string().contains(&told), n_odd > 0);
            let n_cut = recovery.cut.map_or(0, |cut| cut.n_bytes);
            assert_eq!(n_cut, n_odd as u64);
            put(&mut log, 9..12);
            assert_eq!(read_all(&log, LogOffset(0), 5), range(0..12));
            let (_, found) = open(&copy);
            assert_eq!(found, range(0..12), "{n_odd} odd bytes behind {n_bytes}");
        }
    }
}

#[test]
fn records_larger_than_a_frame_and_frames_larger_than_a_read_come_back() {
    const MIB: usize = 1024 * 1024;
    let config = LogConfig {
        segment_bytes_max: 16 * MIB as u64,
        frame_bytes_max: 10 * MIB,
    };
    for config in [SMALL, config] {
        let disk = SimDisk::new(1);
        let (mut log, _, _) = open_from(&disk, 0, &config).unwrap();
        for (number, raw_bytes) in [0, 6 * MIB, 3, 2 * MIB, 2 * MIB, 5 * MIB + 1, 0]
            .into_iter()
            .enumerate()
        {
            log.append(&wide(number as i64, raw_bytes));
            if number % 3 == 0 {
                log.commit().unwrap();
            }
        }
        log.commit().unwrap();
        for n_max in [1, 100] {
            assert_eq!(read_all(&log, LogOffset(0), n_max), range(0..7));
        }
        let (_, recovery, found) = open_from(&disk, 0, &config).unwrap();
        assert_eq!((found, recovery.cut), (range(0..7), None));
    }
}

#[test]
fn a_segment_whose_removal_was_lost_is_removed_again() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let ends: Vec<_> = (0..40)
        .map(|group| put(&mut log, group * 10..group * 10 + 10))
        .collect();
    let names = disk.list().unwrap();
    assert!(names.len() > 5);
    let from = ends[30];
    // The second is gone, the first came back.
    disk.remove(&names[1]).unwrap();
    let (log, recovery, found) = open_from(&disk, from.0, &SMALL).unwrap();
    assert_eq!(found, range(310..400));
    assert_eq!(recovery.void, [file_name(0)]);
    assert_eq!(read_all(&log, from, 50), found);
    let missing = open_from(&disk, 0, &SMALL).unwrap_err();
    assert!(matches!(missing, LogError::Missing { file } if file == names[1]));
}

/// A segment whose making was cut short has any part of its header, or zeros in its place.
#[test]
fn a_torn_header_without_frames_is_no_damage_and_one_before_frames_is() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let durable = put(&mut log, 0..9);
    let base = durable.0;
    let torn = file_name(base);
    let header = crate::delivery::group::SegmentHeader {
        base,
        previous_base: Some(0),
        previous_end: base,
    }
    .encode();
    for n_bytes in 0..=HEADER_BYTES {
        for fill in [0, 40] {
            let copy = disk.copy();
            drop(copy.create(&torn).unwrap());
            copy.alter(&torn, |bytes| {
                bytes.extend(&header[..n_bytes]);
                bytes.resize(bytes.len().max(fill), 0);
            });
            let (mut log, found) = open(&copy);
            assert_eq!(found, range(0..9));
            put(&mut log, 9..12);
            let (_, found) = open(&copy.after_power_cut());
            assert_eq!(found, range(0..12));
        }
    }
    log.close().unwrap();
    let (mut log, _) = open(&disk);
    put(&mut log, 9..12);
    let second = disk.list().unwrap().remove(1);
    disk.alter(&second, |bytes| bytes[20] ^= 1);
    let error = open_from(&disk, 0, &SMALL).unwrap_err();
    assert!(matches!(error, LogError::Damaged { file, position: 0, .. } if file == second));
}

/// Found by fuzzing: sums with a base near the greatest number overflowed.
#[test]
fn a_segment_at_an_offset_that_no_log_reaches_is_named() {
    for base in [u64::MAX, u64::MAX - 40, u64::MAX / 2] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk);
        put(&mut log, 0..9);
        drop(disk.create(&file_name(base)).unwrap());
        let error = open_from(&disk, 0, &SMALL).unwrap_err();
        assert!(matches!(error, LogError::Damaged { file, .. } if file == file_name(base)));
    }
}

/// Found by fuzzing: a sign in a name made one file look like another, which was not there.
#[test]
fn a_file_whose_name_is_not_a_segments_stays_as_it_is() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    put(&mut log, 0..9);
    let names = [
        "+0000000000000000040.segment",
        "99999999999999999999.segment",
        "40.segment",
    ];
    for name in names {
        drop(disk.create(name).unwrap());
    }
    let (mut log, found) = open(&disk);
    assert_eq!(found, range(0..9));
    put(&mut log, 9..12);
    assert_eq!(read_all(&log, LogOffset(0), 50), range(0..12));
    let left = disk.list().unwrap();
    assert!(names.iter().all(|name| left.iter().any(|one| one == name)));
}
