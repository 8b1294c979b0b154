//! One direction of a link with its credit: frames of records that have none wait.

use std::collections::VecDeque;

use bytes::Bytes;
use waymesh::cluster::proto::link::{
    credit::{Allowance, Grant, Grants},
    frame::{Flow, FrameKind},
};

/// What the receiver holds at most, besides one frame: so little that it is often used up.
const WINDOW_BYTES: u32 = 600;

/// See the head of this file.
pub(crate) struct Way {
    allowance: Allowance,
    grants: Grants,
    waiting: VecDeque<Bytes>,
}

impl Way {
    /// A way on which nothing may be sent yet.
    pub(crate) fn new() -> Self {
        Self {
            allowance: Allowance::default(),
            grants: Grants::new(WINDOW_BYTES, 0),
            waiting: VecDeque::new(),
        }
    }

    /// The sender wants this brought.
    pub(crate) fn offer(&mut self, payload: Bytes) {
        self.waiting.push_back(payload);
    }

    /// The next frame that may leave.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if !self.allowance.may_send(FrameKind::RECORDS) {
            return None;
        }
        let payload = self.waiting.pop_front()?;
        self.allowance.spend(FrameKind::RECORDS, payload.len());
        Some(payload)
    }

    /// A frame has reached the receiver, which holds it until its fate is known.
    pub(crate) fn arrived(&mut self, n_bytes: usize) {
        let received = self.grants.receive(FrameKind::RECORDS, n_bytes);
        received.expect("nothing is sent beyond the credit");
    }

    /// It holds it no more.
    pub(crate) fn decided(&mut self, n_bytes: usize) {
        self.grants.release(FrameKind::RECORDS, n_bytes);
    }

    /// What the receiver grants now.
    pub(crate) fn grant(&mut self) -> Option<Grant> {
        self.grants.take_due(Flow::Records)
    }

    /// A grant has reached the sender.
    pub(crate) fn granted(&mut self, grant: Grant) {
        self.allowance
            .add(grant)
            .expect("no more than can be meant");
    }

    /// How many frames wait for credit.
    pub(crate) fn n_waiting(&self) -> usize {
        self.waiting.len()
    }
}
