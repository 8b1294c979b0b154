//! What is done to the nodes, and the waiting until they have seen it.

use std::{collections::BTreeSet, io, path::Path, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use waymesh::base::time::{Instant, wall_millis};

use super::{
    lan::Lan,
    nodes::Nodes,
    outcome::{Deed, Outcome, Spread},
};
use crate::story::{self, Event, Micros, Story, What};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether all nodes still run.
const LOOK: Duration = Duration::from_millis(200);

/// How long halves stay parted.
const PARTED: Duration = Duration::from_secs(10);

/// Things said that wait to be taken in; who says more waits.
const EVENTS_MAX: usize = 10_000;

/// The nodes and what they have said.
#[derive(Debug)]
pub(crate) struct Stage {
    n_nodes: usize,
    nodes: Nodes,
    story: Story,
    said: mpsc::Receiver<Event>,
    /// From the first start until all saw all.
    formation: (Micros, Micros),
}

/// When the next node is started.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// When all before it see each other.
    OneByOne,
    /// So long after the one before.
    Apart(Duration),
}

impl Stage {
    /// Nobody has been started.
    pub(crate) fn new(n_nodes: usize, folder: &Path, lan: Option<Lan>) -> io::Result<Self> {
        let (sender, said) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            n_nodes,
            nodes: Nodes::new(n_nodes, folder, lan, sender)?,
            story: Story::new(n_nodes),
            said,
            formation: (0, 0),
        })
    }

    /// What was said, and the time of the formation.
    pub(crate) const fn told(&self) -> (&Story, (Micros, Micros)) {
        (&self.story, self.formation)
    }

    /// Starts all nodes and waits until all see all.
    pub(crate) async fn form(&mut self, pace: Pace) -> io::Result<Outcome> {
        for node in 0..self.n_nodes {
            let started = self.nodes.start(node)?;
            self.story.add(started);
            match pace {
                Pace::OneByOne => drop(self.all_see_all(node + 1).await?),
                Pace::Apart(time) => self.wait(time).await?,
            }
        }
        let seen = self.all_see_all(self.n_nodes).await?;
        let firsts = |is_it: fn(&What) -> bool| -> Vec<Micros> {
            let nodes = 0..self.n_nodes;
            nodes
                .filter_map(|node| self.story.first(node, 0, is_it))
                .collect()
        };
        let started = firsts(|what| *what == What::Spawned);
        let listens = firsts(|what| *what == What::Listens);
        let boots: Vec<Micros> = listens
            .iter()
            .zip(&started)
            .map(|(to, from)| to - from)
            .collect();
        let last = |moments: &[Micros]| moments.iter().copied().max().unwrap_or_default();
        let first = started.iter().copied().min().unwrap_or_default();
        self.formation = (first, last(&seen));
        Ok(Outcome {
            nodes: self.n_nodes,
            network: match self.nodes.lan {
                Some(_) => "namespaces",
                None => "loopback",
            },
            boot: Spread::of(&boots, 0),
            all_seen_since_last_start: Spread::of(&seen, last(&started)),
            all_seen_since_last_listens: Spread::of(&seen, last(&listens)),
            formation_beacons: self.n_beacons(),
            formation_cpu_seconds: self.nodes.cpu_seconds(),
            rest_seconds: 0,
            rest_beacons: 0,
            rest_cpu_seconds: 0.0,
            deeds: Vec::new(),
        })
    }

    /// Waits, and measures what that costs. The series of the start end first.
    pub(crate) async fn rest(&mut self, seconds: u32, outcome: &mut Outcome) -> io::Result<()> {
        self.wait(Duration::from_secs(1)).await?;
        let (n_beacons, cpu_seconds) = (self.n_beacons(), self.nodes.cpu_seconds());
        self.wait(Duration::from_secs(u64::from(seconds))).await?;
        outcome.rest_seconds = seconds;
        outcome.rest_beacons = self.n_beacons() - n_beacons;
        outcome.rest_cpu_seconds = self.nodes.cpu_seconds() - cpu_seconds;
        Ok(())
    }

    /// Kills the last node and starts it again.
    pub(crate) async fn kill_and_restart(&mut self, outcome: &mut Outcome) -> io::Result<()> {
        let last = self.n_nodes - 1;
        let at = self.nodes.kill(last)?;
        let others = self.all_see(0..last, &(0..last).collect()).await?;
        outcome.note("a kill -9, until a node has seen it", &others, at);
        let started = self.nodes.start(last)?;
        let at = started.at;
        self.story.add(started);
        let seen = self.all_see_all(self.n_nodes).await?;
        outcome.note(
            "the same node starts again, until a node sees all",
            &seen,
            at,
        );
        if let Some(listens) = self.story.first(last, at, |what| *what == What::Listens) {
            outcome.note("it listens, until a node sees all", &seen, listens);
        }
        Ok(())
    }

    /// Lets everything vanish that the last node says or is told, and mends that.
    pub(crate) async fn cut_off(&mut self, outcome: &mut Outcome) -> io::Result<()> {
        let last = self.n_nodes - 1;
        let at = self.split(last)?;
        let others = self.all_see(0..last, &(0..last).collect()).await?;
        outcome.note(
            "a node falls silent, until another has seen it",
            &others,
            at,
        );
        self.all_see(last..self.n_nodes, &[last].into()).await?;
        let at = self.join(last)?;
        let seen = self.all_see_all(self.n_nodes).await?;
        outcome.note("the way is mended, until a node sees all", &seen, at);
        Ok(())
    }

    /// Parts the nodes into halves, and joins them after a while.
    pub(crate) async fn part(&mut self, outcome: &mut Outcome) -> io::Result<()> {
        let half = self.n_nodes.div_ceil(2);
        let at = self.split(half)?;
        let mut seen = self.all_see(0..half, &(0..half).collect()).await?;
        let far = half..self.n_nodes;
        seen.extend(self.all_see(far.clone(), &far.collect()).await?);
        outcome.note("halves are parted, until a node has seen it", &seen, at);
        self.wait(PARTED).await?;
        let at = self.join(half)?;
        let seen = self.all_see_all(self.n_nodes).await?;
        outcome.note(
            "they are joined after 10 s, until a node sees all",
            &seen,
            at,
        );
        Ok(())
    }

    /// Takes the nodes from `first` on away from the others.
    fn split(&self, first: usize) -> io::Result<Micros> {
        let at = wall_millis() * 1_000;
        let lan = self.nodes.lan.as_ref();
        lan.map_or(Ok(()), |lan| lan.part(first..self.n_nodes))?;
        Ok(at)
    }

    fn join(&self, first: usize) -> io::Result<Micros> {
        let at = wall_millis() * 1_000;
        let lan = self.nodes.lan.as_ref();
        lan.map_or(Ok(()), |lan| lan.heal(first..self.n_nodes))?;
        Ok(at)
    }

    async fn all_see_all(&mut self, n_nodes: usize) -> io::Result<Vec<Micros>> {
        self.all_see(0..n_nodes, &(0..n_nodes).collect()).await
    }

    /// Waits until these nodes see exactly those; when each came to do so.
    async fn all_see(
        &mut self,
        nodes: std::ops::Range<usize>,
        seen: &BTreeSet<usize>,
    ) -> io::Result<Vec<Micros>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let moments = nodes.clone().map(|node| self.story.sees_since(node, seen));
            if let Some(moments) = moments.collect() {
                return Ok(moments);
            }
            if Instant::now() > deadline {
                let is_blind = |node: &usize| self.story.sees_since(*node, seen).is_none();
                let blind = nodes.clone().filter(is_blind).map(story::name);
                let blind = blind.collect::<Vec<_>>().join(", ");
                let why = format!("after a minute this is not seen by {blind}");
                return Err(io::Error::other(why));
            }
            self.hear(LOOK).await?;
        }
    }

    /// Takes in what is said for so long.
    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.hear(end.since(Instant::now()).min(LOOK)).await?;
        }
        Ok(())
    }

    /// Takes in what is said next, if anything is said in this time.
    async fn hear(&mut self, time: Duration) -> io::Result<()> {
        if let Ok(Some(event)) = timeout(time, self.said.recv()).await {
            self.story.add(event);
            return Ok(());
        }
        self.nodes
            .ended()
            .map_or(Ok(()), |how| Err(io::Error::other(how)))
    }

    fn n_beacons(&self) -> usize {
        let events = self.story.events.iter();
        events.filter(|event| event.what == What::Beacon).count()
    }
}

impl Outcome {
    fn note(&mut self, what: &str, seen: &[Micros], since: Micros) {
        let (what, seen) = (what.to_owned(), Spread::of(seen, since));
        self.deeds.push(Deed { what, seen });
    }
}
