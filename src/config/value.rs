//! Reads single values: text, switch, number, duration, size, choice, list; and writes them back.
//!
//! A reader takes a TOML value as it was found and gives a typed one or a complaint. What to do
//! about it is said by the key's entry in [`super::schema`]. Addresses have [`super::address`].

use std::{ops::RangeInclusive, time::Duration};

use jiff::{
    SpanRelativeTo,
    fmt::friendly::{SpanParser, SpanPrinter},
};
use toml::{Spanned, de::DeValue};

/// Longest name of a node or a cluster in bytes; two of them fit into a beacon.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Units of sizes, larger ones first; the binary ones before the decimal ones.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

/// A value as it was found, with its place in the text.
pub(super) type Found<'a> = Spanned<DeValue<'a>>;

/// What is wrong with a value, and which part of it where that is not the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) problem: String,
    pub(super) part: Option<std::ops::Range<usize>>,
}

impl Complaint {
    /// About the whole value.
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            part: None,
        }
    }

    fn wrong_type(expected: &str, found: &Found<'_>) -> Self {
        let found = match found.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        Self::new(format!("expected {expected}, found {found}"))
    }
}

/// A value in back quotes, with control characters made visible.
pub(super) fn quoted(text: &str) -> String {
    format!(
        "`{}`",
        text.escape_debug().to_string().replace("\\\"", "\"")
    )
}

/// Any text.
pub(super) fn text<'a>(found: &'a Found<'_>) -> Result<&'a str, Complaint> {
    found
        .get_ref()
        .as_str()
        .ok_or_else(|| Complaint::wrong_type("text", found))
}

/// Text that is not empty.
pub(super) fn some_text<'a>(found: &'a Found<'_>) -> Result<&'a str, Complaint> {
    match text(found)? {
        "" => Err(Complaint::new("is empty")),
        text => Ok(text),
    }
}

/// The name of a node or a cluster.
pub(super) fn name(found: &Found<'_>) -> Result<String, Complaint> {
    let text = some_text(found)?;
    if text.len() > NAME_BYTES_MAX {
        let problem = format!(
            "a name of {} bytes is over the {NAME_BYTES_MAX} limit",
            text.len()
        );
        return Err(Complaint::new(problem));
    }
    let is_separator = |letter: char| matches!(letter, '/' | '@' | '"' | '\\');
    let mut letters = text.chars();
    if letters.any(|letter| letter.is_control() || letter.is_whitespace() || is_separator(letter)) {
        return Err(Complaint::new(format!(
            "{} holds a character that no name may have",
            quoted(text)
        )));
    }
    Ok(text.to_owned())
}

/// True or false.
pub(super) fn switch(found: &Found<'_>) -> Result<bool, Complaint> {
    found
        .get_ref()
        .as_bool()
        .ok_or_else(|| Complaint::wrong_type("true or false", found))
}

/// A whole number in `range`.
pub(super) fn number<N: TryFrom<u64>>(
    found: &Found<'_>,
    range: RangeInclusive<u64>,
) -> Result<N, Complaint> {
    let Some(integer) = found.get_ref().as_integer() else {
        return Err(Complaint::wrong_type("a whole number", found));
    };
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    in_range(number, &range).ok_or_else(|| {
        let (low, high) = range.into_inner();
        Complaint::new(format!("{integer} is not within {low} to {high}"))
    })
}

/// A number of bytes in `range`: a number, or a text such as `64 KiB`.
pub(super) fn size<N: TryFrom<u64>>(
    found: &Found<'_>,
    range: RangeInclusive<u64>,
) -> Result<N, Complaint> {
    let (bytes, shown) = match found.get_ref() {
        DeValue::Integer(integer) => {
            let bytes = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
            (bytes, integer.to_string())
        }
        DeValue::String(text) => {
            let bytes = parse_size(text)
                .ok_or_else(|| Complaint::new(format!("{} is no size", quoted(text))))?;
            (Some(bytes), quoted(text))
        }
        _ => return Err(Complaint::wrong_type("a size", found)),
    };
    in_range(bytes, &range).ok_or_else(|| {
        let (low, high) = range.into_inner();
        let (low, high) = (shown_size(low), shown_size(high));
        Complaint::new(format!("{shown} is not within {low} to {high}"))
    })
}

