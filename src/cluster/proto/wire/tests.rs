//! What nodes say of members, byte by byte, as it stands in `fixtures/cluster/members`, and a program in
//! another language that was written from the page alone. `UPDATE=1` writes the files anew, which is right
//! only with a new kind of frame.

use std::{env, fmt::Write as _, fs, path::Path, process::Command};

use super::*;
use crate::cluster::proto::membership::Members;

fn record() -> Record {
    Record {
        id: NodeId(0x80),
        name: NodeName::parse("a").unwrap(),
        claim: Claim {
            incarnation: Incarnation(3),
            refutation: 1,
            standing: Standing::Down,
            run: Reverse(RunNumber(7)),
        },
        reason: DownReason::Silent,
        roles: Roles {
            is_ingest: true,
            is_store: false,
        },
        link: Some("192.0.2.1:5001".parse().unwrap()),
        http: None,
    }
}

#[track_caller]
fn check(said: &Said, golden: &[u8]) {
    assert_eq!(said.to_message().as_bytes(), golden);
    assert_eq!(Said::read(golden).as_ref(), Some(said));
    for n_bytes in 0..golden.len() {
        assert_eq!(Said::read(&golden[..n_bytes]), None, "cut to {n_bytes}");
    }
}

/// Published bytes: they never change.
#[test]
fn messages_have_their_golden_bytes() {
    let records = vec![record()];
    let member = [
        0x80, 1, 1, b'a', 3, 1, 1, 7, 1, 1, 0, 1, 0, 192, 0, 2, 1, 0x89, 0x27, 0,
    ];
    let with = |head: &[u8], tail: &[u8]| [head, &member, tail].concat();
    let table = Said::Table {
        records: records.clone(),
        is_last: true,
    };
    check(&table, &with(&[0, 1], &[1]));
    check(&Said::Delta { records }, &with(&[1, 1], &[]));
    let report = Said::Report {
        hops: vec![(NodeId(2), 1), (NodeId(300), 2)],
        is_storing: true,
    };
    check(&report, &[2, 2, 2, 1, 0xac, 2, 2, 1]);
    let heartbeat = Heartbeat {
        is_storing: true,
        epoch: Epoch(1),
        digest: ViewDigest(0x80),
    };
    assert_eq!(heartbeat.to_bytes(), [1, 1, 0x80, 1].as_slice());
    assert_eq!(Heartbeat::read(&heartbeat.to_bytes()), Some(heartbeat));
}

#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(Said::read(&[3]), None);
    assert_eq!(Said::read(&[2, 2, 2, 1, 1, 1, 1]), None, "not in order");
    assert_eq!(Said::read(&[1, 0xff, 0xff, 0xff, 0x7f]), None);
    let mut bytes = Said::Delta {
        records: vec![record()],
    }
    .to_message()
    .into_bytes()
    .to_vec();
    bytes[8] = 9;
    assert_eq!(Said::read(&bytes), None, "no such standing");
    assert_eq!(Heartbeat::read(&[7]), None);
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A member with numbers of one byte and of many, with addresses of both families.
fn records() -> Vec<Record> {
    let roles = |is_store| Roles {
        is_ingest: true,
        is_store,
    };
    let (one, all) = (roles(false), roles(true));
    let record = |id, name: &str, claim, roles, (link, http): (&str, &str)| {
        let (incarnation, refutation, standing, run) = claim;
        Record {
            id: NodeId(id),
            name: NodeName::parse(name).unwrap(),
            claim: Claim {
                incarnation: Incarnation(incarnation),
                refutation,
                standing,
                run: Reverse(RunNumber(run)),
            },
            reason: match standing {
                Standing::Up => DownReason::Closed,
                Standing::Down => DownReason::Unreachable,
                Standing::Left => DownReason::Left,
                Standing::Forgotten => DownReason::Forgotten,
            },
            roles,
            link: link.parse().ok(),
            http: http.parse().ok(),
        }
    };
    let (long, longest) = (0x1122_3344_5566_7788, u64::MAX);
    let (near, far) = ("192.0.2.7:5001", "[2001:db8::7]:15001");
    vec![
        record(1, "a", (1, 0, Standing::Up, 0x7f), all, (near, "none")),
        record(
            0x80,
            "Süd",
            (300, 129, Standing::Down, 0x80),
            one,
            (far, near),
        ),
        record(
            long,
            "bus-17",
            (2, 0, Standing::Left, long),
            one,
            ("none", far),
        ),
        record(
            longest,
            "x",
            (longest, u32::MAX, Standing::Up, longest),
            all,
            ("none", "none"),
        ),
        record(
            longest - 1,
            "y",
            (9, 1, Standing::Forgotten, 1),
            one,
            ("none", "none"),
        ),
    ]
}

