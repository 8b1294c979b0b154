//! One link: a reader and a writer over one connection, and whoever awaits them.
//!
//! The two share what waits to be written, the credit and the pings, under a lock that is never held
//! over an await. The reader never waits for the writer or for the disk, only for room in the channel
//! of events; what that channel may hold of a link is bounded by credit, or has a cap.

mod reader;
mod writer;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    net::TcpStream,
    sync::{Notify, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{reader::Reader, writer::Writer};
use super::{
    handshake::Session,
    links::{Inner, LinkEvent, LinksConfig, NewLink, next_link},
};
use crate::{
    base::{
        task::spawn_child,
        time::{Instant, Stopwatch},
    },
    cluster::proto::{
        DialId, LinkId,
        link::{
            credit::{FLOWS, Grants},
            frame::{Flow, Frame, FrameKind},
            hello::Hello,
            outcome::{CloseReason, LinkEnd},
            outgoing::{Outgoing, SendError},
            silence::Beat,
        },
    },
};

/// How long the last words of a link may take, and the other end to hear them.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// Pings that may be under way on a link; of more the oldest are given up.
const N_PINGS_MAX: usize = 16;

/// Gives orders to a link; cheap to clone. Orders to a link that is gone do nothing.
#[derive(Debug, Clone)]
pub struct LinkHandle(Arc<Shared>);

/// A frame that came in, and the room that it takes up: where it was paid for with credit, the other
/// end gets the credit back when this is dropped. Keep it until it has been dealt with.
#[derive(Debug)]
pub struct Received {
    /// What it is about.
    pub kind: FrameKind,
    /// What it says.
    pub payload: Bytes,
    _held: Held,
}

/// Who is at the other end, as it was met.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) hello: Hello,
    pub(super) observed: SocketAddr,
    pub(super) dialled: Option<DialId>,
}

#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    kind: FrameKind,
    payload_bytes: usize,
}

/// What reader, writer and handles of a link share.
#[derive(Debug)]
struct Shared {
    link: LinkId,
    state: Mutex<State>,
    /// Something may have to be written.
    wake: Notify,
    /// Something was written, so there may be room.
    room: Notify,
    /// This end closes the link, or has closed it.
    closing: CancellationToken,
}

#[derive(Debug)]
struct State {
    outgoing: Outgoing,
    grants: Grants,
    beat: Beat,
    pings: VecDeque<Ping>,
    next_ping: u64,
}

#[derive(Debug)]
struct Ping {
    number: u64,
    since: Stopwatch,
    answer: oneshot::Sender<Duration>,
}

/// How the writer ended.
#[derive(Debug)]
enum WriteEnd {
    /// The last frame was written.
    Done,
    /// It could not write.
    Failed,
}

/// Tells of a link, serves it, and tells of its end.
pub(super) async fn run(session: Session<TcpStream>, met: Met, inner: Arc<Inner>) {
    let link = next_link();
    let shared = Arc::new(Shared::new(link, &inner.config));
    let name = met.hello.card.name.clone();
    let up = LinkEvent::LinkUp(Box::new(NewLink {
        link,
        dialled: met.dialled,
        card: met.hello.card.seen_from(met.observed),
        mode: met.hello.mode,
        settings: met.hello.settings,
        software: met.hello.software,
        observed: met.observed,
        handle: LinkHandle(Arc::clone(&shared)),
    }));
    if !inner.tell(up).await {
        return;
    }
    inner.metrics.links.inc();
    tracing::debug!(%link, node = %name, peer = %met.observed, "a link stands");
    let (reason, silence) = serve(session, &shared, &inner).await;
    shared.end();
    inner.metrics.links.dec();
    inner.metrics.ended.inc(reason.as_str());
    tracing::debug!(%link, node = %name, reason = reason.as_str(), "a link is gone");
    let down = LinkEvent::LinkDown {
        link,
        reason,
        silence,
    };
    inner.tell(down).await;
}

