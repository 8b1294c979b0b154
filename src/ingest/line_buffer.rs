//! The line buffer: frames and decodes one chunk of one connection.
//!
//! Runs as a task of its own, born for the chunk and ended with it, so that a panic in here costs
//! no more than the line in hand. It works on values: a session and bytes in, a session, records,
//! replies and counts out. It must not know the socket, and it changes nothing outside before the
//! chunk is done, so that a chunk can be run again.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;

use super::Shared;
use crate::{
    base::time::Instant,
    protocol::{
        Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, Protocol, RejectReason,
        framing::{Framed, FramerState, Framing, LineHead, next_terminated},
    },
    types::{ids::VehicleId, record::ProtocolName, time::UnixMillis},
};

/// Bytes of a short line: a guess at how many records a chunk gives, so that their list seldom
/// grows.
const LINE_BYTES_USUAL: usize = 48;

/// Rejected lines of one chunk that are set aside, besides those that crashed a task; further ones are only
/// counted. A flood of short ones would cost far more to keep than to read, and looks the same all through.
const SET_ASIDE_MAX: usize = 256;

/// What is known of a connection between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Session {
    language: Option<Language>,
    framer: FramerState,
    /// Whether a line has come that has the structure of the connection's protocol.
    pub(crate) is_understood: bool,
    /// Whether a vehicle has been named that may speak.
    pub(crate) is_named: bool,
}

#[derive(Debug)]
struct Language {
    name: ProtocolName,
    framing: Framing,
    decoder: Box<dyn Decoder>,
}

impl Language {
    fn new(protocol: &dyn Protocol, shared: &Shared) -> Self {
        let options = DecoderOptions {
            is_lenient: shared.config.is_lenient,
            keeps_raw: shared.config.keeps_raw,
        };
        Self {
            name: protocol.name(),
            framing: protocol.framing(),
            decoder: protocol.decoder(options),
        }
    }
}

impl Session {
    /// The session of a new connection on a port that speaks `protocol` only, if given.
    pub(crate) fn new(protocol: Option<&dyn Protocol>, shared: &Shared) -> Self {
        let language = protocol.map(|protocol| Language::new(protocol, shared));
        Self {
            language,
            ..Self::default()
        }
    }

    /// A copy from which the next chunk can be run again.
    pub(crate) fn snapshot(&self) -> Self {
        let language = self.language.as_ref().map(|language| Language {
            name: language.name.clone(),
            framing: language.framing,
            decoder: language.decoder.snapshot(),
        });
        Self {
            language,
            framer: self.framer,
            is_understood: self.is_understood,
            is_named: self.is_named,
        }
    }

    /// The vehicle that speaks, once known.
    pub(crate) fn vehicle(&self) -> Option<&VehicleId> {
        self.language.as_ref()?.decoder.vehicle()
    }

    /// The protocol spoken, once known.
    pub(crate) fn protocol(&self) -> Option<&ProtocolName> {
        Some(&self.language.as_ref()?.name)
    }

    /// When the decoder wants to complete what it has half merged.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.language.as_ref()?.decoder.next_deadline()
    }
}

/// What a line buffer is given to do.
#[derive(Debug)]
pub(crate) struct Job {
    /// The bytes left over by the chunk before, and the new ones.
    pub(crate) bytes: Bytes,
    /// What to do after the bytes, if anything.
    pub(crate) flush: Option<FlushReason>,
    /// The monotonic time of the read.
    pub(crate) now: Instant,
    /// The wall time of the read.
    pub(crate) received: UnixMillis,
}

/// What came of a job.
#[derive(Debug)]
pub(crate) struct JobDone {
    /// The session after the chunk.
    pub(crate) session: Session,
    /// How many of the job's bytes are done with.
    pub(crate) consumed_bytes: usize,
    /// The others.
    pub(crate) rest: Bytes,
    /// Records and replies in the order of the lines.
    pub(crate) decoded: Decoded,
    /// What to count.
    pub(crate) tally: Tally,
    /// Lines to set aside: the first of those that were rejected.
    pub(crate) rejected: Vec<Rejected>,
    /// A line could not be answered that its device expects an answer for: nothing after it may be.
    pub(crate) has_gap: bool,
}

/// A line to set aside, and what was known of the connection when it was.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) reason: RejectReason,
    pub(crate) line: Bytes,
    pub(crate) protocol: Option<ProtocolName>,
    pub(crate) vehicle: Option<VehicleId>,
}

