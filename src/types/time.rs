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
        let nanos = i32::from(millis) * 1_000_000;
        let civil = DateTime::new(date.0, date.1, date.2, time.0, time.1, time.2, nanos).ok()?;
        let timestamp = TimeZone::UTC.to_timestamp(civil).ok()?;
        Some(Self(timestamp.as_millisecond()))
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
