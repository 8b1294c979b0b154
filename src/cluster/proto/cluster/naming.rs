//! Whose a name is: who is settled keeps it against who is not; of two that are alike in this the lower
//! id does, and of one id the lower run ([`Claimant::keeps_against`]). Who has given its name up
//! closes its links, takes none, and dials until a dial leads to a link or nobody has refused it for
//! [`NAME_FREE_AFTER`].

use std::net::SocketAddr;

use crate::{
    base::time::Instant,
    cluster::proto::{
        card::{NodeCard, NodeName, RunNumber},
        membership::{Claimant, Path, Standing},
        output::{ClusterOutput, Refusal},
        timing::{FIRST_SERIES, NAME_FREE_AFTER, NAME_RETRY_MAX, SILENCE},
    },
    types::ids::NodeId,
};

use super::core::Core;

impl Core {
    /// Whether this node holds its name, rather than having just started or been refused: its first
    /// series is over, or before that, a member took it in. Others see the same: in its beacons, and in
    /// that it is reached ([`Core::seems_settled`]).
    pub(super) fn is_settled(&self) -> bool {
        let is_taken_in = || self.links.iter().any(|link| link.has_table);
        (self.is_formed || is_taken_in()) && self.refused.is_none() && !self.is_leaving
    }

    /// Whether a node may be linked as far as names and identities go. If it is to have the name of
    /// this node, this node gives it up.
    pub(super) fn examine(&mut self, card: &NodeCard, address: SocketAddr) -> Result<(), Refusal> {
        if card.id == self.own.id && card.run == self.own.run() {
            return Err(Refusal::Itself);
        }
        if self.is_leaving {
            return Err(Refusal::NotReady);
        }
        let newcomer = Claimant {
            is_settled: self.seems_settled(card.id, card.run, false),
            id: card.id,
            run: card.run,
        };
        if self.is_rival(card.id, &card.name) {
            if self.claimant().keeps_against(&newcomer) {
                if self.refused.is_some() {
                    return Err(Refusal::NotReady); // Who has not got the name refuses it to nobody.
                }
                let by = self.own.link.unwrap_or(self.config.card.link);
                return Err(Refusal::NameTaken { by });
            }
            self.give_up_name(address);
            return Err(Refusal::NotReady);
        }
        match self.holder_against(&newcomer, &card.name) {
            Some(by) => Err(Refusal::NameTaken { by }),
            None => Ok(()),
        }
    }

    /// Whether a node that was heard is to be dialled. One that cannot keep its name against the
    /// holder is not; it will dial, and be told.
    pub(super) fn is_worth_a_dial(&self, newcomer: &Claimant, name: &NodeName) -> bool {
        if self.is_rival(newcomer.id, name) {
            return !self.claimant().keeps_against(newcomer);
        }
        self.config.connect.matches(name.as_str()) && self.holder_against(newcomer, name).is_none()
    }

    /// A node refused our dial, since the name of this node belongs to another.
    pub(super) fn name_refused(&mut self, refuser: NodeId, by: SocketAddr) {
        let Some(peer) = self.dialling.peer(refuser) else {
            return;
        };
        if self.is_rival(refuser, &peer.name) {
            let rival = Claimant {
                is_settled: peer.is_settled,
                id: refuser,
                run: peer.run.unwrap_or(RunNumber(u64::MAX)),
            };
            if self.claimant().keeps_against(&rival) {
                return;
            }
        }
        let seen_at = peer.addresses.first().copied();
        let is_known = !by.ip().is_unspecified();
        self.give_up_name(if is_known { by } else { seen_at.unwrap_or(by) });
    }

    /// A rival that counts more holds our name: this node is out until the name is free.
    pub(super) fn give_up_name(&mut self, by: SocketAddr) {
        let was = self.refused.replace((by, self.now));
        if was.is_none() {
            self.judging.forget();
            self.out.push(ClusterOutput::NameTaken { by });
            self.own.claim.standing = Standing::Left;
            self.changed_self();
            self.tell_now();
            self.close_all();
            self.dialling.hold_back(self.now + NAME_RETRY_MAX);
        }
    }