/// Counts of one chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines framed.
    pub(crate) n_received: u64,
    /// Lines with positions.
    pub(crate) n_positions: u64,
    /// Lines that added to another's position.
    pub(crate) n_merged: u64,
    /// Lines without a position.
    pub(crate) n_without_position: u64,
    /// Reasons of the rejected lines.
    pub(crate) rejected: Vec<RejectReason>,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Positions => self.n_positions += 1,
            Outcome::Merged => self.n_merged += 1,
            Outcome::NoPosition => self.n_without_position += 1,
            Outcome::Held => {}
            Outcome::Rejected(reason) => self.rejected.push(reason),
        }
    }
}

/// Which line the line buffer works on, readable after it has crashed.
#[derive(Debug, Default)]
pub(crate) struct LineInHand {
    /// Number of the line within the job, from 1; 0 outside any line.
    number: AtomicU32,
    /// Where it panicked, once it has.
    place: Mutex<Option<Box<str>>>,
}

impl LineInHand {
    fn take_up(&self, number: usize) {
        // A job has far fewer lines than that. Read only after the task has been joined, which orders
        // this store before the load.
        self.number.store(number as u32, Ordering::Relaxed);
    }

    fn lay_down(&self) {
        self.number.store(0, Ordering::Relaxed);
    }

    /// The number of the line within the job, if there is one in hand.
    pub(crate) fn number(&self) -> Option<usize> {
        let number = self.number.load(Ordering::Relaxed) as usize;
        (number > 0).then_some(number)
    }

    /// Notes where the panic happened.
    pub(crate) fn note_place(&self, place: &str) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place.into());
    }

    /// Takes the note of where the panic happened.
    pub(crate) fn take_place(&self) -> Option<Box<str>> {
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl JobDone {
    /// Nothing has come of the job yet.
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            consumed_bytes: 0,
            rest: Bytes::new(),
            decoded: Decoded::default(),
            tally: Tally::default(),
            rejected: Vec::new(),
            has_gap: false,
        }
    }
}

/// Frames and decodes all whole lines of `job`, after a job that is done with nothing but a session.
/// That one is boxed, since on its way through two tasks it is moved about twenty times.
///
/// Lines whose number is in `crashed` are rejected unread; one that stands in it twice crashed even
/// the protocol's refusal, and is a gap.
pub(crate) fn run(
    job: &Job,
    mut done: Box<JobDone>,
    crashed: &[usize],
    shared: &Shared,
    in_hand: &LineInHand,
) -> Box<JobDone> {
    let n_records_usual = job.bytes.len() / LINE_BYTES_USUAL + 1;
    done.decoded.records.reserve(n_records_usual);
    let context = Context {
        now: job.now,
        received: job.received,
        admission: shared.admission.as_ref(),
    };
    let mut buffer = LineBuffer {
        job,
        crashed,
        shared,
        in_hand,
        context,
        done,
        number: 0,
    };
    buffer.lines();
    if let Some(reason) = job.flush.filter(|_| !buffer.has_ended()) {
        buffer.flush(reason);
    }
    let mut done = buffer.done;
    done.rest = job.bytes.slice(done.consumed_bytes.min(job.bytes.len())..);
    for outcome in done.decoded.released.drain(..) {
        done.tally.count(outcome);
    }
    done
}

/// Whether somebody who may not speak may say a line with this outcome.
const fn may_be_of_a_stranger(outcome: Outcome) -> bool {
    use RejectReason::{
        Checksum, Malformed, NoIdentity, NotLoggedIn, UnknownVehicle, WrongPassword,
    };
    let Outcome::Rejected(reason) = outcome else {
        return false;
    };
    matches!(
        reason,
        Checksum | Malformed | NoIdentity | NotLoggedIn | UnknownVehicle | WrongPassword
    )
}

impl Shared {
    /// The next line, cut as its protocol says; where that is not known, at any end that a protocol
    /// may have.
    fn frame(&self, session: &mut Session, bytes: &[u8]) -> Framed {
        let cap_bytes = self.config.line_bytes_max as usize;
        let framer = &mut session.framer;
        match &session.language {
            Some(language) => language.framing.next(framer, bytes, cap_bytes),
            None => next_terminated(self.protocols.line_ends(), framer, bytes, cap_bytes),
        }
    }
}

struct LineBuffer<'a> {
    job: &'a Job,
    crashed: &'a [usize],
    shared: &'a Shared,
    in_hand: &'a LineInHand,
    context: Context<'a>,
    done: Box<JobDone>,
    number: usize,
}

