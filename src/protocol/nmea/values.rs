//! Fields to values: times of day, dates, angles, speeds. Pure maths over text, without allocation.

use crate::types::{
    number::{Decimal, Degrees, Milli},
    time::UnixMillis,
};

/// km/h of one knot, in thousandths.
const KMH_MILLI_PER_KNOT: i128 = 1_852;

/// A minute of arc in units of 1e-9, over 1e-7 degrees: 1e9 / (1e7 / 60).
const NANO_MINUTES_PER_UNIT: i64 = 6_000;

/// A hundred in units of 1e-9: degrees stand in front of the minutes as hundreds.
const NANO_HUNDRED: i64 = 100_000_000_000;

/// Sixty in units of 1e-9: no minute of arc is as large.
const NANO_SIXTY: i64 = 60_000_000_000;

/// Latitude or longitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// `N` or `S`, up to 90 degrees.
    Latitude,
    /// `E` or `W`, up to 180 degrees.
    Longitude,
}

impl Axis {
    const fn degrees_max(self) -> i64 {
        match self {
            Self::Latitude => 90,
            Self::Longitude => 180,
        }
    }

    /// -1 or 1 for a hemisphere of this axis.
    const fn sign(self, hemisphere: &[u8]) -> Option<i64> {
        match (self, hemisphere) {
            (Self::Latitude, b"N") | (Self::Longitude, b"E") => Some(1),
            (Self::Latitude, b"S") | (Self::Longitude, b"W") => Some(-1),
            _ => None,
        }
    }
}

/// Milliseconds since midnight of `hhmmss[.fff…]`; further decimals are dropped. A leap second is
/// no time.
pub(super) fn time_of_day(field: &[u8]) -> Option<i64> {
    let (clock, fraction) = match memchr::memchr(b'.', field) {
        Some(point) => (field.get(..point)?, field.get(point + 1..)?),
        None => (field, &[][..]),
    };
    let [hour, minute, second] = pairs(clock)?;
    if hour >= 24 || minute >= 60 || second >= 60 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(b"000").take(3);
    let millis = digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some((i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second)) * 1_000 + millis)
}

/// Midnight at the beginning of `ddmmyy`; the years 80 to 99 are those before 2000.
pub(super) fn midnight_of_short_date(field: &[u8]) -> Option<UnixMillis> {
    let [day, month, year] = pairs(field)?;
    let century = if year >= 80 { 1900 } else { 2000 };
    midnight(century + i16::from(year), month, day)
}

/// Midnight at the beginning of `ddmmyyyy`.
pub(super) fn midnight_of_date(field: &[u8]) -> Option<UnixMillis> {
    let [day, month, century, year] = pairs(field)?;
    midnight(i16::from(century) * 100 + i16::from(year), month, day)
}

/// Midnight at the beginning of `yyyymmdd`.
pub(super) fn midnight_of_sortable_date(field: &[u8]) -> Option<UnixMillis> {
    let [century, year, month, day] = pairs(field)?;
    midnight(i16::from(century) * 100 + i16::from(year), month, day)
}

/// The angle `[d]ddmm.mmmm` of a hemisphere; `None` if there is none such on earth.
pub(super) fn angle(field: &[u8], hemisphere: &[u8], axis: Axis) -> Option<Degrees> {
    let sign = axis.sign(hemisphere)?;
    let nano = Decimal::parse(field)?.scaled(9);
    let (degrees, minutes) = (nano.div_euclid(NANO_HUNDRED), nano.rem_euclid(NANO_HUNDRED));
    if nano < 0 || minutes >= NANO_SIXTY {
        return None;
    }
    let units =
        degrees * 10_000_000 + (minutes + NANO_MINUTES_PER_UNIT / 2) / NANO_MINUTES_PER_UNIT;
    bounded(sign * units, axis)
}

/// The signed decimal degrees in a field; `None` if there is no such angle on earth.
pub(super) fn decimal_degrees(field: &[u8], axis: Axis) -> Option<Degrees> {
    bounded(Decimal::parse(field)?.scaled(7), axis)
}

/// The same without a sign, in a hemisphere.
pub(super) fn decimal_degrees_of(field: &[u8], hemisphere: &[u8], axis: Axis) -> Option<Degrees> {
    let units = Decimal::parse(field)?.scaled(7);
    bounded(axis.sign(hemisphere)? * units, axis)
}

/// A speed in knots as km/h; `None` for none and for one that is no speed.
pub(super) fn speed_of_knots(field: &[u8]) -> Option<Milli> {
    let nano = Decimal::parse(field)?.scaled(9);
    let milli = (i128::from(nano) * KMH_MILLI_PER_KNOT + 500_000_000).div_euclid(1_000_000_000);
    let speed = i32::try_from(milli).ok().filter(|_| nano >= 0)?;
    Some(Milli::from_thousandths(speed))
}

