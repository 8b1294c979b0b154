//! A fleet that is simulated against nodes, and the books of it: what `demo` and `simulate` share.
//!
//! ```text
//! plans (pure) ─▶ devices ─▶ nodes: of our own, in folders for them alone, or one that runs
//!                   │ what was sent and confirmed      ▲ kills
//!                   ▼
//!                 books ◀─ read back over HTTP, from every node the same
//! ```

mod kills;
mod outcome;
mod read_back;
mod table;
mod target;
mod tell;

use std::{
    cell::RefCell, convert::Infallible, io, path::Path, process::ExitCode, sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};
use waymesh::{
    base::{
        prng::Prng,
        task::spawn_in,
        time::{Instant, wall_millis},
    },
    client::Client,
    types::time::UnixMillis,
};

pub(crate) use self::target::NodeChoice;
use self::{
    kills::{Killed, Kills},
    outcome::{Measured, Outcome},
    table::Table,
    target::Target,
};
use crate::{
    books::{Books, VehicleBook},
    cluster::{Cluster, sample},
    device::{Device, Door, Language, Run, Timing, messages},
    fleet::{Faults, Plan, PlanConfig},
    out::{Out, Progress},
    told::{is_told, until_told},
};

/// How long devices may take after the end of the plan until all is confirmed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Descriptors that this tool needs besides one for each connection.
const DESCRIPTORS_RESERVED: usize = 256;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How often the nodes are asked how they are.
const ASK: Duration = Duration::from_millis(500);

/// What is simulated.
#[derive(Debug)]
pub(crate) struct Simulation {
    /// Plans, faults and back-offs depend on this alone.
    pub(crate) seed: u64,
    /// What stands before a vehicle's number.
    pub(crate) identity: String,
    pub(crate) n_vehicles: u32,
    /// Connections at the same time; vehicles beyond them take their turns.
    pub(crate) n_connections: u32,
    pub(crate) n_seconds: u32,
    pub(crate) pace: Pace,
    /// Languages and windows, taken in turn by the vehicles; neither is empty.
    pub(crate) languages: Vec<Language>,
    pub(crate) windows: Vec<usize>,
    pub(crate) faults: Faults,
    /// How often a node is killed; only of those that are our own.
    pub(crate) n_kills: u32,
    pub(crate) is_json: bool,
}

/// How fast vehicles drive and report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// Seconds of driving between two reports.
    pub(crate) interval_seconds: u32,
    /// Seconds of driving in one second of the run.
    pub(crate) speed: f64,
}

impl Pace {
    /// So many reports a second of each vehicle, at real speed where whole seconds allow.
    pub(crate) fn of_rate(reports_per_second: f64) -> Self {
        let interval_seconds = (1.0 / reports_per_second).round().max(1.0) as u32;
        Self {
            interval_seconds,
            speed: f64::from(interval_seconds) * reports_per_second,
        }
    }
}

impl Simulation {
    /// Milliseconds for which one vehicle reports.
    fn turn_millis(&self) -> u64 {
        let n_turns = self.n_vehicles.div_ceil(self.n_connections.max(1)).max(1);
        u64::from(self.n_seconds) * 1_000 / u64::from(n_turns)
    }

    /// Seconds that one vehicle drives.
    fn driving_seconds(&self) -> u32 {
        (self.turn_millis() as f64 / 1e3 * self.pace.speed).max(1.0) as u32
    }
}

