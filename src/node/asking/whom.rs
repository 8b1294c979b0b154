//! Whom a question goes to, and who is missing. Pure: it must not know links or questions.

use std::collections::BTreeSet;

use crate::{cluster::proto::MemberView, types::ids::NodeId};

/// A member that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whom {
    /// Who.
    pub(super) id: NodeId,
    /// Its name, as it is named where it does not answer.
    pub(super) name: String,
    /// Whether it stores: then an answer without it is not whole.
    pub(super) is_store: bool,
}

/// All other members, sorted by whether they can be asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Those with a link.
    pub(super) linked: Vec<Whom>,
    /// Names of storing members without one, in order.
    pub(super) missing: Vec<String>,
}

/// Sorts the members by whether there is a link to them. One whose name belongs to another member too is
/// named with its identity.
pub(super) fn reach(members: &[MemberView], linked: &BTreeSet<NodeId>) -> Reach {
    let mut reach = Reach::default();
    for member in members.iter().filter(|member| !member.is_self) {
        let has_name = |other: &MemberView| other.id != member.id && other.name == member.name;
        let is_taken = members.iter().any(has_name);
        let name = if is_taken {
            format!("{}/{}", member.name, member.id)
        } else {
            member.name.to_string()
        };
        let is_store = member.roles.is_store;
        if linked.contains(&member.id) {
            reach.linked.push(Whom {
                id: member.id,
                name,
                is_store,
            });
        } else if is_store {
            reach.missing.push(name);
        }
    }
    reach.missing.sort();
    reach
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::time::Instant,
        cluster::proto::{Incarnation, MemberState, NodeName, Roles, RunNumber},
    };

    fn member(id: u64, name: &str, state: MemberState) -> MemberView {
        MemberView {
            id: NodeId(id),
            name: NodeName::parse(name).unwrap(),
            incarnation: Incarnation(1),
            run: RunNumber(1),
            roles: Roles {
                is_ingest: true,
                is_store: true,
            },
            link: None,
            http: None,
            state,
            reason: None,
            since: Instant::from_millis(0),
            is_self: id == 1,
            matches: true,
            linked: None,
            way: None,
        }
    }

    #[test]
    fn who_stores_and_has_no_link_is_missing_however_it_stands() {
        let mut relay = member(6, "relay", MemberState::Down);
        relay.roles.is_store = false;
        let mut gate = member(7, "gate", MemberState::Up);
        gate.roles.is_store = false;
        let members = [
            member(1, "own", MemberState::Up),
            member(2, "up", MemberState::Up),
            member(3, "suspect", MemberState::Suspect),
            member(4, "down", MemberState::Down),
            member(5, "left", MemberState::Left),
            relay,
            gate,
        ];
        let linked = BTreeSet::from([2, 7].map(NodeId));
        let reach = reach(&members, &linked);
        let names: Vec<_> = reach
            .linked
            .iter()
            .map(|whom| (whom.name.as_str(), whom.is_store))
            .collect();
        assert_eq!(names, [("up", true), ("gate", false)]);
        assert_eq!(reach.missing, ["down", "left", "suspect"]);
    }

    #[test]
    fn a_member_whose_name_another_id_has_is_named_with_its_own() {
        let members = [
            member(1, "own", MemberState::Up),
            member(2, "own", MemberState::Down),
            member(0xab, "b", MemberState::Down),
            member(4, "b", MemberState::Up),
        ];
        let reach = reach(&members, &BTreeSet::from([NodeId(4)]));
        assert_eq!(
            reach.missing,
            ["b/00000000000000ab", "own/0000000000000002"]
        );
        assert_eq!(reach.linked[0].id, NodeId(4));
    }
}
