//! The first frame of each direction: who the node is that speaks.
//!
//! Version 1 is postcard of the fields in the order of the page. It never changes; a later version
//! gets a kind of frame of its own, and is sent to those who speak it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::preamble::WireVersions;
use crate::{
    cluster::proto::{Incarnation, NodeCard, NodeName, Roles, RunNumber},
    types::ids::NodeId,
};

/// Bytes of the longest text that names the program.
const SOFTWARE_BYTES_MAX: usize = 64;

const ROLE_INGEST: u8 = 1;
const ROLE_STORE: u8 = 2;

/// Which members a node dials. It is told to the other end, which does not act on it in this
/// version: members travel over every link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectMode {
    /// Also those that it only heard of over its links.
    Visible,
    /// Those whose beacons it heard and whose names it means.
    Hidden,
}

/// What a node says about itself when a link begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The versions it speaks, as it said them in clear: here they cannot be altered.
    pub versions: WireVersions,
    /// Who it is. An address of zeros means: as you see me.
    pub card: NodeCard,
    /// Which members it dials.
    pub mode: ConnectMode,
    /// Room for a digest of the settings that must be the same on all nodes: 0 in this version, and
    /// not compared.
    pub settings: u64,
    /// Name and version of its program, for people; without control characters.
    pub software: String,
}

/// Why bytes are no hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HelloError(pub &'static str);

#[derive(Serialize, Deserialize)]
struct WireHello<'a> {
    oldest: u8,
    newest: u8,
    #[serde(with = "postcard::fixint::le")]
    id: u64,
    name: &'a str,
    incarnation: u64,
    #[serde(with = "postcard::fixint::le")]
    run: u64,
    roles: u8,
    link: WireAddress,
    http: Option<WireAddress>,
    is_hidden: bool,
    #[serde(with = "postcard::fixint::le")]
    settings: u64,
    software: &'a str,
}

#[derive(Serialize, Deserialize)]
enum WireAddress {
    V4([u8; 4], u16),
    V6([u8; 16], u16),
}

impl Hello {
    /// The payload of a hello frame.
    ///
    /// # Panics
    /// Never: what is written fits into memory.
    pub fn encode(&self) -> Vec<u8> {
        let card = &self.card;
        let roles = [
            (card.roles.is_ingest, ROLE_INGEST),
            (card.roles.is_store, ROLE_STORE),
        ];
        let roles = roles.iter().filter(|(has, _)| *has);
        let software_end = self.software.floor_char_boundary(SOFTWARE_BYTES_MAX);
        let wire = WireHello {
            oldest: self.versions.oldest,
            newest: self.versions.newest,
            id: card.id.0,
            name: card.name.as_str(),
            incarnation: card.incarnation.0,
            run: card.run.0,
            roles: roles.map(|(_, bit)| bit).sum(),
            link: card.link.into(),
            http: card.http.map(WireAddress::from),
            is_hidden: self.mode == ConnectMode::Hidden,
            settings: self.settings,
            software: self.software.get(..software_end).unwrap_or_default(),
        };
        postcard::to_stdvec(&wire).expect("a vector takes all bytes")
    }

    /// Reads the payload of a hello frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, HelloError> {
        let read = postcard::take_from_bytes::<WireHello<'_>>(payload);
        let (wire, rest) = read.map_err(|_| HelloError("a hello that cannot be read"))?;
        if !rest.is_empty() {
            return Err(HelloError("a hello with something behind it"));
        }
        let versions = WireVersions::read(wire.oldest, wire.newest);
        let is_printable = !wire.software.chars().any(char::is_control);
        if wire.software.len() > SOFTWARE_BYTES_MAX || !is_printable {
            return Err(HelloError("a hello of a program without a proper name"));
        }
        let card = NodeCard {
            id: NodeId(wire.id),
            name: NodeName::parse(wire.name)
                .map_err(|_| HelloError("a hello without a proper name"))?,
            incarnation: Incarnation(wire.incarnation),
            run: RunNumber(wire.run),
            roles: Roles {
                is_ingest: wire.roles & ROLE_INGEST != 0,
                is_store: wire.roles & ROLE_STORE != 0,
            },
            link: wire.link.into(),
            http: wire.http.map(SocketAddr::from),
        };
        Ok(Self {
            versions: versions.map_err(|_| HelloError("a hello without versions"))?,
            card,
            mode: if wire.is_hidden {
                ConnectMode::Hidden
            } else {
                ConnectMode::Visible
            },
            settings: wire.settings,
            software: wire.software.to_owned(),
        })
    }
}

