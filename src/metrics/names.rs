//! Every metric once: its name, its help, and the room that counts in it.
//!
//! The books (promise 7 of the design) can be checked from these: lines received = the sum of
//! `lines_total` over its outcomes + lines in flight; positions accepted = stored + duplicate +
//! expired + refused + in flight.

use prometheus_client::{
    metrics::family::Family,
    registry::{Metric, Registry},
};

use super::{Counter, Gauge, InterfaceLabel, Labelled, QueueLabel, StateLabel};

/// Reasons for which positions are refused.
const REFUSALS: &[&str] = &["disk_full", "disk_error", "overloaded", "stopping", "lost"];

/// What vehicles' sockets count.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    /// Lines framed, of whatever kind.
    pub lines_received: Counter,
    /// Lines by what became of them.
    pub lines: Labelled,
    /// Rejected lines by reason.
    pub lines_rejected: Labelled,
    /// Positions decoded here.
    pub positions_accepted: Counter,
    /// Open connections.
    pub connections: Gauge,
    /// Connections taken in.
    pub connections_accepted: Counter,
    /// Ended connections by reason.
    pub connections_closed: Labelled,
    /// Line buffer tasks that crashed and were made anew.
    pub line_buffer_restarts: Counter,
    /// Bytes received from vehicles.
    pub received_bytes: Counter,
}

/// What is counted of the tasks that hold a node together.
#[derive(Debug, Clone)]
pub struct TaskMetrics {
    /// Panics outside the line buffers, by task: `listener` and `http` accept connections and are
    /// made anew as the `cluster` and the `questions` are, an `http_connection` is closed, a `query` is answered with a failure.
    pub panics: Labelled,
}

/// What the store counts.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Positions made durable here.
    pub positions_stored: Counter,
    /// Positions that were there already.
    pub positions_duplicate: Counter,
    /// Positions older than the retention: confirmed, not kept.
    pub positions_expired: Counter,
    /// Positions accepted of which nothing is known yet.
    pub positions_in_flight: Gauge,
    /// Positions refused by reason.
    pub positions_refused: Labelled,
    /// Records without a fix, by what became of them.
    pub events: Labelled,
    /// Syncs of the log.
    pub log_syncs: Counter,
    /// Records durable in the log and not yet in the index.
    pub index_lag: Gauge,
    /// Failures of the index, each followed by opening it anew or by the end.
    pub index_failures: Counter,
    /// Damaged indexes that were made anew from the log.
    pub index_rebuilds: Counter,
    /// Months that were removed because all in them was older than the retention.
    pub months_removed: Counter,
    /// 1 while nothing expires because the clock has jumped.
    pub retention_stopped: Gauge,
    /// Rejected lines set aside.
    pub quarantined: Counter,
    /// Items that wait, by queue.
    pub queue_depth: Family<QueueLabel, Gauge>,
    /// Items that may wait, by queue.
    pub queue_cap: Family<QueueLabel, Gauge>,
}

/// What is counted of finding other nodes, and of who is there.
#[derive(Debug, Clone)]
pub struct ClusterMetrics {
    /// Datagrams of discovery by direction.
    pub beacons: Labelled,
    /// Datagrams that are no beacon for this node, by reason.
    pub beacons_rejected: Labelled,
    /// Sockets of discovery that heard nothing and were opened anew, by interface.
    pub discovery_reopens: Family<InterfaceLabel, Counter>,
    /// Shards whose vehicles this node owns.
    pub owned_shards: Gauge,
    /// Members by state, this node included.
    pub members: Family<StateLabel, Gauge>,
    /// Frames and heartbeats of members that could not be read.
    pub frames_malformed: Counter,
    /// What found a table of the cluster full, by table.
    pub tables_full: Labelled,
}

