//! What a flush leaves: nothing lost or doubled, in tables and in batches, however it ends.

use std::collections::BTreeSet;

use ::fjall::AbstractTree as _;

use super::{
    super::{Index as _, IndexConfig},
    *,
};
use crate::store::{
    index::{RangeQuery, tests::position},
    log::LogOffset,
};

fn large(time: i64) -> Record {
    Record {
        raw: Some(vec![b'a'; 60_000].into()),
        ..position("large", time, 1)
    }
}

#[test]
fn rows_that_wait_to_be_written_are_bounded_however_much_is_flushed_at_once() {
    const MIB: u64 = 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let config = IndexConfig {
        stage_bytes: 24 * MIB,
        memtable_bytes: MIB,
        memtables_bytes: MIB,
        table_bytes: u64::MAX,
        ..IndexConfig::default()
    };
    let index = FjallIndex::open(folder.path(), config).unwrap();
    let records: Vec<Record> = (0..400).map(large).collect();
    index.apply(&records).unwrap();
    index.flush_waiting().unwrap();
    let keyspaces = [
        index.month(records[0].key.time.month()).unwrap(),
        index.last.clone(),
    ];
    let n_bytes: u64 = keyspaces
        .iter()
        .map(|it| it.tree.active_memtable().size())
        .sum();
    let n_bytes = n_bytes
        + MIB
            * keyspaces
                .iter()
                .map(|it| it.sealed_memtable_count() as u64)
                .sum::<u64>();
    assert!(n_bytes <= 8 * MIB, "{n_bytes} bytes wait to be written");
    let last = index.last_on_disk(&records[0].key.vehicle).unwrap();
    assert_eq!(last.as_ref(), records.last());
}

/// Not near the end of a month.
const NOON: i64 = 1_800_000_000_000;

/// All becomes tables at once.
fn in_tables(folder: &std::path::Path) -> FjallIndex {
    let config = IndexConfig {
        table_bytes: 1,
        ..IndexConfig::default()
    };
    FjallIndex::open(folder, config).unwrap()
}

fn records_of(index: &FjallIndex, vehicle: &VehicleId) -> Vec<Record> {
    let mut query = RangeQuery {
        vehicle: vehicle.clone(),
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    let mut records = Vec::new();
    loop {
        let page = index.range(&query, usize::MAX).unwrap();
        let Some(last) = page.last() else {
            return records;
        };
        query.after = Some(spot_of(last));
        records.extend(page);
    }
}

#[test]
fn tables_take_vehicles_whose_ids_begin_alike_with_rows_of_any_size() {
    let ids = ["a", "a b", "ab", "b", "aa", "a-"];
    let (folder, mut records) = (tempfile::tempdir().unwrap(), Vec::new());
    for (id, time) in ids
        .iter()
        .flat_map(|id| [(id, 1_000), (id, 2_000), (id, 3_000)])
    {
        let raw = (time == 2_000).then(|| vec![b'r'; 5_000].into());
        let plain = position(id, time, 1);
        records.push(Record { raw, ..plain });
    }
    let index = in_tables(folder.path());
    index.apply(&records).unwrap();
    index.flush_waiting().unwrap();
    assert_eq!(
        index.last.tree.active_memtable().size(),
        0,
        "a batch was written"
    );
    for part in records.chunks(3) {
        let vehicle = &part[0].key.vehicle;
        assert_eq!(records_of(&index, vehicle), part);
        assert_eq!(index.last_on_disk(vehicle).unwrap().as_ref(), part.last());
    }
}

#[test]
fn late_records_are_merged_into_tables_in_turns_that_part_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let index = in_tables(folder.path());
    let ids = ["one", "two"];
    let mut spots = BTreeSet::new();
    let mut put = |times: Vec<i64>, hash: u64| {
        let each = ids
            .iter()
            .flat_map(|id| times.iter().map(move |time| (id, time)));
        let records = each.map(|(id, time)| position(id, NOON + time, hash));
        index.apply(&records.collect::<Vec<_>>()).unwrap();
        index.flush_waiting().unwrap();
        spots.extend(times.iter().map(|time| (UnixMillis(NOON + time), hash)));
    };
    put((0..500).map(|n| n * 10).collect(), 1);
    // Before all, into one block by the dozen, over ends of blocks, and behind all.
    let late = (-40..0).chain((0..100).map(|n| n * 3 + 1));
    put(late.chain((0..520).map(|n| n * 10 + 5)).rev().collect(), 2);
    put((0..500).map(|n| n * 10).rev().collect(), 1);
    for id in ids {
        let found = records_of(&index, &position(id, 0, 1).key.vehicle);
        let found = found.iter().map(spot_of).collect::<Vec<_>>();
        assert_eq!(found, spots.iter().copied().collect::<Vec<_>>());
    }
    let month = index.month(UnixMillis(NOON).month()).unwrap();
    let waits = month.tree.active_memtable().size();
    assert_eq!(
        (waits, month.sealed_memtable_count()),
        (0, 0),
        "a batch was written"
    );
}

