//! What stands in a line that an expression matched.
//!
//! A group that is empty, or that took no part in the match, says nothing.

use regex::bytes::Captures;

use super::{
    group::{Core, Notation},
    shape::Shape,
    time::TimeFormat,
};
use crate::{
    protocol::{
        RejectReason,
        attributes::{self, ValueType},
        fix,
    },
    types::{
        attributes::{Attributes, Value},
        number::{Decimal, Degrees, Milli},
        record::Fix,
        time::UnixMillis,
    },
};

/// Words for yes and no, in small letters.
const YES: [&[u8]; 4] = [b"1", b"true", b"on", b"yes"];
const NO: [&[u8]; 4] = [b"0", b"false", b"off", b"no"];

/// Millionths in one.
const MILLION: i64 = 1_000_000;

/// A line and the kind of line it is.
pub(super) struct Line<'a> {
    pub(super) shape: &'a Shape,
    pub(super) captures: Captures<'a>,
}

impl Line<'_> {
    /// The text of a field.
    pub(super) fn text(&self, core: Core) -> Option<&[u8]> {
        self.found(|found| found == core).map(|(_, text)| text)
    }

    /// The event code.
    pub(super) fn code(&self) -> String {
        let code = self.text(Core::Event).unwrap_or_default();
        String::from_utf8_lossy(code).into_owned()
    }

    /// The time that the line gives.
    ///
    /// # Errors
    /// `TimeImpossible`, also where there is a day and no time of day, or the other way round.
    pub(super) fn time(&self, format: &TimeFormat) -> Result<Option<UnixMillis>, RejectReason> {
        let has_date = self.shape.has(|core| core == Core::Date);
        let read = match (has_date, self.text(Core::Date), self.text(Core::Time)) {
            (_, None, None) => return Ok(None),
            (false, None, Some(time)) => format.read(time),
            (true, Some(date), Some(time)) => format.read(&[date, time].join(&b' ')),
            _ => None,
        };
        read.map(Some).ok_or(RejectReason::TimeImpossible)
    }

    /// Latitude and longitude.
    ///
    /// # Errors
    /// `CoordinatesImpossible`, also where there is only one of them.
    pub(super) fn place(
        &self,
        carries_minutes: bool,
    ) -> Result<Option<(Degrees, Degrees)>, RejectReason> {
        let lat = self.found(|core| matches!(core, Core::Latitude(_)));
        let lon = self.found(|core| matches!(core, Core::Longitude(_)));
        let place = match (lat, lon) {
            (None, None) => return Ok(None),
            (
                Some((Core::Latitude(lat_notation), lat)),
                Some((Core::Longitude(lon_notation), lon)),
            ) => {
                let south = self.side(Core::NorthSouth, fix::is_south);
                let west = self.side(Core::EastWest, fix::is_west);
                let lat = angle(lat, lat_notation, south, carries_minutes);
                lat.zip(angle(lon, lon_notation, west, carries_minutes))
            }
            _ => None,
        };
        place.map(Some).ok_or(RejectReason::CoordinatesImpossible)
    }

    /// The readings of a fix, at no place.
    ///
    /// # Errors
    /// `ValueImpossible`.
    pub(super) fn readings(&self) -> Result<Fix, RejectReason> {
        let is_speed = |core| matches!(core, Core::Speed(_));
        let is_altitude = |core| matches!(core, Core::Altitude(_));
        let is_course = |core| core == Core::Course;
        let not_negative = |quantity: Milli| Some(quantity).filter(|it| *it >= Milli::default());
        let is_hdop = |core| core == Core::Hdop;
        let satellites = self.text(Core::Satellites);
        let satellites = satellites
            .map(|text| number(text).ok_or(RejectReason::ValueImpossible))
            .transpose()?;
        Ok(Fix {
            speed_kmh: self.quantity(is_speed, fix::speed)?,
            course_deg: self.quantity(is_course, fix::course)?,
            altitude_m: self.quantity(is_altitude, Some)?,
            satellites,
            hdop: self.quantity(is_hdop, not_negative)?,
            ..Fix::default()
        })
    }

    /// The attributes.
    ///
    /// # Errors
    /// `ValueImpossible` for one that is not of its type.
    pub(super) fn attributes(&self) -> Result<Attributes, RejectReason> {
        let mut attributes = Attributes::new();
        for (idx, name, value_type) in &self.shape.attributes {
            if let Some(text) = self.group(*idx) {
                let value = value(text, *value_type).ok_or(RejectReason::ValueImpossible)?;
                attributes.insert(name.clone(), value);
            }
        }
        Ok(attributes)
    }

    fn group(&self, idx: usize) -> Option<&[u8]> {
        let text = self.captures.get(idx)?.as_bytes();
        Some(text).filter(|text| !text.is_empty())
    }

    fn found(&self, is_it: impl Fn(Core) -> bool) -> Option<(Core, &[u8])> {
        let mut fields = self.shape.fields.iter();
        let (idx, core) = fields.find(|(_, core)| is_it(*core))?;
        self.group(*idx).map(|text| (*core, text))
    }

    /// On which side of the equator or the first meridian; it is none where a group should say so
    /// and does not.
    fn side(&self, core: Core, is_negative: fn(&[u8]) -> Option<bool>) -> Side {
        if !self.shape.has(|other| other == core) {
            return Side::BySign;
        }
        let letter = self.text(core).map(<[u8]>::to_ascii_uppercase);
        match letter.as_deref().and_then(is_negative) {
            Some(is_negative) => Side::Said { is_negative },
            None => Side::Unknown,
        }
    }

    fn quantity(
        &self,
        is_it: impl Fn(Core) -> bool,
        check: impl Fn(Milli) -> Option<Milli>,
    ) -> Result<Option<Milli>, RejectReason> {
        let Some((core, text)) = self.found(is_it) else {
            return Ok(None);
        };
        let micro_per_unit = match core {
            Core::Speed(micro) | Core::Altitude(micro) => micro,
            _ => MILLION,
        };
        let quantity = Decimal::parse(text).and_then(|number| scaled(number, micro_per_unit));
        let quantity = quantity.and_then(check);
        quantity.map(Some).ok_or(RejectReason::ValueImpossible)
    }
}

