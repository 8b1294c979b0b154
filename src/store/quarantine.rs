//! The quarantine: rejected lines, set aside in a bounded file for people to look at.
//!
//! One JSON object a line: `time`, `peer`, `protocol`, `vehicle`, `reason`, `line` (UTF-8, what is
//! not is shown as U+FFFD), and `line_bytes` where the line is cut. Two files, each half of the size
//! allowed: when the younger is full it takes the place of the older. Best effort: nothing is
//! synced, and a disk that refuses costs the entry and no more.

use std::{io, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use super::storage::{Storage, StorageFile};
use crate::{
    base::rate::RateLimit,
    types::{ids::VehicleId, record::ProtocolName, time::UnixMillis},
};

const YOUNGER: &str = "rejected.ndjson";
const OLDER: &str = "rejected.1.ndjson";

/// Bytes kept of one line.
const LINE_BYTES_MAX: usize = 1_024;

/// Bytes gathered before they are written, and moved at a time when the files change places.
const GATHERED_BYTES_MAX: usize = 256 * 1_024;

static WARNINGS: RateLimit = RateLimit::per_second(1);

/// A line that was rejected.
#[derive(Debug, Clone)]
pub struct QuarantineEntry {
    /// When its bytes were read.
    pub time: UnixMillis,
    /// Address of the socket it came from.
    pub peer: String,
    /// Protocol of the connection, if recognised.
    pub protocol: Option<ProtocolName>,
    /// Vehicle of the connection, if known.
    pub vehicle: Option<VehicleId>,
    /// Why it was rejected.
    pub reason: &'static str,
    /// The line, or its beginning; may be empty where it was not kept.
    pub line: Bytes,
    /// Length of the whole line.
    pub line_bytes: usize,
}

impl QuarantineEntry {
    /// The same with no more of the line than is kept, in memory of its own: an entry that waits
    /// must not hold the chunk that its line came in.
    #[must_use]
    pub fn detached(mut self) -> Self {
        let kept = self.line.get(..LINE_BYTES_MAX).unwrap_or(&self.line);
        self.line = Bytes::copy_from_slice(kept);
        self
    }
}

#[derive(Serialize)]
struct EntryJson<'a> {
    time: String,
    peer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vehicle: Option<&'a str>,
    reason: &'a str,
    line: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_bytes: Option<usize>,
}

/// The files of rejected lines.
#[derive(Debug)]
pub struct Quarantine<S: Storage> {
    storage: Arc<S>,
    bytes_max: u64,
    file: S::File,
    file_bytes: u64,
    /// Whether the files have begun to change places and not ended.
    is_rotating: bool,
    gathered: Vec<u8>,
}

impl<S: Storage> Quarantine<S> {
    /// Opens the files, or makes them; `bytes_max` is the size of both together.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn open(storage: Arc<S>, bytes_max: u64) -> io::Result<Self> {
        let file = match storage.open(YOUNGER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create(YOUNGER),
            opened => opened,
        }?;
        let file_bytes = file.len()?;
        let mut last = [b'\n'];
        file.read_at(&mut last, file_bytes.saturating_sub(1))?;
        // A process that was killed may have left half a line.
        let gathered = if last == *b"\n" { vec![] } else { vec![b'\n'] };
        Ok(Self {
            storage,
            bytes_max,
            file,
            file_bytes,
            is_rotating: false,
            gathered,
        })
    }

    /// Adds an entry; it is written by the next [`Quarantine::flush`], or at once where much has
    /// been gathered.
    pub fn push(&mut self, entry: &QuarantineEntry) {
        let is_cut = entry.line_bytes > LINE_BYTES_MAX;
        let kept = entry.line.get(..LINE_BYTES_MAX).unwrap_or(&entry.line);
        let json = EntryJson {
            time: entry.time.to_string(),
            peer: &entry.peer,
            protocol: entry.protocol.as_deref(),
            vehicle: entry.vehicle.as_ref().map(VehicleId::as_str),
            reason: entry.reason,
            line: String::from_utf8_lossy(kept).into_owned(),
            line_bytes: is_cut.then_some(entry.line_bytes),
        };
        if serde_json::to_writer(&mut self.gathered, &json).is_ok() {
            self.gathered.push(b'\n');
        }
        if self.gathered.len() >= GATHERED_BYTES_MAX {
            self.flush();
        }
    }

    /// Writes what was added. What cannot be written is dropped, with a warning.
    pub fn flush(&mut self) {
        if let Err(error) = self.write()
            && let Some(n_unsaid) = WARNINGS.pass()
        {
            tracing::warn!(%error, n_unsaid, "rejected lines cannot be set aside");
        }
        self.gathered.clear();
    }

    fn write(&mut self) -> io::Result<()> {
        let half = self.bytes_max / 2;
        // What is more than a whole file can hold is dropped from its front, at a line's end.
        let surplus = self
            .gathered
            .len()
            .saturating_sub(usize::try_from(half).unwrap_or(0));
        let rest = self.gathered.get(surplus..).unwrap_or_default();
        let skipped = if surplus == 0 {
            Some(0)
        } else {
            memchr::memchr(b'\n', rest).map(|n| n + 1)
        };
        let entries = rest
            .get(skipped.unwrap_or(rest.len())..)
            .unwrap_or_default();
        if self.is_rotating || self.file_bytes + entries.len() as u64 > half {
            self.is_rotating = true;
            self.file = rotate(self.storage.as_ref(), &self.file)?;
            self.file_bytes = 0;
            self.is_rotating = false;
        }
        self.file.write_at(entries, self.file_bytes)?;
        self.file_bytes += entries.len() as u64;
        Ok(())
    }
}

