//! A node as a child process: started, watched, killed with -9, started again on the same folder
//! and ports. It never outlives this value.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use waymesh::{base::time::Instant, client::Client};

use crate::family::{Family, forget_settings};

/// How long a node may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// Clock ticks a second in `/proc`; fixed for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a node binds when it starts for the first time: any port of loopback.
const ANY: &str = "127.0.0.1:0";

/// A node that runs as a child of this process.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    child: Option<Child>,
    folder: PathBuf,
    options: NodeOptions,
    /// What it listens on, from its first start on.
    addresses: Option<Addresses>,
    log: Tail,
    /// What its lives before this one cost.
    past: Usage,
}

/// How a node is run, beside where.
#[derive(Debug, Clone)]
pub(crate) struct NodeOptions {
    /// Whether it has an index.
    pub(crate) is_indexed: bool,
    /// Its name.
    pub(crate) name: String,
    /// How it finds others.
    pub(crate) search: Search,
}

/// How a node finds others of its family.
#[derive(Debug, Clone)]
pub(crate) enum Search {
    /// Nobody is looked for, and nobody has its secret.
    Alone(Family),
    /// By multicast that does not leave loopback.
    Multicast(Family),
    /// At these addresses of links.
    Peers(Family, Vec<SocketAddr>),
}

/// What a node listens on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) vehicles: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) link: SocketAddr,
}

/// What a process cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_memory_kib: u64,
}

/// A file that grows, read line by line.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl NodeProcess {
    /// Starts a node in `folder`, on free ports of loopback, and waits until it is ready.
    pub(crate) async fn start(folder: &Path, options: NodeOptions) -> io::Result<Self> {
        let mut node = Self::begin(folder, options)?;
        node.wait_until_ready().await?;
        Ok(node)
    }

    /// The same without the waiting.
    pub(crate) fn begin(folder: &Path, options: NodeOptions) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("node.log");
        File::options().create(true).append(true).open(&log)?;
        let mut node = Self {
            child: None,
            folder: folder.to_owned(),
            options,
            addresses: None,
            log: Tail::new(&log)?,
            past: Usage::default(),
        };
        node.spawn()?;
        Ok(node)
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

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// The id of its process, while it runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it listens on, once it was ready.
    pub(crate) fn addresses(&self) -> io::Result<Addresses> {
        let addresses = self.addresses;
        addresses.ok_or_else(|| io::Error::other("the node was never ready"))
    }

    /// A client of the node, once it was ready.
    pub(crate) fn client(&self) -> io::Result<Client> {
        client_of(self.addresses()?.http)
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

    /// What it has logged since this was asked last.
    pub(crate) fn said(&mut self) -> io::Result<Vec<String>> {
        self.log.lines()
    }

    /// Starts the process, on the ports that it had.
    pub(crate) fn spawn(&mut self) -> io::Result<()> {
        let log = File::options().append(true).open(self.log_path())?;
        let address = |of: fn(&Addresses) -> SocketAddr| {
            let known = self.addresses.as_ref().map(of);
            known.map_or_else(|| ANY.to_owned(), |address| address.to_string())
        };
        let mut command = Command::new(std::env::current_exe()?);
        forget_settings(&mut command);
        command
            .args(["node", "--log-format", "json", "--name"])
            .arg(&self.options.name)
            .args(["--vehicles", &address(|known| known.vehicles)])
            .args(["--http", &address(|known| known.http)])
            .args(["--link", &address(|known| known.link)])
            .args((!self.options.is_indexed).then_some("--without-index"))
            .arg("--data")
            .arg(self.folder.join("data"))
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.options.search.tell(&mut command);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until the node that was started says that it is ready.
    pub(crate) async fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        // A start for the first time says which ports it got.
        let mut http = self.addresses.map(|known| known.http);
        let mut log = Tail::new(&self.log_path())?;
        while Instant::now() < deadline {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                let log = self.log_path();
                let why = format!("the node ended with {status}; its log is {}", log.display());
                return Err(io::Error::other(why));
            }
            if http.is_none() {
                http = log.lines()?.iter().find_map(|line| address_in(line));
            }
            if let Some(http) = http
                && let Some(addresses) = ask_whether_ready(http).await?
            {
                self.addresses = Some(addresses);
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        let log = self.log_path();
        let log = log.display();
        let why = format!("the node was not ready within 30 s; its log is {log}");
        Err(io::Error::other(why))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("node.log")
    }
}

impl Search {
    fn tell(&self, command: &mut Command) {
        let (family, transport) = match self {
            Self::Alone(family) => (family, "static"),
            Self::Multicast(family) => (family, "multicast"),
            Self::Peers(family, peers) => {
                let peers: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
                command.env("WAYMESH_DISCOVERY__PEERS", peers.join(","));
                (family, "static")
            }
        };
        command
            .args(["--cluster", &family.cluster, "--secret-file"])
            .arg(&family.secret)
            .env("WAYMESH_DISCOVERY__TRANSPORTS", transport)
            .env("WAYMESH_DISCOVERY__INTERFACES", "lo")
            .env("WAYMESH_DISCOVERY__TTL", "0")
            .env("WAYMESH_DISCOVERY__PORT", family.port.to_string());
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "the node could not be ended");
        }
    }
}

