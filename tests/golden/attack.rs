//! Decoders under attack: the lines of the fixtures, damaged by a seeded hand.
//!
//! Whatever comes in, nothing panics, each line has one outcome, and a record that comes out is one
//! that the rest of the system can take: on earth, since 1990, printable, storable.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

use waymesh::{
    base::{prng::Prng, time::Instant},
    protocol::{AdmitAll, Context, Decoded, DecoderOptions, FlushReason, Outcome, Protocol},
    types::time::UnixMillis,
};

use crate::{
    fixtures::{cases_in, folder_of, registry},
    possible,
};

/// Seeds that always run; one that finds something joins them.
const SEEDS: [u64; 2] = [1, 20_261_122];
const N_CONNECTIONS: usize = 1_500;
const N_LINES_MAX: usize = 12;

const RECEIVED: UnixMillis = UnixMillis(1_795_176_000_000);

/// What a field is replaced by: what devices with a fault send, and what people with a plan do.
const NASTY: [&[u8]; 40] = [
    b"",
    b"NA",
    b"-",
    b"+",
    b".",
    b"-0",
    b"-0.0",
    b"-1",
    b"0",
    b"1e309",
    b"NaN",
    b"inf",
    b"9000.0000",
    b"9000.0000001",
    b"18000.0000",
    b"18000.0000001",
    b"8959.99999999999",
    b"0000.0000",
    b"5960.0000",
    b"90.0",
    b"-90.0000001",
    b"180.0",
    b"-180.0000001",
    b"360",
    b"360.0001",
    b"310226",
    b"290223",
    b"290224",
    b"000000",
    b"240000",
    b"235960",
    b"00000000",
    b"99999999999999999999",
    b"-9223372036854775808",
    b"0.00000000000000000001",
    b"\0",
    b"\xff\xfe\xc3",
    b"../../etc/passwd",
    b"a\nb",
    "\u{202e}\u{feff}".as_bytes(),
];

#[test]
fn damaged_lines_panic_nowhere_and_give_no_impossible_record() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => SEEDS.to_vec(),
    };
    for seed in seeds {
        let mut outcomes = BTreeMap::new();
        for protocol in registry().iter() {
            let corpus = corpus_of(&protocol.name());
            let mut hand = Hand(Prng::new(seed));
            for _ in 0..N_CONNECTIONS {
                let lines = hand.connection(&corpus);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    converse(
                        protocol.as_ref(),
                        hand.0.chance(50.0),
                        &lines,
                        &mut outcomes,
                    );
                }));
                if result.is_err() {
                    let shown: Vec<_> = lines
                        .iter()
                        .map(|line| line.escape_ascii().to_string())
                        .collect();
                    panic!(
                        "SEED={seed} cargo test --test golden attack\n{}",
                        shown.join("\n")
                    );
                }
            }
        }
        // The damage leaves something of everything: the test sees more than one end.
        for outcome in [
            "Positions",
            "Merged",
            "NoPosition",
            "malformed",
            "checksum",
            "time_impossible",
            "coordinates_impossible",
            "value_impossible",
            "no_identity",
            "not_logged_in",
            "unsupported",
        ] {
            assert!(
                outcomes.get(outcome).is_some_and(|count| *count > 10),
                "{outcome}: {outcomes:?}"
            );
        }
    }
}

/// A connection of `lines`; what became of each is counted in `outcomes`.
fn converse(
    protocol: &dyn Protocol,
    is_lenient: bool,
    lines: &[Vec<u8>],
    outcomes: &mut BTreeMap<String, usize>,
) {
    let context = Context {
        now: Instant::from_millis(0),
        received: RECEIVED,
        admission: &AdmitAll,
    };
    let mut decoder = protocol.decoder(DecoderOptions {
        is_lenient,
        ..DecoderOptions::default()
    });
    let (mut n_held, mut n_released) = (0, 0);
    let mut count = |outcome: Outcome| {
        let name = match outcome {
            Outcome::Rejected(reason) => reason.as_str().to_owned(),
            other => format!("{other:?}"),
        };
        *outcomes.entry(name).or_default() += 1;
    };
    for line in lines {
        let mut copy = decoder.snapshot();
        let mut out = Decoded::default();
        let outcome = decoder.line(&context, line, &mut out);
        check(protocol, &out);
        assert!(out.replies.is_empty() || out.replies.ends_with(b"\r\n"));
        n_held += usize::from(outcome == Outcome::Held);
        n_released += out.released.len();
        count(outcome);
        out.released.iter().for_each(|outcome| count(*outcome));

        let mut again = Decoded::default();
        assert_eq!(copy.line(&context, line, &mut again), outcome);
        assert_eq!(
            (&again.records, &again.replies, &again.released),
            (&out.records, &out.replies, &out.released)
        );
        let mut refusal = Vec::new();
        if !copy.refuse(line, &mut refusal) {
            assert!(refusal.is_empty());
        }
    }
    let mut out = Decoded::default();
    decoder.flush(&context, FlushReason::End, &mut out);
    check(protocol, &out);
    out.released.iter().for_each(|outcome| count(*outcome));
    assert_eq!(
        n_released + out.released.len(),
        n_held,
        "each held line is released once"
    );
    assert_eq!(decoder.next_deadline(), None);
}

