//! Which node owns which vehicle: vehicle → shard → owner. Pure.
//!
//! A vehicle's shard follows from its id alone and never changes. A shard's owner is, of all storing
//! members, the one with the highest score for it (rendezvous hashing, Thaler and Ravishankar 1998),
//! so that every node which knows the same members finds the same owners without asking anybody, and
//! when a node comes or goes only its own shards move. Scores go by the node's name: whoever takes
//! over a name takes over its shards.
//!
//! Frozen, since all nodes of a cluster must agree:
//!
//! ```text
//! shard = the upper 12 bits of XXH3-64 (seed 0) of the vehicle's id
//! score = finish(XXH3-64 (seed 0) of the name  xor  (shard + 1) * 0x9e3779b97f4a7c15)
//! finish(x): x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27; x *= 0x94d049bb133111eb; x ^ x >> 31
//! ```
//!
//! Two members with the same score, which only equal names can have in practice: the lower id.

use xxhash_rust::xxh3::xxh3_64;

use super::NodeName;
use crate::types::ids::{NodeId, VehicleId};

/// Number of shards; so many that a few nodes get nearly equal parts, so few that a table of them
/// is small.
pub const N_SHARDS: usize = 4_096;

/// One of [`N_SHARDS`] parts of all vehicles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u16);

impl ShardId {
    /// The shard of a vehicle.
    pub fn of(vehicle: &VehicleId) -> Self {
        Self((xxh3_64(vehicle.as_str().as_bytes()) >> 52) as u16)
    }

    /// Its number, below [`N_SHARDS`].
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The owners of all shards at one view of the storing members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    /// In order of their names.
    members: Vec<(NodeName, NodeId)>,
    /// By number of the shard the owner's position among the members; empty without any.
    owners: Vec<u16>,
}

impl ShardMap {
    /// The owners where `members` store; one that is named twice counts once.
    ///
    /// # Panics
    /// With more than 65,536 members, which is far over the cap of a cluster.
    pub fn new(members: impl IntoIterator<Item = (NodeName, NodeId)>) -> Self {
        let nobody = Self {
            members: Vec::new(),
            owners: Vec::new(),
        };
        nobody.followed_by(members)
    }

    /// The same as [`new`](Self::new), found with less work from the map before it: where few came and
    /// went, few scores are to be compared.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn followed_by(&self, members: impl IntoIterator<Item = (NodeName, NodeId)>) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort();
        members.dedup();
        assert!(members.len() <= 1 << 16, "a cluster has far fewer members");
        let candidates: Vec<Candidate> = (0..=u16::MAX)
            .zip(&members)
            .map(|(member, (name, _))| Candidate {
                member,
                key: xxh3_64(name.as_str().as_bytes()),
            })
            .collect();
        let is_new = |candidate: &&Candidate| {
            let member = members.get(usize::from(candidate.member));
            member.is_some_and(|member| self.members.binary_search(member).is_err())
        };
        let newcomers: Vec<Candidate> = candidates.iter().filter(is_new).copied().collect();
        // The members of before, where they stand now.
        let stayed = self.members.iter().map(|member| {
            let at = members.binary_search(member).ok()?;
            candidates.get(at).copied()
        });
        let stayed: Vec<Option<Candidate>> = stayed.collect();
        let owner = |shard: usize| {
            let before = self.owners.get(shard);
            let kept = before.and_then(|before| *stayed.get(usize::from(*before))?);
            match kept {
                Some(kept) if newcomers.is_empty() => Some(kept),
                Some(kept) => best_of(shard, newcomers.iter().chain([&kept])),
                None => best_of(shard, &candidates),
            }
        };
        let mut owners = Vec::with_capacity(N_SHARDS);
        owners.extend((0..N_SHARDS).filter_map(|shard| Some(owner(shard)?.member)));
        Self { members, owners }
    }

    /// The owner of a shard; none where nobody stores.
    pub fn owner(&self, shard: ShardId) -> Option<NodeId> {
        let owner = self.owners.get(usize::from(shard.0))?;
        Some(self.members.get(usize::from(*owner))?.1)
    }

    /// How many shards a node owns.
    pub fn n_owned(&self, node: NodeId) -> usize {
        let members = (0..=u16::MAX).zip(&self.members);
        let is_node = members.filter(|(_, (_, id))| *id == node);
        let n_owned = is_node.map(|(member, _)| {
            let owned = self.owners.iter().filter(|owner| **owner == member);
            owned.count()
        });
        n_owned.sum()
    }

    /// The storing members, in order of their names.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().map(|(_, id)| *id)
    }
}

