//! What a node says about itself: snapshots for status, readiness and metrics.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    base::time::Instant,
    ingest::Ingest,
    metrics::{
        Metrics,
        names::{QuestionMetrics, TaskMetrics},
    },
    node::cluster::ClusterHandle,
    store::Store,
    types::{
        ids::{NodeId, VehicleId},
        status::{Addresses, NodeStatus, Readiness},
    },
};

/// Who a node is, as it does not change while it runs.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Label.
    pub name: String,
    /// Identity.
    pub id: NodeId,
    /// Name of the cluster.
    pub cluster: String,
    /// Addresses bound.
    pub addresses: Addresses,
}

/// Knows where to look for everything a node says about itself.
#[derive(Debug)]
pub struct StatusSource {
    profile: Profile,
    cluster: ClusterHandle,
    started: Instant,
    store: Arc<Store>,
    ingest: Ingest,
    metrics: Metrics,
    is_draining: AtomicBool,
}

impl StatusSource {
    /// A source that looks at these parts.
    pub fn new(
        profile: Profile,
        cluster: ClusterHandle,
        store: Arc<Store>,
        ingest: Ingest,
        metrics: Metrics,
    ) -> Self {
        Self {
            profile,
            cluster,
            started: Instant::now(),
            store,
            ingest,
            metrics,
            is_draining: AtomicBool::new(false),
        }
    }

    /// The node's label.
    pub fn name(&self) -> &str {
        &self.profile.name
    }

    /// The node is stopping: it is not ready any more.
    pub fn note_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// The name of the node that a vehicle is connected to, if it is connected here.
    pub fn connected_to(&self, vehicle: &VehicleId) -> Option<String> {
        let connection = self.ingest.registry().connection(vehicle);
        connection.map(|_| self.profile.name.clone())
    }

    /// All metrics as text.
    pub fn metrics(&self) -> String {
        self.metrics.to_text()
    }

    /// Where panics of tasks are counted.
    pub const fn task_metrics(&self) -> &TaskMetrics {
        &self.metrics.tasks
    }

    /// Where questions between nodes are counted.
    pub const fn question_metrics(&self) -> &QuestionMetrics {
        &self.metrics.questions
    }

    /// The node now.
    pub fn status(&self) -> NodeStatus {
        let cluster = self.cluster.state();
        NodeStatus {
            name: self.profile.name.clone(),
            id: self.profile.id,
            version: env!("CARGO_PKG_VERSION"),
            incarnation: cluster.incarnation.0,
            cluster: self.profile.cluster.clone(),
            addresses: self.profile.addresses.clone(),
            uptime: Instant::now().since(self.started),
            epoch: cluster.epoch.0,
            counts: self.counts(),
            readiness: Readiness(vec![
                ("store", !self.store.has_failed()),
                ("disk_room", self.store.has_room()),
                ("disk_answers", self.store.disk_answers()),
                (
                    "index",
                    self.store.is_answering() && !self.store.is_held_up(),
                ),
                ("name", cluster.name_taken_by.is_none()),
                ("vehicles", !self.profile.addresses.vehicles.is_empty()),
                ("not_draining", !self.is_draining.load(Ordering::Relaxed)),
            ]),
        }
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let (ingest, store) = (&self.metrics.ingest, &self.metrics.store);
        let level = |gauge: &crate::metrics::Gauge| u64::try_from(gauge.get()).unwrap_or(0);
        BTreeMap::from([
            ("connections", level(&ingest.connections)),
            (
                "connected_vehicles",
                self.ingest.registry().n_vehicles() as u64,
            ),
            ("lines_received", ingest.lines_received.get()),
            ("lines_with_positions", ingest.lines.count("positions")),
            ("lines_merged", ingest.lines.count("merged")),
            ("lines_without_position", ingest.lines.count("no_position")),
            ("lines_rejected", ingest.lines.count("rejected")),
            ("positions_accepted", ingest.positions_accepted.get()),
            ("positions_stored", store.positions_stored.get()),
            ("positions_duplicate", store.positions_duplicate.get()),
            ("positions_expired", store.positions_expired.get()),
            ("positions_in_flight", level(&store.positions_in_flight)),
            ("positions_refused", store.n_positions_refused()),
            ("line_buffer_restarts", ingest.line_buffer_restarts.get()),
            ("index_failures", store.index_failures.get()),
            ("months_removed", store.months_removed.get()),
            ("retention_stopped", level(&store.retention_stopped)),
            ("index_lag_records", level(&store.index_lag)),
            ("room_taken_bytes", self.ingest.room().taken_bytes() as u64),
        ])
    }
}
