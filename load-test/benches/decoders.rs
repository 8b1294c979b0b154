//! What a line costs to decode, beside the crate `nmea`, a regular expression, and splitting alone.
//!
//! ```text
//! cargo bench -p load-test --bench decoders
//! ```
//!
//! Ours does all that a line needs: the checksum where there is one, whose line it is, what can be
//! on earth, the key, the record, the reply. Those beside it only give the fields. One iteration is
//! one line (two where the group says so) of a vehicle that is known, out of an hour of lines.
//!
//! Fastest of 100 samples of 2,000 iterations, on two cores that others kept busy, so that only the
//! fastest say something; allocations a line in brackets:
//!
//! | | ours | crate `nmea` | expression | split alone |
//! |---|---|---|---|---|
//! | RMC | 112 ns (0) | 605 ns (0) | 598 ns (1) | |
//! | GGA and RMC | 282 ns (0) | 1.22 µs (0) | | 463 ns (0) |
//! | `SD` | 114 ns (0) | | 567 ns (1) | 169 ns (0) |
//! | `SD` with its checksum | 159 ns (0) | | | |
//! | `D` | 860 ns (6) | | 1.63 µs (1) | 282 ns (0) |
//! | `B` of twelve | 1.50 µs (0) | | 9.39 µs (12) | 2.49 µs (0) |
//! | `M` | 231 ns (3) | | | text alone: 29 ns (1) |

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "benches"
)]

mod lines;

use divan::{AllocProfiler, Bencher, black_box};
use regex::bytes::Regex;

use self::lines::Conversation;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const LOGIN: &[u8] = b"#L#353976013445485;NA";
const LOGIN_2: &str = "2.0;353976013445485;NA";

/// Benches `each` with the lines in turn.
fn in_turn(bencher: Bencher<'_, '_>, lines: &[Vec<u8>], mut each: impl FnMut(&[u8])) {
    let mut lines = lines.iter().cycle();
    bencher.bench_local(|| each(black_box(lines.next().unwrap())));
}

fn converse(bencher: Bencher<'_, '_>, mut conversation: Conversation, n_lines: usize) {
    bencher.bench_local(|| (0..n_lines).for_each(|_| conversation.say_next()));
}

/// The captures of `expression` that are numbers, read as such.
fn captured(expression: &Regex, line: &[u8]) -> f64 {
    let captures = expression.captures(line).unwrap();
    captures
        .iter()
        .skip(1)
        .flatten()
        .map(|field| number(field.as_bytes()))
        .sum()
}

/// What stands between separators, read as numbers where it is one.
fn split(line: &[u8], separator: u8) -> f64 {
    line.split(|byte| *byte == separator).map(number).sum()
}

fn number(field: &[u8]) -> f64 {
    std::str::from_utf8(field)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0)
}

#[divan::bench_group(sample_size = 2_000)]
mod rmc {
    use super::*;

    #[divan::bench]
    fn waymesh(bencher: Bencher<'_, '_>) {
        let rmc = lines::hour(lines::rmc);
        converse(
            bencher,
            Conversation::new("nmea", &lines::identity(), rmc),
            1,
        );
    }

    #[divan::bench]
    fn crate_nmea(bencher: Bencher<'_, '_>) {
        in_turn(bencher, &lines::hour(lines::rmc), |line| {
            let sentence = nmea::parse_bytes(line);
            assert!(matches!(black_box(sentence), Ok(nmea::ParseResult::RMC(_))));
        });
    }

    #[divan::bench]
    fn expression(bencher: Bencher<'_, '_>) {
        let expression = Regex::new(
            r"(?-u)^\$..RMC,(\d{2})(\d{2})(\d{2})(?:\.\d+)?,([AV]),(\d{2})(\d{2}\.\d+),([NS]),(\d{3})(\d{2}\.\d+),([EW]),(\d+\.\d+)?,(\d+\.\d+)?,(\d{2})(\d{2})(\d{2}),",
        );
        let expression = expression.unwrap();
        in_turn(bencher, &lines::hour(lines::rmc), |line| {
            black_box(captured(&expression, line));
        });
    }
}

/// Two lines, one record.
#[divan::bench_group(sample_size = 2_000)]
mod gga_and_rmc {
    use super::*;

    fn pairs() -> Vec<Vec<u8>> {
        let pairs = lines::hour(lines::gga)
            .into_iter()
            .zip(lines::hour(lines::rmc));
        pairs.flat_map(|(gga, rmc)| [gga, rmc]).collect()
    }

    #[divan::bench]
    fn waymesh(bencher: Bencher<'_, '_>) {
        converse(
            bencher,
            Conversation::new("nmea", &lines::identity(), pairs()),
            2,
        );
    }

    /// The state that merges sentences.
    #[divan::bench]
    fn crate_nmea(bencher: Bencher<'_, '_>) {
        let pairs: Vec<_> = pairs()
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect();
        let mut lines = pairs.iter().cycle();
        let mut state = nmea::Nmea::default();
        bencher.bench_local(|| {
            for _ in 0..2 {
                black_box(state.parse_for_fix(lines.next().unwrap()).unwrap());
            }
        });
    }

