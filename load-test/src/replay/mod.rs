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

/// Longest that a replay may take.
const LENGTH_MAX: Duration = Duration::from_hours(366 * 24);

/// Options of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    load-test replay drive.nmea --target 127.0.0.1:5000 --vehicles 100 --speed 10\n  \
    load-test replay a.txt b.txt --target node:5000 --vehicles 5000 --rate 20000\n  \
    load-test replay a.txt --to a:5000,b:5000,c:5000 --vehicles 3000\n\n\
    Nothing is read back: what counts is what the node answers; where a protocol has no answers, \
    that it ends\neach connection in order. Whether all is stored, load-test simulate shows.\n\
    Exit codes: 0 all lines were answered or ended in order, 1 some were not, or the node took none, \
    64 wrong\narguments.")]
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
    /// Lines of which the node said that it took something.
    lines_taken: u64,
    /// Rejected lines; of a batch each report by itself.
    lines_rejected: u64,
    answers_shifted: u64,
    /// Vehicles of which nothing is known, since this tool failed.
    vehicles_crashed: u64,
    seconds: f64,
}

impl Outcome {
    /// What is wrong, if anything is, a sentence each.
    fn faults(&self) -> Vec<String> {
        let counts = [
            (self.vehicles_crashed, "vehicles that crashed in this tool"),
            (self.vehicles_refused, "vehicles that were not let speak"),
            (self.lines_unsaid, "lines that were never sent"),
            (self.lines_unanswered, "lines without an answer"),
            (
                self.lines_unconfirmed,
                "lines over connections that did not end in order",
            ),
            (self.answers_shifted, "answers that do not fit their lines"),
        ];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        let mut faults: Vec<String> = counted
            .map(|(count, what)| format!("{what}: {count}"))
            .collect();
        if self.lines_rejected > 0 && self.lines_taken == 0 {
            faults.push("the node took not one of the lines: all were rejected".to_owned());
        }
        faults
    }
}

/// What is to be sent where, and when.
struct Prepared {
    recordings: Vec<Arc<Recording>>,
    targets: Vec<SocketAddr>,
    turns: Turns,
}

/// When vehicles speak: those beyond the connections wait until the ones before them are through.
#[derive(Debug, Clone, Copy)]
struct Turns {
    /// Vehicles of a turn, above 0.
    n_vehicles: u32,
    /// The longest that one vehicle takes.
    length: Duration,
    /// Of all turns.
    all: Duration,
}

