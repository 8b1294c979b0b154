//! Vehicles' sockets: from accepted connection to records on their way, and replies back.
//!
//! This room must not know where records are stored or who owns a vehicle: it hands deliveries to
//! its [`Route`] and sends a reply when the verdict comes back.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::{
    base::verdict::Settle,
    protocol::RejectReason,
    types::{
        ids::VehicleId,
        record::{ProtocolName, Record},
        time::UnixMillis,
    },
};

/// Takes what the sockets give; implemented by the node.
pub trait Route: Send + Sync + 'static {
    /// Takes the records of one chunk of one connection, in their order. Never waits: whoever calls
    /// holds room for the bytes. `settle` is used once, when all is durable or refused.
    fn deliver(&self, records: Vec<Record>, settle: Settle);

    /// Sets a line aside that was rejected.
    fn quarantine(&self, line: RejectedLine);
}

/// A line that was rejected, with what is needed to understand it later.
#[derive(Debug, Clone)]
pub struct RejectedLine {
    /// When its bytes were read.
    pub received: UnixMillis,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The protocol of the connection, if recognised.
    pub protocol: Option<ProtocolName>,
    /// The vehicle of the connection, if known.
    pub vehicle: Option<VehicleId>,
    /// Why it was rejected.
    pub reason: RejectReason,
    /// Its bytes; for a line over the limit the first ones.
    pub line: Bytes,
}
