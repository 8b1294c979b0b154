//! What a turn cost, read from `/proc`: the server, this tool, and all others on the machine.

use std::{fs, io};

use waymesh::base::time::Stopwatch;

/// Clock ticks a second in `/proc`; fixed for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    since: Stopwatch,
    server: f64,
    own: f64,
    machine: f64,
}

/// Processor seconds between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// Of the servers.
    pub(super) server_seconds: f64,
    /// Of this tool, as a share of one processor.
    pub(super) own_share: f64,
    /// Of everybody else, as a share of the machine.
    pub(super) others_share: f64,
}

impl Reading {
    /// Reads the counters; `servers` are process ids.
    ///
    /// # Errors
    /// When `/proc` cannot be read, as when a server is gone.
    pub(super) fn now(servers: &[u32]) -> io::Result<Self> {
        Ok(Self {
            since: Stopwatch::start(),
            server: servers
                .iter()
                .map(|id| process_seconds(&id.to_string()))
                .sum::<io::Result<_>>()?,
            own: process_seconds("self")?,
            machine: machine_seconds()?,
        })
    }

    /// What was spent until `later`.
    pub(super) fn until(&self, later: &Self) -> Spent {
        let wall_seconds = (self.since.elapsed() - later.since.elapsed()).as_secs_f64();
        let (server_seconds, own) = (later.server - self.server, later.own - self.own);
        let others = (later.machine - self.machine - server_seconds - own).max(0.0);
        let n_processors = std::thread::available_parallelism().map_or(1, usize::from);
        Spent {
            server_seconds,
            own_share: own / wall_seconds,
            others_share: others / (wall_seconds * n_processors as f64),
        }
    }
}

/// Bytes of memory that a process has now.
///
/// # Errors
/// When `/proc` cannot be read, as when the process is gone.
pub(super) fn resident_bytes(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(unreadable)
}

fn process_seconds(process: &str) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold spaces; the fields after it do not.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    let mut fields = fields.unwrap_or_default().split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks().zip(ticks()).ok_or_else(unreadable)?;
    Ok((user + system) / TICKS_PER_SECOND)
}

/// All time that the machine's processors did not rest or wait for a disk, stolen time included.
fn machine_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let all = stat.lines().next().ok_or_else(unreadable)?;
    let fields = all.split_whitespace().skip(1).enumerate();
    // user nice system idle iowait irq softirq steal; guest time is in user time already.
    let busy = fields.filter(|(idx, _)| !matches!(idx, 3 | 4) && *idx < 8);
    let ticks: f64 = busy
        .filter_map(|(_, field)| field.parse::<f64>().ok())
        .sum();
    Ok(ticks / TICKS_PER_SECOND)
}

fn unreadable() -> io::Error {
    io::Error::other("/proc has another shape than expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let process = std::process::id();
        let first = Reading::now(&[process]).unwrap();
        let spent = first.until(&Reading::now(&[process]).unwrap());
        assert!(spent.server_seconds >= 0.0);
        assert!(spent.others_share >= 0.0);
        assert!(resident_bytes(process).unwrap() > 100_000);
    }
}
