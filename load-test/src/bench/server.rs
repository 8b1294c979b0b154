//! The servers under test, each a child process: the floor, and a node.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use waymesh::{base::time::Instant, client::Client};

use crate::node_process::{NodeOptions, NodeProcess};

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
                    ..NodeOptions::default()
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

    /// Waits until what was acknowledged is worked off.
    pub(super) async fn settle(&self) -> io::Result<()> {
        match self {
            Self::Node(node) => settle(node.client()?).await,
            Self::Floor { .. } => Ok(()),
        }
    }
}

/// Waits until the index of a node has followed.
pub(super) async fn settle(client: Client) -> io::Result<()> {
    let deadline = Instant::now() + INDEX_PATIENCE;
    while Instant::now() < deadline {
        if lag(client.clone()).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
    let why = "the index did not follow within two minutes";
    Err(io::Error::other(why))
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

/// Records that are durable and not in the index yet.
async fn lag(client: Client) -> io::Result<u64> {
    let asking = tokio::task::spawn_blocking(move || client.text("/metrics"));
    let text = asking
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("waymesh_index_lag_records "));
    let lag = value.and_then(|value| value.trim().parse().ok());
    lag.ok_or_else(|| io::Error::other("the node does not say how far its index is"))
}

fn start_floor(folder: &Path) -> io::Result<Server> {
    let log = File::create(folder.join("floor.log"))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["floor", "--vehicles", "127.0.0.1:0", "--data"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().map(BufReader::new);
    stdout
        .map(|mut stdout| stdout.read_line(&mut line))
        .transpose()?;
    let address = line.trim().parse().map_err(|_| {
        io::Error::other(format!("the floor did not start; see {}", folder.display()))
    })?;
    Ok(Server::Floor { child, address })
}
