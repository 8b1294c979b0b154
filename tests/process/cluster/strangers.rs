//! Who is not of the family: other secrets, other clusters, taken names, recordings played back.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::sibling::{Family, PATIENCE, Said, Sibling, print_time, wait_all_see_all};
use crate::namespace::{Host, Lan};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 0, 1);
const PORT: u16 = 50_337;
const LINK_PORT: u16 = 5_001;

#[test]
fn other_secrets_and_other_clusters_stay_out_and_are_counted() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let (family, other) = (Family::new(), Family::new());
    let siblings = family.start_all(&hosts[..2], "");
    // They know the port of links as well.
    let peers = format!("[discovery]\npeers = [\"{}\"]", lan.address_of(&hosts[0]));
    let strangers = [
        other.start(&hosts[2], "stranger", &peers),
        family.start(
            &hosts[3],
            "neighbour",
            &format!("cluster = \"yard\"\n{peers}"),
        ),
    ];
    for reason in ["wrong_secret", "other_cluster"] {
        for sibling in &siblings {
            sibling.wait_count(
                &format!("waymesh_beacons_rejected_total{{reason=\"{reason}\"}}"),
                3,
            );
        }
        let calls = format!("waymesh_link_calls_refused_total{{reason=\"{reason}\"}}");
        siblings[0].wait_count(&calls, 1);
    }
    wait_all_see_all(&siblings);
    for stranger in &strangers {
        assert!(stranger.view().iter().eq([&stranger.name]));
    }
    let said = siblings[0].said();
    let refusals = said
        .iter()
        .filter(|line| line.message.contains("is refused"));
    let n_lines = refusals.count();
    assert!(
        (1..=4).contains(&n_lines),
        "{n_lines} lines about refused calls"
    );
}

#[test]
fn a_taken_name_stays_with_its_holder_and_is_free_when_it_leaves() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let multicast = "[discovery]\ntransports = [\"multicast\"]";
    let mut siblings = family.start_all(&hosts[..2], multicast);
    wait_all_see_all(&siblings);
    let rival = family.start_in(&hosts[2], "a", "rival", multicast);
    let taken = rival.wait_since(0, "name taken", |said| {
        let taken = |line: &&Said| line.message.starts_with("name taken");
        said.iter().find(taken).cloned()
    });
    let holder = SocketAddr::from((lan.address_of(&hosts[0]), LINK_PORT));
    assert_eq!(taken.text("by"), holder.to_string());
    let (status, checks) = rival.get("/readyz?verbose");
    assert_eq!(status, 503);
    assert!(checks.contains("name: failed"), "{checks}");
    for sibling in &siblings {
        assert_eq!(sibling.get("/readyz").0, 200);
        assert_eq!(sibling.n_downs(), 0);
    }
    let mark = siblings[1].mark();
    let (left, _) = siblings.remove(0).stop();
    let up = siblings[0].wait_for(mark, "node up");
    assert_eq!(up.text("node"), "a");
    print_time("the name is taken over", left, up.at);
    siblings.push(rival);
    wait_all_see_all(&siblings);
    assert_eq!(siblings[1].get("/readyz").0, 200);
}

#[test]
fn beacons_played_back_change_nothing() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let eavesdropper = &hosts[3];
    let recorded = record_beacons(eavesdropper, lan.address_of(eavesdropper));
    let family = Family::new();
    let mut siblings = family.start_all(&hosts[..3], "");
    wait_all_see_all(&siblings);
    siblings.pop().unwrap().kill();
    for sibling in &siblings {
        sibling.wait_view(&["a", "b"]);
    }
    // Some of each: how many there are at all depends on how soon they are content.
    let deadline = Instant::now() + PATIENCE;
    while recorded.lock().unwrap().len() < 6 {
        assert!(Instant::now() < deadline, "few beacons were heard");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let beacons = recorded.lock().unwrap().clone();
    let before: Vec<u64> = siblings.iter().map(beacons_in).collect();
    let n_beacons = beacons.len() as u64;
    let address = lan.address_of(eavesdropper);
    let playing = eavesdropper.enter(move || {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        for beacon in beacons {
            socket.send_to(&beacon, (GROUP, PORT)).unwrap();
        }
    });
    playing.join().unwrap();
    for (sibling, before) in siblings.iter().zip(before) {
        let name = "waymesh_beacons_total{direction=\"in\"}";
        sibling.wait_count(name, before + n_beacons);
        assert!(sibling.view().iter().eq(["a", "b"]));
        assert_eq!(sibling.n_downs(), 1, "only the one that was killed");
        sibling.wait_links(1);
    }
}

