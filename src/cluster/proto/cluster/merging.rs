//! What other nodes say of members, of themselves, and of this node.

use crate::{
    cluster::proto::{
        card::Incarnation,
        events::DownReason,
        input::Forgotten,
        link_id::LinkId,
        membership::{Claimant, Merged, Path, Record, Standing},
        output::{ClusterOutput, Haste},
        wire::{Heartbeat, Said},
    },
    types::ids::NodeId,
};

use super::core::Core;

impl Core {
    pub(super) fn member_frame(&mut self, id: LinkId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let peer = link.peer;
        match Said::read(bytes) {
            None => self.counts.n_frames_malformed += 1,
            Some(Said::Delta { records }) => self.hear_all(records, id, peer),
            Some(Said::Table { records, is_last }) => {
                self.hear_all(records, id, peer);
                if is_last {
                    self.table_is_complete(id, peer);
                }
            }
            Some(Said::Report { hops, is_storing }) => {
                self.hear_report(id, hops);
                self.store_health(peer, is_storing);
            }
        }
    }

    /// A neighbour says whom it reaches.
    fn hear_report(&mut self, id: LinkId, mut hops: Vec<(NodeId, u8)>) {
        if hops.len() > self.config.members_max {
            hops.truncate(self.config.members_max);
            self.counts.n_reports_cut += 1;
        }
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let mut farther = std::mem::replace(&mut link.hops, hops);
        farther.retain(|(id, n_hops)| link.hops_to(*id).is_none_or(|now| now > *n_hops));
        // Who believed in a way that is gone must not for long.
        if farther.iter().any(|(id, _)| !self.links.is_usable(*id)) {
            self.telling.hurry();
        }
        self.telling.report_is_stale = true;
        self.look_for_paths_soon();
    }

    pub(super) fn heartbeat(&mut self, id: LinkId, bytes: &[u8]) {
        let patience = self.patience();
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let peer = link.peer;
        let Some(heartbeat) = Heartbeat::read(bytes) else {
            self.counts.n_frames_malformed += 1;
            return;
        };
        link.digest = Some(heartbeat.digest);
        link.compare(self.now, self.digest);
        if let Some(difference) = link.difference {
            self.tables.add(difference.due_at(patience));
        }
        self.store_health(peer, heartbeat.is_storing);
    }

    /// This node stops: all are told, so that none looks for it.
    pub(super) fn leave(&mut self) {
        if self.is_leaving {
            return;
        }
        self.is_leaving = true;
        self.dialling.stop();
        self.own.claim.standing = Standing::Left;
        self.changed_self();
        self.tell_now();
    }

    /// Strikes off members that are away.
    pub(super) fn forget(&mut self, whom: &Forgotten) {
        let is_meant = |record: &Record| match whom {
            Forgotten::Name(name) => record.name == *name,
            Forgotten::Id(id) => record.id == *id,
        };
        let away = self.members.iter().map(|member| &member.record);
        let away = away.filter(|record| !record.is_up() && is_meant(record));
        let away: Vec<Record> = away.cloned().collect();
        for mut record in away {
            record.claim.standing = Standing::Forgotten;
            record.reason = DownReason::Forgotten;
            let id = record.id;
            if self.members.merge(self.now, record) == Merged::Changed {
                self.out.push(ClusterOutput::Forgot(id));
                self.changed(id, None);
            }
        }
    }

    /// What this node says of itself has changed.
    pub(super) fn changed_self(&mut self) {
        self.telling.changed(self.own.id, None);
        self.telling.hurry();
        self.is_view_stale = true;
    }

    fn store_health(&mut self, peer: NodeId, is_storing: bool) {
        if let Some(member) = self.members.get_mut(peer)
            && member.is_storing != is_storing
        {
            member.is_storing = is_storing;
            self.is_view_stale = true;
        }
    }

    fn table_is_complete(&mut self, id: LinkId, peer: NodeId) {
        if self.links.complete_table(id) {
            self.telling.report_is_stale = true;
            self.is_view_stale = true;
            self.path_changed(peer);
        }
    }

