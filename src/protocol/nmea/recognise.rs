//! Whether a connection begins like this protocol. Other protocols begin with `$` or with digits
//! too, so an identity without a mark is recognised by what follows it.

use super::line::{is_bare_id, is_id_byte, prefix_id};
use crate::protocol::Recognition;

/// A first line that is still undecided after as many bytes is none of ours, and so is one that as
/// many blanks stand before.
const HEAD_BYTES_MAX: usize = 200;

/// How a sentence of ours begins: talkers of satellite receivers, vendors, identities.
const OPENINGS: [&[u8]; 9] = [
    b"$G",
    b"$P",
    b"$BD",
    b"$QZ",
    b"$DEVID,",
    b"$CONNECT,",
    b"$IMEI=",
    b"$TRCCR,",
    b"$ID,",
];

/// How a line of ours without a sentence begins.
const PLAIN_OPENINGS: [&[u8]; 2] = [b"IMEI ", b"QZE,"];

/// Whether a connection that begins with `head` speaks NMEA.
pub(super) fn recognise(head: &[u8]) -> Recognition {
    let Some(line) = without_blanks(head) else {
        return Recognition::No;
    };
    let line = line.get(..HEAD_BYTES_MAX).unwrap_or(line);
    let recognition = match begins(line, &OPENINGS) {
        Recognition::No => match begins(line, &PLAIN_OPENINGS) {
            Recognition::No => begins_with_identity(line),
            known => known,
        },
        known => known,
    };
    match recognition {
        Recognition::More if line.len() >= HEAD_BYTES_MAX => Recognition::No,
        known => known,
    }
}

/// `head` from its first byte that is no blank on; `None` if that is too far to look.
///
/// Empty lines do not count: they are done with together, while each line of blanks is a line, and
/// would be looked through again for every one before it.
fn without_blanks(head: &[u8]) -> Option<&[u8]> {
    let is_break = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    let n_breaks = head.iter().take_while(is_break).count();
    let rest = head.get(n_breaks..).unwrap_or_default();
    let near = rest.get(..HEAD_BYTES_MAX).unwrap_or(rest);
    let n_blanks = near.len() - near.trim_ascii_start().len();
    rest.get(n_blanks..).filter(|_| n_blanks < HEAD_BYTES_MAX)
}

fn begins(line: &[u8], openings: &[&[u8]]) -> Recognition {
    if openings.iter().any(|opening| line.starts_with(opening)) {
        return Recognition::Yes;
    }
    if openings.iter().any(|opening| opening.starts_with(line)) {
        return Recognition::More;
    }
    Recognition::No
}

/// A bare identity up to the end of the line, or one in front of a sentence.
fn begins_with_identity(line: &[u8]) -> Recognition {
    let is_front_byte = |byte: &u8| is_id_byte(*byte) || matches!(byte, b'/' | b'.');
    let end = line.iter().position(|byte| !is_front_byte(byte));
    let Some((front, rest)) = end.and_then(|end| line.split_at_checked(end)) else {
        return Recognition::More;
    };
    match rest {
        [b','] => Recognition::More,
        [b',', sentence @ ..] => match prefix_id(line.get(..=front.len()).unwrap_or_default()) {
            Some(_) => begins(sentence, &OPENINGS),
            None => Recognition::No,
        },
        [b'$', ..] => match prefix_id(front) {
            Some(_) => begins(rest, &OPENINGS),
            None => Recognition::No,
        },
        spaces if is_bare_id(front) => bare_identity_ends(spaces),
        _ => Recognition::No,
    }
}

