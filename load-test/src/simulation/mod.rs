//! A fleet that is simulated against one node, and the books of it: what `demo` and `simulate` share.
//!
//! ```text
//! plans (pure) ─▶ devices ─▶ node: of our own, in a folder for it alone, or one that runs
//!                   │ what was sent and confirmed
//!                   ▼
//!                 books ◀─ read back over HTTP
//! ```

mod outcome;
mod read_back;
mod target;

use std::{io, path::Path, process::ExitCode, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use waymesh::{
    base::{
        prng::Prng,
        task::spawn_in,
        time::{Instant, wall_millis},
    },
    types::time::UnixMillis,
};

pub(crate) use self::target::NodeChoice;
use self::{outcome::Outcome, target::Target};
use crate::{
    books::{Books, VehicleBook},
    device::{Device, Language, Run, Timing, messages},
    fleet::{Faults, Plan, PlanConfig},
    out::{Out, Progress},
};

/// How long devices may take after the end of the plan until all is confirmed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Descriptors that this tool needs besides one for each connection.
const DESCRIPTORS_RESERVED: usize = 256;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);

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
    /// How often the node is killed; only of one that is our own.
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
        tokio::select! {
            outcome = simulate(simulation, choice, path) => outcome,
            _ = tokio::signal::ctrl_c() => Err(io::Error::other("interrupted")),
        }
    });
    if let Ok(outcome) = &outcome {
        outcome::tell(outcome, simulation.is_json);
    }
    if outcome.as_ref().is_ok_and(|outcome| outcome.is_balanced) {
        return ExitCode::SUCCESS;
    }
    if let Some(kept) = folder.map(tempfile::TempDir::keep) {
        let kept = kept.display();
        Out.note(&format!("the node's data and log are kept in {kept}"));
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
        announce(simulation, &target);
    }
    let duration = Duration::from_secs(u64::from(simulation.n_seconds));
    let run = Arc::new(Run::new(Instant::now() + duration + PATIENCE));
    let begins = UnixMillis(wall_millis() - i64::from(simulation.driving_seconds()) * 1_000);
    let mut devices = start_fleet(simulation, begins, &target, &run);
    let mut books = Books::default();
    let restart_ms_max = watch(simulation, &mut target, &run, &mut devices, &mut books).await?;
    let seconds = Instant::now().since(run.started).as_secs_f64();
    let client = target.client()?;
    let (from, identity) = (begins, simulation.identity.clone());
    let reading =
        tokio::task::spawn_blocking(move || read_back::read_back(&client, from, &identity, books));
    let (books, tracks) = reading.await.map_err(io::Error::other)??;
    let measured = outcome::Measured {
        seconds,
        restart_ms_max,
        usage: target.usage(),
    };
    Ok(Outcome::new(
        simulation,
        &books.summary(),
        tracks,
        (&run, measured),
    ))
}

fn announce(simulation: &Simulation, target: &Target) {
    let Simulation {
        n_vehicles,
        n_seconds,
        n_kills,
        seed,
        ..
    } = simulation;
    let kills = match n_kills {
        0 => String::new(),
        1 => ", killed once with -9".to_owned(),
        n_kills => format!(", killed {n_kills} times with -9"),
    };
    let address = target.vehicles();
    Out.note(&format!(
        "{n_vehicles} vehicles for {n_seconds} s against a node at {address}{kills} (seed {seed})"
    ));
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

fn start_fleet(
    simulation: &Simulation,
    begins: UnixMillis,
    target: &Target,
    run: &Arc<Run>,
) -> Devices {
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
            target.vehicles(),
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

/// Shows progress, kills the node on the way, and gathers the devices' books when they are done.
async fn watch(
    simulation: &Simulation,
    target: &mut Target,
    run: &Run,
    devices: &mut Devices,
    books: &mut Books,
) -> io::Result<u64> {
    let n_tenths = u64::from(simulation.n_seconds) * 10;
    let mut progress = Progress::new(n_tenths);
    let (mut n_kills, mut restart_ms_max) = (0, 0);
    let mut ticks = tokio::time::interval(TICK);
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
                progress.stand(tenths.min(n_tenths), &stand(run, simulation, n_kills));
                // Evenly on the way: one kill is in the middle.
                let next_kill = n_tenths * u64::from(n_kills + 1);
                if n_kills < simulation.n_kills
                    && tenths >= next_kill / u64::from(simulation.n_kills + 1)
                {
                    run.note_kill();
                    let restart = target.kill_and_restart().await?;
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

fn stand(run: &Run, simulation: &Simulation, n_kills: u32) -> String {
    let (n_connected, n_sent, n_answered) = (run.n_connected(), run.n_sent(), run.n_answered());
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
