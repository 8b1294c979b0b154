//! What all sockets of discovery have in common: they share their port with the other nodes of the
//! host, never block, and are tied to one interface.

use std::io;

use socket2::{Domain, Protocol, Socket, Type};

/// A UDP socket that is not bound yet.
pub(super) fn shared_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Both: every node of the host may bind the port, whoever its user is, and each hears what
    // goes to the group.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// Ties a socket to an interface, so that only what comes in there is heard. False where the system
/// does not allow it (Linux before 5.7 without the right to); then the address it is bound to must
/// do.
#[cfg(target_os = "linux")]
pub(super) fn tie_to_interface(socket: &Socket, name: &str) -> bool {
    match socket.bind_device(Some(name.as_bytes())) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(interface = name, %error, "a socket is not tied to its interface");
            false
        }
    }
}

/// Not on this system: the address a socket is bound to must do.
#[cfg(not(target_os = "linux"))]
pub(super) fn tie_to_interface(_socket: &Socket, _name: &str) -> bool {
    false
}
