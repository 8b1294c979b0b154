//! The checks that every protocol shares: from what a line says to a record with its key.
//!
//! A decoder reads its fields, partly by the functions here, and hands them over as a [`Moment`], a
//! [`Fix`] and a [`Draft`]; here they are held against what can be on earth. What a decoder takes for
//! wrong and what it merely leaves out is its own affair: it asks [`speed`] and [`course`] first
//! where a line is right without them. This file must not know any protocol.
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

/// 100 and 60 in billionths.
const HUNDRED: u64 = 100_000_000_000;
const SIXTY: u64 = 60_000_000_000;

/// Year, month and day.
pub type Date = (i16, i8, i8);

/// When a record was: what the device says as far as it can be taken, else the time of reception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    time: UnixMillis,
    received: UnixMillis,
    /// What follows from the two times.
    flags: Flags,
}

impl Moment {
    /// The moment of a line that was read at `received` and says that it is of `said`.
    ///
    /// # Errors
    /// `TimeImpossible` for a time before [`EARLIEST`].
    pub fn new(said: Option<UnixMillis>, received: UnixMillis) -> Result<Self, RejectReason> {
        let (time, flags) = match said {
            Some(time) if time < EARLIEST => return Err(RejectReason::TimeImpossible),
            Some(time) if time.0 > received.0.saturating_add(DAY_MILLIS) => (time, Flags::FUTURE),
            Some(time) => (time, Flags::default()),
            None => return Ok(Self::of_reception(received)),
        };
        Ok(Self {
            time,
            received,
            flags,
        })
    }

    /// The moment of a line that has no time of its own.
    pub const fn of_reception(received: UnixMillis) -> Self {
        Self {
            time: received,
            received,
            flags: Flags::TIME_FROM_SERVER,
        }
    }

    /// The time of the record.
    pub const fn time(&self) -> UnixMillis {
        self.time
    }
}

/// What a line says besides the fix.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Who reported.
    pub vehicle: VehicleId,
    /// The language of the line.
    pub protocol: ProtocolName,
    /// When it was.
    pub moment: Moment,
    /// What the line says about how it came; those that follow from the time are added.
    pub flags: Flags,
    /// The device's code for what happened; empty if none.
    pub code: Cow<'static, str>,
    /// What the device reports besides.
    pub attributes: Attributes,
}

impl Draft {
    /// The position record of this draft and `fix`.
    ///
    /// # Errors
    /// Those of [`possible`].
    pub fn position(self, fix: Fix) -> Result<Record, RejectReason> {
        let fix = possible(fix)?;
        Ok(self.merged(&fix, fix))
    }

    /// The position record of a fix that several lines gave, whose key covers what one of them
    /// `reported`. Both must be [`possible`].
    #[inline]
    pub fn merged(self, reported: &Fix, fix: Fix) -> Record {
        let hash = position_hash(reported, &self.code);
        self.record(hash, Body::Position(fix))
    }

    /// The event record of this draft.
    pub fn event(self) -> Record {
        let hash = event_hash(&self.code, &self.attributes);
        self.record(hash, Body::Event)
    }

    /// The record of this draft, whose key has `hash`: for who makes so many that it is to be known
    /// before the draft is, so that all of it is written where it stays.
    #[inline]
    pub(super) fn record(self, hash: u64, body: Body) -> Record {
        Record {
            key: RecordKey {
                vehicle: self.vehicle,
                time: self.moment.time,
                hash,
            },
            received: self.moment.received,
            protocol: self.protocol,
            flags: self.flags.with(self.moment.flags),
            code: self.code,
            attributes: self.attributes,
            raw: None,
            body,
        }
    }
}

/// `fix` if it can be on earth, with north as 0.
///
/// # Errors
/// `CoordinatesImpossible`, or `ValueImpossible` for speed and course.
#[inline]
pub fn possible(fix: Fix) -> Result<Fix, RejectReason> {
    let is_on_earth = fix.latitude.as_e7().unsigned_abs() <= LATITUDE_E7_MAX.unsigned_abs()
        && fix.longitude.as_e7().unsigned_abs() <= LONGITUDE_E7_MAX.unsigned_abs();
    if !is_on_earth {
        return Err(RejectReason::CoordinatesImpossible);
    }
    let checked = |quantity: Option<Milli>, check: fn(Milli) -> Option<Milli>| {
        quantity
            .map(|quantity| check(quantity).ok_or(RejectReason::ValueImpossible))
            .transpose()
    };
    Ok(Fix {
        speed_kmh: checked(fix.speed_kmh, speed)?,
        course_deg: checked(fix.course_deg, course)?,
        ..fix
    })
}