/// Runs reader and writer until the link has ended; how it did, and how long it was silent by then.
async fn serve(
    session: Session<TcpStream>,
    shared: &Arc<Shared>,
    inner: &Arc<Inner>,
) -> (LinkEnd, Duration) {
    let (read_half, write_half) = session.stream.into_split();
    let reader = Reader::new(read_half, session.opener, shared, inner);
    let writer = Writer::new(write_half, session.sealer, shared, inner);
    let mut reader = AbortOnDropHandle::new(spawn_child(reader.run()));
    let mut writer = AbortOnDropHandle::new(spawn_child(writer.run()));
    let read = tokio::select! {
        read = &mut reader => Some(read.unwrap_or(PANICKED)),
        // The last word of this end, or a connection that takes nothing: the reader knows more.
        _ = &mut writer => {
            let read = timeout(CLOSE_GRACE, &mut reader).await;
            let read = read.unwrap_or(Ok((LinkEnd::Reset, Duration::ZERO)));
            let (end, silence) = read.unwrap_or(PANICKED);
            return (shared.end_of(end), silence);
        }
        () = inner.stop.cancelled() => None,
    };
    let is_reading = read.is_none();
    let (end, silence) = read.unwrap_or((LinkEnd::Local, Duration::ZERO));
    let end = shared.end_of(end);
    match &end {
        LinkEnd::Closed | LinkEnd::ClosedFor(_) | LinkEnd::Reset => return (end, silence),
        LinkEnd::Silent => shared.close(CloseReason::Silent),
        LinkEnd::Protocol(what) => shared.close(CloseReason::Protocol((*what).to_owned())),
        LinkEnd::Overrun => shared.close(CloseReason::NotReady),
        LinkEnd::Local => shared.close(CloseReason::Leaving),
    }
    if timeout(CLOSE_GRACE, writer).await.is_err() {
        tracing::debug!(link = %shared.link, "the other end did not take the last frame");
    }
    // Bytes that nobody has read would tear the connection, and the last frame with it.
    if is_reading && timeout(CLOSE_GRACE, reader).await.is_err() {
        tracing::debug!(link = %shared.link, "the other end did not close");
    }
    (end, silence)
}

/// What a link ends with whose task has panicked; the panic itself is logged where it happens.
const PANICKED: (LinkEnd, Duration) = (
    LinkEnd::Protocol("a task of this link panicked"),
    Duration::ZERO,
);

impl LinkHandle {
    /// Which link.
    pub fn link(&self) -> LinkId {
        self.0.link
    }

    /// Puts a frame behind the others of its priority.
    ///
    /// # Errors
    /// [`SendError`]; the frame is not taken then.
    pub fn send(&self, kind: FrameKind, payload: Bytes) -> Result<(), SendError> {
        self.send_with_beat(kind, payload)?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// The same for what need not go before the next heartbeat: it goes with that, or with whatever goes
    /// before.
    ///
    /// # Errors
    /// [`SendError`]; the frame is not taken then.
    pub fn send_with_beat(&self, kind: FrameKind, payload: Bytes) -> Result<(), SendError> {
        self.0.lock().outgoing.push(kind, payload)
    }

    /// Waits until there is room, and puts a frame behind the others of its priority. Cancel safe: a
    /// dropped wait sends nothing.
    ///
    /// # Errors
    /// [`SendError::Closed`] or [`SendError::Impossible`].
    pub async fn send_when_room(&self, kind: FrameKind, payload: Bytes) -> Result<(), SendError> {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            // From here on nothing that is written is missed.
            room.as_mut().enable();
            match self.send(kind, payload.clone()) {
                Err(SendError::Full) => room.await,
                outcome => return outcome,
            }
        }
    }

    /// What heartbeats carry from now on, at most 16 KiB; said at once if it is something new.
    ///
    /// # Errors
    /// [`SendError::Impossible`] if it is longer.
    pub fn set_heartbeat(&self, payload: Bytes) -> Result<(), SendError> {
        check_heartbeat(&payload)?;
        if self.0.lock().beat.set_payload(payload) {
            self.0.wake.notify_one();
        }
        Ok(())
    }

    /// The same for what may wait for the next heartbeat.
    ///
    /// # Errors
    /// [`SendError::Impossible`] if it is longer.
    pub fn set_next_heartbeat(&self, payload: Bytes) -> Result<(), SendError> {
        check_heartbeat(&payload)?;
        self.0.lock().beat.set_next_payload(payload);
        Ok(())
    }

    /// Sets how much the other end may have under way or held here.
    pub fn set_window(&self, flow: Flow, window_bytes: u32) {
        self.0.lock().grants.set_window(flow, window_bytes);
        self.0.grant();
    }

    /// Closes the link and tells the other end why, after what is short and waits; records that wait
    /// are not sent. [`LinkEvent::LinkDown`] follows within a second, whatever the other end does.
    pub fn close(&self, reason: CloseReason) {
        self.0.close(reason);
    }

