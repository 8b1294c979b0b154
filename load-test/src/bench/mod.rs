//! `load-test bench`: what a line costs a node, beside what it costs the least server there can be.
//!
//! ```text
//! for each load, in short turns that alternate:   floor · node · floor · node · …
//!     connect and log in ─▶ send as the load says ─▶ all answered, index followed ─▶ processor time
//! ```
//!
//! The result is the ratio of the medians. Both servers say `durable` before they answer, on the
//! same disk, driven by the same thread of this process. A turn in which others used the machine, or
//! in which this tool itself was at its limit, is told as such; the figures stay. Of two nodes the
//! same is asked of lines that stay where they came in and of lines that another node owns.

mod cost;
mod drive;
mod forward;
mod line;
mod loads;
mod server;
mod table;

use std::{io, net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use tokio_util::sync::CancellationToken;
use waymesh::{base::machine, client::Client};

use self::{
    cost::{Reading, resident_bytes},
    drive::Driver,
    line::Lines,
    loads::{IDLE, IDLE_CONNECTIONS, LOADS, Load},
    server::{Server, Which},
    table::{Comparison, IdleTurn, LoadTurn, Outcome},
};
use crate::{
    EXIT_USAGE,
    out::{Out, Progress},
    told::{is_told, until_told},
};

/// Share of the machine that others may use in a turn before it counts as disturbed.
const DISTURBED_SHARE: f64 = 0.1;

/// Share of one processor at which this tool counts as its own limit.
const OWN_SHARE_MAX: f64 = 0.9;

/// Options of `bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  load-test bench\n  load-test bench --without-index --load fleet\n  \
    load-test bench --rounds 1 --seconds 2 --json\n  load-test bench --nodes 2 --load paced1000\n\n\
    Each answer must be the right one, and a node must store as many positions as it has answered.\n\
    Exit codes: 0 all turns came to their end, 1 one did not or the answers are wrong, 64 wrong \
    arguments."
)]
pub(crate) struct BenchArgs {
    /// Loads to run: fleet, flood100, flood1000, paced1000, idle [default: all]
    #[arg(long = "load", value_name = "NAME", value_delimiter = ',',
        value_parser = ["fleet", "flood100", "flood1000", "paced1000", "idle"])]
    loads: Vec<String>,
    /// 1 compares a node with the floor; 2 compares lines that are passed on with those that are not
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    nodes: u32,
    /// Turns of each side for each load
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of a turn
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Leave the index of the node out
    #[arg(long)]
    without_index: bool,
    /// Where the servers keep their files [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the bench; 0 if all turns came to their end, whatever their figures.
