//! What came of a simulation.

use std::io;

use serde::Serialize;

use super::{
    Simulation,
    kills::Killed,
    read_back::{Given, Tracks},
};
use crate::{
    books::{Books, Summary},
    cluster::{Cluster, sample::Sample},
    device::Run,
    node_process::Usage,
};

/// Single reports that are named for each node where the books do not balance.
const FAULTS_NAMED: usize = 4;

/// The result of a simulation.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    pub(super) is_balanced: bool,
    /// What is wrong, if anything is.
    pub(super) faults: Vec<String>,
    /// Of all nodes together: what one of them does not give is lost.
    pub(super) books: Summary,
    /// Vehicles whose whole track was read, of all that have one; at the last node.
    pub(super) tracks_checked: u64,
    pub(super) tracks: u64,
    /// At all nodes.
    pub(super) tracks_out_of_order: u64,
    pub(super) tracks_unlike_export: u64,
    pub(super) kills: u32,
    /// From the start after a kill until the node was ready again, in milliseconds; the slowest.
    pub(super) restart_ms_max: u64,
    /// Messages sent: a line, or the sentences of one report.
    pub(super) lines_sent: u64,
    pub(super) lines_per_second: u64,
    pub(super) latency_ms: LatencyJson,
    pub(super) latency_of_resent_ms: LatencyJson,
    #[serde(flatten)]
    pub(super) node: Option<NodeCost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<ClusterOutcome>,
}

/// What nodes of our own have cost, all together.
#[derive(Debug, Serialize)]
pub(super) struct NodeCost {
    pub(super) node_cpu_seconds: f64,
    pub(super) node_cpu_micros_per_line: f64,
    /// Of the one that took most.
    pub(super) node_peak_memory_mib: u64,
}

/// What came of it for several nodes.
#[derive(Debug, Serialize)]
pub(super) struct ClusterOutcome {
    /// `multicast` or `static`.
    pub(super) formed_by: &'static str,
    /// From the start of the last process until all saw all.
    pub(super) formation_ms: f64,
    pub(super) kills: Vec<Killed>,
    /// Longest that a vehicle had a line that was due and no answer, in milliseconds.
    pub(super) silence_ms_max: u64,
    pub(super) silence_vehicle: String,
    /// What ninety-nine of a hundred vehicles never passed.
    pub(super) silence_ms_p99: u64,
    /// Whether all nodes gave the same records.
    pub(super) is_alike: bool,
    pub(super) nodes: Vec<NodeOutcome>,
}

/// What came of it at one node.
#[derive(Debug, Serialize)]
pub(super) struct NodeOutcome {
    pub(super) name: String,
    /// Lines that vehicles sent to it, each time counted, and lines that it answered.
    pub(super) lines_sent: u64,
    pub(super) lines_answered: u64,
    /// All that was sent, held against what this node gives back; absent if it could not be read.
    pub(super) books: Option<Summary>,
    /// What it says of itself in its present life.
    pub(super) counters: Option<Sample>,
    pub(super) kills: u64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_mib: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct LatencyJson {
    pub(super) n_answers: u64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// What was measured besides the books.
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) kills: Vec<Killed>,
    /// What the nodes of our own said at rest, or why they did not come to rest.
    pub(super) samples: io::Result<Vec<Sample>>,
    /// What each node gave back.
    pub(super) given: Vec<io::Result<Given>>,
}

