//! Sentences with a place and a date of their own: RMC, and three vendors' forms in decimal degrees.
//!
//! `$TRCCR` (the first Traccar Client): `yyyymmddhhmmss.sss,A|V,lat,lon,knots,course,altitude,…`.
//! `QZE`: `imei,event,ddmmyyyy,hhmmss,lat,lon,km/h,course,A|V,ignition`.
//! `$ID`: `imei,…,GPSEX,A|V,D,ddmmyy,T,hhmmss,…,La,lat,N|S,Lo,lon,E|W,…`.

use std::borrow::Cow;

use super::{NAME, sentence::Fields, values};
use crate::{
    protocol::{
        RejectReason, attributes,
        fix::{self, Date, Draft, Moment},
    },
    types::{
        attributes::{Attributes, Value},
        ids::VehicleId,
        number::Degrees,
        record::{Fix, Flags, Record},
        time::{DAY_MILLIS, UnixMillis},
    },
};

/// Fewest fields of an RMC: up to the date.
const N_RMC_FIELDS_MIN: usize = 9;

/// What one sentence says about place and time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// Time of the fix, and when its bytes were read.
    moment: Moment,
    /// The fields of this sentence alone: what the key covers.
    pub(super) fix: Fix,
}

impl Reading {
    fn new(moment: Moment, fix: Fix) -> Result<Self, RejectReason> {
        let fix = fix::possible(fix)?;
        Ok(Self { moment, fix })
    }

    /// Whether `other` says the same, so that both are one record.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.moment.time() == other.moment.time() && self.fix == other.fix
    }

    /// Milliseconds since midnight.
    pub(super) const fn time_of_day(&self) -> i64 {
        self.moment.time().0.rem_euclid(DAY_MILLIS)
    }

    /// The record of `vehicle` with the merged `fix`.
    pub(super) fn record(&self, vehicle: VehicleId, fix: Fix) -> Record {
        draft(vehicle, self.moment).merged(&self.fix, fix)
    }
}

/// Reads an RMC; `None` if it says that it has no fix.
///
/// A speed or course that is none is left out: place and time are right all the same.
pub(super) fn rmc(
    fields: &Fields<'_>,
    received: UnixMillis,
) -> Result<Option<Reading>, RejectReason> {
    if fields.len() < N_RMC_FIELDS_MIN {
        return Err(RejectReason::Malformed);
    }
    let (latitude, longitude) = (fields.at(2), fields.at(4));
    let has_fix = match fields.at(1) {
        b"A" => fields.at(11) != b"N" && !latitude.is_empty() && !longitude.is_empty(),
        b"V" | b"" => false,
        _ => return Err(RejectReason::Malformed),
    };
    if !has_fix {
        return Ok(None);
    }
    let fix = Fix {
        valid: true,
        speed_kmh: values::speed_of_knots(fields.at(6)),
        course_deg: values::course(fields.at(7)),
        ..place(
            fix::latitude(latitude, fields.at(3), false),
            fix::longitude(longitude, fields.at(5), false),
        )?
    };
    let date = fix::day_month_year(fields.at(8));
    let moment = moment(date, fields.at(0), received)?;
    Reading::new(moment, fix).map(Some)
}

/// Reads a `$TRCCR`.
pub(super) fn trccr(fields: &Fields<'_>, received: UnixMillis) -> Result<Reading, RejectReason> {
    let Some((date, clock)) = fields.at(0).split_at_checked(8) else {
        return Err(RejectReason::Malformed);
    };
    let moment = moment(values::long_year_month_day(date), clock, received)?;
    let fix = Fix {
        valid: is_valid(fields.at(1))?,
        speed_kmh: values::speed_of_knots(fields.at(4)),
        course_deg: values::course(fields.at(5)),
        altitude_m: values::quantity(fields.at(6)),
        ..place(
            values::decimal_degrees(fields.at(2)),
            values::decimal_degrees(fields.at(3)),
        )?
    };
    Reading::new(moment, fix)
}

/// Reads an `$ID`; `None` if it holds no place.
pub(super) fn id_report(
    fields: &Fields<'_>,
    received: UnixMillis,
) -> Result<Option<Reading>, RejectReason> {
    let after = |name: &[u8], distance: usize| {
        fields
            .position(name)
            .map_or(&[][..], |idx| fields.at(idx + distance))
    };
    if fields.position(b"GPSEX").is_none() {
        return Ok(None);
    }
    let date = fix::day_month_year(after(b"D", 1));
    let moment = moment(date, after(b"T", 1), received)?;
    let degrees = |name, is_negative: fn(&[u8]) -> Option<bool>| {
        is_negative(after(name, 2))
            .and_then(|is_negative| values::decimal_degrees_of(after(name, 1), is_negative))
    };
    let fix = Fix {
        valid: is_valid(after(b"GPSEX", 1))?,
        ..place(degrees(b"La", fix::is_south), degrees(b"Lo", fix::is_west))?
    };
    Reading::new(moment, fix).map(Some)
}

/// Reads a `QZE` (from its first field, the vehicle, on) as a record of `vehicle`.
pub(super) fn qze(
    fields: &Fields<'_>,
    vehicle: VehicleId,
    received: UnixMillis,
) -> Result<Record, RejectReason> {
    let date = values::day_month_long_year(fields.at(2));
    let moment = moment(date, fields.at(3), received)?;
    let fix = Fix {
        valid: is_valid(fields.at(8))?,
        speed_kmh: values::speed_of_kmh(fields.at(6)),
        course_deg: values::course(fields.at(7)),
        ..place(
            values::decimal_degrees(fields.at(4)),
            values::decimal_degrees(fields.at(5)),
        )?
    };
    let code = std::str::from_utf8(fields.at(1)).map_err(|_| RejectReason::Malformed)?;
    let mut draft = draft(vehicle, moment);
    draft.code = Cow::Owned(code.to_owned());
    if let ignition @ (b"0" | b"1") = fields.at(9) {
        let is_on = Value::Bool(ignition == b"1");
        draft.attributes.insert(attributes::IGNITION, is_on);
    }
    draft.position(fix)
}

const fn draft(vehicle: VehicleId, moment: Moment) -> Draft {
    Draft {
        vehicle,
        protocol: Cow::Borrowed(NAME),
        moment,
        flags: Flags(0),
        code: Cow::Borrowed(""),
        attributes: Attributes::new(),
    }
}

fn place(latitude: Option<Degrees>, longitude: Option<Degrees>) -> Result<Fix, RejectReason> {
    match (latitude, longitude) {
        (Some(latitude), Some(longitude)) => Ok(Fix {
            latitude,
            longitude,
            ..Fix::default()
        }),
        _ => Err(RejectReason::CoordinatesImpossible),
    }
}

fn moment(date: Option<Date>, clock: &[u8], received: UnixMillis) -> Result<Moment, RejectReason> {
    let time = date.and_then(|date| fix::time_on(date, clock));
    Moment::new(Some(time.ok_or(RejectReason::TimeImpossible)?), received)
}

const fn is_valid(status: &[u8]) -> Result<bool, RejectReason> {
    match status {
        b"A" => Ok(true),
        b"V" => Ok(false),
        _ => Err(RejectReason::Malformed),
    }
}
