//! Which vehicle speaks over which connection.
//!
//! A registry only: no state lives here, no entry is held over an await, and an entry is removed
//! only by the connection it names, so that a vehicle that came back over a new connection stays.

use std::net::IpAddr;

use dashmap::DashMap;

use crate::types::ids::{ConnectionId, VehicleId};

/// Vehicles and addresses that are connected to this node now.
#[derive(Debug, Default)]
pub struct Registry {
    vehicles: DashMap<VehicleId, ConnectionId, foldhash::fast::RandomState>,
    addresses: DashMap<IpAddr, u32, foldhash::fast::RandomState>,
}

impl Registry {
    /// The newest connection of a vehicle.
    pub fn connection(&self, vehicle: &VehicleId) -> Option<ConnectionId> {
        self.vehicles.get(vehicle).map(|entry| *entry)
    }

    /// Number of vehicles that are connected.
    pub fn n_vehicles(&self) -> usize {
        self.vehicles.len()
    }

    pub(crate) fn enter(&self, vehicle: VehicleId, connection: ConnectionId) {
        self.vehicles.insert(vehicle, connection);
    }

    pub(crate) fn leave(&self, vehicle: &VehicleId, connection: ConnectionId) {
        self.vehicles
            .remove_if(vehicle, |_, newest| *newest == connection);
    }

    /// Counts one more connection from `address`; false if there are `n_max` already.
    pub(crate) fn enter_address(&self, address: IpAddr, n_max: u32) -> bool {
        let mut n_connections = self.addresses.entry(address).or_insert(0);
        if *n_connections >= n_max {
            return false;
        }
        *n_connections += 1;
        true
    }

    pub(crate) fn leave_address(&self, address: IpAddr) {
        self.addresses.remove_if_mut(&address, |_, n_connections| {
            *n_connections = n_connections.saturating_sub(1);
            *n_connections == 0
        });
    }

    /// Whether nothing of any connection is left.
    pub fn is_empty(&self) -> bool {
        self.vehicles.is_empty() && self.addresses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_connection_takes_its_vehicle_away() {
        let registry = Registry::default();
        let vehicle = VehicleId::parse(b"1").unwrap();
        registry.enter(vehicle.clone(), ConnectionId(1));
        registry.enter(vehicle.clone(), ConnectionId(2));
        registry.leave(&vehicle, ConnectionId(1));
        assert_eq!(registry.connection(&vehicle), Some(ConnectionId(2)));
        registry.leave(&vehicle, ConnectionId(2));
        assert!(registry.is_empty());
    }

    #[test]
    fn an_address_has_a_limit_and_leaves_nothing_behind() {
        let registry = Registry::default();
        let address = IpAddr::from([127, 0, 0, 1]);
        assert!(registry.enter_address(address, 1));
        assert!(!registry.enter_address(address, 1));
        registry.leave_address(address);
        assert!(registry.is_empty());
    }
}
