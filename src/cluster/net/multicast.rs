//! Sockets that speak to a group and hear it, one for each interface.
//!
//! A socket is bound to the group's address, not to any: so it hears neither what is sent to this
//! host alone (of several sockets on a port only one would get that) nor broadcasts. Which
//! interface a datagram came in by is known by its socket. For IPv4 the kernel sees to that by the
//! membership (`IP_MULTICAST_ALL` off). For IPv6 it does not: a socket that joined on one interface
//! hears the group from all on which any other socket joined, unless it is bound to the group
//! *within its interface* or tied to the interface; here it is both.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
};

use socket2::{Domain, InterfaceIndexOrAddress, SockRef, Socket};

use crate::cluster::proto::InterfaceIndex;

use super::{
    plan::Plan,
    udp::{shared_socket, tie_to_interface},
};

/// Opens the socket of a group on an interface and joins it there.
///
/// # Errors
/// What the system says. Normal while an interface goes or has only addresses that are still being
/// checked for doubles (IPv6: for 1 to 2 s after the interface came up).
pub(super) fn open(index: InterfaceIndex, plan: &Plan, ttl: u8) -> io::Result<UdpSocket> {
    match plan.to {
        SocketAddr::V4(group) => open4(index, plan, group, ttl),
        SocketAddr::V6(group) => open6(plan, group, ttl),
    }
}

/// Leaves the group and joins it again, which tells routers and switches anew that somebody here
/// listens.
///
/// # Errors
/// What the system says when it does not take the new membership.
pub(super) fn rejoin(socket: &SockRef<'_>, index: InterfaceIndex, group: IpAddr) -> io::Result<()> {
    let interface = InterfaceIndexOrAddress::Index(index.0);
    // To leave may fail: the interface may have forgotten the membership, which is why it is made
    // anew.
    match group {
        IpAddr::V4(group) => {
            said_aloud(socket.leave_multicast_v4_n(&group, &interface));
            socket.join_multicast_v4_n(&group, &interface)
        }
        IpAddr::V6(group) => {
            said_aloud(socket.leave_multicast_v6(&group, index.0));
            socket.join_multicast_v6(&group, index.0)
        }
    }
}

fn said_aloud(left: io::Result<()>) {
    if let Err(error) = left {
        tracing::debug!(%error, "a group could not be left before it was joined again");
    }
}

fn open4(
    index: InterfaceIndex,
    plan: &Plan,
    group: SocketAddrV4,
    ttl: u8,
) -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV4)?;
    let is_tied = tie_to_interface(&socket, &plan.interface);
    hear_own_groups_only(&socket)?;
    socket.bind(&SocketAddr::V4(group).into())?;
    socket.join_multicast_v4_n(group.ip(), &InterfaceIndexOrAddress::Index(index.0))?;
    // By its address, which thereby becomes the datagrams' source: on loopback the kernel would
    // send them from 0.0.0.0. Where two interfaces share an address, the tie decides.
    let IpAddr::V4(local) = plan.local else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let chosen = socket.set_multicast_if_v4(&local);
    if !is_tied {
        chosen?;
    }
    socket.set_multicast_loop_v4(true)?;
    socket.set_multicast_ttl_v4(u32::from(ttl))?;
    Ok(socket.into())
}

fn open6(plan: &Plan, group: SocketAddrV6, ttl: u8) -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV6)?;
    tie_to_interface(&socket, &plan.interface);
    socket.set_only_v6(true)?;
    socket.bind(&SocketAddr::V6(group).into())?;
    socket.join_multicast_v6(group.ip(), group.scope_id())?;
    socket.set_multicast_if_v6(group.scope_id())?;
    socket.set_multicast_loop_v6(true)?;
    socket.set_multicast_hops_v6(u32::from(ttl))?;
    can_send(&plan.interface, group)?;
    Ok(socket.into())
}

/// Whether a datagram could leave now: a connected socket gets its source address at once.
fn can_send(interface: &str, group: SocketAddrV6) -> io::Result<()> {
    let probe = shared_socket(Domain::IPV6)?;
    tie_to_interface(&probe, interface);
    probe.connect(&SocketAddr::V6(group).into())
}

/// Foreign groups, which others of this host joined, are not for this socket.
#[cfg(target_os = "linux")]
fn hear_own_groups_only(socket: &Socket) -> io::Result<()> {
    socket.set_multicast_all_v4(false)
}

/// Elsewhere that is so by itself.
#[cfg(not(target_os = "linux"))]
fn hear_own_groups_only(_socket: &Socket) -> io::Result<()> {
    Ok(())
}
