//! `load-test demo`: a node, a fleet, a kill in the middle, and the books.

use std::{
    io::{self, BufRead as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tokio::task::JoinSet;
use waymesh::{
    base::{
        prng::Prng,
        task::spawn_in,
        time::{Instant, wall_millis},
    },
    client::{Client, ExportFilter, PositionJson},
    types::time::UnixMillis,
};

use crate::{
    books::{Books, Summary},
    device::{Device, Language, Run, messages},
    fleet::{Plan, PlanConfig},
    node_process::NodeProcess,
    out::{Out, Progress},
};

/// How long devices may take after the end of the plan until all is acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);

/// Descriptors that this tool needs besides one for each vehicle.
const DESCRIPTORS_RESERVED: usize = 256;

/// Seconds of driving in one second of the demo.
const SPEED: f64 = 5.0;

/// Which languages the fleet speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mix {
    /// Four fifths Wialon 1.1 and 2.0, one fifth NMEA
    Mix,
    /// Wialon alone
    Wialon,
}

/// Options of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  load-test demo\n  \
    load-test demo --vehicles 10000 --seconds 60 --kills 5\n  load-test demo --seed 7 --json")]
pub(crate) struct DemoArgs {
    /// Vehicles that connect
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=18_000))]
    vehicles: u32,
    /// Seconds for which they report
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Seconds of driving between two reports of a vehicle; five pass in one second of the demo
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    interval: u32,
    /// How often the node is killed with -9 on the way
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    kills: u32,
    /// Makes the run the same again [default: of the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Languages of the fleet
    #[arg(long, value_enum, default_value = "mix")]
    protocol: Mix,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// The result of a demo.
#[derive(Debug, Serialize)]
struct Outcome {
    seed: u64,
    is_balanced: bool,
    books: Summary,
    tracks_checked: u64,
    tracks_out_of_order: u64,
    kills: u32,
    /// From the kill until the node was ready again, in milliseconds; the slowest.
    restart_ms_max: u64,
    lines_sent: u64,
    lines_per_second: u64,
    latency_ms: LatencyJson,
    latency_of_resent_ms: LatencyJson,
    node_cpu_seconds: f64,
    node_cpu_micros_per_line: f64,
    node_peak_memory_mib: u64,
}

#[derive(Debug, Default, Serialize)]
struct LatencyJson {
    n_answers: u64,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// Runs the demo; 0 if the books balance.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let folder = match tempfile::Builder::new().prefix("waymesh-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = demo(args, folder.path()) => outcome,
            _ = tokio::signal::ctrl_c() => Err(io::Error::other("interrupted")),
        }
    });
    match outcome {
        Ok(outcome) => {
            tell(args, &outcome);
            if outcome.is_balanced {
                return ExitCode::SUCCESS;
            }
            let kept = folder.keep();
            Out.note(&format!(
                "the node's data and log are kept in {}",
                kept.display()
            ));
            ExitCode::FAILURE
        }
        Err(error) => {
            let kept = folder.keep();
            Out.note(&format!(
                "the node's data and log are kept in {}",
                kept.display()
            ));
            fail(&error)
        }
    }
}

fn fail(error: &io::Error) -> ExitCode {
    Out.note(&format!("load-test: {error}"));
    ExitCode::FAILURE
}

