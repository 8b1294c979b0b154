//! Nodes of our own on loopback, which find each other: formed, broken and mended, and what they
//! said of it. A cluster of one looks for nobody.
//!
//! What they see of each other is read from their logs, so that it is known to the microsecond
//! however seldom it is looked.

mod multicast;
pub(crate) mod sample;

use std::{collections::BTreeSet, io, path::Path, time::Duration};

use waymesh::{
    base::time::{Instant, wall_millis},
    client::Client,
};

use crate::{
    family::Family,
    node_process::{Addresses, NodeOptions, NodeProcess, Search, Usage},
    out::Out,
    story::{self, Event, Micros, Story, What},
};

/// How long nodes may take until they see each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(20);

/// Nodes that belong together.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<NodeProcess>,
    is_indexed: bool,
    story: Story,
    formation: Formation,
}

/// How the nodes came together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Formation {
    /// `multicast` on loopback, `static` peers where there is none, or `alone`.
    pub(crate) way: &'static str,
    /// From the start of the last process until all saw all.
    pub(crate) took: Duration,
}

impl Cluster {
    /// Starts so many nodes in `folder`, and waits until all are ready and see each other.
    ///
    /// # Errors
    /// A node that does not start, or nodes that do not see each other within 30 s.
    pub(crate) async fn start(folder: &Path, n_nodes: usize) -> io::Result<Self> {
        Self::start_with(folder, n_nodes, true).await
    }

    /// The same with their indexes or without.
    pub(crate) async fn start_with(
        folder: &Path,
        n_nodes: usize,
        is_indexed: bool,
    ) -> io::Result<Self> {
        let mut cluster = Self {
            is_indexed,
            nodes: Vec::new(),
            story: Story::new(n_nodes),
            formation: Formation {
                way: "alone",
                took: Duration::ZERO,
            },
        };
        let family = Family::new(folder, "load-test")?;
        if n_nodes == 1 {
            cluster.begin(folder, Search::Alone(family))?;
            cluster.wait_until_ready().await?;
            return Ok(cluster);
        }
        let port = family.port;
        let trying = tokio::task::spawn_blocking(move || multicast::try_loopback(port));
        match trying.await.map_err(io::Error::other)? {
            Ok(()) => {
                cluster.formation.way = "multicast";
                cluster.begin_all(folder, n_nodes, &Search::Multicast(family))?;
            }
            Err(error) => {
                Out.note(&format!(
                    "loopback carries no multicast here ({error}): the nodes are told of each \
                     other instead (static peers)"
                ));
                cluster.formation.way = "static";
                cluster.begin(folder, Search::Peers(family.clone(), Vec::new()))?;
                cluster.wait_until_ready().await?;
                let first = cluster
                    .addresses()?
                    .iter()
                    .map(|known| known.link)
                    .collect();
                cluster.begin_all(folder, n_nodes, &Search::Peers(family, first))?;
            }
        }
        cluster.wait_until_ready().await?;
        let seen = cluster.all_see_all().await?;
        let started = cluster.story.events.iter();
        let started = started.filter(|event| event.what == What::Spawned);
        let last = started.map(|event| event.at).max().unwrap_or_default();
        cluster.formation.took = since(last, seen);
        Ok(cluster)
    }

    fn begin_all(&mut self, folder: &Path, n_nodes: usize, search: &Search) -> io::Result<()> {
        while self.nodes.len() < n_nodes {
            self.begin(folder, search.clone())?;
        }
        Ok(())
    }

    fn begin(&mut self, folder: &Path, search: Search) -> io::Result<()> {
        let node = self.nodes.len();
        let name = story::name(node);
        let folder = match search {
            Search::Alone(_) => folder.to_owned(),
            _ => folder.join(&name),
        };
        let options = NodeOptions {
            name,
            search,
            is_indexed: self.is_indexed,
        };
        self.note_spawned(node);
        self.nodes.push(NodeProcess::begin(&folder, options)?);
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> io::Result<()> {
        for node in &mut self.nodes {
            node.wait_until_ready().await?;
        }
        Ok(())
    }

    /// How they came together.
    pub(crate) const fn formation(&self) -> Formation {
        self.formation
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.nodes.iter().map(|node| node.name().to_owned());
        names.collect()
    }

    /// What they listen on.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Addresses>> {
        self.nodes.iter().map(NodeProcess::addresses).collect()
    }

