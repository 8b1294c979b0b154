//! Whether the books of a node balance, by its own metrics.

use std::{collections::BTreeMap, time::Duration};

use crate::node::Node;

/// The metrics once nothing is in flight, after a look at the books.
pub fn settled(node: &Node) -> BTreeMap<String, u64> {
    for _ in 0..4_000 {
        let metrics = node.metrics();
        if metrics["waymesh_positions_in_flight"] == 0 && metrics["waymesh_connections"] == 0 {
            check(&metrics);
            return metrics;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("the node did not settle within 20 s");
}

/// Each line has one outcome, each rejected one a reason, each position one end.
#[track_caller]
fn check(metrics: &BTreeMap<String, u64>) {
    let family = |name: &str| -> u64 {
        let labelled = format!("{name}{{");
        let samples = metrics
            .iter()
            .filter(|(sample, _)| sample.starts_with(&labelled));
        samples.map(|(_, value)| value).sum()
    };
    assert_eq!(
        metrics["waymesh_lines_received_total"],
        family("waymesh_lines_total"),
        "{metrics:#?}"
    );
    let rejected = r#"waymesh_lines_total{outcome="rejected"}"#;
    assert_eq!(
        metrics.get(rejected).copied().unwrap_or_default(),
        family("waymesh_lines_rejected_total"),
        "{metrics:#?}"
    );
    let ends = ["stored", "duplicate", "expired"]
        .map(|end| metrics[&format!("waymesh_positions_{end}_total")]);
    assert_eq!(
        metrics["waymesh_positions_accepted_total"],
        ends.iter().sum::<u64>() + family("waymesh_positions_refused_total"),
        "{metrics:#?}"
    );
}
