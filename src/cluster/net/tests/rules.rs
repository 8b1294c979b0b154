//! Peers that have the secret and break the rules: the link is closed, they are told why, and nobody
//! else suffers.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::cluster::proto::link::{
    credit::FREE_BYTES_MAX,
    frame::{FrameReader, Item, write_frame},
};

/// Writes bytes into the encrypted stream as they are.
async fn write(session: &mut Session<TcpStream>, plain: &[u8]) {
    let mut sealed = BytesMut::new();
    session.sealer.seal(plain, &mut sealed);
    session.stream.write_all(&sealed).await.unwrap();
}

fn framed(kind: u8, payload: &[u8]) -> BytesMut {
    let mut plain = BytesMut::new();
    write_frame(FrameKind(kind), payload, &mut plain);
    plain
}

/// The reason of the close frame with which the other end says farewell.
async fn farewell(session: &mut Session<TcpStream>) -> CloseReason {
    let (mut plain, mut reader) = (BytesMut::new(), FrameReader::default());
    loop {
        while let Some(item) = reader.next(&mut plain).unwrap() {
            match item {
                Item::Frame(frame) if frame.kind == FrameKind::CLOSE => {
                    return CloseReason::decode(&frame.payload);
                }
                _ => {}
            }
        }
        let n_bytes = session.stream.read_u16().await.unwrap();
        let mut message = vec![0; usize::from(n_bytes)];
        session.stream.read_exact(&mut message).await.unwrap();
        session.opener.open(&message, &mut plain).unwrap();
    }
}

/// What a peer writes, and which rule it breaks.
async fn check(plain: &[u8], rule: &'static str) {
    let mut end = End::named("one");
    let (mut session, link) = rogue(&mut end).await;
    write(&mut session, plain).await;
    let told = timeout(PATIENCE, farewell(&mut session)).await.unwrap();
    assert_eq!(told, CloseReason::Protocol(rule.to_owned()));
    let expected = (link.link, LinkEnd::Protocol(rule));
    loop {
        match end.next().await {
            LinkEvent::LinkDown { link, reason, .. } => {
                assert_eq!((link, reason), expected);
                return;
            }
            LinkEvent::Frame { .. } => {}
            event => panic!("{event:?}"),
        }
    }
}

#[tokio::test]
async fn a_frame_that_is_too_long() {
    check(&[5, 200, 1], "a frame is longer than its kind may be").await;
}

#[tokio::test]
async fn a_second_hello() {
    check(&framed(0, b"x"), "a second hello").await;
}

#[tokio::test]
async fn a_ping_of_another_length() {
    check(&framed(5, b"1234567"), "a ping of another length").await;
}

#[tokio::test]
async fn more_than_was_granted() {
    let mut plain = framed(16, &vec![0; 2_000_000]);
    plain.extend(framed(16, b"and one more"));
    check(&plain, "a frame beyond the credit").await;
}

/// Members and acknowledgements need no credit. While nobody works them off they are held, up to a cap.
#[tokio::test]
async fn more_than_is_worked_off_of_what_needs_no_credit() {
    for (kind, n_bytes) in [(3, 256 * 1024), (17, 64 * 1024)] {
        let mut end = End::named("one");
        let (mut session, link) = rogue(&mut end).await;
        let frame = framed(kind, &vec![0; n_bytes]);
        let n_frames = usize::try_from(FREE_BYTES_MAX).unwrap() / n_bytes;
        let mut held = Vec::new();
        // One after the other: what was dealt with does not count.
        for _ in 0..n_frames * 2 {
            write(&mut session, &frame).await;
            drop(end.frame().await);
        }
        for _ in 0..n_frames {
            write(&mut session, &frame).await;
            held.push(end.frame().await);
        }
        write(&mut session, &frame).await;
        let told = timeout(PATIENCE, farewell(&mut session)).await.unwrap();
        assert_eq!(told, CloseReason::NotReady);
        drop(session);
        assert_eq!(end.down().await, (link.link, LinkEnd::Overrun));
        assert_eq!(end.metrics.links.ended.count("overrun"), 1);
    }
}

#[tokio::test]
async fn more_credit_than_can_be_meant() {
    let grant = framed(2, &[0, 255, 255, 255, 255]);
    check(&grant.repeat(300), "more credit than can be meant").await;
}

#[tokio::test]
async fn bytes_that_are_altered_on_their_way() {
    let mut end = End::named("one");
    let (mut session, _link) = rogue(&mut end).await;
    let mut sealed = BytesMut::new();
    session.sealer.seal(&framed(3, b"members"), &mut sealed);
    sealed[5] ^= 1;
    session.stream.write_all(&sealed).await.unwrap();
    let reason = end.down().await.1;
    assert_eq!(reason, LinkEnd::Protocol("a message that was altered"));
}

#[tokio::test]
async fn frames_of_later_versions_are_passed_over_and_counted() {
    let mut end = End::named("one");
    let (mut session, _link) = rogue(&mut end).await;
    let mut plain = framed(9, &vec![1; 100_000]);
    plain.extend(framed(31, b""));
    plain.extend(framed(2, &[77, 1, 0, 0, 0]));
    plain.extend(framed(3, b"members"));
    write(&mut session, &plain).await;
    assert_eq!(end.frame().await.payload, bytes("members"));
    assert_eq!(end.metrics.links.frames_skipped.get(), 2);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_given_up() {
    let mut config = config("one");
    config.write_timeout = Duration::from_millis(300);
    let mut end = End::start(config);
    let (mut session, link) = rogue(&mut end).await;
    let sending = async {
        let grant = framed(2, &[0, 255, 255, 255, 127]);
        write(&mut session, &grant).await;
        loop {
            let records = Bytes::from(vec![0; 1_000_000]);
            let sent = link.handle.send_when_room(FrameKind::RECORDS, records);
            if sent.await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, sending).await.unwrap();
    assert_eq!(end.down().await, (link.link, LinkEnd::Reset));
}
