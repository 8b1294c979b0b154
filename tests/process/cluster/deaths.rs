//! Nodes that die, leave, fall silent and come back, and what the others say of them.

use std::{
    collections::BTreeMap,
    net::TcpStream,
    time::{Duration, Instant},
};

use super::sibling::{Family, Sibling, print_time, wait_all_see_all};
use crate::namespace::{Host, Lan};

#[test]
fn a_kill_a_restart_and_a_goodbye_are_seen_as_what_they_are() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let mut siblings = family.start_all(&hosts, "");
    // At rest for longer than a silent link lives.
    wait_until(wait_all_see_all(&siblings), Duration::from_millis(2_500));

    let c = siblings.pop().unwrap();
    let killed = c.kill();
    for sibling in &siblings {
        let down = sibling.wait_down(0, "c");
        assert_eq!(down.text("reason"), "closed");
        print_time("a kill -9 seen", killed, down.at);
    }

    let marks = [siblings[0].mark(), siblings[1].mark()];
    siblings.push(family.start(&hosts[2], "c", ""));
    let started = siblings[2].started;
    print_time("restarted", started, wait_all_see_all(&siblings));
    for (sibling, mark) in siblings.iter().zip(marks) {
        let up = sibling.wait_for(mark, "node up");
        assert_eq!(
            (up.text("node"), &up.fields["incarnation"]),
            ("c", &2.into())
        );
    }

    let (asked, code) = siblings.pop().unwrap().stop();
    assert_eq!(code, Some(0));
    for (sibling, mark) in siblings.iter().zip(marks) {
        let down = sibling.wait_down(mark, "c");
        assert_eq!(down.text("reason"), "left");
        print_time("a goodbye seen", asked, down.at);
    }
}

/// Linux gives the files of a killed process back from the highest number down, and thousands of vehicles'
/// sockets take it a tenth of a second.
#[test]
fn the_port_and_then_the_links_of_a_killed_node_close_before_its_vehicles_sockets() {
    const N_VEHICLES: usize = 300;
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let names = ["a", "b", "c"];
    let siblings = hosts.iter().zip(names);
    let siblings: Vec<Sibling<'_>> = siblings
        .map(|(host, name)| family.start_serving(host, name, &[]))
        .collect();
    wait_all_see_all(&siblings);
    let vehicles = hosts[0].enter(|| {
        let vehicles = (0..N_VEHICLES).map(|_| TcpStream::connect("127.0.0.1:5000").unwrap());
        vehicles.collect::<Vec<TcpStream>>()
    });
    let vehicles = vehicles.join().unwrap();
    siblings[0].wait_count("waymesh_connections", N_VEHICLES as u64);
    let sockets = siblings[0].sockets();
    let numbers = |is_meant: &dyn Fn(u16, u16) -> bool| {
        let meant = sockets
            .iter()
            .filter(|(_, ports)| is_meant(ports.0, ports.1));
        meant.map(|(number, _)| *number).collect::<Vec<u32>>()
    };
    let of_vehicles = numbers(&|port, other| port == 5_000 && other > 0);
    let of_links = numbers(&|port, other| other > 0 && (port == 5_001 || other == 5_001));
    let listening = numbers(&|port, other| port == 5_001 && other == 0);
    assert!(of_vehicles.len() == N_VEHICLES && of_links.len() >= 2 && !listening.is_empty());
    assert!(of_links.first() > of_vehicles.last(), "{sockets:?}");
    assert!(listening.first() > of_links.last(), "{sockets:?}");
    drop(vehicles);
}

