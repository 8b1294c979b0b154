//! What is said of a member, and which of two claims counts.

use std::{cmp::Reverse, net::SocketAddr};

use crate::{cluster::proto::events::DownReason, types::ids::NodeId};

use super::super::card::{Incarnation, NodeName, Roles, RunNumber};

/// Where a member stands, as it travels. Of two claims that are alike otherwise the later in this
/// order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Standing {
    Up,
    Down,
    Left,
    Forgotten,
}

/// What is said of a member. The greatest counts, so that it does not matter in which order claims
/// arrive, how often, or over whom: all who have merged the same claims believe the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    /// A later start outranks everything said of an earlier one.
    pub(crate) incarnation: Incarnation,
    /// Raised by the member itself when it hears that it is away and is not.
    pub(crate) refutation: u32,
    pub(crate) standing: Standing,
    /// Two runs that say they are the same start (a copied data folder): the lower number counts.
    pub(crate) run: Reverse<RunNumber>,
}

/// A member as it travels from node to node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) claim: Claim,
    /// Why it is away; without meaning while it is up.
    pub(crate) reason: DownReason,
    pub(crate) roles: Roles,
    /// Where it takes links, as far as the one who says this knows.
    pub(crate) link: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
}

impl Record {
    pub(crate) const fn run(&self) -> RunNumber {
        self.claim.run.0
    }

    pub(crate) fn is_up(&self) -> bool {
        self.claim.standing == Standing::Up
    }
}

/// Who claims a name, or an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claimant {
    pub(crate) is_settled: bool,
    pub(crate) id: NodeId,
    pub(crate) run: RunNumber,
}

impl Claimant {
    /// Whether it keeps the name against `other`: who is settled against who is not; of two that are
    /// alike in this the lower id; of one id the lower run.
    pub(crate) fn keeps_against(&self, other: &Self) -> bool {
        let rank = |one: &Self| (!one.is_settled, one.id, one.run);
        rank(self) <= rank(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(incarnation: u64, refutation: u32, standing: Standing) -> Claim {
        Claim {
            incarnation: Incarnation(incarnation),
            refutation,
            standing,
            run: Reverse(RunNumber(0)),
        }
    }

    #[test]
    fn incarnation_then_refutation_then_standing_decide() {
        use Standing::{Down, Forgotten, Left, Up};
        let rising = [
            claim(1, 0, Up),
            claim(1, 0, Down),
            claim(1, 0, Left),
            claim(1, 0, Forgotten),
            claim(1, 1, Up),
            claim(1, 1, Down),
            claim(1, 2, Up),
            claim(2, 0, Up),
            claim(2, 0, Down),
        ];
        assert!(rising.is_sorted_by(|one, other| one < other));
        let run = |run| Claim {
            run: Reverse(RunNumber(run)),
            ..claim(1, 0, Up)
        };
        assert!(run(3) > run(4));
    }

    #[test]
    fn a_holder_keeps_its_name_and_of_equals_the_lower_does() {
        let claimant = |is_settled, id, run| Claimant {
            is_settled,
            id: NodeId(id),
            run: RunNumber(run),
        };
        let keeps = |one: Claimant, other: Claimant| {
            assert!(one.keeps_against(&other) && !other.keeps_against(&one));
        };
        keeps(claimant(true, 9, 9), claimant(false, 1, 1));
        keeps(claimant(true, 1, 9), claimant(true, 2, 1));
        keeps(claimant(false, 1, 9), claimant(false, 2, 1));
        keeps(claimant(true, 1, 1), claimant(true, 1, 2));
    }
}
