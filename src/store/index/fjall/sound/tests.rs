//! Bytes of an index that are altered or cut, in every one of its files.

mod missing;
mod tables;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::super::{FjallIndex, IndexConfig};
use crate::{
    base::prng::Prng,
    store::{
        gate::{IndexGate, IndexOpener},
        index::{Index as _, IndexError, ScanQuery, tests::position},
        log::LogOffset,
    },
    types::{
        record::{Kind, Record},
        time::{Month, UnixMillis},
    },
};

/// 2026-12-01T00:00:00Z.
const MONTH_END: i64 = 1_796_083_200_000;

/// Files up to this length are altered at each of their bytes, others at some.
const SMALL_BYTES: usize = 64;
const N_SAMPLES: usize = 8;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The record at an offset of the log, of which each takes one.
fn record(offset: usize) -> Record {
    let id = format!("v{}", offset % 7);
    let seconds = i64::try_from(offset).unwrap() - 300;
    position(&id, MONTH_END + seconds * 1_000, 1)
}

fn records() -> Vec<Record> {
    (0..600).map(record).collect()
}

fn open(folder: &Path) -> Result<FjallIndex, IndexError> {
    open_with(folder, IndexConfig::default().table_bytes)
}

/// What is applied becomes tables at once.
fn open_at_once(folder: &Path) -> FjallIndex {
    open_with(folder, 1).unwrap()
}

fn open_with(folder: &Path, table_bytes: u64) -> Result<FjallIndex, IndexError> {
    // What is applied is written at once.
    let config = IndexConfig {
        stage_bytes: 0,
        table_bytes,
        ..IndexConfig::default()
    };
    FjallIndex::open(folder, config)
}

fn apply(index: &FjallIndex, from: usize, to: usize) {
    for part in records()[from..to].chunks(20) {
        index.apply(part).unwrap();
    }
}

/// Has what is in memory written to tables.
fn write_tables(index: &FjallIndex) {
    let months = [MONTH_END - 1, MONTH_END].map(|millis| UnixMillis(millis).month());
    let months = months.map(|month: Month| index.month(month));
    for keyspace in months.iter().flatten().chain([&index.last]) {
        keyspace.rotate_memtable_and_wait().unwrap();
    }
}

/// The files of an index; of the journals the part that was written.
fn files_of(folder: &Path) -> Files {
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

/// An index as a kill leaves it: in tables up to 200, the second half of them at once, durable up to 400,
/// in the journal up to 600.
fn killed() -> Files {
    let folder = new_folder();
    let index = open(folder.path()).unwrap();
    apply(&index, 0, 100);
    write_tables(&index);
    drop(index);
    let index = open_at_once(folder.path());
    apply(&index, 100, 200);
    drop(index);
    let index = open(folder.path()).unwrap();
    apply(&index, 200, 400);
    index.persist(LogOffset(400)).unwrap();
    apply(&index, 400, 600);
    files_of(folder.path())
}

/// In memory where that can be had: it is opened hundreds of times.
fn new_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn lay(files: &Files) -> tempfile::TempDir {
    let folder = new_folder();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    // A new folder lacks what fjall makes even where it is empty.
    for keyspace in fs::read_dir(folder.path().join("keyspaces")).unwrap() {
        fs::create_dir_all(keyspace.unwrap().path().join("tables")).unwrap();
    }
    folder
}

/// What became of an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Applied again from where it says, it has each record once.
    Right(u64),
    /// It is not opened, for this reason.
    Refused(String),
    /// A question was told so; this is found when all is read.
    Unanswered(String),
}

