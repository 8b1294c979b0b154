//! How the outcome of a simulation is told: for people, or as JSON.

use super::outcome::{ClusterOutcome, LatencyJson, NodeCost, NodeOutcome, Outcome};
use crate::{books::Summary, out::Out};

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
        tracks_unlike_export,
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
    Out.line(&format!(
        "  … unlike the export     {tracks_unlike_export:>10}"
    ));
    tell_unanswered(books);
    tell_costs(outcome);
    if let Some(cluster) = &outcome.cluster {
        tell_cluster(cluster);
    }
    for fault in &outcome.faults {
        Out.line(&format!("  FAULT: {fault}"));
    }
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
        ("  … not confirmed", books.unanswered_unconfirmed),
        ("  … cut off by a kill", books.unanswered_cut_by_kill),
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
        let who = match outcome.cluster {
            Some(_) => "all nodes",
            None => "node",
        };
        Out.line(&format!(
            "  {who:<24}{seconds:.1} s of CPU ({micros:.1} µs a message), {memory} MiB at most"
        ));
    }
    if outcome.kills > 0 {
        Out.line(&format!(
            "  ready after a kill      {restart:>10} ms at most"
        ));
    }
}

fn tell_cluster(cluster: &ClusterOutcome) {
    let ClusterOutcome {
        formation_ms,
        silence_ms_max,
        silence_ms_p99,
        silence_vehicle,
        formed_by,
        ..
    } = cluster;
    Out.line(&format!(
        "  found each other        {formation_ms:>10.0} ms after the last start ({formed_by})"
    ));
    for killed in &cluster.kills {
        Out.line(&format!(
            "  {:<24}{:>10.1} ms until the others saw it (dead for {} ms, ready after {} ms)",
            format!("kill -9 of {}", killed.node),
            killed.seen_after_ms,
            killed.dead_ms,
            killed.ready_after_ms,
        ));
    }
    Out.line(&format!(
        "  longest without answer  {silence_ms_max:>10} ms ({silence_vehicle}); 99 of 100 vehicles \
         never over {silence_ms_p99} ms"
    ));
    Out.line(&format!(
        "  {:<6}{:>9}{:>10} | {:>9}{:>7}{:>8} | {:>7}{:>10}{:>9}{:>6}{:>7}{:>5}",
        "node",
        "sent to",
        "answered",
        "gives",
        "lost",
        "doubled",
        "shards",
        "passed on",
        "taken in",
        "kills",
        "CPU s",
        "MiB"
    ));
    cluster.nodes.iter().for_each(tell_node);
}

fn tell_node(node: &NodeOutcome) {
    let books = node.books.clone().unwrap_or_default();
    let counters = node.counters.clone().unwrap_or_default();
    Out.line(&format!(
        "  {:<6}{:>9}{:>10} | {:>9}{:>7}{:>8} | {:>7}{:>10}{:>9}{:>6}{:>7.1}{:>5}",
        node.name,
        node.lines_sent,
        node.lines_answered,
        books.stored + books.unanswered_stored,
        books.lost + books.unanswered_lost,
        books.doubled,
        counters.owned_shards,
        counters.forwarded_out,
        counters.forwarded_in,
        node.kills,
        node.cpu_seconds,
        node.peak_memory_mib,
    ));
}