    fn hear_all(&mut self, records: Vec<Record>, link: LinkId, from: NodeId) {
        for record in records {
            if record.id == self.own.id {
                self.hear_of_self(&record);
            } else {
                self.hear(record, link, from);
            }
        }
    }

    fn hear(&mut self, record: Record, link: LinkId, from: NodeId) {
        let id = record.id;
        match self.members.get(id).map(|member| member.record.claim) {
            Some(known) if record.claim < known => return,
            Some(known) if record.claim == known => {
                self.hear_again(&record, link);
                return;
            }
            _ => {}
        }
        if !record.is_up() && from != id && self.links.to(id).next().is_some() {
            self.tell_of_itself(record);
            return;
        }
        if record.is_up() && record.name == self.own.name && self.yields_to(&record) {
            return;
        }
        let run = record.run();
        let is_forgotten = record.claim.standing == Standing::Forgotten;
        match self.members.merge(self.now, record) {
            Merged::Known | Merged::Located => {}
            Merged::Full => self.counts.n_members_full += 1,
            Merged::Changed => {
                if is_forgotten {
                    self.out.push(ClusterOutput::Forgot(id));
                }
                let known = self.links.to(id).any(|link| link.run != run);
                if known && from != id {
                    self.forget_links_of_old_runs(id);
                }
                self.follow(id);
                self.changed(id, Some(link));
            }
        }
    }

    /// Somebody says what is known, but perhaps for where the member takes links.
    fn hear_again(&mut self, record: &Record, link: LinkId) {
        let id = record.id;
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if member.locate(record.link) == Merged::Located {
            self.located(id, Some(link));
            return;
        }
        self.heard_alike(record, link);
        if let Some(address) = record.link {
            self.dialling.also_at(id, address);
        }
    }

    /// Where a member takes links is known now: it can be dialled, and others told. `source` is the
    /// link it was heard over.
    pub(super) fn located(&mut self, id: NodeId, source: Option<LinkId>) {
        self.telling.changed(id, source);
        self.is_view_stale = true;
        self.adjust_dials(id);
    }

    /// A member that is away needs no judging any more.
    fn follow(&mut self, id: NodeId) {
        if let Some(member) = self.members.get_mut(id)
            && !member.record.is_up()
            && member.path != Path::Linked
        {
            member.path = Path::NONE;
        }
    }

    /// Somebody says that a node is away to which we have a link: our link counts more, and the node
    /// is told, so that it can speak for itself.
    fn tell_of_itself(&mut self, record: Record) {
        if let Some(link) = self.links.main(record.id).map(|link| link.id) {
            let records = vec![record];
            let message = Said::Delta { records }.to_message();
            self.send(link, message, Haste::AtOnce);
        }
    }

    /// A member of our name is up: if it counts more, this node gives the name up.
    fn yields_to(&mut self, rival: &Record) -> bool {
        let claimant = Claimant {
            is_settled: self.seems_settled(rival.id, rival.run(), true),
            id: rival.id,
            run: rival.run(),
        };
        let yields = !self.claimant().keeps_against(&claimant);
        if yields {
            let by = rival.link.unwrap_or(self.config.card.link);
            self.give_up_name(by);
        }
        yields
    }

    /// Others speak of this node. Said to be away, it speaks up; of a start of this node that is later than
    /// the one it knows, it makes a later one still.
    fn hear_of_self(&mut self, record: &Record) {
        if self.is_leaving || self.refused.is_some() {
            return;
        }
        let (own, said) = (self.own.claim, record.claim);
        if record.run() == self.own.run() {
            if !record.is_up() && said.incarnation == own.incarnation && said >= own {
                self.own.claim.refutation = said.refutation.saturating_add(1);
                self.counts.n_refutations += 1;
                self.changed_self();
            }
            return;
        }
        if said.incarnation < own.incarnation {
            return;
        }
        if record.is_up() && record.run() < self.own.run() {
            self.give_up_name(record.link.unwrap_or(self.config.card.link));
            return;
        }
        let incarnation = Incarnation(said.incarnation.0.saturating_add(1));
        self.own.claim.incarnation = incarnation;
        self.own.claim.refutation = 0;
        self.out.push(ClusterOutput::KeepIncarnation(incarnation));
        self.changed_self();
    }
}
