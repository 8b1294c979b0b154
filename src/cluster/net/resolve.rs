//! Finds the addresses of a peer that is dialled by name, anew at each dial, within its patience.
//!
//! The system's resolver blocks a thread, and a dead name server holds it for half a minute. So
//! of all dials together only [`LOOKUPS_MAX`] look a name up at once, and one counts until its thread
//! has come back, not until its dial has lost patience.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

/// Lookups at once.
const LOOKUPS_MAX: usize = 4;
/// Addresses that a name gives at most; more are left away.
const ADDRESSES_MAX: usize = 8;

/// Looks names up. Clones share their limit.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    permits: Arc<Semaphore>,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// No answer within the deadline, or too many lookups have none.
    #[error("no answer about {0} in time")]
    TimedOut(String),
    /// The resolver answers that there is none, or has failed.
    #[error("{0}: {1}")]
    Failed(String, #[source] io::Error),
}

impl Resolver {
    /// A resolver on which nobody waits yet.
    pub(super) fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }

    /// The addresses of `host` (a name, or an address without brackets), each once, in the
    /// resolver's order, one to eight of them. Cancel-safe.
    ///
    /// # Errors
    /// [`ResolveError`]; both are normal while a network or a name server is away.
    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
        deadline: Duration,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let looked_up = timeout(deadline, self.look_up(host.to_owned(), port)).await;
        let found = looked_up.map_err(|_| ResolveError::TimedOut(host.to_owned()))?;
        let failed = |error| ResolveError::Failed(host.to_owned(), error);
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found.map_err(failed)? {
            if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        Ok(addresses)
    }

    async fn look_up(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let work = move || {
            let found = (host.as_str(), port).to_socket_addrs();
            drop(permit);
            found.map(Iterator::collect)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::OwnedSemaphorePermit;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    impl Resolver {
        /// Takes all lookups that may run at once, as a dead name server does, until the permit is
        /// dropped.
        pub(in crate::cluster::net) async fn hang(&self) -> OwnedSemaphorePermit {
            let n_permits = u32::try_from(LOOKUPS_MAX).unwrap();
            let permits = Arc::clone(&self.permits);
            permits.acquire_many_owned(n_permits).await.unwrap()
        }
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer() {
        let resolver = Resolver::new();
        for (host, expected) in [
            ("192.0.2.7", "192.0.2.7:5001"),
            ("2001:db8::7", "[2001:db8::7]:5001"),
        ] {
            let found = resolver.resolve(host, 5001, PATIENCE).await.unwrap();
            assert_eq!(found, [expected.parse::<SocketAddr>().unwrap()]);
        }
    }

    #[tokio::test]
    async fn the_name_of_this_machine_is_found() {
        let found = Resolver::new()
            .resolve("localhost", 5001, PATIENCE)
            .await
            .unwrap();
        assert!(
            found
                .iter()
                .all(|one| one.ip().is_loopback() && one.port() == 5001)
        );
    }

    #[tokio::test]
    async fn a_name_that_is_none_is_an_error() {
        let error = Resolver::new()
            .resolve("not a name", 5001, PATIENCE)
            .await
            .unwrap_err();
        assert!(matches!(error, ResolveError::Failed(..)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_behind_others_that_hang_ends_at_its_deadline() {
        let resolver = Resolver::new();
        let hanging = resolver.hang().await;
        let error = resolver
            .resolve("localhost", 5001, PATIENCE)
            .await
            .unwrap_err();
        assert!(matches!(error, ResolveError::TimedOut(_)), "{error}");
        drop(hanging);
    }
}
