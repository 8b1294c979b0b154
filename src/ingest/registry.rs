//! Which vehicle speaks over which connection.
//!
//! A registry only: no state lives here, no entry is held over an await, and what a connection
//! entered is removed by that connection alone, so that a vehicle that came back over a new one stays,
//! and one that is left with an older one too.

use std::{mem, net::IpAddr};

use dashmap::{DashMap, Entry};

use crate::types::ids::{ConnectionId, VehicleId};

/// Vehicles and addresses that are connected to this node now.
#[derive(Debug, Default)]
pub struct Registry {
    vehicles: DashMap<VehicleId, Connections, foldhash::fast::RandomState>,
    addresses: DashMap<IpAddr, u32, foldhash::fast::RandomState>,
}

/// The connections of one vehicle.
#[derive(Debug)]
struct Connections {
    newest: ConnectionId,
    /// Those before it that still stand, the oldest first; most vehicles have none.
    older: Vec<ConnectionId>,
}

impl Connections {
    /// Takes one out; true if it was the last.
    fn leave(&mut self, connection: ConnectionId) -> bool {
        if self.newest != connection {
            self.older.retain(|older| *older != connection);
            return false;
        }
        match self.older.pop() {
            Some(newest) => {
                self.newest = newest;
                false
            }
            None => true,
        }
    }
}

impl Registry {
    /// The newest connection of a vehicle.
    pub fn connection(&self, vehicle: &VehicleId) -> Option<ConnectionId> {
        self.vehicles.get(vehicle).map(|entry| entry.newest)
    }

    /// Number of vehicles that are connected.
    pub fn n_vehicles(&self) -> usize {
        self.vehicles.len()
    }

    pub(crate) fn enter(&self, vehicle: VehicleId, connection: ConnectionId) {
        let mut connections = match self.vehicles.entry(vehicle) {
            Entry::Vacant(entry) => {
                entry.insert(Connections {
                    newest: connection,
                    older: Vec::new(),
                });
                return;
            }
            Entry::Occupied(entry) => entry.into_ref(),
        };
        let before = mem::replace(&mut connections.newest, connection);
        connections.older.push(before);
    }

    pub(crate) fn leave(&self, vehicle: &VehicleId, connection: ConnectionId) {
        self.vehicles
            .remove_if_mut(vehicle, |_, connections| connections.leave(connection));
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
    fn a_vehicle_is_connected_while_one_of_its_connections_stands() {
        let registry = Registry::default();
        let vehicle = VehicleId::parse(b"1").unwrap();
        registry.enter(vehicle.clone(), ConnectionId(1));
        registry.enter(vehicle.clone(), ConnectionId(2));
        registry.enter(vehicle.clone(), ConnectionId(3));
        for (leaving, newest) in [(2, Some(3)), (3, Some(1)), (2, Some(1)), (1, None)] {
            registry.leave(&vehicle, ConnectionId(leaving));
            assert_eq!(registry.connection(&vehicle), newest.map(ConnectionId));
        }
        assert!(registry.is_empty());
        registry.leave(&vehicle, ConnectionId(1));
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