fn beacons_in(sibling: &Sibling<'_>) -> u64 {
    sibling.metrics()["waymesh_beacons_total{direction=\"in\"}"]
}

fn record_beacons(host: &Host, address: Ipv4Addr) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let recorded: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (kept, (opened, is_open)) = (Arc::clone(&recorded), std::sync::mpsc::channel());
    host.enter(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        socket.join_multicast_v4(&GROUP, &address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        opened.send(()).unwrap();
        let mut buffer = [0; 2_000];
        // Ends some time after the last one.
        while let Ok(n_bytes) = socket.recv(&mut buffer) {
            kept.lock().unwrap().push(buffer[..n_bytes].to_vec());
        }
    });
    is_open.recv().unwrap();
    recorded
}

/// Two nodes that are linked over somebody who listens and remembers.
#[test]
fn a_recorded_link_tells_nothing_and_played_back_opens_nothing() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let [north, south, middle] = [&hosts[0], &hosts[1], &hosts[2]];
    let family = Family::new();
    let target = SocketAddr::from((lan.address_of(north), LINK_PORT));
    let recording = listen_in_the_middle(middle, target);
    let quiet = "[discovery]\ntransports = [\"static\"]";
    let peers = format!("{quiet}\npeers = [\"{}\"]", lan.address_of(middle));
    let siblings = [
        family.start(north, "harbour-north", quiet),
        family.start(south, "harbour-south", &peers),
    ];
    wait_all_see_all(&siblings);
    for sibling in &siblings {
        // With heartbeats.
        sibling.wait_count("waymesh_link_bytes_total{direction=\"in\"}", 600);
    }
    let (forth, back) = recording.lock().unwrap().clone();
    assert!(forth.len() > 400 && back.len() > 400);
    check_silence(&family, &siblings, &[&forth, &back]);

    let played = middle.enter(move || {
        for _ in 0..3 {
            let mut socket = TcpStream::connect(target).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            // Closed or reset, either is an end, and it may come while this is still writing.
            let written = socket.write_all(&forth);
            let _end = written.and_then(|()| socket.shutdown(Shutdown::Write));
            let mut answer = Vec::new();
            let _end = socket.read_to_end(&mut answer);
            assert!(
                answer.len() < back.len(),
                "no more than the first words of a handshake"
            );
        }
    });
    played.join().unwrap();
    let refused = |metrics: &std::collections::BTreeMap<String, u64>| {
        let calls = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("waymesh_link_calls_refused_total"));
        Some(calls.map(|(_, count)| count).sum::<u64>()).filter(|count| *count >= 3)
    };
    siblings[0].wait_metrics("refused calls", refused);
    wait_all_see_all(&siblings);
    assert_eq!(siblings[0].n_downs() + siblings[1].n_downs(), 0);
}

