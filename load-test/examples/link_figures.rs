//! Measures links: what a frame and a byte cost, both ends together, over this machine's own TCP. The
//! figures stand in the page of `cluster::proto::link`.
//!
//! ```text
//! cargo run --release -p load-test --example link_figures
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement, by the real clock"
)]

use std::{
    fs,
    io::{Result, Write, stdout},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use waymesh::{
    cluster::{
        net::{Admittance, Caller, DialTo, LinkEvent, Links, LinksConfig, NewLink, bind},
        proto::{
            DialId, Incarnation, NodeCard, NodeName, Roles, RunNumber,
            link::{
                frame::FrameKind,
                hello::{ConnectMode, Hello},
                keys::LinkKeys,
                preamble::WireVersions,
            },
        },
    },
    metrics::Metrics,
    types::ids::NodeId,
};

/// Sizes of the payloads that are sent, and how many of each.
const LOADS: [(usize, usize); 4] = [
    (8, 1_000_000),
    (100, 1_000_000),
    (16 * 1024, 60_000),
    (64 * 1024, 15_000),
];

/// Times that each is measured; the quickest counts.
const TIMES: usize = 3;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let (_one, _events, link, _other, mut received) = linked().await;
    let mut out = stdout();
    writeln!(
        out,
        "payload  frames     wall ns/frame  CPU ns/frame  CPU ns/byte"
    )?;
    for (n_bytes, n_frames) in LOADS {
        let mut best = (f64::INFINITY, f64::INFINITY);
        for _ in 0..TIMES {
            let (wall, cpu) = send(&link, &mut received, n_bytes, n_frames).await;
            best = (best.0.min(wall), best.1.min(cpu));
        }
        let (wall, cpu) = best;
        let byte = cpu / n_bytes as f64;
        writeln!(
            out,
            "{n_bytes:7}  {n_frames:7}  {wall:15.0}  {cpu:12.0}  {byte:11.2}"
        )?;
    }
    Ok(())
}

/// Sends frames of records and takes them in; nanoseconds a frame, by the clock and of processors.
async fn send(
    link: &NewLink,
    received: &mut Receiver<LinkEvent>,
    n_bytes: usize,
    n_frames: usize,
) -> (f64, f64) {
    let payload = Bytes::from(vec![0x5a; n_bytes]);
    let (start, cpu_start) = (Instant::now(), cpu());
    let sending = async {
        for _ in 0..n_frames {
            let sent = link
                .handle
                .send_when_room(FrameKind::RECORDS, payload.clone());
            sent.await.unwrap();
        }
    };
    let receiving = async {
        let mut n_received = 0;
        while n_received < n_frames {
            if let LinkEvent::Frame { .. } = received.recv().await.unwrap() {
                n_received += 1;
            }
        }
    };
    tokio::join!(sending, receiving);
    let each = |time: Duration| time.as_secs_f64() * 1e9 / n_frames as f64;
    (each(start.elapsed()), each(cpu() - cpu_start))
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let of_threads = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("schedstat");
        fs::read_to_string(path).ok()
    });
    let nanos = |text: &str| -> u64 {
        let first = text.split_whitespace().next();
        first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    };
    let all: u64 = of_threads.map(|text| nanos(&text)).sum();
    Duration::from_nanos(all.max(nanos(&text)))
}

async fn linked() -> (
    Links,
    Receiver<LinkEvent>,
    NewLink,
    Links,
    Receiver<LinkEvent>,
) {
    let (one, mut events) = node("one");
    let (other, mut received) = node("other");
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    other.listen(listener);
    one.dial(DialId(1), DialTo::Address(address), Duration::from_secs(5));
    let LinkEvent::LinkUp(link) = events.recv().await.unwrap() else {
        panic!("no link");
    };
    assert!(matches!(received.recv().await, Some(LinkEvent::LinkUp(_))));
    (one, events, *link, other, received)
}

fn node(name: &str) -> (Links, Receiver<LinkEvent>) {
    let keys = LinkKeys::new(&[7; 32], &NodeName::parse("figures").unwrap());
    let hello = Hello {
        versions: WireVersions::OURS,
        card: NodeCard {
            id: NodeId(name.len() as u64),
            name: NodeName::parse(name).unwrap(),
            incarnation: Incarnation(1),
            run: RunNumber(1),
            roles: Roles {
                is_ingest: true,
                is_store: true,
            },
            link: "0.0.0.0:5001".parse().unwrap(),
            http: None,
        },
        mode: ConnectMode::Visible,
        settings: 0,
        software: "figures".into(),
    };
    let config = LinksConfig::new(hello, vec![keys]);
    let admission = |_: &Caller| Admittance::Accept;
    Links::new(config, Arc::new(admission), Metrics::new().links)
}
