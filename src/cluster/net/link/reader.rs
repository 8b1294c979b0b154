//! The half of a link that reads, and that notices when there is nothing to read.

use std::{io, mem::MaybeUninit, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use socket2::SockRef;
use tokio::{io::AsyncReadExt as _, net::tcp::OwnedReadHalf, time::sleep_until};

use super::{Received, Shared, State};
use crate::{
    base::time::Instant,
    cluster::{
        net::{
            links::{Inner, LinkEvent},
            noise::{LENGTH_BYTES, MESSAGE_BYTES_MAX, Opener, TAG_BYTES},
        },
        proto::link::{
            credit::Grant,
            frame::{Frame, FrameFault, FrameKind, FrameReader, Item},
            outcome::{CloseReason, LinkEnd},
            silence::{Hearing, HearingChange},
        },
    },
};

/// Bytes of a ping and of its answer.
const PING_BYTES: usize = 8;

/// A buffer that has grown beyond this for a long frame is given back.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Reader {
    stream: OwnedReadHalf,
    opener: Opener,
    shared: Arc<Shared>,
    inner: Arc<Inner>,
    hearing: Hearing,
    /// Messages as they come in.
    cipher: BytesMut,
    /// What they say: the beginning of a frame.
    plain: BytesMut,
    frames: FrameReader,
    heartbeat: Bytes,
    /// Credit has come, or a pong or a heartbeat has to go.
    wakes_writer: bool,
    /// What is to be told, in its order.
    events: Vec<LinkEvent>,
}

impl Reader {
    pub(super) fn new(
        stream: OwnedReadHalf,
        opener: Opener,
        shared: &Arc<Shared>,
        inner: &Arc<Inner>,
    ) -> Self {
        Self {
            stream,
            opener,
            shared: Arc::clone(shared),
            inner: Arc::clone(inner),
            hearing: Hearing::new(inner.config.timing, Instant::now()),
            cipher: BytesMut::new(),
            plain: BytesMut::new(),
            frames: FrameReader::default(),
            heartbeat: Bytes::new(),
            wakes_writer: false,
            events: Vec::new(),
        }
    }

    /// Reads until the link ends; says how, and how long it was silent by then.
    pub(super) async fn run(mut self) -> (LinkEnd, Duration) {
        let end = self.read_to_end().await;
        (end, self.hearing.silence(Instant::now()))
    }

    async fn read_to_end(&mut self) -> LinkEnd {
        let look = sleep_until(self.hearing.next_look().to_tokio());
        tokio::pin!(look);
        loop {
            self.cipher.reserve(LENGTH_BYTES + MESSAGE_BYTES_MAX);
            // Both arms are cancel safe. What can be read is read before silence is measured.
            let outcome = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.cipher) => self.take_in(read),
                () = &mut look => {
                    let looked = self.look();
                    look.as_mut().reset(self.hearing.next_look().to_tokio());
                    looked
                }
            };
            if !self.tell().await {
                return LinkEnd::Local;
            }
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// Takes in what was read.
    fn take_in(&mut self, read: io::Result<usize>) -> Result<(), LinkEnd> {
        let n_bytes = read.map_err(|_| LinkEnd::Reset)?;
        if n_bytes == 0 {
            return Err(LinkEnd::Closed);
        }
        self.inner.metrics.bytes.inc_by("in", n_bytes as u64);
        let change = self.hearing.heard(Instant::now());
        self.note(change)?;
        while let Some(message) = next_message(&self.cipher)? {
            let n_bytes = LENGTH_BYTES + message.len();
            let opened = self.opener.open(message, &mut self.plain);
            opened.map_err(|_| LinkEnd::Protocol("a message that was altered"))?;
            self.cipher.advance(n_bytes);
            self.take_frames()?;
        }
        Ok(())
    }

