//! A node, a good vehicle, an attack, and a look at what is left.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    rc::Rc,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use waymesh::{client::ExportFilter, types::ids::VehicleId};

use super::is_full;
use crate::{books, node::Node, vehicle::End};

const MIB: u64 = 1024 * 1024;

/// What a node's resident memory may grow by under attack.
pub const GROWTH_BYTES_MAX: u64 = 64 * MIB;

/// Size of the quarantine in every attack.
pub const QUARANTINE_BYTES_MAX: u64 = 256 * 1024;

/// How often the good vehicle sends.
const INTERVAL: Duration = Duration::from_millis(100);

/// Longer than the node's reply deadline: an answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the node counted from before an attack until all connections of it have ended.
pub struct Aftermath {
    before: BTreeMap<String, u64>,
    after: BTreeMap<String, u64>,
}

impl Aftermath {
    pub fn count(&self, name: &str) -> u64 {
        let of = |metrics: &BTreeMap<String, u64>| metrics.get(name).copied().unwrap_or_default();
        of(&self.after) - of(&self.before)
    }

    pub fn rejected(&self, reason: &str) -> u64 {
        self.count(&format!(
            "waymesh_lines_rejected_total{{reason=\"{reason}\"}}"
        ))
    }

    pub fn closed(&self, reason: &str) -> u64 {
        self.count(&format!(
            "waymesh_connections_closed_total{{reason=\"{reason}\"}}"
        ))
    }
}

/// A node and how often it was attacked.
struct Arena {
    node: Node,
    /// What the node took before the first attack.
    base_bytes: OnceCell<u64>,
    n_attacks: Cell<u32>,
    _folder: TempDir,
}

thread_local! {
    /// The arena of all attacks that need no settings, where they come one after the other.
    static SHARED: RefCell<Option<Rc<Arena>>> = const { RefCell::new(None) };
}

/// Lets all attacks of `campaign` that need no settings meet the same node.
pub fn on_one_node(campaign: impl FnOnce()) {
    SHARED.set(Some(Rc::new(Arena::open(""))));
    campaign();
    SHARED.take();
}

/// Starts a node with `settings`, attacks it beside a good vehicle, and checks that nothing but the
/// attacker came to harm. The connections of the attack must have ended when `attack` returns, or
/// end soon.
pub fn withstand(name: &str, settings: &str, attack: impl FnOnce(&Node)) -> Aftermath {
    let shared = SHARED.with_borrow(Option::clone);
    let shared = shared.filter(|_| settings.is_empty());
    let arena = shared.unwrap_or_else(|| Rc::new(Arena::open(settings)));
    arena.withstand(name, attack)
}

impl Arena {
    fn open(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            format!("{settings}\n[store]\nquarantine_bytes_max = {QUARANTINE_BYTES_MAX}\n");
        Self {
            node: Node::start_with(&folder.path().join("data"), &settings),
            base_bytes: OnceCell::new(),
            n_attacks: Cell::new(0),
            _folder: folder,
        }
    }

    /// What the node took before the first attack. From here its peak counts.
    fn base_bytes(&self) -> u64 {
        let now = || {
            // What the first question costs is no growth.
            assert!(!self.node.export().is_empty());
            assert!(!self.node.metrics().is_empty());
            memory_of(&self.node, "VmRSS:")
        };
        let base_bytes = *self.base_bytes.get_or_init(now);
        forget_peak(&self.node);
        base_bytes
    }

    fn withstand(&self, name: &str, attack: impl FnOnce(&Node)) -> Aftermath {
        let node = &self.node;
        let id = match self.n_attacks.replace(self.n_attacks.get() + 1) {
            0 => GOOD.to_owned(),
            n_before => format!("{GOOD} after {n_before} attacks"),
        };
        let before = node.metrics();
        let (is_over, n_answered) = (AtomicBool::new(false), AtomicU32::new(0));
        let (good, base_bytes) = std::thread::scope(|scope| {
            let end = End(&is_over);
            let good = scope.spawn(|| good_vehicle((node.vehicles, &id), &is_over, &n_answered));
            wait_until("the good vehicle has answers", || {
                n_answered.load(Ordering::Relaxed) >= 3
            });
            let base_bytes = self.base_bytes();
            attack(node);
            // It lives on after the attack.
            let n_before = n_answered.load(Ordering::Relaxed);
            wait_until("the good vehicle has more answers", || {
                good.is_finished() || n_answered.load(Ordering::Relaxed) >= n_before + 2
            });
            drop(end);
            (good.join().unwrap(), base_bytes)
        });
        let after = books::settled(node);
        let grown_bytes = peak_bytes(node).saturating_sub(base_bytes);
        let size = if is_full() { "full" } else { "small" };
        eprintln!(
            "attack {name} ({size} size): memory {} + {} KiB; good vehicle: {} answers, the slowest after {:?}",
            base_bytes / 1024,
            grown_bytes / 1024,
            good.n_answered,
            good.slowest
        );
        assert!(
            grown_bytes <= GROWTH_BYTES_MAX,
            "{name}: memory grew by {grown_bytes} bytes"
        );
        check_good((node, &id), &good);
        check_quarantine(node);
        assert_eq!(node.client().status().unwrap()["ready"], true);
        Aftermath { before, after }
    }
}

