//! What every index must answer, asked of both: the map is the model, fjall must agree with it.

use std::{cmp::Reverse, env, path::Path, process::Command};

use bytes::Bytes;

use super::{
    FjallIndex, Index, IndexConfig, IndexError, MapIndex, RangeQuery, ScanCursor, ScanPage,
    ScanQuery,
};
use crate::{
    base::prng::Prng,
    delivery::frame::RecordHead,
    store::{log::LogOffset, retention::Horizon, window::Window},
    types::{
        attributes::{Attributes, Value},
        ids::VehicleId,
        number::Degrees,
        record::{Body, Fix, Flags, Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

/// 2026-12-01T00:00:00Z.
pub(super) const MONTH_END: i64 = 1_796_083_200_000;
pub(super) const KINDS: [Kind; 2] = [Kind::Position, Kind::Event];

fn vehicle(id: &str) -> VehicleId {
    VehicleId::parse(id.as_bytes()).unwrap()
}

pub(super) fn position(id: &str, time: i64, hash: u64) -> Record {
    Record {
        key: RecordKey {
            vehicle: vehicle(id),
            time: UnixMillis(time),
            hash,
        },
        received: UnixMillis(time + 500),
        protocol: "wialon".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix {
            latitude: Degrees::from_e7(594_372_000),
            ..Fix::default()
        }),
    }
}

pub(super) fn future(record: Record) -> Record {
    Record {
        flags: record.flags.with(Flags::FUTURE),
        ..record
    }
}

fn event(record: Record) -> Record {
    Record {
        body: Body::Event,
        ..record
    }
}

pub(super) fn large(record: Record, raw_bytes: usize) -> Record {
    let mut attributes = Attributes::new();
    for number in 0..200 {
        attributes.insert(format!("sensor_{number}"), Value::Integer(number << 40));
    }
    let raw = (0..raw_bytes)
        .map(|at| (at % 251) as u8)
        .collect::<Vec<_>>();
    Record {
        attributes,
        raw: Some(Bytes::from(raw)),
        ..record
    }
}

/// Little memory, so that tests meet tables and journals too.
pub(super) fn small() -> IndexConfig {
    IndexConfig {
        stage_bytes: 16 * 1024,
        memtable_bytes: 16 * 1024,
        memtables_bytes: 32 * 1024,
        table_bytes: 4 * 1024,
        cache_bytes: 1024 * 1024,
        newest_vehicles: 4,
        ..IndexConfig::default()
    }
}

fn open(folder: &Path) -> FjallIndex {
    FjallIndex::open(folder, small()).unwrap()
}

/// Runs a check on an empty index of each kind.
fn on_both(check: impl Fn(&dyn Index)) {
    check(&MapIndex::new());
    let folder = tempfile::tempdir().unwrap();
    check(&open(folder.path()));
}

fn all_of(id: &str, kind: Kind) -> RangeQuery {
    RangeQuery {
        vehicle: vehicle(id),
        kind,
        from: None,
        to: None,
        after: None,
    }
}

/// All records of a scan in pages of `limit`: in order of their keys, each once.
fn scan_all(
    index: &dyn Index,
    kind: Kind,
    (from, to): (Option<UnixMillis>, Option<UnixMillis>),
    limit: usize,
) -> Vec<Record> {
    let mut records = Vec::new();
    let mut after = None;
    loop {
        let query = ScanQuery {
            kind,
            from,
            to,
            after,
        };
        let ScanPage {
            records: page,
            next,
        } = index.scan(&query, limit).unwrap();
        assert!(page.len() <= limit);
        records.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(records.is_sorted_by(|one, other| one.key < other.key));
    records
}

/// All last positions in pages of `limit`.
fn all_vehicles(index: &dyn Index, limit: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map(|record| record.key.vehicle.clone());
        let page = index.vehicles(after.as_ref(), limit).unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

/// All records of a vehicle in pages of `limit`.
fn whole_track(index: &dyn Index, id: &str, kind: Kind, limit: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records
            .last()
            .map(|record| (record.key.time, record.key.hash));
        let query = RangeQuery {
            after,
            ..all_of(id, kind)
        };
        let page = index.range(&query, limit).unwrap();
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

// ---- conformance: seeded operations ----

const IDS: [&str; 8] = ["1", "12", "123", "2", "a b", "é", "0", "zz-top"];

/// Records that meet each other: few vehicles, times close to the ends of months, few hashes.
pub(super) fn random_record(prng: &mut Prng) -> Record {
    let id = IDS[prng.below(8) as usize];
    let month = prng.below(4) as i64;
    let offset = prng.below(40) as i64 - 20;
    let time = MONTH_END - month * 31 * 86_400_000 + offset;
    let hash = [0, 7, u64::MAX, 1 << 63][prng.below(4) as usize];
    let mut record = position(id, time, hash);
    record.received = UnixMillis(time + prng.below(3) as i64);
    if prng.chance(10.0) {
        record = event(record);
    }
    if prng.chance(5.0) {
        record = future(record);
    }
    if prng.chance(10.0) {
        let raw_bytes = prng.below(3_000) as usize;
        record = large(record, raw_bytes);
    }
    record
}

pub(super) fn random_time(prng: &mut Prng) -> Option<UnixMillis> {
    prng.chance(60.0)
        .then(|| UnixMillis(random_record(prng).key.time.0 + prng.below(3) as i64))
}

/// All spots of a query in pages of `limit`.
fn all_spots(index: &dyn Index, mut query: RangeQuery, limit: usize) -> Vec<(UnixMillis, u64)> {
    let mut spots = Vec::new();
    loop {
        let page = index.spots(&query, limit).unwrap();
        assert!(page.spots.len() <= limit);
        spots.extend(page.spots);
        if page.is_whole {
            return spots;
        }
        query.after = spots.last().copied();
    }
}

fn assert_same_answers(seed: u64, map: &dyn Index, fjall: &dyn Index, prng: &mut Prng) {
    for _ in 0..30 {
        let record = random_record(prng);
        let kind = record.kind();
        assert_eq!(
            map.contains(kind, &record.key).unwrap(),
            fjall.contains(kind, &record.key).unwrap(),
            "SEED={seed} contains {kind:?} {:?}",
            record.key
        );
        let after = prng
            .chance(30.0)
            .then_some((record.key.time, record.key.hash));
        let query = RangeQuery {
            vehicle: record.key.vehicle,
            kind,
            from: random_time(prng),
            to: random_time(prng),
            after,
        };
        let limit = prng.below(30) as usize;
        assert_eq!(
            map.range(&query, limit).unwrap(),
            fjall.range(&query, limit).unwrap(),
            "SEED={seed} {query:?} limit {limit}"
        );
        assert_eq!(
            all_spots(map, query.clone(), 1_000),
            all_spots(fjall, query, limit.max(5)),
            "SEED={seed} spots limit {limit}"
        );
    }
    for id in IDS {
        let last = |index: &dyn Index| index.last(&vehicle(id)).unwrap();
        assert_eq!(last(map), last(fjall), "SEED={seed} last {id}");
    }
    let limit = 1 + prng.below(9) as usize;
    assert_eq!(
        all_vehicles(map, limit),
        all_vehicles(fjall, limit),
        "SEED={seed}"
    );
    for kind in KINDS {
        let times = (random_time(prng), random_time(prng));
        let limit = 1 + prng.below(100) as usize;
        assert_eq!(
            scan_all(map, kind, times, limit),
            scan_all(fjall, kind, times, limit),
            "SEED={seed} scan {kind:?} {times:?}"
        );
    }
}

/// Behind all records of some months, before all of the others.
fn random_horizon(prng: &mut Prng) -> Horizon {
    let month = prng.below(5) as i64;
    let oldest = MONTH_END - month * 31 * 86_400_000 + 1_000;
    Horizon {
        oldest: UnixMillis(oldest),
        newest: UnixMillis(oldest + 70 * 86_400_000),
    }
}

/// Removes what lies behind the horizon; how many months went.
fn remove_all(index: &dyn Index, horizon: &Horizon) -> u64 {
    let mut n_months = 0;
    loop {
        let removed = index.remove_past(horizon).unwrap();
        n_months += removed.n_months;
        if removed.is_complete {
            return n_months;
        }
    }
}

fn conform(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut prng = Prng::new(seed);
    let map = MapIndex::new();
    let mut fjall = open(folder.path());
    let mut applied = LogOffset(0);
    let mut not_persisted = Vec::new();
    for _ in 0..12 {
        let n_records = prng.below(60);
        let mut records: Vec<_> = (0..n_records).map(|_| random_record(&mut prng)).collect();
        if prng.chance(50.0) {
            // Runs of one vehicle, as connections bring them.
            records.sort_by(|one, other| one.key.vehicle.cmp(&other.key.vehicle));
        }
        map.apply(&records).unwrap();
        fjall.apply(&records).unwrap();
        not_persisted.extend(records);
        applied.0 += n_records;
        if prng.chance(30.0) {
            assert_eq!(map.persist(applied).unwrap(), applied);
            assert_eq!(fjall.persist(applied).unwrap(), applied);
            not_persisted.clear();
        }
        if prng.chance(25.0) {
            let horizon = random_horizon(&mut prng);
            let removed = [&map as &dyn Index, &fjall].map(|index| remove_all(index, &horizon));
            assert_eq!(removed[0], removed[1], "SEED={seed} {horizon:?}");
        }
        if prng.chance(20.0) {
            drop(fjall);
            fjall = open(folder.path());
            // What lies in the log behind what was persisted is applied again.
            map.apply(&not_persisted).unwrap();
            fjall.apply(&not_persisted).unwrap();
        }
        assert_eq!(map.persisted(), fjall.persisted(), "SEED={seed}");
        assert_same_answers(seed, &map, &fjall, &mut prng);
        assert_same_through_window(seed, &map, &fjall, &mut prng);
    }
}

/// Runs of questions about one vehicle, in the order of time, newest first, or in none.
fn assert_same_through_window(seed: u64, map: &MapIndex, fjall: &FjallIndex, prng: &mut Prng) {
    for id in IDS {
        let mut questions: Vec<_> = (0..20).map(|_| random_record(prng).key).collect();
        match prng.below(3) {
            0 => questions.sort_by_key(|key| (key.time, key.hash)),
            1 => questions.sort_by_key(|key| Reverse((key.time, key.hash))),
            _ => {}
        }
        let mut window = Window::default();
        for key in questions {
            let record = position(id, key.time.0, key.hash);
            let told = window.contains(fjall, &record.key.vehicle, &RecordHead::of(&record));
            let is_there = map.contains(Kind::Position, &record.key).unwrap();
            assert_eq!(told.unwrap(), is_there, "SEED={seed} {:?}", record.key);
        }
    }
}

#[test]
fn both_indexes_give_the_same_answers() {
    match env::var("SEED") {
        Ok(seed) => conform(seed.parse().unwrap()),
        Err(_) => (0..6).for_each(conform),
    }
}

// ---- facts that hold for both ----

#[test]
fn a_record_is_found_by_kind_and_key() {
    on_both(|index| {
        let record = position("1", MONTH_END, 7);
        index.apply(std::slice::from_ref(&record)).unwrap();
        assert!(index.contains(Kind::Position, &record.key).unwrap());
        assert!(!index.contains(Kind::Event, &record.key).unwrap());
        for other in [
            position("1", MONTH_END, 8),
            position("1", MONTH_END - 1, 7),
            position("12", MONTH_END, 7),
        ] {
            assert!(!index.contains(Kind::Position, &other.key).unwrap());
        }
    });
}

#[test]
fn applying_twice_changes_nothing() {
    on_both(|index| {
        let mut prng = Prng::new(3);
        let records: Vec<_> = (0..300).map(|_| random_record(&mut prng)).collect();
        let answers = || {
            let tracks = IDS.map(|id| KINDS.map(|kind| whole_track(index, id, kind, 10)));
            let scans = KINDS.map(|kind| scan_all(index, kind, (None, None), 50));
            (all_vehicles(index, 3), tracks, scans)
        };
        index.apply(&records).unwrap();
        let once = answers();
        index.apply(&records).unwrap();
        assert_eq!(answers(), once);
    });
}

#[test]
fn ids_that_begin_each_other_stay_apart() {
    on_both(|index| {
        let ids = ["1", "12", "123", "13", "2"];
        let records: Vec<_> = ids
            .iter()
            .flat_map(|id| (0..3).map(|hash| position(id, MONTH_END, hash)))
            .collect();
        index.apply(&records).unwrap();
        for id in ids {
            let track = whole_track(index, id, Kind::Position, 2);
            assert_eq!(track.len(), 3, "{id}");
            assert!(track.iter().all(|record| record.key.vehicle.as_str() == id));
        }
        for limit in 1..=6 {
            let seen: Vec<_> = all_vehicles(index, limit)
                .into_iter()
                .map(|record| record.key.vehicle.as_str().to_owned())
                .collect();
            assert_eq!(seen, ids);
        }
    });
}

#[test]
fn records_larger_than_a_row_read_back_whole() {
    on_both(|index| {
        let records = [
            large(position("1", MONTH_END, 1), 5 * 1024),
            position("1", MONTH_END, 2),
            large(event(position("1", MONTH_END, 3)), 70_000),
            large(future(position("1", MONTH_END, 4)), 5 * 1024),
            large(position(&"x".repeat(64), MONTH_END, 5), 5 * 1024),
        ];
        index.apply(&records).unwrap();
        let mut positions = vec![records[0].clone(), records[1].clone(), records[3].clone()];
        assert_eq!(whole_track(index, "1", Kind::Position, 1), positions);
        assert_eq!(
            whole_track(index, "1", Kind::Event, 1),
            [records[2].clone()]
        );
        positions.push(records[4].clone());
        assert_eq!(scan_all(index, Kind::Position, (None, None), 1), positions);
        let last = index.last(&records[4].key.vehicle).unwrap();
        assert_eq!(last.as_ref(), Some(&records[4]));
        assert_eq!(all_vehicles(index, 10).len(), 2);
    });
}

#[test]
fn a_shorter_record_in_the_place_of_a_longer_one_reads_back() {
    on_both(|index| {
        let short = position("1", MONTH_END, 1);
        for raw_bytes in [9_000, 900] {
            let long = large(short.clone(), raw_bytes);
            index.apply(std::slice::from_ref(&long)).unwrap();
            assert_eq!(
                whole_track(index, "1", Kind::Position, 5),
                std::slice::from_ref(&long)
            );
            assert_eq!(all_vehicles(index, 5), [long]);
        }
        index.apply(std::slice::from_ref(&short)).unwrap();
        assert_eq!(
            whole_track(index, "1", Kind::Position, 5),
            std::slice::from_ref(&short)
        );
        assert_eq!(
            scan_all(index, Kind::Position, (None, None), 5),
            std::slice::from_ref(&short)
        );
        assert_eq!(all_vehicles(index, 5), [short]);
    });
}

#[test]
fn a_future_record_never_becomes_the_last_position() {
    on_both(|index| {
        let present = position("1", MONTH_END, 1);
        let ahead = future(position("1", MONTH_END + 9_000_000_000, 2));
        let only_ahead = future(position("2", MONTH_END, 3));
        index
            .apply(&[present.clone(), ahead.clone(), only_ahead.clone()])
            .unwrap();
        index.apply(std::slice::from_ref(&ahead)).unwrap();
        assert_eq!(index.last(&vehicle("1")).unwrap().as_ref(), Some(&present));
        assert_eq!(index.last(&vehicle("2")).unwrap(), None);
        assert_eq!(all_vehicles(index, 5), std::slice::from_ref(&present));
        assert!(index.contains(Kind::Position, &ahead.key).unwrap());
        assert_eq!(whole_track(index, "1", Kind::Position, 5), [present, ahead]);
    });
}

#[test]
fn a_future_record_that_comes_again_in_its_time_is_one() {
    on_both(|index| {
        let record = position("1", MONTH_END, 1);
        index.apply(&[future(record.clone())]).unwrap();
        index.apply(std::slice::from_ref(&record)).unwrap();
        index.apply(&[future(record.clone())]).unwrap();
        let expected = [record];
        assert_eq!(whole_track(index, "1", Kind::Position, 5), expected);
        assert_eq!(scan_all(index, Kind::Position, (None, None), 1), expected);
        assert_eq!(all_vehicles(index, 5), expected);
    });
}

#[test]
fn the_last_position_is_greatest_by_time_then_received_then_hash() {
    let received = |record: Record, received: i64| Record {
        received: UnixMillis(received),
        ..record
    };
    let ascending = [
        received(position("1", MONTH_END - 9_000_000_000, 9), 900),
        received(position("1", MONTH_END, 2), 100),
        received(position("1", MONTH_END, 1), 200),
        received(position("1", MONTH_END, 3), 200),
    ];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]];
    for order in orders {
        on_both(|index| {
            let mut greatest = 0;
            for at in order {
                index.apply(&[ascending[at].clone()]).unwrap();
                index
                    .apply(&[event(position("1", MONTH_END + 1, 1))])
                    .unwrap();
                greatest = greatest.max(at);
                let last = index.last(&vehicle("1")).unwrap();
                assert_eq!(last.as_ref(), Some(&ascending[greatest]));
            }
        });
        on_both(|index| {
            index.apply(&order.map(|at| ascending[at].clone())).unwrap();
            let last = index.last(&vehicle("1")).unwrap();
            assert_eq!(last.as_ref(), Some(&ascending[3]));
        });
    }
}

#[test]
fn a_range_includes_from_and_excludes_to() {
    on_both(|index| {
        let times = [-2, -1, 0, 1, 2].map(|offset| MONTH_END + offset);
        index
            .apply(&times.map(|time| position("1", time, 1)))
            .unwrap();
        let found = |from: Option<i64>, to: Option<i64>, limit: usize| {
            let query = RangeQuery {
                from: from.map(UnixMillis),
                to: to.map(UnixMillis),
                ..all_of("1", Kind::Position)
            };
            let records = index.range(&query, limit).unwrap();
            let times = records
                .into_iter()
                .map(|record| record.key.time.0 - MONTH_END);
            times.collect::<Vec<_>>()
        };
        let end = MONTH_END;
        assert_eq!(found(Some(end - 1), Some(end + 1), 9), [-1, 0]);
        assert!(found(Some(end), Some(end), 9).is_empty());
        assert!(found(Some(end + 1), Some(end - 1), 9).is_empty());
        assert_eq!(found(None, Some(end), 9), [-2, -1]);
        assert_eq!(found(Some(end), None, 2), [0, 1]);
        assert!(found(None, None, 0).is_empty());
        assert_eq!(found(Some(i64::MIN), Some(i64::MAX), 9), [-2, -1, 0, 1, 2]);
    });
}

#[test]
fn absurd_times_are_kept_like_others() {
    on_both(|index| {
        let times = [
            i64::MIN,
            i64::MIN + 1,
            -62_135_596_800_001,
            0,
            i64::MAX - 500,
        ];
        let records = times.map(|time| position("1", time, 1));
        index.apply(&records).unwrap();
        for record in &records {
            assert!(index.contains(Kind::Position, &record.key).unwrap());
        }
        assert_eq!(whole_track(index, "1", Kind::Position, 2), records);
        assert_eq!(scan_all(index, Kind::Position, (None, None), 2), records);
    });
}

#[test]
fn questions_to_an_empty_index_have_empty_answers() {
    on_both(|index| {
        let key = position("1", MONTH_END, 1).key;
        assert!(!index.contains(Kind::Position, &key).unwrap());
        assert_eq!(index.last(&key.vehicle).unwrap(), None);
        assert_eq!(all_vehicles(index, 5), []);
        assert_eq!(whole_track(index, "1", Kind::Position, 5), []);
        assert_eq!(scan_all(index, Kind::Event, (None, None), 5), []);
        index.apply(&[]).unwrap();
        assert_eq!(index.persisted(), LogOffset(0));
    });
}

#[test]
fn a_foreign_cursor_is_an_error() {
    on_both(|index| {
        index.apply(&[position("1", MONTH_END, 1)]).unwrap();
        for bytes in [vec![], vec![9], vec![0, 1], vec![1; 17], vec![0xff; 40]] {
            let query = ScanQuery {
                kind: Kind::Position,
                from: None,
                to: None,
                after: Some(ScanCursor(bytes)),
            };
            let answer = index.scan(&query, 5);
            assert!(matches!(answer, Err(IndexError::Damaged(_))), "{answer:?}");
        }
    });
}

// ---- the map's power cut ----

#[test]
fn a_power_cut_takes_what_was_not_persisted() {
    let index = MapIndex::new();
    let mut prng = Prng::new(5);
    let mut batch = || {
        (0..100)
            .map(|_| random_record(&mut prng))
            .collect::<Vec<_>>()
    };
    let (kept, lost) = (batch(), [batch(), batch()]);
    let answers = |index: &MapIndex| {
        let scans = KINDS.map(|kind| scan_all(index, kind, (None, None), 50));
        (all_vehicles(index, 3), scans)
    };
    index.apply(&kept).unwrap();
    index.persist(LogOffset(100)).unwrap();
    let before = answers(&index);
    lost.iter()
        .for_each(|records| index.apply(records).unwrap());
    let after = answers(&index);
    assert_ne!(before, after);
    index.crash();
    assert_eq!(answers(&index), before);
    assert_eq!(index.persisted(), LogOffset(100));
    lost.iter()
        .for_each(|records| index.apply(records).unwrap());
    assert_eq!(answers(&index), after);
}

// ---- fjall alone ----

#[test]
fn a_page_of_a_scan_ends_where_a_filter_hides_all() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let records: Vec<_> = (0..10_000)
        .map(|number| event(position("1", MONTH_END + number, 1)))
        .collect();
    index.apply(&records).unwrap();
    let query = ScanQuery {
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    let page = index.scan(&query, 1).unwrap();
    assert_eq!(page.records, []);
    assert!(page.next.is_some());
    assert_eq!(scan_all(&index, Kind::Position, (None, None), 1), []);
}

#[test]
fn only_months_with_records_get_a_keyspace() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    index.apply(&[position("1", MONTH_END, 1)]).unwrap();
    for time in (0..50).map(|number| MONTH_END + number * 31 * 86_400_000) {
        let key = position("1", time, 2).key;
        assert!(!index.contains(Kind::Position, &key).unwrap());
    }
    index.range(&all_of("1", Kind::Position), 9).unwrap();
    index.persist(LogOffset(1)).unwrap();
    drop(index);
    let database = fjall::Database::builder(folder.path()).open().unwrap();
    let mut names: Vec<_> = database
        .list_keyspace_names()
        .iter()
        .map(|name| name.to_string())
        .collect();
    names.sort();
    assert_eq!(names, ["future", "last", "meta", "rows-2026-12"]);
}

#[test]
fn another_layout_version_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    {
        let database = fjall::Database::builder(folder.path()).open().unwrap();
        let meta = database
            .keyspace("meta", fjall::KeyspaceCreateOptions::default)
            .unwrap();
        meta.insert("layout", 7_u32.to_be_bytes()).unwrap();
    }
    for _ in 0..2 {
        let error = FjallIndex::open(folder.path(), small()).unwrap_err();
        assert!(matches!(error, IndexError::Layout { found: 7, known: 2 }));
        assert_eq!(
            error.to_string(),
            "the index has layout version 7, this program reads version 2"
        );
        let said = error.in_folder(Path::new("/data/index")).to_string();
        assert!(said.starts_with("/data/index: the index has layout version 7"));
        assert!(said.contains("start the version of the program that wrote it"));
        assert!(!said.contains("damaged"), "{said}");
    }
}

#[test]
fn an_index_that_is_open_is_not_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let error = FjallIndex::open(folder.path(), small()).unwrap_err();
    assert!(matches!(error, IndexError::Backend(_)), "{error}");
    drop(index);
    open(folder.path());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = FjallIndex::open(&file.join("index"), small()).unwrap_err();
    assert!(matches!(error, IndexError::Backend(_)), "{error}");
}

