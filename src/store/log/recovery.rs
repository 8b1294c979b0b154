//! What of the log can be used after a start, and what was cut off its end.

use std::{collections::BTreeMap, fmt, ops::Range};

use memchr::memmem;

use super::{
    LogOffset,
    error::LogError,
    segments::{BASE_MAX, Span, base_of, file_name},
};
use crate::{
    delivery::group::{
        FRAME_MAGIC, FrameFault, FrameHead, FramePlace, HEADER_BYTES, HeaderError, SegmentHeader,
        open_frame, peek_frame,
    },
    store::storage::{Storage, StorageFile},
    types::record::Record,
};

/// Bytes read at once while frames are checked.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// What recovery found; for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments of the chain.
    pub n_segments: usize,
    /// Records that were still needed.
    pub n_records: u64,
    /// What was cut off the last segment.
    pub cut: Option<Cut>,
    /// Files that hold nothing that was ever confirmed; they were removed.
    pub void: Vec<String>,
}

/// Bytes at the end of the last segment that are no whole group: of a write that the end of the process
/// interrupted, or damaged since. Which it is nothing tells, so they may have been confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: String,
    /// Position of the first of them in the file.
    pub position: u64,
    /// How many.
    pub n_bytes: u64,
}

impl fmt::Display for Recovery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} segments, {} records to apply",
            self.n_segments, self.n_records
        )?;
        if let Some(Cut {
            file,
            position,
            n_bytes,
        }) = &self.cut
        {
            write!(
                formatter,
                ", {n_bytes} bytes cut off {file} at {position}: the rest of a write that was \
                 interrupted, or damaged since"
            )?;
        }
        Ok(())
    }
}

/// A log that can be continued.
pub(super) struct Recovered {
    pub(super) chain: Vec<Span>,
    pub(super) durable: u64,
    pub(super) next_base: u64,
    pub(super) report: Recovery,
}

type Headers = BTreeMap<u64, Result<SegmentHeader, HeaderError>>;

/// Looks through the log; `each` gets every record that lies at or above `needed_from`.
pub(super) fn recover<S: Storage>(
    storage: &S,
    needed_from: u64,
    mut each: impl FnMut(LogOffset, Record),
) -> Result<Recovered, LogError> {
    let mut headers = read_headers(storage)?;
    let highest_base = headers.keys().next_back().copied();
    let void = unborn(storage, &mut headers, needed_from)?;
    let mut chain = chain_of(&headers, needed_from)?;
    let mut report = Recovery {
        n_segments: chain.len(),
        ..Recovery::default()
    };
    let last = chain.last().map(|span| span.base);
    for span in &mut chain {
        let is_last = Some(span.base) == last;
        let scan = Scan::new(storage, span.base, needed_from)?;
        let goal = if is_last { scan.file_end() } else { span.end };
        let is_needed = goal > needed_from;
        let Scanned { end, synced } = if is_needed {
            scan.run(goal.min(scan.file_end()), &mut report.n_records, &mut each)?
        } else {
            Scanned {
                end: goal,
                synced: goal,
            }
        };
        if !is_last && end < goal {
            return Err(scan.damaged(end, "its successor says that more was confirmed"));
        }
        if is_last {
            scan.check_nothing_confirmed_behind(end)?;
            let n_bytes = goal - end;
            let (file, position) = (file_name(span.base), end - span.base);
            report.cut = (n_bytes > 0).then_some(Cut {
                file,
                position,
                n_bytes,
            });
            span.end = end;
            scan.secure(synced..end)?;
        }
    }
    let chain_end = chain.last().map_or(0, |span| span.end);
    let durable = chain_end.max(needed_from);
    let behind_files = highest_base.map_or(0, |base| base + HEADER_BYTES as u64);
    remove_void(storage, &headers, &chain, void, &mut report)?;
    Ok(Recovered {
        chain,
        durable,
        next_base: durable.max(behind_files),
        report,
    })
}

