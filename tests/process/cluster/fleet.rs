//! Vehicles that share no code with the node, and the books that are held against what each node
//! gives: `tests/foreign/wialon.py` speaks, and says in the end what was acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use waymesh::{
    client::{ExportFilter, TimeRange},
    types::{ids::VehicleId, time::UnixMillis},
};

use super::sibling::{PATIENCE, Sibling};
use crate::{namespace::Host, skipped};

/// Port of vehicles at each node.
pub const DOOR: u16 = 5_000;

/// Vehicles whose whole track is read from each node.
const TRACKS_READ: usize = 20;

/// How a fleet behaves.
pub struct Habits {
    pub n_vehicles: usize,
    /// What their names begin with.
    pub prefix: &'static str,
    /// Between two lines of a vehicle; nothing: as fast as it may.
    pub period: Duration,
    /// Lines ahead of their answers.
    pub window: usize,
    /// After so long without a word a vehicle goes elsewhere.
    pub patience: Duration,
}

/// A fleet on its way; ended when dropped.
pub struct Fleet {
    child: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

/// How many had an answer since the last mark.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Stand {
    heard: usize,
}

/// What became of a fleet.
#[derive(Debug, Deserialize)]
pub struct Report {
    pub said: u64,
    pub answered: u64,
    pub lost_connections: u64,
    /// Answers that are not what the line must have.
    unmet: Vec<Vec<String>>,
    pub vehicles: BTreeMap<String, Told>,
}

/// What a vehicle knows in the end.
#[derive(Debug, Deserialize)]
pub struct Told {
    /// Seconds since 1970 of all fixes that were acknowledged.
    acknowledged: Vec<i64>,
    /// All that it ever said was before this.
    last: i64,
    unanswered: u64,
    /// The longest that it had a line that was due and no answer, in seconds.
    pub silence: f64,
}

/// Whether this machine has Python; says so where it has none.
pub fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output();
    let has = found.is_ok_and(|output| output.status.success());
    if !has {
        skipped::say("there is no python3, so no foreign vehicle comes");
    }
    has
}