/// A duration in `range`: a number of seconds, or a text such as `1m 30s` or `90 days`; a day has 24
/// hours.
pub(super) fn duration(
    found: &Found<'_>,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Complaint> {
    let (duration, shown) = match found.get_ref() {
        DeValue::Integer(integer) => {
            let seconds = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
            (seconds.map(Duration::from_secs), integer.to_string())
        }
        DeValue::Float(float) => {
            let seconds = float.as_str().parse().ok();
            let duration = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            (duration, float.as_str().to_owned())
        }
        DeValue::String(text) => {
            let duration = parse_duration(text)
                .ok_or_else(|| Complaint::new(format!("{} is no duration", quoted(text))))?;
            (Some(duration), quoted(text))
        }
        _ => return Err(Complaint::wrong_type("a duration", found)),
    };
    duration
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| {
            let (low, high) = range.into_inner();
            let (low, high) = (shown_duration(low), shown_duration(high));
            Complaint::new(format!("{shown} is not within {low} to {high}"))
        })
}

/// One of several words.
pub(super) fn choice<T: Copy>(found: &Found<'_>, choices: &[(&str, T)]) -> Result<T, Complaint> {
    let word = text(found)?;
    choices
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let problem = format!("{} is none of {}", quoted(word), names.join(", "));
            Complaint::new(problem)
        })
}

