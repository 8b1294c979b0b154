//! Sentences with a place and a date of their own: RMC, and three vendors' forms in decimal degrees.
//!
//! `$TRCCR` (the first Traccar Client): `yyyymmddhhmmss.sss,A|V,lat,lon,knots,course,altitude,…`.
//! `QZE`: `imei,event,ddmmyyyy,hhmmss,lat,lon,km/h,course,A|V,ignition`.
//! `$ID`: `imei,…,GPSEX,A|V,D,ddmmyy,T,hhmmss,…,La,lat,N|S,Lo,lon,E|W,…`.

use std::borrow::Cow;

use super::{
    NAME,
    sentence::{Fields, hex_pair, xor},
    values,
};
use crate::{
    protocol::{
        RejectReason, attributes,
        fix::{self, Date, Draft, Moment},
        plain::Plain,
    },
    types::{
        attributes::{Attributes, Value},
        ids::VehicleId,
        key::position_hash,
        number::Degrees,
        record::{Body, Fix, Flags, Record},
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

    /// Whether `other` is of the same moment, the day included.
    pub(super) fn is_as_old_as(&self, other: &Self) -> bool {
        self.moment.time() == other.moment.time()
    }

    /// Milliseconds since midnight.
    pub(super) const fn time_of_day(&self) -> i64 {
        self.moment.time().0.rem_euclid(DAY_MILLIS)
    }

    /// The record of `vehicle` with the merged `fix`.
    #[inline]
    pub(super) fn record(&self, vehicle: &VehicleId, fix: Fix) -> Record {
        let hash = position_hash(&self.fix, "");
        draft(vehicle.clone(), self.moment).record(hash, Body::Position(fix))
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

/// Reads a line that is an RMC with a fix as nearly all receivers write it; `None` for any other line.
#[inline]
pub(super) fn plain_rmc(line: &[u8], received: UnixMillis) -> Option<Reading> {
    let [b'$', content @ .., b'*', high, low] = line else {
        return None;
    };
    // Addresses that begin with P are proprietary.
    let [
        b'A'..=b'O' | b'Q'..=b'Z',
        b'A'..=b'Z',
        b'R',
        b'M',
        b'C',
        b',',
        text @ ..,
    ] = content
    else {
        return None;
    };
    if hex_pair(*high, *low) != Some(xor(content)) {
        return None;
    }
    let mut fields = Plain::new(text, b',');
    let time_of_day = fields.time_of_day()?;
    fields.only(b'A')?;
    let fix = Fix {
        latitude: fields.degrees(b'N', b'S')?,
        longitude: fields.degrees(b'E', b'W')?,
        valid: true,
        speed_kmh: fields.decimal()?.and_then(values::kmh_of_knots),
        course_deg: fields.decimal()?.and_then(values::degrees_of_course),
        ..Fix::default()
    };
    let date = fields.date()?;
    // The mode N says that there is no fix; it comes behind the magnetic variation.
    if fields.rest().contains(&b'N') {
        return None;
    }
    let time = fix::moment_on(date, time_of_day)?;
    let moment = Moment::new(Some(time), received).ok()?;
    Reading::new(moment, fix).ok()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::nmea::{
        line::Line,
        sentence::{Checksum, Sentence},
    };

    const NOW: UnixMillis = UnixMillis(1_795_170_000_000);

    const CONTENTS: [&str; 4] = [
        "GPRMC,090501.000,A,5926.2320,N,02445.2100,E,22.40,181.00,201126,,,A",
        "GNRMC,235959,A,0026.23,S,17945.2100001,W,,,060199,003.1,W",
        "GPRMC,090501.73,A,5926.2320,N,02445.2100,E,0.069,360.0,201126,,,D,V",
        "GPRMC,090501.00,A,5926.2320,N,02445.2100,E,0.069,,201126,,,N",
    ];

    fn line_of(content: &[u8]) -> Vec<u8> {
        let sum = format!("*{:02X}", xor(content));
        [b"$", content, sum.as_bytes()].concat()
    }

    /// A right line whose content has a few bytes exchanged, put in or taken out.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let bytes = b"0123456789,.*$-+NSEWAVP \x00\x80\xB0".to_vec();
        let edit = (
            0..3,
            any::<prop::sample::Index>(),
            prop::sample::select(bytes),
        );
        let edits = prop::collection::vec(edit, 0..4);
        (prop::sample::select(&CONTENTS[..]), edits).prop_map(|(content, edits)| {
            let mut content = content.as_bytes().to_vec();
            for (kind, place, byte) in edits {
                let place = place.index(content.len());
                match kind {
                    0 => content[place] = byte,
                    1 => content.insert(place, byte),
                    _ => drop(content.remove(place)),
                }
            }
            line_of(&content)
        })
    }

    fn with_care(line: &[u8]) -> Option<(Sentence<'_>, Option<Reading>)> {
        let Ok(Line::Sentence {
            prefix: None,
            sentence,
        }) = Line::parse(line)
        else {
            return None;
        };
        let reading = rmc(&sentence.fields(), NOW).ok()?;
        Some((sentence, reading))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn what_is_read_plainly_is_read_the_same_with_care(line in lines()) {
            if let Some(reading) = plain_rmc(&line, NOW) {
                let (sentence, careful) = with_care(&line).expect("a right sentence");
                prop_assert_eq!(Some(reading), careful);
                prop_assert_eq!(sentence.checksum, Checksum::Right);
                prop_assert!(sentence.address().ends_with(b"RMC"));
                prop_assert_eq!(
                    values::time_of_day(sentence.fields().at(0)),
                    Some(reading.time_of_day())
                );
            }
        }
    }

    #[test]
    fn the_usual_is_read_plainly() {
        for content in CONTENTS {
            let line = line_of(content.as_bytes());
            let is_plain = plain_rmc(&line, NOW).is_some();
            assert_eq!(is_plain, !content.ends_with('N'), "{content}");
            let mut torn = line.clone();
            torn[10] ^= 1;
            assert_eq!(plain_rmc(&torn, NOW), None);
        }
    }
}
