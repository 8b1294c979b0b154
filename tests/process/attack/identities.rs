//! Who vehicles say they are, and where and when they say they were.

use std::{io::Read as _, iter::repeat_n};

use super::{
    arena::{Talk, connect, flood, short, withstand},
    is_full, scaled,
};

#[test]
pub(super) fn a_million_unknown_identities_take_no_memory() {
    const N_CONNECTIONS: usize = 4;
    let n_each = scaled(1_000_000) / N_CONNECTIONS;
    let aftermath = withstand("unknown identities", "", |node| {
        std::thread::scope(|scope| {
            for number in 0..N_CONNECTIONS {
                scope.spawn(move || {
                    let socket = connect(node.vehicles);
                    let pieces = (0..n_each.div_ceil(500)).map(|piece| {
                        let numbers = piece * 500..((piece + 1) * 500).min(n_each);
                        let login = |n: usize| format!("#L#86{number}{n:061};NA\r\n").into_bytes();
                        numbers
                            .flat_map(|n| [login(n), short(7)].concat())
                            .collect()
                    });
                    let n_bytes = flood(&socket, pieces);
                    assert_eq!(n_bytes, (b"#AL#1\r\n#ASD#1\r\n".len() * n_each) as u64);
                });
            }
        });
    });
    let stored = aftermath.count("waymesh_positions_stored_total");
    assert!(stored > (n_each * N_CONNECTIONS) as u64);
    assert_eq!(aftermath.count("waymesh_positions_duplicate_total"), 0);
}

#[test]
pub(super) fn ids_of_any_length_and_kind_are_ids_or_refused() {
    let n_rounds = scaled(400) as u64;
    let long = "7".repeat(10_000);
    let refused = [&*long, "", "7\0", "\u{1b}[2J", "\r"];
    let taken = [
        "../../etc/passwd",
        "..",
        "/dev/null",
        "C:\\",
        "%2e%2e",
        "a\u{202e}b",
    ];
    let aftermath = withstand("hostile ids", "", |node| {
        for _ in 0..n_rounds {
            for id in refused {
                let mut socket = connect(node.vehicles);
                let login = format!("#L#{id};NA\r\n");
                std::io::Write::write_all(&mut socket, login.as_bytes()).unwrap();
                let mut answer = String::new();
                socket.read_to_string(&mut answer).unwrap();
                assert_eq!(answer, "#AL#0\r\n");
            }
            for id in taken {
                assert_eq!(Talk::login(node.vehicles, id).ask(&short(0)), "#ASD#1");
            }
        }
    });
    let n_refused = refused.len() as u64 * n_rounds;
    assert_eq!(aftermath.rejected("malformed"), n_refused);
    assert_eq!(aftermath.closed("login"), n_refused);
    assert_eq!(
        aftermath.count("waymesh_positions_duplicate_total"),
        taken.len() as u64 * (n_rounds - 1)
    );
}

#[test]
pub(super) fn wrong_passwords_are_refused_however_many() {
    let n_tries = scaled(20_000) as u64;
    let settings = "accept_unknown = false\n\
        [[vehicle]]\nid = \"good vehicle\"\n\
        [[vehicle]]\nid = \"locked\"\npassword = \"correct horse\"\n";
    let aftermath = withstand("wrong passwords", settings, |node| {
        for number in 0..n_tries {
            let (id, password, expected) = match number % 4 {
                0 => ("locked", number.to_string(), "#AL#01\r\n"),
                1 => ("locked", "x".repeat(10_000), "#AL#01\r\n"),
                2 => ("locked", "NA".to_owned(), "#AL#01\r\n"),
                _ => ("stranger", "correct horse".to_owned(), "#AL#0\r\n"),
            };
            let mut socket = connect(node.vehicles);
            let login = format!("#L#{id};{password}\r\n");
            std::io::Write::write_all(&mut socket, login.as_bytes()).unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, expected, "{login}");
        }
    });
    assert_eq!(aftermath.rejected("wrong_password"), n_tries / 4 * 3);
    assert_eq!(aftermath.rejected("unknown_vehicle"), n_tries / 4);
    assert_eq!(aftermath.closed("login"), n_tries);
}

#[test]
pub(super) fn impossible_times_and_places_are_refused_one_by_one() {
    let n_rounds = scaled(40_000);
    // Date, time, place, and the answer.
    let reports = [
        ("320125;090501", "5926.2320;N;02445.2100;E", "#ASD#0"),
        ("310225;090501", "5926.2320;N;02445.2100;E", "#ASD#0"),
        ("290223;090501", "5926.2320;N;02445.2100;E", "#ASD#0"),
        ("011325;090501", "5926.2320;N;02445.2100;E", "#ASD#0"),
        ("000000;090501", "5926.2320;N;02445.2100;E", "#ASD#0"),
        ("011125;240000", "5926.2320;N;02445.2100;E", "#ASD#0"),
        ("011125;-90501", "5926.2320;N;02445.2100;E", "#ASD#0"),
        ("011125;090501", "9000.0001;N;02445.2100;E", "#ASD#10"),
        ("011125;090501", "5926.2320;N;18000.0001;E", "#ASD#10"),
        ("011125;090501", "5960.0000;N;02445.2100;E", "#ASD#10"),
        ("011125;090501", "inf;N;nan;E", "#ASD#10"),
        ("011125;090501", "99999999999999999999;N;1;E", "#ASD#10"),
    ];
    let aftermath = withstand("impossible times and places", "", |node| {
        let lines: String = reports
            .iter()
            .map(|(time, place, _)| format!("#SD#{time};{place};42;181;34;9\r\n"))
            .collect();
        let mut talk = Talk::login(node.vehicles, "impossible");
        for (line, (_, _, answer)) in lines.split_inclusive('\n').zip(&reports) {
            assert_eq!(talk.ask(line.as_bytes()), *answer, "{line}");
        }
        let answers: usize = reports.iter().map(|(_, _, answer)| answer.len() + 2).sum();
        let n_bytes = flood(talk.0.get_ref(), repeat_n(lines.into_bytes(), n_rounds));
        assert_eq!(n_bytes, (answers * n_rounds) as u64);
    });
    let n_lines = n_rounds as u64 + 1;
    assert_eq!(aftermath.rejected("time_impossible"), 7 * n_lines);
    assert_eq!(aftermath.rejected("coordinates_impossible"), 5 * n_lines);
}

#[test]
pub(super) fn every_month_that_a_fix_can_have_is_no_burden() {
    let n_years = if is_full() { 36 } else { 6 };
    let aftermath = withstand("fixes of all months", "", |node| {
        let mut talk = Talk::login(node.vehicles, "time traveller");
        for year in (1990..2026).take(n_years) {
            for month in 1..=12 {
                let year = year % 100;
                let line = format!(
                    "#SD#01{month:02}{year:02};090501;5926.2320;N;02445.2100;E;42;181;34;9\r\n"
                );
                assert_eq!(talk.ask(line.as_bytes()), "#ASD#1", "{line}");
            }
        }
    });
    assert_eq!(aftermath.count("waymesh_positions_duplicate_total"), 0);
}
