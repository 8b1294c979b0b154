//! `load-test replay`: recorded lines to a node that runs, shifted in time and identity, so that
//! many vehicles come from few recordings.

mod recording;

use std::{
    fs, io,
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};
use waymesh::base::{
    task::spawn_in,
    time::{Instant, wall_millis},
};

use self::recording::{Recording, Unknown};
use crate::{
    EXIT_USAGE,
    books::VehicleBook,
    device::{Device, Event, Message, Protocol, Run},
    out::{Out, Progress},
};

/// How long devices may take after their last line was due.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    load-test replay drive.nmea --target 127.0.0.1:5000 --vehicles 100 --speed 10\n  \
    load-test replay a.txt b.txt --target node:5000 --vehicles 5000 --rate 20000\n  \
    load-test replay a.txt --to a:5000,b:5000,c:5000 --vehicles 3000")]
pub(crate) struct ReplayArgs {
    /// Files of lines, each of one vehicle
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where vehicles connect: to one node, or spread over several, separated by commas
    #[arg(
        long,
        visible_alias = "to",
        required = true,
        value_name = "ADDR",
        value_delimiter = ','
    )]
    target: Vec<String>,
    /// Vehicles; each takes one of the files, in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    vehicles: u32,
    /// Lines a second, all vehicles together [default: as recorded]
    #[arg(long, conflicts_with = "speed", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// So many times as fast as recorded
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Connections at the same time [default: one for each vehicle]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<u32>,
    /// Lines that a vehicle sends ahead of their answers; 1 waits for each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    window: u32,
    /// Protocol of the files [default: told from their lines]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Identity of the vehicles, before their number
    #[arg(long, default_value = "replay-")]
    identity: String,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Outcome {
    vehicles: u64,
    recordings: u64,
    /// Lines of the recordings that said who speaks, and comments: not sent.
    lines_left_out: u64,
    /// Lines of the recordings that are of no known kind: not sent.
    lines_unknown: u64,
    lines_sent: u64,
    lines_answered: u64,
    lines_unanswered: u64,
    /// Without answers, over connections that did not end in order.
    lines_unconfirmed: u64,
    /// Never sent.
    lines_unsaid: u64,
    vehicles_refused: u64,
    lines_resent: u64,
    lines_rejected: u64,
    answers_shifted: u64,
    seconds: f64,
}

impl Outcome {
    const fn is_good(&self) -> bool {
        self.answers_shifted == 0
            && self.lines_unanswered == 0
            && self.lines_unconfirmed == 0
            && self.lines_unsaid == 0
    }
}

