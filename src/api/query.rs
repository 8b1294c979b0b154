//! Parameters of a question: the part of the URL after `?`, checked name by name.
//!
//! Nothing is guessed: an unknown name, a name given twice, an empty or impossible value is an
//! error that names the parameter and what it may be.

use std::borrow::Cow;

use axum::http::Uri;

use super::problem::Problem;
use crate::types::{ids::VehicleId, record::Kind, time::UnixMillis};

/// Items of a page where the asker does not say.
const LIMIT_DEFAULT: usize = 1_000;

/// Items of a page at most.
const LIMIT_MAX: usize = 10_000;

/// Longest name of a node in bytes.
const NODE_BYTES_MAX: usize = 64;

/// How much of a value an error repeats, in characters.
const SHOWN_CHARS: usize = 64;

/// The parameters of one question, each name at most once.
#[derive(Debug)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads the parameters of `uri`, of which `known` are allowed.
    pub(super) fn parse(uri: &Uri, known: &[&'static str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        let pairs = uri.query().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(unknown(&name, known));
            };
            if parameters.iter().any(|(present, _)| present == name) {
                return Err(Problem::bad_request(format!("'{name}' is given twice")));
            }
            parameters.push((name, decode(value)?));
        }
        Ok(Self(parameters))
    }

    /// Whether `name` is given, with whatever value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(present, _)| *present == name)
    }

    /// The value of `name`, which may not be empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let found = self.0.iter().find(|(present, _)| *present == name);
        match found.map(|(_, value)| value.as_str()) {
            Some("") => Err(Problem::bad_request(format!(
                "'{name}' is empty; give it a value or leave it out"
            ))),
            value => Ok(value),
        }
    }

    /// `name` alone or `name=true` is yes, its absence and `name=false` no.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let found = self.0.iter().find(|(present, _)| *present == name);
        match found.map(|(_, value)| value.as_str()) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(wrong(name, "'true' or 'false'", other)),
        }
    }

    /// `limit`: items of a page.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit")? else {
            return Ok(LIMIT_DEFAULT);
        };
        text.parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| {
                let rule = format!("a whole number from 1 to {LIMIT_MAX}");
                wrong("limit", &rule, text)
            })
    }

    /// `from` and `to`: a range of time.
    pub(super) fn range(&self) -> Result<(Option<UnixMillis>, Option<UnixMillis>), Problem> {
        let (from, to) = (self.time("from")?, self.time("to")?);
        if matches!((from, to), (Some(from), Some(to)) if from > to) {
            return Err(Problem::bad_request(
                "'from' is later than 'to'; 'from' is the first instant, 'to' the one after the last",
            ));
        }
        Ok((from, to))
    }

    /// `bbox`: min lon, min lat, max lon, max lat.
    pub(super) fn bbox(&self) -> Result<Option<[f64; 4]>, Problem> {
        let Some(text) = self.text("bbox")? else {
            return Ok(None);
        };
        let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.parse().ok()).collect();
        let corners = numbers.and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
        corners.filter(is_box).map(Some).ok_or_else(|| {
            let rule = "min_lon,min_lat,max_lon,max_lat in degrees, \
                        with -180 <= min_lon <= max_lon <= 180 and -90 <= min_lat <= max_lat <= 90";
            wrong("bbox", rule, text)
        })
    }

    /// `vehicle`: an id.
    pub(super) fn vehicle(&self) -> Result<Option<VehicleId>, Problem> {
        self.text("vehicle")?.map(parse_vehicle).transpose()
    }

    /// `kind`: positions where the asker does not say.
    pub(super) fn kind(&self) -> Result<Kind, Problem> {
        match self.text("kind")? {
            None | Some("position") => Ok(Kind::Position),
            Some("event") => Ok(Kind::Event),
            Some(other) => Err(wrong("kind", "'position' or 'event'", other)),
        }
    }

    fn time(&self, name: &'static str) -> Result<Option<UnixMillis>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let rule = "a time as in RFC 3339, for example 2026-11-20T09:05:01Z";
        UnixMillis::parse(&with_plus(text))
            .map(Some)
            .ok_or_else(|| wrong(name, rule, text))
    }
}

