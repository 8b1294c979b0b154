//! `waymesh discovery`: why nodes find each other, or do not, and what can be ordered about it.

mod hints;

use std::io::Write;

use clap::{Args, Subcommand};

use self::hints::hints;
use super::{
    ask::{AskError, NodeArgs},
    status::duration,
    table::{Cell, Mood, write_table},
};
use crate::{
    client::{
        DiscoveryReportJson, MomentReportJson, PeerReportJson, PlaceReportJson, SenderReportJson,
    },
    config::Paint,
    types::dial::DialAddress,
};

/// Arguments of `discovery`.
#[derive(Debug, Clone, Args)]
pub struct DiscoveryArgs {
    /// What to do [default: show]
    #[command(subcommand)]
    pub action: Option<DiscoveryAction>,
    /// Which node, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What is done about discovery.
#[derive(Debug, Clone, Subcommand)]
pub enum DiscoveryAction {
    /// Show sockets, who was heard, what became of it, and what may be wrong
    Show,
    /// Stop the active search; the node still answers others and takes their links
    Pause,
    /// Search again
    Resume,
    /// Dial a node now, and remember it until the stop
    Dial {
        /// HOST or HOST:PORT of the other node's link port; the port is 5001 if left out
        #[arg(value_name = "ADDR", value_parser = parse_address)]
        address: DialAddress,
    },
}

fn parse_address(text: &str) -> Result<DialAddress, String> {
    DialAddress::parse(text)
        .ok_or_else(|| "an address is HOST, HOST:PORT or [IPv6]:PORT of a link port".to_owned())
}

/// Shows how discovery stands, or orders something about it.
///
/// # Errors
/// When the node does not answer or `out` takes no more.
pub fn discovery(args: &DiscoveryArgs, paint: Paint, out: &mut dyn Write) -> Result<(), AskError> {
    let client = args.node.client()?;
    let done = match args.action.as_ref().unwrap_or(&DiscoveryAction::Show) {
        DiscoveryAction::Show if args.node.json => client.text("/v1/discovery")?,
        DiscoveryAction::Show => {
            write_report(&client.discovery()?, paint, out)?;
            return Ok(out.flush()?);
        }
        DiscoveryAction::Pause => client.search(false)?,
        DiscoveryAction::Resume => client.search(true)?,
        DiscoveryAction::Dial { address } => client.dial(&address.to_string())?,
    };
    match &args.action {
        _ if args.node.json => writeln!(out, "{}", done.trim_end())?,
        Some(DiscoveryAction::Pause) => writeln!(out, "the search is paused")?,
        Some(DiscoveryAction::Resume) => writeln!(out, "the search goes on")?,
        Some(DiscoveryAction::Dial { address }) => {
            writeln!(
                out,
                "dialling {address}; `waymesh discovery` shows what becomes of it"
            )?;
        }
        Some(DiscoveryAction::Show) | None => {}
    }
    Ok(out.flush()?)
}

fn write_report(
    report: &DiscoveryReportJson,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), AskError> {
    let phase = match report.phase.as_str() {
        "searching" => "searching: not all company that is wanted is linked",
        "resting" => "resting: a sign of life now and then",
        "paused" => "paused: only others can find this node",
        other => other,
    };
    writeln!(out, "{}", Cell::from(phase).padded(0, paint))?;
    if !report.places.is_empty() {
        let head = [
            "INTERFACE",
            "BY",
            "STATE",
            "ADDRESS",
            "TO",
            "OWN HEARD",
            "OTHERS HEARD",
            "SENT",
            "RECEIVED",
            "REOPENED",
            "TROUBLE",
        ];
        let rows: Vec<_> = report.places.iter().map(place).collect();
        writeln!(out)?;
        write_table(out, paint, head, &rows)?;
    }
    if !report.senders.is_empty() {
        let rows: Vec<_> = report.senders.iter().map(sender).collect();
        writeln!(out)?;
        write_table(out, paint, ["SENDER", "NAME", "HEARD", "VERDICT"], &rows)?;
    }
    if !report.peers.is_empty() {
        let rows: Vec<_> = report.peers.iter().map(peer).collect();
        writeln!(out)?;
        write_table(out, paint, ["PEER", "NODE", "VERDICT"], &rows)?;
    }
    let hints = hints(report);
    if !hints.is_empty() {
        writeln!(out)?;
    }
    for hint in hints {
        let word = Cell::new("hint:", Mood::Odd).padded(0, paint);
        writeln!(out, "{word} {}", Cell::from(hint).padded(0, paint))?;
    }
    Ok(())
}

fn place(place: &PlaceReportJson) -> [Cell; 11] {
    let mood = match place.state.as_str() {
        "open" => Mood::Good,
        "reopening" => Mood::Odd,
        _ => Mood::Bad,
    };
    [
        place.interface.as_str().into(),
        place.transport.as_str().into(),
        Cell::new(&place.state, mood),
        place.address.as_str().into(),
        place.to.as_str().into(),
        ago(place.own_heard.as_ref()).into(),
        ago(place.others_heard.as_ref()).into(),
        place.sent.to_string().into(),
        place.received.to_string().into(),
        place.reopens.to_string().into(),
        place.trouble.as_ref().into(),
    ]
}

fn sender(sender: &SenderReportJson) -> [Cell; 4] {
    [
        sender.address.as_str().into(),
        sender.name.as_ref().into(),
        ago(Some(&sender.heard)).into(),
        verdict(&sender.verdict),
    ]
}

fn peer(peer: &PeerReportJson) -> [Cell; 3] {
    [
        peer.address.as_str().into(),
        peer.node.as_ref().into(),
        verdict(&peer.verdict),
    ]
}

fn verdict(verdict: &str) -> Cell {
    let mood = match verdict {
        "linked" | "member" => Mood::Good,
        "dialling" | "not matching" => Mood::Odd,
        _ => Mood::Bad,
    };
    Cell::new(verdict, mood)
}

fn ago(moment: Option<&MomentReportJson>) -> String {
    match moment.map(|moment| moment.ago_ms) {
        None => "never".to_owned(),
        Some(ms @ ..10_000) => format!("{}.{} s ago", ms / 1_000, ms % 1_000 / 100),
        Some(ms) => format!("{} ago", duration(std::time::Duration::from_millis(ms))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"phase":"resting","places":[
        {"interface":"eth0","transport":"multicast","state":"open","address":"10.0.0.7",
         "to":"239.192.0.1:50337","own_heard":{"at":"2026-11-20T09:05:01.000Z","ago_ms":3210},
         "others_heard":{"at":"2026-11-20T09:05:01.000Z","ago_ms":75000},"reopens":1,"received":9,
         "sent":6,"unsent":0,"too_long":0},
        {"interface":"wlan0","transport":"multicast6","state":"closed","address":"fe80::1",
         "to":"[ff12::1]:50337","own_heard":null,"others_heard":null,"reopens":0,"received":0,"sent":0,
         "trouble":"No such device"}],
        "senders":[{"address":"10.0.0.8:50337","name":"be\u001bta",
          "heard":{"at":"2026-11-20T09:05:01.000Z","ago_ms":120},"verdict":"linked"}],
        "peers":[{"address":"gate-1:5001","verdict":"dialling"}]}"#;

    fn printed(report: &str, paint: Paint) -> String {
        let mut out = Vec::new();
        write_report(&serde_json::from_str(report).unwrap(), paint, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_report_shows_sockets_senders_and_peers() {
        let expected = "\
resting: a sign of life now and then

INTERFACE  BY          STATE   ADDRESS   TO                 OWN HEARD  OTHERS HEARD      SENT  RECEIVED  REOPENED  TROUBLE
eth0       multicast   open    10.0.0.7  239.192.0.1:50337  3.2 s ago  1 min 15 s ago  6     9         1         -
wlan0      multicast6  closed  fe80::1   [ff12::1]:50337    never      never           0     0         0         No such device

SENDER          NAME        HEARD      VERDICT
10.0.0.8:50337  be\\u{1b}ta  0.1 s ago  linked

PEER         NODE  VERDICT
gate-1:5001  -     dialling
";
        let expected = expected.replace("OTHERS HEARD      SENT", "OTHERS HEARD    SENT");
        assert_eq!(printed(REPORT, Paint::Plain), expected);
    }

    #[test]
    fn colours_say_what_is_well() {
        let text = printed(REPORT, Paint::Coloured);
        for part in [
            "\u{1b}[32mopen",
            "\u{1b}[31mclosed",
            "\u{1b}[32mlinked",
            "\u{1b}[33mdialling",
        ] {
            assert!(text.contains(part), "{text:?}");
        }
    }

    #[test]
    fn hints_come_last() {
        let alone = r#"{"phase":"paused","places":[],"senders":[],"peers":[]}"#;
        let text = printed(alone, Paint::Plain);
        assert!(text.contains("\n\nhint: the search is paused"), "{text}");
        assert!(text.contains("\nhint: no interface can carry"), "{text}");
    }
}
