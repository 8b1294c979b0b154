//! The signals that ask a node for its end. Must not know what an end is.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::AppError;

/// The signals that ask for the end. Made before the start, so that one that comes during it, or at
/// the moment at which the node says that it runs, ends it in order too.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals end the process only by way of this: somebody must wait for
    /// them at all times.
    ///
    /// # Errors
    /// [`AppError::Signal`].
    pub fn new() -> Result<Self, AppError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(AppError::Signal)?,
            interrupt: signal(SignalKind::interrupt()).map_err(AppError::Signal)?,
        })
    }

    /// The next signal that asks for the end. Cancel safe.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