/// A speed, if it is one.
pub fn speed(speed: Milli) -> Option<Milli> {
    Some(speed).filter(|speed| *speed >= Milli::default())
}

/// A course from 0 up to 360 degrees, where 360 itself is 0, if it is one.
pub fn course(course: Milli) -> Option<Milli> {
    match course.as_thousandths() {
        COURSE_MILLI_MAX => Some(Milli::default()),
        0..COURSE_MILLI_MAX => Some(course),
        _ => None,
    }
}

/// The latitude `ddmm.mmmm` on the side `N` or `S`; see [`degrees_and_minutes`].
pub fn latitude(value: &[u8], side: &[u8], carries_minutes: bool) -> Option<Degrees> {
    degrees_and_minutes(Decimal::parse(value)?, is_south(side)?, carries_minutes)
}

/// The longitude `dddmm.mmmm` on the side `E` or `W`; see [`degrees_and_minutes`].
pub fn longitude(value: &[u8], side: &[u8], carries_minutes: bool) -> Option<Degrees> {
    degrees_and_minutes(Decimal::parse(value)?, is_west(side)?, carries_minutes)
}

/// Whether a latitude's side is the south; `None` if it is none.
pub const fn is_south(side: &[u8]) -> Option<bool> {
    match side {
        b"N" => Some(false),
        b"S" => Some(true),
        _ => None,
    }
}

/// Whether a longitude's side is the west; `None` if it is none.
pub const fn is_west(side: &[u8]) -> Option<bool> {
    match side {
        b"E" => Some(false),
        b"W" => Some(true),
        _ => None,
    }
}

/// Degrees from the form `degrees * 100 + minutes`, for example `5544.6025`; negative to the south
/// and west.
///
/// `None` for a value that is negative itself, or over 180 degrees, or of 60 minutes and more;
/// these are carried over into the degrees if `carries_minutes` is set.
#[inline]
pub fn degrees_and_minutes(
    value: Decimal,
    is_negative: bool,
    carries_minutes: bool,
) -> Option<Degrees> {
    // In billionths, below 1e18; the units are constant, so that no division is by a variable.
    let value = u64::try_from(value.as_billionths()).ok()?;
    let (degrees, minutes) = (value / HUNDRED, value % HUNDRED);
    if minutes >= SIXTY && !carries_minutes {
        return None;
    }
    // A sixtieth of a degree in billionths is 6,000 times as many in 1e-7.
    let fraction_e7 = (minutes + 3_000) / 6_000;
    degrees_of_e7(degrees * 10_000_000 + fraction_e7, is_negative)
}

/// So many 1e-7 degrees; `None` if they are over 180.
#[inline]
pub(super) fn degrees_of_e7(degrees_e7: u64, is_negative: bool) -> Option<Degrees> {
    let degrees_e7 = i32::try_from(degrees_e7).ok()?;
    (degrees_e7 <= LONGITUDE_E7_MAX)
        .then(|| Degrees::from_e7(if is_negative { -degrees_e7 } else { degrees_e7 }))
}

/// The time of a `date` and a `clock`, see [`time_of_day`], in UTC. `None` if there is no such day or
/// time of day.
pub fn time_on(date: Date, clock: &[u8]) -> Option<UnixMillis> {
    moment_on(date, time_of_day(clock)?)
}

/// The time of a `date` and so many milliseconds since midnight. `None` if there is no such day.
#[inline]
pub(super) fn moment_on(date: Date, time_of_day: i64) -> Option<UnixMillis> {
    let midnight = UnixMillis::midnight(date)?;
    Some(UnixMillis(midnight.0 + time_of_day))
}

