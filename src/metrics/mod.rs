//! Counters and gauges as plain numbers, one registry a node.
//!
//! This room must not know any domain type: reasons come as fixed texts. [`names`] lists every
//! metric once; a room takes only the struct it counts in. The text is OpenMetrics, which
//! Prometheus reads.

pub mod forward;
pub mod names;

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text::encode},
    metrics::{
        counter::{ConstCounter, Counter as Count},
        family::Family,
        gauge::Gauge as Level,
    },
    registry::Registry,
};

use forward::ForwardMetrics;
use names::{
    ClusterMetrics, IngestMetrics, LinkMetrics, QuestionMetrics, StoreMetrics, TaskMetrics,
};

/// A number that only grows.
pub type Counter = Count<u64, AtomicU64>;

/// A number that goes up and down.
pub type Gauge = Level;

/// All metrics of one node.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// What vehicles' sockets count.
    pub ingest: IngestMetrics,
    /// What the store counts.
    pub store: StoreMetrics,
    /// What is counted of finding other nodes, and of who is there.
    pub cluster: ClusterMetrics,
    /// What links to other nodes count.
    pub links: LinkMetrics,
    /// What forwarding counts.
    pub forward: ForwardMetrics,
    /// What is counted of questions between nodes.
    pub questions: QuestionMetrics,
    /// What is counted of the tasks that hold the node together.
    pub tasks: TaskMetrics,
}

/// Counted by the log itself, which begins before there are metrics.
#[derive(Debug)]
struct LostLogLines(fn() -> u64);

impl Collector for LostLogLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lost = ConstCounter::new((self.0)());
        let (name, help) = (
            "log_lines_lost",
            "Lines of the log that standard error did not take in time",
        );
        lost.encode(encoder.encode_descriptor(name, help, None, lost.metric_type())?)
    }
}

/// A counter for each value of one label; few values, all fixed texts.
#[derive(Debug, Clone)]
pub struct Labelled {
    label: &'static str,
    family: Family<Vec<(&'static str, &'static str)>, Counter>,
    /// Those that show up at once, at hand: to ask the family for one takes 0.15 µs.
    known: Arc<[(&'static str, Counter)]>,
}

impl Metrics {
    /// A new set of metrics, all zero.
    pub fn new() -> Self {
        Self::with_lost_log_lines(|| 0)
    }

    /// The same where `n_lost` says how many lines of the log were lost.
    pub fn with_lost_log_lines(n_lost: fn() -> u64) -> Self {
        let mut registry = Registry::with_prefix("waymesh");
        registry.register_collector(Box::new(LostLogLines(n_lost)));
        let ingest = IngestMetrics::register(&mut registry);
        let store = StoreMetrics::register(&mut registry);
        let cluster = ClusterMetrics::register(&mut registry);
        let links = LinkMetrics::register(&mut registry);
        let forward = ForwardMetrics::register(&mut registry, &store);
        let questions = QuestionMetrics::register(&mut registry);
        let tasks = TaskMetrics::register(&mut registry);
        Self {
            registry: Arc::new(registry),
            ingest,
            store,
            cluster,
            links,
            forward,
            questions,
            tasks,
        }
    }

    /// All metrics as OpenMetrics text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Labelled {
    /// A family whose counters differ in the value of `label`; `known` values show up as 0 at once.
    pub fn new(label: &'static str, known: &[&'static str]) -> Self {
        let family = Family::<Vec<(&'static str, &'static str)>, Counter>::default();
        let counter = |value| family.get_or_create(&vec![(label, value)]).clone();
        let known = known.iter().map(|value| (*value, counter(value)));
        Self {
            label,
            known: known.collect(),
            family,
        }
    }

    /// Adds `n` to the counter of `value`.
    pub fn inc_by(&self, value: &'static str, n: u64) {
        if let Some((_, counter)) = self.known.iter().find(|(known, _)| *known == value) {
            counter.inc_by(n);
            return;
        }
        self.family
            .get_or_create(&vec![(self.label, value)])
            .inc_by(n);
    }

    /// Adds one to the counter of `value`.
    pub fn inc(&self, value: &'static str) {
        self.inc_by(value, 1);
    }

    /// The counter of `value` now.
    pub fn count(&self, value: &'static str) -> u64 {
        self.family.get_or_create(&vec![(self.label, value)]).get()
    }
}

/// Label of what is counted for another node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabel {
    /// Its name.
    pub node: String,
}

/// Label of what is counted for an interface of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InterfaceLabel {
    /// Its name.
    pub interface: String,
}

/// Label of a number of members.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabel {
    /// How they stand.
    pub state: &'static str,
}

/// Labels of a queue's depth and cap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// Which queue.
    pub queue: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_holds_every_name_of_the_contract() {
        let metrics = Metrics::new();
        metrics.ingest.lines_received.inc_by(3);
        metrics.ingest.lines_rejected.inc("checksum");
        let text = metrics.to_text();
        assert!(
            text.contains("\nwaymesh_lines_received_total 3\n"),
            "{text}"
        );
        assert!(
            text.contains("waymesh_lines_rejected_total{reason=\"checksum\"} 1\n"),
            "{text}"
        );
        for name in [
            "waymesh_lines_total{outcome=\"positions\"} 0",
            "waymesh_positions_accepted_total 0",
            "waymesh_positions_stored_total 0",
            "waymesh_positions_duplicate_total 0",
            "waymesh_positions_expired_total 0",
            "waymesh_positions_in_flight 0",
            "waymesh_positions_refused_total{reason=\"disk_full\"} 0",
            "waymesh_connections 0",
            "waymesh_connections_closed_total{reason=\"peer\"} 0",
            "waymesh_line_buffer_restarts_total 0",
            "waymesh_queue_depth{queue=\"store\"} 0",
            "waymesh_task_panics_total{task=\"listener\"} 0",
            "waymesh_log_lines_lost_total 0",
        ] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
    }
}
