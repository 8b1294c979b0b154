//! From the settings of a node to its cluster: secret, keys, regular expressions, who it is.

use std::{
    io,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    path::Path,
    sync::Arc,
    time::Duration,
};

use regex::Regex;

use super::{AppError, DESCRIPTORS_RESERVED};
use crate::{
    base::task::TaskGroup,
    cluster::{
        net::{
            FileNumbers, clone_above, interfaces,
            secret::{LoadedSecrets, SecretPlaces, Secrets},
            sockets::SocketsConfig,
        },
        proto::{
            self, BeaconKeys, ClusterConfig, Incarnation, NameMatch, NodeCard, NodeName,
            PeerAddress, RememberedMember, Roles, RunNumber,
            link::{hello, hello::Hello, keys::LinkKeys, preamble::WireVersions},
        },
    },
    config::{
        AppConfig, ConnectMode, DiscoveryConfig, HostPort, InterfaceName, MinConnections, Transport,
    },
    ingest::listener::Bound,
    metrics::Metrics,
    node::{
        cluster::{ClusterHandle, ClusterParts, LinkTraffic, start},
        identity::Identity,
        members_file::MembersFile,
    },
};

/// Members remembered, those away included.
const MEMBERS_MAX: usize = 1_024;

/// How long the name of an advertised address may take to be resolved.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(5);

/// How long the vehicles' port stays closed for the first search at most.
const FORM_PATIENCE: Duration = Duration::from_secs(1);

/// What the cluster needs besides the settings.
pub(super) struct Grounds<'a> {
    pub(super) identity: &'a Arc<Identity>,
    pub(super) link: Bound,
    pub(super) http: SocketAddr,
    pub(super) metrics: &'a Metrics,
    pub(super) tasks: &'a TaskGroup,
}

/// Starts the cluster of a node.
pub(super) async fn start_cluster(
    config: &AppConfig,
    grounds: Grounds<'_>,
) -> Result<(ClusterHandle, LinkTraffic), AppError> {
    let secrets = load_secrets(config).await?;
    let tasks = grounds.tasks;
    Ok(start(parts(config, &secrets, grounds).await?, tasks))
}

/// Waits until the first search is over, where there is one.
pub(super) async fn find_others(discovery: &DiscoveryConfig, cluster: &ClusterHandle) {
    let has_sockets = discovery
        .transports
        .iter()
        .any(|transport| *transport != Transport::Static);
    if discovery.is_active && (has_sockets || !discovery.peers.is_empty()) {
        // Nobody may be there, or no network yet: then the node goes on alone.
        let _is_over = tokio::time::timeout(FORM_PATIENCE, cluster.formed()).await;
    }
}

async fn load_secrets(config: &AppConfig) -> Result<Secrets, AppError> {
    let (named, data) = (config.node.secret_file.clone(), config.node.data.clone());
    let loading = tokio::task::spawn_blocking(move || {
        LoadedSecrets::load(named.as_deref(), &SecretPlaces::of_process(&data))
    });
    let loaded = loading
        .await
        .map_err(|error| AppError::Folder(config.node.data.clone(), io::Error::other(error)))??;
    let path = loaded.path.display();
    if loaded.is_new {
        tracing::info!(%path, "made a secret for the cluster; nodes on other machines need a copy of this file");
    } else {
        tracing::info!(%path, "the cluster's secret");
    }
    Ok(loaded.secrets)
}

