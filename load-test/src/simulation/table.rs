//! The table of nodes while they run: who is there, who owns how much, what goes in and over. Pure.

use std::time::Duration;

use crate::cluster::sample::Sample;

/// What the nodes said at one moment and at the one before.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: Vec<String>,
    before: Vec<Option<Sample>>,
    now: Vec<Option<Sample>>,
    /// Between the two.
    time: Duration,
}

impl Table {
    /// The table of these nodes, of which nothing is known yet.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// Lines that it takes.
    pub(super) fn n_rows(n_nodes: usize) -> usize {
        if n_nodes > 1 { n_nodes + 1 } else { 0 }
    }

    /// Takes in what the nodes say now, so long after the last time.
    pub(super) fn note(&mut self, samples: Vec<Option<Sample>>, time: Duration) {
        self.before = std::mem::replace(&mut self.now, samples);
        self.time = time;
    }

    /// The head, and a row for each node.
    pub(super) fn rows(&self) -> impl Iterator<Item = String> {
        let head = format!(
            "{:<6}{:<7}{:>7}{:>10}{:>9}{:>9}{:>9}{:>9}",
            "node", "state", "shards", "vehicles", "lines/s", "stored/s", "out/s", "in/s"
        );
        let rows = self.names.iter().enumerate();
        std::iter::once(head).chain(rows.map(|(idx, name)| self.row(name, idx)))
    }

    fn row(&self, name: &str, idx: usize) -> String {
        let Some(Some(now)) = self.now.get(idx) else {
            return format!("{name:<6}{:<7}", "gone");
        };
        let before = self.before.get(idx).and_then(Option::as_ref);
        let rate = |count: fn(&Sample) -> u64| {
            // A node that was started again counts from nothing.
            let n_before = before.map(count).filter(|n| *n <= count(now));
            let n_new = count(now) - n_before.unwrap_or(count(now));
            (n_new as f64 / self.time.as_secs_f64().max(1e-3)).round() as u64
        };
        format!(
            "{name:<6}{:<7}{:>7}{:>10}{:>9}{:>9}{:>9}{:>9}",
            "up",
            now.owned_shards,
            now.connections,
            rate(|sample| sample.lines_received),
            rate(|sample| sample.positions_stored),
            rate(|sample| sample.forwarded_out),
            rate(|sample| sample.forwarded_in),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_and_a_new_life_begins_with_none() {
        let sample = |lines_received| {
            Some(Sample {
                lines_received,
                owned_shards: 1_365,
                ..Sample::default()
            })
        };
        let mut table = Table::new(vec!["n01".to_owned(), "n02".to_owned(), "n03".to_owned()]);
        table.note(vec![sample(100), sample(500), None], Duration::ZERO);
        table.note(
            vec![sample(300), sample(40), None],
            Duration::from_millis(500),
        );
        let rows: Vec<String> = table.rows().collect();
        let fields =
            |row: &str| -> Vec<String> { row.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(rows.len(), Table::n_rows(3));
        assert_eq!(fields(&rows[1])[..5], ["n01", "up", "1365", "0", "400"]);
        assert_eq!(fields(&rows[2])[4], "0");
        assert_eq!(fields(&rows[3]), ["n03", "gone"]);
    }
}
