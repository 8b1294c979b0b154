//! What is counted of records that go from node to node.

use prometheus_client::{metrics::family::Family, registry::Registry};

use super::{
    Counter, Gauge, Labelled, NodeLabel,
    names::{StoreMetrics, add, add_labelled},
};

/// What forwarding counts.
#[derive(Debug, Clone)]
pub struct ForwardMetrics {
    /// Positions by direction: `in`, each time one comes over a link; `out`, decoded here and durable
    /// at another node.
    pub forwarded: Labelled,
    /// The store's: what waits for another node is in flight too.
    pub in_flight: Gauge,
    /// The store's: what no node takes is refused.
    pub refused: Labelled,
    /// Records that another node sent to be stored here.
    pub taken_over: Counter,
    /// Records that another node sent and that were not stored here.
    pub turned_away: Counter,
    /// Records that were routed anew, since their owner left or did not take them.
    pub rerouted: Counter,
    /// Bytes of records that wait for another node, or are under way to it.
    pub outbox_bytes: Family<NodeLabel, Gauge>,
    /// Destinations that hold more than their share: vehicles that they own are not read.
    pub closed: Gauge,
}

impl ForwardMetrics {
    pub(super) fn register(registry: &mut Registry, store: &StoreMetrics) -> Self {
        let forwarded = add_labelled(
            registry,
            "forwarded",
            "Positions between nodes by direction: in, sent here; out, durable at another node",
            Labelled::new("direction", &["in", "out"]),
        );
        let mut counter = |name, help| add(registry, name, help, Counter::default());
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
        Self {
            forwarded,
            in_flight: store.positions_in_flight.clone(),
            refused: store.positions_refused.clone(),
            taken_over,
            turned_away,
            rerouted,
            outbox_bytes: add(
                registry,
                "outbox_bytes",
                "Bytes of records that wait for another node or are under way to it",
                Family::default(),
            ),
            closed: add(
                registry,
                "outboxes_full",
                "Nodes for which as much waits as may, so that their vehicles are not read",
                Gauge::default(),
            ),
        }
    }
}