fn read_headers<S: Storage>(storage: &S) -> Result<Headers, LogError> {
    let names = storage
        .list()
        .map_err(|source| LogError::io("list", "the log", source))?;
    let mut headers = Headers::new();
    for name in names {
        let Some(base) = base_of(&name) else {
            continue;
        };
        if base > BASE_MAX {
            return Err(LogError::Damaged {
                file: name,
                position: 0,
                what: "no log comes to the offset in its name".to_owned(),
            });
        }
        let mut bytes = [0; HEADER_BYTES];
        let read = storage
            .open(&name)
            .and_then(|file| file.read_at(&mut bytes, 0));
        let n_bytes = read.map_err(|source| LogError::io("read", name.clone(), source))?;
        let header = SegmentHeader::decode(bytes.get(..n_bytes).unwrap_or_default());
        match header {
            Err(HeaderError::UnknownLayout(layout)) => {
                return Err(LogError::UnknownLayout { file: name, layout });
            }
            Ok(header) if header.base != base => {
                headers.insert(base, Err(HeaderError::Damaged));
            }
            header => {
                headers.insert(base, header);
            }
        }
    }
    Ok(headers)
}

/// Takes the newest files out whose making was cut short: a bad header and no frame behind it that
/// is needed. Frames are written only when the header is durable, so a bad header before a frame is
/// damage.
fn unborn<S: Storage>(
    storage: &S,
    headers: &mut Headers,
    needed_from: u64,
) -> Result<Vec<u64>, LogError> {
    let mut void = Vec::new();
    while let Some((base, Err(_))) = headers.last_key_value() {
        let base = *base;
        let scan = Scan::new(storage, base, 0)?;
        let synced_min = base + HEADER_BYTES as u64;
        if scan.has_frame_behind(base.max(needed_from), synced_min)? {
            return Err(scan.damaged(base, "its header is damaged"));
        }
        headers.remove(&base);
        void.push(base);
    }
    Ok(void)
}

/// The chain from the newest segment back, oldest first, as far as it is there. The end of the last
/// one is not known yet.
fn chain_of(headers: &Headers, needed_from: u64) -> Result<Vec<Span>, LogError> {
    let mut chain = Vec::new();
    let mut next = headers.keys().next_back().map(|base| (*base, u64::MAX));
    while let Some((base, end)) = next {
        let is_needed = end > needed_from;
        let header = match headers.get(&base) {
            Some(Ok(header)) => header,
            Some(Err(_)) if is_needed => {
                let (file, what) = (file_name(base), "its header is damaged".to_owned());
                return Err(LogError::Damaged {
                    file,
                    position: 0,
                    what,
                });
            }
            None if is_needed => {
                return Err(LogError::Missing {
                    file: file_name(base),
                });
            }
            _ => break,
        };
        chain.push(Span { base, end });
        next = header
            .previous_base
            .map(|previous| (previous, header.previous_end));
    }
    chain.reverse();
    Ok(chain)
}

/// Removes files that no segment of the chain names: tries that failed, and cuts of a start before.
fn remove_void<S: Storage>(
    storage: &S,
    headers: &Headers,
    chain: &[Span],
    unborn: Vec<u64>,
    report: &mut Recovery,
) -> Result<(), LogError> {
    let is_void = |base: &&u64| !chain.iter().any(|span| span.base == **base);
    for base in headers.keys().filter(is_void).copied().chain(unborn) {
        let name = file_name(base);
        storage
            .remove(&name)
            .map_err(|source| LogError::io("remove", name.clone(), source))?;
        report.void.push(name);
    }
    // Also without a file of its own making: the process before may have made or removed some.
    storage
        .sync()
        .map_err(|source| LogError::io("sync the folder of", "the log", source))
}

/// What a [`Scan`] came upon.
struct Scanned {
    /// Where the last good frame ends.
    end: u64,
    /// Up to where the segment is known to be on the disk.
    synced: u64,
}

/// Reads one segment.
struct Scan<F> {
    file: F,
    base: u64,
    start: u64,
    file_bytes: u64,
}

impl<F: StorageFile> Scan<F> {
    fn new<S: Storage<File = F>>(storage: &S, base: u64, from: u64) -> Result<Self, LogError> {
        let name = file_name(base);
        let opened = storage.open(&name).and_then(|file| {
            let file_bytes = file.len()?;
            Ok((file, file_bytes))
        });
        let (file, file_bytes) = opened.map_err(|source| LogError::io("open", name, source))?;
        let start = from.max(base + HEADER_BYTES as u64);
        Ok(Self {
            file,
            base,
            start,
            file_bytes,
        })
    }

    /// Offset of the end of the file.
    const fn file_end(&self) -> u64 {
        self.base + self.file_bytes
    }

