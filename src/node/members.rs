//! The members as people see them: all of them at one moment, and what changes.
//!
//! What must always hold for a subscriber: up and down of a node come in turn, and no change is
//! missing between the first and the last that it sees. Where that cannot be kept the subscription
//! ends.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::sync::broadcast::{self, error::RecvError};

use super::{clock::WallClock, cluster::ClusterHandle};
use crate::{
    api::{AnswerError, Changes, ChangesEnd},
    cluster::proto::{self, ClusterEvent, MemberView, NodeEvent, shard_map::ShardMap},
    types::{
        cluster::{Member, MemberChange, MemberState, Members, NodeNews, Role},
        ids::NodeId,
    },
};

/// All members now.
pub(super) async fn members(
    cluster: &ClusterHandle,
    clock: &WallClock,
    self_name: &str,
) -> Result<Members, AnswerError> {
    let known = cluster
        .members()
        .await
        .map_err(|_| AnswerError::NoCluster)?;
    let neighbourhood = cluster.neighbourhood();
    let shards = Arc::clone(&neighbourhood.borrow().map);
    let members = known.members.iter();
    Ok(Members {
        self_name: self_name.to_owned(),
        epoch: known.epoch.0,
        members: members.map(|view| member(view, &shards, clock)).collect(),
    })
}

fn member(view: &MemberView, shards: &ShardMap, clock: &WallClock) -> Member {
    let roles = [
        (view.roles.is_ingest, Role::Ingest),
        (view.roles.is_store, Role::Store),
    ];
    let roles = roles.into_iter().filter(|(is_so, _)| *is_so);
    Member {
        name: view.name.to_string(),
        state: state_of(view.state),
        reason: view.reason.map(proto::DownReason::as_str),
        id: view.id,
        link: view.link,
        http: view.http,
        incarnation: view.incarnation.0,
        roles: roles.map(|(_, role)| role).collect(),
        since: clock.at(view.since),
        owned_shards: u32::try_from(shards.n_owned(view.id)).unwrap_or(u32::MAX),
        matches: view.matches,
        linked: view.linked.is_some(),
    }
}

const fn state_of(state: proto::MemberState) -> MemberState {
    match state {
        proto::MemberState::Up => MemberState::Up,
        proto::MemberState::Suspect => MemberState::Suspect,
        proto::MemberState::Down => MemberState::Down,
        proto::MemberState::Left => MemberState::Left,
    }
}

/// What happens to the members, for one subscriber.
#[derive(Debug)]
pub struct MemberChanges {
    /// Who was there when it began.
    present: VecDeque<MemberChange>,
    changes: broadcast::Receiver<ClusterEvent>,
    told: Told,
    clock: Arc<WallClock>,
}

impl MemberChanges {
    /// Subscribes, to all members or to the matching ones.
    pub(super) async fn subscribe(
        cluster: &ClusterHandle,
        clock: &Arc<WallClock>,
        is_all: bool,
    ) -> Result<Self, AnswerError> {
        let subscribed = cluster.subscribe().await;
        let subscription = subscribed.map_err(|_| AnswerError::NoCluster)?;
        let known = cluster
            .members()
            .await
            .map_err(|_| AnswerError::NoCluster)?;
        let mut told = Told::new(is_all);
        let mut present = VecDeque::new();
        for mut node in subscription.present {
            let is_it =
                |view: &&MemberView| view.id == node.id && view.incarnation == node.incarnation;
            // The moment of the subscription is no news to anybody.
            if let Some(view) = known.members.iter().find(is_it) {
                node.at = view.since;
            }
            if told.tell_up(&node) == Step::Tell {
                present.push_back(MemberChange::Up(news(&node, "present", clock)));
            }
        }
        Ok(Self {
            present,
            changes: subscription.changes,
            told,
            clock: Arc::clone(clock),
        })
    }
}

impl Changes for MemberChanges {
    async fn next(&mut self) -> Result<MemberChange, ChangesEnd> {
        if let Some(change) = self.present.pop_front() {
            return Ok(change);
        }
        loop {
            let event = self.changes.recv().await.map_err(|error| match error {
                RecvError::Lagged(n_changes) => ChangesEnd::Lagged(n_changes),
                RecvError::Closed => ChangesEnd::Over,
            })?;
            match self.told.take(&event) {
                Step::Tell => return Ok(change(&event, &self.clock)),
                Step::Skip => {}
                Step::Anew => return Err(ChangesEnd::Over),
            }
        }
    }
}

