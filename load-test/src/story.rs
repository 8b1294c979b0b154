//! What nodes said in their logs, put together: who was seen by whom, and since when. Pure.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Microseconds of the machine's wall clock, the same for all nodes.
pub(crate) type Micros = i64;

/// One thing that a node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Index of the node that said it.
    pub(crate) node: usize,
    pub(crate) at: Micros,
    pub(crate) what: What,
}

/// What a node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Its process was started; said by this tool.
    Spawned,
    /// It listens for beacons.
    Listens,
    /// A beacon has left.
    Beacon,
    /// A link to a node stands.
    Link(usize),
    /// A node can be used.
    Up(usize),
    /// A node is gone, for a reason.
    Down(usize, String),
    /// It serves vehicles.
    Ready,
}

/// The fields of a line of the log that count here.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: String,
    message: Option<String>,
    node: Option<String>,
    reason: Option<String>,
}

/// All that was said so far.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
    views: Vec<View>,
}

/// Whom a node sees.
#[derive(Debug, Clone, Default)]
struct View {
    seen: BTreeSet<usize>,
    changed_at: Option<Micros>,
}

/// The name of a node by its index.
pub(crate) fn name(node: usize) -> String {
    format!("n{:02}", node + 1)
}

fn index(name: &str) -> Option<usize> {
    let number: usize = name.strip_prefix('n')?.parse().ok()?;
    number.checked_sub(1)
}

/// Reads a line of the log of a node; none if it tells nothing that counts here.
pub(crate) fn read(node: usize, line: &str) -> Option<Event> {
    let line: Line = serde_json::from_str(line).ok()?;
    let about = || line.node.as_deref().and_then(index);
    let what = match line.message?.as_str() {
        "discovery listens" => What::Listens,
        "a beacon is sent" => What::Beacon,
        "a link stands" => What::Link(about()?),
        "node up" => What::Up(about()?),
        "node down" => What::Down(about()?, line.reason.clone().unwrap_or_default()),
        "node started" => What::Ready,
        _ => return None,
    };
    let at: jiff::Timestamp = line.timestamp.parse().ok()?;
    let at = at.as_microsecond();
    Some(Event { node, at, what })
}

impl Story {
    /// Nothing was said yet by so many nodes.
    pub(crate) fn new(n_nodes: usize) -> Self {
        Self {
            events: Vec::new(),
            views: vec![View::default(); n_nodes],
        }
    }

    /// Takes in what was said.
    pub(crate) fn add(&mut self, event: Event) {
        if let Some(view) = self.views.get_mut(event.node) {
            let is_change = match &event.what {
                // A new life begins with nobody.
                What::Spawned => {
                    view.seen.clear();
                    true
                }
                What::Up(node) => view.seen.insert(*node),
                What::Down(node, _) => view.seen.remove(node),
                _ => false,
            };
            if is_change {
                view.changed_at = Some(event.at);
            }
        }
        self.events.push(event);
    }

    /// Since when a node has seen exactly these, itself included; none if it does not.
    pub(crate) fn sees_since(&self, node: usize, seen: &BTreeSet<usize>) -> Option<Micros> {
        let view = self.views.get(node)?;
        view.changed_at.filter(|_| view.seen == *seen)
    }

    /// When a node said this first, from `since` on.
    pub(crate) fn first(
        &self,
        node: usize,
        since: Micros,
        is_it: fn(&What) -> bool,
    ) -> Option<Micros> {
        let events = self.events.iter();
        let mut found =
            events.filter(|event| event.node == node && event.at >= since && is_it(&event.what));
        found.next().map(|event| event.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(node: usize, at: Micros, other: usize) -> Event {
        let what = What::Up(other);
        Event { node, at, what }
    }

    #[test]
    fn a_line_of_the_log_is_read() {
        let line = r#"{"timestamp":"2026-11-21T12:08:38.611828Z","level":"INFO","message":"node down","node":"n02","id":"1d","reason":"closed","target":"x"}"#;
        let event = read(0, line).unwrap();
        assert_eq!(event.what, What::Down(1, "closed".to_owned()));
        assert_eq!(event.at % 1_000_000, 611_828);
        assert_eq!(read(0, "no json"), None);
        assert_eq!(
            read(
                0,
                r#"{"timestamp":"2026-11-21T12:08:38Z","message":"else"}"#
            ),
            None
        );
    }

    #[test]
    fn a_view_is_who_came_and_did_not_go() {
        let mut story = Story::new(2);
        story.add(up(0, 5, 0));
        story.add(up(0, 9, 1));
        assert_eq!(story.sees_since(0, &[0, 1].into()), Some(9));
        assert_eq!(story.sees_since(1, &[0, 1].into()), None);
        let (node, what) = (0, What::Down(1, "closed".to_owned()));
        story.add(Event { node, at: 20, what });
        assert_eq!(story.sees_since(0, &[0].into()), Some(20));
        assert_eq!(
            story.first(0, 6, |what| matches!(what, What::Up(_))),
            Some(9)
        );
        let what = What::Spawned;
        story.add(Event { node, at: 30, what });
        assert_eq!(story.sees_since(0, &[].into()), Some(30));
    }

    #[test]
    fn names_are_numbers_from_one() {
        assert_eq!((name(0), name(49)), ("n01".to_owned(), "n50".to_owned()));
        assert_eq!(
            (index("n50"), index("n00"), index("x")),
            (Some(49), None, None)
        );
    }
}
