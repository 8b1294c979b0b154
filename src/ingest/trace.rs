//! The trace that a connection leaves outside its task: registry, address count, the count of its
//! end.

use std::{net::SocketAddr, sync::Arc};

use super::{CloseReason, Shared, connection::Accepted, events};
use crate::types::ids::{ConnectionId, VehicleId};

/// What a connection leaves outside its task; gone when this is dropped, even by a panic.
#[derive(Debug)]
pub(crate) struct Trace {
    shared: Arc<Shared>,
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    vehicle: Option<VehicleId>,
    pub(crate) is_address_entered: bool,
    pub(crate) reason: CloseReason,
}

impl Trace {
    pub(crate) fn open(accepted: &Accepted, shared: Arc<Shared>) -> Self {
        events::connection_opened(&shared.metrics, accepted.id, accepted.peer);
        Self {
            shared,
            id: accepted.id,
            peer: accepted.peer,
            vehicle: None,
            is_address_entered: false,
            reason: CloseReason::Error,
        }
    }

    pub(crate) fn enter_vehicle(&mut self, vehicle: Option<&VehicleId>) {
        if self.vehicle.as_ref() == vehicle {
            return;
        }
        self.leave_vehicle();
        self.vehicle = vehicle.cloned();
        if let Some(vehicle) = vehicle {
            self.shared.registry.enter(vehicle.clone(), self.id);
        }
    }

    fn leave_vehicle(&mut self) {
        if let Some(vehicle) = &self.vehicle {
            self.shared.registry.leave(vehicle, self.id);
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.leave_vehicle();
        if self.is_address_entered {
            self.shared.registry.leave_address(self.peer.ip());
        }
        let (metrics, id) = (&self.shared.metrics, (self.id, self.peer));
        events::connection_closed(metrics, id, self.vehicle.as_ref(), self.reason);
    }
}