/// Who may own a shard.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Position among the members.
    member: u16,
    /// Hash of its name.
    key: u64,
}

/// The one with the highest score; of equal ones the first by position. None only without any.
fn best_of<'a>(
    shard: usize,
    candidates: impl IntoIterator<Item = &'a Candidate>,
) -> Option<Candidate> {
    let offset = (shard as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let rank = |one: &&Candidate| (finish(one.key ^ offset), std::cmp::Reverse(one.member));
    candidates.into_iter().max_by_key(rank).copied()
}

/// The last step of SplitMix64 (Steele, Lea and Flood 2014): every bit of `x` reaches every other.
const fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u64) -> (NodeName, NodeId) {
        let name = NodeName::parse(&format!("node-{number}")).unwrap();
        (name, NodeId(number))
    }

    fn map(numbers: impl IntoIterator<Item = u64>) -> ShardMap {
        ShardMap::new(numbers.into_iter().map(member))
    }

    fn shards() -> impl Iterator<Item = ShardId> {
        (0..N_SHARDS as u16).map(ShardId)
    }

    #[test]
    fn the_shard_of_a_vehicle_and_the_owner_of_a_shard_are_frozen() {
        let vehicle = |id: &str| VehicleId::parse(id.as_bytes()).unwrap();
        let shards = ["353976013445485", "bus-17", "x"].map(|id| ShardId::of(&vehicle(id)).0);
        assert_eq!(shards, [3975, 968, 3759]);
        let owners: Vec<u64> = (0..12)
            .map(|shard| map(1..=5).owner(ShardId(shard)).unwrap().0)
            .collect();
        assert_eq!(owners, [5, 2, 1, 2, 5, 2, 4, 2, 1, 1, 2, 3]);
    }

    #[test]
    fn every_order_of_the_members_gives_the_same_owners() {
        assert_eq!(map([1, 2, 3]), map([3, 1, 2, 2]));
    }

    #[test]
    fn without_members_there_is_no_owner() {
        let empty = map([]);
        assert_eq!(empty.owner(ShardId(0)), None);
    }

    #[test]
    fn members_get_nearly_equal_parts() {
        for n_members in 1..=20_u64 {
            let map = map(1..=n_members);
            let fair = N_SHARDS as f64 / n_members as f64;
            for member in 1..=n_members {
                let owned = map.n_owned(NodeId(member)) as f64;
                // Four times the deviation that chance has.
                assert!(
                    (owned - fair).abs() <= 4.0 * fair.sqrt(),
                    "{owned} of {fair}"
                );
            }
        }
    }

    #[test]
    fn only_the_shards_of_who_came_move_and_all_of_them_to_it() {
        for n_members in 1..=12_u64 {
            let (before, after) = (map(1..=n_members), map(1..=n_members + 1));
            let newcomer = NodeId(n_members + 1);
            let moved: Vec<_> = shards()
                .filter(|shard| before.owner(*shard) != after.owner(*shard))
                .collect();
            assert!(
                moved
                    .iter()
                    .all(|shard| after.owner(*shard) == Some(newcomer))
            );
            assert_eq!(moved.len(), after.n_owned(newcomer));
        }
    }

    #[test]
    fn a_map_that_follows_another_is_the_one_of_its_members() {
        let mut prng = crate::base::prng::Prng::new(7);
        let mut known = map([]);
        for _ in 0..200 {
            let numbers: Vec<u64> = (0..12).filter(|_| prng.below(3) > 0).collect();
            // Two may have one name for a moment.
            let twin = (member(prng.below(12)).0, NodeId(prng.below(40)));
            let members = numbers.into_iter().map(member).chain([twin]);
            let members: Vec<_> = members.take(prng.below(14) as usize).collect();
            known = known.followed_by(members.clone());
            assert_eq!(known, ShardMap::new(members));
        }
    }

    #[test]
    fn who_takes_over_a_name_takes_over_its_shards() {
        let before = map([1, 2, 3]);
        let heir = (member(2).0, NodeId(77));
        let after = ShardMap::new([member(1), heir, member(3)]);
        assert_eq!(before.n_owned(NodeId(2)), after.n_owned(NodeId(77)));
    }
}