/// Nothing but spaces may stand between a bare identity and the end of its line.
fn bare_identity_ends(rest: &[u8]) -> Recognition {
    match rest
        .iter()
        .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
    {
        Some(b'\n') => Recognition::Yes,
        Some(_) => Recognition::No,
        None => Recognition::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(heads: &[&str], expected: Recognition) {
        for head in heads {
            assert_eq!(recognise(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn sentences_and_identities_are_ours() {
        let ours = [
            "$GP",
            "$GNRMC,1",
            "$PGID,3",
            "$PSIWMDID",
            "$BDGSA",
            "$QZGSV",
            "$DEVID,0x01",
            "IMEI 3",
            "$IMEI=490154203237534",
            "$CONNECT,3",
            "$TRCCR,2",
            "$ID,490154203237542",
            "QZE,86",
            "00A0C914C829\n",
            "490154203237559\r\n",
            "490154203237559 \r\n$GP",
            "490154203237567,$GPRMC",
            "4F3E2D1C0B0A9988$GNRMC",
            "/a/b/car-7/$GPRMC",
            "\r\n$GP",
        ];
        check(&ours, Recognition::Yes);
    }

    #[test]
    fn what_may_become_ours_needs_more() {
        let undecided = [
            "$",
            "$I",
            "$DEV",
            "I",
            "IMEI",
            "Q",
            "3",
            "490154203237559",
            "490154203237559\r",
            "490154203237559 ",
            "490154203237567,",
            "490154203237567,$",
            "4F3E2D1C0B0A9988$",
            "car-7/",
            "\r\n",
        ];
        check(&undecided, Recognition::More);
    }

    #[test]
    fn other_protocols_are_not_ours() {
        let foreign = [
            "#L#123;NA",
            "##,imei:359",
            "*HQ,42",
            "(0881",
            "+RESP:",
            "[3G*",
            "GET / HTTP/1.1",
            "POST /x",
            "\u{16}\u{3}\u{1}",
            "$$A28,3",
            "$,LGN",
            "$Header",
            "490154203237559;",
            "imei:490154203237583,tracker",
            "ST300STT;007",
            "1111110919,+4477",
            ">RPV",
            "5F$GPRMC",
            "deadbee \u{1}",
            "hello world",
            "0a$X",
            "{\"a\"",
        ];
        check(&foreign, Recognition::No);
        let endless = "7".repeat(HEAD_BYTES_MAX);
        check(&[&endless], Recognition::No);
    }

    #[test]
    fn what_stands_before_a_line_changes_nothing() {
        let blanks = ["", "\r", "\n", " ", "\t", "\u{c}", "\r\n\r\n", " \n"];
        let lines = [
            "", "$", "$GP", "IMEI 3", "car-7/", "49$GNRMC", "hello", "5\n",
        ];
        let mut befores = vec![String::new()];
        for _ in 0..4 {
            let longer = befores
                .iter()
                .flat_map(|before| blanks.iter().map(move |blank| format!("{before}{blank}")));
            befores = longer.collect();
        }
        for before in befores {
            for line in lines {
                let head = format!("{before}{line}");
                let expected = recognise(line.as_bytes());
                assert_eq!(recognise(head.as_bytes()), expected, "{head:?}");
            }
        }
        let many = "\r\n".repeat(2_000);
        check(&[&many], Recognition::More);
        check(&[&format!("{many}$GP")], Recognition::Yes);
        check(&[&format!("{many} \t$GP")], Recognition::Yes);
    }

    #[test]
    fn no_line_is_looked_for_behind_many_blanks() {
        let blanks = " \n".repeat(HEAD_BYTES_MAX / 2);
        let fewer = " \n".repeat(HEAD_BYTES_MAX / 2 - 1);
        check(&[&fewer, &format!("\n\n{fewer} ")], Recognition::More);
        check(&[&format!("{fewer}$GP")], Recognition::Yes);
        let endless = " ".repeat(4_000);
        let behind = format!("{blanks}$GP");
        check(&[&blanks, &behind, &endless], Recognition::No);
    }

    #[test]
    fn an_answer_never_changes_with_more_bytes() {
        for whole in [
            "$IMEI=49015\n",
            "00A0C91\r\n",
            "99,$GPRMC",
            "ab$GP",
            "imei:3,t",
            "GET /",
            &format!("{}$PGID,3", "\n".repeat(300)),
            &format!("{}$PGID,3", " \n".repeat(150)),
            &format!("/{}/$GPRMC,1", "a/".repeat(150)),
        ] {
            let answers: Vec<_> = (1..=whole.len())
                .map(|end| recognise(&whole.as_bytes()[..end]))
                .filter(|answer| *answer != Recognition::More)
                .collect();
            assert!(
                answers.windows(2).all(|two| two[0] == two[1]),
                "{whole:?}: {answers:?}"
            );
        }
    }
}