impl ClusterMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let beacons = Labelled::new("direction", &["in", "out"]);
        let rejected = Labelled::new("reason", &[]);
        Self {
            beacons: add_labelled(
                registry,
                "beacons",
                "Datagrams of discovery by direction",
                beacons,
            ),
            beacons_rejected: add_labelled(
                registry,
                "beacons_rejected",
                "Datagrams that are no beacon for this node by reason",
                rejected,
            ),
            discovery_reopens: add(
                registry,
                "discovery_reopens",
                "Sockets of discovery that heard nothing and were opened anew",
                Family::default(),
            ),
            owned_shards: add(
                registry,
                "owned_shards",
                "Shards whose vehicles this node owns",
                Gauge::default(),
            ),
            members: add(
                registry,
                "members",
                "Members by state, this node included",
                Family::default(),
            ),
            frames_malformed: add(
                registry,
                "member_frames_malformed",
                "Frames and heartbeats of members that could not be read",
                Counter::default(),
            ),
            tables_full: add_labelled(
                registry,
                "cluster_tables_full",
                "What found a table of the cluster full by table",
                Labelled::new("table", &["members", "links"]),
            ),
        }
    }
}

/// What is counted of questions between nodes.
#[derive(Debug, Clone)]
pub struct QuestionMetrics {
    /// Questions asked of other nodes that have ended, by how.
    pub asked: Labelled,
    /// Questions of other nodes that have ended, by how.
    pub answered: Labelled,
}

impl QuestionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let asked = &["whole", "timed_out", "lost", "failed"];
        let answered = &["whole", "failed", "cancelled", "refused", "malformed"];
        Self {
            asked: add_labelled(
                registry,
                "questions_asked",
                "Questions asked of other nodes by how they ended",
                Labelled::new("outcome", asked),
            ),
            answered: add_labelled(
                registry,
                "questions_answered",
                "Questions of other nodes by how they ended",
                Labelled::new("outcome", answered),
            ),
        }
    }
}

/// What links to other nodes count.
#[derive(Debug, Clone)]
pub struct LinkMetrics {
    /// Links that stand.
    pub links: Gauge,
    /// Links that ended, by reason.
    pub ended: Labelled,
    /// Connections to the link port that did not become links, by reason.
    pub refused: Labelled,
    /// Dials that came to nothing, by reason.
    pub dials_failed: Labelled,
    /// Bytes over links, encryption and all, by direction.
    pub bytes: Labelled,
    /// Frames of kinds that this version does not know.
    pub frames_skipped: Counter,
}

impl LinkMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut labelled = |name, help, label, known: &[&'static str]| {
            add_labelled(registry, name, help, Labelled::new(label, known))
        };
        let ended = labelled("links_ended", "Links that ended by reason", "reason", &[]);
        let refused = labelled(
            "link_calls_refused",
            "Connections to the link port that did not become links by reason",
            "reason",
            &["silent", "rubbish", "wrong_secret"],
        );
        let dials_failed = labelled(
            "link_dials_failed",
            "Dials that came to nothing by reason",
            "reason",
            &[],
        );
        let bytes = labelled(
            "link_bytes",
            "Bytes over links by direction",
            "direction",
            &["in", "out"],
        );
        Self {
            links: add(registry, "links", "Links that stand", Gauge::default()),
            ended,
            refused,
            dials_failed,
            bytes,
            frames_skipped: add(
                registry,
                "link_frames_skipped",
                "Frames of kinds that are not known",
                Counter::default(),
            ),
        }
    }
}

impl IngestMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let outcomes = &["positions", "merged", "no_position", "rejected"];
        let ends = &[
            "peer",
            "reset",
            "idle",
            "first_line",
            "too_slow",
            "gap",
            "login",
        ];
        Self {
            lines_received: add(
                registry,
                "lines_received",
                "Lines framed",
                Counter::default(),
            ),
            lines: add_labelled(
                registry,
                "lines",
                "Lines by what became of them",
                Labelled::new("outcome", outcomes),
            ),
            lines_rejected: add_labelled(
                registry,
                "lines_rejected",
                "Rejected lines by reason",
                Labelled::new("reason", &[]),
            ),
            positions_accepted: add(
                registry,
                "positions_accepted",
                "Positions decoded here",
                Counter::default(),
            ),
            connections: add(
                registry,
                "connections",
                "Open connections",
                Gauge::default(),
            ),
            connections_accepted: add(
                registry,
                "connections_accepted",
                "Connections taken in",
                Counter::default(),
            ),
            connections_closed: add_labelled(
                registry,
                "connections_closed",
                "Ended connections by reason",
                Labelled::new("reason", ends),
            ),
            line_buffer_restarts: add(
                registry,
                "line_buffer_restarts",
                "Line buffer tasks that crashed and were made anew",
                Counter::default(),
            ),
            received_bytes: add(
                registry,
                "received_bytes",
                "Bytes received from vehicles",
                Counter::default(),
            ),
        }
    }
}

