//! What it costs to make records durable: a group encoded, written and synced, beside a bare file.
//!
//! ```text
//! cargo bench -p load-test --bench log
//! ```
//!
//! One iteration is a group of as many records as the argument says. The files lie in the folder for
//! temporary ones, `TMPDIR`: where that is memory, a sync costs nothing, so name a folder on a disk.
//!
//! On two shared cores and a shared disk, medians: a group of 1,024 records 4.5 ms, as many bytes to a
//! bare file 4.0 ms; of 1, both 4.0 ms: the sync is all of it. Encoding alone takes 110 ns a record
//! (fastest) without allocation, copying its bytes 1.8 ns.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "benches")]

mod records;

use std::{fs::File, io::Write as _, sync::Arc};

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use waymesh::{
    delivery::frame::encode_record,
    store::{
        disk::Disk,
        log::{Log, LogConfig, LogOffset},
    },
    types::record::Record,
};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const N_VEHICLES: usize = 1_000;

fn main() {
    divan::main();
}

fn encoded(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records
        .iter()
        .for_each(|record| encode_record(record, &mut bytes));
    bytes
}

/// The way to the disk and back.
mod append_and_sync {
    use super::*;

    #[divan::bench(args = [1, 64, 1_024], sample_size = 1, sample_count = 200)]
    fn waymesh(bencher: Bencher<'_, '_>, n_records: usize) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(folder.path()).unwrap());
        let opened = Log::open(disk, LogConfig::default(), LogOffset(0), |_, _| {});
        let (mut log, _) = opened.unwrap();
        let records = records::records(n_records, N_VEHICLES);
        bencher.counter(ItemsCount::new(n_records)).bench_local(|| {
            records.iter().for_each(|record| log.append(record));
            log.commit().unwrap()
        });
    }

    /// As many bytes to the end of a file, and `fdatasync`.
    #[divan::bench(args = [1, 64, 1_024], sample_size = 1, sample_count = 200)]
    fn bare_file(bencher: Bencher<'_, '_>, n_records: usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join("bare")).unwrap();
        let bytes = encoded(&records::records(n_records, N_VEHICLES));
        bencher.counter(ItemsCount::new(n_records)).bench_local(|| {
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
        });
    }
}

/// The records to bytes, into a buffer that is there.
mod encode {
    use super::*;

    #[divan::bench(args = [1, 64, 1_024])]
    fn waymesh(bencher: Bencher<'_, '_>, n_records: usize) {
        let records = records::records(n_records, N_VEHICLES);
        let mut bytes = Vec::with_capacity(encoded(&records).len());
        bencher.counter(ItemsCount::new(n_records)).bench_local(|| {
            bytes.clear();
            black_box(&records)
                .iter()
                .for_each(|record| encode_record(record, &mut bytes));
            black_box(&bytes).len()
        });
    }

    /// The bytes copied.
    #[divan::bench(args = [1, 64, 1_024])]
    fn copy(bencher: Bencher<'_, '_>, n_records: usize) {
        let from = encoded(&records::records(n_records, N_VEHICLES));
        let mut bytes = Vec::with_capacity(from.len());
        bencher.counter(ItemsCount::new(n_records)).bench_local(|| {
            bytes.clear();
            bytes.extend_from_slice(black_box(&from));
            black_box(&bytes).len()
        });
    }
}
