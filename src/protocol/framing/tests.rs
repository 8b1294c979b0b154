//! Framing at once against framing in pieces, the cap, and each shape's own rules.

use proptest::prelude::*;

use super::*;

const CAP: usize = 24;

const MEITRACK: Framing = Framing::Counted(Counted {
    prefix: b"$$",
    skipped_bytes: 1,
    radix: Radix::Decimal,
    digits: (1, 4),
    from: CountedFrom::BehindDigits,
});

const TOTEM: Framing = Framing::Counted(Counted {
    prefix: b"$$",
    skipped_bytes: 0,
    radix: Radix::Hexadecimal,
    digits: (2, 2),
    from: CountedFrom::Prefix,
});

const SHAPES: [Framing; 7] = [
    Framing::Terminated(b"\n"),
    Framing::Terminated(b"\n;"),
    Framing::TerminatedKept(b"\n;#$"),
    Framing::Enclosed {
        begin: b'*',
        end: b'#',
    },
    Framing::Enclosed {
        begin: b'$',
        end: b'$',
    },
    MEITRACK,
    TOTEM,
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Line(Vec<u8>),
    TooLong(LineHead, u64),
}

/// What a line buffer holds that appends chunks and drops what is consumed.
#[derive(Default)]
struct Buffer {
    state: FramerState,
    bytes: Vec<u8>,
    found: Vec<Found>,
}

impl Buffer {
    fn append(&mut self, framing: Framing, chunk: &[u8]) {
        self.bytes.extend(chunk);
        loop {
            let consumed = match framing.next(&mut self.state, &self.bytes, CAP) {
                Framed::Line { line, consumed } => {
                    assert!(!line.is_empty() && line.end <= consumed);
                    self.found.push(Found::Line(self.bytes[line].to_vec()));
                    consumed
                }
                Framed::TooLong {
                    head,
                    dropped_bytes,
                    consumed,
                } => {
                    self.found.push(Found::TooLong(head, dropped_bytes));
                    consumed
                }
                Framed::Incomplete { consumed } => {
                    self.bytes.drain(..consumed);
                    return;
                }
            };
            assert!(consumed > 0, "no progress");
            assert_eq!(self.state, FramerState::default());
            self.bytes.drain(..consumed);
        }
    }
}

fn framed(framing: Framing, stream: &[u8]) -> Vec<Found> {
    let mut buffer = Buffer::default();
    buffer.append(framing, stream);
    buffer.found
}

fn lines(lines: &[&str]) -> Vec<Found> {
    lines
        .iter()
        .map(|line| Found::Line(line.as_bytes().to_vec()))
        .collect()
}

#[track_caller]
fn check(framing: Framing, stream: &str, expected: &[&str]) {
    assert_eq!(framed(framing, stream.as_bytes()), lines(expected));
}

#[test]
fn an_end_byte_and_the_carriage_return_before_it_are_no_part_of_a_line() {
    let newline = Framing::Terminated(b"\n");
    check(
        newline,
        "one\r\ntwo\n\r\n\n \nthree\r\r\ncut",
        &["one", "two", " ", "three"],
    );
    check(newline, "a\rb\n", &["a\rb"]);
    check(
        Framing::Terminated(b"\n;"),
        "one;\r\ntwo;;three\n",
        &["one", "two", "three"],
    );
}

#[test]
fn an_end_byte_that_is_kept_is_the_last_of_its_line() {
    let kept = Framing::TerminatedKept(b";#");
    check(kept, "one;\r\ntwo#;#three;cut", &["one;", "two#", "three;"]);
}

#[test]
fn what_stands_between_enclosed_lines_is_skipped() {
    let stars = Framing::Enclosed {
        begin: b'*',
        end: b'#',
    };
    check(stars, "noise#*HQ,1#\r\n*HQ,*2#*cut", &["*HQ,1#", "*HQ,*2#"]);
    let dollars = Framing::Enclosed {
        begin: b'$',
        end: b'$',
    };
    check(dollars, "$one$ $two$$", &["$one$", "$two$"]);
}

