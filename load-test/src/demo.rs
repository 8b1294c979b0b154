//! `load-test demo`: nodes that find each other, a fleet, a kill in the middle, and the books.

use std::process::ExitCode;

use waymesh::base::time::wall_millis;

use crate::{
    device::Language,
    fleet::Faults,
    simulation::{self, NodeChoice, Pace, Simulation},
};

/// Seconds of driving in one second of the demo.
const SPEED: f64 = 5.0;

/// Lines ahead of their answers, by vehicle: every fifth does not wait.
const WINDOWS: [usize; 5] = [1, 8, 1, 1, 1];

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
    load-test demo --nodes 5 --vehicles 10000 --seconds 60 --kills 5\n  \
    load-test demo --nodes 1\n  load-test demo --seed 7 --json\n\n\
    Of several nodes each finds the others by multicast on loopback, or by static peers where there \
    is\nnone. The books balance if every node gives back all that was acknowledged, once and \
    unaltered.\nAcknowledgement times run from the moment at which a line was due: a line that waits \
    for the answer to the\none before it, or for a node, counts that too.\nExit codes: 0 the books balance, 1 they do not, 64 wrong arguments.")]
pub(crate) struct DemoArgs {
    /// Nodes, over which the vehicles are spread
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    nodes: u32,
    /// Vehicles that connect
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=18_000))]
    vehicles: u32,
    /// Seconds for which they report
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Seconds of driving between two reports of a vehicle; five pass in one second of the demo
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    interval: u32,
    /// How often a node is killed with -9 on the way; of several each in its turn
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

/// Runs the demo; 0 if the books balance.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    use Language::{Nmea, WialonOne, WialonTwo};
    let fifth = match args.protocol {
        Mix::Mix => Nmea,
        Mix::Wialon => WialonTwo,
    };
    let simulation = Simulation {
        seed: args.seed.unwrap_or_else(|| wall_millis().unsigned_abs()),
        identity: "demo-".to_owned(),
        n_vehicles: args.vehicles,
        n_connections: args.vehicles,
        n_seconds: args.seconds,
        pace: Pace {
            interval_seconds: args.interval,
            speed: SPEED,
        },
        languages: vec![WialonOne, WialonTwo, WialonOne, WialonTwo, fifth],
        windows: WINDOWS.to_vec(),
        faults: Faults::SOME,
        n_kills: args.kills,
        is_json: args.json,
    };
    simulation::run(&simulation, &NodeChoice::Own(args.nodes as usize))
}
