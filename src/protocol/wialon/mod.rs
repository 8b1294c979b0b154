//! Wialon IPS 1.1 and 2.x over TCP, after Gurtam "Wialon IPS" v1.1, v2.0 and v2.1.
//!
//! A line is `#TYPE#body\r\n`. The first is a login; its version says whether the lines after it
//! carry a checksum:
//!
//! ```text
//! L   id;password  or  2.0;id;password;crc          AL   1, 0, 01 password, 10 checksum
//! SD  date;time;lat;N;lon;E;speed;course;height;sats ASD  1 or the code of the first wrong field
//! D   those;hdop;inputs;outputs;adc;ibutton;params   AD   1 or the code of the first wrong field
//! B   bodies of SD and D, set apart by |             AB   how many were taken, none: checksum
//! M   text of the driver                             AM   1, 0, 01 checksum
//! P   nothing                                        AP
//! ```
//!
//! What the documents leave open:
//! - A fix is valid from three satellites on, and not where the device does not count them.
//! - Minutes of 60 and more are no coordinates: a device that writes them has computed wrongly,
//!   and nobody knows whether in the minutes or in the degrees. A lenient decoder carries them
//!   over, as other servers do.
//! - A report without coordinates is right, and gives an event.
//! - A wrong report in a batch spoils no other, and is not counted in the answer.
//! - A line of a kind that is not taken in (photo, tachograph file, firmware) gets an error answer;
//!   so does each line before a login, but for a ping, whose answer has no error.
//! - A login that follows another replaces it; what follows a refused login is as before any.
//!
//! This room must not know who may speak: it asks the [`Admission`](super::Admission).

mod answer;
mod checksum;
mod encode;
mod report;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, iter};

pub use answer::{Answer, Fault, LoginFault, MessageFault};
pub use encode::{Reading, Version, encode_batch, encode_login, encode_ping, encode_position};
use report::{Report, Shape};

use super::{
    Admittance, Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, Protocol,
    Recognition, RejectReason, attributes,
    fix::{self, Draft, Moment},
    framing::Framing,
};
use crate::{
    base::time::Instant,
    types::{
        attributes::{Attributes, Value},
        ids::VehicleId,
        key::position_hash,
        number::Milli,
        record::{Body, Fix, Flags, ProtocolName, Record},
    },
};

/// Name of the protocol.
pub const NAME: &str = "wialon";

/// Most letters of a line's type; the documents know up to three.
const TYPE_LETTERS_MAX: usize = 8;

/// The protocol Wialon IPS.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wialon;

impl Protocol for Wialon {
    fn name(&self) -> ProtocolName {
        Cow::Borrowed(NAME)
    }

    fn framing(&self) -> Framing {
        Framing::Terminated(b"\n")
    }

    /// `#`, letters, `#`, after any line breaks; `##` begins another protocol.
    fn recognise(&self, head: &[u8]) -> Recognition {
        let n_breaks = head
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let rest = match head.get(n_breaks..).unwrap_or_default() {
            [] => return Recognition::More,
            [b'#', rest @ ..] => rest,
            _ => return Recognition::No,
        };
        let n_letters = rest.iter().take_while(|byte| is_letter(**byte)).count();
        match rest.get(n_letters) {
            Some(b'#') if (1..=TYPE_LETTERS_MAX).contains(&n_letters) => Recognition::Yes,
            None if n_letters <= TYPE_LETTERS_MAX => Recognition::More,
            _ => Recognition::No,
        }
    }

    fn decoder(&self, options: DecoderOptions) -> Box<dyn Decoder> {
        Box::new(WialonDecoder {
            options,
            session: None,
        })
    }
}

/// Decodes the lines of one connection.
#[derive(Debug, Clone)]
struct WialonDecoder {
    options: DecoderOptions,
    /// Set by a login that was accepted.
    session: Option<Session>,
}

/// What a login settled.
#[derive(Debug, Clone)]
struct Session {
    vehicle: VehicleId,
    /// Lines end with a checksum: the login was of version 2.
    has_checksums: bool,
}

