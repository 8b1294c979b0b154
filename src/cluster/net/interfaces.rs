//! The interfaces of this machine: what they are called, what they can carry, which addresses they
//! have. It only reads; what is done with them is said in `plan`.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    net::if_::{InterfaceFlags, if_nametoindex},
};

use crate::cluster::proto::InterfaceIndex;

/// An interface as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceName {
    /// The one that has this address.
    Address(IpAddr),
    /// The one of this name.
    Name(String),
}

/// An interface of this machine at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The system's number; one that is deleted and made again has another.
    pub index: InterfaceIndex,
    /// The system's name, as `eth0`.
    pub name: String,
    /// Its IPv4 addresses, in the system's order.
    pub networks: Vec<Network>,
    /// Its IPv6 addresses, in the system's order; those still being checked for doubles are among
    /// them.
    pub addresses6: Vec<Ipv6Addr>,
    /// Switched on, and with a carrier.
    pub is_up: bool,
    /// Carries multicast, by its own word. Loopback says no, and carries it over IPv4.
    pub is_multicast: bool,
    /// Carries broadcast.
    pub is_broadcast: bool,
    /// Reaches this machine only.
    pub is_loopback: bool,
}

/// An IPv4 address of an interface, and the network that it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The interface's own.
    pub address: Ipv4Addr,
    /// Leading bits that all addresses of the network share; 0 to 32.
    pub prefix_bits: u32,
    /// What reaches all of the network; absent where the network is too small for that.
    pub broadcast: Option<Ipv4Addr>,
}

impl Network {
    /// A network as the system tells it; `told` is its word on the broadcast address.
    pub(crate) fn new(address: Ipv4Addr, mask: Ipv4Addr, told: Option<Ipv4Addr>) -> Self {
        let prefix_bits = mask.to_bits().leading_ones();
        Self {
            address,
            prefix_bits,
            broadcast: broadcast_address(address, prefix_bits, told),
        }
    }

    /// Whether `address` lies in this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = mask_of(self.prefix_bits);
        address.to_bits() & mask == self.address.to_bits() & mask
    }
}

/// All interfaces of this machine, by their index. Blocks for a fraction of a millisecond.
///
/// # Errors
/// What the system says when it gives no list.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found = BTreeMap::new();
    let entries: Vec<InterfaceAddress> = getifaddrs()?.collect();
    for entry in &entries {
        let name = base_name(entry);
        // Tunnels have no address of their own, only those of networks.
        let index = || if_nametoindex(name).ok().map(InterfaceIndex);
        if !found.contains_key(name)
            && let Some(index) = link_index(entry).or_else(index)
        {
            found.insert(name.to_owned(), without_addresses(index, entry));
        }
    }
    for entry in &entries {
        if let Some(interface) = found.get_mut(base_name(entry)) {
            add_address(interface, entry);
        }
    }
    let mut interfaces: Vec<Interface> = found.into_values().collect();
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// What reaches all of the network that `address` lies in: `told` where the system knows it, else
/// the last address of the network. Docker leaves it away, or says 0.0.0.0.
fn broadcast_address(
    address: Ipv4Addr,
    prefix_bits: u32,
    told: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    if prefix_bits >= 31 {
        return None;
    }
    let computed = Ipv4Addr::from_bits(address.to_bits() | !mask_of(prefix_bits));
    told.filter(|told| !told.is_unspecified() && *told != address)
        .or(Some(computed))
}

fn mask_of(prefix_bits: u32) -> u32 {
    u32::MAX
        .checked_shl(32_u32.saturating_sub(prefix_bits))
        .unwrap_or(0)
}

/// The interface's number, if this entry is the one of the interface itself.
fn link_index(entry: &InterfaceAddress) -> Option<InterfaceIndex> {
    let link = entry.address.as_ref()?.as_link_addr()?;
    u32::try_from(link.ifindex()).ok().map(InterfaceIndex)
}

/// The interface's name: an IPv4 address may carry a label as `eth0:1`.
fn base_name(entry: &InterfaceAddress) -> &str {
    let name = entry.interface_name.as_str();
    name.split_once(':').map_or(name, |(name, _)| name)
}