/// Opens an index and applies to it what it lacks, as a store does.
fn use_again(files: &Files, case: &str) -> Outcome {
    let folder = lay(files);
    let path = folder.path().to_owned();
    let opener = IndexOpener::new(move || open(&path));
    let index = match IndexGate::open(opener, Duration::ZERO) {
        Ok(index) => index,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let from = index.persisted();
    let records = records();
    let missing = &records[usize::try_from(from.0).unwrap()..];
    let query = ScanQuery {
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    let unanswered = |why: IndexError| {
        let examination = index.examination().unwrap();
        let found = examination().expect_err(&format!("{case}: nothing is found, but {why}"));
        Outcome::Unanswered(found.to_string())
    };
    if let Err(error) = index.apply(missing) {
        return unanswered(error);
    }
    let page = match index.scan(&query, usize::MAX) {
        Ok(page) => page,
        Err(error) => return unanswered(error),
    };
    let mut expected = records;
    expected.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(page.records.len(), expected.len(), "{case}");
    assert!(page.records == expected, "{case}: altered");
    for last in expected.chunk_by(|one, other| one.key.vehicle == other.key.vehicle) {
        let last = last.last().unwrap();
        match index.last(&last.key.vehicle) {
            Ok(found) => assert_eq!(found.as_ref(), Some(last), "{case}"),
            Err(error) => return unanswered(error),
        }
    }
    Outcome::Right(from.0)
}

/// Where a file of this length is altered or cut.
fn places(n_bytes: usize, prng: &mut Prng) -> Vec<usize> {
    if n_bytes <= SMALL_BYTES {
        return (0..n_bytes).collect();
    }
    let mut below = |bound: usize| usize::try_from(prng.below(bound as u64)).unwrap();
    let mut places: Vec<usize> = (0..N_SAMPLES).map(|_| below(n_bytes)).collect();
    places.extend([0, n_bytes - 1, n_bytes - 40]);
    places
}

#[test]
fn an_altered_or_cut_file_is_named_or_costs_no_record() {
    let files = killed();
    assert_eq!(use_again(&files, "as it was"), Outcome::Right(400));
    let mut prng = Prng::new(1);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, bytes) in &files {
        for at in places(bytes.len(), &mut prng) {
            for is_cut in [false, true] {
                let mut altered = files.clone();
                let content = altered.get_mut(path).unwrap();
                if is_cut {
                    content.truncate(at);
                } else {
                    content[at] ^= 1 << prng.below(8);
                }
                let case = format!("{} at {at}, cut: {is_cut}", path.display());
                let outcome = match use_again(&altered, &case) {
                    Outcome::Right(from) => {
                        assert_eq!(from, 400, "{case}");
                        "right"
                    }
                    Outcome::Refused(why) | Outcome::Unanswered(why) => {
                        let is_named = why.contains(&*path.to_string_lossy());
                        let is_placed = why.contains("is damaged at byte");
                        assert!(is_named && is_placed, "{case}: {why}");
                        "named"
                    }
                };
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
    }
    println!("{outcomes:?}");
    assert!(
        outcomes["right"] > 20 && outcomes["named"] > 300,
        "{outcomes:?}"
    );
}

/// The path of the only journal.
fn journal_of(files: &Files) -> PathBuf {
    let mut paths = files.keys();
    let is_journal = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    paths.find(is_journal).unwrap().clone()
}

#[test]
fn each_byte_of_a_journal_that_was_made_durable_counts() {
    let files = killed();
    let path = journal_of(&files);
    let seal = String::from_utf8(files[Path::new("synced")].clone()).unwrap();
    let sealed: usize = seal.split(' ').nth(1).unwrap().parse().unwrap();
    assert!((1_000..files[&path].len()).contains(&sealed));
    let mut prng = Prng::new(2);
    for at in (0..sealed).step_by(97).chain(0..40) {
        let mut altered = files.clone();
        altered.get_mut(&path).unwrap()[at] ^= 1 << prng.below(8);
        let outcome = use_again(&altered, &format!("at {at}"));
        // What has no checksum is the order, which may stay the same.
        let is_harmless = outcome == Outcome::Right(400);
        assert!(
            matches!(outcome, Outcome::Refused(_)) || is_harmless,
            "{at}: {outcome:?}"
        );
        assert!(!is_harmless || at >= 40, "{at}");
    }
}

/// What is cut off the journal is in a table of the month, and the last positions are not.
#[test]
fn a_cut_journal_of_which_tables_know_more_is_refused() {
    let folder = new_folder();
    let index = open(folder.path()).unwrap();
    apply(&index, 0, 100);
    index.persist(LogOffset(100)).unwrap();
    apply(&index, 100, 200);
    index.last.rotate_memtable_and_wait().unwrap();
    let mut files = files_of(folder.path());
    let path = journal_of(&files);
    assert_eq!(use_again(&files, "as it was"), Outcome::Right(100));
    let journal = files.get_mut(&path).unwrap();
    journal.truncate(journal.len() - 1);
    let Outcome::Refused(why) = use_again(&files, "cut") else {
        panic!("not refused");
    };
    assert!(why.contains("0.jnl is damaged at byte"), "{why}");
}

/// Tables that are written at once have numbers that no batch has.
#[test]
fn a_torn_batch_behind_a_table_is_cut_off() {
    let folder = new_folder();
    let index = open_at_once(folder.path());
    apply(&index, 0, 100);
    index.persist(LogOffset(100)).unwrap();
    apply(&index, 100, 200);
    drop(index);
    let index = open(folder.path()).unwrap();
    apply(&index, 200, 220);
    let mut files = files_of(folder.path());
    let path = journal_of(&files);
    assert_eq!(use_again(&files, "as it was"), Outcome::Right(100));
    let journal = files.get_mut(&path).unwrap();
    journal.truncate(journal.len() - 1);
    assert_eq!(use_again(&files, "torn"), Outcome::Right(100));
}

#[test]
fn an_index_that_was_never_finished_is_begun_anew_and_one_that_was_is_not() {
    for (name, bytes) in [
        ("lock", &b""[..]),
        ("0.jnl", &[0; 4_096]),
        ("version", b"FJL"),
    ] {
        let folder = new_folder();
        fs::create_dir(folder.path().join("keyspaces")).unwrap();
        fs::write(folder.path().join("lock"), b"").unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
        let index = open(folder.path()).unwrap();
        assert_eq!(index.persisted(), LogOffset(0), "{name}");
    }
    let mut files = killed();
    files.remove(Path::new("version"));
    let Outcome::Refused(why) = use_again(&files, "no version") else {
        panic!("not refused");
    };
    assert!(why.contains("version is damaged"), "{why}");
}

#[test]
fn an_index_that_is_open_is_not_checked_under_who_has_it_open() {
    let folder = new_folder();
    let index = open(folder.path()).unwrap();
    apply(&index, 0, 20);
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("another process has the index open"),
        "{error}"
    );
}
