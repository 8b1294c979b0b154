//! What a node says of itself at a moment, and whether its own books balance.

use std::{collections::BTreeMap, io, time::Duration};

use serde::Serialize;
use waymesh::{
    base::time::Instant,
    client::{Client, MembersJson},
};

/// How long nodes may take until nothing is on its way any more and all see the same.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often they are asked.
const LOOK: Duration = Duration::from_millis(50);

/// Counters of a node, of its present life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sample {
    pub(crate) connections: u64,
    pub(crate) lines_received: u64,
    pub(crate) positions_accepted: u64,
    pub(crate) positions_stored: u64,
    pub(crate) positions_duplicate: u64,
    pub(crate) positions_expired: u64,
    pub(crate) positions_refused: u64,
    pub(crate) positions_in_flight: u64,
    /// Taken in over links, repeats too.
    pub(crate) forwarded_in: u64,
    /// Acknowledged by other nodes.
    pub(crate) forwarded_out: u64,
    /// Records that went to another node after the one they were meant for did not take them.
    pub(crate) records_rerouted: u64,
    pub(crate) index_lag_records: u64,
    /// Of [`waymesh::cluster::proto::shard_map::N_SHARDS`].
    pub(crate) owned_shards: u32,
    /// Members that are up in its eyes, itself included.
    pub(crate) members_up: usize,
    /// Digest of the storing members.
    pub(crate) epoch: String,
}

/// What a node says of itself, or why it is not known.
pub(crate) type Asked = Result<Sample, String>;

impl Sample {
    /// Asks a node. Blocking; why nothing is known of it, if so.
    fn ask(client: &Client) -> Asked {
        let silent = |error| format!("a node does not answer: {error}");
        let members = client.members().map_err(silent)?;
        let metrics = client.text("/metrics").map_err(silent)?;
        Self::read(&metrics, &members)
    }

    /// Fails on a metric that is missing: each of them is there from the start of a node.
    fn read(metrics: &str, members: &MembersJson) -> Asked {
        let samples = metrics.lines().filter(|line| !line.starts_with('#'));
        let samples: BTreeMap<&str, u64> = samples
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name, value.parse().ok()?))
            })
            .collect();
        let missing = |name: &str| format!("a node does not say its {name}");
        let one = |name: &str| samples.get(name).copied().ok_or_else(|| missing(name));
        let sum = |head: &str| {
            let labelled = samples.iter().filter(|(name, _)| name.starts_with(head));
            let values: Vec<u64> = labelled.map(|(_, value)| *value).collect();
            let some = (!values.is_empty()).then_some(values);
            let values = some.ok_or_else(|| missing(head))?;
            Ok::<u64, String>(values.iter().sum())
        };
        let mut nodes = members.nodes.iter();
        let own = nodes.find(|node| node.name == members.self_name);
        let is_up = |node: &&waymesh::client::MemberJson| node.state == "up";
        Ok(Self {
            connections: one("waymesh_connections")?,
            lines_received: one("waymesh_lines_received_total")?,
            positions_accepted: one("waymesh_positions_accepted_total")?,
            positions_stored: one("waymesh_positions_stored_total")?,
            positions_duplicate: one("waymesh_positions_duplicate_total")?,
            positions_expired: one("waymesh_positions_expired_total")?,
            positions_refused: sum("waymesh_positions_refused_total{")?,
            positions_in_flight: one("waymesh_positions_in_flight")?,
            forwarded_in: one("waymesh_forwarded_total{direction=\"in\"}")?,
            forwarded_out: one("waymesh_forwarded_total{direction=\"out\"}")?,
            records_rerouted: one("waymesh_records_rerouted_total")?,
            index_lag_records: one("waymesh_index_lag_records")?,
            owned_shards: own.map_or(0, |own| own.owned_shards),
            members_up: members.nodes.iter().filter(is_up).count(),
            epoch: members.epoch.clone(),
        })
    }

    /// Whether each position that was decoded here or came over a link has one outcome.
    pub(crate) const fn is_balanced(&self) -> bool {
        let ends = self.positions_stored + self.positions_duplicate + self.positions_expired;
        let beyond = self.forwarded_out + self.positions_refused + self.positions_in_flight;
        self.positions_accepted + self.forwarded_in == ends + beyond
    }

    const fn is_at_rest(&self) -> bool {
        self.positions_in_flight == 0 && self.index_lag_records == 0
    }
}

/// Asks all nodes at once.
pub(crate) async fn ask_all(clients: &[Client]) -> Vec<Asked> {
    let asking: Vec<_> = clients
        .iter()
        .cloned()
        .map(|client| tokio::task::spawn_blocking(move || Sample::ask(&client)))
        .collect();
    let mut samples = Vec::new();
    for asked in asking {
        samples.push(asked.await.map_err(|error| error.to_string()).flatten());
    }
    samples
}