/// A vehicle's id from the text of a URL, decoded already.
pub(super) fn parse_vehicle(text: &str) -> Result<VehicleId, Problem> {
    VehicleId::parse(text.as_bytes()).map_err(|error| {
        Problem::bad_request(format!(
            "{error}; an id has 1 to 64 bytes of printable UTF-8"
        ))
    })
}

/// A node's name or id from the text of a URL, decoded already.
pub(super) fn parse_node(text: &str) -> Result<&str, Problem> {
    let is_name = (1..=NODE_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    is_name.then_some(text).ok_or_else(|| {
        Problem::bad_request(format!(
            "a node's name has 1 to {NODE_BYTES_MAX} bytes without control characters, not {}",
            text.len()
        ))
    })
}

/// Puts the sign back into an offset such as `+01:00`, which people type without escaping it.
fn with_plus(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(' ') {
        Some((time, offset)) if time.contains(':') => format!("{time}+{offset}").into(),
        _ => text.into(),
    }
}

fn is_box(corners: &[f64; 4]) -> bool {
    let [min_lon, min_lat, max_lon, max_lat] = *corners;
    let lon = -180.0..=180.0;
    let lat = -90.0..=90.0;
    lon.contains(&min_lon)
        && lon.contains(&max_lon)
        && lat.contains(&min_lat)
        && lat.contains(&max_lat)
        && min_lon <= max_lon
        && min_lat <= max_lat
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let name = shown(name);
    Problem::bad_request(match known {
        [] => format!("there is no parameter '{name}'; this call has none"),
        known => format!(
            "there is no parameter '{name}'; this call has {}",
            known.join(", ")
        ),
    })
}

fn wrong(name: &str, rule: &str, value: &str) -> Problem {
    Problem::bad_request(format!("'{name}' must be {rule}, not '{}'", shown(value)))
}

/// The beginning of what the asker sent, without control characters.
pub(super) fn shown(value: &str) -> String {
    let mut text: String = value
        .chars()
        .take(SHOWN_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if value.chars().nth(SHOWN_CHARS).is_some() {
        text.push('…');
    }
    text
}

/// Undoes the escapes of a URL's query: `%41` and, for a space, `+`.
fn decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, rest @ ..] => {
                bytes.push(hex_byte(*high, *low).ok_or_else(|| bad_escape(text))?);
                rest
            }
            [b'%', ..] => return Err(bad_escape(text)),
            [b'+', rest @ ..] => {
                bytes.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| bad_escape(text))
}

