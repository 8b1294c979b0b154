//! What came of a simulation, and how it is told.

use serde::Serialize;

use super::{Simulation, read_back::Tracks};
use crate::{books::Summary, device::Run, node_process::Usage, out::Out};

/// The result of a simulation.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    seed: u64,
    pub(super) is_balanced: bool,
    books: Summary,
    /// Vehicles whose whole track was read, of all that have one.
    tracks_checked: u64,
    tracks: u64,
    tracks_out_of_order: u64,
    kills: u32,
    /// From the kill until the node was ready again, in milliseconds; the slowest.
    restart_ms_max: u64,
    /// Messages sent: a line, or the sentences of one report.
    lines_sent: u64,
    lines_per_second: u64,
    latency_ms: LatencyJson,
    latency_of_resent_ms: LatencyJson,
    #[serde(flatten)]
    node: Option<NodeCost>,
}

/// What a node of our own has cost.
#[derive(Debug, Serialize)]
struct NodeCost {
    node_cpu_seconds: f64,
    node_cpu_micros_per_line: f64,
    node_peak_memory_mib: u64,
}

#[derive(Debug, Default, Serialize)]
struct LatencyJson {
    n_answers: u64,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// What was measured besides the books.
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) restart_ms_max: u64,
    pub(super) usage: Option<Usage>,
}

impl Outcome {
    pub(super) fn new(
        simulation: &Simulation,
        books: &Summary,
        tracks: Tracks,
        (run, measured): (&Run, Measured),
    ) -> Self {
        let (latency, n_sent) = (run.latency(), run.n_sent());
        // Whoever runs a node may stop it; a node of our own stops where it is killed alone.
        let is_undisturbed = simulation.n_kills == 0 && measured.usage.is_some();
        let has_all = !is_undisturbed || books.has_all_unanswered();
        Self {
            seed: simulation.seed,
            is_balanced: books.is_balanced() && has_all && tracks.n_out_of_order == 0,
            books: books.clone(),
            tracks_checked: tracks.n_checked,
            tracks: tracks.n_vehicles,
            tracks_out_of_order: tracks.n_out_of_order,
            kills: simulation.n_kills,
            restart_ms_max: measured.restart_ms_max,
            lines_sent: n_sent,
            lines_per_second: (n_sent as f64 / measured.seconds.max(1e-3)) as u64,
            latency_ms: LatencyJson::new(&latency.calm),
            latency_of_resent_ms: LatencyJson::new(&latency.outage),
            node: measured.usage.map(|usage| NodeCost {
                node_cpu_seconds: usage.cpu_seconds,
                node_cpu_micros_per_line: usage.cpu_seconds * 1e6 / n_sent.max(1) as f64,
                node_peak_memory_mib: usage.peak_memory_kib / 1_024,
            }),
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

/// Prints an outcome, for people or as one JSON object.
pub(super) fn tell(outcome: &Outcome, is_json: bool) {
    if is_json {
        match serde_json::to_string(outcome) {
            Ok(json) => Out.line(&json),
            Err(error) => Out.note(&format!("load-test: {error}")),
        }
        return;
    }
    let books = &outcome.books;
    let verdict = if outcome.is_balanced {
        "the books balance"
    } else {
        "THE BOOKS DO NOT BALANCE"
    };
    Out.line(&format!("{verdict} (seed {})", outcome.seed));
    for (name, number) in [
        ("vehicles", books.vehicles),
        ("connections", books.connections),
        ("reports sent", books.sent),
        ("acknowledged", books.acknowledged),
        ("stored", books.stored),
        ("lost", books.lost),
        ("doubled", books.doubled),
        ("altered", books.altered),
        ("foreign", books.foreign),
        ("answers shifted", books.shifted),
        ("unacknowledged", books.unacknowledged),
        ("never said", books.unsaid),
        ("vehicles refused", books.refused),
        ("lines sent again", books.resent_lines),
        ("lines spoiled", books.spoiled),
        ("… rejected", books.rejected),
        ("… stored all the same", books.spoiled_stored),
    ] {
        Out.line(&format!("  {name:<24}{number:>10}"));
    }
    let Outcome {
        tracks_out_of_order,
        tracks_checked,
        tracks,
        ..
    } = outcome;
    let extent = if tracks_checked == tracks {
        format!("all {tracks} looked at")
    } else {
        format!("a sample: {tracks_checked} of {tracks} looked at")
    };
    Out.line(&format!(
        "  tracks out of order     {tracks_out_of_order:>10} ({extent})"
    ));
    tell_unanswered(books);
    tell_costs(outcome);
    if books.refused > 0 {
        Out.note(
            "the node did not let the vehicles speak: it takes those of its [[vehicle]] list alone \
             (accept_unknown = true takes all)",
        );
    }
}

fn tell_unanswered(books: &Summary) {
    if books.unanswered_sent == 0 {
        return;
    }
    Out.line("  without answers (NMEA)");
    for (name, number) in [
        ("  reports sent", books.unanswered_sent),
        ("  … closed in order", books.unanswered_confirmed),
        ("  … stored", books.unanswered_stored),
        ("  … closed, and lost", books.unanswered_lost),
    ] {
        Out.line(&format!("  {name:<24}{number:>10}"));
    }
}

fn tell_costs(outcome: &Outcome) {
    let latency = |name: &str, latency: &LatencyJson| {
        let LatencyJson {
            n_answers,
            p50,
            p99,
            p999,
            max,
        } = latency;
        Out.line(&format!(
            "  {name:<24}p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, max {max:.1} ms \
             ({n_answers} answers)"
        ));
    };
    latency("acknowledgement", &outcome.latency_ms);
    if outcome.latency_of_resent_ms.n_answers > 0 {
        latency("… of lines sent again", &outcome.latency_of_resent_ms);
    }
    let (rate, restart) = (outcome.lines_per_second, outcome.restart_ms_max);
    Out.line(&format!("  messages a second       {rate:>10}"));
    if let Some(NodeCost {
        node_cpu_seconds: seconds,
        node_cpu_micros_per_line: micros,
        node_peak_memory_mib: memory,
    }) = outcome.node
    {
        Out.line(&format!(
            "  node                    {seconds:.1} s of CPU ({micros:.1} µs a message), {memory} \
             MiB at most"
        ));
    }
    if outcome.kills > 0 {
        Out.line(&format!(
            "  ready after a kill      {restart:>10} ms at most"
        ));
    }
}
