//! Where discovery listens and speaks: an interface and a way to carry datagrams over it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Number of a network interface, as the system gives it; 0 stands for none in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(pub u32);

impl fmt::Display for InterfaceIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A way to carry the datagrams of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// To a group of IPv4.
    Multicast,
    /// To a group of IPv6.
    Multicast6,
    /// To all of an IPv4 network.
    Broadcast,
    /// To a list of peers, one by one; nothing comes back to the sender.
    Static,
}

impl Transport {
    /// The name it has in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Multicast6 => "multicast6",
            Self::Broadcast => "broadcast",
            Self::Static => "static",
        }
    }

    /// Whether a sender hears its own datagrams, so that silence means deafness.
    pub const fn is_heard_by_sender(self) -> bool {
        !matches!(self, Self::Static)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One socket of discovery: a transport on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketPlace {
    /// Of the machine.
    pub interface: InterfaceIndex,
    /// What it speaks there.
    pub transport: Transport,
}

/// Whether an address holds within one network segment alone.
pub(crate) fn is_of_segment(address: &SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}
