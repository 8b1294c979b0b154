//! What happens to connections, counted and logged in one place.

use std::net::SocketAddr;

use super::{CloseReason, IngestMetrics, Shared, line_buffer::Tally};
use crate::{
    base::rate::RateLimit,
    types::ids::{ConnectionId, VehicleId},
};

/// Warnings about crashed line buffers: at most so many a second, however many connections crash.
static RESTART_WARNINGS: RateLimit = RateLimit::per_second(5);

/// Warnings about failing accepts.
static ACCEPT_WARNINGS: RateLimit = RateLimit::per_second(1);

pub(super) fn connection_opened(metrics: &IngestMetrics, id: ConnectionId, peer: SocketAddr) {
    metrics.connections.inc();
    metrics.connections_accepted.inc();
    tracing::debug!(connection = %id, %peer, "connection accepted");
}

pub(super) fn connection_closed(
    metrics: &IngestMetrics,
    (id, peer): (ConnectionId, SocketAddr),
    vehicle: Option<&VehicleId>,
    reason: CloseReason,
) {
    metrics.connections.dec();
    metrics.connections_closed.inc(reason.as_str());
    let vehicle = vehicle.map_or("", VehicleId::as_str);
    tracing::debug!(connection = %id, %peer, vehicle, reason = reason.as_str(), "connection closed");
}

pub(super) fn lines_counted(metrics: &IngestMetrics, tally: &Tally, n_positions: usize) {
    metrics.lines_received.inc_by(tally.n_received);
    metrics.positions_accepted.inc_by(n_positions as u64);
    for (outcome, n_lines) in [
        ("positions", tally.n_positions),
        ("merged", tally.n_merged),
        ("no_position", tally.n_without_position),
        ("rejected", tally.rejected.len() as u64),
    ] {
        if n_lines > 0 {
            metrics.lines.inc_by(outcome, n_lines);
        }
    }
    for run in tally.rejected.chunk_by(|one, next| one == next) {
        if let Some(reason) = run.first() {
            metrics
                .lines_rejected
                .inc_by(reason.as_str(), run.len() as u64);
        }
    }
}

pub(super) fn line_buffer_restarted(
    shared: &Shared,
    connection: ConnectionId,
    vehicle: Option<&VehicleId>,
    place: Option<Box<str>>,
) {
    shared.metrics.line_buffer_restarts.inc();
    if let Some(n_unsaid) = RESTART_WARNINGS.pass() {
        let vehicle = vehicle.map_or("", VehicleId::as_str);
        let place = place.unwrap_or_default();
        tracing::warn!(%connection, vehicle, place, n_unsaid, "line buffer crashed and was made anew");
    }
}

pub(super) fn accept_failed(address: SocketAddr, error: &std::io::Error) {
    if let Some(n_unsaid) = ACCEPT_WARNINGS.pass() {
        tracing::warn!(%address, %error, n_unsaid, "connections cannot be accepted now");
    }
}