/// The word of a choice.
pub(super) fn word_of<T: PartialEq>(meaning: &T, choices: &[(&'static str, T)]) -> &'static str {
    choices
        .iter()
        .find(|(_, candidate)| candidate == meaning)
        .map_or("", |(word, _)| word)
}

/// A list, each item by `read`; what is there twice counts once.
pub(super) fn list<T: PartialEq>(
    found: &Found<'_>,
    read: impl Fn(&Found<'_>) -> Result<T, Complaint>,
) -> Result<Vec<T>, Complaint> {
    let Some(items) = found.get_ref().as_array() else {
        return Err(Complaint::wrong_type("a list", found));
    };
    let mut taken = Vec::new();
    for item in items.iter() {
        let value = read(item).map_err(|complaint| Complaint {
            part: complaint.part.or_else(|| Some(item.span())),
            ..complaint
        })?;
        if !taken.contains(&value) {
            taken.push(value);
        }
    }
    Ok(taken)
}

/// A text as TOML.
pub(super) fn show(text: impl ToString) -> Option<toml::Value> {
    Some(toml::Value::String(text.to_string()))
}

/// A number as TOML; the largest that TOML knows instead of a larger one.
pub(super) fn show_number(number: impl TryInto<i64>) -> Option<toml::Value> {
    Some(toml::Value::Integer(number.try_into().unwrap_or(i64::MAX)))
}

/// A switch as TOML.
pub(super) const fn show_switch(is_on: bool) -> Option<toml::Value> {
    Some(toml::Value::Boolean(is_on))
}

/// A number of bytes as TOML.
pub(super) fn show_size(bytes: impl Into<u64>) -> Option<toml::Value> {
    show(shown_size(bytes.into()))
}

/// A duration as TOML.
pub(super) fn show_duration(duration: Duration) -> Option<toml::Value> {
    show(shown_duration(duration))
}

/// A list of texts as TOML.
pub(super) fn show_list(items: impl IntoIterator<Item = impl ToString>) -> Option<toml::Value> {
    let items = items
        .into_iter()
        .map(|item| toml::Value::String(item.to_string()));
    Some(toml::Value::Array(items.collect()))
}

fn in_range<N: TryFrom<u64>>(number: Option<u64>, range: &RangeInclusive<u64>) -> Option<N> {
    let number = number.filter(|number| range.contains(number))?;
    N::try_from(number).ok()
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = SIZE_UNITS.iter().find_map(|(unit, bytes)| {
        let count = text.strip_suffix(unit)?;
        Some((count, *bytes))
    });
    let (count, bytes) = unit.unwrap_or_else(|| (text.strip_suffix('B').unwrap_or(text), 1));
    count.trim_end().parse::<u64>().ok()?.checked_mul(bytes)
}

fn shown_size(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .find(|(_, unit_bytes)| bytes != 0 && bytes.is_multiple_of(*unit_bytes))
        .map_or_else(
            || format!("{bytes} B"),
            |(unit, unit_bytes)| format!("{} {unit}", bytes / unit_bytes),
        )
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let parser = SpanParser::new();
    parser.parse_unsigned_duration(text).ok().or_else(|| {
        let day = SpanRelativeTo::days_are_24_hours();
        let duration = parser.parse_span(text).ok()?.to_duration(day).ok()?;
        Duration::try_from(duration).ok()
    })
}

fn shown_duration(duration: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(toml: &str) -> Found<'_> {
        DeValue::parse(toml).unwrap()
    }

    #[test]
    fn durations_are_texts_or_seconds() {
        let cases = [
            ("'1m 30s'", 90_000),
            ("'250ms'", 250),
            ("'1h'", 3_600_000),
            ("'0'", 0),
            ("'90'", 90_000),
            ("0", 0),
            ("10", 10_000),
            ("0.25", 250),
            ("'0 days'", 0),
        ];
        let range = Duration::ZERO..=Duration::from_secs(3600);
        for (toml, millis) in cases {
            let read = duration(&found(toml), range.clone());
            assert_eq!(read, Ok(Duration::from_millis(millis)), "{toml}");
        }
        for toml in [
            "'soon'", "''", "-1", "'-1s'", "-0.5", "nan", "'2h'", "true", "3601", "'1 day'",
        ] {
            assert!(duration(&found(toml), range.clone()).is_err(), "{toml}");
        }
    }

    #[test]
    fn a_day_has_24_hours_and_a_month_no_length() {
        let cases = [
            ("'90 days'", 2_160),
            ("'90d'", 2_160),
            ("'1w 2d 3h'", 219),
            ("'2160h'", 2_160),
        ];
        for (toml, hours) in cases {
            let read = duration(&found(toml), Duration::ZERO..=Duration::MAX);
            assert_eq!(read, Ok(Duration::from_secs(hours * 3_600)), "{toml}");
        }
        for toml in ["'3 months'", "'1 year'", "'-90 days'", "'90 days ago'"] {
            let read = duration(&found(toml), Duration::ZERO..=Duration::MAX);
            assert!(read.is_err(), "{toml}");
        }
    }

    #[test]
    fn sizes_are_texts_or_bytes() {
        let cases = [
            ("'64 KiB'", 65_536),
            ("'64KiB'", 65_536),
            ("'1 MB'", 1_000_000),
            ("'7 B'", 7),
            ("'7'", 7),
            ("1_024", 1_024),
            ("0x10", 16),
        ];
        for (toml, bytes) in cases {
            assert_eq!(size(&found(toml), 0..=1 << 40), Ok(bytes as u64), "{toml}");
        }
        for toml in [
            "'KiB'",
            "'64 kib'",
            "'-1'",
            "-1",
            "'99999999999 TiB'",
            "1.5",
            "'2 TiB'",
        ] {
            assert!(size::<u64>(&found(toml), 0..=1 << 40).is_err(), "{toml}");
        }
    }

    #[test]
    fn sizes_and_durations_are_shown_as_they_are_read() {
        for bytes in [0, 1, 1_023, 1_024, 1_000_000, 65_536, 256 << 20, 8 << 30] {
            assert_eq!(parse_size(&shown_size(bytes)), Some(bytes));
        }
        for millis in [0, 1, 250, 10_000, 90_000, 3_600_000, 3_601_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&shown_duration(duration)), Some(duration));
        }
        assert_eq!(shown_size(64 << 20), "64 MiB");
        assert_eq!(shown_duration(Duration::from_secs(90)), "1m 30s");
    }

    #[test]
    fn numbers_keep_to_their_range_and_type() {
        assert_eq!(number::<u8>(&found("7"), 0..=255), Ok(7));
        let problem = number::<u8>(&found("256"), 0..=255).unwrap_err().problem;
        assert_eq!(problem, "256 is not within 0 to 255");
        let problem = number::<u8>(&found("'7'"), 0..=255).unwrap_err().problem;
        assert_eq!(problem, "expected a whole number, found text");
    }

    #[test]
    fn a_name_holds_no_separator_and_no_space() {
        assert_eq!(name(&found("'gate-1.example'")).unwrap(), "gate-1.example");
        for toml in ["''", "'a b'", "'a/b'", "'a@b'", "\"a\\u0000\"", "5"] {
            assert!(name(&found(toml)).is_err(), "{toml}");
        }
        let long = format!("'{}'", "a".repeat(65));
        assert!(name(&found(&long)).is_err());
    }

    #[test]
    fn a_complaint_about_an_item_points_at_the_item() {
        let complaint = list(&found("['a', 5]"), |item| text(item).map(str::to_owned));
        assert_eq!(complaint.unwrap_err().part, Some(6..7));
    }
}
