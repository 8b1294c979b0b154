//! What this node tells over its links: its table at their start, changes after, who is reached, and
//! what heartbeats carry. Changes leave at once, but not twice within [`TELL_SPACING`], so that many
//! make one message. Beyond [`GATHER_FREE`] links all waits [`GATHER_PER_LINK`] for each link more: up to
//! [`GATHER_URGENT_MAX`] that somebody is away; up to [`GATHER_MAX`] what is not urgent, which goes with the next
//! heartbeat then where all nodes link all.
//!
//! What is reached over others is hearsay, and when a node is gone its neighbours hear of it from each
//! other, a link farther each time they ask. So a way that became longer is not told for [`HOLD`], unless
//! a neighbour has a link of its own there: by then the echo is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::time::Instant,
    cluster::proto::{
        config::ConnectMode,
        link_id::LinkId,
        links::Link,
        membership::{Member, Path, Record},
        output::{ClusterOutput, Haste},
        place::is_of_segment,
        timing::{
            BEAT_UNTIL_TABLES, GATHER_FREE, GATHER_MAX, GATHER_PER_LINK, GATHER_URGENT_MAX,
            GATHERS_UNTIL_TABLES, HOLD, HOPS_MAX, RECORDS_PER_MESSAGE, TABLES_AFTER, TELL_SPACING,
        },
        wire::{Heartbeat, MemberMessage, Said},
    },
    types::ids::NodeId,
};

use super::core::Core;

/// What was told, and what is still to be.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Members that changed, each with the links over which the same was heard.
    pending: BTreeMap<NodeId, BTreeSet<LinkId>>,
    pub(super) report_is_stale: bool,
    /// The last report.
    report: Vec<Way>,
    report_is_storing: Option<bool>,
    /// Members whose way became longer or was lost: until when none from hearsay is told.
    held: BTreeMap<NodeId, Instant>,
    heartbeat: Option<Heartbeat>,
    told_at: Option<Instant>,
    /// Since when there is something new to tell.
    news_since: Option<Instant>,
    /// It waits for more for a moment only: somebody is away, or this node's store is well or ill.
    is_urgent: bool,
}

/// A member that is reached, by how many links, and over which neighbour if not by one of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) id: NodeId,
    pub(super) n_hops: u8,
    pub(super) via: Option<NodeId>,
}

impl Way {
    /// A link of our own, or one that a neighbour itself has.
    const fn is_first_hand(self) -> bool {
        self.n_hops <= 2
    }
}

impl Telling {
    /// What is new waits for more for a moment only.
    pub(super) const fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// A member changed. Whoever told what it was before is told again.
    pub(super) fn changed(&mut self, id: NodeId, source: Option<LinkId>) {
        self.pending.insert(id, source.into_iter().collect());
    }

    /// What was held back long enough may be told.
    fn release(&mut self, now: Instant) {
        let n_held = self.held.len();
        self.held.retain(|_, until| *until > now);
        self.report_is_stale |= self.held.len() < n_held;
    }
}

impl Core {
    /// Tells what is due.
    pub(super) fn tell(&mut self) {
        self.telling.release(self.now);
        if !self.has_news() {
            self.telling.news_since = None;
        } else {
            self.telling.news_since.get_or_insert(self.now);
        }
        if self.news_due_at().is_some_and(|at| at <= self.now) {
            self.tell_now();
        }
        self.exchange_tables();
    }

    /// Tells all that is new.
    pub(super) fn tell_now(&mut self) {
        self.telling.told_at = Some(self.now);
        self.telling.news_since = None;
        let haste = match std::mem::take(&mut self.telling.is_urgent) {
            true => Haste::AtOnce,
            false => self.leisure(),
        };
        self.tell_report(haste);
        self.tell_changes(haste);
        let heartbeat = self.current_heartbeat();
        if self.telling.heartbeat != Some(heartbeat) {
            self.telling.heartbeat = Some(heartbeat);
            let bytes = heartbeat.to_bytes();
            self.out.push(ClusterOutput::SetHeartbeat { bytes, haste });
        }
    }

    pub(super) fn next_telling(&self) -> Option<Instant> {
        let held = self.telling.held.values().copied();
        let deadlines = [self.next_exchange(), self.news_due_at()];
        held.chain(deadlines.into_iter().flatten()).min()
    }

    /// When tables are to be exchanged over a link.
    pub(super) fn next_exchange(&self) -> Option<Instant> {
        self.tables.or_look(|| {
            let differing = self.links.iter().filter_map(|link| link.difference);
            let patience = self.patience();
            differing
                .map(|difference| difference.due_at(patience))
                .min()
        })
    }

