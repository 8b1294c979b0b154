//! Reads addresses: what to listen on, whom to dial, groups, interfaces.
//!
//! Pure: no name is resolved here.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use crate::ingest::BindAddress;

use super::{
    settings::{HostPort, InterfaceName},
    value::{Complaint, Found, quoted, some_text, text},
};

/// An address to listen on with vehicles or links: `:PORT`, `0.0.0.0:PORT` and `[::]:PORT` are all
/// addresses of both families.
pub(super) fn bind(found: &Found<'_>) -> Result<BindAddress, Complaint> {
    let text = text(found)?;
    let address = parse_bind(text, Ipv4Addr::UNSPECIFIED).ok_or_else(|| no_address(text))?;
    if address.ip().is_unspecified() {
        Ok(BindAddress::Both(address.port()))
    } else {
        Ok(BindAddress::One(address))
    }
}

/// An address to listen on with HTTP: `:PORT` is this machine alone.
pub(super) fn bind_local(found: &Found<'_>) -> Result<SocketAddr, Complaint> {
    let text = text(found)?;
    parse_bind(text, Ipv4Addr::LOCALHOST).ok_or_else(|| no_address(text))
}

/// A host and a port; without a port it is `default_port`, or a complaint where that is absent.
pub(super) fn host_port(
    found: &Found<'_>,
    default_port: Option<NonZeroU16>,
) -> Result<HostPort, Complaint> {
    let text = some_text(found)?;
    let wrong = || Complaint::new(format!("{} is no host and port", quoted(text)));
    let (host, port) = split_host_port(text);
    let port = match port {
        Some(port) => Some(port.parse().map_err(|_| wrong())?),
        None => default_port,
    };
    if !is_host(host) {
        return Err(wrong());
    }
    Ok(HostPort {
        host: host.to_owned(),
        port: port.ok_or_else(wrong)?,
    })
}

/// An IPv4 multicast group.
pub(super) fn group(found: &Found<'_>) -> Result<Ipv4Addr, Complaint> {
    let text = text(found)?;
    let address: Option<Ipv4Addr> = text.parse().ok();
    address.filter(Ipv4Addr::is_multicast).ok_or_else(|| {
        let problem = format!("{} is no multicast address (224.0.0.0/4)", quoted(text));
        Complaint::new(problem)
    })
}

/// An IPv6 multicast group.
pub(super) fn group6(found: &Found<'_>) -> Result<Ipv6Addr, Complaint> {
    let text = text(found)?;
    let address: Option<Ipv6Addr> = text.parse().ok();
    address.filter(Ipv6Addr::is_multicast).ok_or_else(|| {
        let problem = format!("{} is no IPv6 multicast address (ff00::/8)", quoted(text));
        Complaint::new(problem)
    })
}

/// An address to send broadcasts to.
pub(super) fn broadcast(found: &Found<'_>) -> Result<Ipv4Addr, Complaint> {
    let text = text(found)?;
    let address: Option<Ipv4Addr> = text.parse().ok();
    address
        .filter(|address| !address.is_multicast() && !address.is_unspecified())
        .ok_or_else(|| Complaint::new(format!("{} is no broadcast address", quoted(text))))
}

/// An interface, by address or by name.
pub(super) fn interface(found: &Found<'_>) -> Result<InterfaceName, Complaint> {
    let text = some_text(found)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(InterfaceName::Address(address));
    }
    if text.contains(|letter: char| letter.is_whitespace() || letter == '/') {
        let problem = format!("{} is no name of an interface", quoted(text));
        return Err(Complaint::new(problem));
    }
    Ok(InterfaceName::Name(text.to_owned()))
}

/// An interface as it is written.
pub(super) fn interface_text(interface: &InterfaceName) -> String {
    match interface {
        InterfaceName::Address(address) => address.to_string(),
        InterfaceName::Name(name) => name.clone(),
    }
}

fn no_address(text: &str) -> Complaint {
    Complaint::new(format!("{} is no address to listen on", quoted(text)))
}

fn parse_bind(text: &str, default_host: Ipv4Addr) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = match host {
        "" => default_host,
        "localhost" => Ipv4Addr::LOCALHOST,
        _ => return None,
    };
    Some(SocketAddr::from((host, port.parse().ok()?)))
}

/// Cuts at the last colon, but not within an IPv6 address; takes brackets away.
fn split_host_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
        && host.parse::<Ipv6Addr>().is_ok()
    {
        return match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => (text, None),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return (text, None);
    }
    text.rsplit_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)))
}

fn is_host(host: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(is_letter);
    let looks_like_address = host.chars().all(|l| l.is_ascii_digit() || l == '.');
    host.parse::<IpAddr>().is_ok() || is_name && !looks_like_address
}

#[cfg(test)]
mod tests {
    use toml::de::DeValue;

    use super::*;

    fn reads<T>(text: &str, read: impl Fn(&Found<'_>) -> Result<T, Complaint>) -> Option<T> {
        read(&Found::new(0..0, DeValue::String(text.into()))).ok()
    }

    #[test]
    fn a_port_alone_is_both_families_for_vehicles_and_this_machine_for_http() {
        for text in [":5000", "0.0.0.0:5000", "[::]:5000"] {
            assert_eq!(reads(text, bind), Some(BindAddress::Both(5000)), "{text}");
        }
        let local = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(reads(":8080", bind_local), Some(local));
        assert_eq!(reads("localhost:8080", bind_local), Some(local));
        assert_eq!(reads("127.0.0.1:8080", bind), Some(BindAddress::One(local)));
        assert_eq!(
            reads("0.0.0.0:0", bind_local),
            Some("0.0.0.0:0".parse().unwrap())
        );
        for text in [
            "",
            "5000",
            ":",
            ":70000",
            "example.org:80",
            "::1:80",
            "1.2.3.4",
        ] {
            assert_eq!(reads(text, bind), None, "{text}");
        }
    }

    #[test]
    fn a_peer_is_a_name_or_an_address_with_or_without_port() {
        let default = NonZeroU16::new(5001);
        let cases = [
            ("gate:6000", "gate:6000"),
            ("gate", "gate:5001"),
            ("10.0.0.1", "10.0.0.1:5001"),
            ("fe80::1", "[fe80::1]:5001"),
            ("[fe80::1]:6000", "[fe80::1]:6000"),
            ("[fe80::1]", "[fe80::1]:5001"),
        ];
        for (text, expected) in cases {
            let read = reads(text, |found| host_port(found, default));
            assert_eq!(read.unwrap().to_string(), expected);
        }
        for text in [
            "",
            ":5001",
            "gate:0",
            "gate:x",
            "a b:1",
            "10.0.0.999:1",
            "[x]:1",
        ] {
            assert!(
                reads(text, |found| host_port(found, default)).is_none(),
                "{text}"
            );
        }
        assert!(reads("gate", |found| host_port(found, None)).is_none());
    }

    #[test]
    fn groups_are_multicast() {
        assert!(reads("239.192.0.1", group).is_some());
        assert!(reads("10.1.1.1", group).is_none());
        assert!(reads("ff12::1", group6).is_some());
        assert!(reads("fe80::1", group6).is_none());
        assert!(reads("10.0.0.255", broadcast).is_some());
        assert!(reads("239.192.0.1", broadcast).is_none());
    }
}