/// A speed in km/h; `None` for none and for one that is no speed.
pub(super) fn speed_of_kmh(field: &[u8]) -> Option<Milli> {
    quantity(field).filter(|speed| speed.as_thousandths() >= 0)
}

/// A course in degrees from true north; `None` for none and for one that is no course.
pub(super) fn course(field: &[u8]) -> Option<Milli> {
    match quantity(field)?.as_thousandths() {
        360_000 => Some(Milli::from_thousandths(0)),
        course @ 0..360_000 => Some(Milli::from_thousandths(course)),
        _ => None,
    }
}

/// Any quantity; `None` for none.
pub(super) fn quantity(field: &[u8]) -> Option<Milli> {
    Decimal::parse(field)?.to_milli()
}

fn bounded(units: i64, axis: Axis) -> Option<Degrees> {
    let units_max = axis.degrees_max() * 10_000_000;
    let units = (-units_max..=units_max).contains(&units).then_some(units)?;
    i32::try_from(units).ok().map(Degrees::from_e7)
}

fn midnight(year: i16, month: u8, day: u8) -> Option<UnixMillis> {
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    UnixMillis::from_civil((year, month, day), (0, 0, 0), 0)
}

/// `N` numbers of two digits each, and nothing else.
fn pairs<const N: usize>(field: &[u8]) -> Option<[u8; N]> {
    let mut numbers = [0; N];
    let chunks = field.chunks_exact(2);
    if field.len() != 2 * N || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for (number, chunk) in numbers.iter_mut().zip(chunks) {
        *number = chunk.iter().fold(0, |sum, digit| sum * 10 + (digit - b'0'));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_count_milliseconds() {
        let cases = [
            ("000000", Some(0)),
            ("235959.999", Some(86_399_999)),
            ("123519.5", Some(45_319_500)),
            ("123519.", Some(45_319_000)),
            ("123519.0799", Some(45_319_079)),
            ("240000", None),
            ("126000", None),
            ("235960", None),
            ("12351", None),
            ("123519.x", None),
            ("+12351", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_of_day(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn dates_of_two_digits_lie_around_the_millennium() {
        let cases = [
            ("230394", Some("1994-03-23T00:00:00.000Z")),
            ("010180", Some("1980-01-01T00:00:00.000Z")),
            ("311279", Some("2079-12-31T00:00:00.000Z")),
            ("290223", None),
            ("000101", None),
            ("1110", None),
        ];
        for (text, expected) in cases {
            let read = midnight_of_short_date(text.as_bytes()).map(|time| time.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        assert_eq!(
            midnight_of_date(b"28062020"),
            midnight_of_sortable_date(b"20200628")
        );
    }

    #[test]
    fn angles_are_degrees_and_minutes() {
        let cases = [
            ("4807.038", "N", Axis::Latitude, Some(481_173_000)),
            ("01131.000", "W", Axis::Longitude, Some(-115_166_667)),
            ("1353.52", "E", Axis::Longitude, Some(138_920_000)),
            ("9000.0000", "S", Axis::Latitude, Some(-900_000_000)),
            ("9000.0001", "S", Axis::Latitude, None),
            ("18000.000", "E", Axis::Longitude, Some(1_800_000_000)),
            ("18000.001", "E", Axis::Longitude, None),
            ("5964.5000", "N", Axis::Latitude, None),
            ("-4807.038", "N", Axis::Latitude, None),
            ("4807.038", "E", Axis::Latitude, None),
            ("4807.038", "", Axis::Latitude, None),
            ("", "N", Axis::Latitude, None),
            ("nan", "N", Axis::Latitude, None),
        ];
        for (text, hemisphere, axis, expected) in cases {
            let read = angle(text.as_bytes(), hemisphere.as_bytes(), axis);
            assert_eq!(read.map(Degrees::as_e7), expected, "{text}");
        }
    }

    #[test]
    fn speeds_and_courses_out_of_range_are_none() {
        let thousandths = |value: Option<Milli>| value.map(Milli::as_thousandths);
        assert_eq!(thousandths(speed_of_knots(b"22.4")), Some(41_485));
        assert_eq!(thousandths(speed_of_knots(b"0.069")), Some(128));
        assert_eq!(thousandths(speed_of_knots(b"-1")), None);
        assert_eq!(thousandths(speed_of_knots(b"999999999")), None);
        assert_eq!(thousandths(course(b"360.0")), Some(0));
        assert_eq!(thousandths(course(b"359.99")), Some(359_990));
        assert_eq!(thousandths(course(b"361")), None);
        assert_eq!(thousandths(course(b"-0.5")), None);
        assert_eq!(thousandths(course(b"")), None);
    }
}
