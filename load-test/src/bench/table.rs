//! Figures of turns, what they come to, and how they are shown. Pure.

use serde::Serialize;

/// All that a bench found.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) is_indexed: bool,
    pub(super) rounds: u32,
    pub(super) seconds: u32,
    pub(super) loads: Vec<Comparison>,
    pub(super) idle: Option<IdleComparison>,
}

/// One load on both servers.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    load: &'static str,
    /// Median of the node over median of the floor, in processor time a line.
    ratio: f64,
    /// What the node costs beyond 1.3 times the floor, in microseconds a line; negative: less.
    micros_beyond_goal: f64,
    floor: Side,
    node: Side,
}

/// The turns of one server, and their medians.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) cpu_micros_per_line: f64,
    pub(super) lines_per_second: f64,
    pub(super) answer_ms_p50: f64,
    pub(super) answer_ms_p99: f64,
    pub(super) turns: Vec<LoadTurn>,
}

/// One turn of one server.
#[derive(Debug, Serialize)]
pub(super) struct LoadTurn {
    pub(super) n_lines: u64,
    pub(super) cpu_micros_per_line: f64,
    pub(super) lines_per_second: f64,
    pub(super) connections_per_second: f64,
    pub(super) answer_ms_p50: f64,
    pub(super) answer_ms_p99: f64,
    pub(super) others_share: f64,
    pub(super) is_disturbed: bool,
    pub(super) is_tool_the_limit: bool,
    pub(super) is_behind: bool,
}

/// Idle connections on both servers.
#[derive(Debug, Serialize)]
pub(super) struct IdleComparison {
    pub(super) n_connections: usize,
    pub(super) floor: IdleTurn,
    pub(super) node: IdleTurn,
}

/// Idle connections on one server.
#[derive(Debug, Serialize)]
pub(super) struct IdleTurn {
    pub(super) bytes_per_connection: f64,
    pub(super) connections_per_second: f64,
}

impl Comparison {
    pub(super) fn new(load: &'static str, floor: Vec<LoadTurn>, node: Vec<LoadTurn>) -> Self {
        let (floor, node) = (Side::new(floor), Side::new(node));
        Self {
            load,
            ratio: node.cpu_micros_per_line / floor.cpu_micros_per_line,
            micros_beyond_goal: node.cpu_micros_per_line - 1.3 * floor.cpu_micros_per_line,
            floor,
            node,
        }
    }

    /// What is to be known before the figures are believed.
    fn remarks(&self) -> Vec<String> {
        let sides = [("floor", &self.floor), ("node", &self.node)];
        remarks(self.load, sides)
    }
}

/// What is to be known of two sides before their figures are believed.
pub(super) fn remarks(load: &str, sides: [(&str, &Side); 2]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (name, side) in sides {
        let count =
            |is_so: fn(&LoadTurn) -> bool| side.turns.iter().filter(|turn| is_so(turn)).count();
        let n_turns = side.turns.len();
        let mut remark = |n_so: usize, what: &str| {
            if n_so > 0 {
                remarks.push(format!("{load}, {name}: {n_so} of {n_turns} turns {what}",));
            }
        };
        remark(
            count(|turn| turn.is_disturbed),
            "were disturbed by others on this machine",
        );
        remark(
            count(|turn| turn.is_tool_the_limit),
            "had this tool's own processor as the limit",
        );
        remark(
            count(|turn| turn.is_behind),
            "did not reach the rate asked for",
        );
    }
    remarks
}

impl Side {
    pub(super) fn new(turns: Vec<LoadTurn>) -> Self {
        let of = |figure: fn(&LoadTurn) -> f64| median(turns.iter().map(figure).collect());
        Self {
            cpu_micros_per_line: of(|turn| turn.cpu_micros_per_line),
            lines_per_second: of(|turn| turn.lines_per_second),
            answer_ms_p50: of(|turn| turn.answer_ms_p50),
            answer_ms_p99: of(|turn| turn.answer_ms_p99),
            turns,
        }
    }

    /// Least and most of the turns, in microseconds a line.
    pub(super) fn spread(&self) -> String {
        let all = self.turns.iter().map(|turn| turn.cpu_micros_per_line);
        let (least, most) = (
            all.clone().fold(f64::MAX, f64::min),
            all.fold(0.0, f64::max),
        );
        format!("{least:.2}-{most:.2}")
    }
}

/// The one in the middle, or the mean of both there; 0 of none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = |idx: usize| figures.get(idx).copied().unwrap_or_default();
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    }
}

/// The outcome for people.
pub(super) fn lines(outcome: &Outcome) -> Vec<String> {
    let index = if outcome.is_indexed {
        "with"
    } else {
        "without"
    };
    let mut lines = vec![
        format!(
            "processor time of the server a line, in microseconds, {index} the index; medians of {} turns of {} s",
            outcome.rounds, outcome.seconds
        ),
        format!(
            "{:<10} {:>7} {:>13} {:>7} {:>13} {:>6} {:>11} {:>11} {:>13}",
            "load", "floor", "", "node", "", "ratio", "floor /s", "node /s", "p50/p99 ms"
        ),
    ];
    for load in &outcome.loads {
        lines.push(format!(
            "{:<10} {:>7.2} {:>13} {:>7.2} {:>13} {:>6.2} {:>11.0} {:>11.0} {:>6.1}/{:<6.1}",
            load.load,
            load.floor.cpu_micros_per_line,
            load.floor.spread(),
            load.node.cpu_micros_per_line,
            load.node.spread(),
            load.ratio,
            load.floor.lines_per_second,
            load.node.lines_per_second,
            load.node.answer_ms_p50,
            load.node.answer_ms_p99,
        ));
    }
    if let Some(idle) = &outcome.idle {
        for (name, turn) in [("floor", &idle.floor), ("node", &idle.node)] {
            lines.push(format!(
                "{} idle connections, {name}: {:.0} bytes each, {:.0} connected and logged in a second",
                idle.n_connections, turn.bytes_per_connection, turn.connections_per_second
            ));
        }
    }
    lines.extend(outcome.loads.iter().flat_map(Comparison::remarks));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(cpu_micros_per_line: f64, is_disturbed: bool) -> LoadTurn {
        LoadTurn {
            n_lines: 1,
            cpu_micros_per_line,
            lines_per_second: 1.0,
            connections_per_second: 1.0,
            answer_ms_p50: 1.0,
            answer_ms_p99: 1.0,
            others_share: 0.0,
            is_disturbed,
            is_tool_the_limit: false,
            is_behind: false,
        }
    }

    #[test]
    fn the_ratio_is_of_the_medians() {
        let floor = vec![turn(1.0, false), turn(9.0, true), turn(2.0, false)];
        let node = vec![turn(3.0, false), turn(5.0, false)];
        let comparison = Comparison::new("fleet", floor, node);
        assert!((comparison.ratio - 2.0).abs() < 1e-9);
        assert!((comparison.micros_beyond_goal - 1.4).abs() < 1e-9);
        let remarks = comparison.remarks();
        assert_eq!(
            remarks,
            ["fleet, floor: 1 of 3 turns were disturbed by others on this machine"]
        );
    }
}
