//! The log: segments of framed records, group commit, recovery. The only point of acknowledgement.

/// A place in the log: bytes since the first segment ever made. Never restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogOffset(pub u64);

/// stub
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogConfig {
    pub segment_bytes_max: u64,
    pub frame_bytes_max: usize,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct LogError;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct CommitError;
#[derive(Debug)]
pub struct Recovery;
impl std::fmt::Display for Recovery {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
#[derive(Debug)]
pub struct Log<S>(std::sync::Arc<S>);
#[derive(Debug)]
pub struct LogReader<S>(std::sync::Arc<S>);
use crate::types::record::Record;
use std::sync::Arc;
impl<S: super::storage::Storage> Log<S> {
    pub fn open(
        _s: Arc<S>,
        _c: LogConfig,
        _n: LogOffset,
        _e: impl FnMut(LogOffset, Record),
    ) -> Result<(Self, Recovery), LogError> {
        Err(LogError)
    }
    pub fn append(&mut self, _r: &Record) {}
    pub fn commit(&mut self) -> Result<LogOffset, CommitError> {
        Err(CommitError)
    }
    pub fn durable(&self) -> LogOffset {
        LogOffset(0)
    }
    pub fn trim(&mut self, _b: LogOffset) -> Result<usize, LogError> {
        Ok(0)
    }
    pub fn close(self) -> Result<(), LogError> {
        Ok(())
    }
    pub fn reader(&self) -> LogReader<S> {
        LogReader(self.0.clone())
    }
}
impl<S: super::storage::Storage> LogReader<S> {
    pub fn read(
        &mut self,
        _f: LogOffset,
        t: LogOffset,
        _n: usize,
        _i: &mut Vec<Record>,
    ) -> Result<LogOffset, LogError> {
        Ok(t)
    }
}