impl Tail {
    fn new(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self::of)
    }

    const fn of(file: File) -> Self {
        let rest = Vec::new();
        Self { file, rest }
    }

    /// The whole lines that have come since the last call.
    fn lines(&mut self) -> io::Result<Vec<String>> {
        self.file.read_to_end(&mut self.rest)?;
        let n_whole = memchr::memrchr(b'\n', &self.rest).map_or(0, |idx| idx + 1);
        let whole: Vec<u8> = self.rest.drain(..n_whole).collect();
        let text = String::from_utf8_lossy(&whole);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

fn client_of(http: SocketAddr) -> io::Result<Client> {
    Client::new(&format!("http://{http}")).map_err(io::Error::other)
}

/// Where a node answers HTTP, in a line of its log.
fn address_in(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| line.get(name).and_then(Value::as_str);
    let is_it = field("message") == Some("listening for HTTP");
    field("address").filter(|_| is_it)?.parse().ok()
}

/// What a node listens on, if it is ready.
async fn ask_whether_ready(http: SocketAddr) -> io::Result<Option<Addresses>> {
    let client = client_of(http)?;
    let asking = tokio::task::spawn_blocking(move || {
        client.text("/readyz").ok()?;
        client.status().ok()
    });
    let status = asking.await.map_err(io::Error::other)?;
    let Some(status) = status else {
        return Ok(None);
    };
    let address = |name: &str| -> io::Result<SocketAddr> {
        let said = status.pointer(&format!("/addresses/{name}"));
        let said = said.and_then(Value::as_str).unwrap_or_default();
        said.parse()
            .map_err(|_| io::Error::other(format!("the node names no address of {name}")))
    };
    Ok(Some(Addresses {
        vehicles: address("vehicles")?,
        http,
        link: address("link")?,
    }))
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
    use std::io::Write as _;

    use super::*;

    #[test]
    fn this_process_has_a_cost() {
        let usage = usage_of(std::process::id()).unwrap();
        assert!(usage.peak_memory_kib > 1_000);
    }

    #[test]
    fn a_node_that_is_alone_has_a_cluster_and_a_secret_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let family = Family::new(folder.path(), "test").unwrap();
        let mut command = Command::new("node");
        Search::Alone(family.clone()).tell(&mut command);
        let arguments: Vec<_> = command.get_args().collect();
        let secret = family.secret.as_os_str();
        let cluster = family.cluster.as_ref();
        let expected = [
            "--cluster".as_ref(),
            cluster,
            "--secret-file".as_ref(),
            secret,
        ];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn a_growing_file_is_read_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = File::create(&path).unwrap();
        let mut tail = Tail::new(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.lines().unwrap(), ["one"]);
        file.write_all(b"o\nthree\n").unwrap();
        assert_eq!(tail.lines().unwrap(), ["two", "three"]);
        assert!(tail.lines().unwrap().is_empty());
    }

    #[test]
    fn the_port_that_a_node_got_stands_in_its_log() {
        let line = r#"{"message":"listening for HTTP","address":"127.0.0.1:4711"}"#;
        assert_eq!(address_in(line), "127.0.0.1:4711".parse().ok());
        assert_eq!(address_in(&line.replace("HTTP", "vehicles")), None);
        assert_eq!(address_in("no json"), None);
    }
}
