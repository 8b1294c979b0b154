//! A node in a host, and what it says: its log as it grows, its metrics and its readiness.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use waymesh::client::Client;

use crate::namespace::Host;

/// How long anything is waited for before the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes with one secret and one name of a cluster, and a folder for them.
pub struct Family {
    folder: tempfile::TempDir,
    secret: PathBuf,
}

/// A running node; killed when dropped.
pub struct Sibling<'a> {
    pub name: String,
    host: &'a Host,
    child: Child,
    log: Arc<Log>,
    /// When it was started.
    pub started: jiff::Timestamp,
}

/// One line of the log.
#[derive(Debug, Clone)]
pub struct Said {
    pub at: jiff::Timestamp,
    pub message: String,
    pub fields: Value,
}

#[derive(Default)]
struct Log {
    said: Mutex<Vec<Said>>,
    grown: Condvar,
}

impl Family {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        let made = Command::new(env!("CARGO_BIN_EXE_waymesh"))
            .arg("keygen")
            .arg(&secret)
            .status();
        assert!(made.unwrap().success());
        Self { folder, secret }
    }

    /// The file with its secret.
    pub fn secret(&self) -> &Path {
        &self.secret
    }

    /// The data folder of a node.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the node `name` of this family in `host`, or starts it again on the same data.
    /// `settings` are lines of a configuration file.
    pub fn start<'a>(&'a self, host: &'a Host, name: &str, settings: &str) -> Sibling<'a> {
        self.start_in(host, name, name, settings)
    }

    /// The same with a folder of another name.
    pub fn start_in<'a>(
        &'a self,
        host: &'a Host,
        name: &str,
        folder: &str,
        settings: &str,
    ) -> Sibling<'a> {
        let command = self.command(host, name, folder, settings);
        Sibling::spawn(host, name, command)
    }

    /// The same with vehicles on port 5000, where they find it again after each start, and with these
    /// variables in its environment.
    pub fn start_serving<'a>(
        &'a self,
        host: &'a Host,
        name: &str,
        environment: &[(&str, &Path)],
    ) -> Sibling<'a> {
        let mut command = self.command(host, name, name, "");
        command.envs(environment.iter().copied());
        command.env("WAYMESH_VEHICLES", "0.0.0.0:5000");
        Sibling::spawn(host, name, command)
    }

    fn command(&self, host: &Host, name: &str, folder: &str, settings: &str) -> Command {
        let data = self.data(folder);
        let file = data.with_extension("toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = host.command(env!("CARGO_BIN_EXE_waymesh"));
        command
            .args(["run", "--log-format", "json", "--name", name, "--config"])
            .arg(file)
            .env("WAYMESH_SECRET_FILE", &self.secret)
            .env("WAYMESH_DATA", data)
            .env("WAYMESH_HTTP", "127.0.0.1:0")
            .env("WAYMESH_VEHICLES", "0.0.0.0:0")
            .env("XDG_CONFIG_HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts nodes `a`, `b`, … with the same settings, each in its own host.
    pub fn start_all<'a>(&'a self, hosts: &'a [Host], settings: &str) -> Vec<Sibling<'a>> {
        let names = ('a'..='z').map(String::from);
        let pairs = hosts.iter().zip(names);
        pairs
            .map(|(host, name)| self.start(host, &name, settings))
            .collect()
    }
}

impl Log {
    fn keep(&self, lines: ChildStderr) {
        for line in BufReader::new(lines).lines() {
            let Ok(line) = line else { break };
            let fields: Value = serde_json::from_str(&line)
                .unwrap_or_else(|_| panic!("not a line of the log: {line}"));
            let said = Said {
                at: fields["timestamp"].as_str().unwrap().parse().unwrap(),
                message: fields["message"].as_str().unwrap_or_default().to_owned(),
                fields,
            };
            self.said.lock().unwrap().push(said);
            self.grown.notify_all();
        }
    }
}

impl Said {
    /// A field's text; empty where it has none.
    pub fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }

    /// Whether it is about a node that `connect_regex` means.
    fn matches(&self) -> bool {
        self.fields["matches"].as_bool().unwrap_or_default()
    }
}

impl<'a> Sibling<'a> {
    fn spawn(host: &'a Host, name: &str, mut command: Command) -> Self {
        let started = jiff::Timestamp::now();
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        let (lines, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || kept.keep(lines));
        Self {
            name: name.to_owned(),
            host,
            child,
            log,
            started,
        }
    }
}

impl Sibling<'_> {
    /// What it has said so far.
    pub fn said(&self) -> Vec<Said> {
        self.log.said.lock().unwrap().clone()
    }

    /// Number of lines said so far, as a mark for [`wait_since`](Self::wait_since).
    pub fn mark(&self) -> usize {
        self.log.said.lock().unwrap().len()
    }

    /// Waits until what it has said from `mark` on gives something.
    #[track_caller]
    pub fn wait_since<T>(
        &self,
        mark: usize,
        what: &str,
        mut look: impl FnMut(&[Said]) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.log.said.lock().unwrap();
        loop {
            if let Some(found) = look(said.get(mark..).unwrap_or_default()) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let name = &self.name;
                let lines: Vec<_> = said.iter().map(|said| said.fields.to_string()).collect();
                panic!("{name}: no {what} in time; it said\n{}", lines.join("\n"));
            }
            said = self.log.grown.wait_timeout(said, left).unwrap().0;
        }
    }

    /// Waits for a line with this message.
    #[track_caller]
    pub fn wait_for(&self, mark: usize, message: &str) -> Said {
        self.wait_since(mark, message, |said| {
            said.iter().find(|line| line.message == message).cloned()
        })
    }

    /// Waits until it says `node down` of a node.
    #[track_caller]
    pub fn wait_down(&self, mark: usize, node: &str) -> Said {
        self.wait_since(mark, &format!("end of {node}"), |said| {
            let is_it = |line: &&Said| line.message == "node down" && line.text("node") == node;
            said.iter().find(is_it).cloned()
        })
    }

    /// Waits until exactly these nodes are up in its eyes, itself included; when it saw the last of
    /// them come or go.
    #[track_caller]
    pub fn wait_view(&self, names: &[&str]) -> jiff::Timestamp {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.wait_since(0, &format!("view of {wanted:?}"), |said| {
            let is_change = |line: &&Said| ["node up", "node down"].contains(&&*line.message);
            let last = said.iter().rfind(is_change)?;
            (view(said) == wanted).then_some(last.at)
        })
    }

    /// Waits until it has been told that exactly these are up, of those that it wants to be told of.
    #[track_caller]
    pub fn wait_matching(&self, names: &[&str]) {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.wait_since(0, &format!("news of {wanted:?} alone"), |said| {
            let said: Vec<Said> = said.iter().filter(|line| line.matches()).cloned().collect();
            (view(&said) == wanted).then_some(())
        });
    }

    /// The nodes that are up in its eyes.
    pub fn view(&self) -> BTreeSet<String> {
        view(&self.log.said.lock().unwrap())
    }

    /// The ends of others that it has seen.
    pub fn n_downs(&self) -> usize {
        let said = self.log.said.lock().unwrap();
        let downs = said.iter().filter(|line| line.message == "node down");
        downs.count()
    }

    /// The address of its HTTP, in its host.
    fn http(&self) -> SocketAddr {
        let said = self.wait_for(0, "listening for HTTP");
        said.text("address").parse().unwrap()
    }

    /// Status and body of a call.
    pub fn get(&self, path: &str) -> (u16, String) {
        let (http, path) = (self.http(), path.to_owned());
        let asking = self.host.enter(move || {
            let mut socket = TcpStream::connect(http).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
            socket.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, body.to_owned())
        });
        asking.join().unwrap()
    }

    /// What a client of it finds out, in its host.
    pub fn ask<T: Send + 'static>(&self, ask: impl FnOnce(Client) -> T + Send + 'static) -> T {
        let url = format!("http://{}", self.http());
        let asking = self.host.enter(move || ask(Client::new(&url).unwrap()));
        asking.join().unwrap()
    }

    /// Bytes of memory that it has now.
    pub fn resident_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Its TCP sockets over IPv4 by their numbers: port of this end, port of the other, 0 for one that
    /// listens.
    pub fn sockets(&self) -> BTreeMap<u32, (u16, u16)> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let table = std::fs::read_to_string(process.join("net/tcp")).unwrap();
        let port = |address: &str| {
            let (_, port) = address.split_once(':').unwrap();
            u16::from_str_radix(port, 16).unwrap()
        };
        let rows = table.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = PathBuf::from(format!("socket:[{}]", fields[9]));
            (name, (port(fields[1]), port(fields[2])))
        });
        let rows: BTreeMap<PathBuf, (u16, u16)> = rows.collect();
        let files = std::fs::read_dir(process.join("fd")).unwrap();
        let sockets = files.filter_map(|file| {
            let file = file.unwrap();
            let ports = rows.get(&file.path().read_link().ok()?)?;
            let number = file.file_name().to_str()?.parse().ok()?;
            Some((number, *ports))
        });
        sockets.collect()
    }

    /// The samples of `/metrics` by name with labels.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        let (_, text) = self.get("/metrics");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// Waits until the metrics give something.
    #[track_caller]
    pub fn wait_metrics<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&BTreeMap<String, u64>) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if let Some(found) = look(&metrics) {
                return found;
            }
            let name = &self.name;
            assert!(Instant::now() < deadline, "{name}: no {what}: {metrics:#?}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits until so many links stand.
    #[track_caller]
    pub fn wait_links(&self, n_links: u64) {
        self.wait_metrics(&format!("{n_links} links"), |metrics| {
            (metrics.get("waymesh_links") == Some(&n_links)).then_some(())
        });
    }

    /// Waits until a counter is at least `n`.
    #[track_caller]
    pub fn wait_count(&self, name: &str, n: u64) -> u64 {
        self.wait_metrics(&format!("{n} {name}"), |metrics| {
            metrics.get(name).copied().filter(|count| *count >= n)
        })
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(killed.unwrap().success());
    }

    /// Ends it with -9; when that was.
    pub fn kill(mut self) -> jiff::Timestamp {
        let now = jiff::Timestamp::now();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        now
    }

    /// Asks it to stop and waits for its exit code; when it was asked.
    pub fn stop(mut self) -> (jiff::Timestamp, Option<i32>) {
        let now = jiff::Timestamp::now();
        self.signal("TERM");
        (now, self.child.wait().unwrap().code())
    }
}

impl Drop for Sibling<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn view(said: &[Said]) -> BTreeSet<String> {
    let mut view = BTreeSet::new();
    for line in said {
        match line.message.as_str() {
            "node up" => drop(view.insert(line.text("node").to_owned())),
            "node down" => drop(view.remove(line.text("node"))),
            _ => {}
        }
    }
    view
}

/// Waits until all see each other and nobody else, each over a link of its own; when the last one
/// saw the last one.
#[track_caller]
pub fn wait_all_see_all(siblings: &[Sibling<'_>]) -> jiff::Timestamp {
    let names: Vec<&str> = siblings.iter().map(|one| one.name.as_str()).collect();
    let seen = siblings.iter().map(|one| one.wait_view(&names));
    let seen = seen.max().unwrap();
    for one in siblings {
        one.wait_links(siblings.len() as u64 - 1);
    }
    seen
}

/// Says how long something took.
pub fn print_time(what: &str, from: jiff::Timestamp, to: jiff::Timestamp) {
    let millis = to.duration_since(from).as_millis_f64();
    eprintln!("{what}: {millis:.1} ms");
}