impl Fleet {
    /// Sends vehicles out from `host`, to nodes at these hosts' addresses.
    pub fn start(host: &Host, habits: &Habits, nodes: &[std::net::Ipv4Addr]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/wialon.py");
        let mut command = host.command("python3");
        command
            .arg(program)
            .arg(habits.n_vehicles.to_string())
            .arg(habits.prefix)
            .arg(habits.period.as_secs_f64().to_string())
            .arg(habits.window.to_string())
            .arg(habits.patience.as_secs_f64().to_string())
            .args(nodes.iter().map(|node| format!("{node}:{DOOR}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            orders: child.stdin.take().unwrap(),
            said: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn order<T: for<'a> Deserialize<'a>>(&mut self, order: &str) -> T {
        writeln!(self.orders, "{order}").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{order}: {error}: {line:?}"))
    }

    /// Waits until every vehicle has had an answer from now on; how long that took.
    #[track_caller]
    pub fn wait_until_all_are_answered(&mut self) -> Duration {
        let since = Instant::now();
        let marked: BTreeMap<String, usize> = self.order("mark");
        let n_vehicles = marked["vehicles"];
        loop {
            let stand: Stand = self.order("stand");
            if stand.heard == n_vehicles {
                return since.elapsed();
            }
            let heard = stand.heard;
            assert!(
                since.elapsed() < PATIENCE,
                "{heard} of {n_vehicles} vehicles were answered in time"
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Lets them say their last, and waits until all is answered.
    pub fn stop(mut self) -> Report {
        let report: Report = self.order("stop");
        assert!(self.child.wait().unwrap().success());
        assert!(report.unmet.is_empty(), "{:?}", report.unmet);
        let unanswered: Vec<_> = report
            .vehicles
            .iter()
            .filter(|(_, told)| told.unanswered > 0)
            .map(|(vehicle, told)| format!("{vehicle}: {}", told.unanswered))
            .collect();
        assert!(unanswered.is_empty(), "without answers: {unanswered:?}");
        report
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

impl Report {
    /// The longest that any vehicle went without an answer.
    pub fn longest_silence(&self) -> Duration {
        let silences = self.vehicles.values().map(|told| told.silence);
        Duration::from_secs_f64(silences.fold(0.0, f64::max))
    }

    /// Says how it went.
    pub fn print(&self, what: &str) {
        let (silence, vehicles) = (self.longest_silence(), self.vehicles.len());
        let Self {
            said,
            answered,
            lost_connections,
            ..
        } = self;
        eprintln!(
            "{what}: {vehicles} vehicles said {said} lines, {answered} answers, \
             {lost_connections} connections lost, longest without an answer {silence:.3?}"
        );
    }
}

/// Waits until all nodes see all and have one epoch.
#[track_caller]
pub fn wait_for_one_epoch(siblings: &[Sibling<'_>]) -> Duration {
    let since = Instant::now();
    loop {
        let views: Vec<_> = siblings.iter().map(view).collect();
        let is_whole = |(_, n_up): &(String, usize)| *n_up == siblings.len();
        let epochs: BTreeSet<_> = views.iter().map(|(epoch, _)| epoch).collect();
        if epochs.len() == 1 && views.iter().all(is_whole) {
            return since.elapsed();
        }
        assert!(
            since.elapsed() < PATIENCE,
            "no one epoch in time: {views:?}, {:#?}",
            siblings
                .iter()
                .map(|one| one.get("/v1/nodes").1)
                .collect::<Vec<_>>()
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Its epoch, and how many it sees up.
fn view(sibling: &Sibling<'_>) -> (String, usize) {
    sibling.ask(|client| {
        let members = client.members().unwrap();
        let up = members.nodes.iter().filter(|node| node.state == "up");
        (members.epoch, up.count())
    })
}

/// Once nothing is in flight, each position that was decoded at a node or came to it over a link has
/// one outcome in its metrics, since its last start.
#[track_caller]
pub fn check_books(siblings: &[Sibling<'_>]) {
    for sibling in siblings {
        let metrics = sibling.wait_metrics("rest", |metrics| {
            let is_at_rest = metrics["waymesh_positions_in_flight"] == 0;
            is_at_rest.then(|| metrics.clone())
        });
        let one = |name: &str| metrics[&format!("waymesh_{name}")];
        let all = |head: &str| -> u64 {
            let labelled = metrics.iter().filter(|(name, _)| name.starts_with(head));
            labelled.map(|(_, count)| count).sum()
        };
        let came = one("positions_accepted_total") + one("forwarded_total{direction=\"in\"}");
        let ends = ["stored", "duplicate", "expired"];
        let ends = ends.map(|end| one(&format!("positions_{end}_total")));
        let refused = all("waymesh_positions_refused_total{");
        let gone = one("forwarded_total{direction=\"out\"}") + refused;
        let name = &sibling.name;
        assert_eq!(
            came,
            ends.iter().sum::<u64>() + gone,
            "{name}: {metrics:#?}"
        );
    }
}

/// Every node gives every acknowledged fix, each once, nothing that was never said, the same as all
/// others, and tracks in order of time.
#[track_caller]
pub fn check_everywhere(siblings: &[Sibling<'_>], reports: &[Report]) {
    let mut first: Option<Vec<String>> = None;
    for sibling in siblings {
        let lines = export(sibling);
        check_export(&sibling.name, &lines, reports);
        check_tracks(sibling, reports);
        let name = &sibling.name;
        match &first {
            Some(first) => assert!(*first == lines, "{name} gives other records than the first"),
            None => first = Some(lines),
        }
    }
}

/// All that a node gives, in order.
fn export(sibling: &Sibling<'_>) -> Vec<String> {
    sibling.ask(|client| {
        let reader = client.export(&ExportFilter::default()).unwrap();
        let mut lines: Vec<String> = reader.lines().map(Result::unwrap).collect();
        lines.sort();
        lines
    })
}

#[derive(Deserialize)]
struct Fix {
    vehicle: String,
    time: String,
}

#[track_caller]
fn check_export(name: &str, lines: &[String], reports: &[Report]) {
    let mut given: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for line in lines {
        let fix: Fix = serde_json::from_str(line).unwrap();
        let second = UnixMillis::parse(&fix.time).unwrap().0 / 1_000;
        let is_new = given.entry(fix.vehicle).or_default().insert(second);
        assert!(is_new, "{name} gives this twice: {line}");
    }
    let (mut n_acknowledged, mut lost) = (0, Vec::new());
    for (vehicle, told) in reports.iter().flat_map(|report| &report.vehicles) {
        let given = given.remove(vehicle).unwrap_or_default();
        n_acknowledged += told.acknowledged.len();
        let missing = told.acknowledged.iter().filter(|at| !given.contains(at));
        lost.extend(missing.map(|at| (vehicle, *at)));
        let foreign = given.iter().find(|second| **second >= told.last);
        assert_eq!(foreign, None, "{name}: {vehicle} never said this");
    }
    let n_lost = lost.len();
    lost.truncate(5);
    assert!(
        n_lost == 0,
        "{name} does not give {n_lost} of {n_acknowledged} acknowledged fixes, as {lost:?}"
    );
    assert!(given.is_empty(), "{name} gives vehicles that never were");
    eprintln!("{name} gives all {n_acknowledged} acknowledged fixes once");
}

#[track_caller]
fn check_tracks(sibling: &Sibling<'_>, reports: &[Report]) {
    let vehicles = reports.iter().flat_map(|report| report.vehicles.keys());
    let vehicles: Vec<String> = vehicles.cloned().collect();
    let step = (vehicles.len() / TRACKS_READ).max(1);
    let disordered = sibling.ask(move |client| {
        let is_disordered = |vehicle: &&String| {
            let id = VehicleId::parse(vehicle.as_bytes()).unwrap();
            let track = client.track(&id, TimeRange::default(), 500);
            let times: Vec<String> = track.map(|position| position.unwrap().time).collect();
            !times.is_sorted_by(|one, other| one < other)
        };
        let read = vehicles.iter().step_by(step);
        read.filter(is_disordered).cloned().collect::<Vec<_>>()
    });
    assert!(disordered.is_empty(), "{disordered:?} are out of order");
}
