//! What comes over a link, once it is decrypted: any bytes are frames, hellos and reasons or none, and
//! what is read is the same when it is written and read again.

use bytes::BytesMut;
use waymesh::cluster::proto::link::{
    credit::Grant,
    frame::{Frame, FrameFault, FrameReader, Item, write_frame},
    hello::Hello,
    outcome::CloseReason,
    preamble::{ANSWER_BYTES, Answer, CALL_BYTES, Call},
};

/// The input is a hello, or what stands in clear before it.
pub(crate) fn check_hello(input: &[u8]) {
    if let Ok(hello) = Hello::decode(input) {
        let again = Hello::decode(&hello.encode()).expect("what was encoded is read");
        assert_eq!(again, hello);
        let shown = format!("{}{}", hello.card.name, hello.software);
        assert!(!shown.chars().any(char::is_control));
    }
    if let Some(bytes) = input.first_chunk::<CALL_BYTES>()
        && let Ok(call) = Call::decode(bytes)
    {
        assert_eq!(call.encode(), *bytes);
    }
    if let Some(bytes) = input.first_chunk::<ANSWER_BYTES>()
        && let Ok(answer) = Answer::decode(bytes)
    {
        assert_eq!(answer.encode(), *bytes);
    }
}

/// The first byte says how the rest comes in: in pieces of so many bytes. The rest is a stream of
/// frames.
pub(crate) fn check_frames(input: &[u8]) {
    let Some((step, stream)) = input.split_first() else {
        return;
    };
    let step = usize::from(*step).max(1);
    let (items, end) = read(stream, step);
    let (items_at_once, end_at_once) = read(stream, stream.len().max(1));
    assert_eq!((&items, &end), (&items_at_once, &end_at_once));
    for item in &items {
        if let Item::Frame(frame) = item {
            check_frame(frame);
        }
    }
    if end.is_ok() {
        let mut written = BytesMut::new();
        let frames = items.iter().filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            Item::Skipped(_) => None,
        });
        let frames: Vec<&Frame> = frames.collect();
        for frame in &frames {
            write_frame(frame.kind, &frame.payload, &mut written);
        }
        let (again, end) = read(&written, step);
        assert_eq!(end, Ok(()));
        let frames = frames.into_iter().cloned().map(Item::Frame);
        assert_eq!(again, frames.collect::<Vec<_>>());
    }
}

fn read(bytes: &[u8], step: usize) -> (Vec<Item>, Result<(), FrameFault>) {
    let (mut reader, mut stream) = (FrameReader::default(), BytesMut::new());
    let mut items = Vec::new();
    for piece in bytes.chunks(step) {
        stream.extend_from_slice(piece);
        loop {
            match reader.next(&mut stream) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(fault) => return (items, Err(fault)),
            }
        }
    }
    (items, Ok(()))
}

fn check_frame(frame: &Frame) {
    assert!(frame.kind.is_known());
    assert!(frame.payload.len() <= frame.kind.payload_bytes_max());
    let reason = CloseReason::decode(&frame.payload);
    let written = reason.encode();
    assert!(written.len() <= 201);
    assert_eq!(CloseReason::decode(&written), reason);
    assert!(!reason.to_string().chars().any(char::is_control));
    if let Ok(Some(grant)) = Grant::decode(&frame.payload) {
        assert_eq!(grant.encode(), frame.payload[..]);
    }
}
