//! A program in another language, written from the pages alone, among nodes: `tests/foreign/members.py`
//! asks around, is linked, says what a member says and reads what its siblings say.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    fleet::has_python,
    sibling::{Family, PATIENCE, Sibling, wait_all_see_all},
};
use crate::namespace::{Host, Lan};

/// Below and above all identities of nodes, so that it dials all or is dialled by all.
const ENDS: [u64; 2] = [1, u64::MAX];

/// The foreign program as it runs; killed when dropped.
struct Foreign {
    child: Child,
    orders: ChildStdin,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/foreign")
        .join(name)
}

fn secret_of(family: &Family) -> String {
    let secret = std::fs::read_to_string(family.secret()).unwrap();
    secret.trim().to_owned()
}

impl Foreign {
    /// Starts it in a host as `snake`, with an identity and a family's secret.
    fn start(lan: &Lan, host: &Host, id: u64, (family, cluster): (&Family, &str)) -> Self {
        let mut command = host.command("python3");
        command
            .arg(script("members.py"))
            .arg("node")
            .arg(lan.address_of(host).to_string())
            .arg(id.to_string())
            .arg(secret_of(family))
            .args([cluster, "snake"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::<(Mutex<Vec<String>>, Condvar)>::default();
        let (lines, kept) = (child.stdout.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                kept.0.lock().unwrap().push(line);
                kept.1.notify_all();
            }
        });
        Self {
            orders: child.stdin.take().unwrap(),
            child,
            said,
        }
    }

    /// Waits for a line that it says.
    #[track_caller]
    fn wait(&self, wanted: &str) {
        self.wait_any(wanted, |line| line.trim() == wanted);
    }

    /// Waits for a line that begins so.
    #[track_caller]
    fn wait_begin(&self, begin: &str) {
        self.wait_any(begin, |line| line.starts_with(begin));
    }

    #[track_caller]
    fn wait_any(&self, wanted: &str, is_meant: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.said.0.lock().unwrap();
        while !said.iter().any(|line| is_meant(line)) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {wanted:?} in {said:#?}");
            said = self.said.1.wait_timeout(said, left).unwrap().0;
        }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _is_killed = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// What a node says of the foreign program with an identity in `GET /v1/nodes`.
fn entry(sibling: &Sibling<'_>, id: u64) -> Option<Value> {
    let answer = sibling.ask(|client| client.nodes()).unwrap();
    let nodes = answer["nodes"].as_array().unwrap();
    let id = Value::from(format!("{id:016x}"));
    nodes.iter().find(|node| node["id"] == id).cloned()
}

#[test]
fn a_program_in_another_language_is_a_member_and_knows_the_others() {
    let Some(lan) = Lan::new() else { return };
    if !has_python() {
        return;
    }
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let mut siblings = family.start_all(&hosts[..2], "");
    wait_all_see_all(&siblings);
    for id in ENDS {
        let mut snake = Foreign::start(&lan, &hosts[2], id, (&family, "waymesh"));
        let marks: Vec<usize> = siblings.iter().map(Sibling::mark).collect();
        for sibling in &siblings {
            sibling.wait_view(&["a", "b", "snake"]);
            let entry = entry(sibling, id).unwrap();
            assert_eq!(
                (&entry["state"], &entry["linked"]),
                (&json!("up"), &json!(true))
            );
            assert_eq!(entry["name"], "snake");
            assert_eq!(
                (&entry["incarnation"], &entry["roles"]),
                (&json!(7), &json!(["ingest"]))
            );
            let link = entry["link"]
                .as_str()
                .unwrap()
                .parse::<SocketAddr>()
                .unwrap();
            assert_eq!(link.ip(), lan.address_of(&hosts[2]));
            let status = sibling.ask(|client| client.status()).unwrap();
            let text = |field: &str| status[field].as_str().unwrap().to_owned();
            let (node, node_id) = (text("name"), text("id"));
            snake.wait(&format!("linked {node}"));
            snake.wait(&format!("up {node} {node_id} {}", status["incarnation"]));
            // Both ends count the same members as up, refutations and all.
            snake.wait(&format!("agrees {node} 3"));
        }
        snake.order("leave");
        for (sibling, mark) in siblings.iter().zip(marks) {
            assert_eq!(sibling.wait_down(mark, "snake").text("reason"), "left");
            assert_eq!(entry(sibling, id).unwrap()["state"], "left");
        }
    }

    // Started anew without a memory of its starts: it learns that there was one, and counts on.
    let snake = Foreign::start(&lan, &hosts[2], ENDS[1], (&family, "waymesh"));
    snake.wait("was here before and is now in incarnation 8");
    for sibling in &siblings {
        snake.wait(&format!("agrees {} 3", sibling.name));
        assert_eq!(entry(sibling, ENDS[1]).unwrap()["incarnation"], 8);
    }
    let c = family.start(&hosts[3], "c", "");
    snake.wait("agrees a 4");
    assert_eq!(c.stop().1, Some(0));
    snake.wait_begin("left c");
    let b = siblings.pop().unwrap();
    b.kill();
    snake.wait_begin("down b");
    let mark = siblings[0].mark();
    drop(snake);
    assert_eq!(
        siblings[0].wait_down(mark, "snake").text("reason"),
        "closed"
    );
    assert_eq!(entry(&siblings[0], ENDS[1]).unwrap()["state"], "down");
}

#[test]
fn a_program_in_another_language_without_the_secret_or_of_another_cluster_is_kept_out_and_counted()
{
    let Some(lan) = Lan::new() else { return };
    if !has_python() {
        return;
    }
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let (family, other) = (Family::new(), Family::new());
    let siblings = family.start_all(&hosts[..2], "");
    wait_all_see_all(&siblings);
    let strangers = [
        (&other, "waymesh", "wrong_secret", "wrong secret"),
        (&family, "yard", "other_cluster", "other cluster"),
    ];
    for (family, cluster, reason, verdict) in strangers {
        let _stranger = Foreign::start(&lan, &hosts[2], ENDS[1], (family, cluster));
        let target = lan.address_of(&hosts[0]);
        assert_eq!(
            dial(&hosts[2], target, (family, cluster)),
            format!("refused {verdict}\n")
        );
        for sibling in &siblings {
            let beacons = format!("waymesh_beacons_rejected_total{{reason=\"{reason}\"}}");
            sibling.wait_count(&beacons, 3);
            let report = sibling.ask(|client| client.discovery()).unwrap();
            let from = lan.address_of(&hosts[2]).to_string();
            let mut senders = report.senders.iter();
            let sender = senders.find(|sender| sender.address.starts_with(&from));
            assert_eq!(sender.unwrap().verdict, verdict);
        }
        let calls = format!("waymesh_link_calls_refused_total{{reason=\"{reason}\"}}");
        siblings[0].wait_count(&calls, 1);
        for sibling in &siblings {
            assert!(sibling.view().iter().eq(["a", "b"]));
            assert_eq!(entry(sibling, ENDS[1]), None);
        }
    }
}

/// What the foreign program says of a call of a node's link port.
fn dial(host: &Host, node: Ipv4Addr, (family, cluster): (&Family, &str)) -> String {
    let mut command: Command = host.command("python3");
    let output = command
        .arg(script("links.py"))
        .args([
            "dial",
            &node.to_string(),
            "5001",
            &secret_of(family),
            cluster,
            "snake",
        ])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
