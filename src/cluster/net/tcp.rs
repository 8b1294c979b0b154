//! TCP as links need it: bound so that a restart binds at once, quick, and never silent for long.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that may wait to be accepted; the kernel lowers it to its own limit.
const BACKLOG: i32 = 1_024;

/// Silence after which the kernel asks whether the other end is still there. The heartbeats know
/// earlier; this is for what hangs before there are any.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);

/// Time for which bytes may stay unconfirmed by the other end's kernel.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that the kernel takes before they are sent. What is urgent waits behind them, and a LAN
/// needs no more to be full.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Where the numbers of listening sockets begin: behind those of the links of most clusters.
const LISTENER_NUMBER_MIN: i32 = 200;

/// Binds an address for links with `SO_REUSEADDR`, and never `SO_REUSEPORT`.
///
/// # Errors
/// What the system says.
///
/// # Panics
/// Outside a tokio runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The same listening socket once more, under a high number.
///
/// Linux gives the files of a killed process back from the highest number down. Its port must be closed
/// before its links are: who loses a link dials at once, and a call that is refused tells a death from a
/// cut, where one that is taken and broken off costs another dial.
///
/// # Errors
/// What the system says.
pub fn clone_to_close_first(listener: &std::net::TcpListener) -> io::Result<std::net::TcpListener> {
    match rustix::io::fcntl_dupfd_cloexec(listener, LISTENER_NUMBER_MIN) {
        Ok(socket) => Ok(socket.into()),
        // Few files are allowed: the death of this node may be seen a little later.
        Err(_) => listener.try_clone(),
    }
}

/// Sets the options of a link on a connection.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    #[cfg(target_os = "linux")]
    let keepalive = keepalive
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// The address of the other end; an IPv4 address in IPv6 clothes as what it is.
pub(crate) fn observed(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[tokio::test]
    async fn a_port_is_bound_once_and_again_after_its_holder_is_gone() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(bind(address).is_err());
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.unwrap();
        tune(&accepted).unwrap();
        assert!(SockRef::from(&accepted).tcp_nodelay().unwrap());
        drop((listener, accepted, client));
        bind(address).unwrap();
    }

    #[tokio::test]
    async fn a_listener_that_closes_first_has_a_high_number_and_is_the_same() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = clone_to_close_first(&listener.into_std().unwrap()).unwrap();
        assert!(listener.as_raw_fd() >= LISTENER_NUMBER_MIN);
        let listener = TcpListener::from_std(listener).unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        assert_eq!(accepted.unwrap().1, client.unwrap().local_addr().unwrap());
    }

    #[test]
    fn addresses_are_shown_as_what_they_are() {
        let seen = |text: &str| observed(text.parse().unwrap()).to_string();
        assert_eq!(seen("[::ffff:10.0.0.7]:99"), "10.0.0.7:99");
        assert_eq!(seen("[fe80::1%4]:99"), "[fe80::1%4]:99");
    }
}
