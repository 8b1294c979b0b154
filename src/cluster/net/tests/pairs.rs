//! Two nodes: how they link, and how a link ends.

use super::{proxy::Proxy, *};

#[tokio::test]
async fn two_nodes_link_and_know_each_other() {
    let (one, link, other, other_link) = pair(config("one"), config("other")).await;
    assert_eq!(link.dialled, Some(DialId(1)));
    assert_eq!(other_link.dialled, None);
    assert_eq!(link.card.name, name("other"));
    assert_eq!(other_link.card.name, name("one"));
    assert_eq!(link.observed, other.address);
    assert_eq!(link.card.link, "127.0.0.1:5001".parse().unwrap());
    assert_eq!((link.mode, link.settings), (ConnectMode::Hidden, 42));
    assert_eq!(other_link.software, "waymesh test");
    assert_eq!(one.metrics.links.links.get(), 1);
}

#[tokio::test]
async fn what_one_end_sends_the_other_hears_in_order() {
    let (mut one, link, mut other, other_link) = pair(config("one"), config("other")).await;
    for text in ["a", "b"] {
        link.handle.send(FrameKind::MEMBERS, bytes(text)).unwrap();
    }
    let reply = other_link.handle.send(FrameKind::RECORD_ACKS, bytes("c"));
    reply.unwrap();
    for text in ["a", "b"] {
        let frame = other.frame().await;
        assert_eq!(
            (frame.kind, frame.payload),
            (FrameKind::MEMBERS, bytes(text))
        );
    }
    assert_eq!(one.frame().await.payload, bytes("c"));
}

#[tokio::test]
async fn a_heartbeat_is_told_when_it_says_something_new() {
    let mut config = config("one");
    config.timing = quick();
    let (_one, link, mut other, _other_link) = pair(config.clone(), config).await;
    for text in ["healthy", "ill"] {
        link.handle.set_heartbeat(bytes(text)).unwrap();
        let LinkEvent::Heartbeat { bytes: heard, .. } = other.next().await else {
            panic!("no heartbeat");
        };
        assert_eq!(heard, bytes(text));
    }
    // Many more come by now; the next thing told is this.
    timeout(quick().quiet * 2, other.events.recv())
        .await
        .unwrap_err();
    link.handle.send(FrameKind::MEMBERS, bytes("x")).unwrap();
    assert_eq!(other.frame().await.payload, bytes("x"));
}

