//! The values that hold where nothing is configured.
//!
//! The only place that has them: `config/waymesh.toml` repeats them for people, and a test compares.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    path::PathBuf,
    time::Duration,
};

use super::settings::{
    ConnectMode, DiscoveryConfig, HttpConfig, LogFormat, MinConnections, NodeConfig, TracingConfig,
    Transport,
};
use crate::{base::machine, ingest::BindAddress};

/// The link port of a peer that is named without one.
pub(super) const LINK_PORT: NonZeroU16 = NonZeroU16::new(5001).expect("5001 is not 0");

const DISCOVERY_PORT: NonZeroU16 = NonZeroU16::new(50337).expect("50337 is not 0");
/// Name of a node whose host has none that could serve.
const NAME_OF_LAST_RESORT: &str = "node";

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: host_name(),
            cluster: "waymesh".into(),
            secret_file: None,
            data: PathBuf::from("./waymesh-data"),
            link: BindAddress::Both(LINK_PORT.get()),
            grace_period: Duration::from_secs(10),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        }
    }
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            transports: vec![Transport::Multicast, Transport::Multicast6],
            port: DISCOVERY_PORT,
            group: Ipv4Addr::new(239, 192, 0, 1),
            group6: Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x5741, 0x594d),
            interfaces: Vec::new(),
            ttl: 1,
            broadcast_address: None,
            peers: Vec::new(),
            ping_interval: Duration::from_secs(10),
            min_connections: MinConnections::All,
            connect_regex: String::new(),
            accept_regex: String::new(),
            connect_mode: ConnectMode::Visible,
            is_active: true,
        }
    }
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            filter: "info".into(),
            format: LogFormat::Auto,
        }
    }
}

/// The name of this host, with `-` for what a node's name may not hold.
fn host_name() -> String {
    let name: String = machine::host_name()
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => letter,
            _ => '-',
        })
        .take(super::value::NAME_BYTES_MAX)
        .collect();
    if name.is_empty() {
        NAME_OF_LAST_RESORT.into()
    } else {
        name
    }
}
