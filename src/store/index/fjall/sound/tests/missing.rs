//! Files of an index that are gone as a whole, by which fjall would lose rows without a word.

use super::*;
use crate::store::{index::tests::future, retention::Horizon};

/// Numbers of the keyspaces that are listed as finished.
fn listed(files: &Files) -> Vec<String> {
    let text = String::from_utf8(files[Path::new("finished")].clone()).unwrap();
    let (lines, _) = text.split_once("xxh3 ").unwrap();
    lines.lines().map(str::to_owned).collect()
}

/// An index with all rows in its journal, also of what is ahead of its time.
fn in_journal() -> Files {
    let folder = new_folder();
    let index = open(folder.path()).unwrap();
    apply(&index, 0, 400);
    index.apply(&[ahead()]).unwrap();
    index.persist(LogOffset(400)).unwrap();
    let files = files_of(folder.path());
    let is_table = |path: &PathBuf| path.parent().is_some_and(|it| it.ends_with("tables"));
    let of_names = Path::new("keyspaces/0");
    assert!(
        files
            .keys()
            .all(|path| !is_table(path) || path.starts_with(of_names))
    );
    files
}

fn ahead() -> Record {
    future(position("ahead", MONTH_END + 86_400_000, 1))
}

/// The error of an index that is not opened, which changes none of its files.
fn refused(folder: &Path) -> String {
    let before = files_of(folder);
    let error = open(folder).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert!(files_of(folder) == before, "{error}");
    error.to_string()
}

/// Whether it says that this is missing.
#[track_caller]
fn assert_missing(why: &str, path: &str) {
    let expected = format!("/{path} is damaged at byte 0: it is missing");
    assert!(why.contains(&expected), "{path}: {why}");
}

#[test]
fn a_keyspace_that_is_missing_is_named_and_all_is_there_when_it_is_back() {
    let n_rows = |index: &FjallIndex| {
        let query = ScanQuery {
            kind: Kind::Position,
            from: None,
            to: None,
            after: None,
        };
        index.scan(&query, usize::MAX).unwrap().records.len()
    };
    for (files, expected) in [(in_journal(), 401), (killed(), 600)] {
        let numbers = listed(&files);
        assert_eq!(numbers.len(), 6, "{numbers:?}");
        for number in &numbers {
            let folder = lay(&files);
            let keyspace = folder.path().join("keyspaces").join(number);
            let (current, aside) = (keyspace.join("current"), folder.path().join("aside"));

            fs::rename(&current, &aside).unwrap();
            let path = format!("keyspaces/{number}/current");
            assert_missing(&refused(folder.path()), &path);
            fs::rename(&aside, &current).unwrap();

            fs::rename(&keyspace, &aside).unwrap();
            let path = format!("keyspaces/{number}");
            assert_missing(&refused(folder.path()), &path);
            fs::rename(&aside, &keyspace).unwrap();

            assert_eq!(n_rows(&open(folder.path()).unwrap()), expected, "{number}");
        }
        let folder = lay(&files);
        fs::remove_dir_all(folder.path().join("keyspaces")).unwrap();
        assert_missing(&refused(folder.path()), "keyspaces/0");
    }
}

#[test]
fn a_keyspace_that_was_never_finished_is_harmless() {
    for has_tables in [false, true] {
        let mut files = killed();
        let part = Path::new("keyspaces/9").join(if has_tables { "tables/0" } else { "v0" });
        files.insert(part, b"some".to_vec());
        assert_eq!(use_again(&files, "unfinished"), Outcome::Right(400));
    }
}

#[test]
fn a_keyspace_that_was_made_and_not_listed_is_harmless() {
    let folder = new_folder();
    let index = open(folder.path()).unwrap();
    let list = fs::read(folder.path().join("finished")).unwrap();
    index.month_or_new(UnixMillis(MONTH_END).month()).unwrap();
    drop(index);
    let mut files = files_of(folder.path());
    let after = listed(&files);
    files.insert("finished".into(), list);
    let before = listed(&files);
    assert_eq!(use_again(&files, "finished"), Outcome::Right(0));
    let new = after
        .iter()
        .find(|number| !before.contains(number))
        .unwrap();
    let current = Path::new("keyspaces").join(new).join("current");
    files.remove(&current).unwrap();
    assert_eq!(use_again(&files, "unfinished"), Outcome::Right(0));
}

#[test]
fn a_month_that_was_removed_is_not_missed() {
    let folder = new_folder();
    let index = open(folder.path()).unwrap();
    apply(&index, 0, 600);
    index.persist(LogOffset(600)).unwrap();
    let before = listed(&files_of(folder.path()));
    let horizon = Horizon {
        oldest: UnixMillis(MONTH_END),
        newest: UnixMillis(i64::MAX),
    };
    assert_eq!(index.remove_past(&horizon).unwrap().n_months, 1);
    // The files are there still: questions may read them.
    let killed = files_of(folder.path());
    let after = listed(&killed);
    let removed: Vec<_> = before.iter().filter(|it| !after.contains(it)).collect();
    assert_eq!(removed.len(), 1, "{before:?} {after:?}");
    let current = PathBuf::from(format!("keyspaces/{}/current", removed[0]));
    assert!(killed.contains_key(&current));
    while !index.remove_past(&horizon).unwrap().is_complete {}
    let complete = files_of(folder.path());
    assert!(!complete.contains_key(&current));
    drop(index);
    let mut half = killed.clone();
    half.remove(&current);
    for files in [killed, half, complete] {
        let folder = lay(&files);
        let index = open(folder.path()).unwrap();
        assert_eq!(index.persisted(), LogOffset(600));
        assert_eq!(listed(&files_of(folder.path())), after);
    }
}

#[test]
fn an_index_without_the_list_gets_it() {
    let mut files = killed();
    let list = files.remove(Path::new("finished")).unwrap();
    let folder = lay(&files);
    drop(open(folder.path()).unwrap());
    assert!(files_of(folder.path())[Path::new("finished")] == list);
    fs::write(folder.path().join("finished"), b"0\n").unwrap();
    let why = refused(folder.path());
    assert!(why.contains("/finished is damaged at byte 0"), "{why}");
}

#[test]
fn a_missing_journal_or_lock_is_named() {
    for files in [in_journal(), killed()] {
        for name in ["0.jnl", "lock"] {
            let mut files = files.clone();
            files.remove(Path::new(name)).unwrap();
            assert_missing(&refused(lay(&files).path()), name);
        }
    }
}