fn check(protocol: &dyn Protocol, out: &Decoded) {
    assert!(out.released.iter().all(|outcome| *outcome != Outcome::Held));
    for record in &out.records {
        assert_eq!(record.protocol, protocol.name());
        possible::check(record, RECEIVED);
    }
}

/// The connections of all fixtures of a protocol.
fn corpus_of(protocol: &str) -> Vec<Vec<Vec<u8>>> {
    let mut connections = Vec::new();
    for case in cases_in(&folder_of(protocol)) {
        let text = fs::read(case).unwrap();
        let lines: Vec<Vec<u8>> = text
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let own = lines
            .split(|line| line.is_empty())
            .filter(|lines| !lines.is_empty());
        connections.extend(own.map(<[Vec<u8>]>::to_vec));
    }
    assert!(!connections.is_empty());
    connections
}

/// The hand that does the damage.
struct Hand(Prng);

impl Hand {
    /// Some lines of a connection of the corpus from its beginning, most of them damaged.
    fn connection(&mut self, corpus: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
        let lines = &corpus[self.pick(corpus.len())];
        let mut made: Vec<Vec<u8>> = vec![lines[0].clone()];
        for _ in 1..=self.pick(N_LINES_MAX) {
            let mut line = lines[self.pick(lines.len())].clone();
            for _ in 0..self.pick(4) {
                line = self.damage(line, lines);
            }
            if self.0.chance(70.0) {
                seal(&mut line);
            }
            made.push(line);
        }
        if self.0.chance(20.0) {
            made[0] = self.damage(made[0].clone(), lines);
        }
        made
    }

    fn damage(&mut self, mut line: Vec<u8>, others: &[Vec<u8>]) -> Vec<u8> {
        let place = self.pick(line.len() + 1);
        match self.pick(16) {
            0 => line.truncate(place),
            1 => line.extend(line.clone()),
            2 => line.insert(place, 0),
            3 => {
                line.extend(&others[self.pick(others.len())]);
            }
            4 => {
                let bit = 1 << self.pick(8);
                line.iter_mut()
                    .skip(place)
                    .take(1)
                    .for_each(|byte| *byte ^= bit);
            }
            5 => {
                let digit = b'0' + u8::try_from(self.pick(10)).unwrap();
                let digits = line
                    .iter_mut()
                    .skip(place)
                    .filter(|byte| byte.is_ascii_digit());
                digits.take(1).for_each(|byte| *byte = digit);
            }
            6 if self.0.chance(5.0) => {
                let byte = [b'7', b'A', 0xff, b',', b';', b'|', b':', b'$', b'*'][self.pick(9)];
                line.splice(place..place, std::iter::repeat_n(byte, 60 * 1024));
            }
            7 => {
                line.splice(
                    place..place,
                    (0..self.pick(9)).map(|_| (self.0.next_u64() >> 40) as u8),
                );
            }
            8 => {
                line.drain(place.saturating_sub(self.pick(9))..place);
            }
            _ => self.replace_field(&mut line),
        }
        line
    }

    /// Puts something nasty in the place of a field.
    fn replace_field(&mut self, line: &mut Vec<u8>) {
        let is_separator = |byte: &u8| b",;|:#/*".contains(byte);
        let ends: Vec<usize> = (0..line.len())
            .filter(|idx| is_separator(&line[*idx]))
            .collect();
        if ends.is_empty() {
            return;
        }
        let which = self.pick(ends.len());
        let start = ends[which] + 1;
        let end = ends.get(which + 1).copied().unwrap_or(line.len());
        line.splice(start..end, NASTY[self.pick(NASTY.len())].iter().copied());
    }

    fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(u64::try_from(bound).unwrap())).unwrap()
    }
}

/// Makes the checksum of a damaged NMEA sentence right, so that its damage gets past it.
fn seal(line: &mut Vec<u8>) {
    let Some(start) = line.iter().position(|byte| *byte == b'$') else {
        return;
    };
    let star = line
        .iter()
        .rposition(|byte| *byte == b'*')
        .filter(|star| *star > start);
    line.truncate(star.unwrap_or(line.len()));
    let sum = line[start + 1..].iter().fold(0, |sum, byte| sum ^ byte);
    line.extend(format!("*{sum:02X}").bytes());
}