/// Runs the replay; 0 if all lines were taken or answered.
pub(crate) fn run(args: &ReplayArgs) -> ExitCode {
    let (recordings, targets) = match prepare(args) {
        Ok(prepared) => prepared,
        Err(error) => {
            Out.note(&format!("load-test: {error}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            Out.note(&format!("load-test: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(replay(args, &recordings, targets));
    tell(args, &outcome);
    if outcome.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn prepare(args: &ReplayArgs) -> io::Result<(Vec<Arc<Recording>>, Vec<SocketAddr>)> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(io::Error::other("--speed takes a number above 0"));
    }
    let language = args
        .protocol
        .and_then(|protocol| protocol.languages().first().copied());
    let mut recordings = Vec::new();
    for path in &args.files {
        let named = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let content = fs::read(path).map_err(|error| named(&error))?;
        let recording = Recording::parse(&content, language).map_err(|error| named(&error))?;
        let Unknown { n_lines, first } = recording.unknown;
        if n_lines > 0 {
            Out.note(&format!(
                "{}: {n_lines} lines of no known kind are not sent, the first is line {first}",
                path.display()
            ));
        }
        recordings.push(Arc::new(recording));
    }
    let targets: io::Result<_> = args.target.iter().map(|target| resolve(target)).collect();
    Ok((recordings, targets?))
}

fn resolve(target: &str) -> io::Result<SocketAddr> {
    let unknown = |error: io::Error| io::Error::other(format!("--target {target}: {error}"));
    let mut found = target.to_socket_addrs().map_err(unknown)?;
    let found = found.next();
    found.ok_or_else(|| unknown(io::Error::other("no such address")))
}

async fn replay(
    args: &ReplayArgs,
    recordings: &[Arc<Recording>],
    targets: Vec<SocketAddr>,
) -> Outcome {
    let n_lines: u64 = (0..args.vehicles as usize)
        .filter_map(|number| recordings.get(number % recordings.len()))
        .map(|recording| recording.lines.len() as u64)
        .sum();
    let n_turns = args.connections.map_or(1, |n| args.vehicles.div_ceil(n));
    let run = Arc::new(Run::new(
        Instant::now() + length(args, recordings) * n_turns + PATIENCE,
        targets,
    ));
    let permits = Arc::new(Semaphore::new(
        args.connections.unwrap_or(args.vehicles) as usize
    ));
    let ends_at = wall_millis();
    let mut devices = JoinSet::new();
    for (number, recording) in (0..args.vehicles).zip(recordings.iter().cycle()) {
        let identity = (format!("{}{number}", args.identity), recording.language);
        let events = events(args, number, Arc::clone(recording), ends_at);
        let window = if recording.language.is_answered() {
            args.window as usize
        } else {
            64
        };
        let device = Device::new(identity, window, number as usize, events, Arc::clone(&run));
        let permits = Arc::clone(&permits);
        spawn_in(&mut devices, "device", async move {
            let _permit = permits.acquire_owned().await;
            device.serve(u64::from(number)).await
        });
    }
    let books = gather(&mut devices, &run, n_lines).await;
    let sum = |count: fn(&VehicleBook) -> u64| books.iter().map(count).sum::<u64>();
    let lines_resent = sum(|book| book.n_resent);
    let (lines_sent, lines_answered) = (run.n_sent() - lines_resent, run.n_answered());
    let of_recordings = |count: fn(&Recording) -> usize| {
        recordings
            .iter()
            .map(|recording| count(recording) as u64)
            .sum()
    };
    Outcome {
        vehicles: u64::from(args.vehicles),
        recordings: recordings.len() as u64,
        lines_left_out: of_recordings(|recording| recording.n_left_out),
        lines_unknown: of_recordings(|recording| recording.unknown.n_lines),
        lines_sent,
        lines_answered,
        lines_unanswered: sum(|book| book.n_unanswered),
        lines_unconfirmed: sum(|book| book.n_unconfirmed),
        lines_unsaid: sum(|book| book.n_unsaid),
        vehicles_refused: sum(|book| u64::from(book.is_refused)),
        lines_resent,
        lines_rejected: sum(|book| book.n_rejected),
        answers_shifted: sum(|book| book.n_shifted),
        seconds: Instant::now().since(run.started).as_secs_f64(),
    }
}

/// The longest that one vehicle takes.
fn length(args: &ReplayArgs, recordings: &[Arc<Recording>]) -> Duration {
    let seconds = recordings.iter().map(|recording| match args.rate {
        Some(rate) => recording.lines.len() as f64 * f64::from(args.vehicles) / f64::from(rate),
        None => {
            let (first, last) = recording.span();
            (last.0 - first.0) as f64 / 1e3 / args.speed
        }
    });
    Duration::from_secs_f64(seconds.fold(0.0, f64::max))
}

/// The lines of a vehicle, shifted so that the recording ends now.
fn events(
    args: &ReplayArgs,
    number: u32,
    recording: Arc<Recording>,
    ends_at: i64,
) -> impl Iterator<Item = Event> + Send + use<> {
    let (first, last) = recording.span();
    let shift_seconds = (ends_at - last.0).div_euclid(1_000);
    let (rate, speed, n_vehicles) = (args.rate, args.speed, u64::from(args.vehicles));
    (0..recording.lines.len()).filter_map(move |idx| {
        let line = recording.lines.get(idx)?;
        let due_millis = match rate {
            Some(rate) => (idx as u64 * n_vehicles + u64::from(number)) * 1_000 / u64::from(rate),
            None => ((line.time.0 - first.0).max(0) as f64 / speed) as u64,
        };
        let (bytes, expects) = recording.shifted(line, shift_seconds);
        let reports = Vec::new();
        Some(Event::Send(Message {
            due_millis,
            bytes,
            expects,
            reports,
            is_spoiled: false,
        }))
    })
}

async fn gather(
    devices: &mut JoinSet<(String, VehicleBook)>,
    run: &Run,
    n_lines: u64,
) -> Vec<VehicleBook> {
    let progress = Progress::new(n_lines);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut books = Vec::new();
    loop {
        tokio::select! {
            device = devices.join_next() => match device {
                Some(Ok((_, book))) => books.push(book),
                Some(Err(error)) => progress.say(&format!("a device crashed: {error}")),
                None => break,
            },
            _ = ticks.tick() => {
                let (n_sent, n_answered) = (run.n_sent(), run.n_answered());
                let message = format!("{n_sent} lines sent, {n_answered} answered");
                progress.stand(n_sent.min(n_lines), &message);
            }
        }
    }
    progress.finish();
    books
}

fn tell(args: &ReplayArgs, outcome: &Outcome) {
    if args.json {
        match serde_json::to_string(outcome) {
            Ok(json) => Out.line(&json),
            Err(error) => Out.note(&format!("load-test: {error}")),
        }
        return;
    }
    let seconds = outcome.seconds;
    Out.line(&format!("{} vehicles in {seconds:.1} s", outcome.vehicles));
    for (name, number) in [
        ("lines sent", outcome.lines_sent),
        ("… answered", outcome.lines_answered),
        ("… not answered", outcome.lines_unanswered),
        ("… not confirmed", outcome.lines_unconfirmed),
        ("lines never sent", outcome.lines_unsaid),
        ("… sent again", outcome.lines_resent),
        ("… rejected", outcome.lines_rejected),
        ("answers shifted", outcome.answers_shifted),
        ("vehicles refused", outcome.vehicles_refused),
        ("lines left out", outcome.lines_left_out),
        ("lines of no known kind", outcome.lines_unknown),
    ] {
        Out.line(&format!("  {name:<24}{number:>10}"));
    }
}
