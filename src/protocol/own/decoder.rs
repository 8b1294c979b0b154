//! Decodes the lines of one connection.

use std::{borrow::Cow, sync::Arc};

use super::{
    compile::Compiled,
    group::Core,
    line::{Line, keep_readings},
};
use crate::{
    base::time::Instant,
    protocol::{
        Admittance, Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, RejectReason,
        fix::{Draft, Moment},
    },
    types::{
        ids::VehicleId,
        record::{Fix, Flags},
    },
};

/// The state of one connection.
#[derive(Debug, Clone)]
pub(super) struct OwnDecoder {
    protocol: Arc<Compiled>,
    options: DecoderOptions,
    /// The last vehicle that was named and may speak.
    vehicle: Option<VehicleId>,
}

impl OwnDecoder {
    /// The decoder of a new connection.
    pub(super) const fn new(protocol: Arc<Compiled>, options: DecoderOptions) -> Self {
        Self {
            protocol,
            options,
            vehicle: None,
        }
    }

    /// Takes a line that an expression matched.
    fn take(
        &mut self,
        context: &Context<'_>,
        line: &Line<'_>,
        out: &mut Decoded,
    ) -> Result<Outcome, RejectReason> {
        self.identify(context, line, out)?;
        let place = line.place(self.options.is_lenient)?;
        let time = match &self.protocol.time_format {
            Some(format) => line.time(format)?,
            None => None,
        };
        let readings = line.readings()?;
        let mut attributes = line.attributes()?;
        let code = line.code();
        let moment = Moment::new(time, context.received)?;
        if place.is_none() {
            keep_readings(&readings, &mut attributes);
            if code.is_empty() && attributes.is_empty() {
                return Ok(Outcome::NoPosition);
            }
        }
        let draft = Draft {
            vehicle: self.vehicle.clone().ok_or(RejectReason::NotLoggedIn)?,
            protocol: Cow::Owned(self.protocol.spec.name.clone()),
            moment,
            flags: Flags::default(),
            code: Cow::Owned(code),
            attributes,
        };
        let Some((latitude, longitude)) = place else {
            out.records.push(draft.event());
            return Ok(Outcome::NoPosition);
        };
        let fix = Fix {
            latitude,
            longitude,
            valid: self.is_valid(line),
            ..readings
        };
        out.records.push(draft.position(fix)?);
        Ok(Outcome::Positions)
    }

    /// Whether the device vouches for its place. Where no group says so, it does.
    fn is_valid(&self, line: &Line<'_>) -> bool {
        let is_told = line.shape.has(|core| core == Core::Valid);
        let text = line.text(Core::Valid).unwrap_or_default();
        !is_told || self.protocol.is_valid(text)
    }

    /// Notes the vehicle that the line names, if it names one and that may speak.
    fn identify(
        &mut self,
        context: &Context<'_>,
        line: &Line<'_>,
        out: &mut Decoded,
    ) -> Result<(), RejectReason> {
        let Some(id) = line.text(Core::Vehicle) else {
            return Ok(());
        };
        let password = line.text(Core::Password);
        let is_known = |vehicle: &VehicleId| vehicle.as_str().as_bytes() == id;
        if password.is_none() && self.vehicle.as_ref().is_some_and(is_known) {
            return Ok(());
        }
        let admitted = self.admit(context, id, password);
        out.is_login_refused |= admitted.is_err() && !line.shape.has_place();
        self.vehicle = admitted.as_ref().ok().cloned();
        admitted.map(|_| ())
    }

    fn admit(
        &self,
        context: &Context<'_>,
        id: &[u8],
        password: Option<&[u8]>,
    ) -> Result<VehicleId, RejectReason> {
        let vehicle = VehicleId::parse(id).map_err(|_| RejectReason::Malformed)?;
        let password = match password.map(std::str::from_utf8) {
            Some(Ok(password)) => Some(password),
            Some(Err(_)) => return Err(RejectReason::WrongPassword),
            None => self.protocol.has_passwords.then_some(""),
        };
        match context.admission.admit(vehicle.as_str(), password) {
            Admittance::Welcome => Ok(vehicle),
            Admittance::Unknown => Err(RejectReason::UnknownVehicle),
            Admittance::WrongPassword => Err(RejectReason::WrongPassword),
        }
    }

    fn write_refusal(&self, replies: &mut Vec<u8>) {
        let vehicle = self.vehicle().map(VehicleId::as_str);
        self.protocol.refusal.write(vehicle, None, replies);
    }
}

impl Decoder for OwnDecoder {
    fn line(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome {
        let protocol = Arc::clone(&self.protocol);
        let fitting = protocol.shapes.iter().find_map(|shape| {
            let captures = shape.expression.captures(line)?;
            Some(Line { shape, captures })
        });
        let n_before = out.records.len();
        let taken = match &fitting {
            Some(line) => self.take(context, line, out),
            None => Err(RejectReason::Malformed),
        };
        if self.options.keeps_raw {
            out.keep_raw(n_before, line);
        }
        match (taken, &fitting) {
            (Ok(outcome), Some(line)) => {
                let vehicle = self.vehicle().map(VehicleId::as_str);
                let reply = &line.shape.reply;
                reply.write(vehicle, Some(&line.captures), &mut out.replies);
                outcome
            }
            (Ok(outcome), None) => outcome,
            (Err(reason), _) => {
                self.write_refusal(&mut out.replies);
                Outcome::Rejected(reason)
            }
        }
    }

    fn flush(&mut self, _: &Context<'_>, _: FlushReason, _: &mut Decoded) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Without an answer for rejected lines, a device that counts answers would lose count.
    fn refuse(&self, _: &[u8], replies: &mut Vec<u8>) -> bool {
        self.write_refusal(replies);
        !self.protocol.refusal.is_empty() || !self.protocol.answers()
    }

    fn vehicle(&self) -> Option<&VehicleId> {
        self.vehicle.as_ref()
    }

    fn snapshot(&self) -> Box<dyn Decoder> {
        Box::new(self.clone())
    }
}
