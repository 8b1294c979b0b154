//! The story of a formation for a person to look at: a line a node, time from left to right. Pure.

use crate::story::{Event, Micros, Story, What, name};

/// Columns of the time.
const N_COLUMNS: usize = 64;

/// What the signs of the chart mean.
pub(crate) const LEGEND: &str = ". process started   o listens, first beacon   1-9 tenths of the nodes that it sees   # sees all";

/// A chart of what happened from `from` to `to`.
pub(crate) fn chart(story: &Story, n_nodes: usize, (from, to): (Micros, Micros)) -> Vec<String> {
    let step = ((to - from) / N_COLUMNS as i64).max(1);
    let mut lines = vec![ruler(step)];
    for node in 0..n_nodes {
        let mut row = format!("{:>5}  ", name(node));
        for column in 0..N_COLUMNS as i64 + 1 {
            row.push(sign(story, (node, n_nodes), from + column * step));
        }
        lines.push(row.trim_end().to_owned());
    }
    lines
}

/// Every event of a few nodes, a line each.
pub(crate) fn list(story: &Story, from: Micros) -> Vec<String> {
    let mut events: Vec<&Event> = story.events.iter().collect();
    events.sort_by_key(|event| event.at);
    let line = |event: &Event| {
        let what = match &event.what {
            What::Spawned => "is started".to_owned(),
            What::Listens => "listens for beacons".to_owned(),
            What::Beacon => "sends a beacon".to_owned(),
            What::Link(other) => format!("has a link to {}", name(*other)),
            What::Up(other) => format!("sees {}", name(*other)),
            What::Down(other, reason) => format!("sees {} go: {reason}", name(*other)),
            What::Ready => "takes in vehicles".to_owned(),
        };
        let millis = (event.at - from) as f64 / 1e3;
        format!("{millis:>9.1}  {}  {what}", name(event.node))
    };
    events.into_iter().map(line).collect()
}

/// The milliseconds since the begin, at every sixteenth column.
fn ruler(step: Micros) -> String {
    let mark = |column| format!("{:<16}", format!("|{}", column as i64 * step / 1_000));
    let marks: String = (0..=N_COLUMNS).step_by(16).map(mark).collect();
    format!("   ms  {}", marks.trim_end())
}

/// How a node stands at a moment.
fn sign(story: &Story, (node, n_nodes): (usize, usize), at: Micros) -> char {
    let mut sign = ' ';
    let mut n_seen = 0;
    for event in &story.events {
        if event.node != node || event.at > at {
            continue;
        }
        match event.what {
            What::Spawned => (sign, n_seen) = ('.', 0),
            What::Listens | What::Beacon => sign = 'o',
            What::Up(_) => n_seen += 1,
            What::Down(..) => n_seen -= 1,
            _ => {}
        }
    }
    match n_seen {
        ..=1 => sign,
        n_seen if n_seen >= n_nodes => '#',
        n_seen => char::from_digit((n_seen * 10 / n_nodes).clamp(1, 9) as u32, 10).unwrap_or('?'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_who_saw_whom_and_when() {
        let mut story = Story::new(2);
        let mut say = |node, at, what| story.add(Event { node, at, what });
        say(0, 0, What::Spawned);
        say(1, 16_000, What::Spawned);
        say(0, 16_000, What::Listens);
        say(0, 17_000, What::Up(0));
        say(1, 32_000, What::Listens);
        say(1, 32_000, What::Up(1));
        say(0, 48_000, What::Up(1));
        say(1, 64_000, What::Up(0));
        let lines = chart(&story, 2, (0, 64_000));
        let row = |text: &str| text.to_owned();
        assert_eq!(
            lines[0],
            "   ms  |0              |16             |32             |48             |64"
        );
        let (dots, rest) = (".".repeat(16), "o".repeat(32));
        assert_eq!(lines[1], format!("  n01  {dots}{rest}{}", "#".repeat(17)));
        let blank = " ".repeat(16);
        assert_eq!(lines[2], format!("  n02  {blank}{dots}{rest}#"));
        assert_eq!(list(&story, 0)[0], row("      0.0  n01  is started"));
    }
}