    /// Takes the frames that are whole.
    fn take_frames(&mut self) -> Result<(), LinkEnd> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let mut outcome = Ok(());
        while outcome.is_ok() {
            outcome = match self.frames.next(&mut self.plain) {
                Ok(Some(Item::Frame(frame))) => self.take_frame(frame, &mut state),
                Ok(Some(Item::Skipped(_))) => {
                    self.inner.metrics.frames_skipped.inc();
                    Ok(())
                }
                Ok(None) => break,
                Err(fault) => Err(fault.into()),
            };
        }
        drop(state);
        if self.plain.is_empty() && self.plain.capacity() > BUFFER_BYTES_MAX {
            self.plain = BytesMut::new();
        }
        if std::mem::take(&mut self.wakes_writer) {
            shared.wake.notify_one();
        }
        outcome
    }

    fn take_frame(&mut self, frame: Frame, state: &mut State) -> Result<(), LinkEnd> {
        let link = self.shared.link;
        match frame.kind {
            FrameKind::HELLO => return Err(LinkEnd::Protocol("a second hello")),
            FrameKind::HEARTBEAT => {
                if self.heartbeat == frame.payload {
                    self.wakes_writer |= state.beat.answer(Instant::now());
                } else {
                    self.heartbeat = frame.payload.clone();
                    let bytes = frame.payload;
                    self.events.push(LinkEvent::Heartbeat { link, bytes });
                }
            }
            FrameKind::CREDIT => {
                if let Some(grant) = Grant::decode(&frame.payload)? {
                    state.outgoing.add_allowance(grant)?;
                    self.wakes_writer = true;
                }
            }
            FrameKind::CLOSE => {
                let reason = CloseReason::decode(&frame.payload);
                return Err(LinkEnd::ClosedFor(reason));
            }
            FrameKind::PING if frame.payload.len() == PING_BYTES => {
                self.wakes_writer = true;
                // While as much waits as may, pings are not answered.
                if state.outgoing.push(FrameKind::PONG, frame.payload).is_err() {
                    tracing::trace!(%link, "a ping is not answered");
                }
            }
            FrameKind::PING => return Err(LinkEnd::Protocol("a ping of another length")),
            FrameKind::PONG => state.answer_ping(&frame.payload),
            kind if !state.grants.has_room_for(kind) => return Err(self.overrun()),
            kind => {
                state.grants.receive(kind, frame.payload.len())?;
                let frame = Received::new(&self.shared, frame);
                self.events.push(LinkEvent::Frame { link, frame });
            }
        }
        Ok(())
    }

    fn overrun(&self) -> LinkEnd {
        if let Some(n_held_back) = self.inner.log_limit.pass() {
            let link = self.shared.link;
            tracing::warn!(%link, n_held_back, "more comes in than is worked off; the link is closed");
        }
        LinkEnd::Overrun
    }

    /// Looks whether there is really nothing. The kernel is asked, not tokio: after a pause of the
    /// process it may not have learned yet what has come meanwhile.
    fn look(&mut self) -> Result<(), LinkEnd> {
        let now = Instant::now();
        if now < self.hearing.next_look() {
            return Ok(());
        }
        let socket = SockRef::from(self.stream.as_ref());
        let is_empty = match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        let change = if is_empty {
            self.hearing.found_empty(now)
        } else {
            self.hearing.heard(now)
        };
        self.note(change)
    }

    fn note(&mut self, change: Option<HearingChange>) -> Result<(), LinkEnd> {
        let link = self.shared.link;
        match change {
            Some(HearingChange::Quiet) => self.events.push(LinkEvent::LinkQuiet { link }),
            Some(HearingChange::Lively) => self.events.push(LinkEvent::LinkLively { link }),
            Some(HearingChange::Dead) => return Err(LinkEnd::Silent),
            None => {}
        }
        Ok(())
    }

    /// Tells what there is to tell; false if nobody listens any more.
    async fn tell(&mut self) -> bool {
        while !self.events.is_empty() {
            let n_events = self.events.len().min(self.inner.events.max_capacity());
            let Ok(permits) = self.inner.events.reserve_many(n_events).await else {
                return false;
            };
            for (permit, event) in permits.zip(self.events.drain(..n_events)) {
                permit.send(event);
            }
        }
        true
    }
}

/// The message that stands first, without its length; `None` when it is not whole.
fn next_message(stream: &[u8]) -> Result<Option<&[u8]>, LinkEnd> {
    let Some((length, rest)) = stream.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let n_bytes = usize::from(u16::from_be_bytes(*length));
    if n_bytes < TAG_BYTES {
        return Err(LinkEnd::Protocol("a message shorter than its tag"));
    }
    Ok(rest.get(..n_bytes))
}

impl From<FrameFault> for LinkEnd {
    fn from(fault: FrameFault) -> Self {
        Self::Protocol(fault.0)
    }
}
