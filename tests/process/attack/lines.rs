//! Bytes that are no lines, or no good ones.

use std::iter::repeat_n;

use waymesh::base::prng::Prng;

use super::{
    arena::{Talk, clock, connect, flood, short, withstand},
    scaled,
};

const MIB: usize = 1024 * 1024;

/// `n_bytes` of the letter x, in pieces.
fn endless(n_bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    repeat_n(vec![b'x'; MIB / 4], n_bytes.div_ceil(MIB / 4))
}

#[test]
pub(super) fn a_line_without_an_end_is_dropped_as_it_grows() {
    let n_bytes = scaled(64 * MIB);
    let aftermath = withstand("line without end", "", |node| {
        // Of a vehicle that ends it at last: it is answered, and what follows it is taken.
        let mut talk = Talk::login(node.vehicles, "long winded");
        std::io::Write::write_all(talk.0.get_mut(), b"#D#").unwrap();
        for piece in endless(n_bytes) {
            std::io::Write::write_all(talk.0.get_mut(), &piece).unwrap();
        }
        assert_eq!(talk.ask(b"\r\n"), "#AD#-1");
        assert_eq!(talk.ask(&short(0)), "#ASD#1");
        // Of strangers that never end it.
        for begin in [&b""[..], b"$GPRMC,", b"\0"] {
            let begin = std::iter::once(begin.to_vec());
            let socket = connect(node.vehicles);
            assert_eq!(flood(&socket, begin.chain(endless(n_bytes))), 0);
        }
    });
    assert_eq!(aftermath.rejected("too_long"), 1);
    assert_eq!(aftermath.rejected("cut"), 3);
}

#[test]
pub(super) fn noise_is_counted_and_forgotten() {
    const N_CONNECTIONS: u64 = 16;
    let n_pieces = scaled(64);
    let aftermath = withstand("noise", "", |node| {
        std::thread::scope(|scope| {
            for number in 0..N_CONNECTIONS {
                scope.spawn(move || {
                    let mut prng = Prng::new(number);
                    let mut noise = || -> Vec<u8> {
                        (0..MIB / 64)
                            .flat_map(|_| prng.next_u64().to_le_bytes())
                            .collect()
                    };
                    let pieces = (0..n_pieces).map(|_| noise());
                    if number % 2 == 0 {
                        let socket = connect(node.vehicles);
                        flood(&socket, pieces);
                    } else {
                        let talk = Talk::login(node.vehicles, &format!("noisy {number}"));
                        flood(talk.0.get_ref(), pieces);
                    }
                });
            }
        });
    });
    assert!(aftermath.rejected("unknown_protocol") > 1_000);
    assert!(aftermath.rejected("malformed") > 1_000);
    assert_eq!(aftermath.closed("error"), 0);
}

#[test]
pub(super) fn a_cut_line_is_counted_and_never_taken_for_a_whole_one() {
    let n_cuts = scaled(2_000) as u64;
    let aftermath = withstand("cut lines", "", |node| {
        for number in 0..n_cuts {
            let line = short(0);
            let talk = Talk::login(node.vehicles, &format!("cut {number}"));
            let length = 1 + number as usize % (line.len() - 2);
            let sent = std::iter::once(line[..length].to_vec());
            assert_eq!(flood(talk.0.get_ref(), sent), 0);
        }
    });
    assert_eq!(aftermath.rejected("cut"), n_cuts);
    assert_eq!(aftermath.closed("peer"), n_cuts + 1);
}

#[test]
pub(super) fn nul_bytes_are_nothing_special() {
    let n_lines = scaled(200_000);
    let aftermath = withstand("NUL bytes", "", |node| {
        let lines = |line: &'static [u8]| repeat_n(line.repeat(n_lines / 10), 10);
        let socket = connect(node.vehicles);
        assert_eq!(flood(&socket, lines(b"\0\0\0\n")), 0);
        let talk = Talk::login(node.vehicles, "nul");
        assert_eq!(flood(talk.0.get_ref(), lines(b"\0#P#\r\n")), 0);
        let talk = Talk::login(node.vehicles, "nul");
        let answer = b"#ASD#-1\r\n".len() * n_lines;
        assert_eq!(
            flood(talk.0.get_ref(), lines(b"#SD#\0;\0\r\n")),
            answer as u64
        );
        let socket = connect(node.vehicles);
        assert_eq!(flood(&socket, repeat_n(vec![0; MIB], 4)), 0);
    });
    assert_eq!(aftermath.rejected("unknown_protocol"), n_lines as u64);
    assert_eq!(aftermath.rejected("malformed"), 2 * n_lines as u64);
    assert_eq!(aftermath.rejected("cut"), 1);
}

