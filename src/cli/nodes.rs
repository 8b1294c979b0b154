//! `waymesh nodes` and `waymesh ping`: the members as one node sees them, and how far one is away.

use std::io::{BufRead as _, Write};

use clap::Args;
use serde_json::Value;

use super::ask::{AskError, NodeArgs};

/// Names of the columns, with the keys they show.
const COLUMNS: [(&str, &str); 7] = [
    ("NAME", "name"),
    ("STATE", "state"),
    ("LINK", "link"),
    ("LINKED", "linked"),
    ("SHARDS", "owned_shards"),
    ("START", "incarnation"),
    ("SINCE", "since"),
];

/// Arguments of `nodes`.
#[derive(Debug, Clone, Args)]
pub struct NodesArgs {
    /// Which node, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
    /// Print who is there, then each change as it happens, until the node stops
    #[arg(long)]
    pub follow: bool,
    /// With --follow: also nodes that the asked one does not look for
    #[arg(long, requires = "follow")]
    pub all: bool,
}

/// Arguments of `ping`.
#[derive(Debug, Clone, Args)]
pub struct PingArgs {
    /// Which node, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
    /// Name of the member to be pinged by the node that is asked
    pub name: String,
}

/// Prints the members: a line for each, this node marked by a star; or what changes among them.
///
/// # Errors
/// When the node does not answer, stops answering, or `out` takes no more.
pub fn nodes(args: &NodesArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let client = args.node.client()?;
    if args.follow {
        let mut event = String::new();
        for line in client.events(args.all)?.lines() {
            let line = line.map_err(AskError::BrokeOff)?;
            if let Some(name) = line.strip_prefix("event: ") {
                event = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(data)?;
                write_change(out, &event, data, args.node.json)?;
            }
        }
        return Ok(());
    }
    if args.node.json {
        writeln!(out, "{}", client.text("/v1/nodes")?.trim_end())?;
        return Ok(());
    }
    Ok(write_table(out, &client.nodes()?)?)
}

/// Prints the time to a member and back.
///
/// # Errors
/// When the node does not answer, or its answer is that the member cannot be reached.
pub fn ping(args: &PingArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let answer = args.node.client()?.ping(&args.name)?;
    if args.node.json {
        writeln!(out, "{answer}")?;
    } else {
        let took = answer.get("rtt_ms").and_then(Value::as_f64);
        writeln!(out, "{}: {:.3} ms", args.name, took.unwrap_or_default())?;
    }
    Ok(())
}

fn write_change(
    out: &mut dyn Write,
    event: &str,
    mut data: Value,
    is_json: bool,
) -> Result<(), AskError> {
    if is_json {
        if let Some(fields) = data.as_object_mut() {
            fields.insert("event".to_owned(), event.into());
        }
        writeln!(out, "{data}")?;
    } else {
        let field = |name: &str| text_of(data.get(name));
        let (at, node, reason) = (field("at"), field("node"), field("reason"));
        writeln!(out, "{at}  {event:<9}  {node}  {reason}")?;
    }
    // Whoever follows wants to see it now.
    Ok(out.flush()?)
}

fn write_table(out: &mut dyn Write, answer: &Value) -> std::io::Result<()> {
    let own = text_of(answer.get("self"));
    let members = answer.get("nodes").and_then(Value::as_array);
    let mut rows = vec![COLUMNS.map(|(title, _)| title.to_owned())];
    for member in members.into_iter().flatten() {
        let mut row = COLUMNS.map(|(_, key)| text_of(member.get(key)));
        if let [name, _, _, linked, ..] = &mut row
            && *name == own
        {
            name.push('*');
            "-".clone_into(linked);
        }
        rows.push(row);
    }
    let mut widths = [0; COLUMNS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_a_table_with_this_node_marked() {
        let answer = json!({"self": "a", "nodes": [
            {"name": "a", "state": "up", "linked": false, "owned_shards": 2048, "incarnation": 3,
             "since": "2026-11-20T09:05:01.000Z", "link": "10.0.0.1:5001"},
            {"name": "bus-depot", "state": "suspect", "linked": true, "owned_shards": 2048,
             "incarnation": 12, "since": "2026-11-20T09:05:02.000Z", "link": null},
        ]});
        let mut out = Vec::new();
        write_table(&mut out, &answer).unwrap();
        let expected = "\
NAME       STATE    LINK           LINKED  SHARDS  START  SINCE
a*         up       10.0.0.1:5001  -       2048    3      2026-11-20T09:05:01.000Z
bus-depot  suspect  -              yes     2048    12     2026-11-20T09:05:02.000Z
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_change_is_a_line_for_people_and_an_object_for_programs() {
        let data = json!({"node": "b", "reason": "silent", "at": "2026-11-20T09:05:01.000Z"});
        let mut out = Vec::new();
        write_change(&mut out, "node-down", data.clone(), false).unwrap();
        write_change(&mut out, "node-down", data, true).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (line, object) = text.split_once('\n').unwrap();
        assert_eq!(line, "2026-11-20T09:05:01.000Z  node-down  b  silent");
        let object: Value = serde_json::from_str(object).unwrap();
        assert_eq!(object["event"], "node-down");
    }
}
