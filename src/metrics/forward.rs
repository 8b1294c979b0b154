//! What is counted of records that go from node to node.

use prometheus_client::registry::Registry;

use super::{Counter, Gauge, names::add};

/// What forwarding counts.
#[derive(Debug, Clone)]
pub struct ForwardMetrics {
    /// Records that were decoded here and are durable at another node.
    pub forwarded: Counter,
    /// Records that another node sent to be stored here.
    pub taken_over: Counter,
    /// Records that another node sent and that were not stored here.
    pub turned_away: Counter,
    /// Records that were routed anew, since their owner left or did not take them.
    pub rerouted: Counter,
    /// Bytes of records that wait for other nodes, or are under way to them.
    pub outbox_bytes: Gauge,
    /// Destinations that hold more than their share: vehicles that they own are not read.
    pub closed: Gauge,
}

impl ForwardMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut counter = |name, help| add(registry, name, help, Counter::default());
        let forwarded = counter(
            "records_forwarded",
            "Records that came in here and are durable at another node",
        );
        let taken_over = counter(
            "records_taken_over",
            "Records that another node sent to be stored here",
        );
        let turned_away = counter(
            "records_turned_away",
            "Records that another node sent and that were not stored here",
        );
        let rerouted = counter(
            "records_rerouted",
            "Records whose owner left or did not take them, and that went elsewhere",
        );
        let mut gauge = |name, help| add(registry, name, help, Gauge::default());
        Self {
            forwarded,
            taken_over,
            turned_away,
            rerouted,
            outbox_bytes: gauge(
                "outbox_bytes",
                "Bytes of records that wait for other nodes or are under way to them",
            ),
            closed: gauge(
                "outboxes_full",
                "Nodes for which as much waits as may, so that their vehicles are not read",
            ),
        }
    }
}
