//! The lines of one connection, in order: whose they are, and which belong together.
//!
//! A line that adds to an RMC which has not come yet, or whose vehicle is not known yet, is held;
//! its outcome is released with that of the RMC. At most one RMC without a vehicle is held.

use std::iter;

use bytes::Bytes;

use super::{
    extras::Extras,
    kind::Kind,
    line::Line,
    merge::{Epoch, Held},
    reading::{self, Reading},
    sentence::{Checksum, Fields, Sentence},
    values,
};
use crate::{
    base::time::Instant,
    protocol::{
        Admittance, Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, RejectReason,
    },
    types::ids::VehicleId,
};

/// Bytes kept of a line, which waits for others of its time or for its vehicle's name. By its standard a
/// sentence has 82 at most.
const RAW_BYTES_MAX: usize = 512;

/// The decoder of one connection.
#[derive(Debug, Clone)]
pub(super) struct NmeaDecoder {
    options: DecoderOptions,
    identity: Identity,
    /// The time stamp that is being merged.
    epoch: Option<Epoch>,
    /// A complete fix whose vehicle may still be told; only while no identity came.
    held: Option<Held>,
    /// The line that is decoded now, where lines are kept.
    raw: Option<Bytes>,
}

/// Whose positions the connection sends.
#[derive(Debug, Clone)]
enum Identity {
    /// No line said so yet.
    Unknown,
    /// The last line that said so.
    Known(VehicleId),
    /// The last vehicle that was named may not speak.
    Refused,
}

impl NmeaDecoder {
    /// The decoder of a new connection.
    pub(super) const fn new(options: DecoderOptions) -> Self {
        Self {
            options,
            identity: Identity::Unknown,
            epoch: None,
            held: None,
            raw: None,
        }
    }

