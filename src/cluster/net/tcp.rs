//! TCP as links need it: bound so that a restart binds at once, quick, never silent for long, and closed
//! before all else when the process is killed.

use std::{io, net::SocketAddr, os::fd::AsRawFd as _, time::Duration};

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

/// Numbers that sockets of links have at least.
///
/// Linux gives the files of a killed process back from the highest number down, and to close the sockets of
/// ten thousand vehicles takes it a tenth of a second: siblings are to know of the death before. And the
/// port must be closed before the links are: who loses a link dials at once, and a call that is refused
/// tells a death from a cut, where one that is taken and broken off costs another dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileNumbers {
    /// Of connections.
    pub links_min: i32,
    /// Of listening sockets; more than links have.
    pub listeners_min: i32,
}

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

/// The same listening socket once more, under a number not below `number_min` if one is free.
///
/// # Errors
/// What the system says.
pub fn clone_above(
    listener: &std::net::TcpListener,
    number_min: i32,
) -> io::Result<std::net::TcpListener> {
    match rustix::io::fcntl_dupfd_cloexec(listener, number_min) {
        Ok(socket) => Ok(socket.into()),
        Err(_) => listener.try_clone(),
    }
}

/// The same connection, under a number not below `number_min` if one is free.
fn move_above(stream: TcpStream, number_min: i32) -> io::Result<TcpStream> {
    if stream.as_raw_fd() >= number_min {
        return Ok(stream);
    }
    let stream = stream.into_std()?;
    TcpStream::from_std(match rustix::io::fcntl_dupfd_cloexec(&stream, number_min) {
        Ok(moved) => moved.into(),
        Err(_) => stream,
    })
}

/// Makes a connection one for a link.
pub(crate) fn tune(stream: TcpStream, numbers: FileNumbers) -> io::Result<TcpStream> {
    let stream = move_above(stream, numbers.links_min)?;
    let socket = SockRef::from(&stream);
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
    Ok(stream)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_port_is_bound_once_and_again_after_its_holder_is_gone() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(bind(address).is_err());
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.unwrap();
        let accepted = tune(accepted, FileNumbers::default()).unwrap();
        assert!(SockRef::from(&accepted).tcp_nodelay().unwrap());
        drop((listener, accepted, client));
        bind(address).unwrap();
    }

    #[tokio::test]
    async fn sockets_have_the_numbers_that_they_are_to_have_and_are_the_same() {
        let numbers = FileNumbers {
            links_min: 200,
            listeners_min: 240,
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = clone_above(&listener.into_std().unwrap(), numbers.listeners_min).unwrap();
        assert!(listener.as_raw_fd() >= numbers.listeners_min);
        let listener = TcpListener::from_std(listener).unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut client = tune(client.unwrap(), numbers).unwrap();
        assert!((numbers.links_min..numbers.listeners_min).contains(&client.as_raw_fd()));
        let (mut accepted, peer) = accepted.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        client.write_u8(7).await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), 7);
        drop(client);
        assert!(
            accepted.read_u8().await.is_err(),
            "nobody else holds its end"
        );
    }

    #[tokio::test]
    async fn where_no_number_is_free_sockets_stay_where_they_are() {
        let numbers = FileNumbers {
            links_min: i32::MAX,
            listeners_min: i32::MAX,
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = clone_above(&listener.into_std().unwrap(), numbers.listeners_min).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut client = tune(client.unwrap(), numbers).unwrap();
        client.write_u8(7).await.unwrap();
        assert_eq!(accepted.unwrap().0.read_u8().await.unwrap(), 7);
    }

    #[test]
    fn addresses_are_shown_as_what_they_are() {
        let seen = |text: &str| observed(text.parse().unwrap()).to_string();
        assert_eq!(seen("[::ffff:10.0.0.7]:99"), "10.0.0.7:99");
        assert_eq!(seen("[fe80::1%4]:99"), "[fe80::1%4]:99");
    }
}
