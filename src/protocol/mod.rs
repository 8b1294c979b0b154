//! The devices' languages: bytes to lines, lines to records, records to lines.
//!
//! ```text
//! bytes ──framing──▶ line ──decoder──▶ records, replies, outcome ──▶ (ingest)
//!         (one shape           (one file
//!          a protocol)          a protocol)
//! ```
//!
//! Everything here is pure: no socket, no file, no clock, no randomness; `now`, the time of
//! reception and the known vehicles come in as arguments. Nothing here may panic on any input, and
//! if it does nevertheless, the line buffer loses that line alone.
//!
//! **Adding a protocol** is one file in this folder that implements [`Protocol`] and [`Decoder`],
//! one folder of fixtures, and one line in [`Registry::built_in`]. Text protocols that a user
//! describes in the configuration are all decoded by [`own`].
//!
//! Invariants:
//! - A line has exactly one [`Outcome`], at once or, where it is [`Outcome::Held`], later through
//!   [`Decoded::released`].
//! - Replies are appended in the order of their lines. A reply that confirms records is written
//!   with the line that carried them: whoever drives the decoder holds replies back until the
//!   records before them are durable.
//! - Decoding depends on the bytes alone, not on how they were cut into chunks.
//! - A decoder's [`Decoder::snapshot`] is complete: driven with the same lines it gives the same.

pub mod attributes;
mod fields;
pub mod fix;
pub mod framing;
pub mod nmea;
pub mod own;
mod plain;
pub mod wialon;

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    base::time::Instant,
    types::{
        ids::VehicleId,
        record::{ProtocolName, Record},
        time::UnixMillis,
    },
};

/// Bytes by which a connection is recognised; with a limit, so that it does not depend on how they come.
const RECOGNITION_BYTES_MAX: usize = 4 * 1024;

/// A language that devices speak.
pub trait Protocol: Send + Sync + fmt::Debug {
    /// Its name in configuration, records and answers.
    fn name(&self) -> ProtocolName;

    /// How its lines are set apart.
    fn framing(&self) -> framing::Framing;

    /// Whether a connection that begins with `head` speaks this language.
    ///
    /// `head` is not empty; it grows until the answer is no longer [`Recognition::More`].
    fn recognise(&self, head: &[u8]) -> Recognition;

    /// The decoder of a new connection.
    fn decoder(&self, options: DecoderOptions) -> Box<dyn Decoder>;
}

/// Whether the beginning of a connection fits a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognition {
    /// It is this protocol.
    Yes,
    /// It is this protocol as far as its first line tells, the end of which is `end` bytes from the
    /// beginning.
    Line {
        /// Bytes up to and with the end of the line.
        end: usize,
    },
    /// It is not.
    No,
    /// Too few bytes to tell.
    More,
}

/// Switches of a decoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecoderOptions {
    /// Takes lines whose checksum is wrong.
    pub is_lenient: bool,
    /// Keeps with each record the text that it was read from: the line, of a batch its own part.
    pub keeps_raw: bool,
}

/// Decodes the lines of one connection.
pub trait Decoder: Send + fmt::Debug {
    /// Decodes one line (without its end), appending what it means to `out`.
    fn line(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome;

    /// Completes what is half-merged and due: at a deadline, or at the end of the connection.
    fn flush(&mut self, context: &Context<'_>, reason: FlushReason, out: &mut Decoded);

    /// When [`Decoder::flush`] wants to be called; asked again after each call.
    fn next_deadline(&self) -> Option<Instant>;

    /// Appends the protocol's answer for a line that could not be processed (it was too long, or it
    /// made the decoder panic): an error code of the kind of answer that `line` asks for. False if
    /// the protocol knows no such answer, though it would have answered that line.
    fn refuse(&self, line: &[u8], replies: &mut Vec<u8>) -> bool;

    /// The vehicle this connection speaks for, once known.
    fn vehicle(&self) -> Option<&VehicleId>;

    /// A copy of the whole state.
    fn snapshot(&self) -> Box<dyn Decoder>;
}

/// What a decoder is told besides the line.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The monotonic present, for deadlines.
    pub now: Instant,
    /// Wall time at which the bytes were read, for records.
    pub received: UnixMillis,
    /// Says who may speak.
    pub admission: &'a dyn Admission,
}

/// Says which vehicles may speak; implemented by whoever knows the configured ones.
pub trait Admission: Send + Sync + fmt::Debug {
    /// Whether `vehicle` may speak with `password` (absent where its protocol has none).
    fn admit(&self, vehicle: &str, password: Option<&str>) -> Admittance;
}

/// Answer of an [`Admission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admittance {
    /// It may speak.
    Welcome,
    /// It is not in the list, and unknown vehicles are not accepted.
    Unknown,
    /// It is known, and the password is another.
    WrongPassword,
}

/// Admits everyone; for tests and for decoding by hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&self, _: &str, _: Option<&str>) -> Admittance {
        Admittance::Welcome
    }
}

/// What came of lines, in the order of the lines.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Records, positions and events.
    pub records: Vec<Record>,
    /// Bytes to send to the device, once all records up to them are durable.
    pub replies: Vec<u8>,
    /// Outcomes of lines that were held before.
    pub released: Vec<Outcome>,
    /// The connection must be closed after the replies: the device may not speak.
    pub is_login_refused: bool,
}

impl Decoded {
    /// Keeps `text` with the records from the one with index `first` on that have none yet.
    pub(crate) fn keep_raw(&mut self, first: usize, text: &[u8]) {
        for record in self.records.iter_mut().skip(first) {
            record
                .raw
                .get_or_insert_with(|| Bytes::copy_from_slice(text));
        }
    }
}

