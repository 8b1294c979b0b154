//! One place of discovery: a transport on an interface, its socket while it is open, and when it is
//! tried again while it is not.

use std::{
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::{io::ReadBuf, net::UdpSocket};

use crate::{
    base::{backoff::Backoff, time::Instant},
    cluster::proto::{SocketPlace, Transport},
};

use super::{
    broadcast, multicast,
    plan::Plan,
    sockets::{DATAGRAM_BYTES_MAX, Datagram, SocketEvent},
};

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What went over a place's sockets since its interface came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaceCounts {
    /// Times a socket was opened.
    pub opened: u64,
    /// Datagrams that came in, own ones included.
    pub received: u64,
    /// Datagrams that came in too long, and were refused.
    pub too_long: u64,
    /// Datagrams that were sent.
    pub sent: u64,
    /// Datagrams that could not be sent, and were dropped.
    pub unsent: u64,
}

/// A place as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceStatus {
    /// Which one.
    pub place: SocketPlace,
    /// The interface's name.
    pub interface: String,
    /// The interface's address that the others see.
    pub local: IpAddr,
    /// Where datagrams go.
    pub to: SocketAddr,
    /// Whether a socket stands.
    pub is_open: bool,
    /// What went wrong last; none since a socket was opened and everything sent.
    pub trouble: Option<String>,
    /// What went over it.
    pub counts: PlaceCounts,
}

/// A transport on an interface.
#[derive(Debug)]
pub(super) struct Place {
    place: SocketPlace,
    plan: Plan,
    ttl: u8,
    socket: Option<UdpSocket>,
    /// Set while the socket is to be opened.
    retry_at: Option<Instant>,
    backoff: Backoff,
    trouble: Option<String>,
    /// The trouble that was said aloud; a socket that opens and is of no use again is no news.
    said: Option<String>,
    counts: PlaceCounts,
}

