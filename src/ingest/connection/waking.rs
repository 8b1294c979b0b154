//! What a connection task waits for: the next thing that can be done for its vehicle.
//!
//! A look at everything at once, by which nothing is read or written yet. This file must not know
//! what is done then.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use super::Connection;
use crate::base::room::{Room, RoomGuard};

/// Room that is asked for before a read, in bytes: what the records of the largest chunk may come
/// to, so that as many as are woken at once do not fill it together; but a part of a small room.
const READ_ROOM_BYTES: u32 = 4 * 1024 * 1024;

/// The part of a room that is asked for at most.
const READ_ROOM_PART: u32 = 8;

/// What the serving loop woke up for.
pub(super) enum Wake {
    Readable(io::Result<RoomGuard>),
    /// The socket is readable and what it has has no way to go now.
    Shut,
    Writable(io::Result<()>),
    Settled(bool),
    Timer,
    Crowded,
    Drain,
}

impl Connection {
    /// Looks for whatever comes first; nothing is read or written yet. By hand since this is the state
    /// in which a connection rests: in a `select!` each wait for the socket takes 152 bytes,
    /// and enters and leaves the socket's list of waiters twice with each line.
    pub(super) fn poll_wake(
        &mut self,
        drained: Pin<&mut impl Future<Output = ()>>,
        context: &mut Context<'_>,
    ) -> Poll<Wake> {
        if self.shared.drain.is_cancelled() {
            return Poll::Ready(Wake::Drain);
        }
        if let Poll::Ready(settled) = self.replies.poll_settle_front(context) {
            return Poll::Ready(Wake::Settled(settled.is_ok()));
        }
        if !self.replies.unsent().is_empty()
            && let Poll::Ready(writable) = self.socket.poll_write_ready(context)
        {
            return Poll::Ready(Wake::Writable(writable));
        }
        // Before the socket, so that one that is always readable cannot hold off its deadlines.
        if self.timer.is_elapsed() {
            return Poll::Ready(Wake::Timer);
        }
        if self.keeping.poll_must_end(context).is_ready() {
            return Poll::Ready(Wake::Crowded);
        }
        if self.replies.has_room()
            && let Poll::Ready(readable) = self.socket.poll_read_ready(context)
        {
            return Poll::Ready(match (readable, self.room_now()) {
                (Err(error), _) => Wake::Readable(Err(error)),
                (Ok(()), Some(room)) => Wake::Readable(Ok(room)),
                (Ok(()), None) => Wake::Shut,
            });
        }
        // Only who goes to sleep must be woken.
        if drained.poll(context).is_ready() {
            return Poll::Ready(Wake::Drain);
        }
        self.timer.as_mut().poll(context).map(|()| Wake::Timer)
    }

    /// Room for a read, if there is any now and what is read can go on.
    fn room_now(&self) -> Option<RoomGuard> {
        let mut vehicle = self.session.vehicle().into_iter();
        if !vehicle.all(|vehicle| self.shared.route.is_open(vehicle)) {
            return None;
        }
        let room = &self.shared.room;
        room.try_take(read_room_bytes(room))
    }

    /// Waits for whatever comes first where what the socket has must wait for its way or for room.
    /// Every arm is cancel safe: nothing is read, written or taken before its arm is chosen, but for
    /// room, which comes back when dropped.
    pub(super) async fn wake_shut(&mut self, drained: Pin<&mut impl Future<Output = ()>>) -> Wake {
        let (socket, room) = (&self.socket, &self.shared.room);
        let (route, vehicle) = (&self.shared.route, self.session.vehicle());
        let (may_read, may_write) = (self.replies.has_room(), !self.replies.unsent().is_empty());
        tokio::select! {
            biased;
            () = drained => Wake::Drain,
            settled = self.replies.settle_front(), if self.replies.is_waiting() => {
                Wake::Settled(settled.is_ok())
            }
            writable = socket.writable(), if may_write => Wake::Writable(writable),
            // Before the socket, so that one that is always readable cannot hold off its deadlines.
            () = self.timer.as_mut() => Wake::Timer,
            () = self.keeping.must_end(), if !self.keeping.is_empty() => Wake::Crowded,
            room = async {
                socket.readable().await?;
                if let Some(vehicle) = vehicle.filter(|vehicle| !route.is_open(vehicle)) {
                    route.opened(vehicle).await;
                }
                Ok(room.take(read_room_bytes(room)).await)
            }, if may_read => Wake::Readable(room),
        }
    }
}

/// Room that is asked for before a read.
pub(super) fn read_room_bytes(room: &Room) -> u32 {
    READ_ROOM_BYTES.min(room.cap_bytes() / READ_ROOM_PART)
}