/// Milliseconds since midnight of `HHMMSS` with any number of decimals; what is below a millisecond
/// is cut off. `None` if there is no such time of day; a leap second is none.
pub fn time_of_day(clock: &[u8]) -> Option<i64> {
    let (whole, decimals) = clock.split_at_checked(6)?;
    let decimals = match decimals {
        [] => decimals,
        [b'.', decimals @ ..] => decimals,
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis: i64 = decimals
        .iter()
        .zip([100, 10, 1])
        .map(|(digit, weight)| i64::from(digit - b'0') * weight)
        .sum();
    Some(seconds_of_day(pairs(whole)?)? * 1_000 + millis)
}

/// Seconds since midnight of hour, minute and second; `None` if there is no such time of day.
#[inline]
pub(super) fn seconds_of_day(clock: [i8; 3]) -> Option<i64> {
    let [hour @ 0..24, minute @ 0..60, second @ 0..60] = clock.map(i64::from) else {
        return None;
    };
    Some((hour * 60 + minute) * 60 + second)
}

/// Year, month and day from `DDMMYY`.
///
/// Two digits from 70 on are a year of the last century: devices whose clock was never set begin
/// in 1970 or 1980, and must not pass for devices of the year 2080.
pub fn day_month_year(text: &[u8]) -> Option<Date> {
    let [day, month, year] = pairs(text)?;
    Some(with_century(day, month, year))
}

/// As [`day_month_year`].
#[inline]
pub(super) fn with_century(day: i8, month: i8, year: i8) -> Date {
    let century = if year < 70 { 2_000 } else { 1_900 };
    (century + i16::from(year), month, day)
}

/// `N` numbers of two digits each, and nothing else.
pub fn pairs<const N: usize>(text: &[u8]) -> Option<[i8; N]> {
    let mut numbers = [0; N];
    if text.len() != 2 * N || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for (number, two) in numbers.iter_mut().zip(text.chunks_exact(2)) {
        let value = two.iter().fold(0, |sum, digit| sum * 10 + (digit - b'0'));
        *number = i8::try_from(value).ok()?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(said: Option<UnixMillis>) -> Result<Draft, RejectReason> {
        Ok(Draft {
            vehicle: VehicleId::parse(b"bus-7").unwrap(),
            protocol: "test".into(),
            moment: Moment::new(said, NOW)?,
            flags: Flags::ARCHIVED,
            code: "".into(),
            attributes: Attributes::new(),
        })
    }

    const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

    #[track_caller]
    fn check_fix(change: impl FnOnce(&mut Fix), expected: Result<Fix, RejectReason>) {
        let mut fix = Fix::default();
        change(&mut fix);
        let made = draft(Some(NOW)).unwrap().position(fix);
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
        let flags = |time| draft(time).map(|draft| draft.event().flags);
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
        assert_eq!(draft(None).unwrap().event().key.time, NOW);
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
        let cases = [
            ("090501", Some("2026-11-20T09:05:01.000Z")),
            ("090501.", Some("2026-11-20T09:05:01.000Z")),
            ("090501.7349999", Some("2026-11-20T09:05:01.734Z")),
            ("235959.5", Some("2026-11-20T23:59:59.500Z")),
            ("090501,5", None),
            ("090501.x", None),
            ("0905", None),
            ("+90501", None),
            ("240000", None),
            ("126000", None),
            ("235960", None),
            ("", None),
        ];
        for (clock, expected) in cases {
            let time = time_on((2026, 11, 20), clock.as_bytes()).map(|time| time.to_string());
            assert_eq!(time.as_deref(), expected, "{clock}");
        }
        assert_eq!(time_on((2023, 2, 29), b"000000"), None);
    }

    #[test]
    fn a_side_belongs_to_its_axis() {
        let e7 = |degrees: Option<Degrees>| degrees.map(Degrees::as_e7);
        assert_eq!(e7(latitude(b"4807.038", b"S", false)), Some(-481_173_000));
        assert_eq!(e7(longitude(b"01131.000", b"W", false)), Some(-115_166_667));
        assert_eq!(e7(longitude(b"1353.52", b"E", false)), Some(138_920_000));
        for side in [&b"E"[..], b"", b"n", b"NN"] {
            assert_eq!(latitude(b"4807.038", side, false), None);
        }
        assert_eq!(longitude(b"4807.038", b"N", false), None);
        assert_eq!(latitude(b"", b"N", false), None);
    }
}