/// A node that stays away over a restart of another is missed by that one, too, until it is struck
/// off, and then over restarts again.
#[test]
fn who_stays_away_is_missed_after_a_restart_until_it_is_forgotten() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=2).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let mut siblings = family.start_all(&hosts, "");
    wait_all_see_all(&siblings);
    let states = |node: &Sibling<'_>| {
        let members = node.ask(|client| client.members()).unwrap();
        let states = members.nodes.into_iter();
        let states = states.map(|node| (node.name, node.state.to_string()));
        states.collect::<BTreeMap<String, String>>()
    };
    let said = |state: &str| {
        let both = [("a", "up"), ("b", state)];
        BTreeMap::from(both.map(|(name, state)| (name.to_owned(), state.to_owned())))
    };
    assert_eq!(siblings.pop().unwrap().stop().1, Some(0));
    siblings[0].wait_down(0, "b");
    assert_eq!(states(&siblings[0]), said("left"));
    siblings.pop().unwrap().kill();

    let a = family.start(&hosts[0], "a", "");
    assert_eq!(states(&a), said("down"));
    let missing = a.get("/v1/vehicles/nobody");
    assert!(
        missing.0 == 503 && missing.1.contains("\"missing\":[\"b\"]"),
        "{missing:?}"
    );
    a.ask(|client| client.forget("b")).unwrap();
    let alone = BTreeMap::from([("a".to_owned(), "up".to_owned())]);
    assert_eq!(states(&a), alone);
    a.kill();

    let a = family.start(&hosts[0], "a", "");
    assert_eq!(states(&a), alone);
    assert_eq!(a.get("/v1/vehicles/nobody").0, 404);
    let b = family.start(&hosts[1], "b", "");
    wait_all_see_all(&[a, b]);
}

/// One node is cut off without a word; then its interface loses its carrier as well.
#[test]
fn a_silent_link_is_noticed_on_both_sides_and_mended() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, "");
    wait_all_see_all(&siblings);
    let cuts: [(&str, &dyn Fn(bool)); 2] = [
        ("packets vanish", &|is_whole| match is_whole {
            false => lan.part(&[&hosts[2]]),
            true => lan.heal(&[&hosts[2]]),
        }),
        ("the carrier is lost", &|is_whole| {
            lan.carry(&hosts[2], is_whole);
        }),
    ];
    for (what, cut) in cuts {
        let marks: Vec<_> = siblings.iter().map(Sibling::mark).collect();
        let cut_at = jiff::Timestamp::now();
        cut(false);
        let ends = [(0, "c"), (1, "c"), (2, "a"), (2, "b")];
        for (observer, gone) in ends {
            let down = siblings[observer].wait_down(marks[observer], gone);
            let reason = down.text("reason");
            assert!(["silent", "unreachable"].contains(&reason), "{reason}");
            let name = &siblings[observer].name;
            print_time(
                &format!("{what}, {name} sees {gone} {reason}"),
                cut_at,
                down.at,
            );
        }
        siblings[0].wait_view(&["a", "b"]);
        siblings[2].wait_view(&["c"]);
        let healed_at = jiff::Timestamp::now();
        cut(true);
        print_time(
            &format!("{what}, healed"),
            healed_at,
            wait_all_see_all(&siblings),
        );
    }
}

#[test]
fn parted_halves_stay_together_each_and_merge_when_they_meet() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, "");
    wait_all_see_all(&siblings);
    let far = [&hosts[2], &hosts[3]];
    let parted = jiff::Timestamp::now();
    lan.part(&far);
    for (idx, sibling) in siblings.iter().enumerate() {
        let half: &[&str] = if idx < 2 { &["a", "b"] } else { &["c", "d"] };
        print_time("parted", parted, sibling.wait_view(half));
        let n_downs = sibling.n_downs();
        assert_eq!(n_downs, 2, "{} saw the other half go, once", sibling.name);
    }
    let healed = jiff::Timestamp::now();
    lan.heal(&far);
    print_time("merged", healed, wait_all_see_all(&siblings));
}

