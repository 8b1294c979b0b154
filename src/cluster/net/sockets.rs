//! The owner of all sockets of discovery: what comes in, comes in here, and what leaves, leaves
//! here. It must not know what a datagram says.
//!
//! There is one socket for each place: an interface and a transport. Places come and go with the
//! interfaces. A socket that fails is closed and opened again with back-off, and at once when the
//! interfaces change; no other place suffers, and where no network is there is nothing to do but to
//! wait for one.

use std::{
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::time::Sleep;

use crate::{
    base::time::Instant,
    cluster::proto::{InterfaceIndex, SocketPlace, Transport},
};

use super::{place::Place, plan::Plans, watch::InterfaceWatch};

pub use super::{
    place::{PlaceCounts, PlaceStatus},
    plan::SocketsConfig,
};

/// Bytes of the longest datagram; longer ones are refused.
pub const DATAGRAM_BYTES_MAX: usize = 512;
/// Datagrams that are handed out in one turn.
pub const DATAGRAMS_MAX: usize = 64;

/// What happened on the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketEvent {
    /// A socket can hear and speak from now on.
    Opened(SocketPlace),
    /// It cannot any more: it failed, or its interface is gone.
    Closed(SocketPlace),
    /// A datagram came in.
    Datagram(Datagram),
    /// One came in that is longer than [`DATAGRAM_BYTES_MAX`]; it was thrown away.
    TooLong {
        /// Where it came in.
        place: SocketPlace,
        /// Source address.
        from: SocketAddr,
    },
}

/// A datagram, from whomever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Its payload; may be empty.
    pub bytes: Bytes,
    /// Source address; one of an IPv6 link has the interface as its scope.
    pub from: SocketAddr,
    /// Interface it came in by.
    pub interface: InterfaceIndex,
    /// Transport it came in by.
    pub transport: Transport,
}

/// All sockets of discovery on this machine.
#[derive(Debug)]
pub struct DiscoverySockets {
    config: SocketsConfig,
    watch: InterfaceWatch,
    /// Ordered by place.
    places: Vec<Place>,
    /// The place that is read first in the next turn.
    next: usize,
    /// Openings and closings that nobody was told of yet.
    events: Vec<SocketEvent>,
    /// Ends when the next place is to be tried again.
    pause: Pin<Box<Sleep>>,
    /// Feeds the jitter of tries.
    seed: u64,
    /// Interfaces that were more than are used, when last looked at.
    n_left_out: usize,
    /// Whether sockets were wanted then, and there was no place for any.
    is_idle: bool,
}

impl DiscoverySockets {
    /// Opens what can be opened now. Nothing that fails here ends anything; see
    /// [`status`](Self::status).
    ///
    /// # Panics
    /// Outside of a tokio runtime with input, output and time.
    pub fn open(config: SocketsConfig, seed: u64) -> Self {
        let mut sockets = Self {
            config,
            watch: InterfaceWatch::new(),
            places: Vec::new(),
            next: 0,
            events: Vec::new(),
            pause: Box::pin(tokio::time::sleep_until(Instant::now().to_tokio())),
            seed,
            n_left_out: 0,
            is_idle: false,
        };
        sockets.follow_interfaces();
        sockets
    }

    /// Waits until something happened, and appends it to `into`: openings and closings, and at most
    /// [`DATAGRAMS_MAX`] datagrams, taken from all sockets in turn. Whoever calls this in a loop
    /// works off as much and then lets others run. Cancel-safe: nothing is lost.
    pub async fn recv(&mut self, into: &mut Vec<SocketEvent>) {
        poll_fn(|context| self.poll_recv(context, into)).await;
    }

    /// Sends a datagram once over each open socket. What cannot be sent now is dropped and counted;
    /// a socket whose interface is gone is closed.
    pub fn send(&mut self, bytes: &[u8]) {
        for place in &mut self.places {
            place.send(bytes, &mut self.events);
        }
    }

