//! The wall clock as the store asks it, so that a test can hand in its own.

use std::fmt;

use crate::{base::time::wall_millis, types::time::UnixMillis};

/// A clock that tells the time of day; it may jump.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> UnixMillis;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(wall_millis())
    }
}