/// What became of a line: it counts once, under one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It gave at least one position.
    Positions,
    /// It added to a position that another line gives.
    Merged,
    /// It is right, and holds no position.
    NoPosition,
    /// It cannot be told yet; the outcome follows in [`Decoded::released`].
    Held,
    /// It is wrong, or not allowed.
    Rejected(RejectReason),
}

/// Why a line was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// Its structure is not that of the protocol.
    Malformed,
    /// Its checksum is wrong or, where one must be, missing.
    Checksum,
    /// Its time is no time, or lies before 1990.
    TimeImpossible,
    /// Its coordinates are none on earth.
    CoordinatesImpossible,
    /// Another field is out of its range.
    ValueImpossible,
    /// It needs a login that was not made.
    NotLoggedIn,
    /// It holds a position, and no line said of which vehicle.
    NoIdentity,
    /// Its vehicle is not in the list.
    UnknownVehicle,
    /// Its password is wrong.
    WrongPassword,
    /// It is of a kind that is not taken in (pictures, tachograph files).
    Unsupported,
    /// Its first bytes fit no protocol.
    UnknownProtocol,
    /// It is over the limit of bytes.
    TooLong,
    /// The connection ended within it, however long it was by then.
    Cut,
    /// It made the decoder panic.
    Panic,
}

impl RejectReason {
    /// The value of the label `reason`, and of `error` where a line is printed with it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::TimeImpossible => "time_impossible",
            Self::CoordinatesImpossible => "coordinates_impossible",
            Self::ValueImpossible => "value_impossible",
            Self::NotLoggedIn => "not_logged_in",
            Self::NoIdentity => "no_identity",
            Self::UnknownVehicle => "unknown_vehicle",
            Self::WrongPassword => "wrong_password",
            Self::Unsupported => "unsupported",
            Self::UnknownProtocol => "unknown_protocol",
            Self::TooLong => "too_long",
            Self::Cut => "cut",
            Self::Panic => "panic",
        }
    }
}

/// Why half-merged records are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushReason {
    /// [`Decoder::next_deadline`] has passed.
    Deadline,
    /// Nothing more will come.
    End,
}

/// The protocols a node speaks.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Those of this program, asked one after the other.
    built_in: Vec<Arc<dyn Protocol>>,
    /// Those of the configuration, asked together once all others have said no.
    own: Vec<Arc<dyn Protocol>>,
    /// A newline, and what ends the lines of those of the configuration.
    line_ends: Vec<u8>,
}

impl Registry {
    /// The protocols that are built in, in the order in which they are asked to recognise.
    pub fn built_in() -> Self {
        Self {
            built_in: vec![Arc::new(wialon::Wialon), Arc::new(nmea::Nmea)],
            ..Self::empty()
        }
    }

    /// No protocol at all, to add some to.
    pub fn empty() -> Self {
        Self {
            built_in: Vec::new(),
            own: Vec::new(),
            line_ends: vec![b'\n'],
        }
    }

    /// The same with one more, asked after the ones that are built in.
    #[must_use]
    pub fn with(mut self, protocol: Arc<dyn Protocol>) -> Self {
        self.built_in.push(protocol);
        self
    }

    /// The same with the protocols of a configuration.
    #[must_use]
    pub fn with_own(mut self, protocols: &[own::OwnProtocol]) -> Self {
        for protocol in protocols {
            self.own.push(Arc::new(protocol.clone()));
            let end = protocol.spec().terminator;
            if !self.line_ends.contains(&end) {
                self.line_ends.push(end);
            }
        }
        self
    }

    /// The protocol called `name`.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn Protocol>> {
        self.iter().find(|protocol| protocol.name() == name)
    }

    /// All protocols in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Protocol>> {
        self.built_in.iter().chain(&self.own)
    }

    /// What sets apart the lines that no protocol is recognised by, so that another one is asked for
    /// as soon as any of them may begin: a newline, and the ends that a configuration names.
    pub fn line_ends(&self) -> &[u8] {
        &self.line_ends
    }

    /// The protocol of a connection that begins with `head`: the first that says yes, once all
    /// before it have said no. `Err(true)` if more bytes may tell, `Err(false)` if none fits.
    ///
    /// Protocols of the configuration go by a whole line alone, and do not wait for each other: one
    /// may end its lines with a byte that another's never hold. Of several that fit, it is the one
    /// whose line ends first, as it would be if the bytes came one by one.
    ///
    /// Who still asks for more than 4 KiB does not fit; nobody is shown more.
    pub fn recognise(&self, head: &[u8]) -> Result<&Arc<dyn Protocol>, bool> {
        let may_want_more = head.len() < RECOGNITION_BYTES_MAX;
        let head = head.get(..RECOGNITION_BYTES_MAX).unwrap_or(head);
        for protocol in &self.built_in {
            match protocol.recognise(head) {
                Recognition::Yes | Recognition::Line { .. } => return Ok(protocol),
                Recognition::More => return Err(may_want_more),
                Recognition::No => {}
            }
        }
        let mut first = None;
        let mut wants_more = false;
        for protocol in &self.own {
            let end = match protocol.recognise(head) {
                Recognition::Yes => 0,
                Recognition::Line { end } => end,
                Recognition::More => {
                    wants_more = true;
                    continue;
                }
                Recognition::No => continue,
            };
            if first.is_none_or(|(_, first_end)| end < first_end) {
                first = Some((protocol, end));
            }
        }
        match first {
            Some((protocol, _)) => Ok(protocol),
            None => Err(wants_more && may_want_more),
        }
    }
}
