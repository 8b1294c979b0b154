//! How a device writes times.

use std::str::FromStr;

use jiff::{
    Timestamp,
    fmt::strtime::{self, BrokenDownTime},
    tz::Offset,
};

use crate::types::time::UnixMillis;

/// A time of which every part differs from what stands for a part that is missing, in the evening,
/// so that a clock of twelve hours without `%p` is noticed: 2026-11-20T21:05:41.734Z.
const TRIAL: UnixMillis = UnixMillis(1_795_208_741_734);

/// A minute: formats without seconds are formats.
const MINUTE_MILLIS: i64 = 60_000;

/// A way to write times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// Seconds since 1970, with any number of decimals.
    Unix,
    /// Milliseconds since 1970.
    UnixMillis,
    /// As in `2026-11-20T09:05:01Z`.
    Rfc3339,
    /// In the signs of `strptime`; UTC where it does not say otherwise.
    Signs(String),
}

impl FromStr for TimeFormat {
    type Err = String;

    /// Takes a word or signs that are enough to tell a time.
    ///
    /// # Errors
    /// Says what is wrong with the signs.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unix" => Ok(Self::Unix),
            "unix_ms" => Ok(Self::UnixMillis),
            "rfc3339" => Ok(Self::Rfc3339),
            signs => {
                try_signs(signs)?;
                Ok(Self::Signs(signs.to_owned()))
            }
        }
    }
}

impl TimeFormat {
    /// The time that a device wrote; `None` if it is none. What is below a millisecond is cut off.
    pub(super) fn read(&self, text: &[u8]) -> Option<UnixMillis> {
        match self {
            Self::Unix => unix_seconds(text),
            Self::UnixMillis => whole(text).map(UnixMillis),
            Self::Rfc3339 => UnixMillis::parse(std::str::from_utf8(text).ok()?),
            Self::Signs(signs) => {
                let mut parts = BrokenDownTime::parse(signs, text).ok()?;
                timestamp_of(&mut parts).ok()
            }
        }
    }
}

/// Writes a time in `signs` and reads it again.
fn try_signs(signs: &str) -> Result<(), String> {
    let trial = Timestamp::from_millisecond(TRIAL.0).map_err(|error| error.to_string())?;
    let trial = Offset::UTC.to_datetime(trial);
    let zoned = trial
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_err(|error| error.to_string())?;
    let written = strtime::format(signs, &zoned).map_err(|error| error.to_string())?;
    let mut parts = BrokenDownTime::parse(signs, &written).map_err(|error| error.to_string())?;
    if parts.iana_time_zone().is_some() {
        return Err("names of time zones are not known here; `%z` is an offset".into());
    }
    let read = timestamp_of(&mut parts).map_err(|error| last_cause(&error.to_string()))?;
    if read.0.div_euclid(MINUTE_MILLIS) != TRIAL.0.div_euclid(MINUTE_MILLIS) {
        return Err("it does not say the time of day to the minute".into());
    }
    Ok(())
}

/// What is said behind the last colon: the causes before it are ours.
fn last_cause(causes: &str) -> String {
    causes.rsplit(": ").next().unwrap_or_default().to_owned()
}

fn timestamp_of(parts: &mut BrokenDownTime) -> Result<UnixMillis, jiff::Error> {
    if parts.offset().is_none() {
        parts.set_offset(Some(Offset::UTC));
    }
    let timestamp = parts.to_timestamp()?;
    Ok(UnixMillis(timestamp.as_millisecond()))
}

/// Milliseconds of `digits[.digits]` seconds.
fn unix_seconds(text: &[u8]) -> Option<UnixMillis> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = whole(parts.next()?)?;
    let decimals = parts.next().unwrap_or_default();
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let weighted = decimals.iter().zip([100, 10, 1]);
    let millis: i64 = weighted
        .map(|(digit, weight)| i64::from(digit - b'0') * weight)
        .sum();
    seconds
        .checked_mul(1_000)?
        .checked_add(millis)
        .map(UnixMillis)
}

/// A number without a sign: no device is older than 1970.
fn whole(text: &[u8]) -> Option<i64> {
    let is_number = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, text: &str, expected: Option<&str>) {
        let format: TimeFormat = format.parse().unwrap();
        let read = format.read(text.as_bytes()).map(|time| time.to_string());
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn times_are_utc_where_the_format_does_not_say_otherwise() {
        let expected = Some("2026-11-20T09:05:01.000Z");
        check("%Y%m%d%H%M%S", "20261120090501", expected);
        check("%d%m%y %H%M%S", "201126 090501", expected);
        check("%d/%m/%Y %I:%M:%S %p", "20/11/2026 09:05:01 AM", expected);
        check("%Y-%m-%dT%H:%M:%S%z", "2026-11-20T12:05:01+0300", expected);
        check("%FT%T%:z", "2026-11-20T12:05:01+03:00", expected);
        check("%s", "1795165501", expected);
        check("unix", "1795165501", expected);
        check("unix_ms", "1795165501000", expected);
        check("rfc3339", "2026-11-20T10:05:01+01:00", expected);
        check(
            "%F %H:%M",
            "2026-11-20 09:05",
            Some("2026-11-20T09:05:00.000Z"),
        );
    }

    #[test]
    fn decimals_of_a_second_are_cut_off_at_the_third() {
        let expected = Some("2026-11-20T09:05:01.734Z");
        check("%F %T%.f", "2026-11-20 09:05:01.7349", expected);
        check("unix", "1795165501.7349", expected);
        check("unix", "1795165501.5", Some("2026-11-20T09:05:01.500Z"));
        check("unix", "1795165501.", Some("2026-11-20T09:05:01.000Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        check("%Y%m%d%H%M%S", "20260230090501", None);
        check("%Y%m%d%H%M%S", "20261120240000", None);
        check("%Y%m%d%H%M%S", "20261120", None);
        check("%Y%m%d%H%M%S", "", None);
        for text in [
            "",
            "-1",
            "+1",
            "1e9",
            "99999999999999999999",
            "1.5x",
            "\u{661}",
        ] {
            check("unix", text, None);
            check("unix_ms", text, None);
        }
        check("rfc3339", "2026-11-20", None);
    }

    #[test]
    fn a_format_tells_day_and_time_of_day() {
        let cases = [
            ("", "year"),
            ("%H%M%S", "year"),
            ("%Y%m%d", "time of day"),
            ("%Y%m%d %H", "time of day"),
            ("%Y%m%d %I:%M", "time of day"),
            ("%Y%m%d %S", "hour"),
            ("%Y-%m-%d %H:%M:%S %Z", "time zone"),
            ("%Y-%m-%d %H:%M:%S %Q", "time zones are not known"),
            ("%Y-%m-%d %H:%M:%E", "E"),
            ("%Y-%m-%d %H:%M:%", "%"),
            ("YYYY-MM-DD", "year"),
            ("unixms", "year"),
        ];
        for (format, expected) in cases {
            let problem = format.parse::<TimeFormat>().unwrap_err();
            assert!(problem.contains(expected), "{format}: {problem}");
        }
    }
}
