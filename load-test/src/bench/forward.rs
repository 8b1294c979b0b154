//! What a line costs that comes in at one node and is owned by another, beside one that stays where it
//! came in.
//!
//! Two nodes, and vehicles that all connect to the first. In turns that alternate, either all are its
//! own or all are the other's: whose they are follows from their names and the nodes'. Processor
//! time is that of both nodes together.

use std::{io, path::Path, time::Duration};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use waymesh::{
    client::Client,
    cluster::proto::{
        NodeName,
        shard_map::{ShardId, ShardMap},
    },
    types::ids::{NodeId, VehicleId},
};

use super::{
    BenchArgs, Vehicles,
    line::Lines,
    loads::Load,
    table::{LoadTurn, Side, remarks},
};
use crate::{
    cluster::{Cluster, sample},
    out::Progress,
};

/// What a forwarded line may cost, in local ones.
const GOAL: f64 = 1.5;

/// Share of the lines that must have been forwarded where all should be, or kept where none should.
const WHOLE: f64 = 0.99;

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    formed_by: &'static str,
    is_indexed: bool,
    rounds: u32,
    seconds: u32,
    loads: Vec<Comparison>,
}

/// One load with lines of both kinds.
#[derive(Debug, Serialize)]
struct Comparison {
    load: &'static str,
    /// Median of forwarded over median of local, in processor time of both nodes a line.
    ratio: f64,
    is_goal_met: bool,
    local: Side,
    forwarded: Side,
}

struct Pair {
    cluster: Cluster,
    clients: Vec<Client>,
    told: CancellationToken,
}

/// Runs the loads that are asked for.
///
/// # Errors
/// Nodes that do not form, or that do not share vehicles as their names say; lines that are not
/// forwarded where they should be.
pub(super) async fn bench(
    args: &BenchArgs,
    folder: &Path,
    told: CancellationToken,
) -> io::Result<Outcome> {
    let loads = args.loads();
    let n_steps = loads.len() as u64 * u64::from(args.rounds) * 2;
    let progress = Progress::new(n_steps);
    let mut comparisons = Vec::new();
    let mut formed_by = "";
    for (number, load) in loads.iter().enumerate() {
        let folder = folder.join(load.name);
        std::fs::create_dir_all(&folder)?;
        let cluster = Cluster::start_with(&folder, 2, !args.without_index).await?;
        formed_by = cluster.formation().way;
        let clients = cluster.clients()?;
        let pair = Pair {
            cluster,
            clients,
            told: told.clone(),
        };
        let n_done = number as u64 * u64::from(args.rounds) * 2;
        comparisons.push(pair.compare(load, args, (&progress, n_done)).await?);
    }
    progress.finish();
    Ok(Outcome {
        formed_by,
        is_indexed: !args.without_index,
        rounds: args.rounds,
        seconds: args.seconds,
        loads: comparisons,
    })
}

impl Pair {
    async fn compare(
        &self,
        load: &Load,
        args: &BenchArgs,
        (progress, mut n_done): (&Progress, u64),
    ) -> io::Result<Comparison> {
        let map = self.shard_map().await?;
        let mut kinds = [(Vec::new(), false), (Vec::new(), true)].map(|(turns, is_forwarded)| {
            let owner = NodeId(if is_forwarded { 2 } else { 1 });
            let names = vehicles_of(&map, owner, load.n_connections);
            (turns, is_forwarded, Vehicles::new(names))
        });
        for round in 1..=args.rounds {
            for (turns, is_forwarded, vehicles) in &mut kinds {
                let kind = if *is_forwarded { "forwarded" } else { "local" };
                let what = format!("{}, {kind}, round {round} of {}", load.name, args.rounds);
                progress.stand(n_done, &what);
                n_done += 1;
                let duration = Duration::from_secs(args.seconds.into());
                turns.push(self.turn(load, (duration, *is_forwarded), vehicles).await?);
            }
        }
        let [local, forwarded] = kinds.map(|(turns, ..)| Side::new(turns));
        let ratio = forwarded.cpu_micros_per_line / local.cpu_micros_per_line;
        Ok(Comparison {
            load: load.name,
            ratio,
            is_goal_met: ratio <= GOAL,
            local,
            forwarded,
        })
    }