impl LineBuffer<'_> {
    fn lines(&mut self) {
        while !self.has_ended() {
            let rest = self
                .job
                .bytes
                .get(self.done.consumed_bytes..)
                .unwrap_or_default();
            if rest.is_empty() || !self.recognise(rest) {
                break;
            }
            let start = self.done.consumed_bytes;
            match self.shared.frame(&mut self.done.session, rest) {
                Framed::Line { line, consumed } => {
                    self.line(start + line.start..start + line.end);
                    self.done.consumed_bytes += consumed;
                }
                Framed::TooLong { head, consumed, .. } => {
                    self.reject_too_long(head);
                    self.done.consumed_bytes += consumed;
                }
                Framed::Incomplete { consumed } => {
                    self.done.consumed_bytes += consumed;
                    break;
                }
            }
        }
    }

    /// Whether the lines after the one just done must stay unread.
    const fn has_ended(&self) -> bool {
        self.done.has_gap || self.done.decoded.is_login_refused
    }

    /// Settles on a protocol if none is known; false if that takes more bytes.
    fn recognise(&mut self, rest: &[u8]) -> bool {
        if self.done.session.language.is_some()
            || self.done.session.framer != FramerState::default()
        {
            return true;
        }
        match self.shared.protocols.recognise(rest) {
            Ok(protocol) => {
                self.done.session.language = Some(Language::new(protocol.as_ref(), self.shared));
                true
            }
            Err(wants_more) => !wants_more,
        }
    }

    fn line(&mut self, range: Range<usize>) {
        self.number += 1;
        self.done.tally.n_received += 1;
        self.in_hand.take_up(self.number);
        let line = self.job.bytes.get(range.clone()).unwrap_or_default();
        let n_crashes = self
            .crashed
            .iter()
            .filter(|number| **number == self.number)
            .count();
        let outcome = if n_crashes > 0 {
            self.refuse(line, n_crashes > 1);
            Outcome::Rejected(RejectReason::Panic)
        } else {
            self.decode(line)
        };
        self.done.tally.count(outcome);
        if let Outcome::Rejected(reason) = outcome {
            self.set_aside(reason, self.job.bytes.slice(range));
        }
        // Whatever panics from here on is not this line's fault.
        self.in_hand.lay_down();
    }

    fn set_aside(&mut self, reason: RejectReason, line: Bytes) {
        if self.done.rejected.len() >= SET_ASIDE_MAX && reason != RejectReason::Panic {
            return;
        }
        let session = &self.done.session;
        let rejected = Rejected {
            reason,
            line,
            protocol: session.protocol().cloned(),
            vehicle: session.vehicle().cloned(),
        };
        self.done.rejected.push(rejected);
    }

    fn decode(&mut self, line: &[u8]) -> Outcome {
        let Some(language) = &mut self.done.session.language else {
            return Outcome::Rejected(RejectReason::UnknownProtocol);
        };
        let outcome = language
            .decoder
            .line(&self.context, line, &mut self.done.decoded);
        // A stranger on a pinned port must not pass for a vehicle by saying anything at all.
        self.done.session.is_understood |= !may_be_of_a_stranger(outcome);
        self.done.session.is_named |= self.done.session.vehicle().is_some();
        outcome
    }

    /// Answers a line that cannot be processed, or notes that nothing after it may be answered.
    fn refuse(&mut self, line: &[u8], is_hopeless: bool) {
        if let Some(language) = &self.done.session.language {
            let is_answered = !is_hopeless
                && language
                    .decoder
                    .refuse(line, &mut self.done.decoded.replies);
            self.done.has_gap |= !is_answered;
        }
    }

    /// The first bytes of the line say what kind of answer its device expects.
    fn reject_too_long(&mut self, head: LineHead) {
        self.number += 1;
        self.done.tally.n_received += 1;
        self.done
            .tally
            .count(Outcome::Rejected(RejectReason::TooLong));
        self.set_aside(RejectReason::TooLong, Bytes::new());
        self.in_hand.take_up(self.number);
        // One whose refusal has crashed before cannot be answered.
        self.refuse(&head, self.crashed.contains(&self.number));
        self.in_hand.lay_down();
    }

    fn flush(&mut self, reason: FlushReason) {
        if reason == FlushReason::End {
            self.reject_cut();
        }
        if let Some(language) = &mut self.done.session.language {
            language
                .decoder
                .flush(&self.context, reason, &mut self.done.decoded);
        }
    }

    /// What is left at the end of a connection is a line whose end never came, line breaks aside.
    fn reject_cut(&mut self) {
        let rest = self
            .job
            .bytes
            .slice(self.done.consumed_bytes.min(self.job.bytes.len())..);
        let is_dropping = self.done.session.framer.discarded.is_some();
        self.done.consumed_bytes = self.job.bytes.len();
        let has_begun = rest.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if has_begun || is_dropping {
            self.done.tally.n_received += 1;
            self.done.tally.count(Outcome::Rejected(RejectReason::Cut));
            self.set_aside(RejectReason::Cut, rest);
        }
    }
}
