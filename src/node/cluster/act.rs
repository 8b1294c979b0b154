//! What the driver does when the core says so.

use bytes::Bytes;

use super::driver::Driver;
use crate::cluster::{
    net::{DialTo, LinkHandle},
    proto::{
        ClusterEvent, ClusterOutput, Haste, Incarnation,
        link::{frame::FrameKind, outcome::CloseReason, outgoing::SendError},
    },
};

impl Driver {
    pub(super) fn carry_out(&mut self, output: ClusterOutput) {
        match output {
            ClusterOutput::SendBeacon { bytes, .. } => {
                tracing::trace!(n_bytes = bytes.len(), "a beacon is sent");
                self.sockets.send(&bytes);
            }
            ClusterOutput::Reopen(place) => self.sockets.reopen(place),
            ClusterOutput::Rejoin(place) => self.sockets.rejoin(place),
            ClusterOutput::Dial {
                address,
                dial,
                patience,
                ..
            } => self.links.dial(dial, DialTo::Address(address), patience),
            ClusterOutput::DialName {
                name,
                dial,
                patience,
            } => self.links.dial(dial, DialTo::Name(name), patience),
            ClusterOutput::CloseLink { link, reason } => {
                if let Some(handle) = self.handles.remove(&link) {
                    handle.close(reason);
                }
            }
            ClusterOutput::SendFrame {
                link,
                message,
                haste,
            } => {
                if let Some(handle) = self.handles.get(&link) {
                    send_members(handle, message.into_bytes(), haste);
                }
            }
            ClusterOutput::SetHeartbeat { bytes, haste } => {
                for handle in self.handles.values() {
                    set_heartbeat(handle, bytes.clone(), haste);
                }
                self.heartbeat = bytes;
            }
            ClusterOutput::Notify(event) => self.notify(event),
            ClusterOutput::NameTaken { by } => {
                tracing::error!(%by, "name taken: another living node has this node's name; give this one another (--name)");
            }
            ClusterOutput::NameFree => tracing::info!("the name is this node's again"),
            ClusterOutput::KeepIncarnation(incarnation) => self.keep_incarnation(incarnation),
            ClusterOutput::Remember(members) => self.lasting.memory.remember(members),
            ClusterOutput::Forgot(id) => tracing::info!(%id, "a member was struck off"),
            ClusterOutput::FirstSeriesOver => self.is_formed = true,
        }
    }

    fn notify(&self, event: ClusterEvent) {
        match &event {
            ClusterEvent::NodeUp(node) => {
                tracing::info!(node = %node.name, id = %node.id, incarnation = node.incarnation.0, matches = node.matches, "node up");
            }
            ClusterEvent::NodeDown(node, reason) => {
                tracing::warn!(node = %node.name, id = %node.id, %reason, matches = node.matches, "node down");
            }
            ClusterEvent::Epoch { epoch, .. } => {
                tracing::debug!(%epoch, "the storing members changed")
            }
        }
        // An error means that nobody listens.
        let _nobody = self.lasting.changes.send(event);
    }

    fn keep_incarnation(&mut self, incarnation: Incarnation) {
        match (self.lasting.parts.keep_incarnation)(incarnation) {
            Ok(()) => {
                *self
                    .lasting
                    .incarnation
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = incarnation;
                tracing::warn!(
                    incarnation = incarnation.0,
                    "others know a later start of this node than its data folder; starts are counted from there"
                );
                self.is_outdated = true;
            }
            Err(error) => {
                tracing::error!(%error, incarnation = incarnation.0, "a later count of starts cannot be written down");
            }
        }
    }
}

/// What is said of members builds on what was said before: where one message finds no room, the link
/// is of no use any more, and the next one begins from the start.
fn send_members(handle: &LinkHandle, payload: Bytes, haste: Haste) {
    let sent = match haste {
        Haste::AtOnce => handle.send(FrameKind::MEMBERS, payload),
        Haste::WithBeat => handle.send_with_beat(FrameKind::MEMBERS, payload),
    };
    match sent {
        // It has ended, and its end is on the way.
        Ok(()) | Err(SendError::Closed) => {}
        Err(error @ (SendError::Full | SendError::Impossible)) => {
            tracing::warn!(link = %handle.link(), %error, "what was to be said of members cannot be sent: the link is closed");
            handle.close(CloseReason::Unwanted);
        }
    }
}

/// What heartbeats of a link carry from now on.
pub(super) fn set_heartbeat(handle: &LinkHandle, payload: Bytes, haste: Haste) {
    let set = match haste {
        Haste::AtOnce => handle.set_heartbeat(payload),
        Haste::WithBeat => handle.set_next_heartbeat(payload),
    };
    if let Err(error) = set {
        tracing::error!(link = %handle.link(), %error, "a heartbeat is too long");
    }
}