impl Decoder for WialonDecoder {
    fn line(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome {
        let n_before = out.records.len();
        let outcome = self.take(context, line, out);
        if self.options.keeps_raw {
            out.keep_raw(n_before, line);
        }
        outcome
    }

    fn flush(&mut self, _: &Context<'_>, _: FlushReason, _: &mut Decoded) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// A line without a type, and a device's own answer, would not have been answered either.
    fn refuse(&self, line: &[u8], replies: &mut Vec<u8>) -> bool {
        match split(line) {
            None | Some(([b'A', _, ..], _)) => {}
            Some((kind, _)) => answer::refuse(kind, replies),
        }
        true
    }

    fn vehicle(&self) -> Option<&VehicleId> {
        self.session.as_ref().map(|session| &session.vehicle)
    }

    fn snapshot(&self) -> Box<dyn Decoder> {
        Box::new(self.clone())
    }
}

impl WialonDecoder {
    #[inline]
    fn take(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome {
        let Some((kind, body)) = split(line) else {
            return Outcome::Rejected(RejectReason::Malformed);
        };
        if kind == b"L" {
            return self.login(context, body, out);
        }
        let Some(session) = &self.session else {
            if kind != b"P" {
                answer::refuse(kind, &mut out.replies);
            }
            return Outcome::Rejected(RejectReason::NotLoggedIn);
        };
        let conversation = Conversation {
            session,
            context,
            options: self.options,
        };
        match kind {
            b"SD" => conversation.report(body, Shape::Short, out),
            b"D" => conversation.report(body, Shape::Full, out),
            b"B" => conversation.batch(body, out),
            b"M" => conversation.message(body, out),
            b"P" => {
                Answer::Ping.write(&mut out.replies);
                Outcome::NoPosition
            }
            // The device answers what it was sent; an answer is not answered.
            [b'A', _, ..] => Outcome::NoPosition,
            kind => {
                answer::refuse(kind, &mut out.replies);
                Outcome::Rejected(RejectReason::Unsupported)
            }
        }
    }

    fn login(&mut self, context: &Context<'_>, body: &[u8], out: &mut Decoded) -> Outcome {
        self.session = None;
        let (result, outcome) = match self.open(context, body) {
            Ok(session) => {
                self.session = Some(session);
                (Ok(()), Outcome::NoPosition)
            }
            Err((fault, reason)) => {
                out.is_login_refused |= fault != LoginFault::Checksum;
                (Err(fault), Outcome::Rejected(reason))
            }
        };
        Answer::Login(result).write(&mut out.replies);
        outcome
    }

    /// Reads a login and asks whether the vehicle may speak.
    fn open(
        &self,
        context: &Context<'_>,
        body: &[u8],
    ) -> Result<Session, (LoginFault, RejectReason)> {
        let refused = |reason| (LoginFault::Refused, reason);
        let mut fields = body.split(|byte| *byte == b';');
        let first = fields.next().unwrap_or_default();
        // Even with too few fields: no vehicle is called like a version.
        let has_checksums = is_version_2(first) && first.len() < body.len();
        if has_checksums && !self.options.is_lenient && checksum::verified(body, b';').is_none() {
            return Err((LoginFault::Checksum, RejectReason::Checksum));
        }
        let (id, password) = if has_checksums {
            (fields.next().unwrap_or_default(), fields.next())
        } else {
            (first, fields.next())
        };
        // Behind the password stands a checksum, where there is one, and nothing else.
        let has_right_end = match fields.count() {
            0 => !has_checksums || self.options.is_lenient,
            1 => has_checksums,
            _ => false,
        };
        if !has_right_end {
            return Err(refused(RejectReason::Malformed));
        }
        let vehicle = VehicleId::parse(id).map_err(|_| refused(RejectReason::Malformed))?;
        let password = match password.unwrap_or_default() {
            b"NA" => "",
            password => std::str::from_utf8(password)
                .map_err(|_| (LoginFault::WrongPassword, RejectReason::WrongPassword))?,
        };
        match context.admission.admit(vehicle.as_str(), Some(password)) {
            Admittance::Welcome => Ok(Session {
                vehicle,
                has_checksums,
            }),
            Admittance::Unknown => Err(refused(RejectReason::UnknownVehicle)),
            Admittance::WrongPassword => {
                Err((LoginFault::WrongPassword, RejectReason::WrongPassword))
            }
        }
    }
}

/// What a line after the login is read with.
struct Conversation<'a> {
    session: &'a Session,
    context: &'a Context<'a>,
    options: DecoderOptions,
}

impl Conversation<'_> {
    /// Takes a line `SD` or `D`.
    fn report(&self, body: &[u8], shape: Shape, out: &mut Decoded) -> Outcome {
        let taken = self
            .unsealed(body, b';')
            .and_then(|body| self.take(body, Some(shape), Flags::default(), &mut out.records));
        let (result, outcome) = match taken {
            Ok(outcome) => (Ok(()), outcome),
            Err(fault) => (Err(fault), Outcome::Rejected(fault.reason())),
        };
        match shape {
            Shape::Short => Answer::Short(result).write(&mut out.replies),
            Shape::Full => Answer::Full(result).write(&mut out.replies),
        }
        outcome
    }

    /// Takes a line `B`: what the device kept while it had no connection.
    fn batch(&self, body: &[u8], out: &mut Decoded) -> Outcome {
        let Some(body) = self.unsealed_batch(body) else {
            Answer::Batch(None).write(&mut out.replies);
            return Outcome::Rejected(RejectReason::Checksum);
        };
        let mut n_taken = 0_u32;
        let mut has_position = false;
        let mut first_fault = None;
        let pieces = body.split(|byte| *byte == b'|');
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            let n_before = out.records.len();
            match self.take(piece, None, Flags::ARCHIVED, &mut out.records) {
                Ok(outcome) => {
                    has_position |= outcome == Outcome::Positions;
                    n_taken = n_taken.saturating_add(1);
                }
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
            // Of the whole batch each would keep as much as all together.
            if self.options.keeps_raw {
                out.keep_raw(n_before, piece);
            }
        }
        Answer::Batch(Some(n_taken)).write(&mut out.replies);
        match (n_taken, has_position) {
            (_, true) => Outcome::Positions,
            (0, _) => Outcome::Rejected(first_fault.unwrap_or(Fault::Structure).reason()),
            _ => Outcome::NoPosition,
        }
    }

    /// Takes a line `M`: a text of the driver, which has no time of its own.
    fn message(&self, body: &[u8], out: &mut Decoded) -> Outcome {
        let (result, outcome) = match self.unsealed(body, b';') {
            Err(_) => (
                Err(MessageFault::Checksum),
                Outcome::Rejected(RejectReason::Checksum),
            ),
            Ok([]) => (
                Err(MessageFault::Refused),
                Outcome::Rejected(RejectReason::Malformed),
            ),
            Ok(text) => {
                let mut attributes = Attributes::new();
                attributes.insert(attributes::MESSAGE, Value::Text(report::text(text)));
                let moment = Moment::of_reception(self.context.received);
                let draft = self.draft(moment, Flags::default(), attributes);
                out.records.push(draft.event());
                (Ok(()), Outcome::NoPosition)
            }
        };
        Answer::Message(result).write(&mut out.replies);
        outcome
    }

    /// Takes one report; whether it gave a position. The record is put where it belongs as soon as
    /// it is made: it is large to be handed from one to the next.
    fn take(
        &self,
        body: &[u8],
        shape: Option<Shape>,
        flags: Flags,
        records: &mut Vec<Record>,
    ) -> Result<Outcome, Fault> {
        let mut attributes = Attributes::new();
        let report = Report::parse(body, shape, self.options.is_lenient, &mut attributes)?;
        let moment = Moment::new(report.time, self.context.received).map_err(Fault::from_reason)?;
        let Some((latitude, longitude)) = report.place else {
            keep_readings(&report, &mut attributes);
            records.push(self.draft(moment, flags, attributes).event());
            return Ok(Outcome::NoPosition);
        };
        let fix = fix::possible(Fix {
            latitude,
            longitude,
            valid: report.is_valid(),
            speed_kmh: report.speed_kmh,
            course_deg: report.course_deg,
            altitude_m: report.altitude_m,
            satellites: report.satellites,
            hdop: report.hdop,
        });
        let mut position = Position {
            conversation: self,
            moment,
            flags,
            attributes,
            fix: fix.map_err(Fault::from_reason)?,
        };
        // Written where it stays: `push` would make it elsewhere and copy it. One pointer is all that the
        // closure holds, since it is copied, too.
        records.extend(iter::once_with(|| position.take()));
        Ok(Outcome::Positions)
    }

    #[inline]
    fn draft(&self, moment: Moment, flags: Flags, attributes: Attributes) -> Draft {
        Draft {
            vehicle: self.session.vehicle.clone(),
            protocol: Cow::Borrowed(NAME),
            moment,
            flags,
            code: Cow::Borrowed(""),
            attributes,
        }
    }

    /// `body` without the checksum that the login promised, if it is right.
    fn unsealed<'b>(&self, body: &'b [u8], separator: u8) -> Result<&'b [u8], Fault> {
        if !self.session.has_checksums {
            return Ok(body);
        }
        match checksum::verified(body, separator) {
            Some(payload) => Ok(payload),
            None if self.options.is_lenient => Ok(body),
            None => Err(Fault::Checksum),
        }
    }

    /// The same for a batch; what stands behind its last `|` cannot be a report if it is a
    /// checksum, whatever the login promised.
    fn unsealed_batch<'b>(&self, body: &'b [u8]) -> Option<&'b [u8]> {
        if let Some(payload) = checksum::verified(body, b'|') {
            return Some(payload);
        }
        match checksum::split_last(body, b'|') {
            Some((payload, last)) if self.options.is_lenient && checksum::is_checksum(last) => {
                Some(payload)
            }
            _ if self.session.has_checksums && !self.options.is_lenient => None,
            _ => Some(body),
        }
    }
}

