//! The router: records to the store of their owner. With one node that is the store of this one.

use std::sync::Arc;

use crate::{
    base::verdict::Settle,
    ingest::{RejectedLine, Route},
    store::{Store, quarantine::QuarantineEntry},
    types::record::Record,
};

/// Hands records from the sockets on.
#[derive(Debug)]
pub struct Router {
    store: Arc<Store>,
}

impl Router {
    /// A router that knows the store of this node.
    pub const fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl Route for Router {
    fn deliver(&self, records: Vec<Record>, settle: Settle) {
        self.store.submit(records, settle);
    }

    fn quarantine(&self, line: RejectedLine) {
        self.store.quarantine(QuarantineEntry {
            time: line.received,
            peer: line.peer.to_string(),
            protocol: line.protocol,
            vehicle: line.vehicle,
            reason: line.reason.as_str(),
            line_bytes: line.line.len(),
            line: line.line,
        });
    }
}
