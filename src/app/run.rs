//! `waymesh run`: a node in the foreground, until a signal ends it.

use std::{io, pin::pin, process::ExitCode, time::Duration};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::timeout,
};

use super::{App, AppError, Signals, install_panic_hook, log, make_room_for_connections};
use crate::{
    cli::out::{EXIT_BUG, EXIT_FAILURE, EXIT_USAGE, fail, paint},
    config::{AppConfig, Environment, Overlay, Sources, load},
    protocol::Registry,
};

/// How long a thread of the vehicles waits for more to do before it sleeps.
const NAP: Duration = Duration::from_millis(1);

/// Options of `run`, each over the environment, which is over the file.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Configuration file [default: ./waymesh.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Label of this node [default: the host name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Cluster to belong to [default: waymesh]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// File with the cluster's secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// Where vehicles connect [default: 0.0.0.0:5000]
    #[arg(long, value_name = "ADDR")]
    vehicles: Option<String>,
    /// Where other nodes connect [default: 0.0.0.0:5001]
    #[arg(long, value_name = "ADDR")]
    link: Option<String>,
    /// Where HTTP is served [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Folder for everything that is kept [default: ./waymesh-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// What to log: error, warn, info, debug, trace, or filters like waymesh::ingest=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How to log: human, json, or auto (human on a terminal)
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// For measurements: no index, so nothing can be asked and repeats are stored again
    #[arg(long, hide = true)]
    without_index: bool,
}

impl RunArgs {
    fn overlay(self) -> Overlay {
        Overlay {
            name: self.name,
            cluster: self.cluster,
            secret_file: self.secret_file,
            vehicles: self.vehicles,
            link: self.link,
            http: self.http,
            data: self.data,
            log: self.log,
            log_format: self.log_format,
        }
    }
}

/// Runs a node until it is told to end.
pub(super) fn run(mut args: RunArgs) -> ExitCode {
    let (file, protocols) = (args.config.take(), Registry::built_in());
    let is_indexed = !args.without_index;
    let names: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
    let loaded = load(&Sources {
        file: file.as_deref(),
        environment: Environment::of_process(),
        overlay: args.overlay(),
        protocols: &names.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
    });
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => return fail(&faults.render(paint(&io::stderr())), EXIT_USAGE),
    };
    let mut config = loaded.config.clone();
    config.store.is_indexed = is_indexed;
    let protocols = protocols.with_own(&config.protocols);
    let log = match log::start(&config.tracing) {
        Ok(log) => log,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    install_panic_hook();
    make_room_for_connections(&mut config);
    let (runtime, vehicles) = match Runtimes::build() {
        Ok(runtimes) => (runtimes.main, runtimes.vehicles),
        Err(error) => return fail(&error, EXIT_FAILURE),
    };
    let on_vehicles = vehicles.handle().clone();
    let outcome = runtime.block_on(start_and_run(config, protocols, &on_vehicles));
    // A task that hangs in a blocking call must not keep the process from ending.
    vehicles.shutdown_background();
    runtime.shutdown_background();
    // Its last lines come before the last word.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, exit_code(&error)),
    }
}

/// A signal during the start ends the node in order once it has started, so that the others hear that it
/// leaves; a start that outlasts the grace period is given up, and a second signal ends it at once.
async fn start_and_run(
    config: AppConfig,
    protocols: Registry,
    vehicles: &Handle,
) -> Result<(), AppError> {
    let mut signals = Signals::new()?;
    let grace_period = config.node.grace_period;
    let mut starting = pin!(App::start(config, protocols, vehicles));
    let signal = tokio::select! {
        // A signal that comes as the start ends is for the node that runs.
        biased;
        app = &mut starting => return app?.run(signals).await,
        signal = signals.next() => signal,
    };
    tracing::info!(
        signal,
        "stopping once started; a second signal ends at once"
    );
    let started = tokio::select! {
        biased;
        started = timeout(grace_period, starting) => started,
        signal = signals.next() => {
            tracing::warn!(signal, "ended at once, during the start");
            return Ok(());
        }
    };
    match started {
        Ok(app) => app?.end(&mut signals).await,
        Err(_) => tracing::warn!("the start did not end within the grace period; it is given up"),
    }
    Ok(())
}

/// Two runtimes, so that neither questions nor vehicles hold up the other.
struct Runtimes {
    main: Runtime,
    vehicles: Runtime,
}

impl Runtimes {
    /// The vehicles' sockets are served by half of the processors; writer, indexer and the index's
    /// own threads need the rest. Before one of their threads goes to sleep it naps, and finds all
    /// sockets that became readable meanwhile at once: with 15,000 connections and 20,000 lines a
    /// second on two processors a line then costs 21.0 µs in place of 24.7
    /// (`load-test bench --load fleet --without-index`; both floors about 15).
    fn build() -> io::Result<Self> {
        let n_processors = std::thread::available_parallelism().map_or(1, usize::from);
        let main = Builder::new_multi_thread()
            .worker_threads((n_processors / 4).max(1))
            .enable_all()
            .build()?;
        let vehicles = Builder::new_multi_thread()
            .worker_threads((n_processors / 2).max(1))
            .thread_name("vehicles")
            .on_thread_park(nap)
            .enable_all()
            .build()?;
        Ok(Self { main, vehicles })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the wait is the purpose, and on a thread that rests"
)]
fn nap() {
    std::thread::sleep(NAP);
}

const fn exit_code(error: &AppError) -> u8 {
    if error.is_failure_while_running() {
        EXIT_BUG
    } else {
        EXIT_FAILURE
    }
}
