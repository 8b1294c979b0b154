//! Tables with a byte that is altered while nobody looks: what is right is answered, what is not is
//! told, with the block.

use std::sync::{Arc, atomic::Ordering};

use super::*;
use crate::{store::index::Examination, types::ids::VehicleId};

const N_VEHICLES: usize = 400;
const N_PLACES: usize = 40;

fn id(number: usize) -> String {
    format!("vehicle-with-a-long-name-{number:03}")
}

/// Two positions of each of many vehicles, in order of the vehicle.
fn fleet() -> Vec<Record> {
    let fixes = |number| {
        let at = |seconds: i64| position(&id(number), MONTH_END + seconds * 1_000, 1);
        [at(10), at(20 + i64::try_from(number).unwrap())]
    };
    (0..N_VEHICLES).flat_map(fixes).collect()
}

/// An index with all of it in tables of several blocks.
fn in_tables() -> Files {
    let folder = new_folder();
    let index = open(folder.path()).unwrap();
    index.apply(&fleet()).unwrap();
    index.persist(LogOffset(1)).unwrap();
    write_tables(&index);
    drop(index);
    files_of(folder.path())
}

fn tables_of(files: &Files) -> Vec<PathBuf> {
    let is_table = |path: &&PathBuf| {
        path.parent()
            .is_some_and(|folder| folder.ends_with("tables"))
    };
    files.keys().filter(is_table).cloned().collect()
}

/// What is asked of a vehicle; the errors.
fn ask(index: &FjallIndex, records: &[Record]) -> Vec<IndexError> {
    let (first, last) = (&records[0], &records[1]);
    let mut errors = Vec::new();
    match index.last(&last.key.vehicle) {
        Ok(found) => assert_eq!(found.as_ref(), Some(last)),
        Err(error) => errors.push(error),
    }
    let query = crate::store::index::RangeQuery {
        vehicle: last.key.vehicle.clone(),
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    match index.range(&query, 10) {
        Ok(found) => assert_eq!(found, [first.clone(), last.clone()]),
        Err(error) => errors.push(error),
    }
    for record in records {
        match index.contains(Kind::Position, &record.key) {
            Ok(is_there) => assert!(is_there),
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn examine(index: &FjallIndex) -> Result<(), IndexError> {
    let examination: Examination = index.examination().unwrap();
    examination()
}

/// The block that a message names: where it begins, and its length if that is said.
fn block_of(message: &str) -> (usize, Option<usize>) {
    let (_, rest) = message.split_once("is damaged at byte ").unwrap();
    let (position, rest) = rest.split_once(':').unwrap();
    let length = rest.split_once("the block of ").map(|(_, rest)| {
        let (length, _) = rest.split_once(' ').unwrap();
        length.parse().unwrap()
    });
    (position.parse().unwrap(), length)
}

#[test]
fn a_damaged_block_is_named_and_keeps_nothing_from_those_who_do_not_need_it() {
    let (files, fleet, mut prng) = (in_tables(), fleet(), Prng::new(3));
    let tables = tables_of(&files);
    assert!(tables.iter().any(|table| files[table].len() > 8_192));
    let (mut n_named, mut n_blocks, mut n_partly) = (0, 0, 0);
    for _ in 0..N_PLACES {
        let path = &tables[usize::try_from(prng.below(tables.len() as u64)).unwrap()];
        let mut altered = files.clone();
        let content = altered.get_mut(path).unwrap();
        let at = usize::try_from(prng.below(content.len() as u64)).unwrap();
        content[at] ^= 1 << prng.below(8);
        let folder = lay(&altered);
        let case = format!("{} at {at}", path.display());
        let (message, n_failed) = match open(folder.path()) {
            Err(error) => (error.to_string(), None),
            Ok(index) => {
                let vehicles = fleet.chunks(2);
                let errors = vehicles.map(|records| ask(&index, records));
                let errors: Vec<_> = errors.filter(|errors| !errors.is_empty()).collect();
                let are_damage = errors.iter().flatten().all(IndexError::is_damage);
                assert!(are_damage, "{case}: {errors:?}");
                // Of what no question needed it is said all the same, by who looks.
                let found = examine(&index).unwrap_err();
                assert!(found.is_damage(), "{case}");
                (found.to_string(), Some(errors.len()))
            }
        };
        assert!(
            message.contains(&*path.to_string_lossy()),
            "{case}: {message}"
        );
        let (position, length) = block_of(&message);
        let is_inside = length.is_none_or(|length| at < position + length);
        assert!(position <= at && is_inside, "{case}: {message}");
        n_named += 1;
        n_blocks += usize::from(length.is_some());
        n_partly += usize::from(n_failed.is_some_and(|n| (1..N_VEHICLES).contains(&n)));
    }
    println!("{n_named} named, {n_blocks} of them with a block, {n_partly} answered in part");
    assert_eq!(n_named, N_PLACES);
    assert!(n_blocks > N_PLACES / 2 && n_partly > 5);
}

#[test]
fn an_index_that_is_not_damaged_is_found_whole_while_its_tables_are_merged() {
    let folder = new_folder();
    let index = Arc::new(open(folder.path()).unwrap());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut n_looks = 0;
            while !is_over.load(Ordering::Relaxed) {
                examine(&index).unwrap();
                n_looks += 1;
            }
            n_looks
        });
        for part in fleet().chunks(40) {
            index.apply(part).unwrap();
            write_tables(&index);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(looks.join().unwrap() > 0);
    });
}

/// A merge meets the damaged block on a thread of its own.
#[test]
fn a_merge_that_meets_a_damaged_block_is_told_by_the_next_write_and_costs_no_answer() {
    let mut files = in_tables();
    // Others are read when it is opened.
    let is_large = |table: &PathBuf| files[table].len() > 8_192;
    let large: Vec<_> = tables_of(&files).into_iter().filter(is_large).collect();
    assert!(!large.is_empty());
    for table in large {
        files.get_mut(&table).unwrap()[40] ^= 1;
    }
    let folder = lay(&files);
    let index = open(folder.path()).unwrap();
    // Of vehicles before and behind all others: tables that cannot lie beside the damaged one.
    let around = |round| ["a", "z"].map(|id| position(id, MONTH_END + round, 1));
    let mut refused = None;
    for round in 0..200 {
        let month = index.month(UnixMillis(MONTH_END).month()).unwrap();
        if let Err(error) = index.apply(&around(round)) {
            refused = Some(error);
            break;
        }
        // Merged with the damaged one when there are some; then nobody writes them any more.
        month.rotate_memtable().unwrap();
        for _ in 0..100 {
            if month.sealed_memtable_count() == 0 {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    let refused = refused.expect("no write was refused").to_string();
    assert!(
        refused.contains("an earlier write, sync or merge failed"),
        "{refused}"
    );
    let found = examine(&index).unwrap_err();
    assert!(
        found
            .to_string()
            .contains("is damaged at byte 0: the block of"),
        "{found}"
    );
    let last = VehicleId::parse(id(N_VEHICLES - 1).as_bytes()).unwrap();
    assert!(index.last(&last).unwrap().is_some());
}
