//! LANs made of network namespaces: hosts of their own on a bridge, on one machine. Needs root (or
//! the capabilities to make namespaces) and the tool `ip`; where they are missing, [`Lan::new`]
//! says so aloud and gives none.
//!
//! All that is made is gone when its owner is dropped, after a panic too. What a killed test left
//! behind is removed by the next one.

#![allow(
    dead_code,
    reason = "each test program that has this file uses its part of it"
)]

use std::{
    fs::File,
    io::Write as _,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, setns};

const PREFIX: &str = "waymesh";

/// A switch that hosts are plugged into.
pub struct Lan {
    /// Where the bridge lies, so that the machine's own network sees nothing of it.
    switch: Namespace,
    number: u8,
}

/// A host: a namespace with a loopback that is up.
pub struct Host {
    namespace: Namespace,
    number: u8,
}

/// Whether IPv6 addresses are checked for doubles, as they are on a real LAN, before they are used:
/// that takes 1 to 2 s.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DoublesCheck {
    On,
    Off,
}

struct Namespace(String);

impl Lan {
    /// An empty LAN; none, and a line that says so, where this machine allows no namespaces.
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        remove_left_ones();
        let switch = match Namespace::try_new() {
            Ok(switch) => switch,
            Err(why) => {
                crate::skipped::say(&format!("this machine allows no network namespaces: {why}"));
                return None;
            }
        };
        switch.ip("link add br0 type bridge\nlink set br0 up");
        let number = u8::try_from(COUNT.fetch_add(1, Ordering::Relaxed) % 250).unwrap();
        Some(Self { switch, number })
    }

    /// A host with `eth0` in this LAN, as [`plug`](Self::plug) makes it.
    pub fn host(&self, number: u8) -> Host {
        let host = Host::new(number, DoublesCheck::Off);
        self.plug(&host, "eth0");
        host
    }

    /// The address that a host has in this LAN.
    pub fn address_of(&self, host: &Host) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.number, host.number)
    }

    /// Puts an interface into a host, which then has an address of a /24 network and an IPv6
    /// address of the link, and carries.
    pub fn plug(&self, host: &Host, interface: &str) {
        let address = self.address_of(host);
        self.plug_bare(host, interface);
        host.ip(&format!("addr add {address}/24 dev {interface}"));
    }

    /// The same without an IPv4 address.
    pub fn plug_bare(&self, host: &Host, interface: &str) {
        let port = format!("port{}", host.number);
        let switch = &self.switch.0;
        let veth = format!("link add {interface} type veth peer name {port} netns {switch}");
        host.ip(&veth);
        self.switch.ip(&format!("link set {port} master br0 up"));
        host.ip(&format!("link set {interface} up"));
    }

    /// Cuts a host's cable, or mends it: both ends lose their carrier.
    pub fn carry(&self, host: &Host, is_carrying: bool) {
        let state = if is_carrying { "up" } else { "down" };
        self.switch
            .ip(&format!("link set port{} {state}", host.number));
    }

    /// Plugs hosts into a second switch, which has no way to the first: no cable loses its carrier.
    pub fn part(&self, hosts: &[&Host]) {
        self.switch.ip("link add br1 type bridge\nlink set br1 up");
        let commands = ports(hosts, "master br1");
        self.switch.ip(&commands);
    }

    /// Plugs them back.
    pub fn heal(&self, hosts: &[&Host]) {
        let commands = ports(hosts, "master br0");
        self.switch.ip(&format!("{commands}link del br1\n"));
    }

    /// These hosts reach each other no more, without a word; all others they do.
    pub fn estrange(&self, hosts: &[&Host]) {
        let commands = ports(hosts, "type bridge_slave isolated on");
        self.switch.ip(&commands);
    }

    /// They reach each other again.
    pub fn reconcile(&self, hosts: &[&Host]) {
        let commands = ports(hosts, "type bridge_slave isolated off");
        self.switch.ip(&commands);
    }
}

fn ports(hosts: &[&Host], change: &str) -> String {
    let line = |host: &&Host| format!("link set port{} {change}\n", host.number);
    hosts.iter().map(line).collect()
}

impl Host {
    /// A host without a network. `number` is 1 to 254, and its own in each LAN it is plugged into.
    pub fn new(number: u8, check: DoublesCheck) -> Self {
        let namespace = Namespace::try_new().expect("a second namespace, where one was allowed");
        let host = Self { namespace, number };
        if check == DoublesCheck::Off {
            host.enter(|| {
                for which in ["all", "default"] {
                    let file = format!("/proc/sys/net/ipv6/conf/{which}/accept_dad");
                    // Absent on a machine without IPv6.
                    if Path::new(&file).exists() {
                        std::fs::write(file, "0").unwrap();
                    }
                }
            })
            .join()
            .unwrap();
        }
        host.ip("link set lo up");
        host
    }

    /// The name of its namespace.
    pub fn name(&self) -> &str {
        &self.namespace.0
    }

    /// Runs the lines of `commands`, as `link set eth0 down`, with the tool `ip` in this host.
    pub fn ip(&self, commands: &str) {
        self.namespace.ip(commands);
    }

    /// A program that will run in this host; its process id is the program's own.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.0, program]);
        command
    }

    /// A thread of this process that lives in this host: sockets made there are the host's.
    pub fn enter<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = File::open(format!("/run/netns/{}", self.namespace.0)).unwrap();
        thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }
}

impl Namespace {
    fn try_new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}", std::process::id());
        let mut command = Command::new("ip");
        let made = command.args(["netns", "add", &name]).output();
        let made = made.map_err(|error| format!("ip: {error}"))?;
        if made.status.success() {
            return Ok(Self(name));
        }
        Err(String::from_utf8_lossy(&made.stderr).trim().to_owned())
    }

    fn ip(&self, commands: &str) {
        let mut ip = Command::new("ip")
            .args(["-n", &self.0, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = ip.stdin.take().unwrap();
        input.write_all(commands.as_bytes()).unwrap();
        drop(input);
        assert!(ip.wait().unwrap().success(), "ip: {commands}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(name: &str) {
    let removed = Command::new("ip").args(["netns", "del", name]).status();
    if !removed.is_ok_and(|status| status.success()) {
        eprintln!("the network namespace {name} could not be removed");
    }
}

/// Removes the namespaces of processes that are no more.
fn remove_left_ones() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        if parts.next() != Some(PREFIX) {
            continue;
        }
        let is_left = parts
            .next()
            .is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if is_left {
            remove(&name);
        }
    }
}
