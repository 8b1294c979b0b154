//! The whole core behind one door: [`Cluster::handle`].

mod core;
mod judging;
mod linking;
mod merging;
mod naming;
mod publishing;
mod remembering;
mod telling;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod views;

use std::net::SocketAddr;

use crate::{base::prng::Prng, base::time::Instant};

use self::core::Core;
use super::{
    card::NodeCard,
    config::ClusterConfig,
    discovery::{Arrival, Discovery},
    input::ClusterInput,
    output::{ClusterOutput, Refusal},
    place::SocketPlace,
};

pub use self::views::{
    ClusterCounts, DiscoveryView, MemberState, MemberView, MemberWay, PeerView, PlaceView,
    SenderView, Storing, TableSizes, Verdict,
};

/// One node's part of the cluster: who is there, whom to dial, what to say. Holds no socket and reads
/// no clock.
#[derive(Debug)]
pub struct Cluster {
    discovery: Discovery,
    core: Core,
}

impl Cluster {
    /// A node that has just started. Its first outputs come with the first input; a
    /// [`ClusterInput::Tick`] will do.
    pub fn new(now: Instant, config: ClusterConfig) -> Self {
        let mut prng = Prng::new(config.seed);
        Self {
            discovery: Discovery::new(now, &config, prng.split()),
            core: Core::new(now, config, prng.split()),
        }
    }

    /// Takes in one thing that happened, does what is due by `now`, and appends to `out` what is to be
    /// done. `now` never goes backwards. Afterwards [`next_deadline`](Self::next_deadline) may be
    /// another.
    pub fn handle(&mut self, now: Instant, input: ClusterInput, out: &mut Vec<ClusterOutput>) {
        self.handle_all(now, [input], out);
    }

    /// The same for things that happened together, in this order. What is due is looked for once: that
    /// costs something for each member, and where many meet there is much to take in.
    pub fn handle_all(
        &mut self,
        now: Instant,
        inputs: impl IntoIterator<Item = ClusterInput>,
        out: &mut Vec<ClusterOutput>,
    ) {
        self.core.now = now;
        self.core.out.append(out);
        for input in inputs {
            self.take(now, input);
        }
        self.core.settle();
        if std::mem::take(&mut self.core.misses_company) {
            self.discovery.lost(now);
        }
        let core = &mut self.core;
        let mut said = std::mem::take(&mut core.out);
        self.discovery.poll(now, &core.config, core, &mut said);
        core.is_formed = self.discovery.is_first_series_over();
        *out = said;
    }

    /// When [`handle`](Self::handle) is to be called with a [`ClusterInput::Tick`] if nothing comes in
    /// before; `None` if only an input changes anything. It may have passed.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.discovery.next_deadline(), self.core.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Whether the link of a caller is taken, by the card of its hello; `observed` is the address it
    /// calls from. To be asked inside the handshake, so that the caller is told why not. What follows for
    /// this node itself (it may have to give up its name) is appended to `out`.
    ///
    /// # Errors
    /// [`Refusal`], to be told to the caller.
    pub fn admit(
        &mut self,
        now: Instant,
        card: &NodeCard,
        observed: SocketAddr,
        out: &mut Vec<ClusterOutput>,
    ) -> Result<(), Refusal> {
        self.core.now = now;
        let answer = self.core.admit(card, observed);
        self.handle(now, ClusterInput::Tick, out);
        answer
    }

    fn take(&mut self, now: Instant, input: ClusterInput) {
        match input {
            ClusterInput::Datagram {
                bytes,
                from,
                interface,
                transport,
            } => {
                let place = SocketPlace {
                    interface,
                    transport,
                };
                let arrival = Arrival {
                    bytes: &bytes,
                    from,
                    place,
                };
                let core = &mut self.core;
                let heard = self.discovery.datagram(now, arrival, &core.config, core);
                if let Some(sighting) = heard {
                    core.sighted(&sighting);
                }
            }
            ClusterInput::SocketOpened(place) => self.discovery.socket_opened(now, place),
            ClusterInput::SocketClosed(place) => self.discovery.socket_closed(place),
            ClusterInput::Pause => self.discovery.pings.pause(),
            ClusterInput::Resume => self.discovery.resume(now),
            ClusterInput::Leave => {
                self.discovery.pings.pause();
                self.core.leave();
            }
            other => self.core.take(other),
        }
    }
}
