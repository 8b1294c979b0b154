//! What the machine tells about this process: descriptor limit, host name, size of disks,
//! holders of ports and locks.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of descriptors this process may open to what the system allows, and returns
/// it; `None` if there is no limit.
pub fn raise_descriptor_limit() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Makes the system's table of this process's descriptors large enough for `n_descriptors`, or as large as
/// allowed. It grows by itself, but with threads that share it each doubling waits for all processors: 8 to
/// 20 ms in which a thread that opens a file or takes a connection does nothing else.
pub fn make_room_for_descriptors(n_descriptors: usize) {
    let last = i32::try_from(n_descriptors.saturating_sub(1)).unwrap_or(i32::MAX);
    // Without it the table grows by itself, and a descriptor that is gone at once is none.
    drop(rustix::io::fcntl_dupfd_cloexec(io::stderr(), last));
}

/// Size in bytes of the disk that holds `path`; `None` where the system does not tell.
pub fn disk_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    disk.f_frsize.checked_mul(disk.f_blocks)
}

/// Name of this machine.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The process that listens on a TCP port of this machine, as `NAME (pid N)`, where the system lets
/// this process see it (Linux, own processes).
pub fn holder_of_port(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let holds = |path: &Path| {
            fs::read_link(path).is_ok_and(|target| target.to_str() == Some(wanted.as_str()))
        };
        descriptors
            .any(|descriptor| holds(&descriptor.path()))
            .then(|| {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                format!("{} (pid {pid})", name.trim())
            })
    })
}

/// The process that has locked `path` with flock, as `NAME (pid N)`, where the system tells (Linux).
pub fn holder_of_lock(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let pid = locking_pid(&fs::read_to_string("/proc/locks").ok()?, &place)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", name.trim()))
}

/// The process that holds the flock on the file `place` in a table of the form of `/proc/locks`.
fn locking_pid(table: &str, place: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields.as_slice() {
            // One who waits has an arrow before the kind.
            [_, "FLOCK", _, _, pid, at, ..] if *at == place => pid.parse().ok(),
            _ => None,
        }
    })
}

/// The inode of the socket that listens on `port` in a table of the form of `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let is_listening = fields.nth(1)? == LISTEN;
        let is_port = u16::from_str_radix(local_port, 16) == Ok(port);
        (is_listening && is_port)
            .then(|| fields.nth(5)?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found_in_the_systems_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n   \
            1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n";
        assert_eq!(listening_inode(table, 8080), Some(4711));
        assert_eq!(listening_inode(table, 8081), None);
    }

    #[test]
    fn this_process_is_found_as_the_holder_of_its_port() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = holder_of_port(socket.local_addr().unwrap().port()).unwrap();
        assert!(
            holder.contains(&format!("pid {}", std::process::id())),
            "{holder}"
        );
    }

    #[test]
    fn the_holder_of_a_lock_is_found_in_the_systems_table() {
        let table = "1: POSIX  ADVISORY  WRITE 7 fe:00:100 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 8 fe:00:101 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 9 fe:00:100 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 10 fe:00:100 0 EOF\n";
        assert_eq!(locking_pid(table, "fe:00:100"), Some(10));
        assert_eq!(locking_pid(table, "fe:01:100"), None);
    }

    #[test]
    fn a_machine_has_a_name_and_a_limit() {
        assert!(!host_name().is_empty());
        assert!(raise_descriptor_limit().is_none_or(|limit| limit > 0));
        assert!(disk_bytes(Path::new("/")).unwrap() > 1_000_000);
    }
}
