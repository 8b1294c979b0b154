//! Nodes that are killed with -9 on the way, and started again.

use std::{io, time::Duration};

use serde::Serialize;
use waymesh::base::time::Instant;

use crate::{cluster::Cluster, device::Run, out::Progress};

/// How long a node of several stays dead, so that the others serve its vehicles meanwhile.
const DEAD: Duration = Duration::from_secs(2);

/// How many kills are told while they happen.
const TOLD_MAX: usize = 3;

/// When nodes are killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kills {
    pub(super) n_kills: u32,
    /// The time that they are spread over evenly: one is in the middle.
    pub(super) time: Duration,
    /// Chooses the first node; those after it follow in their order.
    pub(super) seed: u64,
}

/// What became of a node that was killed, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Killed {
    pub(super) node: String,
    /// Since the start of the run.
    pub(super) at_ms: u64,
    /// From the kill until the last of the others had seen it.
    pub(super) seen_after_ms: f64,
    /// For how long it was left dead.
    pub(super) dead_ms: u64,
    /// From its start until it was ready.
    pub(super) ready_after_ms: u64,
}

impl Kills {
    /// Kills, waits, and starts again, until all kills are done and all nodes see each other.
    ///
    /// # Errors
    /// A node that does not start any more, or is not seen by the others.
    pub(super) async fn run(
        self,
        cluster: &mut Cluster,
        run: &Run,
        progress: &Progress,
    ) -> io::Result<Vec<Killed>> {
        let mut killed = Vec::new();
        let n_nodes = run.doors().len();
        for kill in 0..self.n_kills {
            let share = f64::from(kill + 1) / f64::from(self.n_kills + 1);
            let due = run.started + self.time.mul_f64(share);
            tokio::time::sleep_until(due.to_tokio()).await;
            let node = (self.seed % n_nodes as u64) as usize + kill as usize;
            let one = self.kill(node % n_nodes, cluster, run).await?;
            if killed.len() < TOLD_MAX {
                progress.say(&one.told(n_nodes));
            }
            killed.push(one);
        }
        if n_nodes > 1 {
            cluster.all_see_all().await?;
        }
        Ok(killed)
    }

    async fn kill(&self, node: usize, cluster: &mut Cluster, run: &Run) -> io::Result<Killed> {
        let n_nodes = run.doors().len();
        let dead_for = if n_nodes > 1 {
            DEAD.min(self.time / (2 * (self.n_kills + 1)))
        } else {
            Duration::ZERO
        };
        let door = run.doors().get(node);
        door.inspect(|door| door.note_kill());
        let begins = Instant::now();
        let at = cluster.kill(node)?;
        door.inspect(|door| door.note_death());
        let seen = cluster.others_see(node, at).await?;
        tokio::time::sleep_until((begins + dead_for).to_tokio()).await;
        let dead = Instant::now().since(begins);
        let ready = cluster.start_again(node).await?;
        let names = cluster.names();
        Ok(Killed {
            node: names.get(node).cloned().unwrap_or_default(),
            at_ms: begins.since(run.started).as_millis() as u64,
            seen_after_ms: seen.as_secs_f64() * 1e3,
            dead_ms: dead.as_millis() as u64,
            ready_after_ms: ready.as_millis() as u64,
        })
    }
}

impl Killed {
    fn told(&self, n_nodes: usize) -> String {
        let ready = self.ready_after_ms;
        if n_nodes == 1 {
            return format!("  killed with -9; ready again after {ready} ms");
        }
        let (node, seen, dead) = (&self.node, self.seen_after_ms, self.dead_ms);
        format!(
            "  {node} killed with -9; the others saw it after {seen:.1} ms; started again after \
             {dead} ms, ready {ready} ms later"
        )
    }
}