fn as_line(record: &Record) -> String {
    let address = |address: Option<SocketAddr>| address.map_or("none".into(), |it| it.to_string());
    let claim = &record.claim;
    format!(
        "member = {} {} {} {} {} {:016x} {} {} {} {} {}\n",
        record.id,
        record.name,
        claim.incarnation.0,
        claim.refutation,
        format!("{:?}", claim.standing).to_lowercase(),
        record.run().0,
        record.reason,
        u8::from(record.roles.is_ingest),
        u8::from(record.roles.is_store),
        address(record.link),
        address(record.http),
    )
}

const ORDER: &str = "# member = id, name, incarnation, refutation, standing, run, reason, takes vehicles, stores, \
    link address, HTTP address\n";

fn vectors() -> Vec<(&'static str, String)> {
    let records = records();
    let lines: String = records.iter().map(as_line).collect();
    let bytes = |bytes: &[u8]| {
        let digits = bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        format!("bytes = {digits}\n")
    };
    let message = |said: Said| bytes(said.to_message().as_bytes());
    let is_last = true;
    let table = Said::Table {
        records: records.clone(),
        is_last,
    };
    let change = Said::Delta {
        records: records[1..2].to_vec(),
    };
    let (hops, is_storing) = (
        vec![(NodeId(1), 1), (NodeId(0x80), 2), (NodeId(1 << 40), 8)],
        true,
    );
    let reached: Vec<String> = hops.iter().map(|(id, n)| format!("{id}:{n}")).collect();
    let report = message(Said::Report { hops, is_storing });
    let mut members = Members::new(8);
    for record in &records[1..] {
        members.merge(crate::base::time::Instant::from_millis(0), record.clone());
    }
    let digest = members.digest(&records[0]);
    let epoch = Epoch(0x0123_4567_89ab_cdef);
    let heartbeat = Heartbeat {
        is_storing,
        epoch,
        digest,
    };
    let digest = format!("digest = {:016x}\n", digest.0);
    let beat = bytes(&heartbeat.to_bytes());
    vec![
        (
            "table.txt",
            format!("{ORDER}kind = table\n{lines}{}", message(table)),
        ),
        (
            "change.txt",
            format!(
                "{ORDER}kind = change\n{}{}",
                as_line(&records[1]),
                message(change)
            ),
        ),
        (
            "report.txt",
            format!(
                "kind = report\nreached = {}\nstores = 1\n{report}",
                reached.join(" ")
            ),
        ),
        ("view.txt", format!("{ORDER}kind = view\n{lines}{digest}")),
        (
            "heartbeat.txt",
            format!("kind = heartbeat\nstores = 1\nepoch = {epoch}\n{digest}{beat}"),
        ),
    ]
}

/// A published byte never changes.
#[test]
fn vectors_stay_as_they_are() {
    let folder = top().join("fixtures/cluster/members");
    for (file, text) in vectors() {
        let path = folder.join(file);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{file}");
    }
}

#[test]
fn a_program_in_another_language_reads_and_writes_the_vectors() {
    let mut program = Command::new("python3");
    program
        .arg(top().join("tests/foreign/members.py"))
        .arg("vectors")
        .arg(top().join("fixtures/cluster/members"));
    let output = match program.output() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: a program in another language reads members: python3: {error}");
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!((said.trim(), &*complained), ("ok 5", ""));
}