impl NodeCard {
    /// The card with the address `observed` in place of addresses of zeros.
    #[must_use]
    pub fn seen_from(mut self, observed: SocketAddr) -> Self {
        self.link = seen(self.link, observed);
        self.http = self.http.map(|http| seen(http, observed));
        self
    }
}

/// The address that was said, or the observed one with its port.
fn seen(said: SocketAddr, mut observed: SocketAddr) -> SocketAddr {
    if !said.ip().is_unspecified() {
        return said;
    }
    // The scope of a link-local address stays.
    observed.set_port(said.port());
    observed
}

impl From<SocketAddr> for WireAddress {
    fn from(address: SocketAddr) -> Self {
        match address.ip() {
            IpAddr::V4(ip) => Self::V4(ip.octets(), address.port()),
            IpAddr::V6(ip) => Self::V6(ip.octets(), address.port()),
        }
    }
}

impl From<WireAddress> for SocketAddr {
    fn from(address: WireAddress) -> Self {
        match address {
            WireAddress::V4(ip, port) => (ip, port).into(),
            WireAddress::V6(ip, port) => (ip, port).into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn hello() -> Hello {
        Hello {
            versions: WireVersions {
                oldest: 1,
                newest: 1,
            },
            card: NodeCard {
                id: NodeId(0x0123_4567_89ab_cdef),
                name: NodeName::parse("gate-1").unwrap(),
                incarnation: Incarnation(300),
                run: RunNumber(0xfedc_ba98_7654_3210),
                roles: Roles {
                    is_ingest: true,
                    is_store: true,
                },
                link: "0.0.0.0:5001".parse().unwrap(),
                http: Some("[2001:db8::1]:8080".parse().unwrap()),
            },
            mode: ConnectMode::Visible,
            settings: 0x1122_3344_5566_7788,
            software: "waymesh 0.1.0".into(),
        }
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    prop_compose! {
        fn any_hello()(
            (id, incarnation, run, settings) in any::<(u64, u64, u64, u64)>(),
            name in "[^\\p{Cc}]{1,16}",
            (is_ingest, is_store, is_hidden) in any::<(bool, bool, bool)>(),
            link in any_address(),
            http in proptest::option::of(any_address()),
            (oldest, more) in (1..100_u8, 0..100_u8),
        ) -> Hello {
            let mut hello = hello();
            hello.versions = WireVersions { oldest, newest: oldest + more };
            hello.settings = settings;
            hello.mode = if is_hidden { ConnectMode::Hidden } else { ConnectMode::Visible };
            hello.card = NodeCard {
                id: NodeId(id),
                name: NodeName::parse(&name).unwrap(),
                incarnation: Incarnation(incarnation),
                run: RunNumber(run),
                roles: Roles { is_ingest, is_store },
                link,
                http,
            };
            hello
        }
    }

    proptest! {
        #[test]
        fn a_hello_is_read_as_it_was_written(hello in any_hello()) {
            prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }

        #[test]
        fn a_hello_that_is_cut_or_longer_is_refused(hello in any_hello(), cut in 0..40_usize) {
            let mut bytes = hello.encode();
            bytes.push(0);
            prop_assert!(Hello::decode(&bytes).is_err());
            bytes.truncate(bytes.len() - 2 - cut.min(bytes.len() - 2));
            prop_assert!(Hello::decode(&bytes).is_err());
        }

        #[test]
        fn noise_is_no_reason_to_panic(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(hello) = Hello::decode(&noise) {
                prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
        }
    }

    #[test]
    fn an_address_of_zeros_is_the_one_observed() {
        let observed: SocketAddr = "[fe80::7%3]:40000".parse().unwrap();
        let card = hello().card.seen_from(observed);
        assert_eq!(card.link.to_string(), "[fe80::7%3]:5001");
        assert_eq!(card.http, hello().card.http);
    }

    #[test]
    fn a_name_or_program_that_cannot_be_shown_is_refused() {
        let mut bytes = hello().encode();
        let at = bytes.windows(6).position(|window| window == b"gate-1");
        bytes[at.unwrap()] = 0x1b;
        assert_eq!(
            Hello::decode(&bytes),
            Err(HelloError("a hello without a proper name"))
        );
        let mut other = hello();
        other.software = "x\n".into();
        assert!(Hello::decode(&other.encode()).is_err());
    }
}