    /// A client of each.
    pub(crate) fn clients(&self) -> io::Result<Vec<Client>> {
        self.nodes.iter().map(NodeProcess::client).collect()
    }

    /// The ids of their processes, of those that run.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(NodeProcess::process).collect()
    }

    /// What each has cost.
    pub(crate) fn usages(&self) -> Vec<Usage> {
        self.nodes.iter().map(NodeProcess::usage).collect()
    }

    /// Ends a node with -9; when.
    pub(crate) fn kill(&mut self, node: usize) -> io::Result<Micros> {
        let at = now();
        self.node(node)?.kill()?;
        // All that it said in this life is heard before it starts another.
        self.hear()?;
        Ok(at)
    }

    /// Starts a node that was killed; how long it took until it was ready.
    pub(crate) async fn start_again(&mut self, node: usize) -> io::Result<Duration> {
        let since = Instant::now();
        self.note_spawned(node);
        let node = self.node(node)?;
        node.spawn()?;
        node.wait_until_ready().await?;
        Ok(Instant::now().since(since))
    }

    /// Waits until all but `gone` see each other and nobody else; how long after `at` the last of
    /// them came to do so.
    ///
    /// # Errors
    /// Says who does not see it within 30 s.
    pub(crate) async fn others_see(&mut self, gone: usize, at: Micros) -> io::Result<Duration> {
        let others: BTreeSet<usize> = (0..self.nodes.len()).filter(|node| *node != gone).collect();
        Ok(since(at, self.all_see(&others).await?))
    }

    /// Waits until all see all; when the last came to do so.
    ///
    /// # Errors
    /// Says who does not see it within 30 s.
    pub(crate) async fn all_see_all(&mut self) -> io::Result<Micros> {
        let all = (0..self.nodes.len()).collect();
        self.all_see(&all).await
    }

    async fn all_see(&mut self, nodes: &BTreeSet<usize>) -> io::Result<Micros> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.hear()?;
            let moments = nodes.iter().map(|node| self.story.sees_since(*node, nodes));
            if let Some(moments) = moments.collect::<Option<Vec<Micros>>>() {
                return Ok(moments.into_iter().max().unwrap_or_default());
            }
            if Instant::now() > deadline {
                let is_blind = |node: &&usize| self.story.sees_since(**node, nodes).is_none();
                let blind = nodes.iter().filter(is_blind).copied().map(story::name);
                let blind = blind.collect::<Vec<_>>().join(", ");
                let why = format!("after 30 s {blind} did not see who is there");
                return Err(io::Error::other(why));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes in what the nodes have logged.
    fn hear(&mut self) -> io::Result<()> {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let said = node.said()?;
            let events = said.iter().filter_map(|line| story::read(number, line));
            events.for_each(|event| self.story.add(event));
        }
        Ok(())
    }

    fn note_spawned(&mut self, node: usize) {
        let (at, what) = (now(), What::Spawned);
        self.story.add(Event { node, at, what });
    }

    fn node(&mut self, node: usize) -> io::Result<&mut NodeProcess> {
        let found = self.nodes.get_mut(node);
        found.ok_or_else(|| io::Error::other("no such node"))
    }
}

fn now() -> Micros {
    wall_millis() * 1_000
}

/// How long it was from one moment to another; nothing where the clock says that it was before.
fn since(from: Micros, to: Micros) -> Duration {
    Duration::from_micros(u64::try_from(to - from).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards() {
        assert_eq!(since(3, 10), Duration::from_micros(7));
        assert_eq!(since(10, 3), Duration::ZERO);
    }
}