pub(crate) fn run(args: &BenchArgs) -> ExitCode {
    if let Err(why) = args.check() {
        Out.note(&format!("error: {why}"));
        return ExitCode::from(EXIT_USAGE);
    }
    match bench_in_folder(args) {
        Ok(lines) => {
            lines.iter().for_each(|line| Out.line(line));
            ExitCode::SUCCESS
        }
        Err(error) => {
            Out.note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What is told in the end.
fn bench_in_folder(args: &BenchArgs) -> io::Result<Vec<String>> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("waymesh-bench-");
    let folder = match &args.data {
        Some(data) => builder.tempdir_in(data)?,
        None => builder.tempdir()?,
    };
    machine::raise_descriptor_limit();
    machine::make_room_for_descriptors(IDLE_CONNECTIONS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let path = folder.path();
    let outcome = runtime.block_on(until_told(|told| bench_nodes(args, path, told)));
    outcome.map_err(|error| {
        // Who ends a run has no use for what it left.
        if is_told(&error) {
            return error;
        }
        let kept = folder.keep();
        let kept = kept.display();
        io::Error::other(format!(
            "{error}; data and logs of the servers are kept in {kept}"
        ))
    })
}

async fn bench_nodes(
    args: &BenchArgs,
    folder: &Path,
    told: CancellationToken,
) -> io::Result<Vec<String>> {
    let json = |outcome: serde_json::Result<String>| outcome.map_err(io::Error::other);
    if args.nodes > 1 {
        let outcome = forward::bench(args, folder, told).await?;
        return match args.json {
            true => Ok(vec![json(serde_json::to_string(&outcome))?]),
            false => Ok(outcome.lines()),
        };
    }
    let outcome = bench(args, folder, told).await?;
    match args.json {
        true => Ok(vec![json(serde_json::to_string(&outcome))?]),
        false => Ok(table::lines(&outcome)),
    }
}

impl BenchArgs {
    /// Two nodes have no floor beside them that idle connections could be compared with.
    fn check(&self) -> Result<(), &'static str> {
        let is_one = self.nodes == 1 || !self.loads().is_empty();
        is_one.then_some(()).ok_or(
            "the load idle is measured with --nodes 1 alone: name another load for two nodes",
        )
    }

    fn is_asked(&self, name: &str) -> bool {
        self.loads.is_empty() || self.loads.iter().any(|load| load == name)
    }

    fn loads(&self) -> Vec<Load> {
        let loads = LOADS.into_iter();
        loads.filter(|load| self.is_asked(load.name)).collect()
    }
}

async fn bench(args: &BenchArgs, folder: &Path, told: CancellationToken) -> io::Result<Outcome> {
    let loads = args.loads();
    let mut bench = Bench {
        node: Which::Node {
            is_indexed: !args.without_index,
        },
        folder,
        told,
        progress: Progress::new(loads.len() as u64 * u64::from(args.rounds) * 2 + 2),
        n_steps: 0,
    };
    let idle = if args.is_asked(IDLE) {
        Some(bench.idle().await?)
    } else {
        None
    };
    let mut comparisons = Vec::new();
    for load in &loads {
        comparisons.push(bench.compare(load, args).await?);
    }
    bench.progress.finish();
    Ok(Outcome {
        is_indexed: !args.without_index,
        rounds: args.rounds,
        seconds: args.seconds,
        loads: comparisons,
        idle,
    })
}

struct Bench<'a> {
    node: Which,
    folder: &'a Path,
    told: CancellationToken,
    progress: Progress,
    n_steps: u64,
}

/// A server with what its vehicles will say.
struct Side {
    name: &'static str,
    server: Server,
    vehicles: Vehicles,
}

/// Vehicles and what they will say.
struct Vehicles {
    names: Vec<String>,
    lines: Vec<Lines>,
}

impl Vehicles {
    fn new(names: Vec<String>) -> Self {
        let lines = vec![Lines::new(); names.len()];
        Self { names, lines }
    }
}

impl Bench<'_> {
    fn stand(&mut self, what: &str) {
        self.progress.stand(self.n_steps, what);
        self.n_steps += 1;
    }

    /// One load on both servers, in turns.
    async fn compare(&mut self, load: &Load, args: &BenchArgs) -> io::Result<Comparison> {
        let folder = self.folder.join(load.name);
        let mut sides = Vec::new();
        for (name, which) in [("floor", Which::Floor), ("node", self.node)] {
            sides.push(Side {
                name,
                server: Server::start(which, &folder.join(name)).await?,
                vehicles: Vehicles::new((0..load.n_connections).map(Lines::vehicle).collect()),
            });
        }
        let duration = Duration::from_secs(args.seconds.into());
        let (mut floor, mut node) = (Vec::new(), Vec::new());
        for round in 1..=args.rounds {
            for (side, turns) in sides.iter_mut().zip([&mut floor, &mut node]) {
                self.stand(&format!("{}, round {round} of {}", load.name, args.rounds));
                let turn = || side.turn((load, duration), &self.told);
                let turn = tokio::task::block_in_place(turn);
                turns.push(turn.map_err(|error| side.explain(load, error))?);
            }
        }
        Ok(Comparison::new(load.name, floor, node))
    }

    /// Connections that log in and rest.
    async fn idle(&mut self) -> io::Result<table::IdleComparison> {
        let folder = self.folder.join(IDLE);
        let mut turns = Vec::new();
        for (name, which) in [("floor", Which::Floor), ("node", self.node)] {
            self.stand(&format!("{IDLE}, {name}"));
            let server = Server::start(which, &folder.join(name)).await?;
            turns.push(tokio::task::block_in_place(|| {
                idle_turn(&server, &self.told)
            })?);
        }
        let mut turns = turns.into_iter();
        let both = turns.next().zip(turns.next());
        let (floor, node) = both.ok_or_else(|| io::Error::other("a turn is missing"))?;
        Ok(table::IdleComparison {
            n_connections: IDLE_CONNECTIONS,
            floor,
            node,
        })
    }
}

impl Side {
    fn turn(&mut self, load: (&Load, Duration), told: &CancellationToken) -> io::Result<LoadTurn> {
        let processes = [self.server.process()?];
        let server = (self.server.address()?, processes.as_slice());
        let clients = self.server.clients()?;
        self.vehicles.turn(server, load, (&clients, told))
    }

    /// Why a turn failed, with what the server has said of it; that is over with.
    fn explain(&mut self, load: &Load, error: io::Error) -> io::Error {
        if is_told(&error) {
            return error;
        }
        let said = self.server.last_words();
        io::Error::other(format!("{}, {}: {error}{said}", load.name, self.name))
    }
}