impl Outcome {
    pub(super) fn new(
        simulation: &Simulation,
        books: &Books,
        (run, own): (&Run, Option<&Cluster>),
        measured: Measured,
    ) -> Self {
        let names = own.map_or_else(|| vec!["the node".to_owned()], Cluster::names);
        let whole = whole(books, &measured.given);
        let sums = whole.summary();
        let mut faults = measured.faults(&names);
        // Whoever runs a node may stop it; nodes of our own stop where they are killed alone.
        if simulation.n_kills == 0 && own.is_some() && !sums.has_all_unanswered() {
            faults.push("reports without answers are missing, and nothing was broken".to_owned());
        }
        let samples = measured.samples.as_deref().unwrap_or_default();
        if simulation.n_kills == 0 && !samples.is_empty() {
            faults.extend(stored_fault(samples, &sums));
        }
        let n_unconfirmed = sums.unanswered_unconfirmed;
        if n_unconfirmed > 0 {
            faults.push(format!(
                "{n_unconfirmed} messages without answers went over connections that did not end \
                 in order, and nobody killed their node"
            ));
        }
        if !sums.is_balanced() {
            faults.push("the books of all nodes together do not balance".to_owned());
        }
        let (latency, n_sent) = (run.latency(), run.n_sent());
        let tracks = measured.tracks();
        let usages = own.map(Cluster::usages);
        let restarts = measured.kills.iter().map(|killed| killed.ready_after_ms);
        Self {
            seed: simulation.seed,
            is_balanced: faults.is_empty(),
            faults,
            books: sums,
            tracks_checked: tracks.n_checked,
            tracks: tracks.n_vehicles,
            tracks_out_of_order: tracks.n_out_of_order,
            tracks_unlike_export: tracks.n_unlike_export,
            kills: simulation.n_kills,
            restart_ms_max: restarts.max().unwrap_or_default(),
            lines_sent: n_sent,
            lines_per_second: (n_sent as f64 / measured.seconds.max(1e-3)) as u64,
            latency_ms: LatencyJson::new(&latency.calm),
            latency_of_resent_ms: LatencyJson::new(&latency.outage),
            node: usages.map(|usages| NodeCost::new(&usages, n_sent)),
            cluster: own
                .filter(|_| names.len() > 1)
                .map(|own| ClusterOutcome::new(books, own, run, measured)),
        }
    }
}

/// What is wrong if the nodes have not stored each report once, where none was killed: one that is
/// stored twice does not show in what they give back, which merges both. One that went to another node
/// after the first had not answered in time may rightly lie on two.
fn stored_fault(samples: &[Sample], sums: &Summary) -> Option<String> {
    let n_stored: u64 = samples.iter().map(|sample| sample.positions_stored).sum();
    let n_reports = sums.sent + sums.unanswered_sent;
    let n_rerouted: u64 = samples.iter().map(|sample| sample.records_rerouted).sum();
    let rightly = n_reports..=n_reports + n_rerouted;
    (!rightly.contains(&n_stored)).then(|| {
        format!(
            "the nodes have stored {n_stored} positions by their own count, of {n_reports} reports"
        )
    })
}

/// What all nodes give alike.
fn whole(books: &Books, given: &[io::Result<Given>]) -> Books {
    let found = given.iter().flatten().map(|given| given.books.clone());
    let whole = found.reduce(|whole, part| whole.worst_of(&part));
    whole.unwrap_or_else(|| books.clone())
}

impl Measured {
    /// What each node is to be blamed for.
    fn faults(&self, names: &[String]) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, given) in names.iter().zip(&self.given) {
            match given {
                Err(error) => faults.push(format!("{name} could not be read: {error}")),
                Ok(given) => faults.extend(given.faults(name)),
            }
        }
        match &self.samples {
            Err(error) => faults.push(format!("the nodes did not come to rest: {error}")),
            Ok(samples) => {
                let unbalanced = names.iter().zip(samples);
                let unbalanced = unbalanced.filter(|(_, sample)| !sample.is_balanced());
                faults.extend(unbalanced.map(|(name, _)| {
                    format!("{name}: its own counters of positions do not balance")
                }));
            }
        }
        if !self.is_alike() {
            faults.push("the nodes do not all give the same records".to_owned());
        }
        faults
    }

    fn is_alike(&self) -> bool {
        let mut digests = self.given.iter().flatten().map(|given| given.digest);
        let first = digests.next();
        digests.all(|digest| Some(digest) == first)
    }

    fn tracks(&self) -> Tracks {
        let given = self.given.iter().flatten();
        given.fold(Tracks::default(), |sum, given| Tracks {
            n_out_of_order: sum.n_out_of_order + given.tracks.n_out_of_order,
            n_unlike_export: sum.n_unlike_export + given.tracks.n_unlike_export,
            ..given.tracks
        })
    }
}

