//! Who may not come in, what it is told, and that it disturbs nobody.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{proxy::Proxy, *};

fn with_secrets(node: &str, secrets: &[[u8; 32]], cluster: &str) -> LinksConfig {
    let keys = secrets
        .iter()
        .map(|secret| LinkKeys::new(secret, &name(cluster)));
    LinksConfig::new(hello(node), keys.collect())
}

/// What comes of a dial from one to the other.
async fn dialled(from: LinksConfig, to: LinksConfig) -> (Result<NewLink, DialFailure>, End) {
    let (mut from, to) = (End::start(from), End::start(to));
    from.dial(to.address);
    let outcome = match from.next().await {
        LinkEvent::LinkUp(link) => Ok(*link),
        LinkEvent::DialFailed { why, .. } => Err(why),
        event => panic!("{event:?}"),
    };
    (outcome, to)
}

async fn expect_refused(from: LinksConfig, to: LinksConfig, why: DialFailure) {
    let (outcome, mut to) = dialled(from, to).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure, why);
    to.refused(failure.as_str(), 1).await;
    to.expect_nothing();
}

#[tokio::test]
async fn another_secret_is_told_so() {
    let stranger = with_secrets("one", &[OTHER_SECRET], "depot");
    expect_refused(stranger, config("other"), DialFailure::WrongSecret).await;
}

#[tokio::test]
async fn another_cluster_is_told_so_if_it_has_the_secret() {
    let neighbour = with_secrets("one", &[SECRET], "yard");
    expect_refused(neighbour, config("other"), DialFailure::OtherCluster).await;
    let stranger = with_secrets("one", &[OTHER_SECRET], "yard");
    expect_refused(stranger, config("other"), DialFailure::WrongSecret).await;
}

#[tokio::test]
async fn another_version_is_told_so_whatever_its_secret() {
    for secret in [SECRET, OTHER_SECRET] {
        let mut later = with_secrets("one", &[secret], "depot");
        later.hello.versions = WireVersions {
            oldest: 2,
            newest: 3,
        };
        expect_refused(later, config("other"), DialFailure::OtherVersion).await;
    }
}

#[tokio::test]
async fn versions_that_overlap_are_enough() {
    let mut later = config("one");
    later.hello.versions.newest = 2;
    let (outcome, _other) = dialled(later, config("other")).await;
    outcome.unwrap();
}

#[tokio::test]
async fn while_the_secret_is_changed_both_are_accepted() {
    let (old, new) = (SECRET, OTHER_SECRET);
    let rounds: [&[[u8; 32]]; 4] = [&[old], &[old, new], &[new, old], &[new]];
    for pair in rounds.windows(2) {
        for (from, to) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let from = with_secrets("one", from, "depot");
            let (outcome, _to) = dialled(from, with_secrets("other", to, "depot")).await;
            outcome.unwrap();
        }
    }
}

#[tokio::test]
async fn who_is_not_welcome_is_told_why_inside_the_encryption() {
    let by = "10.0.0.9:5001".parse().unwrap();
    for (reason, expected) in [
        (CloseReason::NotAccepted, DialFailure::NotAccepted),
        (CloseReason::Duplicate, DialFailure::Duplicate),
        (CloseReason::NameTaken { by }, DialFailure::NameTaken { by }),
        (CloseReason::Itself, DialFailure::Itself),
        (CloseReason::NotReady, DialFailure::NotReady),
    ] {
        let label = reason.as_str();
        let mut to = End::start_with(config("other"), move |caller| {
            assert_eq!(caller.card.name, name("one"));
            assert_eq!(caller.dialled, None);
            Admittance::Refuse(reason.clone())
        });
        let mut from = End::named("one");
        from.dial(to.address);
        assert_eq!(from.failure().await, expected);
        to.refused(label, 1).await;
        to.expect_nothing();
    }
}

/// A node that listens on all its addresses does not know which one it is reached at.
#[tokio::test]
async fn a_holder_of_a_name_that_speaks_of_itself_is_named_by_the_address_it_was_dialled_at() {
    let to = End::start_with(config("other"), |_| {
        let by = "0.0.0.0:5001".parse().unwrap();
        Admittance::Refuse(CloseReason::NameTaken { by })
    });
    let mut from = End::named("one");
    from.dial(to.address);
    let by = "127.0.0.1:5001".parse().unwrap();
    assert_eq!(from.failure().await, DialFailure::NameTaken { by });
}

#[tokio::test]
async fn who_answers_a_dial_must_be_welcome_too() {
    let mut from = End::start_with(config("one"), |caller| {
        assert_eq!(
            (&caller.card.name, caller.dialled),
            (&name("other"), Some(DialId(1)))
        );
        Admittance::Refuse(CloseReason::NotAccepted)
    });
    let mut to = End::named("other");
    from.dial(to.address);
    let expected = DialFailure::Unwanted(CloseReason::NotAccepted);
    assert_eq!(from.failure().await, expected);
    // The other end has seen a link for a moment, and is told.
    to.up().await;
    assert_eq!(
        to.down().await.1,
        LinkEnd::ClosedFor(CloseReason::NotAccepted)
    );
}

#[tokio::test]
async fn a_dial_says_what_kept_it_from_a_link() {
    let mut end = End::named("one");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Something that is no node.
    end.dial(address);
    let (mut stream, _) = listener.accept().await.unwrap();
    stream
        .write_all(b"SSH-2.0-nothing of ours\r\n")
        .await
        .unwrap();
    assert_eq!(end.failure().await, DialFailure::Foreign);
    // Something that closes.
    end.dial(address);
    drop(listener.accept().await.unwrap());
    assert_eq!(end.failure().await, DialFailure::Broken);
    // Nobody.
    drop((listener, stream));
    end.dial(address);
    assert_eq!(end.failure().await, DialFailure::Refused);
}