    /// Hands out records up to `goal` or the first bad frame; where it stopped.
    fn run(
        &self,
        goal: u64,
        n_records: &mut u64,
        each: &mut impl FnMut(LogOffset, Record),
    ) -> Result<Scanned, LogError> {
        let (mut at, mut want) = (self.start.min(goal), READ_BYTES);
        // A frame is written when the header is on the disk; what the index keeps was on it too.
        let is_at_header = self.start == self.base + HEADER_BYTES as u64;
        let mut synced = if is_at_header { self.base } else { at };
        while at < goal {
            let bytes = self.read(at, goal, want)?;
            let mut n_done = 0;
            let fault = loop {
                let place = FramePlace {
                    base: self.base,
                    offset: at + n_done as u64,
                };
                match open_frame(bytes.get(n_done..).unwrap_or_default(), place) {
                    Ok(frame) => {
                        n_done += frame.bytes;
                        synced = frame.head.synced.clamp(self.base, at);
                        let end = LogOffset(at + n_done as u64);
                        let handed = frame.for_each_record(|record| {
                            *n_records += 1;
                            each(end, record);
                        });
                        handed.map_err(|source| {
                            let position = place.offset - self.base;
                            LogError::Record {
                                file: file_name(self.base),
                                position,
                                source,
                            }
                        })?;
                    }
                    Err(fault) => break fault,
                }
            };
            at += n_done as u64;
            match fault {
                FrameFault::Short(n_bytes) if at + n_bytes as u64 <= goal => {
                    want = n_bytes.max(READ_BYTES);
                }
                _ => break,
            }
        }
        Ok(Scanned {
            end: at,
            synced: synced.min(at),
        })
    }

    /// Makes durable what was found in this segment, the last one, and is not known to be.
    ///
    /// The process before may have been killed between a write and its sync. What can be read then
    /// need not be on the disk, and after a sync that failed no later one brings it there, unless it
    /// is written again. From here on it counts as confirmed: a repeat of it is acknowledged, and the
    /// header of the next segment names its end.
    fn secure(&self, range: Range<u64>) -> Result<(), LogError> {
        let failed = |source| LogError::io("make durable", file_name(self.base), source);
        let mut at = range.start;
        while at < range.end.min(self.file_end()) {
            let bytes = self.read(at, range.end, READ_BYTES)?;
            self.file.write_at(&bytes, at - self.base).map_err(failed)?;
            if bytes.is_empty() {
                return Err(self.damaged(at, "it has just become shorter"));
            }
            at += bytes.len() as u64;
        }
        self.file.sync().map_err(failed)
    }

    /// The frame at `end` is bad: that is damage if a later frame tells that it was synced.
    fn check_nothing_confirmed_behind(&self, end: u64) -> Result<(), LogError> {
        if self.has_frame_behind(end, end + 1)? {
            return Err(self.damaged(end, "a later frame tells that it was confirmed"));
        }
        Ok(())
    }

    /// Whether a whole frame lies at or behind `offset` before which the segment was synced up to
    /// `synced_min` at least.
    fn has_frame_behind(&self, offset: u64, synced_min: u64) -> Result<bool, LogError> {
        if offset >= self.file_end() {
            return Ok(false);
        }
        // A segment is bounded and this happens once after a crash, so one read will do.
        let bytes = self.read(offset, self.file_end(), usize::MAX)?;
        let is_frame = |start: usize| {
            let place = FramePlace {
                base: self.base,
                offset: offset + start as u64,
            };
            let bytes = bytes.get(start..).unwrap_or_default();
            // The head first: lines of a vehicle may hold any number of bytes that look like one,
            // each of which would have the checksum of all behind it computed.
            let may_be = |head: FrameHead| (synced_min..=place.offset).contains(&head.synced);
            peek_frame(bytes).is_ok_and(|(head, _)| may_be(head))
                && open_frame(bytes, place).is_ok()
        };
        Ok(memmem::find_iter(&bytes, &FRAME_MAGIC).any(is_frame))
    }

    fn read(&self, at: u64, goal: u64, n_bytes_max: usize) -> Result<Vec<u8>, LogError> {
        let n_bytes = usize::try_from(goal.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; n_bytes.min(n_bytes_max)];
        let read = self.file.read_at(&mut bytes, at - self.base);
        let n_read = read.map_err(|source| LogError::io("read", file_name(self.base), source))?;
        bytes.truncate(n_read);
        Ok(bytes)
    }

    fn damaged(&self, offset: u64, what: &str) -> LogError {
        let position = offset - self.base;
        LogError::Damaged {
            file: file_name(self.base),
            position,
            what: what.to_owned(),
        }
    }
}