/// Runs the simulation against a node; 0 if the books balance.
pub(crate) fn run(simulation: &Simulation, choice: &NodeChoice) -> ExitCode {
    let started = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .and_then(|runtime| Ok((runtime, choice.folder()?)));
    let (runtime, folder) = match started {
        Ok(started) => started,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(async {
        let path = folder.as_ref().map(tempfile::TempDir::path);
        until_told(|_| simulate(simulation, choice, path)).await
    });
    if let Ok(outcome) = &outcome {
        tell::tell(outcome, simulation.is_json);
    }
    if outcome.as_ref().is_ok_and(|outcome| outcome.is_balanced) {
        return ExitCode::SUCCESS;
    }
    // Who ends a run has no use for what it left.
    let folder = folder.filter(|_| !outcome.as_ref().is_err_and(is_told));
    if let Some(kept) = folder.map(tempfile::TempDir::keep) {
        let kept = kept.display();
        Out.note(&format!("data and logs of the nodes are kept in {kept}"));
    }
    outcome.map_or_else(|error| fail(&error), |_| ExitCode::FAILURE)
}

fn fail(error: &io::Error) -> ExitCode {
    Out.note(&format!("load-test: {error}"));
    ExitCode::FAILURE
}

async fn simulate(
    simulation: &Simulation,
    choice: &NodeChoice,
    folder: Option<&Path>,
) -> io::Result<Outcome> {
    check_descriptors(simulation.n_connections.min(simulation.n_vehicles))?;
    let mut target = Target::open(choice, folder).await?;
    if !simulation.is_json {
        announce(simulation, &target)?;
    }
    let duration = Duration::from_secs(u64::from(simulation.n_seconds));
    let deadline = Instant::now() + duration + PATIENCE;
    let run = Arc::new(Run::new(deadline, target.vehicles()?));
    let begins = UnixMillis(wall_millis() - i64::from(simulation.driving_seconds()) * 1_000);
    let devices = start_fleet(simulation, begins, &run);
    let (books, kills) = watch(simulation, &mut target, &run, devices).await?;
    let seconds = Instant::now().since(run.started).as_secs_f64();
    let clients = target.clients()?;
    let samples = match target.own() {
        Some(_) => sample::settled(&clients).await,
        None => Ok(Vec::new()),
    };
    let identity = simulation.identity.clone();
    let given = read_back::read_back(clients, (begins, identity), &books).await;
    let measured = Measured {
        seconds,
        kills,
        samples,
        given,
    };
    Ok(Outcome::new(
        simulation,
        &books,
        (&run, target.own()),
        measured,
    ))
}

fn announce(simulation: &Simulation, target: &Target) -> io::Result<()> {
    let Simulation {
        n_vehicles,
        n_seconds,
        n_kills,
        seed,
        ..
    } = simulation;
    let addresses = target.vehicles()?;
    let (against, killed) = match (target.own(), addresses.as_slice()) {
        (Some(cluster), [_, _, ..]) => {
            let took = cluster.formation().took;
            let how = match cluster.formation().way {
                "multicast" => "by multicast on loopback",
                _ => "by static peers",
            };
            let n_nodes = addresses.len();
            Out.note(&format!(
                "{n_nodes} nodes found each other {how}, {:.0} ms after the last one was started",
                took.as_secs_f64() * 1e3
            ));
            (format!("{n_nodes} nodes"), "a node killed")
        }
        (_, addresses) => {
            let address = addresses.first().map(ToString::to_string);
            (
                format!("a node at {}", address.unwrap_or_default()),
                "killed",
            )
        }
    };
    let kills = match n_kills {
        0 => String::new(),
        1 => format!(", {killed} once with -9"),
        n_kills => format!(", {killed} {n_kills} times with -9"),
    };
    Out.note(&format!(
        "{n_vehicles} vehicles for {n_seconds} s against {against}{kills} (seed {seed})"
    ));
    Ok(())
}

fn check_descriptors(n_connections: u32) -> io::Result<()> {
    let n_needed = n_connections as usize + DESCRIPTORS_RESERVED;
    match waymesh::base::machine::raise_descriptor_limit() {
        Some(limit) if limit < n_needed => Err(io::Error::other(format!(
            "{n_connections} connections take {n_needed} descriptors, and this process may open \
             {limit}: raise the limit (ulimit -n) or take fewer"
        ))),
        _ => Ok(()),
    }
}

type Devices = JoinSet<(String, VehicleBook)>;

fn start_fleet(simulation: &Simulation, begins: UnixMillis, run: &Arc<Run>) -> Devices {
    let mut prng = Prng::new(simulation.seed);
    let n_connections = simulation.n_connections.max(1);
    let permits = Arc::new(Semaphore::new(n_connections as usize));
    let mut devices = JoinSet::new();
    let languages = simulation.languages.iter().cycle();
    let windows = simulation.windows.iter().cycle();
    for (number, (language, window)) in (0..simulation.n_vehicles).zip(languages.zip(windows)) {
        let plan = Plan::new(PlanConfig {
            seed: prng.next_u64(),
            start: begins,
            n_seconds: simulation.driving_seconds(),
            interval_seconds: simulation.pace.interval_seconds,
            is_answered: language.is_answered(),
            faults: simulation.faults,
        });
        let timing = Timing {
            begins_millis: u64::from(number / n_connections) * simulation.turn_millis(),
            speed: simulation.pace.speed,
        };
        let identity = (format!("{}{number:05}", simulation.identity), *language);
        let events = messages(*language, plan, timing);
        let device = Device::new(
            identity,
            *window,
            // Each node gets all languages.
            number as usize / simulation.languages.len().max(1),
            events,
            Arc::clone(run),
        );
        let (seed, permits) = (prng.next_u64(), Arc::clone(&permits));
        spawn_in(&mut devices, "device", async move {
            let _permit = permits.acquire_owned().await;
            device.serve(seed).await
        });
    }
    devices
}

/// Shows progress, kills nodes on the way, and gathers the devices' books when they are done.
async fn watch(
    simulation: &Simulation,
    target: &mut Target,
    run: &Run,
    devices: Devices,
) -> io::Result<(Books, Vec<Killed>)> {
    let (clients, n_nodes) = (target.clients()?, run.doors().len());
    let names = target.own().map_or_else(Vec::new, Cluster::names);
    let table = RefCell::new(Table::new(names));
    let n_tenths = u64::from(simulation.n_seconds) * 10;
    let progress = Progress::with_table(n_tenths, Table::n_rows(n_nodes));
    let kills = Kills {
        n_kills: simulation.n_kills,
        time: Duration::from_secs(u64::from(simulation.n_seconds)),
        seed: simulation.seed,
    };
    let killing = async {
        match target.own_mut() {
            Some(cluster) => kills.run(cluster, run, &progress).await,
            None => Ok(Vec::new()),
        }
    };
    let gathering = gather(simulation, run, devices, (&progress, &table));
    let outcome = tokio::select! {
        both = async { tokio::try_join!(gathering, killing) } => both,
        never = ask_on(clients, &table), if n_nodes > 1 => match never {},
    };
    progress.finish();
    outcome
}

/// Asks all nodes how they are, again and again.
async fn ask_on(clients: Vec<Client>, table: &RefCell<Table>) -> Infallible {
    let mut asked = Instant::now();
    loop {
        let samples = sample::ask_all(&clients).await;
        let samples = samples.into_iter().map(Result::ok).collect();
        let now = Instant::now();
        table.borrow_mut().note(samples, now.since(asked));
        asked = now;
        tokio::time::sleep(ASK).await;
    }
}

async fn gather(
    simulation: &Simulation,
    run: &Run,
    mut devices: Devices,
    (progress, table): (&Progress, &RefCell<Table>),
) -> io::Result<Books> {
    let n_tenths = u64::from(simulation.n_seconds) * 10;
    let mut books = Books::default();
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            device = devices.join_next() => match device {
                Some(device) => {
                    let (vehicle, book) = device.map_err(io::Error::other)?;
                    books.enter(vehicle, book);
                }
                None => return Ok(books),
            },
            _ = ticks.tick() => {
                let tenths = Instant::now().since(run.started).as_millis() as u64 / 100;
                progress.table(table.borrow().rows());
                progress.stand(tenths.min(n_tenths), &stand(run, simulation));
            }
        }
    }
}