#[tokio::test]
async fn a_dial_that_is_not_answered_ends() {
    let mut config = config("one");
    config.handshake_timeout = Duration::from_millis(200);
    let mut end = End::start(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    end.dial(listener.local_addr().unwrap());
    assert_eq!(end.failure().await, DialFailure::TimedOut);
}

#[tokio::test]
async fn a_peer_is_dialled_by_its_name() {
    let (mut one, mut other) = (End::named("one"), End::named("other"));
    let to = DialTo::Name(format!("localhost:{}", other.address.port()));
    one.links.dial(DialId(1), to, PATIENCE);
    one.up().await;
    other.up().await;
    let to = DialTo::Name("nobody.invalid:1".into());
    one.links.dial(DialId(1), to, PATIENCE);
    let why = one.failure().await;
    assert!(
        matches!(why, DialFailure::Unreachable | DialFailure::TimedOut),
        "{why:?}"
    );
}

#[tokio::test]
async fn rubbish_and_silence_are_refused_and_counted() {
    let mut config = config("one");
    config.handshake_timeout = Duration::from_millis(300);
    let mut end = End::start(config);
    let mut rubbish = TcpStream::connect(end.address).await.unwrap();
    rubbish.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    end.refused("rubbish", 1).await;
    let mut half = TcpStream::connect(end.address).await.unwrap();
    half.write_all(b"wmlk\x01").await.unwrap();
    let _silent = TcpStream::connect(end.address).await.unwrap();
    end.refused("silent", 2).await;
    drop(TcpStream::connect(end.address).await.unwrap());
    end.refused("broken", 1).await;
    end.expect_nothing();
    // A stranger hears nothing of us.
    let mut heard = Vec::new();
    let read = half.read_to_end(&mut heard).await;
    assert!(read.is_err() || heard.is_empty());
}

#[tokio::test]
async fn a_crowd_of_strangers_keeps_nobody_out() {
    let mut crowded = config("other");
    crowded.pending_max = 20;
    let (mut one, mut other) = (End::named("one"), End::start(crowded));
    let mut strangers = Vec::new();
    for number in 0..100 {
        let mut stranger = TcpStream::connect(other.address).await.unwrap();
        if number % 3 == 0 {
            stranger.write_all(b"wmlk\x01\x01").await.unwrap();
        }
        strangers.push(stranger);
    }
    one.dial(other.address);
    one.up().await;
    other.up().await;
    other.refused("crowded", 80).await;
    // None of them has anything to wait for.
    assert_eq!(other.metrics.links.links.get(), 1);
}

#[tokio::test]
async fn a_recording_played_back_leads_to_nothing() {
    let mut config = config("other");
    config.handshake_timeout = Duration::from_millis(500);
    let (mut one, mut other) = (End::named("one"), End::start(config));
    let proxy = Proxy::before(other.address).await;
    one.dial(proxy.address);
    let (link, _other_link) = (one.up().await, other.up().await);
    link.handle
        .send(FrameKind::MEMBERS, bytes("members"))
        .unwrap();
    other.frame().await;
    let recorded = proxy.recorded(0);
    // All of it, and the handshake alone.
    for end in [recorded.len(), 22 + 50] {
        let mut thief = TcpStream::connect(other.address).await.unwrap();
        thief.write_all(&recorded[..end]).await.unwrap();
    }
    other.refused("unproven", 2).await;
    // An answer played back to who dials is of no use either.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    one.dial(listener.local_addr().unwrap());
    let (mut thief, _) = listener.accept().await.unwrap();
    thief.write_all(&proxy.recorded(1)).await.unwrap();
    assert_eq!(one.failure().await, DialFailure::WrongSecret);
    other.expect_nothing();
}

#[tokio::test]
async fn nothing_is_said_in_clear() {
    let (mut one, mut other) = (End::named("gate-alpha"), End::named("gate-beta"));
    let proxy = Proxy::before(other.address).await;
    one.dial(proxy.address);
    let (link, other_link) = (one.up().await, other.up().await);
    link.handle
        .set_heartbeat(bytes("heartbeat payload"))
        .unwrap();
    other.next().await;
    for (kind, text) in [
        (FrameKind::MEMBERS, "member gate-gamma"),
        (FrameKind::RECORDS, "353976013445485 59.4372 24.7535"),
        (FrameKind(40), "where is 353976013445485"),
    ] {
        link.handle.send(kind, bytes(text)).unwrap();
        assert_eq!(other.frame().await.payload, bytes(text));
    }
    other_link.handle.close(CloseReason::Leaving);
    one.down().await;
    let mut secret = String::new();
    SECRET
        .iter()
        .for_each(|byte| write!(secret, "{byte:02x}").unwrap());
    let ids = ["gate-alpha", "gate-beta"].map(|node| hello(node).card.id.0.to_le_bytes());
    let keys = LinkKeys::new(&SECRET, &name("depot"));
    let hidden: [&[u8]; 12] = [
        b"gate-",
        b"depot",
        b"353976",
        b"59.43",
        b"heartbeat",
        b"member",
        b"waymesh",
        &SECRET,
        secret.as_bytes(),
        keys.psk(),
        &ids[0],
        &ids[1],
    ];
    for side in [0, 1] {
        let passed = proxy.recorded(side);
        assert!(passed.len() > 150);
        for text in hidden {
            let found = passed.windows(text.len()).any(|window| window == text);
            assert!(!found, "{} is in clear", text.escape_ascii());
        }
    }
}
