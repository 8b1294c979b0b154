//! What lies between two ends: records what passes, and can hold it up.

use std::sync::Mutex;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::*;
use crate::base::task::spawn_child;

/// A proxy before an address.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    is_open: watch::Sender<bool>,
    /// From the dialling end, and to it.
    recorded: Arc<[Mutex<Vec<u8>>; 2]>,
}

impl Proxy {
    /// Passes on one connection after the other.
    pub(super) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, watch) = watch::channel(true);
        let recorded = Arc::<[Mutex<Vec<u8>>; 2]>::default();
        let records = Arc::clone(&recorded);
        drop(spawn_child(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(target).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                for (side, from, to) in [(0, near.0, far.1), (1, far.0, near.1)] {
                    let passing = pass(from, to, watch.clone(), Arc::clone(&records), side);
                    drop(spawn_child(passing));
                }
            }
        }));
        Self {
            address,
            is_open,
            recorded,
        }
    }

    /// Holds everything up, or lets it through again.
    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.send(is_open).unwrap();
    }

    pub(super) fn recorded(&self, side: usize) -> Vec<u8> {
        self.recorded[side].lock().unwrap().clone()
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut is_open: watch::Receiver<bool>,
    records: Arc<[Mutex<Vec<u8>>; 2]>,
    side: usize,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n_bytes @ 1..) = from.read(&mut buffer).await {
        if is_open.wait_for(|is_open| *is_open).await.is_err() {
            return;
        }
        records[side].lock().unwrap().extend(&buffer[..n_bytes]);
        if to.write_all(&buffer[..n_bytes]).await.is_err() {
            return;
        }
    }
}