fn stand(run: &Run, simulation: &Simulation) -> String {
    let (n_connected, n_sent, n_answered) = (run.n_connected(), run.n_sent(), run.n_answered());
    let n_kills: u64 = run.doors().iter().map(Door::n_kills).sum();
    let kills = match simulation.n_kills {
        0 => String::new(),
        _ => format!(", {n_kills} kills"),
    };
    format!("{n_connected} connected, {n_sent} messages sent, {n_answered} answered{kills}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulation(n_vehicles: u32, n_connections: u32, pace: Pace) -> Simulation {
        Simulation {
            seed: 1,
            identity: "v-".to_owned(),
            n_vehicles,
            n_connections,
            n_seconds: 60,
            pace,
            languages: vec![Language::WialonOne],
            windows: vec![1],
            faults: Faults::NONE,
            n_kills: 0,
            is_json: false,
        }
    }

    #[test]
    fn a_rate_is_kept_in_whole_seconds_of_driving() {
        for (rate, interval_seconds) in [(0.2, 5), (1.0, 1), (10.0, 1), (0.3, 3), (0.7, 1)] {
            let pace = Pace::of_rate(rate);
            assert_eq!(pace.interval_seconds, interval_seconds);
            assert!((pace.speed / f64::from(pace.interval_seconds) - rate).abs() < 1e-9);
        }
    }

    #[test]
    fn vehicles_beyond_the_connections_take_turns() {
        let pace = Pace::of_rate(2.0);
        let all_at_once = simulation(10, 10, pace);
        assert_eq!(
            (all_at_once.turn_millis(), all_at_once.driving_seconds()),
            (60_000, 120)
        );
        let in_three_turns = simulation(10, 4, pace);
        assert_eq!(
            (
                in_three_turns.turn_millis(),
                in_three_turns.driving_seconds()
            ),
            (20_000, 40)
        );
    }
}
