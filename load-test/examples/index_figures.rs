//! Measures the index: what applying a million positions costs, and how long the start takes after
//! the process was killed right behind them. The figures stand in the page of `store::index`.
//!
//! ```text
//! cargo run --release -p load-test --example index_figures [FOLDER] [RECORDS] [VEHICLES] [MONTHS]
//! ```
//!
//! The process starts itself again for the part that is killed.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement, by the real clock"
)]

use std::{
    env, fs,
    io::{Result, Write, stdout},
    path::PathBuf,
    process::Command,
    time::Instant,
};

use waymesh::{
    base::prng::Prng,
    store::{
        index::{FjallIndex, Index, IndexConfig, RangeQuery, ScanQuery},
        log::LogOffset,
    },
    types::{
        attributes::{Attributes, Value},
        ids::VehicleId,
        key::position_hash,
        number::{Degrees, Milli},
        record::{Body, Fix, Flags, Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

const BATCH: usize = 5_000;
/// Batches between two calls of `persist`: about a second of a million records in ten.
const PERSIST_EVERY: usize = 20;

struct Plan {
    folder: PathBuf,
    n_records: usize,
    n_vehicles: u64,
    n_months: u64,
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let mut number = |default: u64| {
        let text = arguments.next();
        text.map_or(default, |text| text.parse().unwrap())
    };
    let plan = Plan {
        folder: folder.unwrap_or_else(|| env::temp_dir().join("waymesh-index-figures")),
        n_records: usize::try_from(number(1_000_000)).unwrap(),
        n_vehicles: number(5_000),
        n_months: number(1),
    };
    if env::var_os("INDEX_FIGURES_CHILD").is_some() {
        write(&plan)?;
        std::process::abort();
    }
    if plan.folder.exists() {
        fs::remove_dir_all(&plan.folder)?;
    }
    let status = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env("INDEX_FIGURES_CHILD", "1")
        .status()?;
    writeln!(stdout(), "child: {status}")?;
    reopen(&plan)?;
    fs::remove_dir_all(&plan.folder)
}

fn write(plan: &Plan) -> Result<()> {
    let index = FjallIndex::open(&plan.folder, IndexConfig::default()).unwrap();
    let mut prng = Prng::new(1);
    let (mut applying, mut persisting) = (0.0, Vec::new());
    let mut waiting: f64 = 0.0;
    let before = cpu_seconds();
    let mut making = 0.0;
    for n_batch in 0..plan.n_records / BATCH {
        let start = cpu_seconds();
        let records: Vec<Record> = (0..BATCH)
            .map(|at| record(plan, &mut prng, n_batch * BATCH + at))
            .collect();
        making += cpu_seconds() - start;
        let start = Instant::now();
        index.apply(&records).unwrap();
        let took = start.elapsed().as_secs_f64();
        applying += took;
        waiting = waiting.max(took);
        if n_batch % PERSIST_EVERY == PERSIST_EVERY - 1 {
            let start = Instant::now();
            let offset = u64::try_from(n_batch).unwrap();
            index.persist(LogOffset(offset)).unwrap();
            persisting.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let cpu = cpu_seconds() - before;
    persisting.sort_by(f64::total_cmp);
    writeln!(
        stdout(),
        "apply: {applying:.2} s wall, slowest batch {waiting:.3} s, processor {:.2} s \
         (besides {making:.2} s to make the records); persist: median {:.1} ms, slowest {:.1} ms; \
         resident {} MiB",
        cpu - making,
        persisting.get(persisting.len() / 2).unwrap_or(&0.0),
        persisting.last().unwrap_or(&0.0),
        resident_mib(),
    )
}

fn reopen(plan: &Plan) -> Result<()> {
    let journals: u64 = fs::read_dir(&plan.folder)?
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    let cpu = cpu_seconds();
    let start = Instant::now();
    let index = FjallIndex::open(&plan.folder, IndexConfig::default()).unwrap();
    let opening = start.elapsed().as_secs_f64();
    writeln!(
        stdout(),
        "open: {opening:.2} s wall, processor {:.2} s, journals {} MiB; resident {} MiB",
        cpu_seconds() - cpu,
        journals >> 20,
        resident_mib(),
    )?;
    ask(plan, &index)?;
    let start = thread_seconds();
    let scanned = scan(&index);
    let scan = thread_seconds() - start;
    writeln!(
        stdout(),
        "scan: {scanned} records in {scan:.2} s of processor"
    )
}

/// Asks for the records of the first batches, and for as many that are not there.
fn ask(plan: &Plan, index: &FjallIndex) -> Result<()> {
    let mut prng = Prng::new(1);
    let mut records: Vec<Record> = (0..100_000).map(|at| record(plan, &mut prng, at)).collect();
    let start = thread_seconds();
    let found = records
        .iter()
        .filter(|record| index.contains(Kind::Position, &record.key).unwrap())
        .count();
    let contains = (thread_seconds() - start) * 10.0;
    let start = thread_seconds();
    for record in &records {
        index.last(&record.key.vehicle).unwrap().unwrap();
    }
    let last = (thread_seconds() - start) * 10.0;
    let start = Instant::now();
    let query = RangeQuery {
        vehicle: records.first().unwrap().key.vehicle.clone(),
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    let track = index.range(&query, usize::MAX).unwrap().len();
    let range = start.elapsed().as_secs_f64() * 1e3;
    for record in &mut records {
        record.key.hash ^= 1;
    }
    let start = thread_seconds();
    let n_false = records
        .iter()
        .filter(|record| index.contains(Kind::Position, &record.key).unwrap())
        .count();
    let absent = (thread_seconds() - start) * 10.0;
    writeln!(
        stdout(),
        "contains: {contains:.2} µs of processor each ({found} of {} found), of absent ones {absent:.2} µs \
         ({n_false} found); last: {last:.2} µs each; range: {track} records in {range:.2} ms",
        records.len(),
    )
}

fn scan(index: &FjallIndex) -> usize {
    let mut query = ScanQuery {
        kind: Kind::Position,
        from: None,
        to: None,
        after: None,
    };
    let mut n_records = 0;
    loop {
        let page = index.scan(&query, BATCH).unwrap();
        n_records += page.records.len();
        query.after = page.next;
        if query.after.is_none() {
            return n_records;
        }
    }
}

fn record(plan: &Plan, prng: &mut Prng, at: usize) -> Record {
    let at = i64::try_from(at).unwrap();
    let vehicle = 353_976_013_000_000 + prng.below(plan.n_vehicles);
    let month = i64::try_from(prng.below(plan.n_months)).unwrap();
    let fix = Fix {
        latitude: Degrees::from_e7(594_372_000 + i32::try_from(prng.below(1_000_000)).unwrap()),
        longitude: Degrees::from_e7(247_535_000 + i32::try_from(prng.below(1_000_000)).unwrap()),
        valid: true,
        speed_kmh: Some(Milli::from_thousandths(42_500)),
        course_deg: Some(Milli::from_thousandths(181_000)),
        altitude_m: Some(Milli::from_thousandths(34_000)),
        satellites: Some(9),
        ..Fix::default()
    };
    let time = 1_762_000_000_000 + at * 2 - month * 2_678_400_000;
    let mut attributes = Attributes::new();
    attributes.insert("ignition", Value::Bool(true));
    Record {
        key: RecordKey {
            vehicle: VehicleId::parse(vehicle.to_string().as_bytes()).unwrap(),
            time: UnixMillis(time),
            hash: position_hash(&fix, ""),
        },
        received: UnixMillis(time + 734),
        protocol: "wialon".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes,
        raw: None,
        body: Body::Position(fix),
    }
}

/// Processor time of all threads of this process so far, in steps of 10 ms.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}

/// Processor time of this thread so far.
fn thread_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next();
    nanos
        .and_then(|nanos| nanos.parse::<u64>().ok())
        .unwrap_or(0) as f64
        / 1e9
}

fn resident_mib() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1);
    pages
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        / 256
}