    /// Nobody refuses the name any more.
    pub(super) fn name_is_free(&mut self) {
        if self.refused.take().is_none() {
            return;
        }
        self.judging.forget();
        self.out.push(ClusterOutput::NameFree);
        self.own.claim.standing = Standing::Up;
        self.own.claim.refutation = self.own.claim.refutation.saturating_add(1);
        self.changed_self();
        let ids: Vec<NodeId> = self.members.iter().map(|member| member.record.id).collect();
        for id in ids {
            if let Some(member) = self.members.get_mut(id)
                && let Path::Lost { silent_at, .. } = &mut member.path
            {
                *silent_at = self.now + SILENCE;
            }
        }
    }

    pub(super) fn try_name_again(&mut self) {
        if self.name_free_at().is_some_and(|at| at <= self.now) {
            self.name_is_free();
        }
    }

    /// When the name counts as free, if nobody refuses it before.
    pub(super) fn name_free_at(&self) -> Option<Instant> {
        self.refused.map(|(_, at)| at + NAME_FREE_AFTER)
    }

    /// Whether a node claims to be this one, by name or by identity.
    pub(super) fn is_rival(&self, id: NodeId, name: &NodeName) -> bool {
        id == self.own.id || *name == self.own.name
    }

    pub(super) fn claimant(&self) -> Claimant {
        Claimant {
            is_settled: self.is_settled(),
            id: self.own.id,
            run: self.own.run(),
        }
    }

    /// Whether another node holds its name, rather than having just started: as a member that is
    /// reached over a usable link, ours or another's, by how long it is a member, or by its last
    /// beacon. `unheard` is for those of whom none of these tells.
    pub(super) fn seems_settled(&self, id: NodeId, run: RunNumber, unheard: bool) -> bool {
        let member = self.members.get(id);
        let member = member.filter(|member| member.record.is_up() && member.record.run() == run);
        let is_taken_in = || self.is_usable_in_run(id, run) || self.links.way_to(id).is_some();
        if member.is_some_and(|member| self.now.since(member.since) > FIRST_SERIES || is_taken_in())
        {
            return true;
        }
        let peer = self.dialling.peer(id);
        let peer = peer.filter(|peer| peer.heard_at.is_some() && peer.run == Some(run));
        peer.map_or(unheard, |peer| peer.is_settled)
    }

    fn is_usable_in_run(&self, id: NodeId, run: RunNumber) -> bool {
        let mut links = self.links.to(id);
        links.any(|link| link.run == run && link.has_table)
    }

    /// Link address of the living member that keeps its name, or its identity, against a newcomer.
    fn holder_against(&self, newcomer: &Claimant, name: &NodeName) -> Option<SocketAddr> {
        let mut members = self.members.iter();
        let holder = members.find(|member| {
            let record = &member.record;
            let is_claimed = if record.id == newcomer.id {
                let mut links = self.links.to(record.id);
                let is_other_run = record.is_up() && record.run() != newcomer.run;
                // A copy of its folder may run elsewhere; of one that this node has lost it knows more.
                let is_elsewhere = || matches!(member.path, Path::Reported { .. });
                links.any(|link| link.run != newcomer.run && !link.is_quiet)
                    || (is_other_run && is_elsewhere() && self.answers(record.id))
            } else {
                record.name == *name && record.is_up() && self.answers(record.id)
            };
            // All members are asked, and for each newcomer: what is dear to find out comes last.
            let holder = || Claimant {
                is_settled: self.seems_settled(record.id, record.run(), true),
                id: record.id,
                run: record.run(),
            };
            is_claimed && holder().keeps_against(newcomer)
        })?;
        holder.record.link.or(Some(self.config.card.link))
    }

    /// Whether a member lives, by our own link or by that of another.
    fn answers(&self, id: NodeId) -> bool {
        let is_linked = self.links.to(id).next().is_some();
        self.links.is_lively(id) || (!is_linked && self.links.way_to(id).is_some())
    }
}
