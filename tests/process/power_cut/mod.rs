//! The power is cut: only what the node had synced survives, of files and of names alike.
//!
//! A library preloaded into the node (`remember.c`, compiled here) stands in for the disk: at each
//! sync it remembers the content of the file, or the names in the folder. After a kill -9 the data
//! folder is laid anew from that memory alone, and the node starts on it. This is harsher than most
//! file systems, which make the name of a new file durable together with its content.

use std::{
    fs::{self, File},
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    kill::{check, id, wait_for_count, wait_for_progress},
    node::Node,
    preloaded,
    vehicle::{Diary, End, connect, drive},
};

const N_VEHICLES: usize = 12;
const N_CUTS: u64 = 5;

/// Large events between two cuts, and their bytes: with them enough waits of the month for the index to
/// write tables at once, beside what it writes in batches.
const N_LARGE: u64 = 24;
const LARGE_BYTES: usize = 16 * 1024;

#[test]
fn what_was_acknowledged_survives_power_cuts_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = preloaded::compile("power_cut/remember.c", folder.path()) else {
        return;
    };
    let mut disk = Disk::new(folder.path(), library);
    let mut node = disk.start();
    let is_over = AtomicBool::new(false);
    let address = node.vehicles;
    let diaries: Vec<Diary> = std::thread::scope(|scope| {
        let end = End(&is_over);
        let vehicles: Vec<_> = (0..N_VEHICLES)
            .map(|number| {
                let window = if number % 3 == 0 { 6 } else { 1 };
                let is_over = &is_over;
                scope.spawn(move || drive(address, &id(number), window, is_over))
            })
            .collect();
        scope.spawn(|| send_large(address, &is_over));
        for cut in 0..N_CUTS {
            wait_for_progress(&node, 150 + 50 * cut);
            wait_for_count(&node, "waymesh_events_total{outcome=\"stored\"}", N_LARGE);
            disk.wait_until_trimmed();
            node.kill();
            disk.cut_power();
            node.restart_in(&disk.data(), &disk.environment());
        }
        wait_for_progress(&node, 300);
        drop(end);
        vehicles
            .into_iter()
            .map(|vehicle| vehicle.join().unwrap())
            .collect()
    });
    node.kill();
    disk.cut_power();
    node.restart_in(&disk.data(), &disk.environment());
    check(&node, &diaries);
}

/// Sends large events, each after the answer to the one before, until `is_over`.
fn send_large(address: SocketAddr, is_over: &AtomicBool) {
    let text = "x".repeat(LARGE_BYTES);
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let Some(mut line) = connect(address, "large") else {
            std::thread::park_timeout(Duration::from_millis(20));
            continue;
        };
        let mut answer = String::new();
        while !is_over.load(Ordering::Relaxed)
            && write!(line.get_mut(), "#M#{number}{text}\r\n").is_ok()
            && line.read_line(&mut answer).is_ok_and(|n_bytes| n_bytes > 0)
        {
            number += 1;
            answer.clear();
            // Not so many that the checks after the cuts take long.
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// A data folder and what is remembered of it; a new pair for each life of the node.
struct Disk {
    folder: PathBuf,
    library: PathBuf,
    n_cuts: u32,
}

impl Disk {
    fn new(folder: &Path, library: PathBuf) -> Self {
        let disk = Self {
            folder: folder.canonicalize().unwrap(),
            library,
            n_cuts: 0,
        };
        fs::create_dir(disk.data()).unwrap();
        fs::create_dir(disk.memory()).unwrap();
        disk
    }

    fn data(&self) -> PathBuf {
        self.folder.join(format!("data-{}", self.n_cuts))
    }

    fn memory(&self) -> PathBuf {
        self.folder.join(format!("memory-{}", self.n_cuts))
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("LD_PRELOAD", self.library.clone()),
            ("POWER_CUT_ROOT", self.data()),
            ("POWER_CUT_MEMORY", self.memory()),
        ]
    }

    fn start(&self) -> Node {
        Node::start_in(&self.data(), &self.environment())
    }

    /// Waits until what the log held at the start is in the index alone.
    fn wait_until_trimmed(&self) {
        for _ in 0..4_000 {
            let n_segments = fs::read_dir(self.data().join("log")).unwrap().count();
            if n_segments == 1 {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!("the log was not trimmed within 20 s");
    }

    /// Lays the data folder anew from what is remembered, all of which counts as synced.
    fn cut_power(&mut self) {
        let (data, memory) = (self.data(), self.memory());
        self.n_cuts += 1;
        fs::create_dir(self.memory()).unwrap();
        lay_anew(&memory, &id_of(&data), &self.data(), &self.memory());
        fs::remove_dir_all(data).unwrap();
        fs::remove_dir_all(memory).unwrap();
    }
}

/// Makes the folder that was known as `id` at `path`, and enters it into the new memory.
fn lay_anew(memory: &Path, id: &str, path: &Path, new_memory: &Path) {
    fs::create_dir(path).unwrap();
    // Of a folder that was never synced no name survives.
    let names = fs::read_to_string(memory.join(format!("d-{id}"))).unwrap_or_default();
    let mut new_names = String::new();
    for line in names.lines() {
        let mut fields = line.splitn(3, ' ');
        let (kind, id, name) = (
            fields.next().unwrap(),
            fields.next().unwrap(),
            fields.next().unwrap(),
        );
        let path = path.join(name);
        if kind == "d" {
            lay_anew(memory, id, &path, new_memory);
        } else {
            // Of a file that was never synced no content survives.
            File::create(&path).unwrap();
            let content = memory.join(format!("f-{id}"));
            if content.exists() {
                fs::copy(content, &path).unwrap();
            }
            fs::copy(&path, new_memory.join(format!("f-{}", id_of(&path)))).unwrap();
        }
        new_names.push_str(&format!("{kind} {} {name}\n", id_of(&path)));
    }
    fs::write(new_memory.join(format!("d-{}", id_of(path))), new_names).unwrap();
}

/// Inode and time of birth, as `remember.c` writes them.
fn id_of(path: &Path) -> String {
    let metadata = fs::metadata(path).unwrap();
    let birth = metadata
        .created()
        .unwrap()
        .duration_since(UNIX_EPOCH)
        .unwrap();
    format!(
        "{}-{}.{}",
        metadata.ino(),
        birth.as_secs(),
        birth.subsec_nanos()
    )
}
