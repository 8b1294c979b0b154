//! What this node was told while it runs, for a driver that starts anew; knows no core.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cluster::proto::{ClusterInput, PeerAddress};

/// Peers given by hand that are told again; the core remembers no more either.
const PEERS_MAX: usize = 256;

/// The orders that hold until others are given or the node stops.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    is_storing: bool,
    /// As the configuration says while nobody has said otherwise.
    is_paused: Option<bool>,
    peers: Vec<PeerAddress>,
}

impl Orders {
    /// Remembers `input`, if it is one that holds.
    pub(super) fn note(&self, input: &ClusterInput) {
        let mut standing = self.standing();
        match input {
            ClusterInput::Health { is_storing } => standing.is_storing = *is_storing,
            ClusterInput::Pause => standing.is_paused = Some(true),
            ClusterInput::Resume => standing.is_paused = Some(false),
            ClusterInput::DialAddress(peer)
                if standing.peers.len() < PEERS_MAX && !standing.peers.contains(peer) =>
            {
                standing.peers.push(peer.clone());
            }
            _ => {}
        }
    }

    /// What a core that knows nothing is to be told first.
    pub(super) fn inputs(&self) -> Vec<ClusterInput> {
        let standing = self.standing();
        let health = ClusterInput::Health {
            is_storing: standing.is_storing,
        };
        let pause = standing.is_paused.map(|is_paused| match is_paused {
            true => ClusterInput::Pause,
            false => ClusterInput::Resume,
        });
        let peers = standing.peers.iter().cloned();
        [health]
            .into_iter()
            .chain(pause)
            .chain(peers.map(ClusterInput::DialAddress))
            .collect()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_knows_nothing_is_told_what_holds_and_nothing_else() {
        let orders = Orders::default();
        let told = |orders: &Orders| format!("{:?}", orders.inputs());
        assert_eq!(told(&orders), "[Health { is_storing: false }]");
        let peer = |port: u16| {
            let address = std::net::SocketAddr::from(([10, 0, 0, 1], port));
            ClusterInput::DialAddress(PeerAddress::Address(address))
        };
        for input in [
            ClusterInput::Pause,
            ClusterInput::Tick,
            peer(1),
            ClusterInput::Health { is_storing: true },
            peer(2),
            ClusterInput::Resume,
            peer(1),
            ClusterInput::Leave,
        ] {
            orders.note(&input);
        }
        let expected = vec![
            ClusterInput::Health { is_storing: true },
            ClusterInput::Resume,
            peer(1),
            peer(2),
        ];
        assert_eq!(told(&orders), format!("{expected:?}"));
        (0..=u16::MAX)
            .map(peer)
            .for_each(|input| orders.note(&input));
        assert_eq!(orders.inputs().len(), PEERS_MAX + 2);
    }
}
