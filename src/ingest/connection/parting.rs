//! How a connection ends: what may still leave does, and the device is told. Must not decide that it
//! ends, nor why.

use std::{io, pin::Pin, time::Duration};

use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{Connection, SCRATCH};
use crate::{base::time::Instant, ingest::CloseReason, protocol::FlushReason};

/// How long a device that is closed has to close its end, and how much it may say until then.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);
const LEAVE_BYTES_MAX: usize = 256 * 1024;

impl Connection {
    /// After the last read: completes what is half merged, and lets the replies that are due leave.
    pub(super) async fn finish(&mut self, reason: CloseReason) -> CloseReason {
        if reason.is_ours() {
            // Whole lines only: the device sends again what it has no answer for.
            self.rest = Bytes::new();
            self.note_kept(false);
        }
        self.has_gap = matches!(reason, CloseReason::Gap | CloseReason::Restarts);
        let now = Instant::now();
        let completed = self.process(now, Some(FlushReason::End), None).await;
        if completed.is_err() {
            return reason;
        }
        let patience = self.shared.config.reply_deadline;
        if timeout(patience, self.flush_replies(reason)).await.is_err() {
            tracing::debug!(connection = %self.trace.id, "closed with replies not delivered");
        }
        reason
    }

    /// Counts the connection as closed and forgets it; what is still to be done with its socket, if
    /// anything is.
    pub(super) fn part(self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let reason = self.trace.reason;
        let Self { socket, permit, .. } = self;
        reason
            .is_ours()
            .then(|| -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(async move {
                    // Whoever cannot be told goes without.
                    drop(timeout(LEAVE_PATIENCE, take_leave(socket)).await);
                    drop(permit);
                })
            })
    }

    /// Waits until all replies that may leave have left.
    async fn flush_replies(&mut self, reason: CloseReason) {
        let is_hopeless = matches!(reason, CloseReason::Reset | CloseReason::TooSlow);
        while !is_hopeless && self.write().is_ok() {
            if !self.replies.unsent().is_empty() {
                let is_writable = tokio::select! {
                    writable = self.socket.writable() => writable.is_ok(),
                    () = self.keeping.must_end() => false,
                };
                if !is_writable {
                    return;
                }
            } else if !self.replies.is_waiting() || self.replies.settle_front().await.is_err() {
                return;
            }
        }
    }
}

/// Says that nothing more comes, and reads away what the device still sends until it closes: where
/// unread bytes lie in a socket that is closed, the system throws away the replies that the device
/// has not taken yet.
async fn take_leave(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    let mut n_left = LEAVE_BYTES_MAX;
    while n_left > 0 {
        socket.readable().await?;
        let read = SCRATCH.with_borrow_mut(|scratch| socket.try_read(scratch));
        match read {
            Ok(0) => break,
            Ok(n_bytes) => n_left = n_left.saturating_sub(n_bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
