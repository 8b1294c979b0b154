//! The table of members: merge by the greatest claim, a cap, and what goes when it is full.

use std::{cmp::Reverse, collections::BTreeMap, net::SocketAddr};

use crate::{base::time::Instant, types::ids::NodeId};

use super::{
    super::{
        card::{Incarnation, NodeCard, NodeName, RunNumber},
        events::DownReason,
        place::is_of_segment,
        view::{Digest, ViewDigest},
    },
    claim::{Claim, Record, Standing},
};

/// Other members by identity.
#[derive(Debug)]
pub(crate) struct Members {
    by_id: BTreeMap<NodeId, Member>,
    n_max: usize,
}

/// A member, and what only this node knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) record: Record,
    pub(crate) path: Path,
    /// When its claim or its path last changed.
    pub(crate) since: Instant,
    /// Whether its store takes records, by its own word over a link of our own.
    pub(crate) is_storing: bool,
    /// The run that subscribers were told is up.
    pub(crate) announced: Option<Announced>,
}

/// A run of a member, as subscribers were told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) run: RunNumber,
    pub(crate) incarnation: Incarnation,
    pub(crate) name: NodeName,
}

/// How this node is in touch with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// By a link of its own.
    Linked,
    /// A link was lost and is being dialled again; without one the member is dead at `silent_at`.
    Lost {
        silent_at: Instant,
        /// It was closed, so that a refused dial is enough.
        is_closed: bool,
    },
    /// Others say that it is up.
    Reported {
        /// Since when no neighbour has reported a way to it.
        pathless_since: Option<Instant>,
        /// A link of our own fell silent: without a way it is dead at once.
        is_doubted: bool,
    },
}

impl Path {
    /// No link, and nothing that speaks for one or against it.
    pub(crate) const NONE: Self = Self::Reported {
        pathless_since: None,
        is_doubted: false,
    };
}

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merged {
    /// Nothing that was not known.
    Known,
    /// The claim counts from now on.
    Changed,
    /// Where it takes links was not known before, or not in words that mean something to others;
    /// nothing else is new.
    Located,
    /// A new member, for which there is no room.
    Full,
}

impl Member {
    /// Takes over where it takes links if that means something to more nodes than what was known.
    pub(crate) fn locate(&mut self, address: Option<SocketAddr>) -> Merged {
        if audience(address) <= audience(self.record.link) {
            return Merged::Known;
        }
        self.record.link = address;
        Merged::Located
    }
}

/// To whom an address means something: nobody, a segment of the network, this host, or all.
fn audience(address: Option<SocketAddr>) -> u8 {
    match address {
        None => 0,
        Some(address) if is_of_segment(&address) => 1,
        Some(address) if address.ip().to_canonical().is_loopback() => 2,
        Some(_) => 3,
    }
}