/// A process that stands still for 3 s is gone for the others, and back when it goes on; when it
/// goes on it accuses nobody who lives.
#[test]
fn a_stopped_process_is_missed_and_comes_back() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, "");
    wait_all_see_all(&siblings);
    let stopped = jiff::Timestamp::now();
    siblings[2].signal("STOP");
    for sibling in &siblings[..2] {
        let down = sibling.wait_down(0, "c");
        assert_eq!(down.text("reason"), "silent");
        print_time("a stopped process is missed", stopped, down.at);
    }
    wait_until(stopped, Duration::from_secs(3));
    let resumed = jiff::Timestamp::now();
    siblings[2].signal("CONT");
    let seen = wait_all_see_all(&siblings);
    print_time("the process goes on", resumed, seen);
    for sibling in &siblings[..2] {
        assert_eq!(sibling.n_downs(), 1, "{} missed c alone", sibling.name);
    }
    let said = siblings[2].said();
    let downs = said.iter().filter(|line| line.message == "node down");
    let accused: Vec<_> = downs.map(|line| line.fields.to_string()).collect();
    assert!(accused.is_empty(), "{}", accused.join("\n"));
}

/// 10 s of busy loops on every core; as many as `BUSY_SECONDS` says.
#[test]
fn busy_cores_raise_no_false_alarm() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let siblings = family.start_all(&hosts, "");
    wait_all_see_all(&siblings);
    let seconds = std::env::var("BUSY_SECONDS");
    let seconds = seconds.map_or(10, |seconds| seconds.parse().unwrap());
    let start = Instant::now();
    let n_cores = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for _ in 0..2 * n_cores {
            scope.spawn(|| {
                while start.elapsed() < Duration::from_secs(seconds) {
                    std::hint::spin_loop();
                }
            });
        }
    });
    wait_all_see_all(&siblings);
    for sibling in &siblings {
        assert_eq!(sibling.n_downs(), 0, "{} raised an alarm", sibling.name);
    }
}

fn wait_until(from: jiff::Timestamp, time: Duration) {
    let until = from + time;
    while let Ok(left) = Duration::try_from(until.duration_since(jiff::Timestamp::now())) {
        std::thread::park_timeout(left);
    }
}

/// A data folder that was put back from a copy counts its starts from too early on.
#[test]
fn a_node_whose_starts_were_counted_on_elsewhere_goes_on_with_what_it_was_told() {
    let Some(lan) = Lan::new() else { return };
    let (one, two) = (lan.host(1), lan.host(2));
    let other = lan.address_of(&two).to_string();
    let alone = "[discovery]\ntransports = [\"static\"]";
    let with_peer = format!("{alone}\npeers = [\"{other}\"]");
    let family = Family::new();
    let _b = family.start(&two, "b", alone);
    let identity = family.data("a").join("identity");
    let mut first_identity = None;
    for _ in 0..3 {
        let a = family.start(&one, "a", &with_peer);
        a.wait_view(&["a", "b"]);
        first_identity.get_or_insert_with(|| std::fs::read(&identity).unwrap());
        assert_eq!(a.stop().1, Some(0));
    }
    std::fs::write(&identity, first_identity.unwrap()).unwrap();

    lan.part(&[&one]);
    let a = family.start(&one, "a", alone);
    a.wait_for(0, "node started");
    let peer = other.clone();
    a.ask(move |client| {
        assert_eq!(client.status().unwrap()["incarnation"], 2);
        client.search(false).unwrap();
        client.dial(&peer).unwrap();
    });
    lan.heal(&[&one]);
    a.wait_for(0, "others know a later start of this node than its data folder; starts are counted from there");
    a.ask(move |client| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while client.status().unwrap()["incarnation"] != 4 {
            assert!(Instant::now() < deadline, "{}", client.status().unwrap());
        }
        let discovery = client.text("/v1/discovery").unwrap();
        let discovery: serde_json::Value = serde_json::from_str(&discovery).unwrap();
        assert_eq!(discovery["phase"], "paused", "{discovery}");
        assert!(
            discovery["peers"].to_string().contains(&other),
            "{discovery}"
        );
    });
}
