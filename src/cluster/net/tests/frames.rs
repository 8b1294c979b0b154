//! What is sent over a link under credit.

use super::*;
use crate::cluster::proto::link::{credit::cost, outgoing::SendError};

const QUERY: FrameKind = FrameKind(40);

#[tokio::test]
async fn frames_of_every_size_arrive_whole() {
    let (_one, link, mut other, _other_link) = pair(config("one"), config("other")).await;
    let sizes = [0, 1, 65_518, 65_519, 65_520, 200_000, 4 * 1024 * 1024];
    let sending = async {
        for n_bytes in sizes {
            let payload = Bytes::from(vec![n_bytes as u8; n_bytes]);
            let sent = link
                .handle
                .send_when_room(FrameKind::RECORDS, payload)
                .await;
            sent.unwrap();
        }
    };
    let receiving = async {
        for n_bytes in sizes {
            let frame = other.frame().await;
            assert_eq!(frame.payload.len(), n_bytes);
            assert!(frame.payload.iter().all(|byte| *byte == n_bytes as u8));
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn what_is_not_dealt_with_stops_its_own_flow_and_no_other() {
    let mut receiving = config("other");
    receiving.records_window_bytes = 10_000;
    let (_one, link, mut other, _other_link) = pair(config("one"), receiving).await;
    for number in 0..100 {
        let payload = Bytes::from(vec![number; 1_000]);
        link.handle.send(FrameKind::RECORDS, payload).unwrap();
    }
    let mut held = Vec::new();
    while held.len() < 10 {
        held.push(other.frame().await);
    }
    // As much is held as was granted; what follows is of another flow.
    link.handle.send(QUERY, bytes("?")).unwrap();
    let frame = other.frame().await;
    assert_eq!((frame.kind, frame.payload.clone()), (QUERY, bytes("?")));
    assert!(link.handle.waiting_bytes() >= 90 * 1_000);
    let all: u64 = held.iter().map(|frame| cost(frame.payload.len())).sum();
    assert!((10_000..10_000 + cost(1_000)).contains(&all));
    drop(held);
    for number in 10..100 {
        assert_eq!(other.frame().await.payload[0], number);
    }
}

#[tokio::test]
async fn who_sends_too_much_is_told_or_waits() {
    let mut receiving = config("other");
    receiving.records_window_bytes = 1;
    let (_one, link, mut other, _other_link) = pair(config("one"), receiving).await;
    let piece = || Bytes::from(vec![7; 100_000]);
    let filling = std::iter::repeat_with(|| link.handle.send(FrameKind::RECORDS, piece()));
    let n_taken = filling.take_while(Result::is_ok).count();
    assert!((10..20).contains(&n_taken), "{n_taken}");
    let refused = link.handle.send(FrameKind::RECORDS, piece());
    assert_eq!(refused, Err(SendError::Full));
    let waiting = link.handle.send_when_room(FrameKind::RECORDS, piece());
    let receiving = async {
        for _ in 0..=n_taken {
            assert_eq!(other.frame().await.payload.len(), 100_000);
        }
    };
    let (sent, ()) = tokio::join!(waiting, receiving);
    sent.unwrap();
}

#[tokio::test]
async fn who_waits_for_room_on_a_link_that_ends_is_told() {
    let mut receiving = config("other");
    receiving.records_window_bytes = 0;
    let (_one, link, other, _other_link) = pair(config("one"), receiving).await;
    let piece = || Bytes::from(vec![7; 1_000_000]);
    link.handle.send(FrameKind::RECORDS, piece()).unwrap();
    let waiting = link.handle.send_when_room(FrameKind::RECORDS, piece());
    let ending = async {
        drop(other);
        link.handle.close(CloseReason::Unwanted);
    };
    let (sent, ()) = tokio::join!(waiting, ending);
    assert_eq!(sent, Err(SendError::Closed));
}
