//! Sequence figures of `beacons.md`, drawn from the log of a simulation: each runs a scene, draws it,
//! and compares it with the page. `UPDATE=1` writes the page anew.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use waymesh::{cluster::proto::MinConnections, types::ids::NodeId};

use super::{
    faults,
    node::Setup,
    world::{Entry, World},
};

const COLUMN: usize = 26;

/// Nodes a, b, ... with rising identities.
fn world(seed: u64, n_nodes: usize) -> World {
    let mut world = World::new(seed);
    for at in 0..n_nodes {
        let letter = char::from(b'a' + u8::try_from(at).unwrap());
        let mut setup = Setup::new(at as u64 + 1, &letter.to_string());
        setup.id = NodeId(at as u64 + 1);
        world.add(setup);
    }
    world
}

fn record(world: &mut World, for_ms: u64) -> Vec<Entry> {
    world.log = Some(Vec::new());
    world.run_for(for_ms);
    world.log.take().unwrap()
}

/// A column for each node, time downwards.
fn draw(entries: &[Entry], since: u64, n_nodes: usize) -> String {
    let name = |at: usize| char::from(b'a' + u8::try_from(at).unwrap());
    let mut text = String::from("     ms");
    for at in 0..n_nodes {
        write!(text, "  {:COLUMN$}", name(at)).unwrap();
    }
    text.truncate(text.trim_end().len());
    for entry in entries {
        let is_number = |word: &str| word.parse::<usize>().ok();
        let words = entry.what.split(' ').map(|word| match is_number(word) {
            Some(at) => name(at).to_string(),
            None => word.to_owned(),
        });
        let mut what = words.collect::<Vec<String>>().join(" ");
        if matches!(what.as_str(), "PING" | "PONG" | "beat") {
            what.push_str(" to all");
        }
        let blank = " ".repeat(entry.node * (COLUMN + 2));
        write!(text, "\n{:>7}  {blank}{what}", entry.at - since).unwrap();
    }
    text
}

fn formation() -> String {
    let mut world = world(1, 3);
    world.log = Some(Vec::new());
    (0..3).for_each(|at| world.start(at));
    let mut entries = world.log.take().unwrap();
    entries.extend(record(&mut world, 400));
    draw(&entries, 0, 3)
}

/// Both lost somebody, both ask; the lower goes on, the others leave it to it.
fn collision() -> String {
    let mut world = world(2, 4);
    (0..4).for_each(|at| world.start(at));
    world.run_for(2_000);
    let begin = world.now;
    world.log = Some(Vec::new());
    world.kill(3, false);
    let mut entries = world.log.take().unwrap();
    entries.extend(record(&mut world, 400));
    draw(&entries, begin, 4)
}

fn late_joiner() -> String {
    let mut world = world(3, 3);
    (0..2).for_each(|at| world.start(at));
    world.run_for(3_000);
    let begin = world.now;
    world.log = Some(Vec::new());
    world.start(2);
    let mut entries = world.log.take().unwrap();
    entries.extend(record(&mut world, 300));
    draw(&entries, begin, 3)
}

/// Two islands that have met their need and know nothing of each other; then the network is whole.
fn healing() -> String {
    let mut world = world(4, 4);
    for node in &mut world.nodes {
        node.setup.min_connections = MinConnections::AtLeast(1);
        node.setup.ping_interval = Duration::from_secs(10);
    }
    faults::cut(&mut world, |one, other| (one < 2) != (other < 2));
    (0..4).for_each(|at| world.start(at));
    world.run_for(12_500);
    faults::heal(&mut world);
    let begin = world.now;
    let entries = record(&mut world, 12_000);
    let first = entries
        .iter()
        .position(|entry| entry.what == "beat")
        .unwrap();
    let end = entries[first].at + 60;
    let shown: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| entry.at <= end)
        .collect();
    draw(&shown, begin, 4)
}

#[test]
fn the_figures_of_the_page_are_drawn_from_a_simulation() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster/proto/beacons.md");
    let text = fs::read_to_string(&page).unwrap();
    let mark = "\n## Figures\n";
    let (before, found) = text.split_once(mark).unwrap_or((&text, ""));
    let scenes = [
        (
            "Formation: three nodes start at the same time. Each hears the PINGs of the others, the lower \
             identity of each pair dials, and nothing but the rest of the first series follows.",
            formation(),
        ),
        (
            "Collision: d is killed. The closed links are dialled again and refused, so d is down; each \
             is to ask around a moment later, and whoever hears a lower identity ask leaves it to that one.",
            collision(),
        ),
        (
            "Late joiner: c starts long after a and b, which are at rest. One PING is enough.",
            late_joiner(),
        ),
        (
            "Healing: a and b know nothing of c and d, since the network was parted when they started; \
             with `min_connections = 1` no need is open. The first beat after the healing joins them.",
            healing(),
        ),
    ];
    let mut drawn = String::from(
        "\nDrawn from the log of a simulation (`tests/sim/cluster/figures.rs`) in which every way takes 1 ms. \
         A column is a node, the leftmost has the lowest identity; what stands in it, that node does \
         or learns. `dials`, `link to` and `node-up` are of the TCP links that beacons lead to.\n",
    );
    for (caption, figure) in scenes {
        write!(drawn, "\n{caption}\n\n```text\n{figure}\n```\n").unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&page, format!("{before}{mark}{drawn}")).unwrap();
    } else {
        assert_eq!(found, drawn, "draw anew with UPDATE=1, and look at it");
    }
}