#[test]
pub(super) fn a_million_tiny_lines_are_a_million_lines() {
    let n_lines = scaled(1_000_000);
    let aftermath = withstand("tiny lines", "", |node| {
        let lines = |line: &'static [u8]| repeat_n(line.repeat(1_000), n_lines / 1_000);
        let socket = connect(node.vehicles);
        assert_eq!(flood(&socket, lines(b"\n")), 0);
        let socket = connect(node.vehicles);
        assert_eq!(flood(&socket, lines(b"x\n")), 0);
        let talk = Talk::login(node.vehicles, "tiny");
        let n_bytes = flood(talk.0.get_ref(), lines(b"#P#\r\n"));
        assert_eq!(n_bytes, (b"#AP#\r\n".len() * n_lines) as u64);
    });
    assert_eq!(aftermath.rejected("unknown_protocol"), n_lines as u64);
    // Besides the vehicles' own lines.
    let no_position = aftermath.count("waymesh_lines_total{outcome=\"no_position\"}");
    assert_eq!(no_position, n_lines as u64 + 2);
}

#[test]
pub(super) fn tiny_lines_that_become_large_records_are_read_no_faster_than_they_are_stored() {
    const N_CONNECTIONS: usize = 40;
    let n_lines = scaled(2_000_000) / N_CONNECTIONS;
    let aftermath = withstand("large records of tiny lines", "", |node| {
        std::thread::scope(|scope| {
            for number in 0..N_CONNECTIONS {
                scope.spawn(move || {
                    let talk = Talk::login(node.vehicles, &format!("driver {number}"));
                    let texts = (0..n_lines).map(|n| format!("#M#{n:x}\r\n"));
                    let text: Vec<u8> = texts.flat_map(String::into_bytes).collect();
                    let pieces = text.chunks(64 * 1024).map(<[u8]>::to_vec);
                    let n_bytes = flood(talk.0.get_ref(), pieces);
                    assert_eq!(n_bytes, (b"#AM#1\r\n".len() * n_lines) as u64);
                });
            }
        });
    });
    let stored = aftermath.count("waymesh_events_total{outcome=\"stored\"}");
    assert_eq!(stored, (n_lines * N_CONNECTIONS) as u64);
}

/// Sends `n_lines` long messages with `rest` behind their satellites, over many connections.
fn flood_long(name: &str, n_lines: usize, rest: &[u8]) {
    const N_CONNECTIONS: usize = 240;
    let n_lines = n_lines.div_ceil(N_CONNECTIONS);
    let aftermath = withstand(name, "", |node| {
        std::thread::scope(|scope| {
            for number in 0..N_CONNECTIONS {
                scope.spawn(move || {
                    let talk = Talk::login(node.vehicles, &format!("{name} {number}"));
                    let pieces = (0..n_lines).map(|number| {
                        let (hour, minute, second) = clock(number as u32);
                        let time = format!("#D#011125;{hour:02}{minute:02}{second:02};");
                        let place = b"5926.2320;N;02445.2100;E;1;2;3;9;";
                        [time.as_bytes(), place, rest, b"\r\n"].concat()
                    });
                    let n_bytes = flood(talk.0.get_ref(), pieces);
                    assert_eq!(n_bytes, (b"#AD#1\r\n".len() * n_lines) as u64);
                });
            }
        });
    });
    // Besides those of the good vehicle.
    assert!(aftermath.count("waymesh_positions_stored_total") >= (n_lines * N_CONNECTIONS) as u64);
}

#[test]
pub(super) fn many_attributes_in_short_lines_take_the_room_that_they_need() {
    let inputs = vec!["1"; 256].join(",");
    let rest = format!("1;0;0;{inputs};;");
    flood_long("many attributes", scaled(60_000), rest.as_bytes());
}

#[test]
pub(super) fn texts_that_grow_as_they_are_read_take_the_room_that_they_need() {
    let text = vec![0xff; 5_200];
    let rest = [b"1;0;0;;;a:3:".as_slice(), &text].concat();
    flood_long("texts that are no texts", scaled(8_000), &rest);
}
