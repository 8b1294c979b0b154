//! What subscribers are told: each change of a member once, and the [`Epoch`], the digest of the
//! members that store what this node sends them.

use crate::{
    cluster::proto::{
        events::{ClusterEvent, DownReason, NodeEvent},
        membership::{Announced, Member, Path, Record},
        output::ClusterOutput,
        view::{Digest, Epoch},
    },
    types::ids::NodeId,
};

use super::core::Core;

impl Core {
    /// The first event is this node itself.
    pub(super) fn announce_self(&mut self) {
        if !self.is_announced {
            self.is_announced = true;
            let event = self.event(&self.own);
            self.notify(ClusterEvent::NodeUp(event));
        }
    }

    /// Tells subscribers what changed about a member since they were last told.
    pub(super) fn publish(&mut self, id: NodeId) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let record = member.record.clone();
        let announced = member.announced.clone();
        let is_new = announced.is_none();
        let is_other_run = announced
            .as_ref()
            .is_some_and(|known| known.run != record.run() || known.name != record.name);
        let gone = announced.filter(|_| is_other_run || !record.is_up());
        let is_gone = gone.is_some();
        if let Some(known) = gone {
            let reason = if is_other_run && record.is_up() {
                DownReason::Restarted
            } else {
                record.reason
            };
            self.set_announced(id, false);
            let event = self.event_of(id, &known);
            self.notify(ClusterEvent::NodeDown(event, reason));
        }
        if (is_new || is_gone) && self.can_be_used(&record) {
            self.set_announced(id, true);
            let event = self.event(&record);
            self.notify(ClusterEvent::NodeUp(event));
        }
    }

    /// Follows changes of members and links with the digests that stand for them.
    pub(super) fn refresh_view(&mut self) {
        if !std::mem::take(&mut self.is_view_stale) {
            return;
        }
        self.n_refreshes += 1;
        self.tables.forget();
        self.remember();
        self.n_up = self.members.n_up();
        let digest = self.members.digest(&self.own);
        if digest != self.digest {
            self.digest = digest;
            self.compare_views();
        }
        let epoch = self.current_epoch();
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            let at = self.now;
            self.notify(ClusterEvent::Epoch { epoch, at });
        }
    }

    /// Whether a member's store takes records from here: it has the role and its health, and a direct
    /// link, or one that was lost a moment ago and may come back.
    pub(super) fn is_stored_at(&self, member: &Member) -> bool {
        let record = &member.record;
        let is_near = match member.path {
            Path::Linked => self.links.is_usable(record.id),
            Path::Lost { .. } => true,
            Path::Reported { .. } => false,
        };
        record.is_up()
            && record.roles.is_store
            && member.is_storing
            && member.announced.is_some()
            && is_near
    }

    pub(super) fn stores_itself(&self) -> bool {
        self.own.roles.is_store && self.is_storing && self.own.is_up()
    }

    fn current_epoch(&self) -> Epoch {
        let others = self
            .members
            .iter()
            .filter(|member| self.is_stored_at(member));
        let others = others.map(|member| &member.record);
        let own = Some(&self.own).filter(|_| self.stores_itself());
        let mut storing: Vec<&Record> = others.chain(own).collect();
        storing.sort_by_key(|record| record.id);
        let mut digest = Digest::of("waymesh epoch v1");
        for record in storing {
            digest.number(record.id.0);
            digest.text(record.name.as_str());
        }
        Epoch(digest.finish())
    }

    /// Over a link of our own, once its table is in; a member that this node does not seek to link also
    /// over others.
    fn can_be_used(&self, record: &Record) -> bool {
        let mut links = self.links.to(record.id);
        let is_linked = links.any(|link| link.has_table && link.run == record.run());
        let is_reached = || !self.is_sought(record) && self.links.way_to(record.id).is_some();
        record.is_up() && (is_linked || is_reached())
    }

    fn set_announced(&mut self, id: NodeId, is_up: bool) {
        if let Some(member) = self.members.get_mut(id) {
            member.announced = is_up.then(|| Announced {
                run: member.record.run(),
                incarnation: member.record.claim.incarnation,
                name: member.record.name.clone(),
            });
            self.is_view_stale = true;
        }
    }

    pub(super) fn event(&self, record: &Record) -> NodeEvent {
        NodeEvent {
            id: record.id,
            name: record.name.clone(),
            incarnation: record.claim.incarnation,
            matches: self.matches(record),
            at: self.now,
        }
    }

    /// A member as subscribers were told of it, whatever it says of itself by now.
    pub(super) fn event_of(&self, id: NodeId, known: &Announced) -> NodeEvent {
        NodeEvent {
            id,
            name: known.name.clone(),
            incarnation: known.incarnation,
            matches: self.config.connect.matches(known.name.as_str()),
            at: self.now,
        }
    }

    pub(super) fn matches(&self, record: &Record) -> bool {
        record.id == self.own.id || self.config.connect.matches(record.name.as_str())
    }

    fn notify(&mut self, event: ClusterEvent) {
        self.out.push(ClusterOutput::Notify(event));
    }
}
