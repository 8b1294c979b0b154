//! A node as a child process: started, watched, killed with -9, started again on the same folder
//! and ports. It never outlives this value.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use waymesh::{base::time::Instant, client::Client};

/// How long a node may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Clock ticks a second in `/proc`; fixed for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A node that runs as a child of this process.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    child: Option<Child>,
    folder: PathBuf,
    cluster: String,
    options: NodeOptions,
    /// Where vehicles connect.
    pub(crate) vehicles: SocketAddr,
    http: SocketAddr,
    /// What its lives before this one cost.
    past: Usage,
}

/// How a node is run, beside where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeOptions {
    /// Whether it has an index.
    pub(crate) is_indexed: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { is_indexed: true }
    }
}

/// What a process cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_memory_kib: u64,
}

impl NodeProcess {
    /// Starts a node in `folder`, on free ports of loopback, and waits until it is ready.
    pub(crate) async fn start(folder: &Path, cluster: &str) -> io::Result<Self> {
        Self::start_with(folder, cluster, NodeOptions::default()).await
    }

    /// Starts a node as `options` say; else as [`NodeProcess::start`].
    pub(crate) async fn start_with(
        folder: &Path,
        cluster: &str,
        options: NodeOptions,
    ) -> io::Result<Self> {
        let mut node = Self {
            child: None,
            folder: folder.to_owned(),
            cluster: cluster.to_owned(),
            options,
            vehicles: free_address()?,
            http: free_address()?,
            past: Usage::default(),
        };
        node.spawn().await?;
        Ok(node)
    }

    /// Kills the node with -9 and starts it again; how long it was until it was ready.
    pub(crate) async fn kill_and_restart(&mut self) -> io::Result<Duration> {
        self.kill()?;
        let killed = Instant::now();
        self.spawn().await?;
        Ok(Instant::now().since(killed))
    }

    /// Ends the node with -9.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.past = self.usage();
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The id of its process, while it runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A client of the node.
    pub(crate) fn client(&self) -> io::Result<Client> {
        Client::new(&format!("http://{}", self.http)).map_err(io::Error::other)
    }

    /// What all lives of the node cost so far.
    pub(crate) fn usage(&self) -> Usage {
        let present = self.child.as_ref().and_then(|child| usage_of(child.id()));
        let present = present.unwrap_or_default();
        Usage {
            cpu_seconds: self.past.cpu_seconds + present.cpu_seconds,
            peak_memory_kib: self.past.peak_memory_kib.max(present.peak_memory_kib),
        }
    }

    /// The file with all that the node has logged.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    async fn spawn(&mut self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(std::env::current_exe()?)
            .args(["node", "--name", "demo", "--cluster", &self.cluster])
            .args([
                "--vehicles",
                &self.vehicles.to_string(),
                "--http",
                &self.http.to_string(),
            ])
            .args((!self.options.is_indexed).then_some("--without-index"))
            .args(["--link", "127.0.0.1:0", "--log-format", "json", "--data"])
            .arg(self.folder.join("data"))
            // A secret of its own, and nobody is looked for.
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .env("WAYMESH_DISCOVERY__TRANSPORTS", "static")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self
                .child
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten()
            {
                let log = self.log();
                let why = format!("the node ended with {status}; its log is {}", log.display());
                return Err(io::Error::other(why));
            }
            let client = self.client()?;
            let asking = tokio::task::spawn_blocking(move || client.text("/readyz").is_ok());
            if asking.await.is_ok_and(|is_ready| is_ready) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let why = format!(
            "the node was not ready within 30 s; its log is {}",
            self.log().display()
        );
        Err(io::Error::other(why))
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "the node could not be ended");
        }
    }
}

/// An address of loopback that nothing listens on now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// What a running process has cost so far; none if there is no such process.
pub(crate) fn usage_of(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; the fields after it do not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak_memory_kib = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(Usage {
        cpu_seconds: (user + system) / TICKS_PER_SECOND,
        peak_memory_kib,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_cost() {
        let usage = usage_of(std::process::id()).unwrap();
        assert!(usage.peak_memory_kib > 1_000);
    }
}
