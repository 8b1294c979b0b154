//! The shapes that regular expressions of names and hidden links give: who links whom, and of whom
//! a node is told.

use super::sibling::{Family, Sibling, wait_all_see_all};
use crate::namespace::{Host, Lan};

const MESH: &str = "[discovery]\nconnect_regex = \".*\"\nmin_connections = 1";
const MASTER: &str = "[discovery]\nconnect_regex = \"slave.*\"\nmin_connections = 1";
const SLAVE: &str = "[discovery]\nconnect_regex = \"master.*\"\nmin_connections = 1";
const HIDDEN: &str = "connect_mode = \"hidden\"";
const NAMES: [&str; 4] = ["master", "slave-1", "slave-2", "slave-3"];

#[test]
fn one_wanted_link_gives_a_whole_mesh() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, MESH);
    wait_all_see_all(&siblings);
    for sibling in &siblings {
        sibling.wait_matching(&["a", "b", "c", "d"]);
    }
}

#[test]
fn a_visible_star_is_a_mesh_in_which_each_is_told_of_its_own() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let star = start_star(&family, &hosts, "");
    wait_all_see_all(&star);
    check_star_events(&star);
}

#[test]
fn a_hidden_star_has_the_links_of_a_star() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let star = start_star(&family, &hosts, HIDDEN);
    // All know of all, as members travel over hidden links too.
    for one in &star {
        one.wait_view(&NAMES);
    }
    check_star_events(&star);
    star[0].wait_links(3);
    for slave in &star[1..] {
        slave.wait_links(1);
    }
}

fn start_star<'a>(family: &'a Family, hosts: &'a [Host], mode: &str) -> Vec<Sibling<'a>> {
    let start = |(host, name): (&'a Host, &str)| {
        let settings = if name == "master" { MASTER } else { SLAVE };
        family.start(host, name, &format!("{settings}\n{mode}"))
    };
    hosts.iter().zip(NAMES).map(start).collect()
}

fn check_star_events(star: &[Sibling<'_>]) {
    star[0].wait_matching(&NAMES);
    for slave in &star[1..] {
        slave.wait_matching(&["master", &slave.name]);
    }
}

/// Two branches under one root: each second level knows its own first level alone, and says so of
/// the links it takes as well.
#[test]
fn branches_of_a_tree_stay_apart() {
    let Some(lan) = Lan::new() else { return };
    let tree = [
        ("root", "level1.*", ".*"),
        ("level1a", "(root|level2).*", ".*"),
        ("level1b", "(root|level2).*", ".*"),
        ("level2a", "level1a", "level1a"),
        ("level2b", "level1b", "level1b"),
    ];
    let hosts: Vec<Host> = (1..=5).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let start = |(host, (name, connect, accept))| {
        let settings = format!(
            "[discovery]\nconnect_mode = \"hidden\"\nmin_connections = 1\n\
             connect_regex = \"{connect}\"\naccept_regex = \"{accept}\""
        );
        family.start(host, name, &settings)
    };
    let siblings: Vec<_> = hosts.iter().zip(tree).map(start).collect();
    // What a node asked for it is told of when it is linked, the others of the tree when they are
    // reached.
    siblings[0].wait_matching(&["root", "level1a", "level1b"]);
    siblings[1].wait_matching(&["root", "level1a", "level2a"]);
    siblings[2].wait_matching(&["root", "level1b", "level2b"]);
    siblings[3].wait_view(&tree.map(|(name, ..)| name));
    siblings[4].wait_view(&tree.map(|(name, ..)| name));
    for (sibling, n_links) in siblings.iter().zip([2, 2, 2, 1, 1]) {
        sibling.wait_links(n_links);
    }
    // What level1a tried with level2b was refused inside the handshake.
    for (branch, other) in [(1, 4), (2, 3)] {
        let refused = "waymesh_link_calls_refused_total{reason=\"not_accepted\"}";
        let n_refused = siblings[other].wait_count(refused, 1);
        let name = &siblings[branch].name;
        eprintln!("{name} was refused {n_refused} times by the other branch");
    }
    let accused: usize = siblings.iter().map(Sibling::n_downs).sum();
    assert_eq!(accused, 0);
}
