//! Where connections come from: a listening socket, or what a test puts in its place.

use std::{future::Future, io, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};

/// Gives connections, one after the other.
pub trait Accept: Send + Sync + 'static {
    /// Waits for the next connection. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;

    /// Where it listens, if that is known.
    fn address(&self) -> Option<SocketAddr>;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }

    fn address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }
}
