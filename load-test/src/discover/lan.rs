//! Where nodes are started: hosts of their own on one bridge, made of network namespaces with the
//! tool `ip`, or all of them on loopback where this process may not make any.
//!
//! What is made is gone when its owner is dropped. What a killed run left behind, the next removes.

use std::{
    io::{self, Write as _},
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
};

use crate::out::Out;

/// Where network namespaces have their names.
const NAMES: &str = "/run/netns";

/// Begins the name of each namespace; the id of the process that made it and a number follow.
const PREFIX: &str = "waymesh";

/// Hosts up to which the machine's table of neighbours is trusted to hold who is next to whom: all
/// namespaces share it, and by default it takes 1,024 of each family. Of more hosts each is told
/// beforehand, as entries that are told do not count.
const STRANGERS_MAX: usize = 30;

/// A bridge asks the firewall of its namespace about each frame where the system is set so; here
/// there is none to ask, and it costs time.
const NO_FIREWALL: &str = "for file in /proc/sys/net/bridge/bridge-nf-call-*; do \
    if [ -e $file ]; then echo 0 >$file; fi; done";

/// A bridge and the hosts on it.
#[derive(Debug)]
pub(crate) struct Lan {
    /// Where the bridge lies, so that the machine's own network sees nothing of it.
    switch: Namespace,
    hosts: Vec<Namespace>,
}

#[derive(Debug)]
struct Namespace(String);

impl Lan {
    /// A LAN of `n_hosts`, each with `eth0`.
    ///
    /// # Errors
    /// The tool `ip` is missing, or this process may not make namespaces; what was made is gone.
    pub(crate) fn new(n_hosts: usize) -> io::Result<Self> {
        remove_left_ones();
        let switch = Namespace::new(0)?;
        switch.shell(NO_FIREWALL)?;
        switch.ip("link add br0 type bridge\nlink set br0 up\n")?;
        let mut lan = Self {
            switch,
            hosts: Vec::new(),
        };
        for number in 1..=n_hosts {
            lan.hosts.push(Namespace::new(number)?);
            lan.plug(number)?;
        }
        if n_hosts > STRANGERS_MAX {
            lan.introduce()?;
        }
        Ok(lan)
    }

    /// Tells every host the hardware addresses of all others.
    fn introduce(&self) -> io::Result<()> {
        for (own, host) in (1..).zip(&self.hosts) {
            let others = (1..=self.hosts.len()).filter(|other| *other != own);
            let entry = |other: usize| {
                let hardware = hardware_address(other);
                let [v4, v6] = [address(other).to_string(), link_local(other)];
                let line =
                    |ip| format!("neigh add {ip} lladdr {hardware} dev eth0 nud permanent\n");
                [line(v4), line(v6)].concat()
            };
            host.ip(&others.map(entry).collect::<String>())?;
        }
        Ok(())
    }

    /// Gives the host `number` an interface; hosts count from 1.
    fn plug(&self, number: usize) -> io::Result<()> {
        let Some(host) = self.hosts.get(number - 1) else {
            return Ok(());
        };
        host.trust_addresses()?;
        let (address, hardware) = (address(number), hardware_address(number));
        let switch = &self.switch.0;
        host.ip(&format!(
            "link set lo up\nlink add eth0 address {hardware} type veth \
             peer name port{number} netns {switch}\n"
        ))?;
        self.switch
            .ip(&format!("link set port{number} master br0 up\n"))?;
        host.ip(&format!(
            "link set eth0 up\naddr add {address}/24 dev eth0\n"
        ))
    }

    /// Plugs hosts (by index, from 0) into a second bridge that has no way to the first.
    pub(crate) fn part(&self, hosts: impl Iterator<Item = usize>) -> io::Result<()> {
        let ports = ports(hosts, "br1");
        self.switch.ip(&format!(
            "link add br1 type bridge\nlink set br1 up\n{ports}"
        ))
    }

    /// Plugs them back.
    pub(crate) fn heal(&self, hosts: impl Iterator<Item = usize>) -> io::Result<()> {
        let ports = ports(hosts, "br0");
        self.switch.ip(&format!("{ports}link del br1\n"))
    }

    /// A command that runs `program` in a host, with the id of the program itself.
    pub(crate) fn command(&self, host: usize, program: &Path) -> Command {
        let name = self.hosts.get(host).map_or("", |host| host.0.as_str());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program);
        command
    }
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, octet(number))
}

fn hardware_address(number: usize) -> String {
    format!("02:99:00:00:00:{:02x}", octet(number))
}

/// The address that the system makes of the hardware address.
fn link_local(number: usize) -> String {
    format!("fe80::99:ff:fe00:{:x}", octet(number))
}

fn ports(hosts: impl Iterator<Item = usize>, bridge: &str) -> String {
    let line = |host: usize| format!("link set port{} master {bridge}\n", host + 1);
    hosts.map(line).collect()
}

impl Namespace {
    fn new(number: usize) -> io::Result<Self> {
        let name = format!("{PREFIX}-{}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output()?;
        if made.status.success() {
            return Ok(Self(name));
        }
        let why = String::from_utf8_lossy(&made.stderr);
        Err(io::Error::other(why.trim().to_owned()))
    }

    /// Runs the lines of `commands`, as `link set eth0 down`, with the tool `ip`.
    fn ip(&self, commands: &str) -> io::Result<()> {
        let mut ip = Command::new("ip")
            .args(["-n", &self.0, "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = ip.stdin.take() {
            input.write_all(commands.as_bytes())?;
        }
        let output = ip.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("ip: {}", why.trim())))
    }

    /// Nobody else has these addresses: the second is spared in which IPv6 asks for doubles.
    fn trust_addresses(&self) -> io::Result<()> {
        self.shell(
            "for which in all default; do \
             file=/proc/sys/net/ipv6/conf/$which/accept_dad; \
             if [ -e $file ]; then echo 0 >$file; fi; done",
        )
    }

    /// Runs a line of commands in it.
    fn shell(&self, commands: &str) -> io::Result<()> {
        let mut command = Command::new("ip");
        let status = command
            .args(["netns", "exec", &self.0, "sh", "-c", commands])
            .status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other("a namespace has no settings of its own"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(name: &str) {
    let removed = Command::new("ip").args(["netns", "del", name]).output();
    if !removed.is_ok_and(|output| output.status.success()) {
        Out.note(&format!(
            "the network namespace {name} could not be removed"
        ));
    }
}

/// Removes the namespaces of processes that are no more.
fn remove_left_ones() {
    let Ok(entries) = std::fs::read_dir(NAMES) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        if parts.next() != Some(PREFIX) {
            continue;
        }
        let pid = parts.next().and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(&name);
        }
    }
}
