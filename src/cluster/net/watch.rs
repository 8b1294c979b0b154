//! Notices that interfaces or their addresses change, and lists them anew.
//!
//! On Linux the kernel says so over a netlink socket; what it says is not read, only that it said
//! something. Besides, and where there is no such socket, the list is looked at from time to time.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Sleep;

use crate::base::time::Instant;

use super::interfaces::{Interface, interfaces};

use self::notices::Notices;

/// Between two looks at least, however much the kernel has to say; a look takes about 0.2 ms.
const LOOK_GAP: Duration = Duration::from_millis(50);
/// Between two looks where the kernel tells of changes: a net below the net.
const LOOK_SELDOM: Duration = Duration::from_secs(10);
/// Between two looks where it does not.
const LOOK_OFTEN: Duration = Duration::from_secs(1);

/// Follows the interfaces of this machine.
#[derive(Debug)]
pub(super) struct InterfaceWatch {
    notices: Option<Notices>,
    /// The kernel said something since the last look.
    is_noticed: bool,
    last_look: Instant,
    /// Ends when the next look is due.
    pause: Pin<Box<Sleep>>,
    /// What the last look showed.
    known: Vec<Interface>,
}

impl InterfaceWatch {
    /// A watch that has looked once. Panics outside of a runtime.
    pub(super) fn new() -> Self {
        // The socket before the look, so that no change falls between the two.
        let notices = Notices::open()
            .inspect_err(|error| tracing::info!(%error, "interfaces are looked at every second"))
            .ok();
        let now = Instant::now();
        let mut watch = Self {
            notices,
            is_noticed: false,
            last_look: now,
            pause: Box::pin(tokio::time::sleep_until(now.to_tokio())),
            known: Vec::new(),
        };
        watch.look();
        watch
    }

    /// The interfaces as they were at the last look.
    pub(super) fn known(&self) -> &[Interface] {
        &self.known
    }

    /// Ready when there was something to notice: the kernel spoke, or a look showed another list.
    /// The list may be the old one, since the kernel also tells of what it does not show (an IPv6
    /// address has become usable).
    pub(super) fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.is_noticed {
                self.is_noticed = self.poll_notices(context).is_ready();
            }
            let due = self.next_look().to_tokio();
            self.pause.as_mut().reset(due);
            ready!(self.pause.as_mut().poll(context));
            let is_noticed = std::mem::take(&mut self.is_noticed);
            if self.look() || is_noticed {
                return Poll::Ready(());
            }
        }
    }

    /// Ready when the kernel said something. A socket that fails is given up.
    fn poll_notices(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(notices) = &mut self.notices else {
            return Poll::Pending;
        };
        if let Err(error) = ready!(notices.poll_drained(context)) {
            tracing::warn!(%error, "the kernel tells no more of interfaces: they are looked at every second");
            self.notices = None;
        }
        Poll::Ready(())
    }

    fn next_look(&self) -> Instant {
        let pause = match (&self.notices, self.is_noticed) {
            (_, true) => LOOK_GAP,
            (Some(_), false) => LOOK_SELDOM,
            (None, false) => LOOK_OFTEN,
        };
        self.last_look + pause
    }

    /// Looks, and says whether the list is another one.
    fn look(&mut self) -> bool {
        self.last_look = Instant::now();
        match interfaces() {
            Ok(interfaces) if interfaces == self.known => false,
            Ok(interfaces) => {
                self.known = interfaces;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the interfaces cannot be listed");
                false
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod notices {
    //! The kernel's word that links or addresses changed.

    use std::{
        io,
        os::{fd::AsRawFd as _, unix::net::UnixDatagram as StdDatagram},
        task::{Context, Poll},
    };

    use nix::{
        errno::Errno,
        sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket},
    };
    use tokio::{io::ReadBuf, net::UnixDatagram};

    /// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of rtnetlink(7).
    const GROUPS: u32 = 0x1 | 0x10 | 0x100;

    /// Messages thrown away before others may run again.
    const MESSAGES_MAX: usize = 256;

    /// A netlink socket that hears of changes. It dresses as a local datagram socket, which it is
    /// in all but its addresses, since tokio has no safe type for just any descriptor.
    #[derive(Debug)]
    pub(super) struct Notices(UnixDatagram);

    impl Notices {
        /// Opens it.
        ///
        /// # Errors
        /// What the system says; some sandboxes know no netlink.
        pub(super) fn open() -> io::Result<Self> {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkRoute,
            )?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
            UnixDatagram::from_std(StdDatagram::from(socket)).map(Self)
        }

        /// Ready when there were messages; they are thrown away, all that had come as a rule.
        pub(super) fn poll_drained(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut n_messages = 0;
            while n_messages < MESSAGES_MAX {
                let mut start = [0; 16];
                match self.0.poll_recv(context, &mut ReadBuf::new(&mut start)) {
                    Poll::Ready(Ok(())) => n_messages += 1,
                    // More was told than the socket holds.
                    Poll::Ready(Err(error)) if is_overrun(&error) => n_messages += 1,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending if n_messages == 0 => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    fn is_overrun(error: &io::Error) -> bool {
        error.raw_os_error() == Some(Errno::ENOBUFS as i32)
    }
}

#[cfg(not(target_os = "linux"))]
mod notices {
    //! No such socket on this system.

    use std::{
        io,
        task::{Context, Poll},
    };

    /// Never made.
    #[derive(Debug)]
    pub(super) enum Notices {}

    impl Notices {
        /// Always refused.
        ///
        /// # Errors
        /// Always.
        pub(super) fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Never called.
        pub(super) fn poll_drained(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn where_the_kernel_tells_nothing_a_look_finds_what_changed() {
        let mut watch = InterfaceWatch::new();
        let found = watch.known().to_vec();
        assert!(!found.is_empty());
        watch.notices = None;
        watch.known = Vec::new();
        poll_fn(|context| watch.poll_changed(context)).await;
        assert_eq!(watch.known(), found);
    }
}
