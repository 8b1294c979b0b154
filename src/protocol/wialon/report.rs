//! The fields of one report, `SD` or `D`: what stands in them and which code a wrong one has.
//!
//! A short report is read without allocation.

use std::borrow::Cow;

use super::{answer::Fault, checksum};
use crate::{
    protocol::{attributes as names, fields, fix, plain::Plain},
    types::{
        attributes::{Attributes, Value},
        number::{Decimal, Degrees, Milli},
        time::UnixMillis,
    },
};

/// Fields of a short report, and of the common part of a full one.
const SHORT_FIELDS: usize = 10;
/// Fields of a full report.
const FULL_FIELDS: usize = 16;
/// Fields that are counted: one more than a full report may have at most.
const FIELDS_MAX: usize = FULL_FIELDS + 2;
/// Most parameters of a report: the time to keep them in order grows with their square.
const PARAMS_MAX: usize = 256;
/// Fewest satellites of a fix that is valid.
const SATELLITES_OF_VALID: u8 = 3;

/// Which fields a report has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As in `SD`.
    Short,
    /// As in `D`.
    Full,
}

/// What a report says. An absent field was `NA` or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) time: Option<UnixMillis>,
    /// Latitude and longitude.
    pub(super) place: Option<(Degrees, Degrees)>,
    pub(super) speed_kmh: Option<Milli>,
    pub(super) course_deg: Option<Milli>,
    pub(super) altitude_m: Option<Milli>,
    pub(super) satellites: Option<u8>,
    pub(super) hdop: Option<Milli>,
}

/// The fields of a report, and of one that is too long.
type Fields<'a> = fields::Fields<'a, FIELDS_MAX>;

impl Report {
    /// Reads the body of a report, which must have the fields of `shape` where one is given. What it
    /// says besides goes to `attributes`.
    ///
    /// `is_lenient` takes one field too many, whatever it holds, and minutes of 60 and more.
    ///
    /// # Errors
    /// The first fault in the order of the fields.
    pub(super) fn parse(
        body: &[u8],
        shape: Option<Shape>,
        is_lenient: bool,
        attributes: &mut Attributes,
    ) -> Result<Self, Fault> {
        Self::parse_plain(body, shape, attributes)
            .unwrap_or_else(|| Self::parse_with_care(body, shape, is_lenient, attributes))
    }

    /// As [`Report::parse`].
    fn parse_with_care(
        body: &[u8],
        shape: Option<Shape>,
        is_lenient: bool,
        attributes: &mut Attributes,
    ) -> Result<Self, Fault> {
        let fields = Fields::split(body, b';');
        let shape = shape_of(&fields, body, is_lenient)
            .filter(|found| shape.is_none_or(|shape| shape == *found))
            .ok_or(Fault::Structure)?;
        let [
            date,
            time,
            lat,
            lat_sign,
            lon,
            lon_sign,
            speed,
            course,
            height,
            satellites,
        ] = fields.from(0);
        let mut report = Self {
            time: parse_time(date, time)?,
            place: parse_place([lat, lat_sign, lon, lon_sign], is_lenient)?,
            speed_kmh: parse_quantity(speed).ok_or(Fault::Motion)?,
            course_deg: parse_quantity(course).ok_or(Fault::Motion)?,
            altitude_m: parse_quantity(height).ok_or(Fault::Motion)?,
            satellites: parse_satellites(satellites)?,
            hdop: None,
        };
        if shape == Shape::Full {
            report.hdop = parse_rest(fields.from(SHORT_FIELDS), attributes)?;
        }
        Ok(report)
    }

    /// The same for a report whose common fields are written as nearly all write them; `None` for any
    /// other, which changes nothing.
    #[inline]
    fn parse_plain(
        body: &[u8],
        shape: Option<Shape>,
        attributes: &mut Attributes,
    ) -> Option<Result<Self, Fault>> {
        let mut fields = Plain::new(body, b';');
        let date = fields.date()?;
        let time_of_day = fields.time_of_day()?;
        let mut report = Self {
            time: Some(fix::moment_on(date, time_of_day)?),
            place: Some((fields.degrees(b'N', b'S')?, fields.degrees(b'E', b'W')?)),
            speed_kmh: to_milli(fields.decimal()?)?,
            course_deg: to_milli(fields.decimal()?)?,
            altitude_m: to_milli(fields.decimal()?)?,
            satellites: fields.count(),
            hdop: None,
        };
        let found = if fields.rest().is_empty() {
            Shape::Short
        } else {
            fields.next()?;
            Shape::Full
        };
        if shape.is_some_and(|shape| shape != found) {
            return None;
        }
        if found == Shape::Full {
            let rest = Fields::split(fields.rest(), b';');
            if rest.len() != FULL_FIELDS - SHORT_FIELDS {
                return None;
            }
            match parse_rest(rest.from(0), attributes) {
                Ok(hdop) => report.hdop = hdop,
                Err(fault) => return Some(Err(fault)),
            }
        }
        Some(Ok(report))
    }

