//! Recovery of logs that nobody wrote: files of any bytes, and of bytes that look right piece by
//! piece. Nothing panics, opening twice gives the same, and a log that opens goes on.

use waymesh::{
    delivery::{
        frame::encode_record,
        group::{
            FRAME_HEAD_BYTES, FrameHead, FrameKind, FramePlace, SegmentHeader, push_record,
            seal_frame,
        },
    },
    store::log::{LogConfig, LogOffset},
};

use super::{
    choices::Choices,
    disk::{Files, MemoryDisk},
    log::{OFFSET_END, open_and_go_on, record},
};

/// Files at most.
const FILES_MAX: usize = 5;

/// Pieces of a file at most.
const PIECES_MAX: usize = 8;

/// The input: from where the log is needed, then files, each of pieces.
pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let needed_from = LogOffset(offset(&mut choices, 0) % OFFSET_END);
    let mut files = Files::new();
    let mut end = 0;
    for _ in 0..choices.below(FILES_MAX) {
        let base = offset(&mut choices, end);
        let bytes = segment(base, &mut choices);
        end = base.saturating_add(bytes.len() as u64);
        files.insert(format!("{base:020}.segment"), bytes);
    }
    let config = LogConfig {
        segment_bytes_max: 500,
        frame_bytes_max: 200,
    };
    // An error is as good as a start here.
    drop(open_and_go_on(
        &MemoryDisk::new(files),
        &config,
        needed_from,
    ));
}

/// An offset: at `near`, a little behind it, small, or any.
fn offset(choices: &mut Choices<'_>, near: u64) -> u64 {
    match choices.below(8) {
        0..=3 => near,
        4 | 5 => near.saturating_add(u64::from(choices.byte())),
        6 => u64::from(choices.byte()),
        _ => choices.long(),
    }
}

fn segment(base: u64, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if choices.below(8) < 7 {
        let header = SegmentHeader {
            base: offset(choices, base),
            previous_base: (choices.below(4) > 0).then(|| offset(choices, 0)),
            previous_end: offset(choices, base),
        };
        bytes.extend(header.encode());
    }
    for _ in 0..choices.below(PIECES_MAX) {
        match choices.below(4) {
            0 => {
                let n_bytes = choices.byte();
                bytes.extend(choices.bytes(n_bytes.into()));
            }
            _ => {
                let offset = base.wrapping_add(bytes.len() as u64);
                bytes.extend(frame(FramePlace { base, offset }, choices));
            }
        }
    }
    bytes
}

/// A frame with a right checksum, whatever it says.
fn frame(place: FramePlace, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEAD_BYTES];
    let mut n_records = 0;
    for _ in 0..choices.below(4) {
        match choices.below(8) {
            0 => {
                let n_bytes = choices.byte();
                frame.extend(choices.bytes(n_bytes.into()));
            }
            1 => {
                let n_bytes = choices.byte();
                push_record(choices.bytes(n_bytes.into()), &mut frame);
                n_records += 1;
            }
            _ => {
                let mut bytes = Vec::new();
                encode_record(&record(choices.byte().into(), 0), &mut bytes);
                push_record(&bytes, &mut frame);
                n_records += 1;
            }
        }
    }
    let is_counted_right = choices.below(8) > 0;
    let head = FrameHead {
        kind: if choices.below(8) > 0 {
            FrameKind::Records
        } else {
            FrameKind::Closing
        },
        n_records: if is_counted_right {
            n_records
        } else {
            choices.byte().into()
        },
        synced: offset(choices, place.offset),
    };
    seal_frame(&mut frame, place, head);
    frame
}
