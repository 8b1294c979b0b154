//! `waymesh track`: the positions of a vehicle in order of time.

use std::io::Write;

use clap::Args;

use super::ask::{AskError, NodeArgs, check_whole, parse_time, parse_vehicle};
use crate::{
    client::{PositionJson, TimeRange},
    types::{ids::VehicleId, time::UnixMillis},
};

/// Positions that are asked for at once.
const N_PAGE: usize = 1_000;

/// Arguments of `track`.
#[derive(Debug, Clone, Args)]
pub struct TrackArgs {
    /// Id of the vehicle, as its device gives it
    #[arg(value_parser = parse_vehicle)]
    pub vehicle: VehicleId,
    /// Only positions at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<UnixMillis>,
    /// Only positions before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<UnixMillis>,
    /// At most so many positions; all if left out
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Which node, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Prints a track as an aligned table, or with `--json` one object a line.
///
/// # Errors
/// When the node does not answer or `out` takes no more; what was printed before stands.
/// [`AskError::Missing`] behind an answer that is not whole; [`AskError::NoPosition`] where all times
/// are asked for and there is nothing.
pub fn track(args: &TrackArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let n_max = args.limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let range = TimeRange {
        from: args.from,
        to: args.to,
    };
    let client = args.node.client()?;
    let mut positions = client.track(&args.vehicle, range, n_max.min(N_PAGE));
    let mut is_empty = true;
    for position in positions.by_ref().take(n_max) {
        let position = position?;
        let is_first = std::mem::replace(&mut is_empty, false);
        if args.node.json {
            serde_json::to_writer(&mut *out, &position)?;
            writeln!(out)?;
            continue;
        }
        if is_first {
            writeln!(out, "{}", head())?;
        }
        writeln!(out, "{}", row(&position))?;
    }
    out.flush()?;
    check_whole(positions.missing().iter().cloned())?;
    let is_of_all_times = range.from.is_none() && range.to.is_none();
    if is_empty && is_of_all_times {
        return Err(AskError::NoPosition(args.vehicle.clone()));
    }
    Ok(())
}

fn head() -> String {
    format!(
        "{:24}  {:>10}  {:>11}  {:>6}  {:>6}  {:>7}  {:5}  {}",
        "TIME", "LAT", "LON", "KM/H", "COURSE", "ALT M", "VALID", "LATE"
    )
}

fn row(position: &PositionJson) -> String {
    let optional = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let yes = |is_so: bool| if is_so { "yes" } else { "no" };
    format!(
        "{:24}  {:>10.6}  {:>11.6}  {:>6}  {:>6}  {:>7}  {:5}  {}",
        position.time,
        position.lat,
        position.lon,
        optional(position.speed_kmh),
        optional(position.course_deg),
        optional(position.altitude_m),
        yes(position.valid),
        yes(position.late),
    )
}