impl TaskMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let tasks = &[
            "listener",
            "http",
            "http_connection",
            "query",
            "cluster",
            "questions",
        ];
        Self {
            panics: add_labelled(
                registry,
                "task_panics",
                "Panics outside the line buffers by task",
                Labelled::new("task", tasks),
            ),
        }
    }
}

impl StoreMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            positions_stored: Counter::default(),
            positions_duplicate: Counter::default(),
            positions_expired: Counter::default(),
            positions_in_flight: Gauge::default(),
            positions_refused: Labelled::new("reason", REFUSALS),
            events: Labelled::new("outcome", &["stored", "duplicate", "expired"]),
            log_syncs: Counter::default(),
            index_lag: Gauge::default(),
            index_failures: Counter::default(),
            index_rebuilds: Counter::default(),
            months_removed: Counter::default(),
            retention_stopped: Gauge::default(),
            quarantined: Counter::default(),
            queue_depth: Family::default(),
            queue_cap: Family::default(),
        };
        metrics.register_positions(registry);
        metrics.register_machinery(registry);
        metrics
            .queue_depth
            .get_or_create(&QueueLabel { queue: "store" })
            .set(0);
        metrics
    }

    /// Positions refused, for whatever reason.
    pub fn n_positions_refused(&self) -> u64 {
        REFUSALS
            .iter()
            .map(|reason| self.positions_refused.count(reason))
            .sum()
    }

    fn register_positions(&self, registry: &mut Registry) {
        add(
            registry,
            "positions_stored",
            "Positions made durable here",
            self.positions_stored.clone(),
        );
        add(
            registry,
            "positions_duplicate",
            "Positions that were there already",
            self.positions_duplicate.clone(),
        );
        add(
            registry,
            "positions_expired",
            "Positions older than the retention",
            self.positions_expired.clone(),
        );
        add(
            registry,
            "positions_in_flight",
            "Positions of which nothing is known yet",
            self.positions_in_flight.clone(),
        );
        add_labelled(
            registry,
            "positions_refused",
            "Positions refused by reason",
            self.positions_refused.clone(),
        );
        add_labelled(
            registry,
            "events",
            "Records without a fix by outcome",
            self.events.clone(),
        );
    }

    fn register_machinery(&self, registry: &mut Registry) {
        add(
            registry,
            "log_syncs",
            "Syncs of the log",
            self.log_syncs.clone(),
        );
        add(
            registry,
            "index_lag_records",
            "Records durable and not yet in the index",
            self.index_lag.clone(),
        );
        add(
            registry,
            "index_failures",
            "Failures of the index, which is opened anew then",
            self.index_failures.clone(),
        );
        add(
            registry,
            "index_rebuilds",
            "Damaged indexes that were made anew from the log",
            self.index_rebuilds.clone(),
        );
        add(
            registry,
            "months_removed",
            "Months that were older than the retention",
            self.months_removed.clone(),
        );
        add(
            registry,
            "retention_stopped",
            "1 while nothing expires because the clock has jumped",
            self.retention_stopped.clone(),
        );
        add(
            registry,
            "quarantined",
            "Rejected lines set aside",
            self.quarantined.clone(),
        );
        add(
            registry,
            "queue_depth",
            "Items that wait, by queue",
            self.queue_depth.clone(),
        );
        add(
            registry,
            "queue_cap",
            "Items that may wait, by queue",
            self.queue_cap.clone(),
        );
    }
}

pub(super) fn add<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

pub(super) fn add_labelled(
    registry: &mut Registry,
    name: &str,
    help: &str,
    labelled: Labelled,
) -> Labelled {
    registry.register(name, help, labelled.family.clone());
    labelled
}