fn bad_escape(text: &str) -> Problem {
    Problem::bad_request(format!(
        "'{}' has an escape that is not %XX, or is not UTF-8",
        shown(text)
    ))
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &[
        "from", "to", "limit", "after", "bbox", "vehicle", "kind", "all",
    ];

    fn query(text: &str) -> Result<Query, Problem> {
        let uri: Uri = format!("/v1/vehicles?{text}").parse().unwrap();
        Query::parse(&uri, KNOWN)
    }

    #[track_caller]
    fn expect_error<T>(result: Result<T, Problem>, part: &str) {
        let problem = result.err().expect("an error");
        assert!(problem.detail().contains(part), "{}", problem.detail());
    }

    #[test]
    fn a_name_is_known_and_given_once() {
        assert!(query("").is_ok());
        assert!(query("&limit=1&").is_ok());
        expect_error(query("limt=1"), "no parameter 'limt'; this call has from");
        expect_error(query("limit=1&limit=2"), "'limit' is given twice");
        expect_error(query("a%0ab=1"), "no parameter 'a\\nb'");
        let none: Uri = "/healthz?x".parse().unwrap();
        expect_error(Query::parse(&none, &[]), "this call has none");
    }

    #[test]
    fn escapes_are_undone() {
        let after = |text: &str| Ok::<_, Problem>(query(text)?.text("after")?.map(str::to_owned));
        assert_eq!(after("after=a%2fb+c%C3%A9").unwrap().unwrap(), "a/b cé");
        expect_error(after("after=%4"), "escape");
        expect_error(after("after=%zz"), "escape");
        expect_error(after("after=%ff"), "escape");
        expect_error(after("after="), "'after' is empty");
    }

    #[test]
    fn a_limit_is_a_number_in_its_range() {
        let limit = |text: &str| query(text)?.limit();
        assert_eq!(limit("").unwrap(), 1_000);
        assert_eq!(limit("limit=1").unwrap(), 1);
        assert_eq!(limit("limit=10000").unwrap(), 10_000);
        for text in ["0", "-1", "10001", "99999999999999999999999", "1e3", "many"] {
            expect_error(limit(&format!("limit={text}")), "from 1 to 10000");
        }
        expect_error(limit("limit="), "'limit' is empty");
        let vast = limit(&format!("limit={}", "9".repeat(5_000)));
        assert!(vast.unwrap_err().detail().len() < 300);
    }

    #[test]
    fn a_flag_is_there_or_not() {
        let flag = |text: &str| query(text)?.flag("all");
        for (text, is_set) in [
            ("", false),
            ("all", true),
            ("all=", true),
            ("all=true", true),
            ("all=false", false),
        ] {
            assert_eq!(flag(text).unwrap(), is_set, "{text}");
        }
        expect_error(flag("all=1"), "'all' must be 'true' or 'false', not '1'");
    }

    #[test]
    fn a_node_has_a_name() {
        assert_eq!(parse_node("gate 1/é").unwrap(), "gate 1/é");
        for text in ["", "a\u{1b}[2J", &"é".repeat(33)] {
            expect_error(parse_node(text), "1 to 64 bytes");
        }
    }

    #[test]
    fn a_range_of_time_goes_forward() {
        let range = |text: &str| query(text)?.range();
        let nine = UnixMillis::parse("2026-11-20T09:00:00Z");
        assert_eq!(range("from=2026-11-20T09:00:00Z").unwrap(), (nine, None));
        for plus in ["%2B", "+"] {
            let text = format!("to=2026-11-20T10:00:00{plus}01:00");
            assert_eq!(range(&text).unwrap(), (None, nine));
        }
        let same = range("from=2026-11-20T09:00:00Z&to=2026-11-20T09:00:00Z");
        assert_eq!(same.unwrap(), (nine, nine));
        expect_error(
            range("from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z"),
            "'from' is later than 'to'",
        );
        for text in ["yesterday", "2026-13-01T00:00:00Z", "1700000000", "+"] {
            expect_error(range(&format!("to={text}")), "RFC 3339");
        }
    }

    #[test]
    fn a_box_has_four_corners_on_earth() {
        let bbox = |text: &str| query(&format!("bbox={text}"))?.bbox();
        assert_eq!(
            bbox("24.5,59.3,25,59.6").unwrap(),
            Some([24.5, 59.3, 25.0, 59.6])
        );
        assert_eq!(
            bbox("-180,-90,180,90").unwrap(),
            Some([-180.0, -90.0, 180.0, 90.0])
        );
        for text in [
            "1,2,3",
            "1,2,3,4,5",
            "a,b,c,d",
            "NaN,0,1,1",
            "0,0,inf,1",
            "25,59,24,60",
            "24,60,25,59",
            "-181,0,0,0",
            "0,-91,0,0",
            ",,,",
        ] {
            expect_error(bbox(text), "min_lon,min_lat");
        }
    }

    #[test]
    fn a_vehicle_and_a_kind_are_what_they_may_be() {
        let vehicle = |text: &str| query(&format!("vehicle={text}"))?.vehicle();
        assert_eq!(vehicle("bus%201").unwrap().unwrap().as_str(), "bus 1");
        expect_error(vehicle("a%00b"), "not printable");
        expect_error(vehicle(&"a".repeat(65)), "65 bytes");
        let kind = |text: &str| query(text)?.kind();
        assert_eq!(kind("").unwrap(), Kind::Position);
        assert_eq!(kind("kind=event").unwrap(), Kind::Event);
        expect_error(kind("kind=all"), "'position' or 'event'");
    }
}
