//! Framing: however a stream is cut, the lines are those of the stream as a whole, and those that a
//! plain search finds; and no more than the cap is ever kept.

use waymesh::protocol::framing::{
    Counted, CountedFrom, Framed, FramerState, Framing, LineHead, Radix,
};

use super::choices::Choices;

/// A least cap: the longest head of a counted line fits.
const CAP_MIN: usize = 8;

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
    Framing::Counted(Counted {
        prefix: b"$$",
        skipped_bytes: 1,
        radix: Radix::Decimal,
        digits: (1, 4),
        from: CountedFrom::BehindDigits,
    }),
    Framing::Counted(Counted {
        prefix: b"$$",
        skipped_bytes: 0,
        radix: Radix::Hexadecimal,
        digits: (2, 2),
        from: CountedFrom::Prefix,
    }),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found<'a> {
    Line(&'a [u8]),
    TooLong(LineHead, u64),
}

/// The input: shape, cap, four lengths of pieces that take turns, then the stream.
pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let framing = SHAPES[choices.below(SHAPES.len())];
    let cap = CAP_MIN + choices.below(64);
    let cuts = [(); 4].map(|()| 1 + choices.below(40));
    let stream = choices.rest();
    let whole = framed(framing, cap, stream, &[stream.len().max(1)]);
    assert_eq!(framed(framing, cap, stream, &cuts), whole, "cut {cuts:?}");
    assert_eq!(framed(framing, cap, stream, &[1]), whole, "byte by byte");
    if let Some(searched) = searched(framing, cap, stream) {
        assert_eq!(whole, searched, "{framing:?}");
    }
}

/// The lines of a stream that comes in pieces of these lengths, as a line buffer takes them.
fn framed<'a>(framing: Framing, cap: usize, stream: &'a [u8], pieces: &[usize]) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    let mut state = FramerState::default();
    let (mut start, mut end) = (0, 0);
    for n_bytes in pieces.iter().cycle() {
        if end == stream.len() {
            break;
        }
        end = stream.len().min(end + n_bytes);
        loop {
            let bytes = &stream[start..end];
            let (item, consumed) = match framing.next(&mut state, bytes, cap) {
                Framed::Line { line, consumed } => {
                    assert!(!line.is_empty() && line.end <= consumed, "{line:?}");
                    (Found::Line(&bytes[line]), consumed)
                }
                Framed::TooLong {
                    head,
                    dropped_bytes,
                    consumed,
                } => (Found::TooLong(head, dropped_bytes), consumed),
                Framed::Incomplete { consumed } => {
                    start += consumed;
                    break;
                }
            };
            assert!(consumed > 0, "no progress");
            assert_eq!(state, FramerState::default());
            // The end of a line does not count against the cap.
            assert!(!matches!(item, Found::Line(line) if line.len() > cap + 1));
            found.push(item);
            start += consumed;
        }
        assert!(start <= end && end - start <= cap, "kept {}", end - start);
        assert!(state.scanned_bytes <= end - start);
    }
    found
}

/// The same lines by plain search, for the shapes that a search can tell.
fn searched(framing: Framing, cap: usize, stream: &[u8]) -> Option<Vec<Found<'_>>> {
    let (ends, begin): (&[u8], _) = match &framing {
        Framing::Terminated(ends) | Framing::TerminatedKept(ends) => (ends, None),
        Framing::Enclosed { begin, end } => (std::slice::from_ref(end), Some(*begin)),
        Framing::Counted(_) => return None,
    };
    let is_begin = |byte: &u8| match begin {
        Some(begin) => *byte == begin,
        None => !matches!(byte, b'\r' | b'\n') && !ends.contains(byte),
    };
    let mut found = Vec::new();
    let mut rest = stream;
    while let Some(start) = rest.iter().position(is_begin) {
        let line = &rest[start..];
        let behind_begin = usize::from(begin.is_some());
        let end = line[behind_begin..]
            .iter()
            .position(|byte| ends.contains(byte));
        let Some(end) = end.map(|end| end + behind_begin) else {
            break;
        };
        let kept = match framing {
            Framing::Terminated(_) => without_returns(&line[..end]),
            _ => &line[..=end],
        };
        found.push(if end > cap {
            let head = std::array::from_fn(|idx| line[idx]);
            Found::TooLong(head, end as u64 + 1)
        } else {
            Found::Line(kept)
        });
        rest = &line[end + 1..];
    }
    Some(found)
}

fn without_returns(line: &[u8]) -> &[u8] {
    let last = line.iter().rposition(|byte| *byte != b'\r');
    &line[..last.map_or(0, |last| last + 1)]
}