    /// Asks the other end for a sign of life; the answer is the time that it took. It never comes if
    /// the link ends first: the receiver's error.
    pub fn ping(&self) -> oneshot::Receiver<Duration> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        let number = state.next_ping;
        state.next_ping += 1;
        let payload = Bytes::copy_from_slice(&number.to_le_bytes());
        // Where it cannot be sent, the answer is dropped, which its receiver sees.
        if state.outgoing.push(FrameKind::PING, payload).is_ok() {
            if state.pings.len() >= N_PINGS_MAX {
                state.pings.pop_front();
            }
            let since = Stopwatch::start();
            state.pings.push_back(Ping {
                number,
                since,
                answer,
            });
            drop(state);
            self.0.wake.notify_one();
        }
        receiver
    }

    /// Bytes that wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.0.lock().outgoing.waiting_bytes()
    }

    /// Whether this end closes it, or it has ended.
    pub fn is_closed(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    /// Waits until this end closes it, or it has ended. Cancel safe.
    pub async fn closed(&self) {
        self.0.closing.cancelled().await;
    }
}

fn check_heartbeat(payload: &Bytes) -> Result<(), SendError> {
    let is_possible = payload.len() <= FrameKind::HEARTBEAT.payload_bytes_max();
    is_possible.then_some(()).ok_or(SendError::Impossible)
}

impl Shared {
    fn new(link: LinkId, config: &LinksConfig) -> Self {
        let mut state = State {
            outgoing: Outgoing::new(config.limits),
            grants: Grants::new(config.records_window_bytes, config.bulk_window_bytes),
            beat: Beat::new(config.timing, Instant::now()),
            pings: VecDeque::new(),
            next_ping: 0,
        };
        state.grant();
        Self {
            link,
            state: Mutex::new(state),
            wake: Notify::new(),
            room: Notify::new(),
            closing: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is done under the lock leaves sound state behind, wherever it ends.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, reason: CloseReason) {
        self.lock().outgoing.close(reason);
        self.closing.cancel();
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// Nothing will be written or read any more.
    fn end(&self) {
        self.close(CloseReason::Unwanted);
        self.lock().pings.clear();
    }

    /// How the link ended, when the reader ended so: what follows our own close is our doing.
    fn end_of(&self, read: LinkEnd) -> LinkEnd {
        if self.closing.is_cancelled() {
            return LinkEnd::Local;
        }
        read
    }

    fn grant(&self) {
        if self.lock().grant() {
            self.wake.notify_one();
        }
    }

    /// Takes the frames that go next into `plain`. When nothing is left that may go, gives the time
    /// of the next heartbeat; `None` after the last frame.
    fn take_batch(&self, plain: &mut BytesMut, bytes_min: usize) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.lock();
        let state = &mut *state;
        let is_speaking = state.outgoing.waiting_bytes() > 0;
        if let Some(payload) = state.beat.take_due(now, is_speaking) {
            state.outgoing.set_heartbeat(payload);
        }
        state.outgoing.fill(plain, bytes_min);
        if !plain.is_empty() {
            state.beat.said(now);
        }
        (!state.outgoing.is_done()).then(|| state.beat.next_deadline())
    }
}

impl State {
    /// Grants what is due; true if anything is.
    fn grant(&mut self) -> bool {
        let due = FLOWS.map(|flow| self.grants.take_due(flow));
        let due = due.into_iter().flatten();
        due.map(|grant| self.outgoing.add_grant(grant)).count() > 0
    }

    fn answer_ping(&mut self, payload: &[u8]) {
        let is_it = |ping: &Ping| ping.number.to_le_bytes() == payload;
        let answered = self.pings.iter().position(is_it);
        let answered = answered.and_then(|at| self.pings.remove(at));
        if let Some(ping) = answered
            && ping.answer.send(ping.since.elapsed()).is_err()
        {
            tracing::trace!("nobody waits for the answer to a ping any more");
        }
    }
}

impl Received {
    fn new(shared: &Arc<Shared>, frame: Frame) -> Self {
        let held = Held {
            shared: Arc::clone(shared),
            kind: frame.kind,
            payload_bytes: frame.payload.len(),
        };
        Self {
            kind: frame.kind,
            payload: frame.payload,
            _held: held,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.grants.release(self.kind, self.payload_bytes);
        if state.grant() {
            drop(state);
            self.shared.wake.notify_one();
        }
    }
}
