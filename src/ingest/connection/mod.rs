//! The connection task: owns one vehicle's socket, its session and its replies.
//!
//! Pulls: it waits until the socket is readable, takes room, reads into a buffer of the thread,
//! and keeps only the bytes it got; an idle connection holds no buffer. One timer serves all
//! deadlines, moved only when one comes nearer.
//!
//! States: *serving* (reads, decodes, replies) → *finishing* (reads no more; what is due still
//! leaves) → closed with one [`CloseReason`].

mod parting;
mod waking;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::Sleep,
};

use self::waking::{Wake, read_room_bytes};
use super::{
    CloseReason, ListenerConfig, RejectedLine, ReplyPolicy, Shared, events,
    keeping::Keeping,
    line_buffer::{Job, JobDone, Session},
    replies::Replies,
    supervisor::{Chunk, Supervisor},
    trace::Trace,
};
use crate::{
    base::{
        room::RoomGuard,
        time::{Instant, wall_millis},
        verdict::Settle,
    },
    protocol::FlushReason,
    types::{
        ids::ConnectionId,
        record::{Kind, Record},
        time::UnixMillis,
    },
};

/// Bytes of one read at most.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Memory that a chunk costs besides its bytes: its place in the queues.
const CHUNK_OVERHEAD_BYTES: usize = 512;

/// Room that a byte of a chunk takes until its records are counted.
const ROOM_PER_BYTE: usize = 64;

/// Memory that a record costs besides what it takes itself.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// Later than any deadline.
const NEVER: Instant = Instant::from_millis(u64::MAX);

thread_local! {
    /// One read buffer for all connections of a thread.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into());
}

/// What a connection task starts with.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    pub(crate) socket: TcpStream,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) listener: Arc<ListenerConfig>,
}

/// Serves a connection until it ends, however it ends.
///
/// Not an `async fn`: what is made before the first await would be kept twice in the task, and there
/// are as many tasks as connections.
pub(crate) fn serve(accepted: Accepted, shared: Arc<Shared>) -> impl Future<Output = ()> + Send {
    let mut trace = Trace::open(&accepted, Arc::clone(&shared));
    let n_max = shared.config.n_connections_per_address_max;
    let has_place = n_max.is_none_or(|n_max| {
        shared
            .registry
            .enter_address(accepted.peer.ip(), n_max.get())
    });
    trace.is_address_entered = has_place && n_max.is_some();
    let mut connection = Connection::new(accepted, trace, shared);
    async move {
        if has_place {
            connection.run().await;
        } else {
            connection.end(CloseReason::Limit);
        }
        if let Some(leaving) = connection.part() {
            leaving.await;
        }
    }
}

struct Connection {
    socket: TcpStream,
    shared: Arc<Shared>,
    listener: Arc<ListenerConfig>,
    session: Session,
    supervisor: Supervisor,
    /// Bytes read and not consumed: the beginning of a line.
    rest: Bytes,
    replies: Replies,
    keeping: Keeping,
    opened: Instant,
    /// When bytes last came, or left.
    last_active: Instant,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires, once it has been armed.
    timer_at: Instant,
    trace: Trace,
    /// An answer is missing: none may leave that comes after it.
    has_gap: bool,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(accepted: Accepted, trace: Trace, shared: Arc<Shared>) -> Self {
        let pinned = accepted.listener.protocol.as_deref();
        let protocol = pinned.and_then(|name| shared.protocols.by_name(name));
        let session = Session::new(protocol.map(AsRef::as_ref), &shared);
        let now = Instant::now();
        Self {
            socket: accepted.socket,
            listener: accepted.listener,
            session,
            supervisor: Supervisor::default(),
            rest: Bytes::new(),
            replies: Replies::default(),
            keeping: Keeping::default(),
            opened: now,
            last_active: now,
            timer: Box::pin(tokio::time::sleep_until(now.to_tokio())),
            timer_at: NEVER,
            shared,
            trace,
            has_gap: false,
            permit: accepted.permit,
        }
    }

    async fn run(&mut self) {
        match self.serve().await {
            Ok(never) => match never {},
            Err(reason) => {
                // Once and at the end: it must not make every task larger.
                let reason = Box::pin(self.finish(reason)).await;
                self.end(reason);
            }
        }
    }

