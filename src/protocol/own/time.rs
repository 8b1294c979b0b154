//! How a device writes times.

use std::{ops::Range, str::FromStr};

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
    Signs(Signs),
}

/// Signs of `strptime` that are enough to tell a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signs {
    text: String,
    runs: Vec<Run>,
}

/// Signs of numbers side by side. Each takes as many digits as it may: if one is missing, those after it
/// are another time, which nothing tells but their count.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    /// Where they stand among the signs.
    signs: Range<usize>,
    /// Digits of them all.
    n_digits: usize,
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
                Ok(Self::Signs(Signs {
                    text: signs.to_owned(),
                    runs: runs(signs),
                }))
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
            Self::Signs(signs) => signs.read(text),
        }
    }
}

impl Signs {
    fn read(&self, text: &[u8]) -> Option<UnixMillis> {
        let mut parts = BrokenDownTime::parse(&self.text, text).ok()?;
        let time = timestamp_of(&mut parts).ok()?;
        let are_whole = self.runs.iter().all(|run| self.is_whole(run, text));
        are_whole.then_some(time)
    }

    /// Whether no digit of the run is missing in `text`, in which all signs were found.
    fn is_whole(&self, run: &Run, text: &[u8]) -> bool {
        let start = self.end_of(run.signs.start, text);
        let end = self.end_of(run.signs.end, text);
        let found = start.zip(end).and_then(|(start, end)| text.get(start..end));
        let Some(found) = found else {
            return false;
        };
        // A day and a time of day that came apart have a space between them.
        let mut found = found.iter().filter(|byte| !byte.is_ascii_whitespace());
        found.clone().count() == run.n_digits && found.all(u8::is_ascii_digit)
    }

    /// Where in `text` the first bytes of the signs end.
    fn end_of(&self, n_sign_bytes: usize, text: &[u8]) -> Option<usize> {
        match n_sign_bytes {
            0 => Some(0),
            all if all == self.text.len() => Some(text.len()),
            some => {
                let signs = self.text.get(..some)?;
                let (_, end) = BrokenDownTime::parse_prefix(signs, text).ok()?;
                Some(end)
            }
        }
    }
}

/// The places where two or more numbers stand side by side, each with as many digits as always.
fn runs(signs: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let (mut at, mut n_numbers, mut n_digits, mut start) = (0, 0, 0, 0);
    while let Some(rest) = signs.get(at..) {
        let (n_bytes, width) = first_sign(rest);
        if let Some(width) = width {
            start = if n_numbers == 0 { at } else { start };
            n_numbers += 1;
            n_digits += width;
        } else {
            if n_numbers > 1 {
                let signs = start..at;
                runs.push(Run { signs, n_digits });
            }
            (n_numbers, n_digits) = (0, 0);
        }
        if n_bytes == 0 {
            break;
        }
        at += n_bytes;
    }
    runs
}

/// The length of the first sign or letter, and how many digits it stands for if these are always as
/// many: not where they may be fewer (`%-d`), filled up with spaces (`%e`), or any number (`%s`, `%f`).
fn first_sign(signs: &str) -> (usize, Option<usize>) {
    let Some(rest) = signs.strip_prefix('%') else {
        return (signs.chars().next().map_or(0, char::len_utf8), None);
    };
    let is_filled = !rest.starts_with(['-', '_']);
    let rest = rest.strip_prefix(['-', '_', '0', '^', '#']).unwrap_or(rest);
    let sign = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let said = rest.strip_suffix(sign).and_then(|width| width.parse().ok());
    let sign = sign.trim_start_matches(':').chars().next();
    let usual = match sign {
        Some('Y' | 'G') => Some(4),
        Some('j') => Some(3),
        Some('C' | 'y' | 'g' | 'm' | 'd' | 'H' | 'I' | 'M' | 'S' | 'U' | 'V' | 'W') => Some(2),
        Some('u' | 'w') => Some(1),
        Some('f') => said,
        _ => None,
    };
    let n_after = sign.map_or(0, |sign| {
        rest.find(sign).map_or(0, |idx| idx + sign.len_utf8())
    });
    let n_bytes = signs.len() - rest.len() + n_after;
    let width = usual.map(|usual| said.unwrap_or_default().max(usual));
    (n_bytes, width.filter(|_| is_filled))
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
    fn a_missing_digit_makes_no_other_time() {
        let expected = Some("2026-11-20T09:05:01.000Z");
        let glued = "%Y%m%d%H%M%S";
        check(glued, "2026112010501", None);
        check(glued, "202611209051", None);
        check(glued, "2026112090501", None);
        check(glued, "+2026112090501", None);
        check(glued, "20261120 090501", expected);
        check("%d%m%y %H%M%S", "201126 90501", None);
        check("%d%m%y %H%M%S", "20126 090501", None);
        check("%d%m%yT%H%M%S", "201126T090501", expected);
        check("%d%m%yT%H%M%S.%f", "201126T90501.5", None);
        check("%F %H%M%S", "2026-11-20 90501", None);
        check("%y%j%H%M", "26324905", None);
        check("%y%j%H%M", "263240905", Some("2026-11-20T09:05:00.000Z"));
        let millis = Some("2026-11-20T09:05:01.734Z");
        check("%Y%m%d%H%M%S%3f", "20261120090501734", millis);
        check("%Y%m%d%H%M%S%3f", "2026112009050173", None);
        check("%Y%m%d%H%M%S%f", "202611200905017349", millis);
        check("%Y%m%d%H%M%S%.f", "20261120090501.734", millis);
        check("%Y%m%d%H%M%S%.f", "2026112090501.734", None);
        check("%Y%m%d%H%M%S%z", "20261120120501+0300", expected);
        check("%Y%m%d%H%M%S%z", "2026112012051+0300", None);
    }

    #[test]
    fn numbers_that_stand_apart_or_say_so_may_be_short() {
        let expected = Some("2026-01-02T03:04:05.000Z");
        check("%Y-%m-%d %H:%M:%S", "2026-1-2 3:4:5", expected);
        check("%d/%m/%y %H:%M:%S", "2/1/26 3:4:5", expected);
        check("%e %m %Y %k:%M:%S", " 2 01 2026  3:04:05", expected);
        check("%-d.%-m.%Y %T", "2.1.2026 03:04:05", expected);
        check("%s", "5", Some("1970-01-01T00:00:05.000Z"));
    }

    #[test]
    fn what_stands_side_by_side_is_found() {
        let cases = [
            ("%Y%m%d%H%M%S", vec![("%Y%m%d%H%M%S", 14)]),
            ("%d%m%y %H%M%S", vec![("%d%m%y", 6), ("%H%M%S", 6)]),
            ("é%H%M", vec![("%H%M", 4)]),
            ("%Y-%m-%d %H:%M", vec![]),
            ("%H%%%M", vec![]),
            ("%-d%-m%Y", vec![]),
            ("%H%M%S%3f", vec![("%H%M%S%3f", 9)]),
            ("%H%M%S%.3f", vec![("%H%M%S", 6)]),
            ("%05Y%m", vec![("%05Y%m", 7)]),
        ];
        for (signs, expected) in cases {
            let found = runs(signs).into_iter();
            let found = found.map(|run| (signs.get(run.signs).unwrap(), run.n_digits));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{signs}");
        }
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
