//! `waymesh where`: the last position of a vehicle in one line.

use std::{io::Write, time::Duration};

use clap::Args;

use super::{
    ask::{AskError, NodeArgs, check_whole, parse_vehicle},
    status::duration,
};
use crate::{
    base::time::wall_millis,
    client::{VehicleAnswerJson, vehicle_path},
    types::{ids::VehicleId, time::UnixMillis},
};

/// Arguments of `where`.
#[derive(Debug, Clone, Args)]
pub struct WhereArgs {
    /// Id of the vehicle, as its device gives it
    #[arg(value_parser = parse_vehicle)]
    pub vehicle: VehicleId,
    /// Which node, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Prints where a vehicle was last.
///
/// # Errors
/// When the node does not answer, never saw the vehicle, or `out` takes no more;
/// [`AskError::Missing`] behind an answer that is not whole.
pub fn locate(args: &WhereArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let client = args.node.client()?;
    let text = client.text(&vehicle_path(&args.vehicle))?;
    let answer = client.read_vehicle(&text)?;
    if args.node.json {
        writeln!(out, "{}", text.trim_end())?;
    } else {
        writeln!(out, "{}", sentence(&answer, UnixMillis(wall_millis())))?;
    }
    out.flush()?;
    check_whole(answer.missing)
}

fn sentence(answer: &VehicleAnswerJson, now: UnixMillis) -> String {
    let position = &answer.position;
    let mut parts = vec![
        position.time.clone(),
        format!("{:.5} {:.5}", position.lat, position.lon),
    ];
    if !position.valid {
        parts.push("not valid".to_owned());
    }
    parts.extend(
        position
            .speed_kmh
            .map(|speed_kmh| format!("{speed_kmh:.1} km/h")),
    );
    parts.extend(UnixMillis::parse(&position.time).map(|time| age(time, now)));
    parts.push(format!("owner {}", answer.owner));
    parts.extend(
        answer
            .connected_to
            .as_ref()
            .map(|node| format!("connected to {node}")),
    );
    if !answer.missing.is_empty() {
        parts.push(format!("missing {}", answer.missing.join(", ")));
    }
    parts.join("  ")
}

fn age(time: UnixMillis, now: UnixMillis) -> String {
    let passed = Duration::from_millis(now.0.abs_diff(time.0));
    if now < time {
        format!("{} ahead", duration(passed))
    } else {
        format!("{} ago", duration(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_when_where_how_fast_and_whose() {
        let text = r#"{"position":{"vehicle":"1","time":"2026-11-20T09:05:01.000Z","lat":59.4372,
            "lon":24.7535,"valid":false,"speed_kmh":42.5,"protocol":"wialon",
            "received":"2026-11-20T09:05:01.734Z"},"owner":"a","connected_to":"b","missing":["c"]}"#;
        let answer: VehicleAnswerJson = serde_json::from_str(text).unwrap();
        let now = UnixMillis::parse("2026-11-20T09:06:04Z").unwrap();
        assert_eq!(
            sentence(&answer, now),
            "2026-11-20T09:05:01.000Z  59.43720 24.75350  not valid  42.5 km/h  1 min 3 s ago  \
             owner a  connected to b  missing c"
        );
        let before = UnixMillis::parse("2026-11-20T09:05:00Z").unwrap();
        assert!(sentence(&answer, before).contains("1 s ahead"));
    }
}
