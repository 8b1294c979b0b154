//! `waymesh ping`: how far away another node is, over the link to it.

use std::io::Write;

use clap::Args;

use super::ask::{AskError, NodeArgs, parse_node};

/// Arguments of `ping`.
#[derive(Debug, Clone, Args)]
pub struct PingArgs {
    /// Name of the other node
    #[arg(value_name = "NODE", value_parser = parse_node)]
    pub name: String,
    /// How many times, one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// Which node asks, and how to print
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Prints how long the way to a node and back takes: a line each time, and for more than one the
/// least, the mean and the most of them.
///
/// # Errors
/// When the node that is asked does not answer, or says that the other one is not known or does not
/// answer; what was printed before stands.
pub fn ping(args: &PingArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let client = args.node.client()?;
    let mut all_ms = Vec::new();
    for _ in 0..args.count {
        let rtt_ms = client.ping(&args.name)?;
        if args.node.json {
            let line = serde_json::json!({"node": args.name, "rtt_ms": rtt_ms});
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}  {rtt_ms:.3} ms", args.name)?;
        }
        out.flush()?;
        all_ms.push(rtt_ms);
    }
    if args.count > 1 && !args.node.json {
        writeln!(out, "{}", summary(&all_ms))?;
    }
    Ok(out.flush()?)
}

fn summary(all_ms: &[f64]) -> String {
    let least = all_ms.iter().copied().fold(f64::INFINITY, f64::min);
    let most = all_ms.iter().copied().fold(0.0, f64::max);
    let mean = all_ms.iter().sum::<f64>() / all_ms.len() as f64;
    format!(
        "{} times: least {least:.3}, mean {mean:.3}, most {most:.3} ms",
        all_ms.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_times_have_a_least_a_mean_and_a_most() {
        assert_eq!(
            summary(&[0.2, 0.1, 0.6]),
            "3 times: least 0.100, mean 0.300, most 0.600 ms"
        );
    }
}