/// Which half of the earth an angle is on.
#[derive(Clone, Copy)]
enum Side {
    /// The sign of the number says it.
    BySign,
    /// A letter says it, and the number has no sign.
    Said { is_negative: bool },
    /// A letter should say it.
    Unknown,
}

fn angle(text: &[u8], notation: Notation, side: Side, carries_minutes: bool) -> Option<Degrees> {
    let number = Decimal::parse(text)?;
    let is_negative = match side {
        Side::BySign => number.as_billionths() < 0,
        Side::Said { is_negative } if number.as_billionths() >= 0 => is_negative,
        Side::Said { .. } | Side::Unknown => return None,
    };
    let number = number.abs();
    match notation {
        Notation::Minutes => fix::degrees_and_minutes(number, is_negative, carries_minutes),
        Notation::Degrees => {
            let units = number.to_degrees()?.as_e7();
            Some(Degrees::from_e7(if is_negative { -units } else { units }))
        }
    }
}

/// A number of units in thousandths of what a million millionths are, rounded half up.
fn scaled(number: Decimal, micro_per_unit: i64) -> Option<Milli> {
    if micro_per_unit == MILLION {
        return number.to_milli();
    }
    let nano = i128::from(number.as_billionths());
    let half = 500_000_000_000;
    let milli = (nano * i128::from(micro_per_unit) + half).div_euclid(2 * half);
    i32::try_from(milli).ok().map(Milli::from_thousandths)
}

fn value(text: &[u8], value_type: ValueType) -> Option<Value> {
    match value_type {
        ValueType::Bool => {
            let word = text.to_ascii_lowercase();
            let is_yes = YES.contains(&word.as_slice());
            (is_yes || NO.contains(&word.as_slice())).then_some(Value::Bool(is_yes))
        }
        ValueType::Integer => number(text).map(Value::Integer),
        ValueType::Float => {
            let float: f64 = number(text)?;
            float.is_finite().then_some(Value::Float(float))
        }
        ValueType::Text => {
            let text = String::from_utf8_lossy(text).into_owned();
            Some(Value::Text(text.into()))
        }
    }
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Keeps under `attributes` what a line without a place says of motion and reception.
pub(super) fn keep_readings(readings: &Fix, attributes: &mut Attributes) {
    let quantities = [
        (attributes::SPEED_KMH, readings.speed_kmh),
        (attributes::COURSE_DEG, readings.course_deg),
        (attributes::ALTITUDE_M, readings.altitude_m),
        (attributes::HDOP, readings.hdop),
    ];
    for (name, quantity) in quantities {
        if let Some(quantity) = quantity.map(Milli::as_f64) {
            attributes.insert(name, Value::Float(quantity));
        }
    }
    if let Some(n_satellites) = readings.satellites {
        let n_satellites = Value::Integer(i64::from(n_satellites));
        attributes.insert(attributes::SATELLITES, n_satellites);
    }
}