impl Place {
    /// A place without a socket.
    pub(super) fn new(place: SocketPlace, plan: Plan, ttl: u8, seed: u64) -> Self {
        Self {
            place,
            plan,
            ttl,
            socket: None,
            retry_at: None,
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX, seed),
            trouble: None,
            said: None,
            counts: PlaceCounts::default(),
        }
    }

    pub(super) const fn place(&self) -> SocketPlace {
        self.place
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn interface(&self) -> &str {
        &self.plan.interface
    }

    /// When its socket is to be opened; absent while it is open.
    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(super) fn status(&self) -> PlaceStatus {
        PlaceStatus {
            place: self.place,
            interface: self.plan.interface.clone(),
            local: self.plan.local,
            to: self.plan.to,
            is_open: self.socket.is_some(),
            trouble: self.trouble.clone(),
            counts: self.counts,
        }
    }

    /// Opens the socket if its time has come.
    pub(super) fn retry(&mut self, now: Instant, events: &mut Vec<SocketEvent>) {
        if self.retry_at.is_some_and(|due| due <= now) {
            self.try_open(now, events);
        }
    }

    /// Opens the socket if there is none: something has changed that may help.
    pub(super) fn retry_now(&mut self, events: &mut Vec<SocketEvent>) {
        if self.socket.is_none() {
            self.backoff.reset();
            self.try_open(Instant::now(), events);
        }
    }

    /// Closes the socket and opens it at once; with back-off if that fails.
    pub(super) fn reopen(&mut self, events: &mut Vec<SocketEvent>) {
        self.close(events, "it is opened anew");
        self.try_open(Instant::now(), events);
    }

    /// Joins the group again; a socket that cannot is opened anew.
    pub(super) fn rejoin(&mut self, events: &mut Vec<SocketEvent>) {
        let Some(socket) = &self.socket else {
            return;
        };
        if self.place.transport == Transport::Broadcast {
            return;
        }
        if let Err(error) = multicast::rejoin(
            &SockRef::from(socket),
            self.place.interface,
            self.plan.to.ip(),
        ) {
            self.fail(&error, events);
        }
    }

    /// Closes the socket and lets the place rest.
    pub(super) fn close(&mut self, events: &mut Vec<SocketEvent>, why: &str) {
        self.retry_at = None;
        if self.socket.take().is_some() {
            let (interface, transport) = (&self.plan.interface, self.place.transport);
            tracing::info!(%transport, %interface, why, "a socket of discovery is closed");
            events.push(SocketEvent::Closed(self.place));
        }
    }

    /// Sends `bytes` if a socket stands.
    pub(super) fn send(&mut self, bytes: &[u8], events: &mut Vec<SocketEvent>) {
        let Some(socket) = &self.socket else {
            return;
        };
        // Not by tokio, which does not know yet whether a socket just made can send.
        match SockRef::from(socket).send_to(bytes, &self.plan.to.into()) {
            Ok(_) => {
                self.counts.sent += 1;
                self.trouble = None;
                self.said = None;
                self.backoff.reset();
            }
            Err(error) => {
                self.counts.unsent += 1;
                if is_of_the_moment(&error) {
                    self.complain(&error);
                } else {
                    self.fail(&error, events);
                }
            }
        }
    }

    /// The next thing that came in; pending too where no socket stands or it just failed.
    pub(super) fn poll_datagram(
        &mut self,
        context: &mut Context<'_>,
        events: &mut Vec<SocketEvent>,
    ) -> Poll<SocketEvent> {
        let Some(socket) = &self.socket else {
            return Poll::Pending;
        };
        // One byte more than is allowed shows that there was more.
        let mut room = [MaybeUninit::uninit(); DATAGRAM_BYTES_MAX + 1];
        let mut buffer = ReadBuf::uninit(&mut room);
        match socket.poll_recv_from(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(from)) => Poll::Ready(self.came_in(from, buffer.filled())),
            Poll::Ready(Err(error)) => {
                self.fail(&error, events);
                Poll::Pending
            }
        }
    }

    fn came_in(&mut self, from: SocketAddr, bytes: &[u8]) -> SocketEvent {
        let place = self.place;
        if bytes.len() > DATAGRAM_BYTES_MAX {
            self.counts.too_long += 1;
            return SocketEvent::TooLong { place, from };
        }
        self.counts.received += 1;
        SocketEvent::Datagram(Datagram {
            bytes: Bytes::copy_from_slice(bytes),
            from,
            interface: place.interface,
            transport: place.transport,
        })
    }

    fn try_open(&mut self, now: Instant, events: &mut Vec<SocketEvent>) {
        match self.opened() {
            Ok(socket) => {
                self.socket = Some(socket);
                self.retry_at = None;
                self.trouble = None;
                self.counts.opened += 1;
                let (interface, transport) = (&self.plan.interface, self.place.transport);
                let (local, to) = (self.plan.local, self.plan.to);
                tracing::info!(%transport, %interface, %local, %to, "discovery listens");
                events.push(SocketEvent::Opened(self.place));
            }
            Err(error) => {
                self.complain(&error);
                self.retry_at = Some(now + self.backoff.next_delay());
            }
        }
    }

    fn opened(&self) -> io::Result<UdpSocket> {
        let socket = match self.place.transport {
            Transport::Multicast | Transport::Multicast6 => {
                multicast::open(self.place.interface, &self.plan, self.ttl)
            }
            Transport::Broadcast => broadcast::open(&self.plan, self.ttl),
            Transport::Static => Err(io::ErrorKind::Unsupported.into()),
        }?;
        UdpSocket::from_std(socket)
    }

    /// The socket is of no use any more: it is closed and tried again after a while. The back-off
    /// goes on where it was, so that a socket which can be opened but not used is not opened without
    /// end.
    fn fail(&mut self, error: &io::Error, events: &mut Vec<SocketEvent>) {
        self.complain(error);
        self.close(events, "it has failed");
        self.retry_at = Some(Instant::now() + self.backoff.next_delay());
    }

    /// Says aloud what is new, and keeps it.
    fn complain(&mut self, error: &io::Error) {
        let trouble = error.to_string();
        let (interface, transport) = (&self.plan.interface, self.place.transport);
        // Normal while an address of IPv6 is checked for doubles.
        let is_early = error.kind() == io::ErrorKind::AddrNotAvailable;
        if is_early || self.said.as_ref() == Some(&trouble) {
            tracing::debug!(%transport, %interface, %error, "discovery cannot use this yet");
        } else {
            tracing::warn!(%transport, %interface, %error, "discovery fails here");
            self.said = Some(trouble.clone());
        }
        self.trouble = Some(trouble);
    }
}

/// Whether a datagram could not be sent although the socket is sound: a full queue, or a firewall's
/// word. It still hears.
fn is_of_the_moment(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::WouldBlock,
        io::ErrorKind::Interrupted,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::OutOfMemory,
    ];
    let is_full = error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32);
    is_full || kinds.contains(&error.kind())
}