    /// Whether the fix can be believed: from three satellites on. A device that does not count
    /// them vouches for nothing.
    pub(super) fn is_valid(&self) -> bool {
        self.satellites
            .is_some_and(|n_satellites| n_satellites >= SATELLITES_OF_VALID)
    }
}

/// Reads the fields that only a full report has; its dilution.
fn parse_rest(
    [hdop, inputs, outputs, adc, ibutton, params]: [&[u8]; FULL_FIELDS - SHORT_FIELDS],
    attributes: &mut Attributes,
) -> Result<Option<Milli>, Fault> {
    let hdop = parse_quantity(hdop)
        .filter(|hdop| hdop.is_none_or(|hdop| hdop >= Milli::default()))
        .ok_or(Fault::Satellites)?;
    // The device's own names first, so that a field of the table outranks them.
    parse_params(params, attributes)?;
    for (name, field) in [(names::INPUTS, inputs), (names::OUTPUTS, outputs)] {
        if let Some(field) = present(field) {
            let bits = parse_whole(field)
                .filter(|bits| *bits >= 0)
                .ok_or(Fault::Inputs)?;
            attributes.insert(name, Value::Integer(bits));
        }
    }
    parse_adc(adc, attributes)?;
    if let Some(key) = present(ibutton) {
        attributes.insert(names::DRIVER_ID, Value::Text(text(key)));
    }
    Ok(hdop)
}

fn parse_adc(field: &[u8], attributes: &mut Attributes) -> Result<(), Fault> {
    let Some(list) = present(field) else {
        return Ok(());
    };
    for (idx, item) in list.split(|byte| *byte == b',').enumerate() {
        if idx >= PARAMS_MAX {
            return Err(Fault::Adc);
        }
        if let Some(item) = present(item) {
            let number = parse_float(item).ok_or(Fault::Adc)?;
            attributes.insert(names::adc(idx + 1), Value::Float(number));
        }
    }
    Ok(())
}

fn parse_params(field: &[u8], attributes: &mut Attributes) -> Result<(), Fault> {
    let Some(list) = present(field) else {
        return Ok(());
    };
    let items = list.split(|byte| *byte == b',');
    for (idx, item) in items.filter(|item| !item.is_empty()).enumerate() {
        if idx >= PARAMS_MAX {
            return Err(Fault::Params);
        }
        let (name, value) = parse_param(item).ok_or(Fault::Params)?;
        let Some(value) = value else {
            continue;
        };
        if name == "SOS" && value == Value::Integer(1) {
            attributes.insert(names::ALARM, Value::Text("sos".into()));
        }
        names::insert_own(attributes, name, value);
    }
    Ok(())
}

/// Which fields a report has; `None` if they are those of none.
fn shape_of(fields: &Fields<'_>, body: &[u8], is_lenient: bool) -> Option<Shape> {
    // Devices end the last field with a separator, or send a checksum after a login that did not
    // promise one.
    let is_harmless =
        |extra: &[u8]| is_lenient || extra.is_empty() || checksum::verified(body, b';').is_some();
    const SHORT_AND_EXTRA: usize = SHORT_FIELDS + 1;
    const FULL_AND_EXTRA: usize = FULL_FIELDS + 1;
    match fields.len() {
        SHORT_FIELDS => Some(Shape::Short),
        FULL_FIELDS => Some(Shape::Full),
        SHORT_AND_EXTRA => is_harmless(fields.at(SHORT_FIELDS)).then_some(Shape::Short),
        FULL_AND_EXTRA => is_harmless(fields.at(FULL_FIELDS)).then_some(Shape::Full),
        _ => None,
    }
}

/// The content of a field; `None` where the device says that it has none.
#[inline]
fn present(field: &[u8]) -> Option<&[u8]> {
    (!field.is_empty() && field != b"NA").then_some(field)
}

/// Date and time; both absent is none, one alone is a fault.
fn parse_time(date: &[u8], time: &[u8]) -> Result<Option<UnixMillis>, Fault> {
    let (date, time) = match (present(date), present(time)) {
        (None, None) => return Ok(None),
        (Some(date), Some(time)) => (date, time),
        _ => return Err(Fault::Time),
    };
    fix::day_month_year(date)
        .and_then(|date| fix::time_on(date, time))
        .map(Some)
        .ok_or(Fault::Time)
}

