//! Disks that fill up, and a log that is altered under a node. The small disks are file systems in
//! memory, which only root may mount; a test that may not says so and checks nothing.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    time::Duration,
};

use waymesh::{
    base::time::wall_millis,
    store::{
        index::{FjallIndex, Index as _, IndexConfig},
        log::LogOffset,
    },
    types::{
        attributes::Attributes,
        ids::VehicleId,
        record::{Body, Fix, Flags, Record, RecordKey},
        time::UnixMillis,
    },
};

use crate::{
    kill::{check, id, wait_for_progress},
    node::{Node, command},
    preloaded, skipped,
    vehicle::{Diary, End, connect, drive},
};

const N_VEHICLES: usize = 4;

/// A small disk; gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Absent, aloud, where this process may not mount.
    fn mount(n_mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={n_mebibytes}m"), "none"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            refused => {
                skipped::say(&format!("a small disk cannot be mounted here: {refused:?}"));
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room for anybody.
    fn fill(&self) {
        let mut foreign = File::create(self.foreign()).unwrap();
        let page = [7; 4_096];
        while foreign.write_all(&page).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.foreign()).unwrap();
    }

    fn foreign(&self) -> PathBuf {
        self.path().join("foreign")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// What `/readyz` says.
fn readiness(node: &Node) -> String {
    let mut socket = TcpStream::connect(node.http).unwrap();
    socket
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.trim_end().to_owned()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("not within 20 s: {what}");
}

fn count(node: &Node, name: &str) -> u64 {
    node.metrics().get(name).copied().unwrap_or_default()
}

/// Vehicles send while `act` is done; what they know then.
fn while_vehicles_send(node: &Node, act: impl FnOnce()) -> Vec<Diary> {
    let (address, is_over) = (node.vehicles, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let end = End(&is_over);
        let vehicles: Vec<_> = (0..N_VEHICLES)
            .map(|number| {
                let window = if number % 2 == 0 { 6 } else { 1 };
                let is_over = &is_over;
                scope.spawn(move || drive(address, &id(number), window, is_over))
            })
            .collect();
        act();
        drop(end);
        let diaries = vehicles.into_iter().map(|vehicle| vehicle.join().unwrap());
        diaries.collect()
    })
}

fn stored(node: &Node) -> u64 {
    count(node, "waymesh_positions_stored_total")
}

/// Fills the disk under a node and empties it again, some times; the node's log.
fn fill_and_empty(disk: &SmallDisk, settings: &str, n_times: usize) -> String {
    let refused = r#"waymesh_positions_refused_total{reason="disk_full"}"#;
    let data = disk.path().join("data");
    let node = Node::start_with(&data, settings);
    let diaries = while_vehicles_send(&node, || {
        for _ in 0..n_times {
            wait_for_progress(&node, stored(&node) + 200);
            disk.fill();
            wait_until("not ready", || readiness(&node).contains("disk_room"));
            let (n_stored, n_refused) = (stored(&node), count(&node, refused));
            wait_until("refusals", || count(&node, refused) > n_refused + 20);
            assert_eq!(stored(&node), n_stored, "stored on a full disk");
            disk.empty();
            wait_for_progress(&node, n_stored + 200);
            wait_until("ready again", || readiness(&node) == "ready");
        }
    });
    check(&node, &diaries);
    let log = node.kill_and_read_log();
    let node = Node::start_with(&data, settings);
    check(&node, &diaries);
    assert_eq!(node.stop(), Some(0));
    log
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_is_left_without_a_start() {
    let Some(disk) = SmallDisk::mount(64) else {
        return;
    };
    let log = fill_and_empty(&disk, "", 2);
    assert_eq!(log.matches("disk full").count(), 2, "{log}");
    assert_eq!(log.matches("has room again").count(), 2, "{log}");
}

#[test]
fn without_a_reserve_a_full_disk_loses_nothing_either() {
    let Some(disk) = SmallDisk::mount(64) else {
        return;
    };
    fill_and_empty(&disk, "[store]\ndisk_reserve = \"0\"\n", 3);
}

/// The index has the small disk to itself: lines are acknowledged while it cannot be written.
#[test]
fn an_index_on_a_full_disk_is_opened_anew_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(64) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::create_dir(disk.path().join("index")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("index"), data.join("index")).unwrap();
    let node = Node::start(&data);
    let diaries = while_vehicles_send(&node, || {
        wait_for_progress(&node, 200);
        disk.fill();
        wait_until("failures", || {
            count(&node, "waymesh_index_failures_total") >= 2
        });
        assert_eq!(readiness(&node), "not ready: index");
        wait_for_progress(&node, stored(&node) + 200);
        disk.empty();
        wait_until("ready again", || readiness(&node) == "ready");
        wait_for_progress(&node, stored(&node) + 200);
    });
    check(&node, &diaries);
    let log = node.kill_and_read_log();
    assert!(log.contains("the index failed and is opened anew"), "{log}");
    assert!(log.contains("the index works again"), "{log}");
    let node = Node::start(&data);
    check(&node, &diaries);
    assert_eq!(node.stop(), Some(0));
}

