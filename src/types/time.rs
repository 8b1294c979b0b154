//! Wall time as a value: milliseconds since 1970 in UTC, printed and read as RFC 3339.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

/// A year and a month of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// The year, for example 2026.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
}

/// Milliseconds of a day.
pub const DAY_MILLIS: i64 = 86_400_000;

impl UnixMillis {
    /// The time that stands in a device's date and time fields (UTC); `None` if there is no such
    /// day or time of day. `date` is (year, month, day), `time` (hour, minute, second).
    pub fn from_civil(date: (i16, i8, i8), time: (i8, i8, i8), millis: u16) -> Option<Self> {
        let (hour, minute, second) = time;
        let is_time = matches!((hour, minute, second), (0..24, 0..60, 0..60)) && millis < 1_000;
        let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
        let millis_of_day = seconds * 1_000 + i64::from(millis);
        let midnight = Self::midnight(date)?;
        is_time.then_some(Self(midnight.0 + millis_of_day))
    }

    /// The first instant of a day (year, month, day) in UTC; `None` if there is no such day.
    #[inline]
    pub const fn midnight((year, month, day): (i16, i8, i8)) -> Option<Self> {
        match days_of(year, month) {
            Some(days) if day >= 1 && day <= days => {
                Some(Self(days_since_1970(year, month, day) * DAY_MILLIS))
            }
            _ => None,
        }
    }

    /// Reads RFC 3339 with any offset, for example `2026-11-20T09:05:01Z`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<Timestamp>()
            .ok()
            .map(|timestamp| Self(timestamp.as_millisecond()))
    }

    /// The month this time falls into; the nearest month a calendar has for absurd times.
    pub fn month(self) -> Month {
        let civil = TimeZone::UTC.to_datetime(self.to_timestamp());
        Month {
            year: civil.year(),
            month: civil.month(),
        }
    }

    /// The civil date and time of day in UTC.
    pub fn to_civil(self) -> DateTime {
        TimeZone::UTC.to_datetime(self.to_timestamp())
    }

    fn to_timestamp(self) -> Timestamp {
        Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

/// Days of a month of the Gregorian calendar; `None` if there is no such month.
const fn days_of(year: i16, month: i8) -> Option<i8> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => Some(29),
        2 => Some(28),
        4 | 6 | 9 | 11 => Some(30),
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        _ => None,
    }
}

/// Days from 1970-01-01 to a day that is one, by years that begin in March, so that the day which
/// a year may lack is its last. Counted from a March so long ago that nothing is negative: of 82
/// times 400 years, each of 146,097 days.
const fn days_since_1970(year: i16, month: i8, day: i8) -> i64 {
    const START_YEAR: i32 = -82 * 400;
    const START_DAYS: i64 = 82 * 146_097 + 719_468;
    let (year, month, day) = (year as i32, month as i32, day as i64);
    let (year, month) = if month > 2 {
        (year - START_YEAR, month - 3)
    } else {
        (year - START_YEAR - 1, month + 9)
    };
    let (years, months) = (year.cast_unsigned(), month.cast_unsigned());
    let centuries = years / 100;
    let n_leap_days = years / 4 - centuries + centuries / 4;
    let n_days = years * 365 + n_leap_days + (153 * months + 2) / 5;
    n_days as i64 + day - 1 - START_DAYS
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 in UTC with milliseconds: `2026-11-20T09:05:01.000Z`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3}", self.to_timestamp())
    }
}

impl Month {
    /// Reads `2026-11`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.rsplit_once('-')?;
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        (1..=12).contains(&month).then_some(Self { year, month })
    }

    /// First instant of the month.
    pub fn start(self) -> UnixMillis {
        UnixMillis::from_civil((self.year, self.month, 1), (0, 0, 0), 0).unwrap_or_default()
    }

    /// The month after.
    pub const fn next(self) -> Self {
        match self.month {
            12 => Self {
                year: self.year.saturating_add(1),
                month: 1,
            },
            month => Self {
                year: self.year,
                month: month + 1,
            },
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn a_time_prints_with_milliseconds_and_reads_back() {
        let time = UnixMillis::from_civil((2026, 11, 20), (9, 5, 1), 734).unwrap();
        assert_eq!(time.to_string(), "2026-11-20T09:05:01.734Z");
        assert_eq!(
            UnixMillis::parse("2026-11-20T10:05:01.734+01:00"),
            Some(time)
        );
        assert_eq!(UnixMillis::from_civil((2026, 2, 30), (0, 0, 0), 0), None);
        assert_eq!(UnixMillis::parse("yesterday"), None);
        assert_eq!(UnixMillis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let first = DateTime::new(1890, 1, 1, 23, 59, 58, 0).unwrap();
        let mut n_days = 0;
        for civil in first
            .series(1.day())
            .take_while(|civil| civil.year() < 2110)
        {
            let timestamp = TimeZone::UTC.to_timestamp(civil).unwrap();
            let date = (civil.year(), civil.month(), civil.day());
            let time = UnixMillis::from_civil(date, (23, 59, 58), 7);
            assert_eq!(time, Some(UnixMillis(timestamp.as_millisecond() + 7)));
            n_days += 1;
        }
        assert!(n_days > 80_000);
        for none in [
            (2023, 2, 29),
            (1900, 2, 29),
            (2024, 4, 31),
            (2024, 0, 1),
            (2024, 1, 0),
            (2024, 13, 1),
        ] {
            assert_eq!(UnixMillis::from_civil(none, (0, 0, 0), 0), None, "{none:?}");
        }
        for none in [(24, 0, 0), (0, 60, 0), (0, 0, 60), (-1, 0, 0)] {
            assert_eq!(
                UnixMillis::from_civil((2024, 1, 1), none, 0),
                None,
                "{none:?}"
            );
        }
    }

    #[test]
    fn months_follow_each_other() {
        let time = UnixMillis::from_civil((2026, 12, 31), (23, 59, 59), 999).unwrap();
        assert_eq!(time.month().to_string(), "2026-12");
        assert_eq!(
            time.month().next(),
            Month {
                year: 2027,
                month: 1
            }
        );
        assert_eq!(time.month().next().start(), UnixMillis(time.0 + 1));
        assert_eq!(Month::parse("2026-12"), Some(time.month()));
        assert_eq!(Month::parse("2026-13"), None);
    }
}
