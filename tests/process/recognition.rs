//! Vehicles of two protocols and strangers side by side: strangers are counted and shown the door
//! in time, and no vehicle is harmed.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use waymesh::base::prng::Prng;

use crate::{
    books,
    node::Node,
    vehicle::{Diary, drive, times_of},
};

/// Far below the 30 s that a connection has for its first line where nothing else is set.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn strangers_on_the_shared_port_are_shown_the_door_and_harm_no_vehicle() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_with(&folder.path().join("data"), "first_line_timeout = \"1s\"\n");
    let address = node.vehicles;
    let is_over = AtomicBool::new(false);
    let (trams, ships) = std::thread::scope(|scope| {
        let trams = ["tram-1", "tram-2", "tram-3"]
            .map(|id| scope.spawn(|| drive(address, id, 4, &is_over)));
        let ships = ["$PGID,ship-1*28", "IMEI ship-2", "00A0C914C829"]
            .map(|identity| scope.spawn(|| sail(address, identity, &is_over)));
        let strangers: Vec<_> = strangers()
            .into_iter()
            .map(|bytes| scope.spawn(move || visit(address, &bytes)))
            .chain([scope.spawn(move || insist(address))])
            .collect();
        let farewells = strangers.into_iter().map(|stranger| stranger.join());
        let farewells: Vec<_> = farewells.collect();
        is_over.store(true, Ordering::Relaxed);
        farewells.into_iter().for_each(Result::unwrap);
        (
            trams.map(|tram| tram.join().unwrap()),
            ships.map(|ship| ship.join().unwrap()),
        )
    });
    let metrics = books::settled(&node);
    let n_strangers = strangers().len() as u64 + 1;
    let closed = |reason: &str| {
        let name = format!("waymesh_connections_closed_total{{reason=\"{reason}\"}}");
        metrics.get(&name).copied().unwrap_or_default()
    };
    assert_eq!(closed("first_line"), n_strangers, "{metrics:#?}");
    assert_eq!(closed("peer"), 6, "each vehicle had one connection");
    let rejected =
        |reason: &str| metrics[&format!("waymesh_lines_rejected_total{{reason=\"{reason}\"}}")];
    assert!(rejected("unknown_protocol") > n_strangers);
    assert!(rejected("too_long") > 0 && rejected("cut") > 0);
    assert_eq!(metrics["waymesh_line_buffer_restarts_total"], 0);
    let mut stored = times_by_vehicle(&node);
    for (id, diary) in ["tram-1", "tram-2", "tram-3"].iter().zip(&trams) {
        check_tram(&stored.remove(*id).unwrap(), diary);
    }
    for (id, n_sent) in ["ship-1", "ship-2", "00A0C914C829"].iter().zip(ships) {
        let times: Vec<_> = (0..n_sent).map(time_of).collect();
        assert!(n_sent > 10, "{id}");
        assert_eq!(stored.remove(*id).unwrap(), times, "{id}");
    }
    assert!(stored.is_empty(), "{stored:?}");
}

