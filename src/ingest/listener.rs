//! Listening sockets of vehicles: bind, take a permit, accept, hand over.
//!
//! A permit is taken before the accept, so that at the limit connections wait in the kernel's
//! backlog instead of being torn. Errors of accept (no descriptors left) are retried with a
//! back-off. Keepalive, user timeout and no-delay are set on the listening socket, from which
//! accepted ones inherit them on Linux: no further calls for each connection.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{
    BindAddress, Ingest, ListenerConfig, Shared, connection, connection::Accepted, events,
};
use crate::{
    base::{accept::Accept, backoff::Backoff, task::keep_running, time::wall_millis},
    types::ids::ConnectionId,
};

/// Connections that may wait to be accepted; the kernel lowers it to its own limit.
const BACKLOG: i32 = 4_096;

/// Silence after which the kernel asks whether a device is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// Time for which bytes may stay unconfirmed by a device's kernel.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Pairs of ports tried where both families must share a port that the system chooses.
const PORT_TRIES: usize = 20;

/// Sockets that are bound and listen; nothing is accepted yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<TcpListener>,
    address: SocketAddr,
}

impl Bound {
    /// The address bound, with the port that was chosen if any was asked for; the IPv4 one of both.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the sockets out, for listeners that are not vehicles'.
    pub fn into_sockets(self) -> Vec<TcpListener> {
        self.sockets
    }
}

/// Binds a TCP address so that a restart binds at once (`SO_REUSEADDR`), and a second process on
/// the same port fails (`SO_REUSEPORT` is never set).
///
/// # Errors
/// What the system says; for both families only if IPv4 fails, or if IPv6 is there and taken.
///
/// # Panics
/// Outside a tokio runtime.
pub fn bind(address: BindAddress) -> io::Result<Bound> {
    match address {
        BindAddress::One(address) => {
            let socket = bind_one(address)?;
            let address = socket.local_addr()?;
            Ok(Bound {
                sockets: vec![socket],
                address,
            })
        }
        BindAddress::Both(0) => {
            let mut tries = (1..PORT_TRIES).map(|_| bind_both(0));
            let bound = tries.find(|bound| !is_taken(bound));
            bound.unwrap_or_else(|| bind_both(0))
        }
        BindAddress::Both(port) => bind_both(port),
    }
}

fn is_taken(bound: &io::Result<Bound>) -> bool {
    bound
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn bind_both(port: u16) -> io::Result<Bound> {
    let ipv4 = bind_one((Ipv4Addr::UNSPECIFIED, port).into())?;
    let address = ipv4.local_addr()?;
    let mut sockets = vec![ipv4];
    match bind_one((Ipv6Addr::UNSPECIFIED, address.port()).into()) {
        Ok(ipv6) => sockets.push(ipv6),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(error) => tracing::info!(%error, "no IPv6 here; listening on IPv4 only"),
    }
    Ok(Bound { sockets, address })
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    set_options(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn set_options(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    #[cfg(target_os = "linux")]
    let keepalive = keepalive
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_nodelay(true)
}

impl Ingest {
    /// Starts to accept vehicles on `bound`; ends with [`Ingest::drain`].
    pub fn listen(&self, bound: Bound, config: ListenerConfig) {
        let config = Arc::new(config);
        for socket in bound.into_sockets() {
            self.listen_on(socket, Arc::clone(&config));
        }
    }

    /// Accepts from `source`; a listener that panics is made anew and counted, and what is connected
    /// notices nothing.
    pub(super) fn listen_on(&self, source: impl Accept, config: Arc<ListenerConfig>) {
        // Each listener holds a permit for the connection that it waits for: those that nobody comes to
        // must leave the others as many as there may be.
        if self.0.n_listeners.fetch_add(1, Ordering::Relaxed) > 0 {
            self.0.permits.add_permits(1);
        }
        let (source, shared) = (Arc::new(source), Arc::clone(&self.0));
        // The handle is not needed: the group awaits the task.
        drop(self.0.tasks.spawn("listener", async move {
            let make = || {
                let (source, config) = (Arc::clone(&source), Arc::clone(&config));
                let mut listener = Listener::new(source, config, Arc::clone(&shared));
                async move { listener.run().await }
            };
            keep_running(make, || shared.task_metrics.panics.inc("listener")).await;
        }));
    }
}

struct Listener<A> {
    source: Arc<A>,
    config: Arc<ListenerConfig>,
    shared: Arc<Shared>,
    backoff: Backoff,
}

impl<A: Accept> Listener<A> {
    fn new(source: Arc<A>, config: Arc<ListenerConfig>, shared: Arc<Shared>) -> Self {
        let seed = wall_millis().unsigned_abs();
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), seed);
        Self {
            source,
            config,
            shared,
            backoff,
        }
    }

    /// Accepts until the drain. A ready backlog is emptied without going back to the reactor:
    /// tokio asks it only when an accept would block.
    async fn run(&mut self) {
        let drain = self.shared.drain.clone();
        if drain.run_until_cancelled(self.accept_all()).await.is_some() {
            tracing::debug!("no more permits; the listener ends");
        }
    }

    async fn accept_all(&mut self) {
        loop {
            let Ok(permit) = Arc::clone(&self.shared.permits).acquire_owned().await else {
                return;
            };
            match self.source.accept().await {
                Ok((socket, peer)) => {
                    self.backoff.reset();
                    self.start(socket, peer, permit);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let address = self.source.address();
                    events::accept_failed(address.unwrap_or(([0; 4], 0).into()), &error);
                    tokio::time::sleep(self.backoff.next_delay()).await;
                }
            }
        }
    }

    fn start(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = ConnectionId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let listener = Arc::clone(&self.config);
        let accepted = Accepted {
            id,
            peer,
            socket,
            permit,
            listener,
        };
        let serving = connection::serve(accepted, Arc::clone(&self.shared));
        // The handle is not needed: the group awaits the task, and its trace counts its end.
        drop(self.shared.tasks.spawn("connection", serving));
    }
}
