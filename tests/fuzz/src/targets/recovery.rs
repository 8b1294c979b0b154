//! Recovery of logs that were damaged: what is found was written, in order and without a gap, and
//! what anything that is left shows as confirmed is found or its loss is told. Damage that nothing
//! contradicts does not keep a node from its start.

use std::ops::Range;

use waymesh::{
    delivery::group::{FramePlace, HEADER_BYTES, SegmentHeader, open_frame},
    store::log::{LogConfig, LogOffset},
};

use super::{
    choices::Choices,
    disk::{Files, MemoryDisk},
    log::{Entries, open, open_and_go_on, record},
};

/// Groups that are written at most.
const GROUPS_MAX: usize = 24;

/// A file that is none of the log's.
const STRANGER: &str = "00000000000000000000.segment.old";

/// The input: settings, deeds of the log, from where it is needed, damages.
pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let config = LogConfig {
        segment_bytes_max: [300, 700, 2_000][choices.below(3)],
        frame_bytes_max: [100, 300][choices.below(2)],
    };
    let disk = MemoryDisk::default();
    let written = write(&disk, &config, &mut choices);
    let pristine = disk.files();
    let ends = written.entries.iter().map(|(end, _)| *end);
    let ends: Vec<LogOffset> = ends.filter(|end| *end >= written.trimmed_to).collect();
    let needed_from = match choices.below(4) {
        0 if !ends.is_empty() => ends[choices.below(ends.len())],
        _ => written.trimmed_to,
    };
    let mut files = pristine.clone();
    files.insert(STRANGER.to_owned(), b"kept".to_vec());
    for _ in 0..choices.below(5) {
        damage(&mut files, &mut choices);
    }
    let disk = MemoryDisk::new(files.clone());
    let found = open_and_go_on(&disk, &config, needed_from);
    assert_eq!(disk.files().get(STRANGER), files.get(STRANGER));

    let evidence = Evidence::of(&pristine, &files);
    let is_needed = |(end, _): &&(LogOffset, _)| *end > needed_from;
    let needed: Vec<_> = written.entries.iter().filter(is_needed).cloned().collect();
    match found {
        Ok(found) => {
            assert!(needed.starts_with(&found), "{found:?} of {needed:?}");
            let n_confirmed = needed
                .iter()
                .filter(|(end, _)| end.0 <= evidence.confirmed)
                .count();
            assert!(found.len() >= n_confirmed, "lost in silence");
        }
        Err(error) => assert!(!evidence.is_harmless, "{error}"),
    }
}

/// What was written to a log.
struct Written {
    /// Records that were confirmed, and not given up by a trim.
    entries: Entries,
    /// Up to here nothing is needed any more.
    trimmed_to: LogOffset,
}

/// Writes groups, closes in order or not, starts again, trims.
fn write(disk: &MemoryDisk, config: &LogConfig, choices: &mut Choices<'_>) -> Written {
    let start = LogOffset::default();
    let mut log = open(disk, config, start).expect("an empty log opens").log;
    let (mut ends, mut trimmed_to) = (Vec::new(), start);
    let mut number = 0;
    for _ in 0..choices.below(GROUPS_MAX) {
        match choices.below(16) {
            deed @ (0 | 1) => {
                if deed == 0 {
                    log.close().expect("this disk never fails");
                }
                let opened = open(disk, config, trimmed_to);
                log = opened.expect("an undamaged log opens").log;
            }
            2 if !ends.is_empty() => {
                trimmed_to = trimmed_to.max(ends[choices.below(ends.len())]);
                log.trim(trimmed_to).expect("this disk never fails");
            }
            n_records => {
                for _ in 0..n_records.clamp(1, 7) {
                    log.append(&record(number, choices.below(40)));
                    number += 1;
                }
                ends.push(log.commit().expect("this disk never fails"));
            }
        }
    }
    if choices.below(2) == 1 {
        log.close().expect("this disk never fails");
    }
    let opened = open(disk, config, trimmed_to).expect("an undamaged log opens");
    assert_eq!(opened.recovery.cut, None);
    Written {
        entries: opened.entries,
        trimmed_to,
    }
}

/// Does one thing to the files that a log does not expect.
fn damage(files: &mut Files, choices: &mut Choices<'_>) {
    let deed = choices.below(9);
    let names: Vec<String> = files.keys().cloned().collect();
    let name = &names[choices.below(names.len())];
    let other = files[&names[choices.below(names.len())]].clone();
    let (at, n_bytes, value) = (choices.number(), choices.byte(), choices.byte());
    let Some(bytes) = files.get_mut(name).filter(|_| name != STRANGER) else {
        return;
    };
    let range = range_of(bytes.len(), at, n_bytes.into());
    match deed {
        0 => bytes.iter_mut().skip(range.start).take(1).for_each(|byte| {
            *byte ^= value.max(1);
        }),
        1 => bytes.truncate(range.start),
        2 => bytes.extend(std::iter::repeat_n(value, n_bytes.into())),
        3 => bytes[range].fill(value),
        4 => drop(files.remove(name)),
        5 => drop(bytes.splice(range.start..range.start, other)),
        6 => drop(bytes.drain(range)),
        7 => {
            let source = range_of(other.len(), at.rotate_left(3), n_bytes.into());
            let end = bytes.len().min(range.start + source.len());
            bytes.splice(range.start..end, other[source].iter().copied());
        }
        _ => {
            let base = at as u64 * u64::from(value.max(1));
            files.entry(format!("{base:020}.segment")).or_insert(other);
        }
    }
}

/// A range within `len` bytes, wherever it is asked for.
fn range_of(len: usize, at: usize, n_bytes: usize) -> Range<usize> {
    let start = at % (len + 1);
    start..len.min(start + n_bytes)
}

/// What the files that are left say about what was written.
struct Evidence {
    /// Up to here everything was confirmed.
    confirmed: u64,
    /// No damage is below anything that tells of it: a start must go on.
    is_harmless: bool,
}

impl Evidence {
    fn of(pristine: &Files, files: &Files) -> Self {
        let mut confirmed = 0;
        let mut is_harmless = true;
        let last = pristine.keys().next_back();
        for (name, bytes) in pristine {
            let left = files.get(name).map_or(&[][..], Vec::as_slice);
            let is_whole = left == bytes;
            let header = SegmentHeader::decode(bytes).expect("a header was written");
            let mut n_left = 0;
            if left.starts_with(&bytes[..HEADER_BYTES]) {
                confirmed = confirmed.max(header.previous_end);
            }
            let damaged_at = bytes.iter().zip(left).position(|(one, other)| one != other);
            let damaged_at = damaged_at.unwrap_or(bytes.len().min(left.len()));
            for (place, synced) in frames(header.base, bytes) {
                if left.get(place.clone()) == bytes.get(place.clone()) {
                    confirmed = confirmed.max(synced);
                    n_left += usize::from(place.start >= damaged_at);
                }
            }
            is_harmless &= is_whole || Some(name) == last && n_left == 0;
        }
        Self {
            confirmed,
            is_harmless,
        }
    }
}

/// Where the frames of a segment lie in its file, and up to where they say that it was synced.
fn frames(base: u64, bytes: &[u8]) -> Vec<(Range<usize>, u64)> {
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let place = FramePlace {
            base,
            offset: base + at as u64,
        };
        let frame = open_frame(&bytes[at..], place).expect("a frame was written");
        frames.push((at..at + frame.bytes, frame.head.synced));
        at += frame.bytes;
    }
    frames
}