/// Neither the secret nor a name nor an identity is in what was heard.
fn check_silence(family: &Family, siblings: &[Sibling<'_>], heard: &[&[u8]]) {
    let secret = std::fs::read_to_string(family.secret()).unwrap();
    let mut kept_quiet: Vec<Vec<u8>> = vec![secret.trim().into(), from_hex(secret.trim())];
    for sibling in siblings {
        let id = sibling.wait_for(0, "node started").text("id").to_owned();
        let bytes = from_hex(&id);
        kept_quiet.push(sibling.name.clone().into_bytes());
        kept_quiet.push(bytes.iter().rev().copied().collect());
        kept_quiet.push(bytes);
        kept_quiet.push(id.into_bytes());
    }
    kept_quiet.push(b"waymesh".to_vec());
    for text in kept_quiet {
        let is_in = |bytes: &&[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(
            !heard.iter().any(is_in),
            "{} is on the wire",
            text.escape_ascii()
        );
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// What went to the target, and what came back.
type Recording = Arc<Mutex<(Vec<u8>, Vec<u8>)>>;

/// Passes calls of the link port on to `target`, and keeps what the first one says.
fn listen_in_the_middle(host: &Host, target: SocketAddr) -> Recording {
    let recording = Recording::default();
    let (kept, (opened, is_open)) = (Arc::clone(&recording), std::sync::mpsc::channel());
    host.enter(move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, LINK_PORT)).unwrap();
        opened.send(()).unwrap();
        // The called one listens at any moment, the caller tries again.
        let (caller, called) = loop {
            let (caller, _) = listener.accept().unwrap();
            if let Ok(called) = TcpStream::connect(target) {
                break (caller, called);
            }
        };
        let (back, forth) = (called.try_clone().unwrap(), caller.try_clone().unwrap());
        let keeping = Arc::clone(&kept);
        std::thread::spawn(move || {
            pass_on(forth, called, |bytes| {
                kept.lock().unwrap().0.extend(bytes);
            });
        });
        pass_on(back, caller, |bytes| {
            keeping.lock().unwrap().1.extend(bytes);
        });
    });
    is_open.recv().unwrap();
    recording
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 4_096];
    while let Ok(n_bytes @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..n_bytes]);
        if to.write_all(&buffer[..n_bytes]).is_err() {
            break;
        }
    }
    // Where the other direction has ended already, there is nothing left to shut.
    let _is_shut = to.shutdown(Shutdown::Write);
}

/// 5,000 datagrams a second on the port of discovery, a hundred connections to the link port that
/// say nothing, and a hundred that say anything: nobody is lost, and who comes is found.
#[test]
fn noise_disturbs_nobody() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=4).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let mut siblings = family.start_all(&hosts[..2], "");
    wait_all_see_all(&siblings);
    let loud = &hosts[3];
    let address = lan.address_of(loud);
    let target = SocketAddr::from((lan.address_of(&hosts[0]), LINK_PORT));
    let datagrams = loud.enter(move || make_noise(address, Duration::from_secs(4)));
    let calls = loud.enter(move || {
        let call = |number: u32| {
            let mut socket = TcpStream::connect(target).unwrap();
            if number % 2 == 1 {
                // It may be closed already.
                let _sent = socket.write_all(&rubbish(number, 300));
            }
            socket
        };
        (0..200).map(call).collect::<Vec<_>>()
    });
    let calls = calls.join().unwrap();
    siblings.push(family.start(&hosts[2], "c", ""));
    let started = siblings[2].started;
    print_time(
        "a newcomer in the midst of noise",
        started,
        wait_all_see_all(&siblings),
    );
    let n_datagrams = datagrams.join().unwrap();
    wait_all_see_all(&siblings);
    for sibling in &siblings {
        assert_eq!(sibling.n_downs(), 0, "{}", sibling.name);
    }
    let rejected = "waymesh_beacons_rejected_total{reason=\"malformed\"}";
    let n_rejected = siblings[0].wait_count(rejected, 1_000);
    eprintln!(
        "{n_datagrams} datagrams, {n_rejected} of them read; {} calls",
        calls.len()
    );
    let refused = |reason| format!("waymesh_link_calls_refused_total{{reason=\"{reason}\"}}");
    eprintln!("{:?}", siblings[0].metrics().get(&refused("malformed")));
}

/// Number of datagrams that were sent.
fn make_noise(address: Ipv4Addr, time: Duration) -> u32 {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let start = Instant::now();
    let mut n_sent = 0;
    while start.elapsed() < time {
        let due = (start.elapsed().as_millis() * 5) as u32;
        while n_sent < due {
            let mut bytes = rubbish(n_sent, 160);
            if n_sent % 3 == 0 {
                bytes[..6].copy_from_slice(b"WMSH\x01\x01");
            }
            // What the sender's own queue refuses is no less noise.
            let _sent = socket.send_to(&bytes, (GROUP, PORT));
            n_sent += 1;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    n_sent
}

fn rubbish(seed: u32, n_bytes: usize) -> Vec<u8> {
    let mut prng = waymesh::base::prng::Prng::new(u64::from(seed));
    (0..n_bytes).map(|_| prng.next_u64() as u8).collect()
}
