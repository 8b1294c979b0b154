//! Sentences with a place and a date of their own: RMC, and three vendors' forms in decimal degrees.
//!
//! `$TRCCR` (the first Traccar Client): `yyyymmddhhmmss.sss,A|V,lat,lon,knots,course,altitude,…`.
//! `QZE`: `imei,event,ddmmyyyy,hhmmss,lat,lon,km/h,course,A|V,ignition`.
//! `$ID`: `imei,…,GPSEX,A|V,D,ddmmyy,T,hhmmss,…,La,lat,N|S,Lo,lon,E|W,…`.

use std::borrow::Cow;

use super::{
    NAME, plausible,
    sentence::Fields,
    values::{self, Axis},
};
use crate::{
    protocol::RejectReason,
    types::{
        attributes::{Attributes, Value},
        ids::VehicleId,
        key::position_hash,
        number::Degrees,
        record::{Body, Fix, Record, RecordKey},
        time::{DAY_MILLIS, UnixMillis},
    },
};

/// Fewest fields of an RMC: up to the date.
const N_RMC_FIELDS_MIN: usize = 9;

/// What one sentence says about place and time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// Time of the fix.
    pub(super) time: UnixMillis,
    /// The fields of this sentence alone: what the key covers.
    pub(super) fix: Fix,
    /// When its bytes were read.
    pub(super) received: UnixMillis,
}

impl Reading {
    /// Whether `other` says the same, so that both are one record.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.time == other.time && self.fix == other.fix
    }

    /// Milliseconds since midnight.
    pub(super) const fn time_of_day(&self) -> i64 {
        self.time.0.rem_euclid(DAY_MILLIS)
    }

    /// The record of `vehicle` with the merged `fix`.
    pub(super) fn record(&self, vehicle: VehicleId, fix: Fix) -> Record {
        Record {
            key: RecordKey {
                vehicle,
                time: self.time,
                hash: position_hash(&self.fix, ""),
            },
            received: self.received,
            protocol: Cow::Borrowed(NAME),
            flags: plausible::flags(self.time, self.received),
            code: Cow::Borrowed(""),
            attributes: Attributes::new(),
            raw: None,
            body: Body::Position(fix),
        }
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
    let day = values::midnight_of_short_date(fields.at(8));
    let fix = Fix {
        valid: true,
        speed_kmh: values::speed_of_knots(fields.at(6)),
        course_deg: values::course(fields.at(7)),
        ..place(
            values::angle(latitude, fields.at(3), Axis::Latitude),
            values::angle(longitude, fields.at(5), Axis::Longitude),
        )?
    };
    let time = moment(day, values::time_of_day(fields.at(0)))?;
    Ok(Some(Reading {
        time,
        fix,
        received,
    }))
}

/// Reads a `$TRCCR`.
pub(super) fn trccr(fields: &Fields<'_>, received: UnixMillis) -> Result<Reading, RejectReason> {
    let Some((date, clock)) = fields.at(0).split_at_checked(8) else {
        return Err(RejectReason::Malformed);
    };
    let time = moment(
        values::midnight_of_sortable_date(date),
        values::time_of_day(clock),
    )?;
    let fix = Fix {
        valid: is_valid(fields.at(1))?,
        speed_kmh: values::speed_of_knots(fields.at(4)),
        course_deg: values::course(fields.at(5)),
        altitude_m: values::quantity(fields.at(6)),
        ..place(
            values::decimal_degrees(fields.at(2), Axis::Latitude),
            values::decimal_degrees(fields.at(3), Axis::Longitude),
        )?
    };
    Ok(Reading {
        time,
        fix,
        received,
    })
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
    let time = moment(
        values::midnight_of_short_date(after(b"D", 1)),
        values::time_of_day(after(b"T", 1)),
    )?;
    let fix = Fix {
        valid: is_valid(after(b"GPSEX", 1))?,
        ..place(
            values::decimal_degrees_of(after(b"La", 1), after(b"La", 2), Axis::Latitude),
            values::decimal_degrees_of(after(b"Lo", 1), after(b"Lo", 2), Axis::Longitude),
        )?
    };
    Ok(Some(Reading {
        time,
        fix,
        received,
    }))
}

/// Reads a `QZE` (from its first field, the vehicle, on) as a record of `vehicle`.
pub(super) fn qze(
    fields: &Fields<'_>,
    vehicle: VehicleId,
    received: UnixMillis,
) -> Result<Record, RejectReason> {
    let time = moment(
        values::midnight_of_date(fields.at(2)),
        values::time_of_day(fields.at(3)),
    )?;
    let fix = Fix {
        valid: is_valid(fields.at(8))?,
        speed_kmh: values::speed_of_kmh(fields.at(6)),
        course_deg: values::course(fields.at(7)),
        ..place(
            values::decimal_degrees(fields.at(4), Axis::Latitude),
            values::decimal_degrees(fields.at(5), Axis::Longitude),
        )?
    };
    let reading = Reading {
        time,
        fix,
        received,
    };
    let code = std::str::from_utf8(fields.at(1)).map_err(|_| RejectReason::Malformed)?;
    let mut record = reading.record(vehicle, fix);
    record.key.hash = position_hash(&fix, code);
    record.code = Cow::Owned(code.to_owned());
    if let ignition @ (b"0" | b"1") = fields.at(9) {
        record
            .attributes
            .insert("ignition", Value::Bool(ignition == b"1"));
    }
    Ok(record)
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

fn moment(day: Option<UnixMillis>, of_day: Option<i64>) -> Result<UnixMillis, RejectReason> {
    match (day, of_day) {
        (Some(day), Some(millis)) => plausible::check_time(UnixMillis(day.0 + millis)),
        _ => Err(RejectReason::TimeImpossible),
    }
}

const fn is_valid(status: &[u8]) -> Result<bool, RejectReason> {
    match status {
        b"A" => Ok(true),
        b"V" => Ok(false),
        _ => Err(RejectReason::Malformed),
    }
}