/// The younger file's content becomes the older one's; gives the younger one, empty.
fn rotate<S: Storage>(storage: &S, younger: &S::File) -> io::Result<S::File> {
    remove_if_there(storage, OLDER)?;
    let older = storage.create(OLDER)?;
    let mut piece = vec![0; GATHERED_BYTES_MAX];
    let mut offset = 0;
    loop {
        let n_read = younger.read_at(&mut piece, offset)?;
        if n_read == 0 {
            break;
        }
        older.write_at(piece.get(..n_read).unwrap_or_default(), offset)?;
        offset += n_read as u64;
    }
    // An earlier try may have come just so far.
    remove_if_there(storage, YOUNGER)?;
    storage.create(YOUNGER)
}

fn remove_if_there<S: Storage>(storage: &S, name: &str) -> io::Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sim_disk::SimDisk;

    fn entry(line: &[u8]) -> QuarantineEntry {
        QuarantineEntry {
            time: UnixMillis(0),
            peer: "127.0.0.1:1".to_owned(),
            protocol: Some("wialon".into()),
            vehicle: VehicleId::parse(b"v").ok(),
            reason: "checksum",
            line: Bytes::copy_from_slice(line),
            line_bytes: line.len(),
        }
    }

    fn text_of(disk: &SimDisk, name: &str) -> String {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_entry_is_a_line_of_json_and_stays_after_a_start() {
        let disk = SimDisk::new(1);
        for line in [b"#SD#\xff".as_slice(), b"second"] {
            let mut quarantine = Quarantine::open(Arc::new(disk.clone()), 10_000).unwrap();
            quarantine.push(&entry(line));
            quarantine.flush();
        }
        let text = text_of(&disk, YOUNGER);
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["line"], "#SD#\u{fffd}");
        assert_eq!(lines[0]["reason"], "checksum");
        assert_eq!(lines[1]["line"], "second");
    }

    #[test]
    fn the_files_stay_within_their_size_and_keep_the_newest() {
        let disk = SimDisk::new(1);
        let mut quarantine = Quarantine::open(Arc::new(disk.clone()), 10_000).unwrap();
        for number in 0..1_000 {
            quarantine.push(&entry(format!("line {number}").as_bytes()));
            if number % 7 == 0 {
                quarantine.flush();
            }
        }
        quarantine.push(&entry(&[b'x'; 100_000]));
        quarantine.flush();
        let (older, younger) = (text_of(&disk, OLDER), text_of(&disk, YOUNGER));
        assert!(older.len() + younger.len() <= 10_000);
        assert!(younger.contains("\"line_bytes\":100000"));
        assert!(older.contains("line 9") && !older.contains("\"line 1\""));
    }

    #[test]
    fn an_entry_that_waits_holds_the_beginning_of_its_line_and_no_chunk() {
        let chunk = Bytes::from(vec![b'x'; 100_000]);
        let waiting = QuarantineEntry {
            line: chunk.slice(10..90_000),
            line_bytes: 89_990,
            ..entry(b"")
        }
        .detached();
        assert!(chunk.try_into_mut().is_ok());
        let disk = SimDisk::new(1);
        let mut quarantine = Quarantine::open(Arc::new(disk.clone()), 10_000).unwrap();
        quarantine.push(&waiting);
        quarantine.flush();
        assert!(text_of(&disk, YOUNGER).contains("xxx\",\"line_bytes\":89990}"));
    }

    #[test]
    fn much_at_once_is_written_in_parts_and_all_of_it() {
        let disk = SimDisk::new(1);
        let mut quarantine = Quarantine::open(Arc::new(disk.clone()), 64_000_000).unwrap();
        for _ in 0..2_000 {
            quarantine.push(&entry(&[0; 1_000]));
            assert!(quarantine.gathered.len() < GATHERED_BYTES_MAX);
        }
        quarantine.flush();
        assert_eq!(text_of(&disk, YOUNGER).lines().count(), 2_000);
    }

    #[test]
    fn a_disk_that_refuses_costs_only_the_entry() {
        let disk = SimDisk::new(1);
        let mut quarantine = Quarantine::open(Arc::new(disk.clone()), 10_000).unwrap();
        disk.fail_after(0);
        quarantine.push(&entry(b"lost"));
        quarantine.flush();
        quarantine.push(&entry(b"kept"));
        quarantine.flush();
        assert!(text_of(&disk, YOUNGER).contains("kept"));
    }

    #[test]
    fn a_disk_that_refuses_while_files_change_places_does_not_end_it() {
        for failing in 0..6 {
            let disk = SimDisk::new(1);
            let mut quarantine = Quarantine::open(Arc::new(disk.clone()), 1_000).unwrap();
            quarantine.push(&entry(&[b'x'; 200]));
            quarantine.flush();
            disk.fail_after(failing);
            for line in [&[b'y'; 200][..], b"kept"] {
                quarantine.push(&entry(line));
                quarantine.flush();
            }
            assert!(text_of(&disk, YOUNGER).contains("kept"), "step {failing}");
        }
    }

    #[test]
    fn half_a_line_spoils_no_other() {
        let disk = SimDisk::new(1);
        disk.create(YOUNGER)
            .unwrap()
            .write_at(b"{\"half", 0)
            .unwrap();
        let mut quarantine = Quarantine::open(Arc::new(disk.clone()), 10_000).unwrap();
        quarantine.push(&entry(b"whole"));
        quarantine.flush();
        let text = text_of(&disk, YOUNGER);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["line"], "whole");
    }
}
