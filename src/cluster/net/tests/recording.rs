//! A handshake from fixed keys and what may follow it, byte by byte, as it stands in
//! `fixtures/cluster/links`: what crosses the wire must not change by accident. `UPDATE=1` writes it
//! anew, which is right only with a new version of the wire.

use std::{env, fs, path::Path};

use bytes::BytesMut;

use super::*;
use crate::cluster::{
    net::noise::{Handshake, Sealer},
    proto::link::{
        credit::Grant,
        frame::{Flow, write_frame},
        preamble::{Answer, Call, Verdict},
    },
};

const FILE: &str = "fixtures/cluster/links/handshake.txt";

const HEAD: &str = "\
# A handshake from fixed one-time keys, and messages behind it. All values but the cluster are hex.
# `sealed` is what crosses the wire behind a length of two bytes; `plain` is what it says.
";

struct Recording(String);

impl Recording {
    fn add(&mut self, name: &str, value: &[u8]) {
        let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.0, "{name} = {value}").unwrap();
    }

    /// Messages of one direction; the frames of each share one message.
    fn add_messages(
        &mut self,
        side: &str,
        sealer: &mut Sealer,
        messages: &[&[(FrameKind, Vec<u8>)]],
    ) {
        for (number, frames) in messages.iter().enumerate() {
            let (mut plain, mut sealed) = (BytesMut::new(), BytesMut::new());
            for (kind, payload) in *frames {
                write_frame(*kind, payload, &mut plain);
            }
            sealer.seal(&plain, &mut sealed);
            self.add(&format!("{side} plain {number}"), &plain);
            self.add(&format!("{side} sealed {number}"), &sealed[2..]);
        }
    }
}

fn recording() -> String {
    let mut recording = Recording(HEAD.into());
    let cluster = name("depot");
    let keys = LinkKeys::new(&SECRET, &cluster);
    writeln!(recording.0, "cluster = {}", cluster.as_str()).unwrap();
    recording.add("secret", &SECRET);
    recording.add("psk", keys.psk());
    let versions = WireVersions {
        oldest: 1,
        newest: 1,
    };
    let tag = keys.tag();
    let call = Call { versions, tag }.encode();
    recording.add("call", &call);
    let (one_key, other_key) = ([0x11; 32], [0x22; 32]);
    recording.add("dialling one-time key", &one_key);
    recording.add("called one-time key", &other_key);
    let mut one = Handshake::fixed(true, &call, keys.psk(), &one_key);
    let mut other = Handshake::fixed(false, &call, keys.psk(), &other_key);
    let message = one.write().unwrap();
    recording.add("first message", &message);
    other.read(&message).unwrap();
    let verdict = Verdict::GoOn;
    recording.add("answer", &Answer { versions, verdict }.encode());
    let message = other.write().unwrap();
    recording.add("second message", &message);
    one.read(&message).unwrap();
    let (mut one, _) = one.split().unwrap();
    let (mut other, _) = other.split().unwrap();
    let credit = |flow, bytes| (FrameKind::CREDIT, Grant { flow, bytes }.encode().to_vec());
    recording.add_messages(
        "dialling",
        &mut one,
        &[
            &[(FrameKind::HELLO, hello("gate-1").encode())],
            &[
                credit(Flow::Records, 1_048_576),
                credit(Flow::Bulk, 524_288),
            ],
            &[(FrameKind::HEARTBEAT, b"healthy".to_vec())],
            &[
                (FrameKind::RECORDS, vec![7; 300]),
                (FrameKind(40), b"a question".to_vec()),
            ],
            &[(FrameKind::PING, b"\x01\0\0\0\0\0\0\0".to_vec())],
        ],
    );
    let by = "10.0.0.9:5001".parse().unwrap();
    recording.add_messages(
        "called",
        &mut other,
        &[
            &[(FrameKind::HELLO, hello("gate-2").encode())],
            &[(FrameKind::MEMBERS, b"members".to_vec())],
            &[
                (FrameKind::RECORD_ACKS, b"acks".to_vec()),
                (FrameKind::PONG, b"\x01\0\0\0\0\0\0\0".to_vec()),
            ],
            &[(FrameKind::CLOSE, CloseReason::NameTaken { by }.encode())],
        ],
    );
    recording.0
}

#[test]
fn what_crosses_the_wire_is_what_was_recorded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let now = recording();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert_eq!(now, fs::read_to_string(&path).unwrap());
}