async fn parts(
    config: &AppConfig,
    secrets: &Secrets,
    grounds: Grounds<'_>,
) -> Result<ClusterParts, AppError> {
    let cluster = name(&config.node.cluster)?;
    let bound = grounds.link.address();
    let advertised = resolve(config.advertise.link.as_ref()).await?;
    // One that takes links at one address only is not found at another from which it was heard.
    let advertised = advertised.or_else(|| Some(bound).filter(|to| !to.ip().is_unspecified()));
    let http = match resolve(config.advertise.http.as_ref()).await? {
        Some(http) => Some(http),
        None => Some(grounds.http).filter(|http| !http.ip().is_loopback()),
    };
    let seen_by_others = SocketAddr::from(([0, 0, 0, 0], bound.port()));
    let link = advertised.unwrap_or(seen_by_others);
    let card = card(config, grounds.identity, (link, http))?;
    let discovery = &config.discovery;
    let numbers = file_numbers(config.ingest.n_connections_max);
    let identity = Arc::clone(grounds.identity);
    let members = MembersFile::of(&config.node.data);
    Ok(ClusterParts {
        hello: Hello {
            versions: WireVersions::OURS,
            card: card.clone(),
            mode: match discovery.connect_mode {
                ConnectMode::Visible => hello::ConnectMode::Visible,
                ConnectMode::Hidden => hello::ConnectMode::Hidden,
            },
            settings: 0,
            software: concat!("waymesh ", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        core: ClusterConfig {
            card,
            keys: BeaconKeys::new(secrets.as_slice(), &cluster),
            advertised,
            ping_interval: discovery.ping_interval,
            min_connections: match discovery.min_connections {
                MinConnections::All => proto::MinConnections::All,
                MinConnections::Number(number) => proto::MinConnections::AtLeast(number as usize),
            },
            connect: names("discovery.connect_regex", &discovery.connect_regex)?,
            accept: names("discovery.accept_regex", &discovery.accept_regex)?,
            connect_mode: match discovery.connect_mode {
                ConnectMode::Visible => proto::ConnectMode::Visible,
                ConnectMode::Hidden => proto::ConnectMode::Hidden,
            },
            is_active: discovery.is_active,
            peers: peers(discovery),
            members_max: MEMBERS_MAX,
            remembered: members.load()?,
            seed: random()?,
        },
        sockets: sockets(discovery),
        keys: secrets
            .as_slice()
            .iter()
            .map(|secret| LinkKeys::new(secret.as_ref(), &cluster))
            .collect(),
        listeners: listeners(grounds.link, numbers)?,
        numbers,
        keep_incarnation: Arc::new(move |incarnation: Incarnation| {
            identity.keep_incarnation(incarnation.0)
        }),
        keep_members: Arc::new(move |storing: &[RememberedMember]| members.keep(storing)),
        link_metrics: grounds.metrics.links.clone(),
        metrics: grounds.metrics.cluster.clone(),
        task_metrics: grounds.metrics.tasks.clone(),
    })
}

/// Who this node is, and where it is reached.
fn card(
    config: &AppConfig,
    identity: &Identity,
    (link, http): (SocketAddr, Option<SocketAddr>),
) -> Result<NodeCard, AppError> {
    Ok(NodeCard {
        id: identity.id,
        name: name(&config.node.name)?,
        incarnation: Incarnation(identity.incarnation),
        run: RunNumber(random()?),
        roles: Roles {
            is_ingest: true,
            is_store: true,
        },
        link,
        http,
    })
}

/// Numbers above those that vehicles' connections and most else of this process have.
fn file_numbers(n_connections_max: NonZeroU32) -> FileNumbers {
    let above_connections = |n_files: usize| {
        let number = n_connections_max.get().saturating_add(n_files as u32);
        i32::try_from(number).unwrap_or(i32::MAX)
    };
    FileNumbers {
        links_min: above_connections(DESCRIPTORS_RESERVED / 4),
        listeners_min: above_connections(DESCRIPTORS_RESERVED / 8 * 7),
    }
}

fn listeners(link: Bound, numbers: FileNumbers) -> Result<Vec<std::net::TcpListener>, AppError> {
    let sockets = link.into_sockets().into_iter();
    let listeners: io::Result<Vec<_>> = sockets
        .map(|socket| clone_above(&socket.into_std()?, numbers.listeners_min))
        .collect();
    listeners.map_err(|error| AppError::Folder(Path::new("link").to_owned(), error))
}

fn sockets(discovery: &DiscoveryConfig) -> SocketsConfig {
    let transport = |transport: &Transport| match transport {
        Transport::Multicast => proto::Transport::Multicast,
        Transport::Multicast6 => proto::Transport::Multicast6,
        Transport::Broadcast => proto::Transport::Broadcast,
        Transport::Static => proto::Transport::Static,
    };
    let interface = |name: &InterfaceName| match name {
        InterfaceName::Address(address) => interfaces::InterfaceName::Address(*address),
        InterfaceName::Name(name) => interfaces::InterfaceName::Name(name.clone()),
    };
    SocketsConfig {
        transports: discovery.transports.iter().map(transport).collect(),
        port: discovery.port,
        group: discovery.group,
        group6: discovery.group6,
        ttl: discovery.ttl,
        broadcast_address: discovery.broadcast_address,
        interfaces: discovery.interfaces.iter().map(interface).collect(),
    }
}

/// The peers of the list.
fn peers(discovery: &DiscoveryConfig) -> Vec<PeerAddress> {
    let address = |peer: &HostPort| match peer.host.parse() {
        Ok(ip) => PeerAddress::Address(SocketAddr::new(ip, peer.port.get())),
        Err(_) => PeerAddress::Name(peer.to_string()),
    };
    discovery.peers.iter().map(address).collect()
}

/// Which names a regular expression means; the configuration has checked that it is one.
fn names(key: &'static str, expression: &str) -> Result<NameMatch, AppError> {
    if expression.is_empty() {
        return Ok(NameMatch::All);
    }
    Regex::new(expression)
        .map(NameMatch::Pattern)
        .map_err(|error| AppError::Setting(key, error.to_string()))
}

fn name(text: &str) -> Result<NodeName, AppError> {
    NodeName::parse(text).map_err(|error| AppError::Setting("name", error.to_string()))
}

async fn resolve(address: Option<&HostPort>) -> Result<Option<SocketAddr>, AppError> {
    let Some(HostPort { host, port }) = address else {
        return Ok(None);
    };
    let (host, port): (&str, NonZeroU16) = (host, *port);
    let failed = |why: String| AppError::Setting("advertise", format!("{host}: {why}"));
    let lookup = tokio::net::lookup_host((host, port.get()));
    match tokio::time::timeout(RESOLVE_PATIENCE, lookup).await {
        Ok(Ok(mut found)) => match found.next() {
            Some(address) => Ok(Some(address)),
            None => Err(failed("the name has no address".to_owned())),
        },
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the name cannot be resolved in time".to_owned())),
    }
}

fn random() -> Result<u64, AppError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| AppError::Setting("randomness of the system", error.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}