impl Members {
    pub(crate) const fn new(n_max: usize) -> Self {
        Self {
            by_id: BTreeMap::new(),
            n_max,
        }
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Member> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Those that are up, as far as anybody says.
    pub(crate) fn n_up(&self) -> usize {
        self.iter().filter(|member| member.record.is_up()).count()
    }

    /// Whether a member that is not known yet would find room.
    pub(crate) fn has_room_for(&self, id: NodeId) -> bool {
        self.by_id.contains_key(&id) || self.by_id.len() < self.n_max || self.expendable().is_some()
    }

    /// Takes over what is said of a member, if it outranks what is known.
    pub(crate) fn merge(&mut self, now: Instant, record: Record) -> Merged {
        if let Some(member) = self.by_id.get_mut(&record.id) {
            if record.claim == member.record.claim {
                return member.locate(record.link);
            }
            if record.claim <= member.record.claim {
                return Merged::Known;
            }
            if member.record.is_up() != record.is_up() || member.record.run() != record.run() {
                member.since = now;
            }
            let link = record.link.or(member.record.link);
            member.record = Record { link, ..record };
            return Merged::Changed;
        }
        if record.claim.standing == Standing::Forgotten {
            return Merged::Known;
        }
        if !self.make_room(record.is_up()) {
            return Merged::Full;
        }
        let member = Member {
            path: Path::Reported {
                pathless_since: Some(now),
                is_doubted: false,
            },
            since: now,
            is_storing: false,
            announced: None,
            record,
        };
        self.by_id.insert(member.record.id, member);
        Merged::Changed
    }

    /// Takes over what a node says of itself in its hello, which outranks what others say of that
    /// run. Whatever is known of another run that counts more is marked as down: the node hears of
    /// it and raises its own claim. Gives whether anything is new to others.
    pub(crate) fn meet(&mut self, now: Instant, card: &NodeCard, link: SocketAddr) -> bool {
        let claim = Claim {
            incarnation: card.incarnation,
            refutation: 0,
            standing: Standing::Up,
            run: Reverse(card.run),
        };
        let record = Record {
            id: card.id,
            name: card.name.clone(),
            claim,
            reason: DownReason::Closed,
            roles: card.roles,
            link: Some(link),
            http: card.http,
        };
        let merged = self.merge(now, record);
        let Some(member) = self.by_id.get_mut(&card.id) else {
            return false;
        };
        let known = &mut member.record;
        let is_other_run = known.run() != card.run;
        if is_other_run && known.is_up() {
            known.claim.standing = Standing::Down;
            known.reason = DownReason::Restarted;
        }
        let is_moved = known.link != Some(link) || known.http != card.http;
        known.name.clone_from(&card.name);
        known.roles = card.roles;
        known.link = Some(link);
        known.http = card.http;
        merged == Merged::Changed || is_other_run || is_moved
    }

    /// Digest of the members that are up, this node included if it is.
    pub(crate) fn digest(&self, own: &Record) -> ViewDigest {
        let mut digest = Digest::of("waymesh view v1");
        let mut add = |record: &Record| {
            if record.is_up() {
                digest.number(record.id.0);
                digest.number(record.claim.incarnation.0);
                digest.number(u64::from(record.claim.refutation));
            }
        };
        let (lower, higher) = (..own.id, own.id..);
        let before = self.by_id.range(lower);
        before.for_each(|(_, member)| add(&member.record));
        add(own);
        let after = self.by_id.range(higher);
        after.for_each(|(_, member)| add(&member.record));
        ViewDigest(digest.finish())
    }

    /// Makes room for one more; one that is up may push out one that is away.
    fn make_room(&mut self, is_up: bool) -> bool {
        if self.by_id.len() < self.n_max {
            return true;
        }
        let expendable = self.expendable().filter(|_| is_up);
        expendable.is_some_and(|id| self.by_id.remove(&id).is_some())
    }

    /// The member that is missed least: forgotten before left, left before down, those that store
    /// last, and among equals the one away longest.
    fn expendable(&self) -> Option<NodeId> {
        let away = self.iter().filter(|member| {
            !member.record.is_up() && member.path != Path::Linked && member.announced.is_none()
        });
        let worth = |member: &&Member| {
            let standing = Reverse(member.record.claim.standing);
            (member.record.roles.is_store, standing, member.since)
        };
        away.min_by_key(worth).map(|member| member.record.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::proto::card::{NodeName, Roles};

    fn record(id: u64, incarnation: u64, standing: Standing) -> Record {
        Record {
            id: NodeId(id),
            name: NodeName::parse("n").unwrap(),
            claim: Claim {
                incarnation: Incarnation(incarnation),
                refutation: 0,
                standing,
                run: Reverse(RunNumber(1)),
            },
            reason: DownReason::Silent,
            roles: Roles {
                is_ingest: true,
                is_store: true,
            },
            link: None,
            http: None,
        }
    }

    const NOW: Instant = Instant::from_millis(5);

    #[test]
    fn full_means_that_the_one_away_longest_goes_and_no_living_one() {
        let mut members = Members::new(2);
        assert_eq!(
            members.merge(NOW, record(1, 1, Standing::Up)),
            Merged::Changed
        );
        assert_eq!(
            members.merge(NOW, record(2, 1, Standing::Down)),
            Merged::Changed
        );
        assert_eq!(
            members.merge(NOW, record(3, 1, Standing::Down)),
            Merged::Full
        );
        assert!(members.has_room_for(NodeId(3)));
        assert_eq!(
            members.merge(NOW, record(3, 1, Standing::Up)),
            Merged::Changed
        );
        assert!(members.get(NodeId(2)).is_none());
        assert_eq!(members.merge(NOW, record(4, 1, Standing::Up)), Merged::Full);
        assert!(!members.has_room_for(NodeId(4)) && members.has_room_for(NodeId(1)));
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn a_hello_outranks_a_run_that_counts_more() {
        let mut members = Members::new(2);
        members.merge(NOW, record(1, 9, Standing::Up));
        let card = NodeCard {
            id: NodeId(1),
            name: NodeName::parse("n").unwrap(),
            incarnation: Incarnation(3),
            run: RunNumber(2),
            roles: record(1, 1, Standing::Up).roles,
            link: "192.0.2.1:1".parse().unwrap(),
            http: None,
        };
        assert!(members.meet(NOW, &card, card.link));
        let known = &members.get(NodeId(1)).unwrap().record;
        assert_eq!(known.claim.standing, Standing::Down);
        assert_eq!(known.claim.incarnation, Incarnation(9));
    }

    proptest! {
        /// Whoever hears the same claims, in whatever order and how often, believes the same.
        #[test]
        fn the_order_of_claims_does_not_matter(
            claims in prop::collection::vec((1_u64..4, 1_u64..4, 0_u32..3, 0_usize..3), 1..20),
            seed in any::<u64>(),
        ) {
            let standings = [Standing::Up, Standing::Down, Standing::Left];
            let records: Vec<Record> = claims.iter().map(|(id, incarnation, refutation, at)| {
                let mut record = record(*id, *incarnation, standings[*at]);
                record.claim.refutation = *refutation;
                record
            }).collect();
            let heard = |records: &[Record]| {
                let mut members = Members::new(8);
                for record in records {
                    members.merge(NOW, record.clone());
                }
                let found: Vec<_> = members.iter().map(|member| member.record.claim).collect();
                (found, members.digest(&record(9, 1, Standing::Up)))
            };
            let mut other = records.clone();
            other.extend(records.iter().cloned());
            let mut prng = crate::base::prng::Prng::new(seed);
            for at in (1..other.len()).rev() {
                other.swap(at, usize::try_from(prng.below(at as u64 + 1)).unwrap());
            }
            prop_assert_eq!(heard(&records), heard(&other));
        }
    }
}
