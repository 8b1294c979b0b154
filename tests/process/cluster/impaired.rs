//! One fleet on nodes of which one has a disk that hangs or refuses, or two cannot reach each other: vehicles go
//! on meanwhile, and afterwards every node gives every acknowledged fix once.
//!
//! `KILLS=long` holds the silences of vehicles against their bounds as well; otherwise they are
//! printed only, since other tests run beside this one.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    depot::{CALM, Depot, is_long, pass},
    fleet::{Report, check_books, check_everywhere, wait_for_one_epoch},
    sibling::{Sibling, wait_all_see_all},
};
use crate::{preloaded, skipped};

/// How long a disk that hangs, or a way that is gone, may keep a vehicle without an answer.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// A disk of its own that can be made to hang: whoever writes to it waits, in the kernel. Gone when
/// dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Absent, aloud, where this process may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let mounted = folder.path().join("disk");
        std::fs::create_dir(&mounted).unwrap();
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(512 * 1024 * 1024).unwrap();
        let made = run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        let mount = |()| {
            let mut command = Command::new("mount");
            run(command.args(["-o", "loop"]).arg(&image).arg(&mounted))
        };
        match made.and_then(mount) {
            Ok(()) => Some(Self { folder }),
            Err(why) => {
                skipped::say(&format!("a disk that hangs cannot be mounted here: {why}"));
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Hangs until what it gives is dropped. That must be before any process that writes to it is
    /// waited for: one that hangs in the kernel cannot be killed either.
    fn hang(&self) -> Hanging {
        freeze(&self.path(), "--freeze").unwrap();
        Hanging(self.path())
    }
}

/// A disk that hangs.
struct Hanging(PathBuf);

impl Drop for Hanging {
    fn drop(&mut self) {
        let thawed = freeze(&self.0, "--unfreeze");
        assert!(thawed.is_ok() || std::thread::panicking(), "{thawed:?}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").arg("--lazy").arg(self.path()));
        assert!(unmounted.is_ok() || std::thread::panicking());
    }
}

fn freeze(path: &Path, how: &str) -> Result<(), String> {
    run(Command::new("fsfreeze").arg(how).arg(path))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let failed = || format!("{command:?}: {}: {said}", output.status);
    output.status.success().then_some(()).ok_or_else(failed)
}

#[test]
fn a_disk_that_hangs_takes_no_vehicle_down_and_its_node_comes_back() {
    let Some(depot) = Depot::new(3) else { return };
    let Some(disk) = Disk::mount() else { return };
    let data = disk.path().join("data");
    let siblings = [
        depot.start_one(0),
        depot.start_one(1),
        depot.start_one_with(2, &[("WAYMESH_DATA", &data)]),
    ];
    wait_all_see_all(&siblings);
    wait_for_storing(&siblings, 3);
    let mut fleet = depot.fleet(&CALM);
    fleet.wait_until_all_are_answered();
    let hanging = disk.hang();
    let took = fleet.wait_until_all_are_answered();
    eprintln!("a disk hangs, all vehicles are answered again after {took:.3?}");
    wait_for_storing(&siblings, 2);
    let (status, why) = siblings[2].get("/readyz");
    assert_eq!((status, why.contains("disk_answers")), (503, true), "{why}");
    fleet.wait_until_all_are_answered();
    drop(hanging);
    wait_for_storing(&siblings, 3);
    fleet.wait_until_all_are_answered();
    let report = fleet.stop();
    report.print("a disk that hangs");
    check_silence(&report, SILENCE_MAX);
    check_all(&siblings, report);
}

#[test]
fn a_disk_that_refuses_takes_no_vehicle_down_and_its_node_comes_back() {
    let Some(depot) = Depot::new(3) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = preloaded::compile("disk/refuse.c", folder.path()) else {
        return;
    };
    let sign = folder.path().join("refuse");
    let environment: [(&str, &Path); 2] = [("LD_PRELOAD", &library), ("REFUSE", &sign)];
    let siblings = [
        depot.start_one(0),
        depot.start_one(1),
        depot.start_one_with(2, &environment),
    ];
    wait_all_see_all(&siblings);
    wait_for_storing(&siblings, 3);
    let mut fleet = depot.fleet(&CALM);
    fleet.wait_until_all_are_answered();
    std::fs::write(&sign, "").unwrap();
    let took = fleet.wait_until_all_are_answered();
    eprintln!("a disk refuses, all vehicles are answered again after {took:.3?}");
    wait_for_storing(&siblings, 2);
    let (status, why) = siblings[2].get("/readyz");
    assert_eq!((status, why.contains("disk_answers")), (503, true), "{why}");
    fleet.wait_until_all_are_answered();
    std::fs::remove_file(&sign).unwrap();
    siblings[2].wait_for(0, "the disk takes records again");
    wait_for_storing(&siblings, 3);
    fleet.wait_until_all_are_answered();
    let report = fleet.stop();
    report.print("a disk that refuses");
    check_silence(&report, SILENCE_MAX);
    check_all(&siblings, report);
}

#[test]
fn two_that_cannot_reach_each_other_and_both_reach_a_third_stop_no_vehicle() {
    let Some(depot) = Depot::new(3) else { return };
    let siblings = depot.start();
    wait_for_storing(&siblings, 3);
    let mut fleet = depot.fleet(&CALM);
    fleet.wait_until_all_are_answered();
    let pair = [&depot.hosts[0], &depot.hosts[1]];
    depot.lan.estrange(&pair);
    let took = fleet.wait_until_all_are_answered();
    eprintln!("two are estranged, all vehicles are answered again after {took:.3?}");
    siblings[..2].iter().for_each(|one| one.wait_links(1));
    siblings[2].wait_links(2);
    // Their views of who owns what differ now, and stay so.
    pass(Duration::from_secs(3));
    fleet.wait_until_all_are_answered();
    for sibling in &siblings {
        assert_eq!(sibling.view().len(), 3, "all are up, by way of the third");
    }
    depot.lan.reconcile(&pair);
    fleet.wait_until_all_are_answered();
    let report = fleet.stop();
    report.print("two that are estranged");
    check_silence(&report, SILENCE_MAX);
    check_all(&siblings, report);
}

fn check_silence(report: &Report, at_most: Duration) {
    let silence = report.longest_silence();
    assert!(
        !is_long() || silence <= at_most,
        "a vehicle had no answer for {silence:?}"
    );
}

fn check_all(siblings: &[Sibling<'_>], report: Report) {
    let took = wait_for_one_epoch(siblings);
    eprintln!("one epoch everywhere after {took:.3?}");
    check_everywhere(siblings, &[report]);
    check_books(siblings);
}

/// Waits until the others own shards, and so many nodes do.
#[track_caller]
fn wait_for_storing(siblings: &[Sibling<'_>], n_storing: usize) {
    for sibling in siblings {
        sibling.wait_metrics("owners", |_| {
            let owners = sibling.ask(|client| client.members().unwrap());
            let owners = owners.nodes.iter().filter(|node| node.owned_shards > 0);
            (owners.count() == n_storing).then_some(())
        });
    }
}