/// Waits until nothing is on its way in any node and all see the same; what they say then.
///
/// # Errors
/// Says what was still not so after 20 s.
pub(crate) async fn settled(clients: &[Client]) -> io::Result<Vec<Sample>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let samples = ask_all(clients).await;
        match unrest(&samples) {
            None => return Ok(samples.into_iter().flatten().collect()),
            Some(why) if Instant::now() > deadline => {
                return Err(io::Error::other(format!("after 20 s {why}")));
            }
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// What is not at rest yet.
fn unrest(samples: &[Asked]) -> Option<String> {
    let n_nodes = samples.len();
    let known: Result<Vec<&Sample>, &String> = samples.iter().map(Asked::as_ref).collect();
    let known = match known {
        Ok(known) => known,
        Err(why) => return Some(why.clone()),
    };
    if let Some(busy) = known.iter().find(|sample| !sample.is_at_rest()) {
        let (n, lag) = (busy.positions_in_flight, busy.index_lag_records);
        return Some(format!(
            "a node has {n} positions in flight and {lag} not in its index"
        ));
    }
    // A node that runs may have any company.
    if n_nodes == 1 {
        return None;
    }
    if known.iter().any(|sample| sample.members_up != n_nodes) {
        return Some("a node does not see all others".to_owned());
    }
    let epochs: std::collections::BTreeSet<&str> =
        known.iter().map(|sample| sample.epoch.as_str()).collect();
    (epochs.len() > 1).then(|| "the nodes have different epochs".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# HELP x y\nwaymesh_connections 3\nwaymesh_lines_received_total 11\n\
        waymesh_positions_accepted_total 10\nwaymesh_positions_stored_total 6\n\
        waymesh_positions_duplicate_total 0\nwaymesh_positions_expired_total 0\n\
        waymesh_positions_in_flight 0\nwaymesh_index_lag_records 0\n\
        waymesh_forwarded_total{direction=\"in\"} 2\n\
        waymesh_forwarded_total{direction=\"out\"} 5\n\
        waymesh_records_rerouted_total 0\n\
        waymesh_positions_refused_total{reason=\"disk_full\"} 1\n\
        waymesh_positions_refused_total{reason=\"lost\"} 0\n";

    fn members() -> MembersJson {
        serde_json::from_value(serde_json::json!({
            "self": "a", "epoch": "1f", "nodes": [
                {"name": "a", "state": "up", "id": "1", "incarnation": 1, "since": "",
                 "owned_shards": 2000},
                {"name": "b", "state": "down", "id": "2", "incarnation": 1, "since": ""},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn what_a_node_says_is_read_and_balances() {
        let mut sample = Sample::read(METRICS, &members()).unwrap();
        assert_eq!((sample.connections, sample.positions_refused), (3, 1));
        assert_eq!((sample.owned_shards, sample.members_up), (2_000, 1));
        assert!(sample.is_balanced());
        sample.positions_stored -= 1;
        assert!(!sample.is_balanced());
    }

    #[test]
    fn a_metric_that_is_missing_is_not_taken_for_nothing() {
        for missing in METRICS.lines().skip(1) {
            let is_refused = missing.contains("refused");
            let lines = METRICS.lines().filter(|line| match is_refused {
                true => !line.contains("refused"),
                false => *line != missing,
            });
            let metrics: String = lines.flat_map(|line| [line, "\n"]).collect();
            let error = Sample::read(&metrics, &members()).unwrap_err();
            let name = missing.split([' ', '{']).next().unwrap();
            assert!(error.contains(name), "{missing}: {error}");
        }
    }

    #[test]
    fn nodes_are_at_rest_when_all_see_the_same() {
        let calm = Sample {
            members_up: 2,
            epoch: "1f".to_owned(),
            ..Sample::default()
        };
        let other = Sample {
            epoch: "2e".to_owned(),
            ..calm.clone()
        };
        let busy = Sample {
            positions_in_flight: 1,
            ..calm.clone()
        };
        let unrest = |samples: [Option<&Sample>; 2]| {
            unrest(&samples.map(|one| one.cloned().ok_or_else(|| "no answer".to_owned())))
        };
        assert_eq!(unrest([Some(&calm), Some(&calm)]), None);
        assert!(
            unrest([Some(&calm), Some(&other)])
                .unwrap()
                .contains("epochs")
        );
        assert!(
            unrest([Some(&calm), Some(&busy)])
                .unwrap()
                .contains("1 positions")
        );
        assert!(unrest([Some(&calm), None]).unwrap().contains("answer"));
    }
}
