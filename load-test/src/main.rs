//! Drives nodes like a fleet does, breaks them on purpose, and proves the books.
//!
//! ```text
//! fleet (pure: who drives where) ─▶ device (sockets: says it, keeps what is not acknowledged)
//!                                      │ what was sent and acknowledged
//! nodes as child processes, or one ──▶ books (pure) ◀─ read back over HTTP from every node
//! that runs (demo, simulate)
//! ```
//!
//! This tool must not look into a node: it knows sockets, HTTP and `/proc` only. It links the
//! node's library so that one build gives both, and runs itself as `load-test node …` where it needs
//! a node.

mod bench;
mod books;
mod cluster;
mod demo;
mod device;
mod discover;
mod family;
mod fleet;
mod floor;
mod node_process;
mod out;
mod replay;
mod simulate;
mod simulation;
mod story;
mod told;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// That of the node, which this program is too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for wrong arguments.
const EXIT_USAGE: u8 = 64;

/// Drives waymesh nodes with simulated and recorded vehicles, and proves that nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "load-test", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start nodes that find each other, drive a fleet, kill a node with -9, and compare what each of
    /// them gives back
    Demo(demo::DemoArgs),
    /// Drive a node with simulated vehicles, and compare what it stored
    Simulate(simulate::SimulateArgs),
    /// Send recorded lines to a node, shifted in time and identity
    Replay(replay::ReplayArgs),
    /// Compare what a line costs a node with what it costs the least server there can be
    Bench(bench::BenchArgs),
    /// Show how nodes find each other, and how they see each other go
    Discover(discover::DiscoverArgs),
    /// Run the least server there can be, the baseline of `bench`
    Floor(floor::FloorArgs),
    /// Run a node, with the options of `waymesh run`
    #[command(disable_help_flag = true)]
    Node {
        /// Options of `waymesh run`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
}

fn main() -> ExitCode {
    let command = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(error) => {
            let is_written = error.print().is_ok();
            let is_wrong = error.use_stderr() || !is_written;
            return if is_wrong {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Discover(args) => discover::run(&args),
        Command::Floor(args) => floor::run(&args),
        Command::Node { options } => {
            let head = ["waymesh", "run"].map(str::to_owned);
            waymesh::app::main(head.into_iter().chain(options))
        }
    }
}
