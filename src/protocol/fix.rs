//! The checks that every protocol shares: from what a line says to a record with its key.
//!
//! A decoder reads its fields and hands them over as a [`Draft`] and a [`Fix`]; here they are held
//! against what can be on earth. This file must not know any protocol.
//!
//! Invariants of a record made here: its time is not before 1990 unless the node's own clock is,
//! its place is on earth, its speed is not negative, its course lies from 0 up to 360, its key is
//! that of [`crate::types::key`].

use std::borrow::Cow;

use super::RejectReason;
use crate::types::{
    attributes::Attributes,
    ids::VehicleId,
    key::{event_hash, position_hash},
    number::{Decimal, Degrees, Milli},
    record::{Body, Fix, Flags, ProtocolName, Record, RecordKey},
    time::{DAY_MILLIS, UnixMillis},
};

/// 1990-01-01T00:00:00Z: no device that a node can hear is older, so an earlier time is that of a
/// clock that was never set.
pub const EARLIEST: UnixMillis = UnixMillis(631_152_000_000);

const LATITUDE_E7_MAX: i32 = 900_000_000;
const LONGITUDE_E7_MAX: i32 = 1_800_000_000;
const COURSE_MILLI_MAX: i32 = 360_000;

/// What a line says besides the fix.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Who reported.
    pub vehicle: VehicleId,
    /// The language of the line.
    pub protocol: ProtocolName,
    /// What the device says when it was; absent if it does not, then the time of reception counts.
    pub time: Option<UnixMillis>,
    /// What the line says about how it came; those that follow from the time are added.
    pub flags: Flags,
    /// The device's code for what happened; empty if none.
    pub code: Cow<'static, str>,
    /// What the device reports besides.
    pub attributes: Attributes,
}

impl Draft {
    /// The position record of this draft and `fix`, read at `received`.
    ///
    /// # Errors
    /// `TimeImpossible`, `CoordinatesImpossible`, or `ValueImpossible` for speed and course.
    pub fn position(self, received: UnixMillis, mut fix: Fix) -> Result<Record, RejectReason> {
        let is_on_earth = fix.latitude.as_e7().unsigned_abs() <= LATITUDE_E7_MAX.unsigned_abs()
            && fix.longitude.as_e7().unsigned_abs() <= LONGITUDE_E7_MAX.unsigned_abs();
        if !is_on_earth {
            return Err(RejectReason::CoordinatesImpossible);
        }
        if fix.speed_kmh.is_some_and(|speed| speed < Milli::default()) {
            return Err(RejectReason::ValueImpossible);
        }
        fix.course_deg = match fix.course_deg.map(Milli::as_thousandths) {
            None => None,
            Some(COURSE_MILLI_MAX) => Some(Milli::default()),
            Some(course @ 0..COURSE_MILLI_MAX) => Some(Milli::from_thousandths(course)),
            Some(_) => return Err(RejectReason::ValueImpossible),
        };
        let hash = position_hash(&fix, &self.code);
        self.record(received, hash, Body::Position(fix))
    }

    /// The event record of this draft, read at `received`.
    ///
    /// # Errors
    /// `TimeImpossible`.
    pub fn event(self, received: UnixMillis) -> Result<Record, RejectReason> {
        let hash = event_hash(&self.code, &self.attributes);
        self.record(received, hash, Body::Event)
    }

    fn record(self, received: UnixMillis, hash: u64, body: Body) -> Result<Record, RejectReason> {
        let (time, flags) = match self.time {
            Some(time) if time < EARLIEST => return Err(RejectReason::TimeImpossible),
            Some(time) if time.0 > received.0.saturating_add(DAY_MILLIS) => {
                (time, self.flags.with(Flags::FUTURE))
            }
            Some(time) => (time, self.flags),
            None => (received, self.flags.with(Flags::TIME_FROM_SERVER)),
        };
        Ok(Record {
            key: RecordKey {
                vehicle: self.vehicle,
                time,
                hash,
            },
            received,
            protocol: self.protocol,
            flags,
            code: self.code,
            attributes: self.attributes,
            raw: None,
            body,
        })
    }
}

/// Degrees from the form `degrees * 100 + minutes`, for example `5544.6025`; negative to the south
/// and west.
///
/// `None` for a value that is negative itself, or over 180 degrees, or of 60 minutes and more;
/// these are carried over into the degrees if `carries_minutes` is set.
pub fn degrees_and_minutes(
    value: Decimal,
    is_negative: bool,
    carries_minutes: bool,
) -> Option<Degrees> {
    let unit = 10_i64.checked_pow(value.decimals)?;
    let hundred = unit.checked_mul(100)?;
    let sixty = unit.checked_mul(60)?;
    let (degrees, minutes) = (value.mantissa / hundred, value.mantissa % hundred);
    if value.mantissa < 0 || (minutes >= sixty && !carries_minutes) {
        return None;
    }
    // Below 1e11 * 1e7, since a decimal has at most nine places behind the point.
    let fraction_e7 = (minutes.checked_mul(10_000_000)?.checked_add(sixty / 2)?) / sixty;
    let degrees_e7 = degrees.checked_mul(10_000_000)?.checked_add(fraction_e7)?;
    let degrees_e7 = i32::try_from(degrees_e7).ok()?;
    (degrees_e7 <= LONGITUDE_E7_MAX)
        .then(|| Degrees::from_e7(if is_negative { -degrees_e7 } else { degrees_e7 }))
}

