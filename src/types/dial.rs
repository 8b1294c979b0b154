//! Where a node is dialled that was given by hand.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};

/// Port of links where none is given.
pub const LINK_PORT: u16 = 5_001;

/// Longest name of a host in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// An address, or the name of a host that is resolved at each dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialAddress {
    /// IP address and port.
    Address(SocketAddr),
    /// Name of a host.
    Host(String, NonZeroU16),
}

impl DialAddress {
    /// Reads `HOST`, `HOST:PORT`, `IP`, `IP:PORT`, `[IPv6]:PORT`; without a port it is [`LINK_PORT`].
    /// `None` for what nobody can be dialled at.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::of_address(address);
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Self::of_address(SocketAddr::new(ip, LINK_PORT));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, NonZeroU16::new(LINK_PORT)?),
        };
        is_host(host).then(|| Self::Host(host.to_owned(), port))
    }

    fn of_address(address: SocketAddr) -> Option<Self> {
        let ip = address.ip();
        let is_possible = address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast();
        is_possible.then_some(Self::Address(address))
    }
}

impl fmt::Display for DialAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Host(host, port) => write!(formatter, "{host}:{port}"),
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let looks_like_address = host
        .chars()
        .all(|letter| letter.is_ascii_digit() || letter == '.');
    (1..=HOST_BYTES_MAX).contains(&host.len()) && host.chars().all(is_letter) && !looks_like_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back() {
        for (text, printed) in [
            ("10.0.0.7", "10.0.0.7:5001"),
            ("10.0.0.7:6001", "10.0.0.7:6001"),
            ("::1", "[::1]:5001"),
            ("[::1]", "[::1]:5001"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
            ("gate-1", "gate-1:5001"),
            ("gate-1.example.org:9", "gate-1.example.org:9"),
        ] {
            let address = DialAddress::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(address.to_string(), printed);
            assert_eq!(DialAddress::parse(printed), Some(address));
        }
    }

    #[test]
    fn what_nobody_can_be_dialled_at_is_none() {
        let long = "a".repeat(254);
        for text in [
            "",
            ":5001",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "a b",
            "a/b",
            "10.0.0",
            "1.2.3.4.5:6",
            "10.0.0.7:0",
            "0.0.0.0:5001",
            "224.0.0.1:5001",
            "[::]:1",
            "[::1",
            "é",
            "a\u{0}b",
            &long,
        ] {
            assert_eq!(DialAddress::parse(text), None, "{text}");
        }
    }
}
