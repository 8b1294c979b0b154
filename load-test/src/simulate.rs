//! `load-test simulate`: a fleet of any size and pace against a node that runs, or one of its own.

use std::process::ExitCode;

use waymesh::{base::time::wall_millis, client::Client};

use crate::{
    EXIT_USAGE,
    device::{Language, Protocol},
    fleet::Faults,
    out::Out,
    simulation::{self, NodeChoice, Pace, Simulation},
};

/// Options of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    load-test simulate\n  \
    load-test simulate --node http://127.0.0.1:8080 --vehicles 5000 --rate 20000 --seconds 60\n  \
    load-test simulate --vehicles 200 --rate-each 5 --reconnects 2 --kills 3 --seed 7 --json\n\n\
    The books balance if all that was acknowledged is stored, once and unaltered. Where a protocol \
    has no\nanswers, what went over a connection that both sides closed in order counts as \
    acknowledged;\none that its node did not end in order is a fault, unless it was killed meanwhile.\nAcknowledgement times run from the moment at which a line was due: a line that waits \
    for the answer to the\none before it, or for a node, counts that too.\nExit codes: 0 the books balance, 1 they do not or no node answers, 64 wrong \
    arguments.")]
pub(crate) struct SimulateArgs {
    /// Node that runs, by the address it answers questions at [default: one is started for the run]
    #[arg(long, value_name = "URL", value_parser = node_url)]
    node: Option<String>,
    /// Where vehicles connect to that node [default: as the node says]
    #[arg(long, value_name = "ADDR", requires = "node")]
    target: Option<String>,
    /// Protocols of the vehicles, in turn [default: all that can be spoken]
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    protocol: Vec<Protocol>,
    /// Vehicles
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    vehicles: u32,
    /// Connections at the same time; vehicles beyond them take turns [default: one for each vehicle]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<u32>,
    /// Reports a second, of all connected vehicles together
    #[arg(long, value_name = "REPORTS", conflicts_with = "rate_each")]
    rate: Option<f64>,
    /// Reports a second, of each connected vehicle [default: 1]
    #[arg(long, value_name = "REPORTS")]
    rate_each: Option<f64>,
    /// Seconds for which they report, all turns together
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Lines that a vehicle sends ahead of their answers; 1 waits for each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    window: u32,
    /// Makes the run the same again, but for the times and names [default: of the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Of a hundred reports so many are followed by a lost connection
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", value_parser = percent)]
    reconnects: f64,
    /// Of a hundred reports so many begin a dead spot, after which an archive is sent
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", value_parser = percent)]
    dead_spots: f64,
    /// Of a hundred lines so many are spoiled: they must be rejected
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", value_parser = percent)]
    spoiled: f64,
    /// How often the node is killed with -9 on the way; only one that is started for the run
    #[arg(long, default_value_t = 0, conflicts_with = "node", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    kills: u32,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the simulation; 0 if the books balance.
pub(crate) fn run(args: &SimulateArgs) -> ExitCode {
    let choice = match &args.node {
        Some(url) => NodeChoice::Running {
            url: url.clone(),
            vehicles: args.target.clone(),
        },
        None => NodeChoice::Own(1),
    };
    match args.simulation(wall_millis()) {
        Ok(simulation) => simulation::run(&simulation, &choice),
        Err(why) => {
            Out.note(&format!("load-test: {why}"));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

impl SimulateArgs {
    /// What is asked for, at a wall time.
    fn simulation(&self, now_millis: i64) -> Result<Simulation, String> {
        let n_connections = self.connections.unwrap_or(self.vehicles).min(self.vehicles);
        let rate_each = match (self.rate, self.rate_each) {
            (Some(rate), _) => rate / f64::from(n_connections),
            (None, rate_each) => rate_each.unwrap_or(1.0),
        };
        if !(1e-4..=1_000.0).contains(&rate_each) {
            return Err(format!(
                "{rate_each} reports a second of each vehicle: from 0.0001 to 1000 are possible"
            ));
        }
        let n_turns = self.vehicles.div_ceil(n_connections);
        let turn_seconds = f64::from(self.seconds) / f64::from(n_turns);
        if turn_seconds * rate_each < 1.0 {
            return Err(format!(
                "in {turn_seconds:.1} s for each vehicle ({n_turns} turns) not one report is due at \
                 {rate_each} a second: take more --seconds or --connections, or a higher rate"
            ));
        }
        let all = [Protocol::Wialon, Protocol::Nmea];
        let protocols = if self.protocol.is_empty() {
            &all[..]
        } else {
            &self.protocol
        };
        let languages: Vec<Language> = protocols
            .iter()
            .flat_map(|protocol| protocol.languages())
            .copied()
            .collect();
        Ok(Simulation {
            seed: self.seed.unwrap_or(now_millis.unsigned_abs()),
            // Of the clock, so that no run meets the vehicles of another.
            identity: format!("sim-{now_millis:x}-"),
            n_vehicles: self.vehicles,
            n_connections,
            n_seconds: self.seconds,
            pace: Pace::of_rate(rate_each),
            languages,
            windows: vec![self.window as usize],
            faults: Faults {
                spoiled_percent: self.spoiled,
                reconnect_percent: self.reconnects,
                dead_spot_percent: self.dead_spots,
            },
            n_kills: self.kills,
            is_json: self.json,
        })
    }
}

fn node_url(text: &str) -> Result<String, String> {
    let known = Client::new(text).map_err(|error| error.to_string());
    known.map(|_| text.to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    let is_percent = (0.0..=50.0).contains(&number);
    is_percent
        .then_some(number)
        .ok_or_else(|| "it must lie from 0 to 50".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn simulation(arguments: &str) -> Result<Simulation, String> {
        let arguments = std::iter::once("simulate").chain(arguments.split_whitespace());
        let parsed = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        parsed.args.simulation(0x1234)
    }

    #[test]
    fn a_rate_in_all_is_shared_by_the_connections() {
        let simulation = simulation("--vehicles 100 --connections 20 --rate 40").unwrap();
        assert_eq!(simulation.pace, Pace::of_rate(2.0));
        assert_eq!(simulation.n_connections, 20);
        assert_eq!(simulation.identity, "sim-1234-");
    }

    #[test]
    fn all_protocols_are_spoken_unless_some_are_named() {
        let languages = |arguments: &str| simulation(arguments).unwrap().languages;
        let wialon = vec![Language::WialonOne, Language::WialonTwo];
        assert_eq!(languages("--protocol wialon"), wialon);
        assert_eq!(languages(""), [&wialon[..], &[Language::Nmea]].concat());
    }

    #[test]
    fn what_cannot_be_simulated_is_refused_with_a_remedy() {
        for (arguments, expected) in [
            (
                "--vehicles 100 --connections 1 --seconds 10",
                "more --seconds",
            ),
            ("--rate-each 100000", "from 0.0001 to 1000"),
            ("--rate-each nan", "from 0.0001 to 1000"),
            ("--node http://a --kills 1", "cannot be used"),
            ("--node nonsense", "is not the URL of a node"),
            ("--target a:1", "--node"),
            ("--spoiled 99", "from 0 to 50"),
            ("--rate 5 --rate-each 5", "cannot be used"),
            ("--protocol morse", "possible values"),
        ] {
            let error = simulation(arguments).err().unwrap_or_default();
            assert!(error.contains(expected), "{arguments}: {error}");
        }
    }
}