async fn demo(args: &DemoArgs, folder: &Path) -> io::Result<Outcome> {
    check_descriptors(args.vehicles)?;
    let seed = args.seed.unwrap_or_else(|| wall_millis().unsigned_abs());
    let mut prng = Prng::new(seed);
    let cluster = format!(
        "demo-{:016x}",
        prng.next_u64() ^ wall_millis().unsigned_abs()
    );
    let mut node = NodeProcess::start(folder, &cluster).await?;
    let (n_vehicles, n_seconds) = (args.vehicles, args.seconds);
    if !args.json {
        let (kills, address) = (args.kills, node.vehicles);
        Out.note(&format!(
            "{n_vehicles} vehicles for {n_seconds} s against a node at {address}, killed {kills} \
             times with -9 (seed {seed})"
        ));
    }
    let duration = Duration::from_secs(u64::from(args.seconds));
    let run = Arc::new(Run::new(Instant::now() + duration + PATIENCE));
    let mut devices = start_fleet(args, &mut prng, &node, &run);
    let mut books = Books::default();
    let restart_ms_max = watch(args, &mut node, &run, &mut devices, &mut books).await?;
    let took = Instant::now().since(run.started);
    let client = node.client()?;
    let (books, checked) = tokio::task::spawn_blocking(move || read_back(&client, books))
        .await
        .map_err(io::Error::other)??;
    let usage = node.usage();
    let (summary, latency, n_sent) = (books.summary(), run.latency(), run.n_sent());
    Ok(Outcome {
        seed,
        is_balanced: summary.is_balanced() && checked.n_out_of_order == 0,
        tracks_checked: checked.n_tracks,
        tracks_out_of_order: checked.n_out_of_order,
        kills: args.kills,
        restart_ms_max,
        lines_sent: n_sent,
        lines_per_second: (n_sent as f64 / took.as_secs_f64()) as u64,
        latency_ms: LatencyJson::new(&latency.calm),
        latency_of_resent_ms: LatencyJson::new(&latency.outage),
        node_cpu_seconds: usage.cpu_seconds,
        node_cpu_micros_per_line: usage.cpu_seconds * 1e6 / n_sent.max(1) as f64,
        node_peak_memory_mib: usage.peak_memory_kib / 1_024,
        books: summary,
    })
}

fn check_descriptors(n_vehicles: u32) -> io::Result<()> {
    let n_needed = n_vehicles as usize + DESCRIPTORS_RESERVED;
    match waymesh::base::machine::raise_descriptor_limit() {
        Some(limit) if limit < n_needed => Err(io::Error::other(format!(
            "{n_vehicles} vehicles take {n_needed} descriptors, and this process may open {limit}: \
             raise the limit (ulimit -n) or take fewer vehicles"
        ))),
        _ => Ok(()),
    }
}

type Devices = JoinSet<(String, crate::books::VehicleBook)>;

fn start_fleet(args: &DemoArgs, prng: &mut Prng, node: &NodeProcess, run: &Arc<Run>) -> Devices {
    let n_seconds = (f64::from(args.seconds) * SPEED) as u32;
    let start = UnixMillis(wall_millis() - i64::from(n_seconds) * 1_000);
    let mut devices = JoinSet::new();
    for number in 0..args.vehicles {
        let language = match (args.protocol, number % 5) {
            (Mix::Mix, 4) => Language::Nmea,
            (_, 0 | 2) => Language::WialonOne,
            _ => Language::WialonTwo,
        };
        // Every fifth sends ahead of the answers.
        let window = if number % 5 == 1 { 8 } else { 1 };
        let plan = Plan::new(PlanConfig {
            seed: prng.next_u64(),
            start,
            n_seconds,
            interval_seconds: args.interval,
            is_answered: language.is_answered(),
        });
        let identity = (format!("demo-{number:05}"), language);
        let events = messages(language, plan, SPEED);
        let device = Device::new(identity, window, node.vehicles, events, Arc::clone(run));
        spawn_in(&mut devices, "device", device.serve(prng.next_u64()));
    }
    devices
}

/// Shows progress, kills the node on the way, and gathers the devices' books when they are done.
async fn watch(
    args: &DemoArgs,
    node: &mut NodeProcess,
    run: &Run,
    devices: &mut Devices,
    books: &mut Books,
) -> io::Result<u64> {
    let mut progress = Progress::new(u64::from(args.seconds) * 10);
    let (mut n_kills, mut restart_ms_max) = (0, 0);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            device = devices.join_next() => match device {
                Some(device) => {
                    let (vehicle, book) = device.map_err(io::Error::other)?;
                    books.enter(vehicle, book);
                }
                None => break,
            },
            _ = ticks.tick() => {
                let tenths = Instant::now().since(run.started).as_millis() as u64 / 100;
                progress.stand(tenths.min(u64::from(args.seconds) * 10), &stand(run, n_kills));
                // Evenly on the way: one kill is in the middle.
                let next_kill = u64::from(args.seconds * 10) * u64::from(n_kills + 1);
                if n_kills < args.kills && tenths >= next_kill / u64::from(args.kills + 1) {
                    let restart = node.kill_and_restart().await?;
                    n_kills += 1;
                    restart_ms_max = restart_ms_max.max(restart.as_millis() as u64);
                    if n_kills <= 3 {
                        progress.say(&format!("  killed with -9; ready again after {restart:?}"));
                    }
                }
            }
        }
    }
    progress.finish();
    Ok(restart_ms_max)
}