/// Latitude and longitude of the four fields; all absent is none, some alone is a fault.
fn parse_place(
    fields: [&[u8]; 4],
    carries_minutes: bool,
) -> Result<Option<(Degrees, Degrees)>, Fault> {
    let [Some(lat), Some(lat_sign), Some(lon), Some(lon_sign)] = fields.map(present) else {
        let is_absent = fields.iter().all(|field| present(field).is_none());
        return is_absent.then_some(None).ok_or(Fault::Coordinates);
    };
    let latitude = fix::latitude(lat, lat_sign, carries_minutes).ok_or(Fault::Coordinates)?;
    let longitude = fix::longitude(lon, lon_sign, carries_minutes).ok_or(Fault::Coordinates)?;
    Ok(Some((latitude, longitude)))
}

/// A quantity in thousandths: `Some(None)` where it is absent, `None` where it is no number.
fn parse_quantity(field: &[u8]) -> Option<Option<Milli>> {
    match present(field) {
        None => Some(None),
        Some(field) => to_milli(Some(Decimal::parse(field)?)),
    }
}

/// In thousandths; `None` if it does not fit.
#[inline]
fn to_milli(quantity: Option<Decimal>) -> Option<Option<Milli>> {
    match quantity {
        None => Some(None),
        Some(quantity) => quantity.to_milli().map(Some),
    }
}

fn parse_satellites(field: &[u8]) -> Result<Option<u8>, Fault> {
    present(field)
        .map(|field| {
            parse_whole(field)
                .and_then(|number| u8::try_from(number).ok())
                .ok_or(Fault::Satellites)
        })
        .transpose()
}

/// Name and value of `name:type:value`; the value may hold colons, and is absent where it is `NA`
/// or empty.
fn parse_param(item: &[u8]) -> Option<(Cow<'static, str>, Option<Value>)> {
    let mut parts = item.splitn(3, |byte| *byte == b':');
    let (name, value_type, value) = (parts.next()?, parts.next()?, parts.next()?);
    if name.is_empty() {
        return None;
    }
    let value = match (value_type, present(value)) {
        (b"1" | b"2" | b"3", None) => None,
        (b"1", Some(value)) => Some(Value::Integer(parse_whole(value)?)),
        (b"2", Some(value)) => Some(Value::Float(parse_float(value)?)),
        (b"3", Some(value)) => Some(Value::Text(text(value))),
        _ => return None,
    };
    Some((text(name), value))
}

fn parse_whole(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn parse_float(field: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(field).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// A device's text; what is not UTF-8 in it is replaced.
pub(super) fn text(bytes: &[u8]) -> Cow<'static, str> {
    Cow::Owned(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODIES: [&str; 4] = [
        "201126;090501;5926.2320;N;02445.2100;E;42;181;34;9",
        "060199;235959.734;0026.23;S;17945.2100001;W;42.75;359.9;NA;255",
        "201126;090501;5926.2320;N;02445.2100;E;;;-34;NA",
        "201126;090501;5926.2320;N;02445.2100;E;42;181;34;9;0.9;3;0;12.6;NA;odo:1:7,note:3:ok",
    ];

    /// A right body with a few bytes exchanged, put in or taken out.
    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let bytes = b"0123456789;.,:-+NSEWAx \x00\x80\xB0".to_vec();
        let edit = (
            0..3,
            any::<prop::sample::Index>(),
            prop::sample::select(bytes),
        );
        let edits = prop::collection::vec(edit, 0..4);
        (prop::sample::select(&BODIES[..]), edits).prop_map(|(body, edits)| {
            let mut body = body.as_bytes().to_vec();
            for (kind, place, byte) in edits {
                let place = place.index(body.len());
                match kind {
                    0 => body[place] = byte,
                    1 => body.insert(place, byte),
                    _ => drop(body.remove(place)),
                }
            }
            body
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn what_is_read_plainly_is_read_the_same_with_care(
            body in bodies(),
            shape in prop::option::of(prop::sample::select(&[Shape::Short, Shape::Full][..])),
            is_lenient: bool,
        ) {
            let mut attributes = [Attributes::new(), Attributes::new()];
            let [plain, with_care] = &mut attributes;
            if let Some(report) = Report::parse_plain(&body, shape, plain) {
                prop_assert_eq!(
                    report,
                    Report::parse_with_care(&body, shape, is_lenient, with_care)
                );
                prop_assert_eq!(plain, with_care);
            }
        }
    }

    #[test]
    fn the_usual_is_read_plainly() {
        for body in BODIES {
            let report = Report::parse_plain(body.as_bytes(), None, &mut Attributes::new());
            assert_eq!(report.is_some(), !body.contains("-34"), "{body}");
        }
    }
}