/// Year, month and day from `DDMMYY`.
///
/// Two digits from 70 on are a year of the last century: devices whose clock was never set begin
/// in 1970 or 1980, and must not pass for devices of the year 2080.
pub fn day_month_year(text: &[u8]) -> Option<(i16, i8, i8)> {
    let [d1, d2, m1, m2, y1, y2] = text else {
        return None;
    };
    let year = i16::from(two_digits(*y1, *y2)?);
    let century = if year < 70 { 2_000 } else { 1_900 };
    Some((century + year, two_digits(*m1, *m2)?, two_digits(*d1, *d2)?))
}

/// Hour, minute, second and milliseconds from `HHMMSS` with any number of decimals; what is below
/// a millisecond is cut off.
pub fn hour_minute_second(text: &[u8]) -> Option<((i8, i8, i8), u16)> {
    let [h1, h2, m1, m2, s1, s2, rest @ ..] = text else {
        return None;
    };
    let decimals = match rest {
        [] => rest,
        [b'.', decimals @ ..] => decimals,
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = decimals
        .iter()
        .zip([100, 10, 1])
        .map(|(digit, weight)| u16::from(digit - b'0') * weight)
        .sum();
    let time = (
        two_digits(*h1, *h2)?,
        two_digits(*m1, *m2)?,
        two_digits(*s1, *s2)?,
    );
    Some((time, millis))
}

fn two_digits(tens: u8, ones: u8) -> Option<i8> {
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    i8::try_from((tens - b'0') * 10 + (ones - b'0')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(time: Option<UnixMillis>) -> Draft {
        Draft {
            vehicle: VehicleId::parse(b"bus-7").unwrap(),
            protocol: "test".into(),
            time,
            flags: Flags::ARCHIVED,
            code: "".into(),
            attributes: Attributes::new(),
        }
    }

    const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

    #[track_caller]
    fn check_fix(change: impl FnOnce(&mut Fix), expected: Result<Fix, RejectReason>) {
        let mut fix = Fix::default();
        change(&mut fix);
        let made = draft(Some(NOW)).position(NOW, fix);
        assert_eq!(made.map(|record| *record.fix().unwrap()), expected);
    }

    #[test]
    fn what_cannot_be_on_earth_is_rejected() {
        let coordinates = Err(RejectReason::CoordinatesImpossible);
        check_fix(
            |fix| fix.latitude = Degrees::from_e7(900_000_001),
            coordinates,
        );
        check_fix(
            |fix| fix.longitude = Degrees::from_e7(i32::MIN),
            coordinates,
        );
        let value = Err(RejectReason::ValueImpossible);
        check_fix(
            |fix| fix.speed_kmh = Some(Milli::from_thousandths(-1)),
            value,
        );
        check_fix(
            |fix| fix.course_deg = Some(Milli::from_thousandths(-1)),
            value,
        );
        check_fix(
            |fix| fix.course_deg = Some(Milli::from_thousandths(360_001)),
            value,
        );
        let north = Fix {
            course_deg: Some(Milli::default()),
            ..Fix::default()
        };
        check_fix(
            |fix| fix.course_deg = Some(Milli::from_thousandths(360_000)),
            Ok(north),
        );
    }

    #[test]
    fn a_time_is_held_against_1990_and_tomorrow() {
        let flags = |time| draft(time).event(NOW).map(|record| record.flags);
        assert_eq!(
            flags(Some(UnixMillis(EARLIEST.0 - 1))),
            Err(RejectReason::TimeImpossible)
        );
        assert_eq!(flags(Some(EARLIEST)), Ok(Flags::ARCHIVED));
        let tomorrow = NOW.0 + DAY_MILLIS;
        assert_eq!(flags(Some(UnixMillis(tomorrow))), Ok(Flags::ARCHIVED));
        assert_eq!(
            flags(Some(UnixMillis(tomorrow + 1))),
            Ok(Flags::ARCHIVED.with(Flags::FUTURE))
        );
        assert_eq!(
            flags(None),
            Ok(Flags::ARCHIVED.with(Flags::TIME_FROM_SERVER))
        );
        assert_eq!(draft(None).event(NOW).unwrap().key.time, NOW);
    }

    #[test]
    fn degrees_and_minutes_are_read_to_the_last_unit() {
        let read = |text: &str, is_negative, carries| {
            let value = Decimal::parse(text.as_bytes()).unwrap();
            degrees_and_minutes(value, is_negative, carries).map(Degrees::as_e7)
        };
        assert_eq!(read("5544.6025", false, false), Some(557_433_750));
        assert_eq!(read("03739.6834", true, false), Some(-376_613_900));
        assert_eq!(read("18000", false, false), Some(1_800_000_000));
        assert_eq!(read("18000.001", false, false), None);
        assert_eq!(read("0.000000001", false, false), Some(0));
        assert_eq!(read("-10", false, false), None);
        assert_eq!(read("5364.0167", false, false), None);
        assert_eq!(read("5364.0167", false, true), Some(540_669_450));
        assert_eq!(read("999999999.999999999", false, true), None);
    }

    #[test]
    fn dates_and_times_are_read_as_devices_write_them() {
        assert_eq!(day_month_year(b"201126"), Some((2026, 11, 20)));
        assert_eq!(day_month_year(b"060180"), Some((1980, 1, 6)));
        assert_eq!(day_month_year(b"20112"), None);
        assert_eq!(day_month_year(b"2O1126"), None);
        assert_eq!(hour_minute_second(b"090501"), Some(((9, 5, 1), 0)));
        assert_eq!(hour_minute_second(b"090501."), Some(((9, 5, 1), 0)));
        assert_eq!(
            hour_minute_second(b"090501.7349999"),
            Some(((9, 5, 1), 734))
        );
        assert_eq!(hour_minute_second(b"090501.5"), Some(((9, 5, 1), 500)));
        assert_eq!(hour_minute_second(b"090501,5"), None);
        assert_eq!(hour_minute_second(b"0905"), None);
    }
}
