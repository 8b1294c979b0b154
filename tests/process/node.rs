//! A node as a child process.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use waymesh::client::{Client, ExportFilter};

/// A running node; killed when dropped.
pub struct Node {
    child: Child,
    data: PathBuf,
    /// The shared port of vehicles.
    pub vehicles: SocketAddr,
    /// Further ports of vehicles, in the order of the configuration.
    pub listeners: Vec<SocketAddr>,
    pub http: SocketAddr,
    /// Kept open, so that the node can go on logging; absent once nobody reads what it logs.
    log: Option<BufReader<ChildStderr>>,
    /// What it logged until it had started.
    pub beginning: String,
}

impl Node {
    /// Starts a node on `data`, on any ports.
    pub fn start(data: &Path) -> Self {
        Self::start_on(data, "127.0.0.1:0", "127.0.0.1:0")
    }

    /// The same with a configuration file that says `settings`.
    pub fn start_with(data: &Path, settings: &str) -> Self {
        let file = data.with_extension("toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = command(data, "127.0.0.1:0", "127.0.0.1:0");
        command.arg("--config").arg(file);
        Self::spawn(data, command)
    }

    /// The same with variables of the environment.
    pub fn start_in(data: &Path, environment: &[(&str, PathBuf)]) -> Self {
        let mut command = command(data, "127.0.0.1:0", "127.0.0.1:0");
        command.envs(environment.iter().cloned());
        Self::spawn(data, command)
    }

    /// Starts the node `name` of those that share a secret, on any ports; `vehicles`, `http` and `link`
    /// are addresses.
    pub fn start_named(data: &Path, name: &str, secret: &Path, ports: [&str; 3]) -> Self {
        let [vehicles, http, link] = ports;
        let mut command = named(data, name, link);
        command
            .args(["--vehicles", vehicles, "--http", http])
            .env("WAYMESH_SECRET_FILE", secret);
        Self::spawn(data, command)
    }

    /// Starts the node again, after it was killed, on another folder and the same ports.
    pub fn restart_in(&mut self, data: &Path, environment: &[(&str, PathBuf)]) {
        let mut command = command(data, &self.vehicles.to_string(), &self.http.to_string());
        command.envs(environment.iter().cloned());
        *self = Self::spawn(data, command);
    }

    fn start_on(data: &Path, vehicles: &str, http: &str) -> Self {
        Self::spawn(data, command(data, vehicles, http))
    }

    fn spawn(data: &Path, mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut addresses: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        let mut beginning = String::new();
        loop {
            let mut line = String::new();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "the node ended: {:?}",
                child.wait()
            );
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                panic!("not a line of the log: {line}");
            };
            beginning.push_str(&line);
            match event["message"].as_str().unwrap_or_default() {
                "node started" => break,
                message => {
                    if let Some(address) = event["address"].as_str() {
                        let known = addresses.entry(message.to_owned()).or_default();
                        known.push(address.parse().unwrap());
                    }
                }
            }
        }
        let (vehicles, listeners) = addresses["listening for vehicles"].split_first().unwrap();
        Self {
            child,
            data: data.to_owned(),
            vehicles: *vehicles,
            listeners: listeners.to_vec(),
            http: addresses["listening for HTTP"][0],
            log: Some(log),
            beginning,
        }
    }

    /// Kills the node with -9 and starts it again on the same folder and ports.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        let (vehicles, http) = (self.vehicles.to_string(), self.http.to_string());
        *self = Self::start_on(&self.data.clone(), &vehicles, &http);
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills the node; what it has logged since its start.
    pub fn kill_and_read_log(mut self) -> String {
        self.kill();
        self.read_log()
    }

    /// What the node has logged since its start; waits for its end.
    pub fn read_log(&mut self) -> String {
        let mut log = String::new();
        let reader = self.log.as_mut().unwrap();
        reader.read_to_string(&mut log).unwrap();
        log
    }

    /// From now on nobody reads what the node logs: it can write there no more.
    pub fn close_log(&mut self) {
        self.log = None;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks the node to stop and waits for its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The exit code, within 20 s.
    pub fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }

    pub fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.http)).unwrap()
    }

    /// Every stored position.
    pub fn export(&self) -> Vec<Value> {
        let reader = self.client().export(&ExportFilter::default()).unwrap();
        reader
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }

    /// The samples of `/metrics` by name with labels.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        let text = self.client().text("/metrics").unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.kill();
        }
    }
}

/// Sends a signal to a process.
pub fn signal(child: &Child, name: &str) {
    let killed = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
}

/// The exit code of a process, within 20 s; later it is killed, and the test has failed.
pub fn wait(child: &mut Child) -> Option<i32> {
    for _ in 0..2_000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("the process did not end within 20 s");
}

/// The command line of a node on `data`.
pub fn command(data: &Path, vehicles: &str, http: &str) -> Command {
    let mut command = named(data, "test", "127.0.0.1:0");
    command.args(["--vehicles", vehicles, "--http", http]);
    command
}

/// The same without the ports that it is asked and fed on.
fn named(data: &Path, name: &str, link: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waymesh"));
    // A secret of its own, and nobody is looked for.
    command
        .env("XDG_CONFIG_HOME", data)
        .env("WAYMESH_DISCOVERY__TRANSPORTS", "static");
    command.args([
        "run",
        "--name",
        name,
        "--link",
        link,
        "--log-format",
        "json",
    ]);
    command.arg("--data").arg(data);
    command
        .stdout(Stdio::null())
        .current_dir(data.parent().unwrap());
    command
}
