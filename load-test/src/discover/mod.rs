//! `load-test discover`: nodes that find each other, as a time line to look at.
//!
//! ```text
//! lan (namespaces) ◀─ nodes (processes) ─logs─▶ story (pure: who sees whom since when)
//!        ▲               ▲                        │
//!        └── stage: starts, kills, parts, waits ◀─┴─▶ chart, outcome (pure)
//! ```

mod chart;
mod lan;
mod nodes;
mod outcome;
mod stage;

use std::{io, process::ExitCode, time::Duration};

use self::{
    lan::Lan,
    outcome::Outcome,
    stage::{Pace, Stage},
};
use crate::{out::Out, told::until_told};

/// Up to so many nodes each event is a line of its own; of more, each node is.
const LISTED_MAX: usize = 4;

/// Options of `discover`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  load-test discover 20\n  load-test discover 5 --kill --cut --part\n  \
    load-test discover 50 --one-by-one --json"
)]
pub(crate) struct DiscoverArgs {
    /// Nodes that find each other
    #[arg(default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=200))]
    nodes: u32,
    /// Seconds of rest that are watched after that
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    seconds: u32,
    /// Start each node when the ones before it see each other, not all at once
    #[arg(long)]
    one_by_one: bool,
    /// Milliseconds from one start to the next: a node costs a processor some 15 ms to start, which
    /// would be measured where all start at once
    #[arg(long, conflicts_with = "one_by_one", default_value_t = 0, value_name = "MS",
        value_parser = clap::value_parser!(u32).range(0..=10_000))]
    apart: u32,
    /// Then kill the last node with -9, and start it again
    #[arg(long)]
    kill: bool,
    /// Then cut the last node off without a word, and mend that
    #[arg(long)]
    cut: bool,
    /// Then part the nodes into halves for 10 s, and join them
    #[arg(long)]
    part: bool,
    /// All nodes on loopback, also where namespaces could be made
    #[arg(long, conflicts_with_all = ["cut", "part"])]
    loopback: bool,
    /// Print the figures as one JSON object, and nothing else
    #[arg(long)]
    json: bool,
}

impl DiscoverArgs {
    fn pace(&self) -> Pace {
        if self.one_by_one {
            return Pace::OneByOne;
        }
        Pace::Apart(Duration::from_millis(self.apart.into()))
    }
}

/// Shows it; 0 if all saw what there was to see.
pub(crate) fn run(args: &DiscoverArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = runtime.and_then(|runtime| runtime.block_on(until_told(|_| discover(args))));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Out.note(&format!("load-test: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn discover(args: &DiscoverArgs) -> io::Result<()> {
    let n_nodes = args.nodes as usize;
    let folder = tempfile::tempdir()?;
    let lan = make_lan(args, n_nodes)?;
    let mut stage = Stage::new(n_nodes, folder.path(), lan)?;
    let outcome = act(args, &mut stage).await;
    drop(stage);
    if let Err(error) = outcome {
        let kept = folder.keep();
        let why = format!("{error}; the logs are kept in {}", kept.display());
        return Err(io::Error::other(why));
    }
    Ok(())
}

fn make_lan(args: &DiscoverArgs, n_nodes: usize) -> io::Result<Option<Lan>> {
    if args.loopback {
        return Ok(None);
    }
    match Lan::new(n_nodes) {
        Ok(lan) => Ok(Some(lan)),
        Err(error) if args.cut || args.part => Err(error),
        Err(error) => {
            Out.note(&format!(
                "no network namespaces ({error}): all nodes on loopback"
            ));
            Ok(None)
        }
    }
}

async fn act(args: &DiscoverArgs, stage: &mut Stage) -> io::Result<()> {
    let mut outcome = stage.form(args.pace()).await?;
    if !args.json {
        show(stage, &outcome);
    }
    stage.rest(args.seconds, &mut outcome).await?;
    if args.kill {
        stage.kill_and_restart(&mut outcome).await?;
    }
    if args.cut {
        stage.cut_off(&mut outcome).await?;
    }
    if args.part {
        stage.part(&mut outcome).await?;
    }
    if args.json {
        let json = serde_json::to_string(&outcome).map_err(io::Error::other)?;
        Out.line(&json);
        return Ok(());
    }
    Out.line("");
    outcome.table().iter().for_each(|line| Out.line(line));
    Ok(())
}

/// The formation as it happened.
fn show(stage: &Stage, outcome: &Outcome) {
    let n_nodes = outcome.nodes;
    let (story, (from, to)) = stage.told();
    Out.line(&format!("{n_nodes} nodes, {}", outcome.network));
    if n_nodes <= LISTED_MAX {
        let lines = chart::list(story, from);
        lines.iter().for_each(|line| Out.line(line));
    }
    let lines = chart::chart(story, n_nodes, (from, to));
    lines.iter().for_each(|line| Out.line(line));
    Out.line(&format!("       {}", chart::LEGEND));
}
