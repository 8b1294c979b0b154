//! The loads of the benches, by name.

/// How many say what, how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) n_connections: usize,
    /// Lines in one write, and so mostly in one packet.
    pub(super) lines_per_write: u32,
    /// Of all connections together; absent: as fast as it goes.
    pub(super) lines_per_second: Option<u32>,
    /// Writes of a connection that may be unanswered, where there is no rate.
    pub(super) writes_in_flight_max: usize,
}

/// Connections of the load `fleet` and of the idle ones.
const FLEET_CONNECTIONS: usize = 15_000;

/// Lines a second of the loads that are paced.
const PACED_LINES_PER_SECOND: u32 = 20_000;

/// Writes that a connection of a flood has in flight.
const WRITES_IN_FLIGHT_MAX: usize = 64;

/// The loads in the order in which they run.
pub(super) const LOADS: [Load; 4] = [
    // The life of a tracker server: wake-ups dominate.
    Load {
        name: "fleet",
        n_connections: FLEET_CONNECTIONS,
        lines_per_write: 1,
        lines_per_second: Some(PACED_LINES_PER_SECOND),
        writes_in_flight_max: WRITES_IN_FLIGHT_MAX,
    },
    // Gateways, and devices that catch up after an outage: copies and parsing dominate.
    Load {
        name: "flood100",
        n_connections: 100,
        lines_per_write: 16,
        lines_per_second: None,
        writes_in_flight_max: WRITES_IN_FLIGHT_MAX,
    },
    Load {
        name: "flood1000",
        n_connections: 1_000,
        lines_per_write: 1,
        lines_per_second: None,
        writes_in_flight_max: WRITES_IN_FLIGHT_MAX,
    },
    Load {
        name: "paced1000",
        n_connections: 1_000,
        lines_per_write: 1,
        lines_per_second: Some(PACED_LINES_PER_SECOND),
        writes_in_flight_max: WRITES_IN_FLIGHT_MAX,
    },
];

/// Connections that log in and say nothing.
pub(super) const IDLE_CONNECTIONS: usize = FLEET_CONNECTIONS;

/// The name of the load of idle connections.
pub(super) const IDLE: &str = "idle";