/// The id of the good vehicle of the first attack.
const GOOD: &str = "good vehicle";

/// What the good vehicle has seen.
struct Good {
    n_answered: u32,
    slowest: Duration,
}

/// Sends ten lines a second until `is_over`, each after the answer to the one before.
fn good_vehicle(
    (address, id): (SocketAddr, &str),
    is_over: &AtomicBool,
    n_answered: &AtomicU32,
) -> Good {
    let mut talk = Talk::login(address, id);
    let mut good = Good {
        n_answered: 0,
        slowest: Duration::ZERO,
    };
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let answer = talk.ask(&short(good.n_answered));
        assert_eq!(answer, "#ASD#1", "line {}", good.n_answered);
        good.n_answered = n_answered.fetch_add(1, Ordering::Relaxed) + 1;
        good.slowest = good.slowest.max(begin.elapsed());
        std::thread::park_timeout(INTERVAL.saturating_sub(begin.elapsed()));
    }
    good
}

/// All that the good vehicle sent is stored exactly once.
#[track_caller]
fn check_good((node, id): (&Node, &str), good: &Good) {
    let filter = ExportFilter {
        vehicle: Some(VehicleId::parse(id.as_bytes()).unwrap()),
        ..ExportFilter::default()
    };
    let lines = node.client().export(&filter).unwrap().lines();
    let times: Vec<_> = lines
        .map(|line| {
            let position: Value = serde_json::from_str(&line.unwrap()).unwrap();
            position["time"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected: Vec<_> = (0..good.n_answered)
        .map(|number| {
            let (hour, minute, second) = clock(number);
            format!("2025-11-01T{hour:02}:{minute:02}:{second:02}.000Z")
        })
        .collect();
    assert_eq!(times, expected);
}

/// The quarantine stays within its size.
#[track_caller]
fn check_quarantine(node: &Node) {
    let entries = fs::read_dir(node.data().join("quarantine")).unwrap();
    // A file that gives way meanwhile holds nothing.
    let n_bytes: u64 = entries
        .map(|entry| match entry.unwrap().metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => panic!("{error}"),
        })
        .sum();
    assert!(n_bytes <= QUARANTINE_BYTES_MAX, "{n_bytes} bytes set aside");
}

/// A conversation in Wialon IPS.
pub struct Talk(pub BufReader<TcpStream>);

impl Talk {
    pub fn login(address: SocketAddr, id: &str) -> Self {
        let mut talk = Self(BufReader::new(connect(address)));
        assert_eq!(talk.ask(format!("#L#{id};NA\r\n").as_bytes()), "#AL#1");
        talk
    }

    /// Sends a line and waits for the next answer.
    pub fn ask(&mut self, line: &[u8]) -> String {
        self.0.get_mut().write_all(line).unwrap();
        self.answer()
    }

    pub fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Line `number` of a vehicle: a position, each a second after the one before.
pub fn short(number: u32) -> Vec<u8> {
    let (hour, minute, second) = clock(number);
    format!("#SD#011125;{hour:02}{minute:02}{second:02};5926.2320;N;02445.2100;E;42;181;34;9\r\n")
        .into_bytes()
}

pub const fn clock(number: u32) -> (u32, u32, u32) {
    (number / 3_600 % 24, number / 60 % 60, number % 60)
}

/// Sends `pieces` over `socket` as fast as they are taken, reads all that comes back meanwhile, and
/// ends the connection; how many bytes came back.
pub fn flood(socket: &TcpStream, pieces: impl Iterator<Item = Vec<u8>>) -> u64 {
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut bytes = vec![0; 64 * 1024];
            let mut n_bytes = 0;
            let mut socket = socket;
            // An end by a reset is an end too.
            while let Ok(n_read @ 1..) = socket.read(&mut bytes) {
                n_bytes += n_read as u64;
            }
            n_bytes
        });
        let mut writer = socket;
        for piece in pieces {
            if writer.write_all(&piece).is_err() {
                break;
            }
        }
        // A node that has closed already has nothing to be told.
        socket.shutdown(Shutdown::Write).ok();
        reading.join().unwrap()
    })
}

/// Waits for `condition`, at most 20 s.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if condition() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("not within 20 s: {what}");
}

/// Makes the kernel forget the peak of the node's memory.
fn forget_peak(node: &Node) {
    let process = format!("/proc/{}", node.pid());
    if let Err(error) = fs::write(format!("{process}/clear_refs"), "5") {
        eprintln!("the peak of memory counts from the start: {error}");
    }
}

fn peak_bytes(node: &Node) -> u64 {
    memory_of(node, "VmHWM:")
}

fn memory_of(node: &Node, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() * 1024
}
