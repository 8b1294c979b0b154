//! The servers under test, each a child process: the floor, and a node.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use waymesh::{base::time::Instant, client::Client};

use crate::{
    family::Family,
    node_process::{NodeOptions, NodeProcess, Search},
    told::go_on,
};

/// How long the index may take to follow after a turn.
const INDEX_PATIENCE: Duration = Duration::from_secs(120);

/// How often the index is asked whether it has followed.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// One of the two that are compared.
pub(super) enum Server {
    Floor { child: Child, address: SocketAddr },
    Node(Box<NodeProcess>),
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The least there can be.
    Floor,
    /// A node, with its index or without.
    Node { is_indexed: bool },
}

impl Server {
    /// Starts a server in `folder` and waits until it listens.
    pub(super) async fn start(which: Which, folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        match which {
            Which::Floor => start_floor(folder),
            Which::Node { is_indexed } => {
                let options = NodeOptions {
                    is_indexed,
                    name: "alone".to_owned(),
                    search: Search::Alone(Family::new(folder, "bench")?),
                };
                let node = NodeProcess::start(folder, options).await?;
                Ok(Self::Node(Box::new(node)))
            }
        }
    }

    pub(super) fn process(&self) -> io::Result<u32> {
        match self {
            Self::Floor { child, .. } => Ok(child.id()),
            Self::Node(node) => node
                .process()
                .ok_or_else(|| io::Error::other("no node runs")),
        }
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Floor { address, .. } => Ok(*address),
            Self::Node(node) => Ok(node.addresses()?.vehicles),
        }
    }

    /// Ends the floor, and gives what it said of a failure, behind a colon; a node has a log.
    pub(super) fn last_words(&mut self) -> String {
        match self {
            Self::Floor { child, .. } => last_words(child),
            Self::Node(_) => String::new(),
        }
    }

    /// Asks the node, if it is one.
    pub(super) fn clients(&self) -> io::Result<Vec<Client>> {
        match self {
            Self::Node(node) => Ok(vec![node.client()?]),
            Self::Floor { .. } => Ok(Vec::new()),
        }
    }
}

/// Waits until the index of a node has followed on what was acknowledged. Blocking.
///
/// # Errors
/// A node that does not answer or whose index does not follow, and a signal that tells to end.
pub(super) fn settle(node: &Client, told: &CancellationToken) -> io::Result<()> {
    let deadline = Instant::now() + INDEX_PATIENCE;
    while Instant::now() < deadline {
        go_on(told)?;
        if counter(node, "waymesh_index_lag_records")? == 0 {
            return Ok(());
        }
        tokio::runtime::Handle::current().block_on(tokio::time::sleep(ASK_INTERVAL));
    }
    let why = "the index did not follow within two minutes";
    Err(io::Error::other(why))
}

/// Positions that nodes have stored so far, all together. Blocking.
///
/// # Errors
/// A node that does not answer.
pub(super) fn n_stored(nodes: &[Client]) -> io::Result<u64> {
    let stored = nodes.iter();
    let stored = stored.map(|node| counter(node, "waymesh_positions_stored_total"));
    stored.sum()
}

/// Holds what was stored against what was answered: no line of the benches is said twice, so each
/// must be there once.
///
/// # Errors
/// They differ.
pub(super) fn check_stored(n_answered: u64, n_stored: u64) -> io::Result<()> {
    if n_stored == n_answered {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{n_answered} lines were answered, and {n_stored} positions stored of them: the figures \
         would be worth nothing"
    )))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Floor { child, .. } = self
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            tracing::warn!(%error, "the floor could not be ended");
        }
    }
}

/// A metric without labels. Blocking.
fn counter(node: &Client, name: &str) -> io::Result<u64> {
    let text = node.text("/metrics").map_err(io::Error::other)?;
    let values = text.lines().filter_map(|line| line.strip_prefix(name));
    let mut values = values.filter_map(|value| value.strip_prefix(' '));
    let value = values.next().and_then(|value| value.trim().parse().ok());
    value.ok_or_else(|| io::Error::other(format!("the node does not say its {name}")))
}

fn start_floor(folder: &Path) -> io::Result<Server> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["floor", "--vehicles", "127.0.0.1:0", "--data"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // No file, as the disk may be what fails. It says a line at most.
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().map(BufReader::new);
    stdout
        .map(|mut stdout| stdout.read_line(&mut line))
        .transpose()?;
    let Ok(address) = line.trim().parse() else {
        let said = last_words(&mut child);
        let why = format!("the floor did not start{said}");
        return Err(io::Error::other(why));
    };
    Ok(Server::Floor { child, address })
}

/// Ends a process that does not serve any more, and gives what it said, behind a colon.
fn last_words(child: &mut Child) -> String {
    // It may have ended by itself.
    let _is_killed = child.kill();
    let _has_ended = child.wait();
    let mut said = String::new();
    let stderr = child.stderr.as_mut();
    let read = stderr.map(|stderr| stderr.read_to_string(&mut said));
    match (read, said.trim()) {
        (Some(Ok(1..)), said) => format!(": {said}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_last_is_heard() {
        let shell = |commands: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", commands]).stderr(Stdio::piped());
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            // What it says there comes after what it says of its failure.
            let mut line = String::new();
            let stdout = child.stdout.take().map(BufReader::new);
            stdout.unwrap().read_line(&mut line).unwrap();
            last_words(&mut child)
        };
        assert_eq!(shell("echo no disk >&2; echo; exec sleep 60"), ": no disk");
        assert_eq!(shell("echo no disk >&2; echo; exit 1"), ": no disk");
        assert_eq!(shell("echo; exec sleep 60"), "");
    }

    #[test]
    fn what_was_answered_and_not_stored_is_told() {
        assert!(check_stored(7, 7).is_ok());
        for n_stored in [0, 6, 8] {
            let error = check_stored(7, n_stored).unwrap_err().to_string();
            assert!(error.contains(&n_stored.to_string()), "{error}");
        }
    }
}