/// Alters a byte of the file that says which tables there are: over the first of them fjall would end
/// the process. The file.
fn damage_index(data: &Path) -> PathBuf {
    let keyspace = data.join("index/keyspaces/0");
    let current = fs::read(keyspace.join("current")).unwrap();
    let number = u64::from_le_bytes(*current.first_chunk().unwrap());
    let path = keyspace.join(format!("v{number}"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, &bytes).unwrap();
    path
}

/// Waits until the log begins behind its first record.
fn wait_until_trimmed(data: &Path) {
    let first = data.join("log/00000000000000000000.segment");
    wait_until("a trimmed log", || !first.exists());
}

#[test]
fn a_damaged_index_is_made_anew_while_the_log_has_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data);
    let diaries = while_vehicles_send(&node, || wait_for_progress(&node, 200));
    node.kill_and_read_log();
    damage_index(&data);
    let node = Node::start(&data);
    check(&node, &diaries);
    assert_eq!(count(&node, "waymesh_index_rebuilds_total"), 1);
    assert!(data.join("index.damaged/version").exists());
    let log = &node.beginning;
    assert_eq!(log.matches("is made anew from the log").count(), 1, "{log}");
    assert!(
        !log.contains("restore"),
        "nothing is left to be done: {log}"
    );
    assert!(
        log.contains(&data.join("index").display().to_string()),
        "{log}"
    );
    node.kill_and_read_log();
    let node = Node::start(&data);
    check(&node, &diaries);
    assert_eq!(count(&node, "waymesh_index_rebuilds_total"), 0);
}

#[test]
fn a_damaged_index_that_alone_has_the_records_keeps_the_node_from_starting_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data);
    while_vehicles_send(&node, || wait_for_progress(&node, 200));
    node.kill_and_read_log();
    let node = Node::start(&data);
    while_vehicles_send(&node, || wait_for_progress(&node, 20));
    wait_until_trimmed(&data);
    node.kill_and_read_log();
    let file = damage_index(&data);
    for _ in 0..2 {
        let output = command(&data, "127.0.0.1:0", "127.0.0.1:0").output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        let named = format!("{} is damaged at byte 0", file.display());
        assert!(said.contains(&named) && said.contains("restore"), "{said}");
        assert!(said.contains("the index cannot be opened"), "{said}");
    }
}

/// A folder with an index of many vehicles, in tables, and an empty log.
fn index_in_tables(data: &Path) -> Vec<VehicleId> {
    let folder = data.join("index");
    fs::create_dir_all(&folder).unwrap();
    // Small enough that all of it goes to tables, in which a record is written at once.
    let config = IndexConfig {
        memtable_bytes: 4_096,
        stage_bytes: 0,
        ..IndexConfig::default()
    };
    let index = FjallIndex::open(&folder, config).unwrap();
    let ids: Vec<_> = (0..400)
        .map(|number| VehicleId::parse(format!("fleet-of-many-{number:03}").as_bytes()).unwrap())
        .collect();
    let records: Vec<_> = ids.iter().map(position_of).collect();
    for part in records.chunks(100) {
        index.apply(part).unwrap();
    }
    index.persist(LogOffset(0)).unwrap();
    wait_until("large tables", || large_tables(data).len() >= 2);
    ids
}

fn position_of(vehicle: &VehicleId) -> Record {
    Record {
        key: RecordKey {
            vehicle: vehicle.clone(),
            time: UnixMillis(wall_millis() - 3_600_000),
            hash: 1,
        },
        received: UnixMillis(wall_millis()),
        protocol: "wialon".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix::default()),
    }
}

/// Tables with several blocks of rows.
fn large_tables(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for keyspace in fs::read_dir(data.join("index/keyspaces")).unwrap() {
        for table in fs::read_dir(keyspace.unwrap().path().join("tables")).unwrap() {
            let path = table.unwrap().path();
            if fs::metadata(&path).is_ok_and(|known| known.len() > 8_192) {
                found.push(path);
            }
        }
    }
    found
}

