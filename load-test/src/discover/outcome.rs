//! What was measured, for a person and for a program.

use serde::Serialize;

use crate::story::Micros;

/// Milliseconds from one moment until each of several nodes had seen what there was to see.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    min_ms: f64,
    median_ms: f64,
    pub(crate) max_ms: f64,
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) nodes: usize,
    /// `namespaces` or `loopback`.
    pub(crate) network: &'static str,
    /// From the start of its process until a node listens for beacons.
    pub(crate) boot: Spread,
    /// From the start of the last process until a node sees all.
    pub(crate) all_seen_since_last_start: Spread,
    /// The same from the moment at which the last node listens.
    pub(crate) all_seen_since_last_listens: Spread,
    /// Beacons of all nodes from the first start until all see all.
    pub(crate) formation_beacons: usize,
    /// Processor time of all nodes until then, their starts included.
    pub(crate) formation_cpu_seconds: f64,
    /// Seconds of rest after that, and what passed in them.
    pub(crate) rest_seconds: u32,
    pub(crate) rest_beacons: usize,
    pub(crate) rest_cpu_seconds: f64,
    /// What was done to them then.
    pub(crate) deeds: Vec<Deed>,
}

/// Something that was done to a cluster, and until when the nodes had seen it.
#[derive(Debug, Serialize)]
pub(crate) struct Deed {
    pub(crate) what: String,
    pub(crate) seen: Spread,
}

impl Spread {
    /// Of these moments, since `from`; all 0 for none.
    pub(crate) fn of(moments: &[Micros], from: Micros) -> Self {
        let mut sorted: Vec<f64> = moments.iter().map(|at| (at - from) as f64 / 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            min_ms: at(0),
            median_ms: at(sorted.len() / 2),
            max_ms: at(sorted.len().saturating_sub(1)),
        }
    }

    fn row(&self, what: &str) -> String {
        format!(
            "{what:<52}{:>9.1}{:>9.1}{:>9.1}",
            self.min_ms, self.median_ms, self.max_ms
        )
    }
}

impl Outcome {
    /// The figures as a table.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<52}{:>9}{:>9}{:>9}",
            "milliseconds", "least", "median", "most"
        )];
        lines.push(self.boot.row("a process starts, until it listens"));
        let since = self
            .all_seen_since_last_start
            .row("the last process starts, until a node sees all");
        lines.push(since);
        let since = self
            .all_seen_since_last_listens
            .row("the last one listens, until a node sees all");
        lines.push(since);
        lines.extend(self.deeds.iter().map(|deed| deed.seen.row(&deed.what)));
        lines.push(String::new());
        lines.push(format!(
            "until all saw all: {} beacons, {:.2} s of processors, starts included",
            self.formation_beacons, self.formation_cpu_seconds
        ));
        lines.push(format!(
            "in {} s of rest: {} beacons, {:.2} s of processors",
            self.rest_seconds, self.rest_beacons, self.rest_cpu_seconds
        ));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_moments_since_the_first() {
        let spread = Spread::of(&[31_000, 11_000, 21_000], 1_000);
        let expected = (10.0, 20.0, 30.0);
        assert_eq!((spread.min_ms, spread.median_ms, spread.max_ms), expected);
        assert_eq!(Spread::of(&[], 5).max_ms, 0.0);
        let row = spread.row("what");
        assert!(row.ends_with("     10.0     20.0     30.0"), "{row}");
    }
}
