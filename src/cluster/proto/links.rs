//! The links of this node: whom they lead to, and what the neighbours at their other ends report: from
//! that follow the ways to other members ([`Links::way_to`]).

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::{base::time::Instant, types::ids::NodeId};

use super::{
    card::RunNumber,
    link_id::LinkId,
    timing::{DIGEST_PAIRS_MAX, HOPS_MAX, TABLES_AFTER_MOVING},
    view::ViewDigest,
};

/// A link that stands.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) peer: NodeId,
    pub(crate) run: RunNumber,
    /// The other end of the connection.
    pub(crate) observed: SocketAddr,
    /// Whether the other side's table came in: before that the node cannot be used.
    pub(crate) has_table: bool,
    pub(crate) is_quiet: bool,
    /// Which members the other side reaches, by how many links; in order of identity.
    pub(crate) hops: Vec<(NodeId, u8)>,
    /// The other side's view, as its heartbeats tell.
    pub(crate) digest: Option<ViewDigest>,
    /// How its view differs from ours.
    pub(crate) difference: Option<Difference>,
    /// Pairs of differing views for which our table was sent.
    pub(crate) exchanged: Vec<(ViewDigest, ViewDigest)>,
}

/// Two views that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Ours and theirs.
    pair: (ViewDigest, ViewDigest),
    /// Since when these two stand against each other.
    still_since: Instant,
    /// Since when any two have.
    since: Instant,
}

impl Difference {
    /// Tables are to be exchanged then, if nothing has moved for so long as `patience`.
    pub(crate) fn due_at(&self, patience: Duration) -> Instant {
        (self.still_since + patience).min(self.since + patience * TABLES_AFTER_MOVING)
    }
}

impl Link {
    /// Compares the other side's view with ours, which may be new.
    pub(crate) fn compare(&mut self, now: Instant, own: ViewDigest) {
        let pair = self.digest.map(|theirs| (own, theirs));
        let pair = pair.filter(|pair| pair.0 != pair.1 && !self.exchanged.contains(pair));
        let before = self.difference;
        self.difference = pair.map(|pair| Difference {
            pair,
            still_since: before
                .filter(|before| before.pair == pair)
                .map_or(now, |before| before.still_since),
            since: before.map_or(now, |before| before.since),
        });
    }

    /// Whether tables are to be exchanged now; if so, they count as exchanged for these views.
    pub(crate) fn take_difference(&mut self, now: Instant, patience: Duration) -> bool {
        let due = self
            .difference
            .take_if(|difference| difference.due_at(patience) <= now);
        due.is_some_and(|difference| self.note_exchange(difference.pair))
    }

    pub(crate) fn hops_to(&self, id: NodeId) -> Option<u8> {
        let at = self.hops.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.hops.get(at).map(|(_, n_hops)| *n_hops)
    }

    /// Remembers that tables were exchanged for a pair of views; false if that was known.
    fn note_exchange(&mut self, pair: (ViewDigest, ViewDigest)) -> bool {
        if self.exchanged.contains(&pair) {
            return false;
        }
        if self.exchanged.len() >= DIGEST_PAIRS_MAX {
            self.exchanged.remove(0);
        }
        self.exchanged.push(pair);
        true
    }
}

/// All links of this node.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// By the node that they lead to, which is asked for most; each with the oldest number first, and none
    /// empty.
    by_peer: BTreeMap<NodeId, Vec<Link>>,
    peers: BTreeMap<LinkId, NodeId>,
    /// Another one whenever [`main`](Self::main) or [`is_usable`](Self::is_usable) may say something else.
    version: u64,
}

impl Links {
    /// Takes in a link; one of the same number is replaced.
    pub(crate) fn insert(&mut self, link: Link) {
        self.remove(link.id);
        self.version += 1;
        self.peers.insert(link.id, link.peer);
        let links = self.by_peer.entry(link.peer).or_default();
        let at = links.partition_point(|other| other.id < link.id);
        links.insert(at, link);
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let peer = self.peers.remove(&id)?;
        self.version += 1;
        let links = self.by_peer.get_mut(&peer)?;
        let at = links.iter().position(|link| link.id == id)?;
        let link = links.remove(at);
        if links.is_empty() {
            self.by_peer.remove(&peer);
        }
        Some(link)
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        let links = self.by_peer.get(self.peers.get(&id)?)?;
        links.iter().find(|link| link.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let links = self.by_peer.get_mut(self.peers.get(&id)?)?;
        links.iter_mut().find(|link| link.id == id)
    }

    /// All links, in order of the identities they lead to.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_peer.values().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.by_peer.values_mut().flatten()
    }

    /// The links to a node, oldest number first.
    pub(crate) fn to(&self, peer: NodeId) -> impl Iterator<Item = &Link> {
        self.by_peer.get(&peer).into_iter().flatten()
    }