/// An answer as it comes.
fn answer(node: &Node, path: &str) -> String {
    let mut socket = TcpStream::connect(node.http).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// The body of an answer that is not 200; nothing if it is.
fn problem(node: &Node, path: &str) -> Option<String> {
    let answer = answer(node, path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (!head.starts_with("HTTP/1.1 200")).then(|| body.to_owned())
}

/// Sends a position of each of some vehicles; whether all are acknowledged.
fn report(node: &Node, ids: &[VehicleId]) -> bool {
    ids.iter().all(|id| {
        let mut socket = BufReader::new(TcpStream::connect(node.vehicles).unwrap());
        write!(socket.get_mut(), "#L#{};NA\r\n", id.as_str()).unwrap();
        let mut answer = String::new();
        socket.read_line(&mut answer).unwrap();
        let line = "#SD#NA;NA;5926.2320;N;02445.2100;E;42;181;34;9\r\n";
        socket.get_mut().write_all(line.as_bytes()).unwrap();
        answer.clear();
        socket.read_line(&mut answer).unwrap();
        answer == "#ASD#1\r\n"
    })
}

/// One byte in a block of rows of each large table is altered while the node is off.
#[test]
fn a_damaged_table_is_named_and_costs_no_other_answer_and_no_acknowledgement() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ids = index_in_tables(&data);
    let damaged = large_tables(&data);
    for path in &damaged {
        let mut bytes = fs::read(path).unwrap();
        bytes[100] ^= 1;
        fs::write(path, &bytes).unwrap();
    }
    let node = Node::start(&data);
    let path = |id: &VehicleId| format!("/v1/vehicles/{}", id.as_str());
    let ask = |id: &VehicleId| problem(&node, &path(id)).map(|problem| (id.clone(), problem));
    let (unanswered, problems): (Vec<_>, Vec<_>) = ids.iter().filter_map(ask).unzip();
    println!("{} of {} are not answered", unanswered.len(), ids.len());
    assert!((1..ids.len() / 2).contains(&unanswered.len()));
    let is_named = |text: &str| {
        damaged.iter().any(|path| {
            text.contains(&format!(
                "{} is damaged at byte 0: the block",
                path.display()
            ))
        })
    };
    for problem in &problems {
        assert!(is_named(problem), "{problem}");
        assert!(problem.contains("move the folder"), "{problem}");
    }
    let are_taken = report(&node, &unanswered);
    // It has what waits in memory written, which the damaged blocks are needed for.
    let exported = answer(&node, "/v1/export");
    assert!(!exported.ends_with("0\r\n\r\n"), "whole: {exported}");
    let are_taken = are_taken && report(&node, &unanswered);
    let log = node.kill_and_read_log();
    assert!(are_taken, "{log}");
    assert!(
        log.contains("a file of the index is damaged") && is_named(&log),
        "{log}"
    );
    // What the message says to do.
    fs::rename(data.join("index"), folder.path().join("away")).unwrap();
    let node = Node::start(&data);
    for id in &unanswered {
        assert_eq!(problem(&node, &path(id)), None);
    }
    assert_eq!(node.stop(), Some(0));
}

/// What was acknowledged and is not in the index yet cannot be read any more: nothing but a look at
/// the disk by people helps.
#[test]
fn a_log_that_is_cut_under_the_node_ends_it_with_70() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut node = Node::start(&data);
    let mut socket = BufReader::new(TcpStream::connect(node.vehicles).unwrap());
    write!(socket.get_mut(), "#L#cut;NA\r\n").unwrap();
    let mut answer = String::new();
    socket.read_line(&mut answer).unwrap();
    // The index takes a record some time after it was acknowledged, or, by chance, at once.
    for second in 0..60 {
        let line = format!("#SD#011125;1200{second:02};5926.2320;N;02445.2100;E;42;181;34;9\r\n");
        let sent = socket.get_mut().write_all(line.as_bytes());
        answer.clear();
        if sent.is_err() || socket.read_line(&mut answer).is_err() || answer.is_empty() {
            break;
        }
        let segment = fs::read_dir(data.join("log")).unwrap().next().unwrap();
        let file = OpenOptions::new().write(true).open(segment.unwrap().path());
        file.unwrap().set_len(0).unwrap();
    }
    assert_eq!(node.wait(), Some(70));
    let log = node.read_log();
    assert!(log.contains("the store failed: "), "{log}");
    assert!(log.contains("00000000000000000000.segment"), "{log}");
}

/// A sync does not come back: neither the line that waits for it nor the store's own close holds up
/// the end by more than the grace period and a little.
#[test]
fn a_disk_that_hangs_holds_up_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = preloaded::compile("disk/hang.c", folder.path()) else {
        return;
    };
    let sign = folder.path().join("hang");
    let environment = [
        ("LD_PRELOAD", library),
        ("HANG", sign.clone()),
        ("WAYMESH_GRACE_PERIOD", "100ms".into()),
    ];
    let mut node = Node::start_in(&folder.path().join("data"), &environment);
    let mut vehicle = connect(node.vehicles, "hang").unwrap();
    fs::write(&sign, "").unwrap();
    let line = "#SD#NA;NA;5926.2320;N;02445.2100;E;42;181;34;9\r\n";
    vehicle.get_mut().write_all(line.as_bytes()).unwrap();
    wait_until("a disk that hangs", || {
        readiness(&node).contains("disk_answers")
    });
    node.signal("TERM");
    assert_eq!(node.wait(), Some(0));
    let log = node.read_log();
    assert!(log.contains("the store did not close within"), "{log}");
    assert!(!log.contains("could not be told"), "{log}");
}
