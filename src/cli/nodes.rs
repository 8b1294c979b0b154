//! `waymesh nodes`: who belongs to the cluster, and who comes and goes.

use std::io::Write;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    ask::{AskError, NodeArgs},
    table::{Cell, Mood, write_table},
};
use crate::{
    client::{Client, ClientError, EventJson, MemberJson, MembersJson},
    config::Paint,
};

/// Arguments of `nodes`.
#[derive(Debug, Clone, Args)]
pub struct NodesArgs {
    /// Print who is there, then each change as it happens, until the node ends it
    #[arg(long)]
    pub follow: bool,
    /// Also nodes that connect_regex of the node that is asked does not mean
    #[arg(long)]
    pub all: bool,
    /// Which node, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Prints the members as the node that is asked sees them, or follows their changes.
///
/// # Errors
/// When the node does not answer, ends the stream, or `out` takes no more.
pub fn nodes(args: &NodesArgs, paint: Paint, out: &mut dyn Write) -> Result<(), AskError> {
    let client = args.node.client()?;
    if args.follow {
        return follow(&client, args, paint, out);
    }
    if args.node.json {
        writeln!(out, "{}", client.text("/v1/nodes")?.trim_end())?;
    } else {
        write_members(&client.members()?, args.all, paint, out)?;
    }
    Ok(out.flush()?)
}

/// How many members are in which state, and the epoch; for one line.
pub(super) fn summary(members: &MembersJson) -> String {
    let count = |state: &str| {
        members
            .nodes
            .iter()
            .filter(|node| node.state == state)
            .count()
    };
    let states = ["up", "suspect", "down", "left"].map(|state| (count(state), state));
    let counted = states.iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = counted
        .map(|(number, state)| format!("{number} {state}"))
        .collect();
    format!("{}; epoch {}", words.join(", "), members.epoch)
}

/// How many shards the asked node owns, and how evenly those that own any share them; for one line.
pub(super) fn shards(members: &MembersJson) -> String {
    let owned = members.nodes.iter().map(|node| node.owned_shards);
    let owners: Vec<u32> = owned.filter(|owned| *owned > 0).collect();
    let own = members
        .nodes
        .iter()
        .filter(|node| node.name == members.self_name && node.owned_shards > 0);
    let own: u32 = own.map(|node| node.owned_shards).sum();
    let all: u32 = owners.iter().sum();
    let percent = |owned: u32| f64::from(owned) * 100.0 / f64::from(all.max(1));
    let share = format!("{own} of {all} ({:.1} %)", percent(own));
    match (owners.iter().min(), owners.iter().max()) {
        (Some(least), Some(most)) if owners.len() > 1 => format!(
            "{share}; {} nodes own {:.1} to {:.1} % each",
            owners.len(),
            percent(*least),
            percent(*most)
        ),
        _ => share,
    }
}

fn write_members(
    members: &MembersJson,
    is_all: bool,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), AskError> {
    let is_shown = |node: &&MemberJson| is_all || node.matches;
    let shown = members.nodes.iter().filter(is_shown);
    let rows: Vec<_> = shown.map(|node| row(node, &members.self_name)).collect();
    let head = [
        "NAME", "STATE", "SINCE", "WAY", "SHARDS", "LINK", "HTTP", "START", "ID",
    ];
    write_table(out, paint, head, &rows)?;
    let n_hidden = members.nodes.len() - rows.len();
    if n_hidden > 0 {
        writeln!(
            out,
            "{n_hidden} more that connect_regex does not mean; --all shows them"
        )?;
    }
    Ok(())
}

fn row(node: &MemberJson, self_name: &str) -> [Cell; 9] {
    let is_self = node.name == self_name && node.state != "down";
    let state = match &node.reason {
        Some(reason) if *reason != node.state => format!("{} ({reason})", node.state),
        _ => node.state.clone(),
    };
    let way = match (is_self, node.linked, node.state.as_str()) {
        (true, ..) => "itself",
        (_, true, _) => "link",
        (_, _, "up" | "suspect") => "others",
        _ => "-",
    };
    [
        node.name.as_str().into(),
        Cell::new(&state, mood(&node.state)),
        node.since.as_str().into(),
        way.into(),
        node.owned_shards.to_string().into(),
        node.link.as_ref().into(),
        node.http.as_ref().into(),
        node.incarnation.to_string().into(),
        node.id.as_str().into(),
    ]
}

fn mood(state: &str) -> Mood {
    match state {
        "up" | "node-up" => Mood::Good,
        "suspect" | "lagged" => Mood::Odd,
        "down" | "node-down" => Mood::Bad,
        _ => Mood::Plain,
    }
}

/// Prints events until the stream ends, which the node alone does: then it stops, began its cluster
/// anew, or could not wait for this reader. Nothing is made up for what happens after that.
fn follow(
    client: &Client,
    args: &NodesArgs,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), AskError> {
    for event in client.events(args.all)? {
        let event = event?;
        if args.node.json {
            serde_json::to_writer(&mut *out, &EventLine::new(&event))?;
            writeln!(out)?;
        } else {
            write_event(&event, paint, out)?;
        }
        out.flush()?;
    }
    let cause = "the node ended it; start anew to see who is there now".to_owned();
    Err(ClientError::BrokeOff { cause }.into())
}

/// An event as one object.
#[derive(Debug, Serialize)]
struct EventLine<'a> {
    event: &'a str,
    #[serde(flatten)]
    data: &'a Map<String, Value>,
}

