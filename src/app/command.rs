//! The command line as a whole: which command is asked for, and who does it.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use super::run;
use crate::{
    cli::{
        ask::{self, AskError},
        check_config, decode, discovery, export, forget, keygen, nodes,
        out::{EXIT_USAGE, paint, with_stdout},
        ping, status, track, vehicle,
    },
    config::Environment,
};

/// Takes in the location streams of vehicles, stores them durably, and answers where they are.
#[derive(Debug, Parser)]
#[command(name = "waymesh", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node in the foreground
    Run(run::RunArgs),
    /// Check a configuration: all faults at once, or the values in force
    CheckConfig {
        /// The file [default: ./waymesh.toml if there is one]
        file: Option<PathBuf>,
    },
    /// Make a secret for a cluster: print 64 hex digits, or write them into a new file
    Keygen(keygen::KeygenArgs),
    /// Decode vehicles' lines from standard input, one JSON object a line
    Decode(decode::DecodeArgs),
    /// Show how a node is doing
    Status(status::StatusArgs),
    /// Show who belongs to the cluster, or follow who comes and goes
    Nodes(nodes::NodesArgs),
    /// Show why nodes find each other or do not; pause, resume, dial
    Discovery(discovery::DiscoveryArgs),
    /// Measure the way to another node and back
    Ping(ping::PingArgs),
    /// Strike off a node that is away for good
    Forget(forget::ForgetArgs),
    /// Show where a vehicle is
    Where(vehicle::WhereArgs),
    /// Show where a vehicle was
    Track(track::TrackArgs),
    /// Write every stored record as NDJSON
    Export(export::ExportArgs),
}

/// Runs the command that `arguments` (with the program's name first) ask for.
pub fn main<I, T>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let command = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.command,
        Err(error) => return explain(&error),
    };
    let paint = paint(&io::stdout());
    match command {
        Command::Run(args) => run::run(args),
        Command::CheckConfig { file } => with_stdout(|out| {
            let environment = Environment::of_process();
            check_config::check_config(file.as_deref(), environment, paint, out).map(ExitCode::from)
        }),
        Command::Keygen(args) => keygen::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Status(args) => ask(|out| status::status(&args, out)),
        Command::Nodes(args) => ask(|out| nodes::nodes(&args, paint, out)),
        Command::Discovery(args) => ask(|out| discovery::discovery(&args, paint, out)),
        Command::Ping(args) => ask(|out| ping::ping(&args, out)),
        Command::Forget(args) => ask(|out| forget::forget(&args, out)),
        Command::Where(args) => ask(|out| vehicle::locate(&args, out)),
        Command::Track(args) => ask(|out| track::track(&args, out)),
        Command::Export(args) => ask(|out| export::export(&args, out)),
    }
}

fn ask(question: impl FnOnce(&mut dyn Write) -> Result<(), AskError>) -> ExitCode {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let outcome = question(&mut stdout).and_then(|()| stdout.flush().map_err(AskError::from));
    ExitCode::from(ask::finish(outcome, &mut io::stderr()))
}

/// Help and version are what was asked for; everything else is wrong usage.
fn explain(error: &clap::Error) -> ExitCode {
    let is_written = error.print().is_ok();
    debug_assert!(
        is_written || !io::stderr().is_terminal(),
        "a terminal takes what is written"
    );
    if error.use_stderr() {
        ExitCode::from(EXIT_USAGE)
    } else {
        ExitCode::SUCCESS
    }
}
