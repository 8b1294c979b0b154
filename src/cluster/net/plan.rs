//! Which sockets discovery needs on this machine at this moment: a pure function of the interfaces
//! and the settings.
//!
//! Every interface that is up and can carry a transport gets a socket for it. Loopback gets some
//! only where it is named, or where nothing else can carry anything: then several nodes of a host
//! without a network still find each other.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    num::NonZeroU16,
};

use crate::cluster::proto::{SocketPlace, Transport};

use super::interfaces::{Interface, InterfaceName, Network};

/// Interfaces that are used at most: a host of containers has hundreds, and each beacon leaves once
/// on each. Those with the lowest index are taken; named ones can be chosen instead.
const INTERFACES_MAX: usize = 32;

/// What the datagrams of discovery travel by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketsConfig {
    /// The ways that are used. `Static` opens no socket: such peers are dialled.
    pub transports: Vec<Transport>,
    /// UDP port of all datagrams, the same on every node.
    pub port: NonZeroU16,
    /// IPv4 group.
    pub group: Ipv4Addr,
    /// IPv6 group.
    pub group6: Ipv6Addr,
    /// Hops that a datagram may travel; 1: it stays on the LAN.
    pub ttl: u8,
    /// Where broadcasts go: to this address, from the interfaces whose network it lies in
    /// (255.255.255.255 lies in all). Absent: the broadcast address of each interface.
    pub broadcast_address: Option<Ipv4Addr>,
    /// Interfaces that are used; empty: all that are capable.
    pub interfaces: Vec<InterfaceName>,
}

/// How the socket of a place is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The interface's name.
    pub(crate) interface: String,
    /// The interface's own address, which the others see.
    pub(crate) local: IpAddr,
    /// Where its datagrams go.
    pub(crate) to: SocketAddr,
}

/// The sockets that are needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plans {
    /// By their place.
    pub(crate) by_place: BTreeMap<SocketPlace, Plan>,
    /// Interfaces that would do, but are more than are used.
    pub(crate) n_left_out: usize,
}

impl Plans {
    /// The sockets that follow from `interfaces` as they are now.
    pub(crate) fn new(config: &SocketsConfig, interfaces: &[Interface]) -> Self {
        let is_wanted = |one: &&Interface| one.is_up && config.names(one);
        let wanted = interfaces.iter().filter(is_wanted);
        if !config.interfaces.is_empty() {
            return Self::of(config, wanted);
        }
        let (loopback, others): (Vec<_>, Vec<_>) = wanted.partition(|one| one.is_loopback);
        let mut others = others;
        // Where there are too many, those of containers go first: they have no network of their own.
        others.sort_by_key(|one| !has_network(one));
        let plans = Self::of(config, others.into_iter());
        if plans.by_place.is_empty() {
            return Self::of(config, loopback.into_iter());
        }
        plans
    }

    fn of<'a>(config: &SocketsConfig, interfaces: impl Iterator<Item = &'a Interface>) -> Self {
        let mut plans = Self::default();
        let mut n_used = 0;
        for interface in interfaces {
            let found = config.plans_of(interface);
            if found.is_empty() {
                continue;
            }
            if n_used == INTERFACES_MAX {
                plans.n_left_out += 1;
                continue;
            }
            n_used += 1;
            plans.by_place.extend(found);
        }
        plans
    }
}

/// Whether an interface has an address that is of more than one segment.
fn has_network(interface: &Interface) -> bool {
    let mut addresses6 = interface.addresses6.iter();
    !interface.networks.is_empty() || addresses6.any(|address| !address.is_unicast_link_local())
}

impl SocketsConfig {
    /// Whether there is a way that needs sockets, and so interfaces.
    pub(crate) fn wants_sockets(&self) -> bool {
        let mut transports = self.transports.iter();
        transports.any(|transport| *transport != Transport::Static)
    }

    /// Whether an interface is among the named ones; where none is named, all are.
    fn names(&self, interface: &Interface) -> bool {
        self.interfaces.is_empty()
            || self.interfaces.iter().any(|named| match named {
                InterfaceName::Name(name) => *name == interface.name,
                InterfaceName::Address(address) => has_address(interface, *address),
            })
    }

    fn plans_of(&self, interface: &Interface) -> Vec<(SocketPlace, Plan)> {
        let plan = |transport: &Transport| {
            let (local, to) = match transport {
                Transport::Multicast => self.multicast(interface)?,
                Transport::Multicast6 => self.multicast6(interface)?,
                Transport::Broadcast => self.broadcast(interface)?,
                Transport::Static => return None,
            };
            let place = SocketPlace {
                interface: interface.index,
                transport: *transport,
            };
            let interface = interface.name.clone();
            Some((
                place,
                Plan {
                    interface,
                    local,
                    to,
                },
            ))
        };
        self.transports.iter().filter_map(plan).collect()
    }

    fn multicast(&self, interface: &Interface) -> Option<(IpAddr, SocketAddr)> {
        // Loopback does not say that it carries multicast, but over IPv4 it does.
        let is_capable = interface.is_multicast || interface.is_loopback;
        let network = self.network(interface).filter(|_| is_capable)?;
        let to = SocketAddr::from((self.group, self.port.get()));
        Some((network.address.into(), to))
    }

    fn multicast6(&self, interface: &Interface) -> Option<(IpAddr, SocketAddr)> {
        // Loopback has no route for groups of IPv6.
        if !interface.is_multicast || interface.is_loopback {
            return None;
        }
        let addresses = &interface.addresses6;
        let of_link = addresses.iter().find(|one| one.is_unicast_link_local());
        let local = of_link.or_else(|| addresses.first())?;
        let to = SocketAddrV6::new(self.group6, self.port.get(), 0, interface.index.0);
        Some(((*local).into(), to.into()))
    }

    fn broadcast(&self, interface: &Interface) -> Option<(IpAddr, SocketAddr)> {
        if !interface.is_broadcast && !interface.is_loopback {
            return None;
        }
        let (network, to) = match self.broadcast_address {
            Some(to) if !(to.is_broadcast() || interface.is_loopback) => {
                let network = interface.networks.iter().find(|one| one.contains(to))?;
                (network, to)
            }
            Some(to) if !interface.is_loopback => (self.network(interface)?, to),
            _ => {
                let network = self.network(interface)?;
                (network, network.broadcast?)
            }
        };
        let to = SocketAddr::from((to, self.port.get()));
        Some((network.address.into(), to))
    }

    /// The network that an interface is used by: that of the address it is named by, else its first.
    fn network<'a>(&self, interface: &'a Interface) -> Option<&'a Network> {
        let is_named = |network: &&Network| {
            let name = InterfaceName::Address(network.address.into());
            self.interfaces.contains(&name)
        };
        let networks = &interface.networks;
        networks.iter().find(is_named).or_else(|| networks.first())
    }
}

fn has_address(interface: &Interface, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => interface.networks.iter().any(|one| one.address == address),
        IpAddr::V6(address) => interface.addresses6.contains(&address),
    }
}

#[cfg(test)]
mod tests;