const CHILD_FOLDER: &str = "WAYMESH_INDEX_TEST_FOLDER";
const KILLED_TEST: &str = "store::index::tests::a_killed_process_leaves_what_it_persisted";

/// Records over several months that take several memtables.
fn killed_records() -> Vec<Record> {
    let mut prng = Prng::new(11);
    (0..4_000).map(|_| random_record(&mut prng)).collect()
}

fn apply_and_abort(folder: &Path) -> ! {
    let index = open(folder);
    for (number, batch) in killed_records().chunks(100).enumerate() {
        index.apply(batch).unwrap();
        if number % 7 == 6 {
            index.persist(LogOffset((number as u64 + 1) * 100)).unwrap();
        }
    }
    std::process::abort()
}

#[test]
fn a_killed_process_leaves_what_it_persisted() {
    if let Some(folder) = env::var_os(CHILD_FOLDER) {
        apply_and_abort(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", KILLED_TEST])
        .env(CHILD_FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let index = open(folder.path());
    assert_eq!(index.persisted(), LogOffset(3_500), "{output:?}");
    let records = killed_records();
    let (below, above) = records.split_at(3_500);
    for record in below {
        assert!(index.contains(record.kind(), &record.key).unwrap());
    }
    above
        .chunks(100)
        .for_each(|batch| index.apply(batch).unwrap());
    let map = MapIndex::new();
    map.apply(&records).unwrap();
    assert_same_answers(11, &map, &index, &mut Prng::new(12));
}