/// A position that was read.
struct Position<'a> {
    conversation: &'a Conversation<'a>,
    moment: Moment,
    flags: Flags,
    attributes: Attributes,
    fix: Fix,
}

impl Position<'_> {
    /// Its record, once.
    #[inline]
    fn take(&mut self) -> Record {
        let hash = position_hash(&self.fix, "");
        // Most have none, and a new one costs less than one that is carried on.
        let attributes = if self.attributes.is_empty() {
            Attributes::new()
        } else {
            std::mem::take(&mut self.attributes)
        };
        let draft = self.conversation.draft(self.moment, self.flags, attributes);
        draft.record(hash, Body::Position(self.fix))
    }
}

/// Keeps what a report without a place says of motion and reception.
fn keep_readings(report: &Report, attributes: &mut Attributes) {
    let quantities = [
        (attributes::SPEED_KMH, report.speed_kmh),
        (attributes::COURSE_DEG, report.course_deg),
        (attributes::ALTITUDE_M, report.altitude_m),
        (attributes::HDOP, report.hdop),
    ];
    for (name, quantity) in quantities {
        if let Some(quantity) = quantity.map(Milli::as_f64) {
            attributes.insert(name, Value::Float(quantity));
        }
    }
    if let Some(n_satellites) = report.satellites {
        attributes.insert(
            attributes::SATELLITES,
            Value::Integer(i64::from(n_satellites)),
        );
    }
}

/// Type and body of `#TYPE#body`.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_prefix(b"#")?;
    let n_letters = rest
        .iter()
        .take(TYPE_LETTERS_MAX)
        .take_while(|byte| is_letter(**byte))
        .count();
    let (kind, behind) = rest.split_at_checked(n_letters)?;
    let body = behind.strip_prefix(b"#")?;
    (!kind.is_empty()).then_some((kind, body))
}

const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}

/// Whether a login's first field is a version from 2 on: `digits.digits`.
fn is_version_2(field: &[u8]) -> bool {
    let mut parts = field.splitn(2, |byte| *byte == b'.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        return false;
    };
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    is_number(major) && is_number(minor) && !matches!(major, b"0" | b"1")
}
