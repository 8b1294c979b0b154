//! Whether loopback carries multicast here: nodes of this tool find each other by it and leave the
//! machine's other networks alone. Where it does not, they have to be told of each other.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use waymesh::base::time::{Stopwatch, wall_millis};

/// The group that nodes say who they are to.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 0, 1);

/// How long a datagram of our own may take to come back.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends a datagram to the group over loopback and waits until it comes back. Blocking.
///
/// # Errors
/// What the system says, or that nothing came.
pub(super) fn try_loopback(port: u16) -> io::Result<()> {
    let socket = open(port)?;
    let word = format!("load-test {} {}", std::process::id(), wall_millis());
    let since = Stopwatch::start();
    socket.send_to(word.as_bytes(), (GROUP, port))?;
    let mut heard = [0; 128];
    while let Some(left) = PATIENCE.checked_sub(since.elapsed()) {
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.recv(&mut heard) {
            Ok(n_bytes) if heard.get(..n_bytes) == Some(word.as_bytes()) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => break,
            Err(error) => return Err(error),
        }
    }
    let why = "a datagram to its own group did not come back";
    Err(io::Error::other(why))
}

fn open(port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST)?;
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
    socket.set_multicast_loop_v4(true)?;
    // It does not leave this machine.
    socket.set_multicast_ttl_v4(0)?;
    Ok(socket.into())
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}
