//! Fields to values where NMEA writes them its own way. Pure maths over text, without allocation.

use crate::{
    protocol::fix::{self, Date},
    types::number::{Decimal, Degrees, Milli},
};

/// km/h of one knot, in thousandths.
const KMH_MILLI_PER_KNOT: i64 = 1_852;

const BILLION: i64 = 1_000_000_000;

/// Milliseconds since midnight of `hhmmss[.fff…]`.
pub(super) fn time_of_day(field: &[u8]) -> Option<i64> {
    fix::time_of_day(field)
}

/// The day `ddmmyyyy`.
pub(super) fn day_month_long_year(field: &[u8]) -> Option<Date> {
    let [day, month, century, year] = fix::pairs(field)?;
    Some((i16::from(century) * 100 + i16::from(year), month, day))
}

/// The day `yyyymmdd`.
pub(super) fn long_year_month_day(field: &[u8]) -> Option<Date> {
    let [century, year, month, day] = fix::pairs(field)?;
    Some((i16::from(century) * 100 + i16::from(year), month, day))
}

/// The signed decimal degrees in a field.
pub(super) fn decimal_degrees(field: &[u8]) -> Option<Degrees> {
    Decimal::parse(field)?.to_degrees()
}

/// The decimal degrees in a field, without a sign of their own.
pub(super) fn decimal_degrees_of(field: &[u8], is_negative: bool) -> Option<Degrees> {
    let units = decimal_degrees(field)?.as_e7();
    if units < 0 {
        return None;
    }
    Some(Degrees::from_e7(if is_negative { -units } else { units }))
}

/// A speed in knots as km/h; `None` for none and for one that is no speed.
pub(super) fn speed_of_knots(field: &[u8]) -> Option<Milli> {
    kmh_of_knots(Decimal::parse(field)?)
}

/// So many knots as km/h; `None` if they are no speed.
#[inline]
pub(super) fn kmh_of_knots(knots: Decimal) -> Option<Milli> {
    // What does not fit here does not fit the result either.
    let nano = knots.as_billionths().checked_mul(KMH_MILLI_PER_KNOT)?;
    let milli = nano.checked_add(BILLION / 2)? / BILLION;
    let speed = i32::try_from(milli).ok().filter(|_| nano >= 0)?;
    Some(Milli::from_thousandths(speed))
}

/// A speed in km/h; `None` for none and for one that is no speed.
pub(super) fn speed_of_kmh(field: &[u8]) -> Option<Milli> {
    quantity(field).and_then(fix::speed)
}

/// A course in degrees from true north; `None` for none and for one that is no course.
pub(super) fn course(field: &[u8]) -> Option<Milli> {
    Decimal::parse(field).and_then(degrees_of_course)
}

/// So many degrees from true north; `None` if they are no course.
#[inline]
pub(super) fn degrees_of_course(course: Decimal) -> Option<Milli> {
    course.to_milli().and_then(fix::course)
}

/// Any quantity; `None` for none.
pub(super) fn quantity(field: &[u8]) -> Option<Milli> {
    Decimal::parse(field)?.to_milli()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_count_milliseconds() {
        let cases = [
            ("000000", Some(0)),
            ("235959.999", Some(86_399_999)),
            ("123519.0799", Some(45_319_079)),
            ("240000", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_of_day(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn long_years_are_read_in_both_orders() {
        assert_eq!(day_month_long_year(b"28062020"), Some((2020, 6, 28)));
        assert_eq!(long_year_month_day(b"20200628"), Some((2020, 6, 28)));
        assert_eq!(day_month_long_year(b"280620"), None);
        assert_eq!(long_year_month_day(b"2020-628"), None);
    }

    #[test]
    fn decimal_degrees_have_one_sign() {
        let e7 = |degrees: Option<Degrees>| degrees.map(Degrees::as_e7);
        assert_eq!(e7(decimal_degrees(b"-33.92487")), Some(-339_248_700));
        assert_eq!(e7(decimal_degrees_of(b"24.7535", true)), Some(-247_535_000));
        assert_eq!(e7(decimal_degrees_of(b"-24.7535", true)), None);
        assert_eq!(e7(decimal_degrees(b"nan")), None);
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