fn stand(run: &Run, n_kills: u32) -> String {
    format!(
        "{} connected, {} lines sent, {} answered, {n_kills} kills",
        run.n_connected(),
        run.n_sent(),
        run.n_answered()
    )
}

struct Tracks {
    n_tracks: u64,
    n_out_of_order: u64,
}

/// Vehicles whose track is read as a whole, to see that it is in order of time.
const TRACKS_CHECKED: usize = 50;

fn read_back(client: &Client, mut books: Books) -> io::Result<(Books, Tracks)> {
    let reader = client
        .export(&ExportFilter::default())
        .map_err(io::Error::other)?;
    let mut vehicles = std::collections::BTreeSet::new();
    for line in reader.lines() {
        let position: PositionJson = serde_json::from_str(&line?)?;
        books.note_found(&position);
        vehicles.insert(position.vehicle);
    }
    let step = (vehicles.len() / TRACKS_CHECKED).max(1);
    let mut tracks = Tracks {
        n_tracks: 0,
        n_out_of_order: 0,
    };
    for vehicle in vehicles.iter().step_by(step) {
        let id = waymesh::types::ids::VehicleId::parse(vehicle.as_bytes());
        let track = client.track(&id.map_err(io::Error::other)?, Default::default(), 500);
        let times = track.map(|position| position.map(|position| position.time));
        let times = times
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        tracks.n_tracks += 1;
        tracks.n_out_of_order += u64::from(!times.is_sorted_by(|one, other| one < other));
    }
    Ok((books, tracks))
}

impl LatencyJson {
    fn new(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let millis = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            n_answers: histogram.len(),
            p50: millis(0.5),
            p99: millis(0.99),
            p999: millis(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

fn tell(args: &DemoArgs, outcome: &Outcome) {
    if args.json {
        match serde_json::to_string(outcome) {
            Ok(json) => Out.line(&json),
            Err(error) => Out.note(&format!("load-test: {error}")),
        }
        return;
    }
    let books = &outcome.books;
    let verdict = if outcome.is_balanced {
        "the books balance"
    } else {
        "THE BOOKS DO NOT BALANCE"
    };
    Out.line(&format!("{verdict} (seed {})", outcome.seed));
    for (name, number) in [
        ("vehicles", books.vehicles),
        ("connections", books.connections),
        ("reports sent", books.sent),
        ("acknowledged", books.acknowledged),
        ("stored", books.stored),
        ("lost", books.lost),
        ("doubled", books.doubled),
        ("altered", books.altered),
        ("foreign", books.foreign),
        ("answers shifted", books.shifted),
        ("unacknowledged", books.unacknowledged),
        ("lines sent again", books.resent_lines),
        ("lines spoiled", books.spoiled),
        ("… rejected", books.rejected),
        ("… stored all the same", books.spoiled_stored),
        ("tracks out of order", outcome.tracks_out_of_order),
    ] {
        Out.line(&format!("  {name:<24}{number:>10}"));
    }
    if books.unanswered_sent > 0 {
        let (stored, sent) = (books.unanswered_stored, books.unanswered_sent);
        Out.line(&format!(
            "  without answers (NMEA)  {stored:>10} stored of {sent} sent"
        ));
    }
    tell_costs(outcome);
}

fn tell_costs(outcome: &Outcome) {
    let latency = |name: &str, latency: &LatencyJson| {
        let LatencyJson {
            n_answers,
            p50,
            p99,
            p999,
            max,
        } = latency;
        Out.line(&format!(
            "  {name:<24}p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, max {max:.1} ms \
             ({n_answers} answers)"
        ));
    };
    latency("acknowledgement", &outcome.latency_ms);
    if outcome.latency_of_resent_ms.n_answers > 0 {
        latency("… of lines sent again", &outcome.latency_of_resent_ms);
    }
    let Outcome {
        lines_per_second,
        node_cpu_seconds,
        node_cpu_micros_per_line,
        ..
    } = outcome;
    let (memory, restart) = (outcome.node_peak_memory_mib, outcome.restart_ms_max);
    Out.line(&format!("  lines a second          {lines_per_second:>10}"));
    Out.line(&format!(
        "  node                    {node_cpu_seconds:.1} s of CPU ({node_cpu_micros_per_line:.1} µs a \
         line), {memory} MiB at most"
    ));
    if outcome.kills > 0 {
        Out.line(&format!(
            "  ready after a kill      {restart:>10} ms at most"
        ));
    }
}