    async fn turn(
        &self,
        load: &Load,
        (duration, is_forwarded): (Duration, bool),
        vehicles: &mut Vehicles,
    ) -> io::Result<LoadTurn> {
        let first = self.cluster.addresses()?;
        let first = first.first().map(|known| known.vehicles);
        let first = first.ok_or_else(|| io::Error::other("no node runs"))?;
        let processes = self.cluster.processes();
        let before = self.n_forwarded().await?;
        let turn = tokio::task::block_in_place(|| {
            let nodes = (self.clients.as_slice(), &self.told);
            vehicles.turn((first, &processes), (load, duration), nodes)
        })?;
        let n_forwarded = self.n_forwarded().await? - before;
        let share = n_forwarded as f64 / turn.n_lines.max(1) as f64;
        let is_as_meant = if is_forwarded {
            share >= WHOLE
        } else {
            share <= 1.0 - WHOLE
        };
        if is_as_meant {
            return Ok(turn);
        }
        let n_lines = turn.n_lines;
        let meant = if is_forwarded { "all" } else { "none" };
        Err(io::Error::other(format!(
            "{n_forwarded} of {n_lines} lines were forwarded where {meant} should be"
        )))
    }

    /// Positions that the other node has acknowledged to the first so far.
    async fn n_forwarded(&self) -> io::Result<u64> {
        let samples = sample::ask_all(&self.clients).await;
        let first = samples.into_iter().next();
        let first = first.ok_or_else(|| io::Error::other("no node runs"))?;
        Ok(first.map_err(io::Error::other)?.forwarded_out)
    }

    /// Who owns what, by the names of the nodes; held against what the nodes say.
    async fn shard_map(&self) -> io::Result<ShardMap> {
        let names = self.cluster.names();
        let members = (1..).zip(&names).map(|(number, name)| {
            let name = NodeName::parse(name).map_err(io::Error::other)?;
            Ok((name, NodeId(number)))
        });
        let map = ShardMap::new(members.collect::<io::Result<Vec<_>>>()?);
        let told = sample::settled(&self.clients).await?;
        let told = told.iter().map(|sample| sample.owned_shards as usize);
        let expected = (1..).map(|number| map.n_owned(NodeId(number)));
        if told.zip(expected).all(|(told, expected)| told == expected) {
            return Ok(map);
        }
        let why = "the nodes share vehicles otherwise than their names say";
        Err(io::Error::other(why))
    }
}

/// The first so many vehicles that a node owns.
fn vehicles_of(map: &ShardMap, owner: NodeId, n_vehicles: usize) -> Vec<String> {
    let is_its = |name: &String| {
        let vehicle = VehicleId::parse(name.as_bytes());
        vehicle.is_ok_and(|vehicle| map.owner(ShardId::of(&vehicle)) == Some(owner))
    };
    let names = (0..).map(Lines::vehicle).filter(is_its);
    names.take(n_vehicles).collect()
}

impl Outcome {
    /// The outcome for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let index = if self.is_indexed { "with" } else { "without" };
        let (rounds, seconds) = (self.rounds, self.seconds);
        let mut lines = vec![
            format!(
                "processor time of both nodes a line, in microseconds, {index} the index; medians \
                 of {rounds} turns of {seconds} s; goal: a forwarded line costs at most {GOAL} \
                 local ones"
            ),
            format!(
                "{:<10} {:>7} {:>13} {:>9} {:>13} {:>6} {:>11} {:>11} {:>13}",
                "load", "local", "", "forwarded", "", "ratio", "local /s", "forw. /s", "p50/p99 ms"
            ),
        ];
        lines.extend(self.loads.iter().map(Comparison::line));
        lines.extend(self.loads.iter().flat_map(|load| {
            let sides = [("local", &load.local), ("forwarded", &load.forwarded)];
            remarks(load.load, sides)
        }));
        lines
    }
}

impl Comparison {
    fn line(&self) -> String {
        let (local, forwarded) = (&self.local, &self.forwarded);
        format!(
            "{:<10} {:>7.2} {:>13} {:>9.2} {:>13} {:>6.2} {:>11.0} {:>11.0} {:>6.1}/{:<6.1}{}",
            self.load,
            local.cpu_micros_per_line,
            local.spread(),
            forwarded.cpu_micros_per_line,
            forwarded.spread(),
            self.ratio,
            local.lines_per_second,
            forwarded.lines_per_second,
            forwarded.answer_ms_p50,
            forwarded.answer_ms_p99,
            if self.is_goal_met {
                ""
            } else {
                " over the goal"
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vehicles_are_chosen_by_their_owner() {
        let name = |name: &str| NodeName::parse(name).unwrap();
        let map = ShardMap::new([(name("n01"), NodeId(1)), (name("n02"), NodeId(2))]);
        let [one, two] = [1, 2].map(|owner| vehicles_of(&map, NodeId(owner), 500));
        assert_eq!((one.len(), two.len()), (500, 500));
        assert!(one.iter().all(|vehicle| !two.contains(vehicle)));
    }
}