fn change(event: &ClusterEvent, clock: &WallClock) -> MemberChange {
    match event {
        ClusterEvent::NodeUp(node) => MemberChange::Up(news(node, "joined", clock)),
        ClusterEvent::NodeDown(node, why) => MemberChange::Down(news(node, why.as_str(), clock)),
        ClusterEvent::Epoch { epoch, at } => MemberChange::Epoch {
            epoch: epoch.0,
            at: clock.at(*at),
        },
    }
}

fn news(node: &NodeEvent, reason: &'static str, clock: &WallClock) -> NodeNews {
    NodeNews {
        name: node.name.to_string(),
        id: node.id,
        incarnation: node.incarnation.0,
        reason,
        at: clock.at(node.at),
    }
}

/// Who is up as far as a subscriber was told.
#[derive(Debug)]
struct Told {
    is_all: bool,
    up: BTreeMap<NodeId, proto::Incarnation>,
}

/// What becomes of an event for one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Tell,
    /// It is about a node that the subscriber does not see.
    Skip,
    /// A node came that had not gone: the core was made anew, and what happened before is lost.
    Anew,
}

impl Told {
    const fn new(is_all: bool) -> Self {
        Self {
            is_all,
            up: BTreeMap::new(),
        }
    }

    fn take(&mut self, event: &ClusterEvent) -> Step {
        match event {
            ClusterEvent::NodeUp(node) => self.tell_up(node),
            ClusterEvent::NodeDown(node, _) if self.up.remove(&node.id).is_some() => Step::Tell,
            ClusterEvent::NodeDown(..) => Step::Skip,
            ClusterEvent::Epoch { .. } => Step::Tell,
        }
    }

    fn tell_up(&mut self, node: &NodeEvent) -> Step {
        if !self.is_all && !node.matches {
            return Step::Skip;
        }
        match self.up.insert(node.id, node.incarnation) {
            None => Step::Tell,
            Some(_) => Step::Anew,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::time::Instant,
        cluster::proto::{DownReason, Epoch, Incarnation, NodeName},
    };

    fn node(id: u64, matches: bool) -> NodeEvent {
        NodeEvent {
            id: NodeId(id),
            name: NodeName::parse(&format!("n{id}")).unwrap(),
            incarnation: Incarnation(1),
            matches,
            at: Instant::from_millis(0),
        }
    }

    fn up(id: u64, matches: bool) -> ClusterEvent {
        ClusterEvent::NodeUp(node(id, matches))
    }

    fn down(id: u64, matches: bool) -> ClusterEvent {
        ClusterEvent::NodeDown(node(id, matches), DownReason::Silent)
    }

    fn steps(is_all: bool, events: &[ClusterEvent]) -> Vec<Step> {
        let mut told = Told::new(is_all);
        events.iter().map(|event| told.take(event)).collect()
    }

    #[test]
    fn a_subscriber_sees_the_nodes_that_are_meant_unless_it_asks_for_all() {
        let events = [up(1, true), up(2, false), down(2, false), down(1, true)];
        let meant = [Step::Tell, Step::Skip, Step::Skip, Step::Tell];
        assert_eq!(steps(false, &events), meant);
        assert_eq!(steps(true, &events), [Step::Tell; 4]);
    }

    #[test]
    fn who_was_seen_to_come_is_seen_to_go() {
        // A new run has another name, which is not meant.
        assert_eq!(
            steps(false, &[up(1, true), down(1, false), up(1, false)]),
            [Step::Tell, Step::Tell, Step::Skip]
        );
        assert_eq!(steps(false, &[down(1, true)]), [Step::Skip]);
    }

    #[test]
    fn a_core_that_begins_anew_ends_the_subscription() {
        let (epoch, at) = (Epoch(1), Instant::from_millis(0));
        let events = [up(1, true), ClusterEvent::Epoch { epoch, at }, up(1, true)];
        assert_eq!(steps(false, &events), [Step::Tell, Step::Tell, Step::Anew]);
    }
}