    fn sentence(
        &mut self,
        context: &Context<'_>,
        (prefix, sentence): (Option<&[u8]>, Sentence<'_>),
        out: &mut Decoded,
    ) -> Result<Outcome, RejectReason> {
        let fields = sentence.fields();
        let kind = Kind::of(&sentence, &fields);
        let must_have_checksum = prefix.is_some() || kind.must_have_checksum(&sentence);
        let is_intact = match sentence.checksum {
            Checksum::Right => true,
            Checksum::Wrong => false,
            Checksum::Missing => !must_have_checksum,
        };
        if !is_intact && !self.options.is_lenient {
            return Err(RejectReason::Checksum);
        }
        if let Some(id) = prefix {
            self.identify(context, id, out)?;
        }
        self.sentence_of_kind(context, kind, &fields, out)
    }

    fn sentence_of_kind(
        &mut self,
        context: &Context<'_>,
        kind: Kind<'_>,
        fields: &Fields<'_>,
        out: &mut Decoded,
    ) -> Result<Outcome, RejectReason> {
        match kind {
            Kind::Rmc => {
                // A line that is rejected changes nothing, so it is read before time moves on.
                let reading = reading::rmc(fields, context.received)?;
                self.turn_to(context, fields.at(0), out);
                match reading {
                    Some(reading) => self.take(context, &reading, out),
                    None => Ok(Outcome::NoPosition),
                }
            }
            Kind::Gga => {
                let is_timed = self.turn_to(context, fields.at(0), out);
                let extras = Extras::of_gga(fields).filter(|_| is_timed);
                Ok(self.enrich(extras))
            }
            Kind::Gll => {
                let is_timed = self.turn_to(context, fields.at(4), out);
                let has_fix = is_timed && fields.at(5) == b"A";
                Ok(self.enrich(has_fix.then(Extras::default)))
            }
            Kind::Gsa => Ok(self.enrich(Extras::of_gsa(fields))),
            Kind::Vtg => Ok(self.enrich(Extras::of_vtg(fields))),
            Kind::Trccr => self.take_alone(reading::trccr(fields, context.received)?, out),
            Kind::IdReport => {
                // Without a checksum, so it names nobody before all of it is read.
                let reading = reading::id_report(fields, context.received)?;
                self.identify(context, fields.at(0), out)?;
                match reading {
                    Some(reading) => self.take_alone(reading, out),
                    None => Ok(Outcome::NoPosition),
                }
            }
            Kind::Identity(id) => self.identify(context, id, out),
            Kind::IdentityAfter(id) => self.identify_before(context, id, out),
            Kind::Other => Ok(Outcome::NoPosition),
        }
    }

    /// A report that names its vehicle and merges with nothing.
    fn qze(
        &mut self,
        context: &Context<'_>,
        text: &[u8],
        out: &mut Decoded,
    ) -> Result<Outcome, RejectReason> {
        let fields = Fields::split(text);
        let vehicle = VehicleId::parse(fields.at(0)).map_err(|_| RejectReason::Malformed)?;
        let record = reading::qze(&fields, vehicle, context.received)?;
        self.identify(context, fields.at(0), out)?;
        out.records.push(record);
        self.keep_raw(out);
        Ok(Outcome::Positions)
    }

    /// Sentences of the time of day in `field` come now: another time stamp is complete. False
    /// if that is no time of day.
    fn turn_to(&mut self, context: &Context<'_>, field: &[u8], out: &mut Decoded) -> bool {
        let Some(time_of_day) = values::time_of_day(field) else {
            return false;
        };
        self.turn_to_time(context, time_of_day, out);
        true
    }

    fn turn_to_time(&mut self, context: &Context<'_>, time_of_day: i64, out: &mut Decoded) {
        if self
            .epoch
            .as_ref()
            .is_none_or(|epoch| epoch.time_of_day != time_of_day)
        {
            self.complete(out);
            self.epoch = Some(Epoch::new(time_of_day, context.now));
        }
    }

    /// An RMC with a fix has come, of the time stamp that was turned to.
    fn take(
        &mut self,
        context: &Context<'_>,
        reading: &Reading,
        out: &mut Decoded,
    ) -> Result<Outcome, RejectReason> {
        if matches!(self.identity, Identity::Refused) {
            return Err(RejectReason::NoIdentity);
        }
        let is_known = self.vehicle().is_some();
        let repeats = |epoch: &&mut Epoch| {
            epoch
                .reading
                .as_ref()
                .is_some_and(|first| first.repeats(reading))
        };
        if let Some(epoch) = self.epoch.as_mut().filter(repeats) {
            return Ok(if is_known {
                Outcome::Merged
            } else {
                epoch.waiting.hold_line()
            });
        }
        self.complete_other_reading(context, reading, out);
        let fresh = || Epoch::new(reading.time_of_day(), context.now);
        let epoch = self.epoch.get_or_insert_with(fresh);
        epoch.set_reading(*reading, self.raw.take(), context.now);
        if is_known {
            std::mem::take(&mut epoch.waiting).release(Outcome::Merged, out);
            return Ok(Outcome::Positions);
        }
        self.reject_held(out);
        Ok(Outcome::Held)
    }

    /// Completes the RMC of the time stamp, if there is one and another comes: two of a time stamp
    /// (of two receivers, say) are two records, and share what enriches them, if it is the same day's.
    fn complete_other_reading(
        &mut self,
        context: &Context<'_>,
        reading: &Reading,
        out: &mut Decoded,
    ) {
        let Some((epoch, other)) = self
            .epoch
            .as_ref()
            .and_then(|epoch| Some((epoch, epoch.reading.as_ref()?)))
        else {
            return;
        };
        let mut next = Epoch::new(epoch.time_of_day, context.now);
        if other.is_as_old_as(reading) {
            next.extras = epoch.extras;
        }
        self.complete(out);
        self.epoch = Some(next);
    }

    /// A position that merges with nothing has come.
    fn take_alone(&mut self, reading: Reading, out: &mut Decoded) -> Result<Outcome, RejectReason> {
        match &self.identity {
            Identity::Known(vehicle) => {
                let record = reading.record(vehicle, reading.fix);
                out.records.push(record);
                self.keep_raw(out);
                Ok(Outcome::Positions)
            }
            Identity::Refused => Err(RejectReason::NoIdentity),
            Identity::Unknown => {
                self.complete(out);
                self.reject_held(out);
                self.held = Some(Held::alone(reading, self.raw.take()));
                Ok(Outcome::Held)
            }
        }
    }

    /// A sentence that enriches the time stamp's RMC has come; `None` if it says nothing.
    fn enrich(&mut self, extras: Option<Extras>) -> Outcome {
        let is_known = self.vehicle().is_some();
        let (Some(extras), Some(epoch)) = (extras, &mut self.epoch) else {
            return Outcome::NoPosition;
        };
        if matches!(self.identity, Identity::Refused) {
            return Outcome::NoPosition; // Nor may who speaks next have it.
        }
        epoch.extras.add(extras);
        match is_known && epoch.reading.is_some() {
            true => Outcome::Merged,
            false => epoch.waiting.hold_line(),
        }
    }

    /// The lines from here on are of the vehicle `id`.
    fn identify(
        &mut self,
        context: &Context<'_>,
        id: &[u8],
        out: &mut Decoded,
    ) -> Result<Outcome, RejectReason> {
        if !self.is_of(id) {
            let judged = judge(context, id);
            // What is half-merged goes to the vehicle before.
            let is_another = judged != Err(RejectReason::Malformed);
            if self.vehicle().is_some() && is_another {
                self.complete(out);
            }
            let vehicle = judged.map_err(|reason| self.turn_away(reason, out))?;
            self.become_known(vehicle, out);
        }
        Ok(Outcome::NoPosition)
    }

    /// The position before this line, and the lines from here on, are of the vehicle `id`.
    fn identify_before(
        &mut self,
        context: &Context<'_>,
        id: &[u8],
        out: &mut Decoded,
    ) -> Result<Outcome, RejectReason> {
        if !self.is_of(id) {
            let vehicle = judge(context, id).map_err(|reason| self.turn_away(reason, out))?;
            self.become_known(vehicle, out);
        }
        Ok(Outcome::NoPosition)
    }

    fn is_of(&self, id: &[u8]) -> bool {
        self.vehicle()
            .is_some_and(|vehicle| vehicle.as_str().as_bytes() == id)
    }

    /// A vehicle was named that may not speak, unless what named it is no name: what is half-merged is its
    /// own, and is given up.
    fn turn_away(&mut self, reason: RejectReason, out: &mut Decoded) -> RejectReason {
        if reason == RejectReason::Malformed {
            return reason;
        }
        if self.vehicle().is_some()
            && let Some(epoch) = self.epoch.take()
        {
            epoch.waiting.release(Outcome::NoPosition, out);
        }
        self.complete(out);
        self.reject_held(out);
        self.identity = Identity::Refused;
        reason
    }

    /// Releases what was held for want of a vehicle.
    fn become_known(&mut self, vehicle: VehicleId, out: &mut Decoded) {
        if let Some(held) = self.held.take() {
            let mut record = held.reading.record(&vehicle, held.fix);
            record.raw = held.raw;
            out.records.push(record);
            out.released.push(Outcome::Positions);
            held.waiting.release(Outcome::Merged, out);
        }
        let is_new = matches!(self.identity, Identity::Unknown);
        if let Some(epoch) = self.epoch.as_mut().filter(|epoch| epoch.reading.is_some())
            && is_new
        {
            out.released.push(Outcome::Positions);
            std::mem::take(&mut epoch.waiting).release(Outcome::Merged, out);
        }
        self.identity = Identity::Known(vehicle);
    }

    /// Nothing more is merged into the time stamp.
    fn complete(&mut self, out: &mut Decoded) {
        let Some(epoch) = &self.epoch else {
            return;
        };
        match (&self.identity, &epoch.reading) {
            (_, None) => epoch.waiting.release(Outcome::NoPosition, out),
            (Identity::Known(vehicle), Some(reading)) => {
                let fix = || epoch.extras.complete(reading.fix);
                let record = || reading.record(vehicle, fix());
                // Written where it stays: `push` would make it elsewhere and copy it.
                out.records.extend(iter::once_with(record));
                if let (Some(raw), Some(record)) = (&epoch.raw, out.records.last_mut()) {
                    record.raw = Some(raw.clone());
                }
            }
            (Identity::Unknown | Identity::Refused, Some(_)) => {
                self.reject_held(out);
                self.held = self.epoch.take().and_then(Epoch::into_held);
            }
        }
        self.epoch = None;
    }

    /// The last record was read from the line that is decoded now.
    fn keep_raw(&mut self, out: &mut Decoded) {
        if let Some(record) = out.records.last_mut() {
            record.raw = self.raw.take();
        }
    }

    fn reject_held(&mut self, out: &mut Decoded) {
        if let Some(held) = self.held.take() {
            held.reject(out);
        }
    }
}

impl Decoder for NmeaDecoder {
    fn line(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome {
        if self.options.keeps_raw {
            let kept = line.get(..RAW_BYTES_MAX).unwrap_or(line);
            self.raw = Some(Bytes::copy_from_slice(kept));
        }
        let outcome = self.line_of_kind(context, line, out);
        self.raw = None;
        outcome
    }

    fn flush(&mut self, context: &Context<'_>, reason: FlushReason, out: &mut Decoded) {
        match reason {
            FlushReason::Deadline => {
                if self.next_deadline().is_some_and(|due| due <= context.now) {
                    self.complete(out);
                }
            }
            FlushReason::End => {
                self.complete(out);
                self.reject_held(out);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.epoch.as_ref().and_then(Epoch::deadline)
    }

    fn refuse(&self, _: &[u8], _: &mut Vec<u8>) -> bool {
        true
    }

    fn vehicle(&self) -> Option<&VehicleId> {
        match &self.identity {
            Identity::Known(vehicle) => Some(vehicle),
            Identity::Unknown | Identity::Refused => None,
        }
    }

    fn snapshot(&self) -> Box<dyn Decoder> {
        Box::new(self.clone())
    }
}

impl NmeaDecoder {
    #[inline]
    fn line_of_kind(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome {
        if let Some(reading) = reading::plain_rmc(line, context.received) {
            self.turn_to_time(context, reading.time_of_day(), out);
            let taken = self.take(context, &reading, out);
            return taken.unwrap_or_else(Outcome::Rejected);
        }
        let result = Line::parse(line).and_then(|parsed| match parsed {
            Line::Sentence { prefix, sentence } => self.sentence(context, (prefix, sentence), out),
            Line::Identity(id) => self.identify(context, id, out),
            Line::Qze(text) => self.qze(context, text, out),
        });
        result.unwrap_or_else(Outcome::Rejected)
    }
}

/// The vehicle called `id`, if it may speak.
fn judge(context: &Context<'_>, id: &[u8]) -> Result<VehicleId, RejectReason> {
    let vehicle = VehicleId::parse(id).map_err(|_| RejectReason::Malformed)?;
    match context.admission.admit(vehicle.as_str(), None) {
        Admittance::Welcome => Ok(vehicle),
        Admittance::Unknown => Err(RejectReason::UnknownVehicle),
        Admittance::WrongPassword => Err(RejectReason::WrongPassword),
    }
}
