//! The nodes that find each other: processes, each in a host of its own or all on loopback, and what
//! they log. None outlives this value.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use tokio::sync::mpsc;
use waymesh::base::time::wall_millis;

use super::lan::Lan;
use crate::{
    family::{Family, forget_settings},
    node_process::usage_of,
    story::{self, Event, What},
};

/// What nodes log here: what becomes of beacons and links as well.
const FILTER: &str = "info,waymesh::cluster::net::link=debug,waymesh::node::cluster=trace";

/// Nodes of one cluster that nobody else belongs to.
#[derive(Debug)]
pub(crate) struct Nodes {
    children: Vec<Option<Child>>,
    /// None: all on loopback.
    pub(crate) lan: Option<Lan>,
    folder: PathBuf,
    family: Family,
    program: PathBuf,
    said: mpsc::Sender<Event>,
}

impl Nodes {
    /// No node runs yet. What they will say goes to `said`.
    pub(crate) fn new(
        n_nodes: usize,
        folder: &Path,
        lan: Option<Lan>,
        said: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        Ok(Self {
            children: (0..n_nodes).map(|_| None).collect(),
            lan,
            folder: folder.to_owned(),
            family: Family::new(folder, "discover")?,
            program: std::env::current_exe()?,
            said,
        })
    }

    /// Starts a node, or starts it again on its data.
    pub(crate) fn start(&mut self, node: usize) -> io::Result<Event> {
        let name = story::name(node);
        let mut command = self.command(node);
        command
            .args(["node", "--name", &name, "--cluster", &self.family.cluster])
            .args(["--vehicles", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--log-format", "json", "--log", FILTER])
            .arg("--secret-file")
            .arg(&self.family.secret)
            .arg("--data")
            .arg(self.folder.join(&name))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let at = wall_millis() * 1_000;
        let mut child = command.spawn()?;
        let lines = child.stderr.take();
        if let Some(place) = self.children.get_mut(node) {
            *place = Some(child);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("{name}.log")))?;
        let said = self.said.clone();
        // Ends with the process that it listens to.
        drop(std::thread::spawn(move || listen(node, lines, log, &said)));
        let what = What::Spawned;
        Ok(Event { node, at, what })
    }

    fn command(&self, node: usize) -> Command {
        if let Some(lan) = &self.lan {
            let mut command = lan.command(node, &self.program);
            forget_settings(&mut command);
            return command;
        }
        let mut command = Command::new(&self.program);
        forget_settings(&mut command);
        command
            .env("WAYMESH_LINK", "127.0.0.1:0")
            .env("WAYMESH_DISCOVERY__TRANSPORTS", "multicast")
            .env("WAYMESH_DISCOVERY__INTERFACES", "lo")
            .env("WAYMESH_DISCOVERY__TTL", "0")
            .env("WAYMESH_DISCOVERY__PORT", self.family.port.to_string());
        command
    }

    /// Ends a node with -9; when, in microseconds.
    pub(crate) fn kill(&mut self, node: usize) -> io::Result<story::Micros> {
        let at = wall_millis() * 1_000;
        if let Some(mut child) = self.children.get_mut(node).and_then(Option::take) {
            child.kill()?;
            child.wait()?;
        }
        Ok(at)
    }

    /// Seconds of the processors that those which run have taken so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let running = self.children.iter().flatten();
        let costs = running.filter_map(|child| usage_of(child.id()));
        costs.map(|usage| usage.cpu_seconds).sum()
    }

    /// The first node that has ended without being told to, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.children
            .iter_mut()
            .enumerate()
            .find_map(|(node, child)| {
                let status = child.as_mut()?.try_wait().ok()??;
                Some(format!("{} ended with {status}", story::name(node)))
            })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let mut running: Vec<Child> = self.children.iter_mut().filter_map(Option::take).collect();
        for child in &mut running {
            // It may have ended by itself.
            let _is_killed = child.kill();
        }
        for child in &mut running {
            let _has_ended = child.wait();
        }
    }
}

/// The last to run.
const NICE: i32 = 19;

/// Reads what a node logs until it ends, and keeps it.
fn listen(node: usize, lines: Option<ChildStderr>, mut log: File, said: &mpsc::Sender<Event>) {
    let Some(lines) = lines else { return };
    // Lines bear their times: whoever reads them gives way to those who are measured. Of this thread alone;
    // without it the figures are a little worse.
    let _is_nice = rustix::process::nice(NICE);
    for line in BufReader::new(lines).lines() {
        let Ok(mut line) = line else { return };
        line.push('\n');
        if log.write_all(line.as_bytes()).is_err() {
            return;
        }
        if let Some(event) = story::read(node, &line)
            && said.blocking_send(event).is_err()
        {
            return;
        }
    }
}
