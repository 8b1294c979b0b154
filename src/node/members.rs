//! The members of the cluster as others are told of them: the core's views in the words of
//! [`types::status`](crate::types::status). Decides nothing.

use std::pin::Pin;

use tokio::sync::broadcast;

use super::{
    cluster::{ClusterMembers, Subscription},
    status::Profile,
};
use crate::{
    api::{ChangeSource, NodeChanges},
    base::time::{Instant, wall_millis},
    cluster::proto::{self, ClusterEvent, MemberView, NodeEvent, shard_map::ShardMap},
    types::{
        ids::NodeId,
        status::{ChangeKind, Member, MemberState, Members, NodeChange, Role},
        time::UnixMillis,
    },
};

/// All members, with the shards that each would own of those that store.
pub(super) fn members(self_name: &str, cluster: &ClusterMembers, wall: WallTime) -> Members {
    let is_storing = |member: &&MemberView| {
        let is_reached = member.is_self || member.linked.is_some();
        member.roles.is_store && member.state == proto::MemberState::Up && is_reached
    };
    let storing = cluster.members.iter().filter(is_storing);
    let shards = ShardMap::new(storing.map(|member| (member.name.clone(), member.id)));
    let members = cluster.members.iter().map(|member| Member {
        name: member.name.as_str().to_owned(),
        state: state_of(member.state),
        id: member.id,
        link: member.link,
        http: member.http,
        incarnation: member.incarnation.0,
        roles: roles_of(member.roles),
        since: wall.of(member.since),
        owned_shards: u32::try_from(shards.n_owned(member.id)).unwrap_or(u32::MAX),
        matches: member.matches,
        linked: member.linked.is_some(),
    });
    Members {
        self_name: self_name.to_owned(),
        epoch: cluster.epoch.0,
        members: members.collect(),
    }
}

/// Who is there, and what comes after that.
pub(super) fn changes(
    profile: &Profile,
    subscription: Subscription,
    wall: WallTime,
) -> NodeChanges {
    let present = subscription.present.iter();
    NodeChanges {
        present: present
            .map(|node| change_of(ChangeKind::Up, node, "present", wall))
            .collect(),
        next: Box::new(Following {
            name: profile.name.clone(),
            id: profile.id,
            incarnation: profile.incarnation,
            changes: subscription.changes,
            wall,
        }),
    }
}

/// The changes that one subscriber follows.
struct Following {
    /// Of this node, whose view an epoch is.
    name: String,
    id: NodeId,
    incarnation: u64,
    changes: broadcast::Receiver<ClusterEvent>,
    wall: WallTime,
}

impl ChangeSource for Following {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<NodeChange>> + Send + '_>> {
        Box::pin(async {
            // An error means that some were missed, or that the node stops.
            let event = self.changes.recv().await.ok()?;
            Some(match event {
                ClusterEvent::NodeUp(node) => change_of(ChangeKind::Up, &node, "joined", self.wall),
                ClusterEvent::NodeDown(node, reason) => {
                    change_of(ChangeKind::Down, &node, reason.as_str(), self.wall)
                }
                ClusterEvent::Epoch { epoch, at } => NodeChange {
                    kind: ChangeKind::Epoch,
                    node: self.name.clone(),
                    id: self.id,
                    incarnation: self.incarnation,
                    reason: epoch.to_string(),
                    at: self.wall.of(at),
                    matches: true,
                },
            })
        })
    }
}

fn change_of(kind: ChangeKind, node: &NodeEvent, reason: &str, wall: WallTime) -> NodeChange {
    NodeChange {
        kind,
        node: node.name.as_str().to_owned(),
        id: node.id,
        incarnation: node.incarnation.0,
        reason: reason.to_owned(),
        at: wall.of(node.at),
        matches: node.matches,
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

fn roles_of(roles: proto::Roles) -> Vec<Role> {
    let known = [
        (roles.is_ingest, Role::Ingest),
        (roles.is_store, Role::Store),
    ];
    let had = known.into_iter().filter(|(has, _)| *has);
    had.map(|(_, role)| role).collect()
}

/// Moments of this process as wall time: for people, nothing follows from it. The same moment always
/// gives the same time, also when the clock is set meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallTime {
    /// The wall time at which this process's own clock began.
    began: i64,
}

impl WallTime {
    /// By the system's clock now.
    pub(super) fn now() -> Self {
        let age = i64::try_from(Instant::now().as_millis()).unwrap_or(i64::MAX);
        Self {
            began: wall_millis().saturating_sub(age),
        }
    }

    fn of(self, moment: Instant) -> UnixMillis {
        let age = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
        UnixMillis(self.began.saturating_add(age))
    }
}
