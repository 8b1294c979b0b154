//! The nodes that a fleet is sent to: started for it, or one that runs already.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use tempfile::TempDir;
use waymesh::client::Client;

use crate::cluster::Cluster;

/// Which node is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeChoice {
    /// So many that are started for the run; of several, each finds the others.
    Own(usize),
    /// One that runs.
    Running {
        /// Where it answers questions.
        url: String,
        /// Where vehicles connect; absent: as the node says.
        vehicles: Option<String>,
    },
}

/// Nodes that were found ready.
#[derive(Debug)]
pub(super) enum Target {
    Own(Cluster),
    Running {
        client: Client,
        vehicles: SocketAddr,
    },
}

impl NodeChoice {
    /// The folder of nodes of our own.
    pub(super) fn folder(&self) -> io::Result<Option<TempDir>> {
        match self {
            Self::Own(_) => tempfile::Builder::new()
                .prefix("waymesh-load-")
                .tempdir()
                .map(Some),
            Self::Running { .. } => Ok(None),
        }
    }
}

impl Target {
    /// Starts nodes in `folder`, or looks whether the one that runs answers.
    ///
    /// # Errors
    /// Nodes do not start or do not find each other; says what to do where no node answers.
    pub(super) async fn open(choice: &NodeChoice, folder: Option<&Path>) -> io::Result<Self> {
        match (choice, folder) {
            (NodeChoice::Running { url, vehicles }, _) => {
                let (url, vehicles) = (url.clone(), vehicles.clone());
                let finding = tokio::task::spawn_blocking(move || find(&url, vehicles.as_deref()));
                finding.await.map_err(io::Error::other)?
            }
            (NodeChoice::Own(n_nodes), Some(folder)) => {
                Cluster::start(folder, *n_nodes).await.map(Self::Own)
            }
            (NodeChoice::Own(_), None) => Err(io::Error::other("a node needs a folder")),
        }
    }

    /// Where vehicles connect.
    pub(super) fn vehicles(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Own(cluster) => {
                let addresses = cluster.addresses()?;
                Ok(addresses.iter().map(|known| known.vehicles).collect())
            }
            Self::Running { vehicles, .. } => Ok(vec![*vehicles]),
        }
    }

    /// Asks the nodes.
    pub(super) fn clients(&self) -> io::Result<Vec<Client>> {
        match self {
            Self::Own(cluster) => cluster.clients(),
            Self::Running { client, .. } => Ok(vec![client.clone()]),
        }
    }

    /// The nodes of our own.
    pub(super) const fn own(&self) -> Option<&Cluster> {
        match self {
            Self::Own(cluster) => Some(cluster),
            Self::Running { .. } => None,
        }
    }

    /// The same, to be broken.
    pub(super) const fn own_mut(&mut self) -> Option<&mut Cluster> {
        match self {
            Self::Own(cluster) => Some(cluster),
            Self::Running { .. } => None,
        }
    }
}

fn find(url: &str, vehicles: Option<&str>) -> io::Result<Target> {
    let client = Client::new(url).map_err(io::Error::other)?;
    let status = client.status().map_err(|error| {
        io::Error::other(format!(
            "{error}\n  start a node (waymesh run), name the one that runs with --node URL, or \
             leave --node out and a node is started for the run"
        ))
    })?;
    let said = match vehicles {
        Some(vehicles) => vehicles.to_owned(),
        None => address_of(url, &status)?,
    };
    let unknown = |error: io::Error| {
        io::Error::other(format!(
            "{said}, where vehicles should connect: {error}; see --target"
        ))
    };
    let mut found = said.to_socket_addrs().map_err(unknown)?;
    let vehicles = found
        .next()
        .ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))?;
    // Once, so that a wrong address is told before a fleet tries it for a minute.
    std::net::TcpStream::connect_timeout(&vehicles, Duration::from_secs(5)).map_err(unknown)?;
    Ok(Target::Running { client, vehicles })
}

/// Where the node says that vehicles connect; the host of its URL where it says any.
fn address_of(url: &str, status: &serde_json::Value) -> io::Result<String> {
    let said = status
        .pointer("/addresses/vehicles")
        .and_then(|said| said.as_str());
    let address: Option<SocketAddr> = said.and_then(|said| said.parse().ok());
    let address = address.ok_or_else(|| {
        io::Error::other("the node does not say where vehicles connect: name it with --target")
    })?;
    if !address.ip().is_unspecified() {
        return Ok(address.to_string());
    }
    let authority = url
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => authority,
    };
    Ok(format!("{host}:{}", address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_any_host_is_that_of_the_url() {
        let address = |url: &str, said: &str| {
            address_of(url, &serde_json::json!({"addresses": {"vehicles": said}})).unwrap()
        };
        assert_eq!(
            address("http://127.0.0.1:8080", "127.0.0.1:5000"),
            "127.0.0.1:5000"
        );
        assert_eq!(
            address("http://node-a:8080/", "0.0.0.0:5000"),
            "node-a:5000"
        );
        assert_eq!(address("http://[::1]:8080", "[::]:5000"), "[::1]:5000");
        assert_eq!(address("http://node-a", "0.0.0.0:5000"), "node-a:5000");
        assert!(address_of("http://a", &serde_json::json!({})).is_err());
    }

    #[test]
    fn a_node_that_is_not_there_is_told_with_what_to_do() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = find(&format!("http://{port}"), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&port.to_string()) && error.contains("waymesh run"),
            "{error}"
        );
    }
}