impl Vehicles {
    /// Connects all, sends as the load says, and waits until all is answered and settled; then all
    /// that was answered must be stored, as the nodes among the servers say.
    fn turn(
        &mut self,
        (address, processes): (SocketAddr, &[u32]),
        load: (&Load, Duration),
        (nodes, told): (&[Client], &CancellationToken),
    ) -> io::Result<LoadTurn> {
        let (mut driver, connected) = Driver::connect(address, &self.names, told)?;
        let n_stored = server::n_stored(nodes)?;
        let before = Reading::now(processes)?;
        let answered = driver.run(load, &mut self.lines, told)?;
        let (load, _) = load;
        let sent = before.until(&Reading::now(processes)?);
        nodes
            .iter()
            .try_for_each(|node| server::settle(node, told))?;
        let spent = before.until(&Reading::now(processes)?);
        if !nodes.is_empty() {
            let n_stored = server::n_stored(nodes)?.saturating_sub(n_stored);
            server::check_stored(answered.n_lines, n_stored)?;
        }
        let micros = |quantile| answered.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let rate = answered.n_lines as f64 / answered.seconds;
        let is_behind = load
            .lines_per_second
            .is_some_and(|asked| rate < 0.97 * f64::from(asked));
        Ok(LoadTurn {
            n_lines: answered.n_lines,
            cpu_micros_per_line: spent.server_seconds * 1e6 / answered.n_lines.max(1) as f64,
            lines_per_second: rate,
            connections_per_second: load.n_connections as f64 / connected.as_secs_f64(),
            answer_ms_p50: micros(0.5),
            answer_ms_p99: micros(0.99),
            others_share: spent.others_share,
            is_disturbed: spent.others_share > DISTURBED_SHARE,
            is_tool_the_limit: sent.own_share > OWN_SHARE_MAX,
            is_behind,
        })
    }
}

fn idle_turn(server: &Server, told: &CancellationToken) -> io::Result<IdleTurn> {
    let process = server.process()?;
    // What the first connections make once is not theirs.
    let vehicles: Vec<String> = (0..IDLE_CONNECTIONS).map(Lines::vehicle).collect();
    let first: Vec<String> = vehicles.iter().take(100).cloned().collect();
    drop(Driver::connect(server.address()?, &first, told)?);
    let before = resident_bytes(process)?;
    let (driver, took) = Driver::connect(server.address()?, &vehicles, told)?;
    let bytes = resident_bytes(process)?.saturating_sub(before);
    drop(driver);
    Ok(IdleTurn {
        bytes_per_connection: bytes as f64 / IDLE_CONNECTIONS as f64,
        connections_per_second: IDLE_CONNECTIONS as f64 / took.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
    };

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        args: BenchArgs,
    }

    /// Answers each vehicle as it should be.
    fn serve_vehicles(listener: &TcpListener) -> io::Result<()> {
        let (socket, _) = listener.accept()?;
        let mut answers = socket.try_clone()?;
        for line in BufReader::new(socket).lines() {
            let is_login = line?.starts_with("#L#");
            let answer = if is_login { "#AL#1\r\n" } else { "#ASD#1\r\n" };
            answers.write_all(answer.as_bytes())?;
        }
        Ok(())
    }

    /// Says that nothing was stored and nothing is to be done, to whoever asks.
    fn serve_metrics(listener: &TcpListener) -> io::Result<()> {
        let text = "waymesh_positions_stored_total 0\nwaymesh_index_lag_records 0\n";
        loop {
            let (socket, _) = listener.accept()?;
            let mut answers = socket.try_clone()?;
            let lines = BufReader::new(socket).lines();
            for _ in lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
            {}
            let n_bytes = text.len();
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
            answers.write_all(format!("{head} {n_bytes}\r\n\r\n{text}").as_bytes())?;
        }
    }

    #[test]
    fn a_node_that_answers_and_stores_nothing_is_no_success() {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (vehicles, metrics) = (listen(), listen());
        let address = vehicles.local_addr().unwrap();
        let node = format!("http://{}", metrics.local_addr().unwrap());
        let node = Client::new(&node).unwrap();
        // They end with the test.
        drop(std::thread::spawn(move || serve_vehicles(&vehicles)));
        drop(std::thread::spawn(move || serve_metrics(&metrics)));
        let load = Load {
            name: "test",
            n_connections: 1,
            lines_per_write: 1,
            lines_per_second: None,
            writes_in_flight_max: 1,
        };
        let turn = Vehicles::new(vec!["v".to_owned()]).turn(
            (address, &[std::process::id()]),
            (&load, Duration::from_millis(20)),
            (&[node], &CancellationToken::new()),
        );
        let error = turn.err().unwrap().to_string();
        assert!(error.contains("0 positions stored"), "{error}");
    }

    #[test]
    fn two_nodes_are_not_measured_idle() {
        let check = |arguments: &str| {
            let arguments = std::iter::once("bench").chain(arguments.split_whitespace());
            Arguments::parse_from(arguments).args.check()
        };
        assert!(check("--nodes 2 --load idle").is_err());
        for arguments in [
            "",
            "--nodes 2",
            "--load idle",
            "--nodes 2 --load idle,fleet",
        ] {
            assert!(check(arguments).is_ok(), "{arguments}");
        }
    }
}