#[test]
fn a_pinned_port_speaks_its_protocol_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "first_line_timeout = \"1s\"\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"nmea\"\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"wialon\"\n";
    let node = Node::start_with(&folder.path().join("data"), settings);
    let [nmea, wialon] = *node.listeners else {
        panic!("{:?}", node.listeners);
    };
    let is_over = AtomicBool::new(false);
    let strange_port = |address, bytes: &'static [u8]| move || visit(address, bytes);
    let (tram, ship) = std::thread::scope(|scope| {
        let tram = scope.spawn(|| drive(wialon, "tram-1", 4, &is_over));
        // No talker of this kind would be recognised on the shared port.
        let ship = scope.spawn(|| sail(nmea, "$HCHDG,101.1,,,7.1,W*3C\r\nIMEI ship-1", &is_over));
        let strangers = [
            scope.spawn(strange_port(nmea, b"#L#tram-9;NA\r\n")),
            scope.spawn(strange_port(wialon, b"$PGID,ship-9*20\r\n")),
            scope.spawn(strange_port(nmea, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
            scope.spawn(strange_port(wialon, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ];
        let farewells = strangers.into_iter().map(|stranger| stranger.join());
        let farewells: Vec<_> = farewells.collect();
        is_over.store(true, Ordering::Relaxed);
        farewells.into_iter().for_each(Result::unwrap);
        (tram.join().unwrap(), ship.join().unwrap())
    });
    let metrics = books::settled(&node);
    assert_eq!(
        metrics[r#"waymesh_connections_closed_total{reason="first_line"}"#],
        4
    );
    assert_eq!(
        metrics[r#"waymesh_lines_rejected_total{reason="malformed"}"#],
        6
    );
    let mut stored = times_by_vehicle(&node);
    check_tram(&stored.remove("tram-1").unwrap(), &tram);
    let times: Vec<_> = (0..ship).map(time_of).collect();
    assert_eq!(stored.remove("ship-1").unwrap(), times);
    assert!(stored.is_empty(), "{stored:?}");
}

/// First words of those who took the port for another one, or mean no good.
fn strangers() -> Vec<Vec<u8>> {
    let mut prng = Prng::new(20_261_121);
    let mut noise = |n_bytes: usize| -> Vec<u8> {
        (0..n_bytes)
            .map(|_| (prng.next_u64() >> 32) as u8)
            .collect()
    };
    let mut client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    client_hello.extend(noise(506));
    let mut one_line = noise(300);
    one_line.retain(|byte| *byte != b'\n');
    vec![
        Vec::new(),
        b"\r\n\r\n\r\n".to_vec(),
        b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nContent-Length: 24\r\n\r\n{\"lat\":59.4,\"lon\":24.7}\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.7\r\n".to_vec(),
        b"##,imei:353976013445485,A;".to_vec(),
        b"$".to_vec(),
        b"#".to_vec(),
        vec![0; 5_000],
        [vec![b'7'; 200_000], b"\n".to_vec()].concat(),
        client_hello,
        one_line,
        noise(300_000),
    ]
}

/// Says `bytes`, then waits to be shown the door.
fn visit(address: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(bytes).unwrap();
    await_end(&mut socket);
}

/// Says the same again and again, until shown the door.
fn insist(address: SocketAddr) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    for _ in 0..300 {
        let is_open = socket.write_all(b"GET / HTTP/1.1\r\n").is_ok();
        let is_silent = socket
            .read(&mut [0])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        if !(is_open && is_silent) {
            return;
        }
    }
    panic!("the door stayed open for who insists");
}

/// Nothing is said to strangers; the end may be an orderly one or a reset.
fn await_end(socket: &mut TcpStream) {
    match socket.read(&mut [0; 100]) {
        Ok(n_bytes) => assert_eq!(n_bytes, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

/// A vehicle that says who it is and then where, until `is_over`; how often it said so.
fn sail(address: SocketAddr, identity: &str, is_over: &AtomicBool) -> u32 {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    write!(socket, "{identity}\r\n").unwrap();
    let mut n_sent = 0;
    while !is_over.load(Ordering::Relaxed) {
        let (minute, second) = (n_sent / 60 % 60, n_sent % 60);
        let content = format!(
            "GPRMC,{:02}{minute:02}{second:02}.00,A,5926.2320,N,02445.2100,E,10.0,181.0,011125,,,A",
            n_sent / 3_600
        );
        let sum = content.bytes().fold(0, |sum, byte| sum ^ byte);
        let line = format!("${content}*{sum:02X}\r\n");
        // In two pieces, as a modem may cut them.
        let (head, tail) = line.split_at(line.len() / 2);
        socket.write_all(head.as_bytes()).unwrap();
        std::thread::park_timeout(Duration::from_millis(2));
        socket.write_all(tail.as_bytes()).unwrap();
        n_sent += 1;
    }
    socket.shutdown(Shutdown::Write).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    await_end(&mut socket);
    n_sent
}

/// When [`sail`] said its line `number`.
fn time_of(number: u32) -> String {
    let (hour, minute, second) = (number / 3_600, number / 60 % 60, number % 60);
    format!("2025-11-01T{hour:02}:{minute:02}:{second:02}.000Z")
}

fn times_by_vehicle(node: &Node) -> BTreeMap<String, Vec<String>> {
    let mut times: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for position in node.export() {
        let text = |name: &str| position[name].as_str().unwrap().to_owned();
        times.entry(text("vehicle")).or_default().push(text("time"));
    }
    times.values_mut().for_each(|times| times.sort());
    times
}

#[track_caller]
fn check_tram(stored: &[String], diary: &Diary) {
    assert_eq!((diary.n_connections, diary.n_shifted), (1, 0));
    let times: Vec<_> = (0..diary.n_sent).flat_map(times_of).collect();
    assert!(diary.acknowledged.len() > 10);
    assert_eq!(stored, times);
}