    /// When what is new is told: at once, unless something was told just now. Where many are linked it waits
    /// for more, for a moment only if it is urgent.
    fn news_due_at(&self) -> Option<Instant> {
        let since = self.telling.news_since?;
        let told_at = self.telling.told_at.map(|at| at + TELL_SPACING);
        let gathering = match self.telling.is_urgent {
            true => self.gathering().min(GATHER_URGENT_MAX),
            false => self.gathering(),
        };
        told_at.max(Some(since + gathering))
    }

    /// How what is not urgent goes. Where all link all, each learns of a member by a link of its own, and
    /// what fifty nodes tell each other of it would only keep them from that.
    fn leisure(&self) -> Haste {
        let is_mesh = self.config.connect_mode == ConnectMode::Visible;
        if is_mesh && !self.gathering().is_zero() {
            Haste::WithBeat
        } else {
            Haste::AtOnce
        }
    }

    /// How long news are gathered.
    pub(super) fn gathering(&self) -> Duration {
        // Members that are known are links a moment later.
        let n_links = self.links.len().max(self.n_up);
        let n_crowding = u32::try_from(n_links.saturating_sub(GATHER_FREE)).unwrap_or(u32::MAX);
        GATHER_PER_LINK.saturating_mul(n_crowding).min(GATHER_MAX)
    }

    /// How long views that stand still may differ. What was said is gathered at the other end, and read
    /// by a node that has to do as much as this one.
    pub(super) fn patience(&self) -> Duration {
        let beat = match self.leisure() {
            Haste::AtOnce => Duration::ZERO,
            Haste::WithBeat => BEAT_UNTIL_TABLES,
        };
        TABLES_AFTER + self.gathering() * GATHERS_UNTIL_TABLES + beat
    }

    /// A new link: who is reached, then the whole table.
    pub(super) fn introduce(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let link = link.clone();
        let report = self.report_for(&link);
        self.send(id, report, Haste::AtOnce);
        self.send_table(&link);
    }

    /// Views that differ make for an exchange of tables a little later.
    pub(super) fn compare_views(&mut self) {
        let (own, now) = (self.digest, self.now);
        for link in self.links.iter_mut() {
            link.compare(now, own);
        }
    }

    fn exchange_tables(&mut self) {
        let (now, patience) = (self.now, self.patience());
        if !self.tables.may_be(now) {
            return;
        }
        self.tables.forget();
        let all = self.links.iter_mut();
        let due = all.filter_map(|link| link.take_difference(now, patience).then(|| link.clone()));
        for link in due.collect::<Vec<Link>>() {
            self.counts.n_tables_exchanged += 1;
            self.send_table(&link);
        }
    }

    fn has_news(&self) -> bool {
        !self.telling.pending.is_empty()
            || self.telling.report_is_stale
            || self.telling.heartbeat != Some(self.current_heartbeat())
    }

    fn current_heartbeat(&self) -> Heartbeat {
        Heartbeat {
            is_storing: self.is_storing,
            epoch: self.epoch.unwrap_or(crate::cluster::proto::Epoch(0)),
            digest: self.digest,
        }
    }

    fn tell_report(&mut self, haste: Haste) {
        if !std::mem::take(&mut self.telling.report_is_stale) {
            return;
        }
        let mut report = self.ways();
        self.hold_worse(&mut report);
        let is_storing = Some(self.is_storing);
        if report == self.telling.report && self.telling.report_is_storing == is_storing {
            return;
        }
        self.telling.report = report;
        self.telling.report_is_storing = is_storing;
        // Alike for all, unless some are reached over a neighbour: that one is not told so.
        let is_alike = self.telling.report.iter().all(|way| way.via.is_none());
        let links: Vec<Link> = self.links.iter().cloned().collect();
        let mut shared: Option<MemberMessage> = None;
        for link in links {
            let message = match &shared {
                Some(message) if is_alike => message.clone(),
                _ => self.report_for(&link),
            };
            shared = Some(message.clone());
            self.send(link.id, message, haste);
        }
    }

    /// Holds back what is told of members that are reached worse than was told last.
    fn hold_worse(&mut self, report: &mut Vec<Way>) {
        for told in &self.telling.report {
            let way = report.binary_search_by_key(&told.id, |way| way.id).ok();
            let way = way.and_then(|at| report.get(at));
            let is_worse = way.is_none_or(|way| way.n_hops > told.n_hops && !way.is_first_hand());
            let is_up = |member: &Member| member.record.is_up();
            if is_worse && self.members.get(told.id).is_some_and(is_up) {
                self.telling.held.insert(told.id, self.now + HOLD);
            }
        }
        let held = &self.telling.held;
        report.retain(|way| way.is_first_hand() || !held.contains_key(&way.id));
    }

