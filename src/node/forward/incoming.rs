//! What other nodes send to be stored here: each link has an inbox, whose acknowledgements leave when
//! the store has decided.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    base::verdict::{Settle, Verdict},
    cluster::{
        net::{LinkHandle, Received},
        proto::{
            LinkId,
            link::{frame::FrameKind, outcome::CloseReason},
        },
    },
    delivery::forwarding::{
        Inbox,
        wire::{self, Acks, FrameNumber},
    },
    metrics::forward::ForwardMetrics,
    node::cluster::Traffic,
    store::Store,
};

/// The inboxes of all links.
pub(super) struct Incoming {
    store: Arc<Store>,
    metrics: ForwardMetrics,
    by_link: BTreeMap<LinkId, Arc<LinkInbox>>,
}

/// One link's inbox; acknowledgements are sent under its lock, so that they leave in order.
struct LinkInbox {
    link: LinkHandle,
    inbox: Mutex<Inbox>,
}

impl Incoming {
    pub(super) const fn new(store: Arc<Store>, metrics: ForwardMetrics) -> Self {
        Self {
            store,
            metrics,
            by_link: BTreeMap::new(),
        }
    }

    /// Takes a frame of records. The other end gets its credit back when they are decided.
    pub(super) fn take(&mut self, traffic: Traffic) {
        let Traffic { link, frame, .. } = traffic;
        let inbox = Arc::clone(self.by_link.entry(link.link()).or_insert_with(|| {
            let inbox = Mutex::default();
            let link = link.clone();
            Arc::new(LinkInbox { link, inbox })
        }));
        let read = wire::read_records(&frame.payload);
        let Ok((number, batch)) = read.inspect_err(|error| {
            tracing::error!(link = %link.link(), %error, "records of another node cannot be read");
        }) else {
            return link.close(CloseReason::Protocol("unreadable records".to_owned()));
        };
        if let Err(error) = inbox.lock().take(number) {
            return link.close(CloseReason::Protocol(error.to_string()));
        }
        let n_records = batch.n_records() as u64;
        let n_positions = batch.n_positions() as u64;
        self.metrics.forwarded.inc_by("in", n_positions);
        let metrics = self.metrics.clone();
        let settle = Settle::doing(move |verdict| {
            let is_stored = verdict == Verdict::Durable;
            let counter = if is_stored {
                &metrics.taken_over
            } else {
                &metrics.turned_away
            };
            counter.inc_by(n_records);
            inbox.decide(number, is_stored, frame);
        });
        self.store.submit(batch, settle);
    }

    /// The store stopped taking records: what waits for it is turned away.
    pub(super) fn turn_away(&self) {
        for inbox in self.by_link.values() {
            let mut waiting = inbox.lock();
            let acks = waiting.refuse_all();
            inbox.tell(acks);
        }
    }

    /// Forgets the links that have ended.
    pub(super) fn tidy(&mut self) {
        self.by_link.retain(|_, inbox| !inbox.link.is_closed());
    }
}

impl LinkInbox {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, number: FrameNumber, is_stored: bool, frame: Received) {
        let mut inbox = self.lock();
        let acks = inbox.decide(number, is_stored);
        self.tell(acks);
        drop(inbox);
        drop(frame); // The credit goes back behind the acknowledgement.
    }

    /// Tells the other end. What cannot be told is made good by the end of the link, after which
    /// everything that is not acknowledged is sent again.
    fn tell(&self, acks: Option<Acks>) {
        let Some(acks) = acks else { return };
        if self
            .link
            .send(FrameKind::RECORD_ACKS, acks.to_payload())
            .is_err()
        {
            self.link.close(CloseReason::NotReady);
        }
    }
}
