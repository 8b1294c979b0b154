//! Storing members, over restarts of this node: taken over at the start as away, and told to the
//! driver whenever the set changes, so that one that does not come back is missed until an
//! administrator strikes it off.
//!
//! What is taken over counts less than anything that anybody says of these members: it is a claim of
//! no start at all.

use std::cmp::Reverse;

use crate::cluster::proto::{
    card::{Incarnation, RunNumber},
    config::RememberedMember,
    events::DownReason,
    membership::{Claim, Merged, Path, Record, Standing},
    output::ClusterOutput,
};

use super::core::Core;

impl Core {
    /// Takes over what was remembered; once, before anything else happens.
    pub(super) fn take_over(&mut self) {
        let remembered = std::mem::take(&mut self.config.remembered);
        for member in &remembered {
            if member.id != self.own.id {
                self.take_over_one(member);
            }
        }
        self.remembered = remembered;
    }

    /// Tells the driver which storing members there are, if that has changed.
    pub(super) fn remember(&mut self) {
        let known = self.members.iter().map(|member| &member.record);
        let mut storing = known.filter(|record| is_remembered(record));
        let mut told = self.remembered.iter();
        let is_known = told.all(|told| {
            storing
                .next()
                .is_some_and(|record| is_as_told(record, told))
        });
        if is_known && storing.next().is_none() {
            return;
        }
        let known = self.members.iter().map(|member| &member.record);
        let storing = known.filter(|record| is_remembered(record));
        self.remembered = storing.map(remembered).collect();
        self.out
            .push(ClusterOutput::Remember(self.remembered.clone()));
    }

    fn take_over_one(&mut self, member: &RememberedMember) {
        let record = Record {
            id: member.id,
            name: member.name.clone(),
            claim: Claim {
                incarnation: Incarnation(0),
                refutation: 0,
                standing: Standing::Down,
                run: Reverse(RunNumber(0)),
            },
            reason: DownReason::Unreachable,
            roles: member.roles,
            link: member.link,
            http: None,
        };
        if self.members.merge(self.now, record) != Merged::Changed {
            return;
        }
        if let Some(known) = self.members.get_mut(member.id) {
            known.path = Path::NONE;
        }
        self.dialling
            .remembered(member.id, &member.name, member.link);
        self.adjust_dials(member.id);
    }
}

fn is_remembered(record: &Record) -> bool {
    record.roles.is_store && record.claim.standing != Standing::Forgotten
}

fn is_as_told(record: &Record, told: &RememberedMember) -> bool {
    let is_it = record.id == told.id && record.name == told.name;
    is_it && record.roles == told.roles && record.link == told.link
}

fn remembered(record: &Record) -> RememberedMember {
    RememberedMember {
        id: record.id,
        name: record.name.clone(),
        roles: record.roles,
        link: record.link,
    }
}
