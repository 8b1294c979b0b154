//! A log on a disk in memory: how it is opened, and what must hold of it whatever lies there.

use std::sync::Arc;

use waymesh::{
    store::log::{Log, LogConfig, LogError, LogOffset, Recovery},
    types::{
        attributes::Attributes,
        ids::VehicleId,
        record::{Body, Fix, Flags, Record, RecordKey},
        time::UnixMillis,
    },
};

use super::disk::MemoryDisk;

/// A log that begins below this goes on, and an index says nothing greater; what is near the greatest
/// number need not.
pub(crate) const OFFSET_END: u64 = u64::MAX >> 3;

/// Records, each with the end of its frame.
pub(crate) type Entries = Vec<(LogOffset, Record)>;

/// A log that was opened, with what it handed out.
pub(crate) struct Opened {
    pub(crate) log: Log<MemoryDisk>,
    pub(crate) recovery: Recovery,
    pub(crate) entries: Entries,
}

/// A record that is told from others by its number, with `raw_bytes` more.
pub(crate) fn record(number: i64, raw_bytes: usize) -> Record {
    Record {
        key: RecordKey {
            vehicle: VehicleId::parse(b"bus-7").expect("it is one"),
            time: UnixMillis(number),
            hash: 5,
        },
        received: UnixMillis(9),
        protocol: "toy".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: (raw_bytes > 0).then(|| vec![7; raw_bytes].into()),
        body: Body::Position(Fix::default()),
    }
}

/// Opens the log as a start does that needs what lies behind `needed_from`.
pub(crate) fn open(
    disk: &MemoryDisk,
    config: &LogConfig,
    needed_from: LogOffset,
) -> Result<Opened, LogError> {
    let mut entries = Vec::new();
    let storage = Arc::new(disk.clone());
    let (log, recovery) = Log::open(storage, config.clone(), needed_from, |end, record| {
        entries.push((end, record));
    })?;
    Ok(Opened {
        log,
        recovery,
        entries,
    })
}

/// Opens the log twice: both times the same comes of it, an error changes nothing, and what was
/// found is what a reader reads. Then the log goes on: what it confirms is found with the rest.
pub(crate) fn open_and_go_on(
    disk: &MemoryDisk,
    config: &LogConfig,
    needed_from: LogOffset,
) -> Result<Entries, LogError> {
    let before = disk.files();
    let first = match open(disk, config, needed_from) {
        Ok(first) => first,
        Err(error) => {
            assert!(disk.files() == before, "changed in spite of: {error}");
            let again = open(disk, config, needed_from).err();
            assert_eq!(
                again.map(|again| again.to_string()),
                Some(error.to_string())
            );
            return Err(error);
        }
    };
    let opened = open(disk, config, needed_from).expect("it could be opened before");
    assert_eq!(opened.entries, first.entries);
    assert_eq!(opened.log.durable(), first.log.durable());
    assert_eq!(opened.recovery.cut, first.recovery.cut);
    assert!(opened.recovery.void.is_empty(), "void files come back");
    if opened.log.durable().0 < OFFSET_END {
        go_on(disk, config, needed_from, opened);
    }
    Ok(first.entries)
}

fn go_on(disk: &MemoryDisk, config: &LogConfig, needed_from: LogOffset, opened: Opened) {
    let Opened {
        mut log, entries, ..
    } = opened;
    let durable = log.durable();
    assert!(durable >= needed_from);
    assert!(
        entries
            .iter()
            .all(|(end, _)| *end > needed_from && *end <= durable)
    );
    let mut records: Vec<Record> = entries.into_iter().map(|(_, record)| record).collect();
    assert_eq!(read(&log, needed_from), records);
    for number in [-1, -2] {
        log.append(&record(number, 0));
        let end = log.commit().expect("this disk never fails");
        assert!(end > durable);
        records.push(record(number, 0));
    }
    assert_eq!(read(&log, needed_from), records);
    let end = log.durable();
    log.close().expect("this disk never fails");
    let again = open(disk, config, needed_from).expect("a log that was closed in order opens");
    assert!(
        again.log.durable() > end,
        "the closing mark has a place too"
    );
    let found: Vec<Record> = again
        .entries
        .into_iter()
        .map(|(_, record)| record)
        .collect();
    assert_eq!(found, records);
    assert_eq!(again.recovery.cut, None);
}

/// All that a reader reads behind `from`.
fn read(log: &Log<MemoryDisk>, from: LogOffset) -> Vec<Record> {
    let (mut reader, mut at, mut records) = (log.reader(), from, Vec::new());
    while at < log.durable() {
        let next = reader.read(at, log.durable(), 3, &mut records);
        let next = next.expect("what was found can be read");
        assert!(next > at, "no progress");
        at = next;
    }
    records
}