/// Runs the replay; 0 if all lines were taken or answered.
pub(crate) fn run(args: &ReplayArgs) -> ExitCode {
    let prepared = match prepare(args) {
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
    let outcome = runtime.block_on(replay(args, prepared));
    tell(args, &outcome);
    let faults = outcome.faults();
    for fault in &faults {
        Out.note(&format!("load-test: {fault}"));
    }
    if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn prepare(args: &ReplayArgs) -> io::Result<Prepared> {
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
    Ok(Prepared {
        turns: Turns::new(args, &recordings)?,
        targets: targets?,
        recordings,
    })
}

impl Turns {
    fn new(args: &ReplayArgs, recordings: &[Arc<Recording>]) -> io::Result<Self> {
        let n_vehicles = args.connections.unwrap_or(args.vehicles).min(args.vehicles);
        let seconds = recordings.iter().map(|recording| match args.rate {
            Some(rate) => recording.lines.len() as f64 * f64::from(n_vehicles) / f64::from(rate),
            None => {
                let (first, last) = recording.span();
                (last.0 - first.0) as f64 / 1e3 / args.speed
            }
        });
        let length = Duration::try_from_secs_f64(seconds.fold(0.0, f64::max)).ok();
        let n_turns = args.vehicles.div_ceil(n_vehicles);
        let all = length.and_then(|length| length.checked_mul(n_turns));
        let all = all.filter(|all| *all <= LENGTH_MAX);
        let both = length.zip(all);
        let (length, all) = both.ok_or_else(|| {
            io::Error::other(
                "this would take longer than a year: take a higher --speed or --rate, or more \
                 --connections",
            )
        })?;
        Ok(Self {
            n_vehicles,
            length,
            all,
        })
    }

    /// Milliseconds of the run before the turn of a vehicle begins.
    fn begins_millis(&self, vehicle: u32) -> u64 {
        u64::from(vehicle / self.n_vehicles) * self.length.as_millis() as u64
    }
}

fn resolve(target: &str) -> io::Result<SocketAddr> {
    let unknown = |error: io::Error| io::Error::other(format!("--target {target}: {error}"));
    let mut found = target.to_socket_addrs().map_err(unknown)?;
    let found = found.next();
    found.ok_or_else(|| unknown(io::Error::other("no such address")))
}

async fn replay(args: &ReplayArgs, prepared: Prepared) -> Outcome {
    let Prepared {
        recordings,
        targets,
        turns,
    } = prepared;
    let n_lines: u64 = (0..args.vehicles as usize)
        .filter_map(|number| recordings.get(number % recordings.len()))
        .map(|recording| recording.lines.len() as u64)
        .sum();
    let run = Arc::new(Run::new(Instant::now() + turns.all + PATIENCE, targets));
    let permits = Arc::new(Semaphore::new(turns.n_vehicles as usize));
    let ends_at = wall_millis();
    let mut devices = JoinSet::new();
    for (number, recording) in (0..args.vehicles).zip(recordings.iter().cycle()) {
        let identity = (format!("{}{number}", args.identity), recording.language);
        let events = events(args, (number, turns), Arc::clone(recording), ends_at);
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
    let (books, vehicles_crashed) = gather(&mut devices, &run, n_lines).await;
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
        lines_taken: sum(|book| book.n_taken),
        lines_rejected: sum(|book| book.n_rejected),
        answers_shifted: sum(|book| book.n_shifted),
        vehicles_crashed,
        seconds: Instant::now().since(run.started).as_secs_f64(),
    }
}

/// The lines of a vehicle, shifted so that the recording ends now.
fn events(
    args: &ReplayArgs,
    (number, turns): (u32, Turns),
    recording: Arc<Recording>,
    ends_at: i64,
) -> impl Iterator<Item = Event> + Send + use<> {
    let (first, last) = recording.span();
    let shift_seconds = (ends_at - last.0).div_euclid(1_000);
    let (rate, speed, n_vehicles) = (args.rate, args.speed, u64::from(turns.n_vehicles));
    let (begins_millis, place) = (turns.begins_millis(number), number % turns.n_vehicles);
    (0..recording.lines.len()).filter_map(move |idx| {
        let line = recording.lines.get(idx)?;
        let due_millis = match rate {
            Some(rate) => (idx as u64 * n_vehicles + u64::from(place)) * 1_000 / u64::from(rate),
            None => ((line.time.0 - first.0).max(0) as f64 / speed) as u64,
        };
        let due_millis = begins_millis + due_millis;
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

/// The books of all devices, and how many have none as this tool failed.
async fn gather(
    devices: &mut JoinSet<(String, VehicleBook)>,
    run: &Run,
    n_lines: u64,
) -> (Vec<VehicleBook>, u64) {
    let progress = Progress::new(n_lines);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let (mut books, mut n_crashed) = (Vec::new(), 0);
    loop {
        tokio::select! {
            device = devices.join_next() => match device {
                Some(Ok((_, book))) => books.push(book),
                Some(Err(error)) => {
                    n_crashed += 1;
                    progress.say(&format!("a device crashed: {error}"));
                }
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
    (books, n_crashed)
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
        ("… taken", outcome.lines_taken),
        ("… rejected", outcome.lines_rejected),
        ("answers shifted", outcome.answers_shifted),
        ("vehicles refused", outcome.vehicles_refused),
        ("vehicles crashed", outcome.vehicles_crashed),
        ("lines left out", outcome.lines_left_out),
        ("lines of no known kind", outcome.lines_unknown),
    ] {
        Out.line(&format!("  {name:<24}{number:>10}"));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::{
        io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
        net::TcpListener,
    };

    use super::*;

    const BATCH: &[u8] = b"#B#010124;000000;5926.2320;N;02445.2100;E;42;181;34;9|\
        010124;000010;5926.2320;N;02445.2100;E;42;181;34;9|\
        010124;000020;5926.2320;N;02445.2100;E;42;181;34;9\r\n";

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        args: ReplayArgs,
    }

    fn args(arguments: &str) -> ReplayArgs {
        let arguments = arguments.split_whitespace();
        let all = ["replay", "file", "--target", "127.0.0.1:1"].into_iter();
        Arguments::parse_from(all.chain(arguments)).args
    }

    fn recording(content: &[u8]) -> Vec<Arc<Recording>> {
        vec![Arc::new(Recording::parse(content, None).unwrap())]
    }

    /// What comes of a batch of three that a node answers so.
    async fn answered(answer: &'static str) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (args, recordings) = (args(""), recording(BATCH));
        let prepared = Prepared {
            turns: Turns::new(&args, &recordings).unwrap(),
            targets: vec![listener.local_addr().unwrap()],
            recordings,
        };
        let serving = async {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(socket);
            let mut line = String::new();
            for answer in ["#AL#1\r\n", answer] {
                stream.read_line(&mut line).await.unwrap();
                stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
            }
        };
        tokio::join!(replay(&args, prepared), serving).0
    }

    #[tokio::test]
    async fn what_a_batch_lacks_is_rejected_and_nothing_taken_is_a_fault() {
        for (answer, n_taken, n_rejected) in [
            ("#AB#3\r\n", 1, 0),
            ("#AB#1\r\n", 1, 2),
            ("#AB#0\r\n", 0, 3),
            ("#AB#\r\n", 0, 3),
        ] {
            let outcome = answered(answer).await;
            let counts = (outcome.lines_taken, outcome.lines_rejected);
            assert_eq!(counts, (n_taken, n_rejected), "{answer}");
            let faults = outcome.faults();
            assert_eq!(faults.is_empty(), n_taken > 0, "{answer}: {faults:?}");
        }
    }

    #[tokio::test]
    async fn a_vehicle_of_this_tool_that_crashes_is_a_fault() {
        let run = Run::new(Instant::now(), ["127.0.0.1:1".parse().unwrap()]);
        let mut devices = JoinSet::new();
        spawn_in(&mut devices, "device", async {
            ("v".to_owned(), VehicleBook::new(true))
        });
        spawn_in(&mut devices, "device", async { panic!("on purpose") });
        let (books, vehicles_crashed) = gather(&mut devices, &run, 0).await;
        assert_eq!((books.len(), vehicles_crashed), (1, 1));
        let outcome = Outcome {
            vehicles_crashed,
            ..Outcome::default()
        };
        assert_eq!(outcome.faults(), ["vehicles that crashed in this tool: 1"]);
        assert!(Outcome::default().faults().is_empty());
    }

    #[test]
    fn vehicles_beyond_the_connections_begin_when_those_before_them_are_through() {
        let lines = b"#SD#010124;000000;5926.2320;N;02445.2100;E;42;181;34;9\r\n\
            #SD#010124;000010;5926.2320;N;02445.2100;E;42;181;34;9\r\n";
        let recordings = recording(lines);
        let due = |arguments: &str, vehicle: u32| -> Vec<u64> {
            let args = args(arguments);
            let turns = Turns::new(&args, &recordings).unwrap();
            let events = events(&args, (vehicle, turns), Arc::clone(&recordings[0]), 0);
            let due = events.map(|event| match event {
                Event::Send(message) => message.due_millis,
                Event::Reconnect(due) => due,
            });
            due.collect()
        };
        let at_once = "--vehicles 4 --speed 2";
        assert_eq!(due(at_once, 0), [0, 5_000]);
        assert_eq!(due(at_once, 3), [0, 5_000]);
        let in_turns = "--vehicles 4 --speed 2 --connections 2";
        assert_eq!(due(in_turns, 1), [0, 5_000]);
        assert_eq!(due(in_turns, 2), [5_000, 10_000]);
        let with_rate = "--vehicles 4 --rate 10 --connections 2";
        assert_eq!(due(with_rate, 1), [100, 300]);
        assert_eq!(due(with_rate, 3), [500, 700]);
    }

    #[test]
    fn what_takes_for_ever_is_refused_with_a_remedy() {
        let recordings = recording(
            b"#SD#010124;000000;1;N;1;E;1;1;1;1\r\n\
            #SD#010124;000010;1;N;1;E;1;1;1;1\r\n",
        );
        for speed in ["1e-18", "1e-300", "1e-7"] {
            let args = args(&format!("--speed {speed} --vehicles 9 --connections 1"));
            let error = Turns::new(&args, &recordings).unwrap_err().to_string();
            assert!(error.contains("--speed"), "{error}");
        }
    }
}