fn without_addresses(index: InterfaceIndex, entry: &InterfaceAddress) -> Interface {
    let has = |flags| entry.flags.contains(flags);
    Interface {
        index,
        name: base_name(entry).to_owned(),
        networks: Vec::new(),
        addresses6: Vec::new(),
        is_up: has(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
        is_multicast: has(InterfaceFlags::IFF_MULTICAST),
        is_broadcast: has(InterfaceFlags::IFF_BROADCAST),
        is_loopback: has(InterfaceFlags::IFF_LOOPBACK),
    }
}

fn add_address(interface: &mut Interface, entry: &InterfaceAddress) {
    let Some(address) = &entry.address else {
        return;
    };
    if let Some(address) = address.as_sockaddr_in() {
        let netmask = entry
            .netmask
            .as_ref()
            .and_then(|mask| mask.as_sockaddr_in());
        let mask = netmask.map_or(Ipv4Addr::BROADCAST, |mask| mask.ip());
        let broadcast = entry.broadcast.as_ref().and_then(|to| to.as_sockaddr_in());
        let told = broadcast.map(|to| to.ip());
        interface
            .networks
            .push(Network::new(address.ip(), mask, told));
    } else if let Some(address) = address.as_sockaddr_in6() {
        interface.addresses6.push(address.ip());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_broadcast_address_is_the_told_one_or_the_last_of_the_network() {
        let cases = [
            (
                "10.1.2.3",
                "255.255.255.0",
                Some("10.1.2.255"),
                Some("10.1.2.255"),
            ),
            (
                "172.17.0.2",
                "255.255.0.0",
                Some("0.0.0.0"),
                Some("172.17.255.255"),
            ),
            ("172.17.0.2", "255.255.0.0", None, Some("172.17.255.255")),
            // An old habit: the address itself stands where none was set.
            (
                "10.1.2.3",
                "255.255.255.0",
                Some("10.1.2.3"),
                Some("10.1.2.255"),
            ),
            // Told otherwise on purpose.
            (
                "10.1.2.3",
                "255.255.255.0",
                Some("10.1.2.0"),
                Some("10.1.2.0"),
            ),
            ("10.1.2.3", "255.255.255.252", None, Some("10.1.2.3")),
            ("10.1.2.3", "255.255.255.254", None, None),
            ("10.1.2.3", "255.255.255.255", Some("10.1.2.3"), None),
            ("10.1.2.3", "0.0.0.0", None, Some("255.255.255.255")),
            ("127.0.0.1", "255.0.0.0", None, Some("127.255.255.255")),
        ];
        for (own, mask, told, expected) in cases {
            let network = Network::new(address(own), address(mask), told.map(address));
            assert_eq!(
                network.broadcast,
                expected.map(address),
                "{own} {mask} {told:?}"
            );
        }
    }

    #[test]
    fn a_network_holds_what_shares_its_prefix() {
        let network = Network::new(address("10.1.2.3"), address("255.255.254.0"), None);
        assert_eq!(network.prefix_bits, 23);
        assert!(network.contains(address("10.1.3.255")));
        assert!(!network.contains(address("10.1.4.0")));
        let all = Network::new(address("10.1.2.3"), address("0.0.0.0"), None);
        assert!(all.contains(address("8.8.8.8")));
        let one = Network::new(address("10.1.2.3"), Ipv4Addr::BROADCAST, None);
        assert!(one.contains(address("10.1.2.3")) && !one.contains(address("10.1.2.2")));
    }

    #[test]
    fn this_machine_has_a_loopback_with_its_address() {
        let all = interfaces().unwrap();
        let loopback = all.iter().find(|one| one.is_loopback).unwrap();
        assert!(loopback.index.0 > 0 && !loopback.name.is_empty());
        if loopback.is_up {
            let own = loopback.networks.iter().map(|network| network.address);
            assert!(own.into_iter().any(|own| own == Ipv4Addr::LOCALHOST));
        }
    }
}