#[test]
fn a_counted_line_ends_where_its_length_says() {
    check(
        MEITRACK,
        "junk$$A10,a\r\nb*FF\r\n$$B9,c$$d,*0A\r\n$$C7,cut",
        &["$$A10,a\r\nb*FF", "$$B9,c$$d,*0A"],
    );
    check(
        TOTEM,
        "$$0Aabcdef\r\n$$07xyz$$09",
        &["$$0Aabcdef", "$$07xyz"],
    );
}

#[test]
fn a_head_without_a_length_is_skipped() {
    check(MEITRACK, "$$A,x$$$B3,ab$$Z0,", &["$$B3,ab"]);
    check(TOTEM, "$$zz$$03$$06ok", &["$$06ok"]);
}

#[test]
fn an_announced_length_over_the_cap_is_told_at_once_and_swallows_nothing() {
    assert_eq!(
        framed(TOTEM, b"$$FF$$06ok"),
        [
            Found::TooLong(*b"$$\0\0\0\0\0\0", 255),
            Found::Line(b"$$06ok".to_vec())
        ]
    );
}

#[test]
fn a_line_over_the_cap_is_dropped_to_its_end_and_counted_whole() {
    let long = "x".repeat(100);
    for (framing, before, line) in [
        (Framing::Terminated(b"\n"), "\n\r\n", format!("a{long}\n")),
        (Framing::TerminatedKept(b"#"), "#\r\n", format!("a{long}#")),
        (SHAPES[3], "noise", format!("*{long}#")),
    ] {
        let (head, _) = line.as_bytes().split_first_chunk().unwrap();
        let n_bytes = u64::try_from(line.len()).unwrap();
        let stream = format!("{before}{line}");
        let mut buffer = Buffer::default();
        for byte in stream.as_bytes() {
            buffer.append(framing, &[*byte]);
        }
        assert_eq!(
            buffer.found,
            [Found::TooLong(*head, n_bytes)],
            "{framing:?}"
        );
        assert_eq!(framed(framing, stream.as_bytes()), buffer.found);
    }
}

#[test]
fn a_line_of_exactly_the_cap_is_taken() {
    let line = "x".repeat(CAP);
    check(Framing::Terminated(b"\n"), &format!("{line}\n"), &[&line]);
    let longer = format!("{line}y\nnext\n");
    assert_eq!(
        framed(Framing::Terminated(b"\n"), longer.as_bytes()),
        [
            Found::TooLong(*b"xxxxxxxx", u64::try_from(CAP + 2).unwrap()),
            Found::Line(b"next".to_vec())
        ]
    );
}

#[test]
fn a_line_that_trickles_in_is_scanned_once() {
    let framing = Framing::Terminated(b"\n");
    let mut state = FramerState::default();
    let line = vec![b'x'; 1_000];
    for n_bytes in 1..line.len() {
        assert_eq!(state.scanned_bytes, n_bytes - 1);
        let found = framing.next(&mut state, &line[..n_bytes], line.len());
        assert_eq!(found, Framed::Incomplete { consumed: 0 });
    }
}

/// Bytes that mean something to the shapes, more often than others.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"\r\n;#*$$$0123AFx,y".to_vec());
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_lines(
        stream in stream(),
        cuts in prop::collection::vec(1_usize..30, 1..50),
        shape_idx in 0..SHAPES.len(),
    ) {
        let framing = SHAPES[shape_idx];
        let mut buffer = Buffer::default();
        let mut rest = stream.as_slice();
        for n_bytes in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, behind) = rest.split_at(rest.len().min(*n_bytes));
            buffer.append(framing, chunk);
            rest = behind;
        }
        prop_assert_eq!(buffer.found, framed(framing, &stream));
    }

    #[test]
    fn what_is_kept_of_a_line_never_exceeds_the_cap(
        stream in stream(),
        shape_idx in 0..SHAPES.len(),
    ) {
        let mut buffer = Buffer::default();
        for byte in stream {
            buffer.append(SHAPES[shape_idx], &[byte]);
            prop_assert!(buffer.bytes.len() <= CAP);
        }
    }
}
