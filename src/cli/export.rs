//! `waymesh export`: every stored record, one JSON object a line.

use std::io::{BufRead as _, Write};

use clap::{Args, ValueEnum};

use super::ask::{AskError, NodeArgs, check_whole, parse_time, parse_vehicle};
use crate::{
    client::{ExportFilter, TimeRange},
    types::{ids::VehicleId, record::Kind, time::UnixMillis},
};

/// Arguments of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Only records at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<UnixMillis>,
    /// Only records before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<UnixMillis>,
    /// Only records of this vehicle
    #[arg(long, value_name = "ID", value_parser = parse_vehicle)]
    pub vehicle: Option<VehicleId>,
    /// Which records
    #[arg(long, value_enum, default_value = "position")]
    pub kind: KindArg,
    /// Export what is there while storing nodes are away: they are named, and the exit code is 3
    #[arg(long)]
    pub partial: bool,
    /// Which node; the output is JSON with and without --json
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Kind of record as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Readings with a fix
    Position,
    /// Reports without a fix
    Event,
}

/// Copies an export to `out`. Lines that were written before an error are whole and stand.
///
/// # Errors
/// When the node does not answer, storing nodes are missing and that was not allowed, the export breaks
/// off, or `out` takes no more; [`AskError::Missing`] behind one that is not whole.
pub fn export(args: &ExportArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let filter = ExportFilter {
        range: TimeRange {
            from: args.from,
            to: args.to,
        },
        vehicle: args.vehicle.clone(),
        kind: Some(match args.kind {
            KindArg::Position => Kind::Position,
            KindArg::Event => Kind::Event,
        }),
        is_partial: args.partial,
    };
    let mut lines = args.node.client()?.export(&filter)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let n_bytes = lines
            .read_until(b'\n', &mut line)
            .map_err(AskError::BrokeOff)?;
        if n_bytes == 0 {
            out.flush()?;
            return check_whole(lines.missing().iter().cloned());
        }
        out.write_all(&line)?;
    }
}
