//! Life and death of members: what a lost link means, and when others' word is all there is.
//!
//! | what is known | no way to it | a way to it |
//! |---|---|---|
//! | the last link was closed, and a redial is refused | down at once | down at once, but suspect if it has refuted |
//! | no new link until [`SILENCE`] after the last sign of life; or the last link was given up for silence | down at once | suspect if we seek it, else up |
//! | suspect for one of these, and then the way is gone | down at once | |
//! | never a link of our own | down after [`SILENCE`] without a way | suspect if we seek it, else up |
//!
//! A *way* is what `links` says: a neighbour reports that it reaches the member, by a link of its own or
//! over others. *Suspect* is said to nobody.

use crate::{
    base::time::Instant,
    cluster::proto::{
        config::MinConnections,
        discovery::{Surroundings as _, series::Company},
        events::DownReason,
        membership::{Path, Standing},
        timing::{SILENCE, TELL_SPACING},
    },
    types::ids::NodeId,
};

use super::core::Core;

impl Core {
    /// Judges whoever's time is over.
    pub(super) fn judge(&mut self) {
        if self.refused.is_some() {
            return; // Not of the cluster at present: not for us to judge.
        }
        let now = self.now;
        if !self.judging.may_be(now) {
            return;
        }
        let is_silent = |path| matches!(path, Path::Lost { silent_at, .. } if silent_at <= now);
        let silent = self.members.iter().filter(|member| is_silent(member.path));
        let silent: Vec<NodeId> = silent.map(|member| member.record.id).collect();
        for id in silent {
            self.condemn(id, DownReason::Silent);
        }
        if self.paths_at.take_if(|at| *at <= now).is_some() {
            self.look_for_paths();
        }
        let is_cut_off = |path| match path {
            Path::Reported {
                pathless_since: Some(since),
                is_doubted,
            } => is_doubted || since + SILENCE <= now,
            _ => false,
        };
        let cut_off = self
            .members
            .iter()
            .filter(|member| member.record.is_up() && is_cut_off(member.path));
        let cut_off: Vec<NodeId> = cut_off.map(|member| member.record.id).collect();
        for id in cut_off {
            let is_doubted = self.members.get(id).is_some_and(|member| {
                matches!(
                    member.path,
                    Path::Reported {
                        is_doubted: true,
                        ..
                    }
                )
            });
            self.condemn(
                id,
                if is_doubted {
                    DownReason::Silent
                } else {
                    DownReason::Unreachable
                },
            );
        }
        self.judging.forget();
    }

    pub(super) fn next_judgement(&self) -> Option<Instant> {
        if self.refused.is_some() {
            return None;
        }
        self.judging.or_look(|| self.find_next_judgement())
    }

    fn find_next_judgement(&self) -> Option<Instant> {
        let of_members = self.members.iter().filter_map(|member| match member.path {
            Path::Linked => None,
            Path::Lost { silent_at, .. } => Some(silent_at),
            Path::Reported { pathless_since, .. } => {
                let since = pathless_since.filter(|_| member.record.is_up())?;
                Some(since + SILENCE)
            }
        });
        of_members.chain(self.paths_at).min()
    }

    /// Reports, links or members changed: who has a path is looked at a moment later, once for many
    /// changes.
    pub(super) fn look_for_paths_soon(&mut self) {
        let soon = self.now + TELL_SPACING;
        self.judging.add(*self.paths_at.get_or_insert(soon));
    }

    /// A node that was lost refuses our dial: nobody listens there any more.
    pub(super) fn redial_refused(&mut self, id: NodeId) {
        let is_closed = self.members.get(id).is_some_and(|member| {
            matches!(
                member.path,
                Path::Lost {
                    is_closed: true,
                    ..
                }
            )
        });
        if is_closed && self.refused.is_none() {
            self.condemn(id, DownReason::Closed);
        }
    }

    /// Whether a fixed number of links is wanted and missing.
    pub(super) fn needs_more_links(&self) -> bool {
        let is_number = matches!(self.config.min_connections, MinConnections::AtLeast(_));
        is_number && self.company() == Company::Missing
    }

    /// Says that a member is down, unless there is a way to it that counts for more.
    fn condemn(&mut self, id: NodeId, reason: DownReason) {
        let is_reported = self.links.way_to(id).is_some();
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let was_lost = matches!(member.path, Path::Lost { .. });
        member.path = Path::Reported {
            pathless_since: None,
            is_doubted: reason != DownReason::Unreachable,
        };
        let has_refuted = member.record.claim.refutation > 0;
        if is_reported && (has_refuted || reason != DownReason::Closed) {
            self.is_view_stale = true;
            self.path_changed(id);
            return;
        }
        member.record.claim.standing = Standing::Down;
        member.record.reason = reason;
        member.since = self.now;
        self.misses_company |= was_lost && self.config.connect.matches(member.record.name.as_str());
        self.changed(id, None);
    }

    fn look_for_paths(&mut self) {
        let unlinked = self
            .members
            .iter()
            .filter(|member| member.record.is_up() && matches!(member.path, Path::Reported { .. }));
        let unlinked: Vec<NodeId> = unlinked.map(|member| member.record.id).collect();
        for id in unlinked {
            let has_way = self.links.way_to(id).is_some();
            let now = self.now;
            if let Some(member) = self.members.get_mut(id)
                && let Path::Reported { pathless_since, .. } = &mut member.path
            {
                *pathless_since = match pathless_since {
                    _ if has_way => None,
                    Some(since) => Some(*since),
                    None => Some(now),
                };
            }
            self.publish(id);
        }
    }
}