#[tokio::test]
async fn a_heartbeat_that_may_wait_goes_before_the_next_frame() {
    let (_one, link, mut other, _other_link) = pair(config("one"), config("other")).await;
    link.handle.set_next_heartbeat(bytes("ill")).unwrap();
    let frame = link.handle.send_with_beat(FrameKind::MEMBERS, bytes("a"));
    frame.unwrap();
    link.handle.send(FrameKind::MEMBERS, bytes("b")).unwrap();
    let LinkEvent::Heartbeat { bytes: heard, .. } = other.next().await else {
        panic!("no heartbeat");
    };
    assert_eq!(heard, bytes("ill"));
    for text in ["a", "b"] {
        assert_eq!(other.frame().await.payload, bytes(text));
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_the_time_it_took() {
    let (_one, link, _other, _other_link) = pair(config("one"), config("other")).await;
    let took = timeout(PATIENCE, link.handle.ping()).await.unwrap();
    assert!(took.unwrap() < PATIENCE);
}

#[tokio::test]
async fn a_closed_link_says_why_and_ends_once_on_both_ends() {
    let (mut one, link, mut other, other_link) = pair(config("one"), config("other")).await;
    link.handle.send(FrameKind::MEMBERS, bytes("last")).unwrap();
    link.handle.close(CloseReason::Duplicate);
    assert_eq!(one.down().await, (link.link, LinkEnd::Local));
    assert_eq!(other.frame().await.payload, bytes("last"));
    let end = LinkEnd::ClosedFor(CloseReason::Duplicate);
    assert_eq!(other.down().await, (other_link.link, end));
    assert!(link.handle.is_closed() && other_link.handle.is_closed());
    let sent = other_link.handle.send(FrameKind::MEMBERS, bytes("x"));
    assert!(sent.is_err());
    assert!(
        timeout(PATIENCE, link.handle.ping())
            .await
            .unwrap()
            .is_err()
    );
    one.expect_nothing();
    other.expect_nothing();
    assert_eq!(other.metrics.links.links.get(), 0);
}

#[tokio::test]
async fn links_that_stop_say_that_they_leave() {
    let (mut one, link, mut other, _other_link) = pair(config("one"), config("other")).await;
    timeout(PATIENCE, one.links.stop()).await.unwrap();
    assert_eq!(one.down().await, (link.link, LinkEnd::Local));
    assert_eq!(
        other.down().await.1,
        LinkEnd::ClosedFor(CloseReason::Leaving)
    );
    other.dial(one.address);
    assert_eq!(other.failure().await, DialFailure::Refused);
}

#[tokio::test]
async fn a_node_that_dies_is_noticed_at_once() {
    let mut end = End::named("one");
    let (session, _link) = rogue(&mut end).await;
    drop(session);
    let (_, reason) = end.down().await;
    assert!(
        matches!(reason, LinkEnd::Closed | LinkEnd::Reset),
        "{reason:?}"
    );
}

#[tokio::test]
async fn a_link_that_carries_nothing_any_more_is_suspect_and_then_dead() {
    let mut config = config("one");
    config.timing = quick();
    let (mut one, mut other) = (End::start(config.clone()), End::start(config));
    let proxy = Proxy::before(other.address).await;
    one.dial(proxy.address);
    let (link, _other_link) = (one.up().await, other.up().await);
    proxy.set_open(false);
    assert!(matches!(one.next().await, LinkEvent::LinkQuiet { .. }));
    assert_eq!(one.down().await, (link.link, LinkEnd::Silent));
    assert!(matches!(other.next().await, LinkEvent::LinkQuiet { .. }));
    assert_eq!(other.down().await.1, LinkEnd::Silent);
}

#[tokio::test]
async fn a_suspect_link_that_is_heard_again_is_lively() {
    let mut config = config("one");
    config.timing = quick();
    config.timing.dead = PATIENCE;
    let (mut one, mut other) = (End::start(config.clone()), End::start(config));
    let proxy = Proxy::before(other.address).await;
    one.dial(proxy.address);
    let (_link, _other_link) = (one.up().await, other.up().await);
    proxy.set_open(false);
    assert!(matches!(one.next().await, LinkEvent::LinkQuiet { .. }));
    proxy.set_open(true);
    assert!(matches!(one.next().await, LinkEvent::LinkLively { .. }));
}

#[tokio::test]
async fn a_node_whose_events_nobody_reads_accuses_nobody() {
    let mut one = config("one");
    one.timing = quick();
    let mut other = one.clone();
    other.hello = hello("other");
    other.events_max = 1;
    // The reading end takes nothing for longer than silence may last.
    let (_one, link, mut other, _other_link) = pair(one, other).await;
    for _ in 0..20 {
        link.handle.send(FrameKind::MEMBERS, bytes("x")).unwrap();
    }
    let paused = timeout(quick().dead * 2, std::future::pending::<()>());
    paused.await.unwrap_err();
    for _ in 0..20 {
        assert_eq!(other.frame().await.payload, bytes("x"));
    }
    other.expect_nothing();
}

/// As by a panic of whoever held them.
#[tokio::test]
async fn links_that_are_given_up_without_a_word_end_and_their_port_is_free() {
    let (mut one, link, other, _) = pair(config("one"), config("other")).await;
    let address = other.address;
    drop((other.links, other.events));
    assert_eq!(one.down().await.0, link.link);
    let rebinding = async {
        while bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, rebinding).await.unwrap();
    let (_other, another, ..) = pair(config("third"), config("fourth")).await;
    assert_ne!(another.link, link.link, "a number is never used twice");
}