impl Given {
    fn faults(&self, name: &str) -> Vec<String> {
        let sums = self.books.summary();
        let counts = [
            (sums.lost + sums.unanswered_lost, "reports lost"),
            (sums.doubled, "reports doubled"),
            (sums.altered, "reports altered"),
            (sums.foreign, "reports that nobody sent"),
            (sums.spoiled_stored, "spoiled reports stored"),
            (self.tracks.n_out_of_order, "tracks out of order"),
            (
                self.tracks.n_unlike_export,
                "tracks with more or fewer positions than the export",
            ),
        ];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        let counted = counted.map(|(count, what)| format!("{name}: {count} {what}"));
        let named = self.books.faults(FAULTS_NAMED).into_iter();
        counted
            .chain(named.map(|fault| format!("{name}: for example {fault}")))
            .collect()
    }
}

impl NodeCost {
    fn new(usages: &[Usage], n_sent: u64) -> Self {
        let cpu_seconds: f64 = usages.iter().map(|usage| usage.cpu_seconds).sum();
        let peaks = usages.iter().map(|usage| usage.peak_memory_kib);
        Self {
            node_cpu_seconds: cpu_seconds,
            node_cpu_micros_per_line: cpu_seconds * 1e6 / n_sent.max(1) as f64,
            node_peak_memory_mib: peaks.max().unwrap_or_default() / 1_024,
        }
    }
}

impl ClusterOutcome {
    fn new(books: &Books, own: &Cluster, run: &Run, measured: Measured) -> Self {
        let silences = books.silences();
        let is_alike = measured.is_alike();
        let mut samples = measured.samples.unwrap_or_default().into_iter();
        let parts = own.names().into_iter().zip(own.usages());
        let parts = parts.zip(run.doors()).zip(&measured.given);
        let nodes = parts.map(|(((name, usage), door), given)| NodeOutcome {
            name,
            lines_sent: door.n_sent(),
            lines_answered: door.n_answered(),
            books: given.as_ref().ok().map(|given| given.books.summary()),
            counters: samples.next(),
            kills: door.n_kills(),
            cpu_seconds: usage.cpu_seconds,
            peak_memory_mib: usage.peak_memory_kib / 1_024,
        });
        Self {
            formed_by: own.formation().way,
            formation_ms: own.formation().took.as_secs_f64() * 1e3,
            silence_ms_max: silences.max.as_millis() as u64,
            silence_vehicle: silences.vehicle,
            silence_ms_p99: silences.p99.as_millis() as u64,
            is_alike,
            nodes: nodes.collect(),
            kills: measured.kills,
        }
    }
}

impl LatencyJson {
    fn new(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let millis = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            n_answers: histogram.len(),
            p50: millis(0.5),
            p99: millis(0.99),
            p999: millis(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_is_stored_twice_is_a_fault() {
        let sample = |positions_stored| Sample {
            positions_stored,
            ..Sample::default()
        };
        let sums = Summary {
            sent: 7,
            unanswered_sent: 3,
            ..Summary::default()
        };
        assert_eq!(stored_fault(&[sample(6), sample(4)], &sums), None);
        let twice = stored_fault(&[sample(6), sample(5)], &sums).unwrap();
        assert!(twice.contains("11") && twice.contains("10"), "{twice}");
        assert!(stored_fault(&[sample(6)], &sums).is_some());
        let moved = Sample {
            records_rerouted: 1,
            ..sample(5)
        };
        assert_eq!(stored_fault(&[sample(6), moved.clone()], &sums), None);
        assert!(stored_fault(&[sample(7), moved], &sums).is_some());
    }
}
