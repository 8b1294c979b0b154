//! Links over real sockets of this machine: ends, strangers, and a proxy between them.

mod frames;
mod pairs;
mod proxy;
mod recording;
mod rules;
mod strangers;

use std::{fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::{
    Admittance, Caller, DialTo, LinkEvent, Links, LinksConfig, NewLink, Received, bind,
    handshake::{self, First, Identity, Session},
};
use crate::{
    cluster::proto::{
        DialId, Incarnation, LinkId, NodeCard, NodeName, Roles, RunNumber,
        link::{
            frame::FrameKind,
            hello::{ConnectMode, Hello},
            keys::LinkKeys,
            outcome::{CloseReason, DialFailure, LinkEnd},
            preamble::WireVersions,
            silence::LinkTiming,
        },
    },
    metrics::Metrics,
    types::ids::NodeId,
};

/// Time after which a test gives up; nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(20);

const SECRET: [u8; 32] = [0x5a; 32];
const OTHER_SECRET: [u8; 32] = [0xc3; 32];

/// One node's links.
struct End {
    links: Links,
    events: mpsc::Receiver<LinkEvent>,
    address: SocketAddr,
    metrics: Metrics,
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn hello(node: &str) -> Hello {
    Hello {
        versions: WireVersions::OURS,
        card: NodeCard {
            id: NodeId(xxhash_rust::xxh3::xxh3_64(node.as_bytes())),
            name: name(node),
            incarnation: Incarnation(1),
            run: RunNumber(7),
            roles: Roles {
                is_ingest: true,
                is_store: false,
            },
            link: "0.0.0.0:5001".parse().unwrap(),
            http: None,
        },
        mode: ConnectMode::Hidden,
        settings: 42,
        software: "waymesh test".into(),
    }
}

fn config(node: &str) -> LinksConfig {
    let keys = LinkKeys::new(&SECRET, &name("depot"));
    LinksConfig::new(hello(node), vec![keys])
}

/// Times that let a test of silence end soon.
fn quick() -> LinkTiming {
    LinkTiming {
        heartbeat: Duration::from_millis(50),
        quiet: Duration::from_millis(300),
        dead: Duration::from_millis(600),
        first_look: Duration::from_millis(100),
        look: Duration::from_millis(20),
    }
}

fn open(_: &Caller) -> Admittance {
    Admittance::Accept
}

impl End {
    /// An end that takes everybody who has the secret.
    fn start(config: LinksConfig) -> Self {
        Self::start_with(config, open)
    }

    fn start_with(
        config: LinksConfig,
        admission: impl Fn(&Caller) -> Admittance + Send + Sync + 'static,
    ) -> Self {
        let metrics = Metrics::new();
        let (links, events) = Links::new(config, Arc::new(admission), metrics.links.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        links.listen(listener);
        Self {
            links,
            events,
            address,
            metrics,
        }
    }

    fn named(node: &str) -> Self {
        Self::start(config(node))
    }

    fn dial(&self, address: SocketAddr) {
        self.links
            .dial(DialId(1), DialTo::Address(address), PATIENCE);
    }

    async fn next(&mut self) -> LinkEvent {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event.expect("nothing happened").expect("no more events")
    }

    async fn up(&mut self) -> NewLink {
        match self.next().await {
            LinkEvent::LinkUp(link) => *link,
            event => panic!("{event:?} in place of a link"),
        }
    }

    async fn down(&mut self) -> (LinkId, LinkEnd) {
        match self.next().await {
            LinkEvent::LinkDown { link, reason, .. } => (link, reason),
            event => panic!("{event:?} in place of an end"),
        }
    }

    async fn frame(&mut self) -> Received {
        match self.next().await {
            LinkEvent::Frame { frame, .. } => frame,
            event => panic!("{event:?} in place of a frame"),
        }
    }

    async fn failure(&mut self) -> DialFailure {
        match self.next().await {
            LinkEvent::DialFailed { dial, why } => {
                assert_eq!(dial, DialId(1));
                why
            }
            event => panic!("{event:?} in place of a failure"),
        }
    }

    /// Waits until a call was refused for a reason.
    async fn refused(&self, reason: &'static str, n_times: u64) {
        let counted = async {
            while self.metrics.links.refused.count(reason) < n_times {
                tokio::task::yield_now().await;
            }
        };
        let counts = || self.metrics.to_text();
        assert!(timeout(PATIENCE, counted).await.is_ok(), "{}", counts());
    }

    /// Nothing has been told.
    fn expect_nothing(&mut self) {
        assert!(self.events.try_recv().is_err());
    }
}

/// Two ends with a link between them; the first has dialled.
async fn pair(one: LinksConfig, other: LinksConfig) -> (End, NewLink, End, NewLink) {
    let (mut one, mut other) = (End::start(one), End::start(other));
    one.dial(other.address);
    let (link, other_link) = (one.up().await, other.up().await);
    (one, link, other, other_link)
}

/// A peer that has the secret and keeps to no rules.
async fn rogue(end: &mut End) -> (Session<TcpStream>, NewLink) {
    let config = config("rogue");
    let identity = Identity {
        hello: config.hello,
        keys: config.keys,
    };
    let stream = TcpStream::connect(end.address).await.unwrap();
    let mut session = handshake::dial(stream, &identity).await.unwrap();
    session.send_hello(&identity.hello).await.unwrap();
    let first = session.receive_first().await.unwrap();
    assert!(matches!(first, First::Hello(_)));
    (session, end.up().await)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