    /// Members that are reached, in order of identity.
    fn ways(&self) -> Vec<Way> {
        let members = self.members.iter();
        members.filter_map(|member| self.way_of(member)).collect()
    }

    /// How a member is reached, if it is up and is reached.
    pub(super) fn way_of(&self, member: &Member) -> Option<Way> {
        let id = member.record.id;
        if !member.record.is_up() {
            return None;
        }
        if self.links.is_usable(id) {
            let (n_hops, via) = (1, None);
            return Some(Way { id, n_hops, via });
        }
        if member.path == Path::Linked {
            return None; // A moment later by our own link.
        }
        let (n_hops, via) = self.links.way_to(id)?;
        let via = Some(via);
        (n_hops < HOPS_MAX).then_some(Way { id, n_hops, via })
    }

    fn report_for(&self, link: &Link) -> MemberMessage {
        let report = self.telling.report.iter();
        let others = report.filter(|way| way.via != Some(link.peer));
        let hops = others.map(|way| (way.id, way.n_hops)).collect();
        let is_storing = self.is_storing;
        Said::Report { hops, is_storing }.to_message()
    }

    fn tell_changes(&mut self, haste: Haste) {
        let pending = std::mem::take(&mut self.telling.pending);
        if pending.is_empty() {
            return;
        }
        let links: Vec<Link> = self.links.iter().cloned().collect();
        for link in links {
            let news = pending
                .iter()
                .filter(|(_, sources)| !sources.contains(&link.id));
            let records = news.filter_map(|(id, _)| {
                let record = self.record(*id)?;
                let is_needless = *id == link.peer && record.is_up();
                (!is_needless).then(|| self.for_link(record, &link))
            });
            let records: Vec<Record> = records.collect();
            for part in records.chunks(RECORDS_PER_MESSAGE) {
                let records = part.to_vec();
                self.send(link.id, Said::Delta { records }.to_message(), haste);
            }
        }
    }

    /// A claim that is known was heard once more: who makes it need not be told, unless it lacks where
    /// the member is reached.
    pub(super) fn heard_alike(&mut self, heard: &Record, from: LinkId) {
        let is_pending = self.telling.pending.contains_key(&heard.id);
        let known = self.record(heard.id).filter(|_| is_pending);
        let link = self.links.get(from);
        let told = known
            .zip(link)
            .map(|(known, link)| self.for_link(known, link));
        let is_new_to_them = told.is_none_or(|told| {
            told.link.is_some() && heard.link.is_none()
                || told.http.is_some() && heard.http.is_none()
        });
        if !is_new_to_them && let Some(sources) = self.telling.pending.get_mut(&heard.id) {
            sources.insert(from);
        }
    }

    fn send_table(&mut self, link: &Link) {
        let members = self.members.iter().map(|member| &member.record);
        let mut records = vec![self.for_link(&self.own, link)];
        records.extend(members.map(|record| self.for_link(record, link)));
        let n_parts = records.len().div_ceil(RECORDS_PER_MESSAGE);
        for (at, part) in records.chunks(RECORDS_PER_MESSAGE).enumerate() {
            let (records, is_last) = (part.to_vec(), at + 1 == n_parts);
            let table = Said::Table { records, is_last };
            self.send(link.id, table.to_message(), Haste::AtOnce);
        }
    }

    /// A record without addresses that mean nothing at the other end of a link. Where the node was
    /// reached at such a one, another is told at which it was heard.
    fn for_link(&self, record: &Record, link: &Link) -> Record {
        let heard = self.dialling.peer(record.id);
        let heard = heard
            .into_iter()
            .flat_map(|peer| peer.addresses.iter().copied());
        let mut addresses = record.link.into_iter().chain(heard);
        Record {
            link: addresses.find(|address| is_tellable(address, link)),
            http: record.http.filter(|address| is_tellable(address, link)),
            ..record.clone()
        }
    }

    fn record(&self, id: NodeId) -> Option<&Record> {
        if id == self.own.id {
            return Some(&self.own);
        }
        self.members.get(id).map(|member| &member.record)
    }

    pub(super) fn send(&mut self, link: LinkId, message: MemberMessage, haste: Haste) {
        self.out.push(ClusterOutput::SendFrame {
            link,
            message,
            haste,
        });
    }
}

fn is_tellable(address: &SocketAddr, link: &Link) -> bool {
    let is_local = is_loopback(address.ip()) && !is_loopback(link.observed.ip());
    !is_local && !is_of_segment(address) && !address.ip().is_unspecified()
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
