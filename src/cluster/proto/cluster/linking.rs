//! Links that come and go, and dials that fail.

use std::{net::SocketAddr, time::Duration};

use crate::cluster::proto::{
    card::NodeCard,
    dialling::Peer,
    link::outcome::{CloseReason, DialFailure, LinkEnd},
    link_id::{DialId, LinkId},
    links::Link,
    membership::Path,
    output::{ClusterOutput, Refusal},
    timing::{LINKS_OF_ONE_MAX, SILENCE},
};
use crate::types::ids::NodeId;

use super::core::Core;

impl Core {
    /// Whether a caller's link is taken; see [`Cluster::admit`](super::Cluster::admit).
    pub(super) fn admit(&mut self, card: &NodeCard, observed: SocketAddr) -> Result<(), Refusal> {
        self.examine(card, reached_at(card.link, observed))?;
        if !self.config.accept.matches(card.name.as_str()) {
            return Err(Refusal::NotAccepted);
        }
        if self.refused.is_some() || !self.members.has_room_for(card.id) {
            return Err(Refusal::NotReady);
        }
        let is_ours_to_choose = self.own.id < card.id;
        let mut known = self.links.to(card.id);
        if is_ours_to_choose && known.any(|link| link.run == card.run && !link.is_quiet) {
            return Err(Refusal::Duplicate);
        }
        Ok(())
    }

    pub(super) fn link_up(
        &mut self,
        id: LinkId,
        dialled: Option<DialId>,
        card: &NodeCard,
        observed: SocketAddr,
    ) {
        let address = reached_at(card.link, observed);
        let examined = match dialled {
            Some(_) => self.examine(card, address),
            None => self.admit(card, observed),
        };
        let surplus = match examined {
            Err(refusal) => Err(refusal.into()),
            Ok(()) if self.members.has_room_for(card.id) => self.choose(card),
            Ok(()) => Err(CloseReason::NotReady),
        };
        if let Some(dial) = dialled {
            self.dial_answered(dial, card, surplus.as_ref().err());
        }
        if let Err(reason) = surplus {
            self.close(id, reason);
            return;
        }
        if dialled.is_some() {
            self.name_is_free();
        }
        self.links.insert(Link {
            id,
            peer: card.id,
            run: card.run,
            observed,
            has_table: false,
            is_quiet: false,
            hops: Vec::new(),
            digest: None,
            difference: None,
            exchanged: Vec::new(),
        });
        let who = (card.id, &card.name, card.run);
        self.dialling.linked(self.now, who, address);
        self.met(card, address);
        self.introduce(id);
    }

    /// Somebody answered a dial, and this node takes the link or not.
    fn dial_answered(&mut self, dial: DialId, card: &NodeCard, refused: Option<&CloseReason>) {
        let why = match refused {
            None | Some(CloseReason::Duplicate) => {
                self.dialling.succeeded(self.now, dial, card.id);
                return;
            }
            Some(CloseReason::Itself) => DialFailure::Itself,
            Some(_) => DialFailure::NotReady,
        };
        self.dialling.spurned(self.now, dial, card.id, why);
    }

    /// `silence` is how long nothing had been heard over the link.
    pub(super) fn link_down(&mut self, id: LinkId, reason: LinkEnd, silence: Duration) {
        if let Some(link) = self.links.remove(id) {
            self.link_gone(&link, &reason, silence);
        }
    }

    pub(super) fn quiet(&mut self, id: LinkId, is_quiet: bool) {
        self.links.set_quiet(id, is_quiet);
    }

    pub(super) fn dial_failed(&mut self, dial: DialId, why: DialFailure) {
        let Some(peer) = self.dialling.failed(self.now, dial, why.clone()) else {
            if let DialFailure::NameTaken { by } = why {
                self.give_up_name(by);
            }
            return;
        };
        match why {
            DialFailure::Refused => {
                let known = self.dialling.peer(peer);
                if known.is_some_and(Peer::was_dialled_where_it_stood) {
                    self.redial_refused(peer);
                }
            }
            DialFailure::NameTaken { by } => self.name_refused(peer, by),
            DialFailure::NotAccepted => self.path_changed(peer),
            _ => {}
        }
    }

    /// Closes every link, as this node leaves or gives up its name.
    pub(super) fn close_all(&mut self) {
        let links: Vec<LinkId> = self.links.iter().map(|link| link.id).collect();
        for id in links {
            self.close(id, CloseReason::Leaving);
            if let Some(link) = self.links.remove(id) {
                self.link_gone(&link, &LinkEnd::Local, Duration::ZERO);
            }
        }
    }

