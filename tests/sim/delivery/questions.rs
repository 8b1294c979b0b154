//! A question to any node while all goes on: what it gathers from the stores that it knows of and has a
//! link to is merged as it comes, in pieces, and gives each record once. Whatever was acknowledged and
//! is not in the answer must lie at a node that the answer names as missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use waymesh::{
    base::prng::Prng,
    delivery::merge::{Merge, Next, Order, first_copy},
    types::record::Record,
};

use super::{
    node::{Key, Node, number_of},
    world::record,
};

/// Asks one of `nodes` for everything.
pub(crate) fn ask_any(prng: &mut Prng, nodes: &BTreeMap<u64, Node>, acknowledged: &BTreeSet<Key>) {
    let Some(asked) = nodes.values().nth(prng.below(nodes.len() as u64) as usize) else {
        return;
    };
    // Who is known and has no link, or is dead, is missing; so is who is not known at all.
    let is_reached = |node: &&Node| node.id == asked.id || asked.links.contains_key(&node.id);
    let sources: Vec<&Node> = nodes.values().filter(is_reached).collect();
    let answer = merged(prng, &sources);
    let keys: Vec<Key> = answer.iter().map(key_of).collect();
    let distinct: BTreeSet<Key> = keys.iter().copied().collect();
    assert_eq!(distinct.len(), keys.len(), "a record is given twice");
    for (one, next) in answer.iter().zip(answer.iter().skip(1)) {
        assert!(one.key < next.key, "out of order");
    }
    let lies_at_a_source = |key: &&Key| sources.iter().any(|node| node.durable.contains(key));
    let held_back = acknowledged.difference(&distinct).find(lies_at_a_source);
    assert_eq!(held_back, None, "a store that was asked has it");
    if sources.len() == nodes.len() {
        let all: BTreeSet<Key> = nodes
            .values()
            .flat_map(|node| &node.durable)
            .copied()
            .collect();
        assert_eq!(distinct, all, "nobody is missing, and something is");
    }
}

/// What the sources have, given in pieces of any size as the merge wants them.
fn merged(prng: &mut Prng, sources: &[&Node]) -> Vec<Record> {
    let mut merge = Merge::new(Order::Key, sources.len());
    let mut lanes: Vec<VecDeque<Record>> = sources.iter().map(|node| lane(node)).collect();
    let (mut group, mut answer) = (Vec::new(), Vec::new());
    loop {
        match merge.next(&mut group) {
            Next::Group => answer.extend(first_copy(&mut group)),
            Next::Wants(number) => {
                let lane = &mut lanes[number];
                let n_records = (1 + prng.below(40) as usize).min(lane.len());
                if n_records == 0 {
                    merge.end(number);
                } else {
                    merge
                        .push(number, lane.drain(..n_records).collect())
                        .unwrap();
                }
            }
            Next::Over => return answer,
        }
    }
}

/// All that a store has, in the order of its index.
fn lane(node: &Node) -> VecDeque<Record> {
    let records = node.durable.iter();
    let records = records.map(|(vehicle, number)| record(&format!("bus-{vehicle}"), *number));
    let mut records: Vec<Record> = records.collect();
    records.sort_by(|one, other| one.key.cmp(&other.key));
    records.into()
}

fn key_of(record: &Record) -> Key {
    (number_of(record.key.vehicle.as_str()), record.key.time.0)
}
