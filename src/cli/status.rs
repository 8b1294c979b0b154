//! `waymesh status`: a node about itself, as a small table.

use std::{io::Write, time::Duration};

use clap::Args;
use serde_json::Value;

use super::{
    ask::{AskError, NodeArgs},
    nodes::{shards, summary},
};

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Which node, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Prints the status of a node: one line for each fact, the counts last.
///
/// # Errors
/// When the node does not answer or `out` takes no more.
pub fn status(args: &StatusArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let client = args.node.client()?;
    if args.node.json {
        writeln!(out, "{}", client.text("/v1/status")?.trim_end())?;
        return Ok(());
    }
    let status = client.status()?;
    let cluster = match client.members() {
        Ok(members) => vec![("members", summary(&members)), ("shards", shards(&members))],
        Err(error) => vec![("members", format!("not known: {error}"))],
    };
    let rows = rows(&status, cluster);
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        writeln!(out, "{name:width$}  {value}")?;
    }
    Ok(out.flush()?)
}

fn rows(status: &Value, cluster: Vec<(&str, String)>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for name in ["name", "id", "version", "cluster", "incarnation"] {
        push(&mut rows, name, status.get(name));
    }
    let cluster = cluster.into_iter();
    rows.extend(cluster.map(|(name, value)| (name.to_owned(), value)));
    rows.push(("ready".to_owned(), readiness(status)));
    let uptime = status.get("uptime_seconds").and_then(Value::as_u64);
    if let Some(seconds) = uptime {
        rows.push(("uptime".to_owned(), duration(Duration::from_secs(seconds))));
    }
    for (name, address) in entries(status, "addresses") {
        push(&mut rows, name, Some(address));
    }
    for (name, count) in entries(status, "counts") {
        push(&mut rows, name, Some(count));
    }
    rows
}

fn entries<'a>(status: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let map = status.get(name).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}

fn push(rows: &mut Vec<(String, String)>, name: &str, value: Option<&Value>) {
    let text = match value {
        None | Some(Value::Null) => return,
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    };
    rows.push((name.replace('_', " "), text));
}

fn readiness(status: &Value) -> String {
    if status.get("ready").and_then(Value::as_bool) == Some(true) {
        return "yes".to_owned();
    }
    let waiting = status.get("waiting_for").and_then(Value::as_array);
    match waiting {
        Some(names) => {
            let names: Vec<_> = names.iter().map(plain).collect();
            format!("no, waiting for {}", names.join(", "))
        }
        None => "no".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A duration in its two largest units: `3 d 4 h`, `5 min 0 s`, `12 s`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        86_400.. => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
        3_600.. => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        60.. => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_725, "1 h 2 min"),
            (100_000, "1 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
