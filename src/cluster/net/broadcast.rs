//! Sockets that speak to all of an IPv4 network, one for each interface.
//!
//! A socket is bound to the broadcast address, so that it hears what goes to all and not what goes
//! to this host alone, and tied to its interface where the system allows it. What it sends comes
//! back to it and to the other nodes of the host.

use std::{io, net::UdpSocket};

use socket2::Domain;

use super::{
    plan::Plan,
    udp::{shared_socket, tie_to_interface},
};

/// Opens the socket of an interface's broadcasts.
///
/// # Errors
/// What the system says; normal while an interface goes.
pub(super) fn open(plan: &Plan, ttl: u8) -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV4)?;
    tie_to_interface(&socket, &plan.interface);
    socket.set_broadcast(true)?;
    socket.set_ttl_v4(u32::from(ttl))?;
    socket.bind(&plan.to.into())?;
    Ok(socket.into())
}
