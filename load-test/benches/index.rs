//! What the index costs: applying a batch, the last position, a range; beside an ordered map in
//! memory.
//!
//! ```text
//! cargo bench -p load-test --bench index
//! ```
//!
//! The index holds six minutes of 1,000 vehicles that report every second, 360,000 records. How it
//! behaves with millions of records and over starts is measured by the example `index_figures`.
//!
//! Fastest on two shared cores, the ordered map in brackets: a batch of 1,024 is applied in 1.8 ms
//! (0.73), the last position found in 1.8 µs (0.13), a range of 100 read in 85 µs (19).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "benches")]

mod records;

use std::collections::BTreeMap;

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use tempfile::TempDir;
use waymesh::{
    store::index::{FjallIndex, Index, IndexConfig, RangeQuery},
    types::{
        ids::VehicleId,
        record::{Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const N_VEHICLES: usize = 1_000;
const N_RECORDS: usize = 360_000;
/// Records of one range.
const N_RANGE: usize = 100;

fn main() {
    divan::main();
}

/// What is asked of both.
trait Measured {
    fn open(folder: &TempDir) -> Self;
    fn apply(&mut self, records: &[Record]);
    fn last(&self, vehicle: &VehicleId) -> Option<Record>;
    fn range(&self, vehicle: VehicleId, from: UnixMillis) -> Vec<Record>;
}

impl Measured for FjallIndex {
    fn open(folder: &TempDir) -> Self {
        Self::open(folder.path(), IndexConfig::default()).unwrap()
    }

    fn apply(&mut self, records: &[Record]) {
        Index::apply(self, records).unwrap();
    }

    fn last(&self, vehicle: &VehicleId) -> Option<Record> {
        Index::last(self, vehicle).unwrap()
    }

    fn range(&self, vehicle: VehicleId, from: UnixMillis) -> Vec<Record> {
        let query = RangeQuery {
            vehicle,
            kind: Kind::Position,
            from: Some(from),
            to: None,
            after: None,
        };
        Index::range(self, &query, N_RANGE).unwrap()
    }
}

/// Maps from the standard library: nothing is durable, and all is in memory.
#[derive(Default)]
struct OrderedMap {
    rows: BTreeMap<RecordKey, Record>,
    last: BTreeMap<VehicleId, Record>,
}

impl Measured for OrderedMap {
    fn open(_: &TempDir) -> Self {
        Self::default()
    }

    fn apply(&mut self, records: &[Record]) {
        for record in records {
            self.rows.insert(record.key.clone(), record.clone());
            self.last.insert(record.key.vehicle.clone(), record.clone());
        }
    }

    fn last(&self, vehicle: &VehicleId) -> Option<Record> {
        self.last.get(vehicle).cloned()
    }

    fn range(&self, vehicle: VehicleId, time: UnixMillis) -> Vec<Record> {
        let hash = 0;
        let from = RecordKey {
            vehicle,
            time,
            hash,
        };
        self.rows
            .range(from..)
            .take(N_RANGE)
            .map(|(_, record)| record.clone())
            .collect()
    }
}

fn filled<I: Measured>(folder: &TempDir) -> I {
    let mut index = I::open(folder);
    for batch in records::records(N_RECORDS, N_VEHICLES).chunks(5_000) {
        index.apply(batch);
    }
    index
}

/// A batch of as many records as the argument says, newer than what is there.
#[divan::bench(types = [FjallIndex, OrderedMap], args = [1, 64, 1_024], sample_size = 1, sample_count = 200)]
fn apply<I: Measured>(bencher: Bencher<'_, '_>, n_records: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut index: I = filled(&folder);
    let mut next = N_RECORDS;
    bencher
        .counter(ItemsCount::new(n_records))
        .with_inputs(|| {
            next += n_records;
            (next - n_records..next)
                .map(|number| records::record(number, N_VEHICLES))
                .collect::<Vec<Record>>()
        })
        .bench_local_refs(|batch| index.apply(batch));
}

#[divan::bench(types = [FjallIndex, OrderedMap])]
fn last<I: Measured>(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let index: I = filled(&folder);
    let vehicles: Vec<_> = (0..N_VEHICLES).map(records::vehicle).collect();
    let mut vehicles = vehicles.iter().cycle();
    bencher.bench_local(|| {
        let last = index.last(black_box(vehicles.next().unwrap()));
        assert!(last.is_some());
        last
    });
}

#[divan::bench(types = [FjallIndex, OrderedMap])]
fn range<I: Measured>(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let index: I = filled(&folder);
    let mut numbers = (0..N_VEHICLES).cycle();
    bencher.counter(ItemsCount::new(N_RANGE)).bench_local(|| {
        let from = UnixMillis(records::START.0 + 60_000);
        let found = index.range(records::vehicle(numbers.next().unwrap()), from);
        assert_eq!(found.len(), N_RANGE);
        found
    });
}