impl<'a> EventLine<'a> {
    const fn new(event: &'a EventJson) -> Self {
        Self {
            event: event.name.as_str(),
            data: &event.data,
        }
    }
}

fn write_event(event: &EventJson, paint: Paint, out: &mut dyn Write) -> Result<(), AskError> {
    let text = |name: &str| event.data.get(name).and_then(Value::as_str);
    let name = Cell::new(&event.name, mood(&event.name)).padded(9, paint);
    let at = Cell::from(text("at").unwrap_or("-")).padded(24, paint);
    let what = match event.name.as_str() {
        "node-up" | "node-down" => {
            let start = event.data.get("incarnation").and_then(Value::as_u64);
            format!(
                "{}  {}  id {} start {}",
                text("node").unwrap_or("-"),
                text("reason").unwrap_or("-"),
                text("id").unwrap_or("-"),
                start.unwrap_or(0),
            )
        }
        "epoch" => text("epoch").unwrap_or("-").to_owned(),
        _ => Value::Object(event.data.clone()).to_string(),
    };
    writeln!(out, "{at}  {name}  {}", Cell::from(what).padded(0, paint))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: &str = r#"{"self":"alpha","epoch":"000000000000001f","nodes":[
        {"name":"alpha","state":"up","id":"01","link":"10.0.0.7:5001","incarnation":3,"roles":["store"],
         "since":"2026-11-20T09:05:01.000Z","owned_shards":2050,"matches":true,"linked":false},
        {"name":"beta","state":"suspect","id":"02","link":"10.0.0.8:5001","http":"10.0.0.8:8080",
         "incarnation":1,"since":"2026-11-20T09:05:02.000Z","owned_shards":2046,"matches":true,
         "linked":true},
        {"name":"gamma","state":"down","reason":"silent","id":"03","incarnation":12,
         "since":"2026-11-20T09:05:03.000Z","matches":true},
        {"name":"delta","state":"up","id":"04","incarnation":1,"since":"2026-11-20T09:05:04.000Z",
         "matches":false}]}"#;

    fn members() -> MembersJson {
        serde_json::from_str(MEMBERS).unwrap()
    }

    fn printed(is_all: bool, paint: Paint) -> String {
        let mut out = Vec::new();
        write_members(&members(), is_all, paint, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_are_a_table() {
        let expected = "\
NAME   STATE          SINCE                     WAY     SHARDS  LINK           HTTP           START  ID
alpha  up             2026-11-20T09:05:01.000Z  itself  2050    10.0.0.7:5001  -              3      01
beta   suspect        2026-11-20T09:05:02.000Z  link    2046    10.0.0.8:5001  10.0.0.8:8080  1      02
gamma  down (silent)  2026-11-20T09:05:03.000Z  -       0       -              -              12     03
1 more that connect_regex does not mean; --all shows them
";
        assert_eq!(printed(false, Paint::Plain), expected);
        let all = printed(true, Paint::Plain);
        assert_eq!(all.lines().count(), 5);
        assert!(
            all.contains("delta  up             2026-11-20T09:05:04.000Z  others"),
            "{all}"
        );
    }

    #[test]
    fn states_are_coloured_on_a_terminal() {
        let text = printed(false, Paint::Coloured);
        for part in [
            "\u{1b}[32mup\u{1b}[0m",
            "\u{1b}[33msuspect",
            "\u{1b}[31mdown (silent)",
        ] {
            assert!(text.contains(part), "{text:?}");
        }
    }

    #[test]
    fn one_line_counts_the_members() {
        assert_eq!(
            summary(&members()),
            "2 up, 1 suspect, 1 down; epoch 000000000000001f"
        );
    }

    #[test]
    fn an_event_is_one_line() {
        let line = |name: &str, data: &str| {
            let (name, data) = (name.to_owned(), serde_json::from_str(data).unwrap());
            let mut out = Vec::new();
            write_event(&EventJson { name, data }, Paint::Plain, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let node = r#"{"node":"be\u001bta","id":"02","incarnation":4,"reason":"silent",
            "at":"2026-11-20T09:05:01.000Z"}"#;
        assert_eq!(
            line("node-down", node),
            "2026-11-20T09:05:01.000Z  node-down  be\\u{1b}ta  silent  id 02 start 4\n"
        );
        let epoch = r#"{"epoch":"2f","at":"2026-11-20T09:05:01.000Z"}"#;
        assert_eq!(
            line("epoch", epoch),
            "2026-11-20T09:05:01.000Z  epoch      2f\n"
        );
        assert!(line("lagged", r#"{"changes":3}"#).ends_with("{\"changes\":3}\n"));
    }
}
