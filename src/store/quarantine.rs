//! stub
use super::storage::Storage;
use crate::types::{ids::VehicleId, record::ProtocolName, time::UnixMillis};
use bytes::Bytes;
use std::sync::Arc;
/// x
#[derive(Debug, Clone)]
pub struct QuarantineEntry {
    pub time: UnixMillis,
    pub peer: String,
    pub protocol: Option<ProtocolName>,
    pub vehicle: Option<VehicleId>,
    pub reason: &'static str,
    pub line: Bytes,
}
#[derive(Debug)]
pub struct Quarantine<S>(Arc<S>);
impl<S: Storage> Quarantine<S> {
    pub fn open(s: Arc<S>, _b: u64) -> std::io::Result<Self> {
        Ok(Self(s))
    }
    pub fn push(&mut self, _e: &QuarantineEntry) {}
    pub fn flush(&mut self) {}
}