#[test]
fn a_process_that_ends_between_the_tables_of_a_flush_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ids = ["one", "two", "three"];
    let all = |times: std::ops::Range<i64>| -> Vec<Record> {
        let each = ids
            .iter()
            .flat_map(|id| times.clone().map(move |time| (id, time)));
        each.map(|(id, time)| position(id, time * 1_000, 1))
            .collect()
    };
    let index = in_tables(folder.path());
    index.apply(&all(0..5)).unwrap();
    index.persist(LogOffset(1)).unwrap();
    index.apply(&all(5..9)).unwrap();
    {
        let stage = index.staged();
        let large = index.large_keyspaces(&stage).unwrap().unwrap();
        let tables = Tables::begin(&large);
        let mut writing = index.writing.lock().unwrap();
        let mut flush = Flush::new(&index, Some(tables));
        for (vehicle, staged) in stage.sorted() {
            flush.vehicle(vehicle, staged, &mut writing).unwrap();
        }
        // The last positions are there; the month never is.
        let mut tables = flush.output.take_tables().unwrap();
        tables.finish_last().unwrap();
    }
    drop(index);
    let index = in_tables(folder.path());
    assert_eq!(index.persisted(), LogOffset(1));
    let one = all(0..1)[0].key.vehicle.clone();
    assert_eq!(records_of(&index, &one).len(), 5);
    assert_eq!(
        index.last_on_disk(&one).unwrap(),
        all(8..9).first().cloned()
    );
    for _ in 0..2 {
        index.apply(&all(5..9)).unwrap();
        index.flush_waiting().unwrap();
    }
    for id in ids {
        let vehicle = position(id, 0, 1).key.vehicle;
        let times = records_of(&index, &vehicle)
            .into_iter()
            .map(|record| record.key.time.0 / 1_000);
        assert_eq!(
            times.collect::<Vec<_>>(),
            (0..9).collect::<Vec<_>>(),
            "{id}"
        );
    }
}

#[test]
fn after_a_flush_that_failed_nothing_is_taken_to_be_known_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let index = in_tables(folder.path());
    let record = position("one", 1_000, 1);
    let is_known = |index: &FjallIndex| {
        let writing = index.writing.lock().unwrap();
        writing.newest.key_of(&record.key.vehicle).is_some()
    };
    index.apply(std::slice::from_ref(&record)).unwrap();
    index.flush_waiting().unwrap();
    assert!(is_known(&index));
    index.apply(&[position("one", 2_000, 1)]).unwrap();
    let month = index.month(record.key.time.month()).unwrap();
    std::fs::remove_dir_all(month.path().join("tables")).unwrap();
    index.flush_waiting().unwrap_err();
    assert!(!is_known(&index));
}
