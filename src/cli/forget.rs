//! `waymesh forget`: strikes off a member that is away for good.

use std::io::Write;

use clap::Args;

use super::ask::{AskError, NodeArgs, parse_node};

/// Arguments of `forget`.
#[derive(Debug, Clone, Args)]
pub struct ForgetArgs {
    /// Name or id (16 hex digits) of a node that is down or left
    #[arg(value_name = "NAME|ID", value_parser = parse_node)]
    pub whom: String,
    /// Which node is told, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Tells a node, and by it the cluster, that a member does not come back.
///
/// # Errors
/// When the node does not answer, knows nobody of that name, or the member is not away.
pub fn forget(args: &ForgetArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let answer = args.node.client()?.forget(&args.whom)?;
    if args.node.json {
        writeln!(out, "{}", answer.trim_end())?;
    } else {
        writeln!(out, "forgot {}", args.whom)?;
    }
    Ok(out.flush()?)
}