    /// What was a path may be none any more.
    fn link_gone(&mut self, link: &Link, reason: &LinkEnd, silence: Duration) {
        self.telling.report_is_stale = true;
        self.telling.hurry();
        self.is_view_stale = true;
        self.look_for_paths_soon();
        if self.links.to(link.peer).next().is_some() {
            return;
        }
        let Some(member) = self.members.get_mut(link.peer) else {
            return;
        };
        if !member.record.is_up() {
            member.path = Path::NONE;
            self.dialling.unlinked(self.now, link.peer);
            self.misses_company |= self.needs_more_links();
            self.path_changed(link.peer);
            return;
        }
        let silent_at = match reason {
            LinkEnd::Silent => self.now,
            _ => self.now + SILENCE.saturating_sub(silence),
        };
        member.path = Path::Lost {
            silent_at,
            is_closed: *reason != LinkEnd::Silent,
        };
        member.since = self.now;
        self.dialling.lost(self.now, link.peer);
        self.misses_company |= self.needs_more_links();
        self.path_changed(link.peer);
    }

    /// Of several links to one node the lower identity keeps the one that it had first, unless that
    /// is quiet; a link to an earlier run is worth nothing.
    fn choose(&mut self, card: &NodeCard) -> Result<(), CloseReason> {
        let is_ours_to_choose = self.own.id < card.id;
        let known = self.links.to(card.id);
        let known: Vec<(LinkId, bool, bool)> = known
            .map(|link| (link.id, link.run == card.run, link.is_quiet))
            .collect();
        for (id, is_this_run, is_quiet) in known {
            let reason = match (is_this_run, is_quiet) {
                (false, _) => CloseReason::Superseded,
                (true, true) if is_ours_to_choose => CloseReason::Duplicate,
                (true, false) if is_ours_to_choose => return Err(CloseReason::Duplicate),
                (true, _) => continue,
            };
            self.drop_surplus(id, reason);
        }
        self.make_room(card.id);
        Ok(())
    }

    /// A node with the lower identity chooses among its links, and tells by closing the others. One
    /// that opens ever more and closes none has a few; the oldest give way.
    fn make_room(&mut self, peer: NodeId) {
        let known: Vec<LinkId> = self.links.to(peer).map(|link| link.id).collect();
        let n_surplus = (known.len() + 1).saturating_sub(LINKS_OF_ONE_MAX);
        for id in known.into_iter().take(n_surplus) {
            self.counts.n_links_crowded += 1;
            self.drop_surplus(id, CloseReason::Duplicate);
        }
    }

    /// Closes a link beside which another one stands, or will in a moment.
    fn drop_surplus(&mut self, id: LinkId, reason: CloseReason) {
        self.close(id, reason);
        self.links.remove(id);
        self.telling.report_is_stale = true;
        self.is_view_stale = true;
        self.look_for_paths_soon();
    }

    fn close(&mut self, link: LinkId, reason: CloseReason) {
        self.out.push(ClusterOutput::CloseLink { link, reason });
    }

    /// A link to a node stands: its hello counts more than what others said.
    fn met(&mut self, card: &NodeCard, address: SocketAddr) {
        let is_news = self.members.meet(self.now, card, address);
        // What a run said of its store that is gone says nothing of this one.
        let is_first = self.links.to(card.id).count() == 1;
        if let Some(member) = self.members.get_mut(card.id)
            && (is_first || member.path != Path::Linked)
        {
            member.path = Path::Linked;
            member.since = self.now;
            member.is_storing = false;
        }
        if is_news {
            self.changed(card.id, None);
        } else {
            self.path_changed(card.id);
        }
    }

    pub(super) fn forget_links_of_old_runs(&mut self, peer: NodeId) {
        let Some(run) = self.members.get(peer).map(|member| member.record.run()) else {
            return;
        };
        let old = self.links.to(peer).filter(|link| link.run != run);
        let old: Vec<LinkId> = old.map(|link| link.id).collect();
        for id in old {
            self.close(id, CloseReason::Superseded);
            self.link_down(id, LinkEnd::Local, Duration::ZERO);
        }
    }
}

/// Where a node takes links, by what it says and by where it was seen: it need not know its own
/// address.
fn reached_at(says: SocketAddr, observed: SocketAddr) -> SocketAddr {
    if !says.ip().is_unspecified() {
        return says;
    }
    let mut address = observed;
    address.set_port(says.port());
    address
}
