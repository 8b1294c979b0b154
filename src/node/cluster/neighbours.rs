//! The other nodes as those see them who send records and questions over links: who owns what, who
//! can be reached over which link, and what comes in over links besides the cluster's own talk.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    cluster::{
        net::{LinkHandle, Received},
        proto::{Epoch, LinkId, NodeName, shard_map::ShardMap},
    },
    types::ids::NodeId,
};

/// Frames that may wait for their reader; a link that brings one more is closed, and what it brought
/// is sent again.
const TRAFFIC_MAX: usize = 65_536;

/// The storing members and the links of this node, at one moment.
#[derive(Debug, Clone)]
pub struct Neighbourhood {
    /// This node.
    pub own: NodeId,
    /// Digest of the storing members.
    pub epoch: Epoch,
    /// Who owns which vehicles: by the storing members with a direct link, this node included while
    /// its store takes records.
    pub map: Arc<ShardMap>,
    /// The members that have a link of this node's own and have shown their table, storing or not.
    pub linked: BTreeMap<NodeId, Neighbour>,
}

/// A member at the other end of a link.
#[derive(Debug, Clone)]
pub struct Neighbour {
    /// Its name.
    pub name: NodeName,
    /// The link to be used.
    pub link: LinkHandle,
}

/// A frame that came in over a link. The other end gets its credit back when the frame is dropped.
#[derive(Debug)]
pub struct Traffic {
    /// Who sent it.
    pub from: NodeId,
    /// The link that it came over, for the answer.
    pub link: LinkHandle,
    /// What it says.
    pub frame: Received,
}

/// The two streams of frames that the cluster does not read itself. The bytes that wait in them are
/// bounded by the credit of the links; acknowledgements need none, and answer what this node has sent.
#[derive(Debug)]
pub struct LinkTraffic {
    /// Records and their acknowledgements.
    pub records: mpsc::Receiver<Traffic>,
    /// Questions and answers.
    pub questions: mpsc::Receiver<Traffic>,
}

/// The other ends of [`LinkTraffic`].
#[derive(Debug, Clone)]
pub(super) struct TrafficSenders {
    pub(super) records: mpsc::Sender<Traffic>,
    pub(super) questions: mpsc::Sender<Traffic>,
}

impl Neighbourhood {
    /// A node alone.
    pub(super) fn alone(own: NodeId) -> Self {
        Self {
            own,
            epoch: Epoch(0),
            map: Arc::new(ShardMap::new([])),
            linked: BTreeMap::new(),
        }
    }

    /// Whether the same nodes store and the same links lead to the same members.
    pub(super) fn is_like(&self, epoch: Epoch, links: &[(NodeId, LinkId)]) -> bool {
        let known = self
            .linked
            .iter()
            .map(|(id, neighbour)| (*id, neighbour.link.link()));
        self.epoch == epoch && known.eq(links.iter().copied())
    }
}

impl TrafficSenders {
    pub(super) fn new() -> (Self, LinkTraffic) {
        let (records, records_in) = mpsc::channel(TRAFFIC_MAX);
        let (questions, questions_in) = mpsc::channel(TRAFFIC_MAX);
        let ends = LinkTraffic {
            records: records_in,
            questions: questions_in,
        };
        (Self { records, questions }, ends)
    }
}
