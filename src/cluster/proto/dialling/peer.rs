//! One peer: where it may be, and what follows from a dial that failed.

use std::{net::SocketAddr, time::Duration};

use crate::base::time::Instant;

use super::super::{
    card::{NodeName, RunNumber},
    link::outcome::DialFailure,
    link_id::DialId,
    place::is_of_segment,
    timing::{
        ADDRESSES_MAX, DYING, NAME_RETRY, NAME_RETRY_MAX, REDIAL, REDIAL_LONG_AFTER, RETRIES,
        RETRY_DYING,
    },
};

/// A node that is dialled.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: NodeName,
    /// Whether its last beacon said that it holds its name.
    pub(crate) is_settled: bool,
    /// When its last beacon came; absent for peers that others report.
    pub(crate) heard_at: Option<Instant>,
    /// Why the last dial failed; absent once a link stood, or a new run appeared.
    pub(crate) failure: Option<DialFailure>,
    pub(crate) run: Option<RunNumber>,
    /// Where it may be, the next to be dialled first.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where it took links when one stood last.
    stood_at: Option<SocketAddr>,
    /// Where it was dialled last.
    pub(super) dialled_at: Option<SocketAddr>,
    /// When it is dialled next.
    pub(super) next: Option<Instant>,
    pub(super) flying: Option<DialId>,
    pub(super) plan: Plan,
    pub(super) is_linked: bool,
    pub(super) is_kept: bool,
    /// When a beacon last caused a dial.
    pub(super) beacon_dial_at: Option<Instant>,
    /// Dials that failed since a link stood, or a new run appeared.
    pub(super) n_failed: u32,
    /// When the last link came to stand.
    linked_at: Option<Instant>,
    /// Links one after the other that broke as soon as they stood.
    n_brief: u32,
}

/// How failed dials are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// It may not listen yet: some quick tries.
    Fresh { n_tries: usize },
    /// It was lost then: often for a minute, then seldom.
    Redial { since: Instant },
}

impl Peer {
    pub(super) fn new(name: &NodeName) -> Self {
        Self {
            name: name.clone(),
            is_settled: false,
            heard_at: None,
            failure: None,
            run: None,
            addresses: Vec::new(),
            stood_at: None,
            dialled_at: None,
            next: None,
            flying: None,
            plan: Plan::Fresh { n_tries: 0 },
            is_linked: false,
            is_kept: false,
            beacon_dial_at: None,
            n_failed: 0,
            linked_at: None,
            n_brief: 0,
        }
    }

    /// Whether dialling it has failed, so that it does not count as company that is missing.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// It said that it does not take us: that holds until it starts anew.
    pub(crate) fn is_barred(&self) -> bool {
        matches!(
            self.failure,
            Some(DialFailure::NotAccepted | DialFailure::Itself)
        )
    }

    /// No dial is planned or under way.
    pub(crate) const fn is_idle(&self) -> bool {
        self.next.is_none() && self.flying.is_none()
    }

    pub(super) const fn is_expendable(&self) -> bool {
        self.is_idle() && !self.is_linked && !self.is_kept
    }

    /// A new run starts with a clean sheet.
    pub(super) fn meet_run(&mut self, run: RunNumber) {
        if self.run != Some(run) {
            self.run = Some(run);
            self.failure = None;
            self.n_failed = 0;
            self.beacon_dial_at = None;
            self.plan = Plan::Fresh { n_tries: 0 };
        }
    }

    /// The address it was seen at last comes first, but for those of one network segment alone:
    /// over a link to such a one this node could not tell others where the peer is.
    pub(super) fn add_address(&mut self, address: SocketAddr) {
        self.addresses.retain(|known| *known != address);
        self.addresses.insert(0, address);
        self.addresses.sort_by_key(is_of_segment);
        self.addresses.truncate(ADDRESSES_MAX);
    }

    pub(super) fn add_address_last(&mut self, address: SocketAddr) {
        if !self.addresses.contains(&address) && self.addresses.len() < ADDRESSES_MAX {
            self.addresses.push(address);
        }
    }