    /// Closes a socket that has gone deaf and opens it anew; unknown places are ignored, since the
    /// interface may just have gone.
    pub fn reopen(&mut self, place: SocketPlace) {
        if let Some(found) = self.places.iter_mut().find(|one| one.place() == place) {
            tracing::warn!(%place.transport, interface = found.interface(), "discovery is deaf here: its socket is opened anew");
            found.reopen(&mut self.events);
        }
    }

    /// Joins the group of a place again; where that fails, the socket is closed and opened anew.
    pub fn rejoin(&mut self, place: SocketPlace) {
        if let Some(found) = self.places.iter_mut().find(|one| one.place() == place) {
            found.rejoin(&mut self.events);
        }
    }

    /// All places, open or not, in order.
    pub fn status(&self) -> Vec<PlaceStatus> {
        self.places.iter().map(Place::status).collect()
    }

    fn poll_recv(&mut self, context: &mut Context<'_>, into: &mut Vec<SocketEvent>) -> Poll<()> {
        if self.watch.poll_changed(context).is_ready() {
            self.follow_interfaces();
            // There may be more to notice, and nobody is awaited yet.
            context.waker().wake_by_ref();
        }
        self.poll_retries(context);
        let n_before = into.len();
        into.append(&mut self.events);
        self.poll_datagrams(context, into);
        // Sockets that failed just now.
        into.append(&mut self.events);
        if into.len() == n_before {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Tries places again whose time has come, and awaits the time of the next one.
    fn poll_retries(&mut self, context: &mut Context<'_>) {
        while let Some(due) = self.places.iter().filter_map(Place::retry_at).min() {
            let now = Instant::now();
            if due > now {
                self.pause.as_mut().reset(due.to_tokio());
                if self.pause.as_mut().poll(context).is_pending() {
                    return;
                }
            }
            for place in &mut self.places {
                place.retry(now.max(due), &mut self.events);
            }
        }
    }

    fn poll_datagrams(&mut self, context: &mut Context<'_>, into: &mut Vec<SocketEvent>) {
        let mut n_left = DATAGRAMS_MAX;
        let mut n_silent = 0;
        let n_places = self.places.len();
        while n_left > 0 && n_silent < n_places {
            self.next = (self.next + 1) % n_places;
            let Some(place) = self.places.get_mut(self.next) else {
                return;
            };
            match place.poll_datagram(context, &mut self.events) {
                Poll::Ready(event) => {
                    into.push(event);
                    n_left -= 1;
                    n_silent = 0;
                }
                Poll::Pending => n_silent += 1,
            }
        }
    }

    /// Closes the sockets that are needed no more or otherwise, and opens those that are missing.
    fn follow_interfaces(&mut self) {
        let mut plans = Plans::new(&self.config, self.watch.known());
        let n_left_out = std::mem::replace(&mut self.n_left_out, plans.n_left_out);
        if plans.n_left_out > n_left_out {
            let n_left_out = plans.n_left_out;
            tracing::warn!(n_left_out, "too many interfaces: name those to be used");
        }
        let is_idle = plans.by_place.is_empty() && self.config.wants_sockets();
        let was_idle = std::mem::replace(&mut self.is_idle, is_idle);
        if is_idle && !was_idle {
            tracing::info!("no interface carries discovery; waiting for one");
        }
        let events = &mut self.events;
        self.places.retain_mut(|place| {
            let is_needed = plans.by_place.get(&place.place()) == Some(place.plan());
            if is_needed {
                plans.by_place.remove(&place.place());
                place.retry_now(events);
            } else {
                place.close(events, "its interface has changed or gone");
            }
            is_needed
        });
        for (place, plan) in plans.by_place {
            self.seed = self.seed.wrapping_add(1);
            let mut place = Place::new(place, plan, self.config.ttl, self.seed);
            place.retry_now(events);
            self.places.push(place);
        }
        self.places.sort_by_key(Place::place);
    }
}

#[cfg(test)]
mod tests;
