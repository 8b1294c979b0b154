//! The half of a link that writes: batches of frames, encrypted together.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt as _,
    net::tcp::OwnedWriteHalf,
    time::{sleep_until, timeout},
};

use super::{CLOSE_GRACE, Shared, WriteEnd};
use crate::{
    cluster::net::{links::Inner, noise::Sealer},
    metrics::names::LinkMetrics,
};

/// Bytes of frames that are enough for one message: encrypting a message costs as much as some
/// hundreds of its bytes, and what is urgent waits for the message before it.
const BATCH_BYTES: usize = 32 * 1024;

/// Buffers that have grown beyond this for a long frame are given back.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Writer {
    stream: OwnedWriteHalf,
    sealer: Sealer,
    shared: Arc<Shared>,
    timeout: Duration,
    metrics: LinkMetrics,
    plain: BytesMut,
    cipher: BytesMut,
}

impl Writer {
    pub(super) fn new(
        stream: OwnedWriteHalf,
        sealer: Sealer,
        shared: &Arc<Shared>,
        inner: &Inner,
    ) -> Self {
        Self {
            stream,
            sealer,
            shared: Arc::clone(shared),
            timeout: inner.config.write_timeout,
            metrics: inner.metrics.clone(),
            plain: BytesMut::new(),
            cipher: BytesMut::new(),
        }
    }

    /// Writes until the last frame, or until the other end takes nothing any more.
    pub(super) async fn run(mut self) -> WriteEnd {
        loop {
            let next = self.shared.take_batch(&mut self.plain, BATCH_BYTES);
            if !self.plain.is_empty() {
                self.shared.room.notify_waiters();
                if self.write().await.is_none() {
                    return WriteEnd::Failed;
                }
                continue;
            }
            let Some(next_beat) = next else {
                // The other end reads to the close frame and closes; it does not need this.
                if self.stream.shutdown().await.is_err() {
                    tracing::trace!("the other end is gone already");
                }
                return WriteEnd::Done;
            };
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = sleep_until(next_beat.to_tokio()) => {}
            }
        }
    }

    /// Writes the batch; `None` if that failed, or took too long.
    async fn write(&mut self) -> Option<()> {
        self.sealer.seal(&self.plain, &mut self.cipher);
        let n_bytes = self.cipher.len();
        let closing = async {
            self.shared.closing.cancelled().await;
            tokio::time::sleep(CLOSE_GRACE).await;
        };
        // A write that is broken off leaves half a message behind: the link ends with it.
        tokio::select! {
            written = timeout(self.timeout, self.stream.write_all(&self.cipher)) => {
                written.ok()?.ok()?;
            }
            () = closing => return None,
        }
        self.metrics.bytes.inc_by("out", n_bytes as u64);
        for buffer in [&mut self.plain, &mut self.cipher] {
            if buffer.capacity() > BUFFER_BYTES_MAX {
                *buffer = BytesMut::new();
            }
            buffer.clear();
        }
        Some(())
    }
}