    pub(super) fn next_address(&mut self) {
        if !self.addresses.is_empty() {
            self.addresses.rotate_left(1);
        }
    }

    /// Whether a beacon from it may cause a dial: the first at once, others after a delay that
    /// doubles with each failure.
    pub(super) fn may_dial_for_beacon(&self, now: Instant) -> bool {
        let spacing = REDIAL * (1 << self.n_failed.min(5));
        let is_soon = self
            .beacon_dial_at
            .is_some_and(|at| now.since(at) < spacing);
        !self.is_linked && self.flying.is_none() && !self.is_barred() && !is_soon
    }

    pub(super) fn plan_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Whether the last dial went to where a link stood: elsewhere a refusal says nothing of its life.
    pub(crate) fn was_dialled_where_it_stood(&self) -> bool {
        self.dialled_at.is_some() && self.dialled_at == self.stood_at
    }

    pub(super) fn link_stands(&mut self, now: Instant, address: SocketAddr) {
        self.stood_at = Some(address);
        self.is_linked = true;
        self.linked_at = Some(now);
        self.next = None;
        self.failure = None;
        self.n_failed = 0;
        self.plan = Plan::Fresh { n_tries: 0 };
    }

    /// The last link is gone; when it may be dialled again.
    pub(super) fn link_broke(&mut self, now: Instant) -> Instant {
        // Wherever it was heard from meanwhile, or somebody who repeats what it said.
        if let Some(address) = self.stood_at {
            self.addresses.retain(|known| *known != address);
            self.addresses.insert(0, address);
            self.addresses.truncate(ADDRESSES_MAX);
        }
        let may_be = self.linked_at.map_or(now, |at| at + REDIAL);
        if may_be <= now {
            self.n_brief = 0;
            return now;
        }
        self.n_brief = self.n_brief.saturating_add(1);
        if self.n_brief > 1 { may_be } else { now }
    }

    pub(super) fn dial_failed(
        &mut self,
        now: Instant,
        started: Instant,
        why: DialFailure,
        interval: Duration,
    ) {
        self.flying = None;
        if self.is_linked {
            return;
        }
        self.n_failed = self.n_failed.saturating_add(1);
        self.next_address();
        let delay = match why {
            DialFailure::NotAccepted | DialFailure::Itself => None,
            DialFailure::Duplicate => Some(REDIAL),
            DialFailure::NameTaken { .. } => {
                let doubled = NAME_RETRY * (1 << (self.n_failed - 1).min(5));
                Some(doubled.min(NAME_RETRY_MAX))
            }
            _ => self.delay_after_failure(now, &why, interval),
        };
        if why != DialFailure::Duplicate {
            self.failure = Some(why);
        }
        let again = delay.map(|delay| (started + delay).max(now));
        self.next = [self.next, again].into_iter().flatten().min();
    }

    fn delay_after_failure(
        &mut self,
        now: Instant,
        why: &DialFailure,
        interval: Duration,
    ) -> Option<Duration> {
        if let Plan::Fresh { n_tries } = &mut self.plan {
            let retry = RETRIES.get(*n_tries).copied();
            *n_tries += 1;
            if retry.is_some() {
                return retry;
            }
            if !self.is_kept {
                return None;
            }
            self.plan = Plan::Redial { since: now };
        }
        let Plan::Redial { since } = self.plan else {
            return None;
        };
        // A process that dies takes the call and breaks off, until its port is closed as well.
        let is_mute = matches!(
            why,
            DialFailure::TimedOut | DialFailure::Broken | DialFailure::Foreign
        );
        let may_be_dying = is_mute && now.since(since) < DYING;
        let delay = if may_be_dying {
            RETRY_DYING.max(now.since(since))
        } else if now.since(since) < REDIAL_LONG_AFTER {
            REDIAL
        } else {
            interval
        };
        self.is_kept.then_some(delay)
    }
}