    #[divan::bench]
    fn split_alone(bencher: Bencher<'_, '_>) {
        let pairs = pairs();
        let mut lines = pairs.iter().cycle();
        bencher.bench_local(|| {
            for _ in 0..2 {
                black_box(split(lines.next().unwrap(), b','));
            }
        });
    }
}

const SHORT: &str = r"(?-u)(\d{2})(\d{2})(\d{2});(\d{2})(\d{2})(\d{2});(\d{2})(\d{2}\.\d+);([NS]);(\d{3})(\d{2}\.\d+);([EW]);(\d+);(\d+);(-?\d+);(\d+)";

#[divan::bench_group(sample_size = 2_000)]
mod wialon_sd {
    use super::*;

    fn lines_of(has_checksum: bool) -> Vec<Vec<u8>> {
        lines::hour(|minute, second| {
            lines::wialon("SD", &lines::short_fields(minute, second), has_checksum)
        })
    }

    #[divan::bench]
    fn waymesh(bencher: Bencher<'_, '_>) {
        converse(
            bencher,
            Conversation::new("wialon", LOGIN, lines_of(false)),
            1,
        );
    }

    /// Version 2.0.
    #[divan::bench]
    fn waymesh_with_checksum(bencher: Bencher<'_, '_>) {
        let login = lines::wialon("L", LOGIN_2, true);
        converse(
            bencher,
            Conversation::new("wialon", &login, lines_of(true)),
            1,
        );
    }

    #[divan::bench]
    fn expression(bencher: Bencher<'_, '_>) {
        let expression = Regex::new(&format!("^#SD#{SHORT}$")).unwrap();
        in_turn(bencher, &lines_of(false), |line| {
            black_box(captured(&expression, line));
        });
    }

    #[divan::bench]
    fn split_alone(bencher: Bencher<'_, '_>) {
        in_turn(bencher, &lines_of(false), |line| {
            black_box(split(line, b';'));
        });
    }
}

/// With two inputs, two analogue ones, and four parameters.
#[divan::bench_group(sample_size = 2_000)]
mod wialon_d {
    use super::*;

    fn lines_of() -> Vec<Vec<u8>> {
        lines::hour(|minute, second| {
            let fields = lines::short_fields(minute, second);
            let rest = "0.9;3;0;12.6,3.7;NA;odo:1:120034,temp:2:21.5,fuel:2:55.25,note:3:ok";
            lines::wialon("D", &format!("{fields};{rest}"), false)
        })
    }

    #[divan::bench]
    fn waymesh(bencher: Bencher<'_, '_>) {
        converse(bencher, Conversation::new("wialon", LOGIN, lines_of()), 1);
    }

    #[divan::bench]
    fn expression(bencher: Bencher<'_, '_>) {
        let rest = r"([\d.]+);(\d+);(\d+);([\d.,]+);([^;]*);([^;]*)";
        let expression = Regex::new(&format!("^#D#{SHORT};{rest}$")).unwrap();
        in_turn(bencher, &lines_of(), |line| {
            black_box(captured(&expression, line));
        });
    }

    #[divan::bench]
    fn split_alone(bencher: Bencher<'_, '_>) {
        in_turn(bencher, &lines_of(), |line| {
            black_box(split(line, b';'));
        });
    }
}

/// A text of the driver.
#[divan::bench_group(sample_size = 2_000)]
mod wialon_m {
    use super::*;

    fn lines_of() -> Vec<Vec<u8>> {
        lines::hour(|minute, second| {
            lines::wialon("M", &format!("arriving at {minute:02}:{second:02}"), false)
        })
    }

    #[divan::bench]
    fn waymesh(bencher: Bencher<'_, '_>) {
        converse(bencher, Conversation::new("wialon", LOGIN, lines_of()), 1);
    }

    /// Checked, and copied.
    #[divan::bench]
    fn text_alone(bencher: Bencher<'_, '_>) {
        in_turn(bencher, &lines_of(), |line| {
            black_box(std::str::from_utf8(&line[3..]).unwrap().to_owned());
        });
    }
}

/// Twelve short reports in one line.
#[divan::bench_group(sample_size = 2_000)]
mod wialon_b {
    use super::*;

    fn lines_of() -> Vec<Vec<u8>> {
        lines::hour(|minute, _| {
            let pieces: Vec<_> = (0..12)
                .map(|piece| lines::short_fields(minute, piece))
                .collect();
            lines::wialon("B", &pieces.join("|"), false)
        })
    }

    #[divan::bench]
    fn waymesh(bencher: Bencher<'_, '_>) {
        converse(bencher, Conversation::new("wialon", LOGIN, lines_of()), 1);
    }

    #[divan::bench]
    fn expression(bencher: Bencher<'_, '_>) {
        let expression = Regex::new(SHORT).unwrap();
        in_turn(bencher, &lines_of(), |line| {
            let pieces = line.split(|byte| *byte == b'|');
            black_box(
                pieces
                    .map(|piece| captured(&expression, piece))
                    .sum::<f64>(),
            );
        });
    }

    #[divan::bench]
    fn split_alone(bencher: Bencher<'_, '_>) {
        in_turn(bencher, &lines_of(), |line| {
            let pieces = line.split(|byte| *byte == b'|');
            black_box(pieces.map(|piece| split(piece, b';')).sum::<f64>());
        });
    }
}