    /// The link to a node that is used: the first that is not quiet, or else the first.
    pub(crate) fn main(&self, peer: NodeId) -> Option<&Link> {
        let mut lively = self.to(peer).filter(|link| !link.is_quiet);
        lively.next().or_else(|| self.to(peer).next())
    }

    /// Whether a node can be used over a link of our own.
    pub(crate) fn is_usable(&self, peer: NodeId) -> bool {
        self.to(peer).any(|link| link.has_table)
    }

    /// Whether a node answers over a link of our own.
    pub(crate) fn is_lively(&self, peer: NodeId) -> bool {
        self.to(peer).any(|link| !link.is_quiet)
    }

    /// The neighbour over which a node is reached with the fewest links, and how many these are;
    /// not counting a link of our own.
    pub(crate) fn way_to(&self, id: NodeId) -> Option<(u8, NodeId)> {
        let others = self.iter().filter(|link| link.has_table && link.peer != id);
        let ways = others.filter_map(|link| Some((link.hops_to(id)?.checked_add(1)?, link.peer)));
        ways.filter(|(n_hops, _)| *n_hops <= HOPS_MAX).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn set_quiet(&mut self, id: LinkId, is_quiet: bool) {
        self.version += 1;
        if let Some(link) = self.get_mut(id) {
            link.is_quiet = is_quiet;
        }
    }

    /// The other side's table came in over a link; whether it is the first.
    pub(crate) fn complete_table(&mut self, id: LinkId) -> bool {
        self.version += 1;
        let link = self.get_mut(id);
        link.is_some_and(|link| !std::mem::replace(&mut link.has_table, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(id: u64, peer: u64, hops: &[(u64, u8)]) -> Link {
        Link {
            id: LinkId(id),
            peer: NodeId(peer),
            run: RunNumber(1),
            observed: "192.0.2.1:1".parse().unwrap(),
            has_table: true,
            is_quiet: false,
            hops: hops.iter().map(|(id, n)| (NodeId(*id), *n)).collect(),
            digest: None,
            difference: None,
            exchanged: Vec::new(),
        }
    }

    #[test]
    fn the_shortest_way_counts_and_none_is_too_long() {
        let mut links = Links::default();
        links.insert(link(1, 10, &[(30, 2), (40, 8), (50, u8::MAX)]));
        links.insert(link(2, 20, &[(10, 1), (30, 1)]));
        assert_eq!(links.way_to(NodeId(30)), Some((2, NodeId(20))));
        assert_eq!(links.way_to(NodeId(40)), None);
        assert_eq!(links.way_to(NodeId(50)), None);
        assert_eq!(links.way_to(NodeId(20)), None, "of itself it says nothing");
        links.remove(LinkId(2));
        assert_eq!(links.way_to(NodeId(30)), Some((3, NodeId(10))));
    }

    #[test]
    fn a_lively_link_is_used_before_a_quiet_one() {
        let mut links = Links::default();
        links.insert(link(1, 10, &[]));
        links.insert(link(2, 10, &[]));
        assert_eq!(links.main(NodeId(10)).unwrap().id, LinkId(1));
        let version = links.version();
        links.set_quiet(LinkId(1), true);
        assert_ne!(links.version(), version);
        assert_eq!(links.main(NodeId(10)).unwrap().id, LinkId(2));
        links.remove(LinkId(2));
        assert_eq!(links.main(NodeId(10)).unwrap().id, LinkId(1));
        assert!(!links.is_lively(NodeId(10)) && links.is_usable(NodeId(10)));
    }

    #[test]
    fn views_that_move_are_given_time_but_not_without_end() {
        let at = Instant::from_millis;
        let mut link = link(1, 10, &[]);
        link.digest = Some(ViewDigest(0));
        link.compare(at(0), ViewDigest(1));
        let patience = Duration::from_millis(200);
        assert!(!link.take_difference(at(199), patience));
        link.compare(at(199), ViewDigest(2));
        assert!(
            !link.take_difference(at(398), patience) && link.take_difference(at(399), patience)
        );
        link.compare(at(400), ViewDigest(2));
        assert_eq!(link.difference, None, "these were exchanged");
        for moved in 0..20 {
            link.compare(at(400 + moved * 100), ViewDigest(10 + moved));
        }
        assert!(
            !link.take_difference(at(2_399), patience) && link.take_difference(at(2_400), patience)
        );
        link.compare(at(2_400), ViewDigest(0));
        assert_eq!(link.difference, None);
    }

    #[test]
    fn tables_are_exchanged_once_for_a_pair_of_views() {
        let mut link = link(1, 10, &[]);
        let pair = |ours| (ViewDigest(ours), ViewDigest(0));
        assert!(link.note_exchange(pair(1)) && !link.note_exchange(pair(1)));
        assert!((2..20).all(|ours| link.note_exchange(pair(ours))));
        assert!(link.exchanged.len() <= DIGEST_PAIRS_MAX);
    }
}