    const fn end(&mut self, reason: CloseReason) {
        self.trace.reason = reason;
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, CloseReason> {
        let drain = self.shared.drain.clone();
        let mut drained = pin!(drain.cancelled());
        loop {
            self.arm_timer();
            let mut wake = poll_fn(|context| self.poll_wake(drained.as_mut(), context)).await;
            if matches!(wake, Wake::Shut) {
                // Rare: it must not make every task larger.
                wake = Box::pin(self.wake_shut(drained.as_mut())).await;
            }
            match wake {
                Wake::Shut => {}
                Wake::Readable(room) => {
                    // Not an `if let` around the wait: what it looks at would live as long.
                    let Some((now, room)) = self.read(room)? else {
                        continue;
                    };
                    self.process(now, None, Some(room)).await?;
                    self.write()?;
                }
                Wake::Writable(writable) => {
                    writable.map_err(|_| CloseReason::Reset)?;
                    self.write()?;
                }
                Wake::Settled(true) => self.write()?,
                Wake::Settled(false) => return Err(CloseReason::Gap),
                Wake::Timer => Box::pin(self.on_timer()).await?,
                Wake::Crowded => return Err(self.crowded_out()),
                Wake::Drain => return Err(CloseReason::Drain),
            }
        }
    }

    /// Adds what the socket has to `rest`, if anything; when that was, and the room it takes.
    fn read(
        &mut self,
        room: io::Result<RoomGuard>,
    ) -> Result<Option<(Instant, RoomGuard)>, CloseReason> {
        let mut room = room.map_err(|_| CloseReason::Reset)?;
        let Poll::Ready(read) = SCRATCH.with_borrow_mut(|scratch| self.try_read(scratch)) else {
            return Ok(None);
        };
        let n_bytes = read.map_err(|_| CloseReason::Reset)?;
        if n_bytes == 0 {
            return Err(CloseReason::Peer);
        }
        self.shared.metrics.received_bytes.inc_by(n_bytes as u64);
        let now = Instant::now();
        self.last_active = now;
        room.resize_to(n_bytes * ROOM_PER_BYTE);
        Ok(Some((now, room)))
    }

    /// Adds what the socket has to `rest`; 0 at its end. Unlike the socket's own `try_read` this
    /// remembers that a short read has emptied it, which saves a second one.
    fn try_read(&mut self, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        let read = Pin::new(&mut self.socket).poll_read(&mut nobody(), &mut buffer);
        read.map_ok(|()| {
            self.rest = join(std::mem::take(&mut self.rest), buffer.filled());
            buffer.filled().len()
        })
    }

    /// Has the line buffer work on what was read, and sends its results on their ways.
    async fn process(
        &mut self,
        now: Instant,
        flush: Option<FlushReason>,
        room: Option<RoomGuard>,
    ) -> Result<(), CloseReason> {
        let received = UnixMillis(wall_millis());
        let n_bytes = self.rest.len();
        let chunk = Chunk::new(Job {
            bytes: std::mem::take(&mut self.rest),
            flush,
            now,
            received,
        });
        let (id, session) = (self.trace.id, &mut self.session);
        let done = self.supervisor.run(id, chunk, session, &self.shared).await;
        let mut done = done.map_err(|_| CloseReason::Restarts)?;
        self.rest = compact(std::mem::take(&mut done.rest), done.consumed_bytes);
        self.note_kept(done.consumed_bytes > 0);
        self.trace.enter_vehicle(self.session.vehicle());
        let room = room.map(|mut room| {
            let n_records = done.decoded.records.len();
            let n_reply_bytes = done.decoded.replies.len();
            let records = done.decoded.records.iter();
            let records_bytes = records.map(Record::memory_bytes).sum::<usize>()
                + n_records * RECORD_OVERHEAD_BYTES;
            room.resize_to(n_bytes + CHUNK_OVERHEAD_BYTES + records_bytes + n_reply_bytes);
            room
        });
        self.hand_on(done, (now, received), room)
    }

    fn hand_on(
        &mut self,
        done: Box<JobDone>,
        (now, received): (Instant, UnixMillis),
        mut room: Option<RoomGuard>,
    ) -> Result<(), CloseReason> {
        let records = done.decoded.records;
        let n_positions = records
            .iter()
            .filter(|record| record.kind() == Kind::Position)
            .count();
        events::lines_counted(&self.shared.metrics, &done.tally, n_positions);
        for rejected in done.rejected {
            self.shared.route.quarantine(RejectedLine {
                received,
                peer: self.trace.peer,
                protocol: rejected.protocol,
                vehicle: rejected.vehicle,
                reason: rejected.reason,
                line: rejected.line,
            });
        }
        if self.has_gap {
            if !records.is_empty() {
                // Nobody waits for the verdict.
                self.shared.route.deliver(records, Settle::new(room).0);
            }
            return Ok(());
        }
        let mut verdict = None;
        if !records.is_empty() {
            let (settle, receiver) = Settle::new(room.take());
            self.shared.route.deliver(records, settle);
            verdict = (self.listener.reply == ReplyPolicy::Stored).then_some(receiver);
        }
        let deadline = now + self.shared.config.reply_deadline;
        self.replies
            .push(done.decoded.replies, verdict, deadline, room);
        match (done.has_gap, done.decoded.is_login_refused) {
            (true, _) => Err(CloseReason::Gap),
            (false, true) => Err(CloseReason::Login),
            (false, false) => Ok(()),
        }
    }

    /// Gives the socket what may leave, as far as it takes it.
    fn write(&mut self) -> Result<(), CloseReason> {
        let mut has_sent = false;
        while !self.replies.unsent().is_empty() {
            match self.socket.try_write(self.replies.unsent()) {
                Ok(n_bytes) => {
                    has_sent = true;
                    self.last_active = Instant::now();
                    self.replies.sent(n_bytes, self.last_active);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.replies.sent(0, Instant::now());
                    break;
                }
                Err(_) => return Err(CloseReason::Reset),
            }
        }
        self.note_kept(has_sent);
        Ok(())
    }

    /// Notes what is kept until more comes or goes.
    fn note_kept(&mut self, has_gone_on: bool) {
        let n_bytes = self.rest.len() + self.replies.unsent().len();
        if n_bytes > 0 || !self.keeping.is_empty() {
            let among = (&self.shared.room, &self.shared.keepers);
            self.keeping.note(n_bytes, has_gone_on, among);
        }
    }

    /// Why this ends for what others keep.
    fn crowded_out(&self) -> CloseReason {
        if self.rest.len() < self.replies.unsent().len() {
            CloseReason::TooSlow
        } else {
            CloseReason::Limit
        }
    }

    /// The deadlines of a connection that is served, each with what its passing means.
    ///
    /// A device that waits for replies is not idle: the replies have deadlines of their own. One that
    /// has not named its vehicle yet may be silent for no longer than before its first line: a place
    /// is not to be had for hours by one line of a stranger.
    fn deadlines(&self) -> [(Option<Instant>, Option<CloseReason>); 5] {
        let idle_since = (!self.replies.are_pending()).then_some(self.last_active);
        let idle_timeout = self.listener.idle_timeout;
        let idle = idle_since
            .zip(idle_timeout)
            .map(|(at, timeout)| at + timeout);
        let strange_since = match (self.session.is_understood, self.session.is_named) {
            (false, _) => Some(self.opened),
            (true, false) => idle_since,
            (true, true) => None,
        };
        let first_line = strange_since.map(|at| at + self.shared.config.first_line_timeout);
        [
            (first_line, Some(CloseReason::FirstLine)),
            (idle, Some(CloseReason::Idle)),
            (self.replies.reply_deadline(), Some(CloseReason::Gap)),
            (self.replies.unread_deadline(), Some(CloseReason::TooSlow)),
            (self.session.next_deadline(), None),
        ]
    }

    /// Moves the timer if a deadline is nearer than it; a later one is looked at when it fires.
    fn arm_timer(&mut self) {
        let nearest = self
            .deadlines()
            .into_iter()
            .filter_map(|(deadline, _)| deadline)
            .min();
        let has_fired = self.timer.is_elapsed();
        if let Some(nearest) = nearest.filter(|nearest| has_fired || *nearest < self.timer_at) {
            self.timer_at = nearest;
            self.timer.as_mut().reset(nearest.to_tokio());
        } else if has_fired {
            self.timer_at = Instant::now() + Duration::from_secs(3_600);
            self.timer.as_mut().reset(self.timer_at.to_tokio());
        }
    }

    async fn on_timer(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        if self.is_kept_waiting() {
            // Its silence is ours: the clocks for what it should say begin anew.
            (self.opened, self.last_active) = (now, now);
        }
        for (deadline, reason) in self.deadlines() {
            match (deadline.filter(|deadline| *deadline <= now), reason) {
                (Some(_), Some(reason)) => {
                    if reason == CloseReason::Gap {
                        self.replies.give_up();
                    }
                    return Err(reason);
                }
                (Some(_), None) => self.process(now, Some(FlushReason::Deadline), None).await?,
                (None, _) => {}
            }
        }
        self.write()
    }

    /// Whether bytes of the device lie in its socket because there is no room for them.
    fn is_kept_waiting(&self) -> bool {
        let mut one_byte = [0];
        let room = &self.shared.room;
        let is_crowded = room.free_bytes() < read_room_bytes(room) as usize;
        let mut vehicle = self.session.vehicle().into_iter();
        (is_crowded || vehicle.any(|vehicle| !self.shared.route.is_open(vehicle)))
            && self
                .socket
                .poll_peek(&mut nobody(), &mut ReadBuf::new(&mut one_byte))
                .is_ready()
    }
}

/// The context of a look at the socket that nobody is woken for.
const fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The bytes of `rest` and `new` in one piece; copies `rest` only if others still hold it.
fn join(rest: Bytes, new: &[u8]) -> Bytes {
    if rest.is_empty() {
        return Bytes::copy_from_slice(new);
    }
    let mut joined = rest
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    joined.extend_from_slice(new);
    joined.freeze()
}

/// What is left behind `consumed` bytes, without holding on to the memory of those.
fn compact(rest: Bytes, consumed: usize) -> Bytes {
    if consumed == 0 {
        rest
    } else {
        Bytes::copy_from_slice(&rest)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{BindAddress, IngestConfig, tests::bench::Bench},
        *,
    };

    /// A connection without an idle timeout that the test drives.
    async fn connection_on(bench: &Bench, socket: TcpStream) -> Connection {
        let shared = bench.shared();
        let accepted = Accepted {
            id: ConnectionId(0),
            peer: socket.local_addr().unwrap(),
            socket,
            permit: Arc::clone(&shared.permits).acquire_owned().await.unwrap(),
            listener: Arc::new(ListenerConfig {
                address: BindAddress::Both(0),
                protocol: None,
                reply: ReplyPolicy::Stored,
                idle_timeout: None,
            }),
        };
        let trace = Trace::open(&accepted, Arc::clone(&shared));
        Connection::new(accepted, trace, shared)
    }

    #[tokio::test]
    async fn a_socket_that_is_always_readable_does_not_hold_off_a_deadline() {
        let config = IngestConfig {
            first_line_timeout: Duration::ZERO,
            ..IngestConfig::default()
        };
        let bench = Bench::with(true, ReplyPolicy::Stored, config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await;
        far.unwrap().try_write(b"what is this\n").unwrap();
        let mut connection = connection_on(&bench, listener.accept().await.unwrap().0).await;
        connection.socket.readable().await.unwrap();
        connection.arm_timer();
        while !connection.timer.is_elapsed() {
            tokio::task::yield_now().await;
        }
        let mut drained = pin!(std::future::pending());
        let wake = poll_fn(|context| connection.poll_wake(drained.as_mut(), context)).await;
        assert!(matches!(wake, Wake::Timer));
        assert_eq!(
            connection.on_timer().await,
            Err(CloseReason::FirstLine),
            "and what it means is not what the socket says"
        );
    }

    #[tokio::test]
    async fn who_has_named_no_vehicle_may_be_silent_for_as_long_as_before_the_first_line() {
        let bench = Bench::with(true, ReplyPolicy::Stored, IngestConfig::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _far = TcpStream::connect(listener.local_addr().unwrap()).await;
        let mut connection = connection_on(&bench, listener.accept().await.unwrap().0).await;
        let timeout = bench.shared().config.first_line_timeout;
        connection.last_active = connection.opened + timeout;
        for (is_understood, is_named, expected) in [
            (false, false, Some(connection.opened + timeout)),
            (true, false, Some(connection.last_active + timeout)),
            (true, true, None),
        ] {
            connection.session.is_understood = is_understood;
            connection.session.is_named = is_named;
            let due = connection.deadlines()[0];
            assert_eq!(due, (expected, Some(CloseReason::FirstLine)));
        }
    }

    #[test]
    fn the_rest_of_a_chunk_does_not_hold_the_chunk() {
        let chunk = Bytes::from(vec![b'a'; 10_000]);
        let rest = compact(chunk.slice(9_990..), 9_990);
        assert_eq!(rest.len(), 10);
        drop(chunk);
        assert!(rest.try_into_mut().unwrap().capacity() < 100);
        assert_eq!(join(Bytes::from_static(b"ab"), b"cd"), "abcd");
    }
}
