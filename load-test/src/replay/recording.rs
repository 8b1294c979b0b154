//! A recording: the lines of one vehicle, and how they are shifted in time; pure.
//!
//! Lines that say who speaks are left out: each simulated vehicle greets with an identity of its
//! own. So are lines of no known kind, since nobody knows what answer they would get; they are
//! counted. Of the others those with a time of their own are rewritten for the new time, with a right
//! checksum; the rest is sent as it stands, right behind the line before it. Times move by whole
//! seconds, so that fractions of a second stay as they are.

use waymesh::{
    protocol::wialon::Answer,
    types::time::{DAY_MILLIS, UnixMillis},
};

use crate::device::{Expect, Language};

/// A line of a recording.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Its own time; that of the line before where it has none.
    pub(super) time: UnixMillis,
    text: Vec<u8>,
}

/// The lines of one vehicle.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    pub(super) language: Language,
    pub(super) lines: Vec<Line>,
    /// Lines that said who speaks, and comments.
    pub(super) n_left_out: usize,
    /// Lines of no known kind, which are not sent either.
    pub(super) unknown: Unknown,
}

/// Lines of no known kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) n_lines: usize,
    /// Number of the first in its file, counted from 1; 0 if there is none.
    pub(super) first: usize,
}

/// What a line of a file is.
enum Kind {
    /// One to send, without its checksum where it is sent without.
    Line(Vec<u8>),
    /// It says who speaks, or nothing at all.
    LeftOut,
    Unknown,
}

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordingError {
    #[error("no line of it is of a known protocol; name it with --protocol wialon or nmea")]
    UnknownProtocol,
    #[error("no line of it has a time")]
    NoTime,
}

impl Recording {
    /// Reads the lines of a file, of `language` if given.
    pub(super) fn parse(
        content: &[u8],
        language: Option<Language>,
    ) -> Result<Self, RecordingError> {
        let lines = || content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let language = match language {
            Some(language) => language,
            None => lines()
                .find_map(guess)
                .ok_or(RecordingError::UnknownProtocol)?,
        };
        let mut recording = Self {
            language,
            lines: Vec::new(),
            n_left_out: 0,
            unknown: Unknown::default(),
        };
        let has_checksums = lines().any(|line| line.starts_with(b"#L#2."));
        let mut latest = None;
        for (idx, line) in lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let kind = match language {
                Language::Nmea => nmea_kind(line),
                _ => wialon_kind(line, has_checksums),
            };
            let text = match kind {
                Kind::Line(text) => text,
                Kind::LeftOut => {
                    recording.n_left_out += 1;
                    continue;
                }
                Kind::Unknown => {
                    recording.unknown.add(idx + 1);
                    continue;
                }
            };
            let own_time = match language {
                Language::Nmea => nmea_time(&text, &mut latest),
                _ => wialon_time(&text),
            };
            let time = own_time.or_else(|| recording.lines.last().map(|line| line.time));
            // What comes before the first time is due at once.
            let time = time.unwrap_or(UnixMillis(i64::MIN));
            recording.lines.push(Line { time, text });
        }
        recording.settle_times()?;
        Ok(recording)
    }

    /// Time of the first and of the last line.
    pub(super) fn span(&self) -> (UnixMillis, UnixMillis) {
        let times = || self.lines.iter().map(|line| line.time);
        (
            times().min().unwrap_or_default(),
            times().max().unwrap_or_default(),
        )
    }

    /// The bytes of a line, `shift_seconds` later than recorded, with their end; and its answer.
    pub(super) fn shifted(&self, line: &Line, shift_seconds: i64) -> (Vec<u8>, Option<Expect>) {
        let shift_millis = shift_seconds * 1_000;
        let mut bytes = Vec::with_capacity(line.text.len() + 2);
        match self.language {
            Language::Nmea => nmea_shifted(&line.text, line.time, shift_millis, &mut bytes),
            _ => wialon_shifted(&line.text, shift_millis, &mut bytes),
        }
        bytes.extend_from_slice(b"\r\n");
        (bytes, expected(self.language, &line.text))
    }

    /// Lines before the first time get it.
    fn settle_times(&mut self) -> Result<(), RecordingError> {
        let first = self
            .lines
            .iter()
            .map(|line| line.time)
            .find(|time| time.0 != i64::MIN);
        let first = first.ok_or(RecordingError::NoTime)?;
        for line in self
            .lines
            .iter_mut()
            .take_while(|line| line.time.0 == i64::MIN)
        {
            line.time = first;
        }
        Ok(())
    }
}

impl Unknown {
    fn add(&mut self, number: usize) {
        self.n_lines += 1;
        if self.first == 0 {
            self.first = number;
        }
    }
}

fn guess(line: &[u8]) -> Option<Language> {
    match line {
        [b'#', b'A'..=b'Z', ..] => Some(Language::WialonOne),
        _ if line.windows(2).any(|pair| pair == b"$G") => Some(Language::Nmea),
        _ => None,
    }
}

fn expected(language: Language, text: &[u8]) -> Option<Expect> {
    if !language.is_answered() {
        return None;
    }
    let kind = text
        .strip_prefix(b"#")?
        .split(|byte| *byte == b'#')
        .next()?;
    let answer = match kind {
        b"SD" => Answer::Short(Ok(())),
        b"D" => Answer::Full(Ok(())),
        b"B" => {
            let bodies = wialon_bodies(text).1.filter(|body| !body.is_empty());
            Answer::Batch(u32::try_from(bodies.count()).ok())
        }
        b"M" => Answer::Message(Ok(())),
        b"P" => Answer::Ping,
        _ => return None,
    };
    Some(Expect::KindOf(answer))
}

/// The line without its checksum: it is sent in version 1.1.
fn wialon_kind(line: &[u8], has_checksum: bool) -> Kind {
    if line.starts_with(b"#L#") {
        return Kind::LeftOut;
    }
    if !line.starts_with(b"#") || expected(Language::WialonOne, line).is_none() {
        return Kind::Unknown;
    }
    let is_checked = has_checksum && !line.starts_with(b"#P#");
    let cut = line
        .iter()
        .rposition(|byte| matches!(byte, b';' | b'|'))
        .filter(|_| is_checked);
    Kind::Line(
        line.get(..cut.unwrap_or(line.len()))
            .unwrap_or_default()
            .to_vec(),
    )
}

/// The bodies of a line: `date;time;…`, one or, in a batch, several.
fn wialon_bodies(text: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let head = text
        .iter()
        .skip(1)
        .position(|byte| *byte == b'#')
        .map_or(text.len(), |at| at + 2);
    let (head, body) = text.split_at(head);
    (head, body.split(|byte| *byte == b'|'))
}

fn wialon_time(text: &[u8]) -> Option<UnixMillis> {
    let (_, mut bodies) = wialon_bodies(text);
    body_time(bodies.next()?)
}

fn body_time(body: &[u8]) -> Option<UnixMillis> {
    let mut fields = body.split(|byte| *byte == b';');
    let (date, clock) = (fields.next()?, fields.next()?);
    let [day, month, year] = digits(date)?;
    Some(UnixMillis(
        civil([year, month, day], digits(clock)?)?.0 + fraction_millis(clock),
    ))
}

fn wialon_shifted(text: &[u8], shift_millis: i64, out: &mut Vec<u8>) {
    let (head, bodies) = wialon_bodies(text);
    out.extend_from_slice(head);
    for (number, body) in bodies.enumerate() {
        if number > 0 {
            out.push(b'|');
        }
        let Some(time) = body_time(body) else {
            out.extend_from_slice(body);
            continue;
        };
        let (day, clock) = stamp(UnixMillis(time.0 + shift_millis));
        let mut fields = body.splitn(3, |byte| *byte == b';').skip(1);
        let (old_clock, rest) = (fields.next().unwrap_or_default(), fields.next());
        out.extend_from_slice(format!("{day};{clock}").as_bytes());
        out.extend_from_slice(fraction(old_clock));
        out.push(b';');
        out.extend_from_slice(rest.unwrap_or_default());
    }
}

/// The sentence of a line.
fn nmea_kind(line: &[u8]) -> Kind {
    if line.starts_with(b"#") {
        return Kind::LeftOut;
    }
    let start = line.iter().rposition(|byte| *byte == b'$');
    let Some(sentence) = start.and_then(|start| line.get(start..)) else {
        let is_identity = line.starts_with(b"IMEI ") || line.iter().all(u8::is_ascii_hexdigit);
        return if is_identity {
            Kind::LeftOut
        } else {
            Kind::Unknown
        };
    };
    let identities: [&[u8]; 8] = [
        b"$PGID",
        b"$DEVID",
        b"$PCPTI",
        b"$IMEI",
        b"$PSIWMDID",
        b"$CONNECT",
        b"$GPTXT,NET",
        b"$GPFID",
    ];
    let is_identity = identities
        .iter()
        .any(|identity| sentence.starts_with(identity));
    if is_identity {
        return Kind::LeftOut;
    }
    Kind::Line(sentence.to_vec())
}

/// The time of a sentence. An RMC brings the date; the others are of the day on which they lie
/// nearest to the time before them, which may be the next one.
fn nmea_time(text: &[u8], latest: &mut Option<UnixMillis>) -> Option<UnixMillis> {
    let kind = text.get(3..6)?;
    let fields: Vec<&[u8]> = text.split(|byte| matches!(byte, b',' | b'*')).collect();
    let clock_field = match kind {
        b"RMC" | b"GGA" => 1,
        b"GLL" => 5,
        _ => return None,
    };
    let clock = fields.get(clock_field)?;
    let time_of_day = civil([70, 1, 1], digits(clock)?)?.0.rem_euclid(DAY_MILLIS);
    let time_of_day = time_of_day + fraction_millis(clock);
    let midnight = if kind == b"RMC" {
        let [day, month, year] = digits(fields.get(9)?)?;
        civil([year, month, day], [0; 3])?.0
    } else {
        let latest = (*latest)?.0;
        let half = DAY_MILLIS / 2;
        let days = (latest - time_of_day + half).div_euclid(DAY_MILLIS);
        days * DAY_MILLIS
    };
    *latest = Some(UnixMillis(midnight + time_of_day));
    *latest
}

fn nmea_shifted(text: &[u8], time: UnixMillis, shift_millis: i64, out: &mut Vec<u8>) {
    let kind = text.get(3..6).unwrap_or_default();
    let (clock_field, date_field) = match kind {
        b"RMC" => (1, Some(9)),
        b"GGA" => (1, None),
        b"GLL" => (5, None),
        _ => {
            out.extend_from_slice(text);
            return;
        }
    };
    let (day, clock) = stamp(UnixMillis(time.0 + shift_millis));
    let end = text.iter().rposition(|byte| *byte == b'*');
    let content = text.get(1..end.unwrap_or(text.len())).unwrap_or_default();
    let is_right = end.is_none_or(|end| checksum_of(text, end) == Some(xor(content)));
    let mut fields: Vec<Vec<u8>> = content
        .split(|byte| *byte == b',')
        .map(<[u8]>::to_vec)
        .collect();
    if let Some(field) = fields
        .get_mut(clock_field)
        .filter(|field| !field.is_empty())
    {
        *field = [clock.as_bytes(), fraction(field)].concat();
    }
    if let Some(field) = date_field.and_then(|idx| fields.get_mut(idx)) {
        *field = day.into_bytes();
    }
    let content = fields.join(&b',');
    // What was wrong stays wrong.
    let checksum = xor(&content) ^ u8::from(!is_right);
    out.push(b'$');
    out.extend_from_slice(&content);
    out.extend_from_slice(format!("*{checksum:02X}").as_bytes());
}

fn checksum_of(text: &[u8], end: usize) -> Option<u8> {
    let hex = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    u8::from_str_radix(hex.trim(), 16).ok()
}

/// NMEA 0183's checksum: the exclusive or of all bytes between `$` and `*`.
fn xor(content: &[u8]) -> u8 {
    content.iter().fold(0, |sum, byte| sum ^ byte)
}

/// The first six digits of a field, in pairs.
fn digits(field: &[u8]) -> Option<[i8; 3]> {
    let text = std::str::from_utf8(field.get(..6)?).ok()?;
    let pair = |at: usize| text.get(at..at + 2)?.parse::<u8>().ok()?.try_into().ok();
    Some([pair(0)?, pair(2)?, pair(4)?])
}

/// What stands behind the seconds of a clock: the point and the digits, or nothing.
fn fraction(clock: &[u8]) -> &[u8] {
    let point = clock.iter().position(|byte| *byte == b'.');
    point
        .and_then(|point| clock.get(point..))
        .unwrap_or_default()
}

/// The milliseconds in it.
fn fraction_millis(clock: &[u8]) -> i64 {
    let digits = fraction(clock)
        .iter()
        .skip(1)
        .take_while(|byte| byte.is_ascii_digit());
    let millis = digits
        .zip([100, 10, 1])
        .map(|(digit, weight)| i64::from(digit - b'0') * weight);
    millis.sum()
}

fn civil([year, month, day]: [i8; 3], [hour, minute, second]: [i8; 3]) -> Option<UnixMillis> {
    let century = if year >= 80 { 1_900 } else { 2_000 };
    UnixMillis::from_civil(
        (century + i16::from(year), month, day),
        (hour, minute, second),
        0,
    )
}

/// DDMMYY and HHMMSS.
fn stamp(time: UnixMillis) -> (String, String) {
    let civil = time.to_civil();
    let day = format!(
        "{:02}{:02}{:02}",
        civil.day(),
        civil.month(),
        civil.year().rem_euclid(100)
    );
    (
        day,
        format!(
            "{:02}{:02}{:02}",
            civil.hour(),
            civil.minute(),
            civil.second()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    fn shifted(content: &str, shift_seconds: i64) -> Vec<String> {
        let recording = Recording::parse(content.as_bytes(), None).unwrap();
        let text = |line| String::from_utf8(recording.shifted(line, shift_seconds).0).unwrap();
        recording.lines.iter().map(text).collect()
    }

    #[test]
    fn wialon_lines_move_in_time_and_lose_their_checksum() {
        let lines = "#L#2.0;1;NA;0000\n#SD#311226;233000;5;N;6;E;1;2;3;4;ABCD\n\
            #B#311226;233001;a|311226;233002;b|12\n#P#\n";
        assert_eq!(
            shifted(lines, HOUR),
            [
                "#SD#010127;003000;5;N;6;E;1;2;3;4\r\n",
                "#B#010127;003001;a|010127;003002;b\r\n",
                "#P#\r\n"
            ]
        );
    }

    #[test]
    fn nmea_sentences_move_in_time_and_wrong_ones_stay_wrong() {
        let right = "$GPRMC,225444.50,A,4916.45,N,12311.12,W,000.5,054.7,191194,020.3,E*42";
        let content = right.trim_start_matches('$').split('*').next().unwrap();
        let sum = xor(content.as_bytes());
        let lines = format!(
            "$PGID,1*00\n${content}*{sum:02X}\n${content}*{:02X}\n",
            sum ^ 9
        );
        let moved = shifted(&lines, 2 * HOUR);
        assert!(moved[0].starts_with("$GPRMC,005444.50,A,4916.45,N,12311.12,W,000.5,054.7,201194"));
        let is_right = |line: &str| {
            let (content, sum) = line
                .trim_end()
                .trim_start_matches('$')
                .rsplit_once('*')
                .unwrap();
            u8::from_str_radix(sum, 16).unwrap() == xor(content.as_bytes())
        };
        assert!(is_right(&moved[0]) && !is_right(&moved[1]));
    }

    #[test]
    fn sentences_behind_midnight_are_of_the_next_day() {
        let lines = "$GPRMC,235959.800,A,4916.45,N,12311.12,W,0,0,311226,,*00\n\
            $GPGGA,000000.000,4916.45,N,12311.12,W,1,9,0.9,1,M,,M,,*00\n\
            $GPRMC,000000.000,A,4916.45,N,12311.12,W,0,0,010127,,*00\n\
            $GPGLL,4916.45,N,12311.12,W,235959.900,A*00\n\
            $GPGGA,000000.200,4916.45,N,12311.12,W,1,9,0.9,1,M,,M,,*00\n";
        let recording = Recording::parse(lines.as_bytes(), None).unwrap();
        let first = recording.lines[0].time.0;
        let times: Vec<_> = recording
            .lines
            .iter()
            .map(|line| line.time.0 - first)
            .collect();
        assert_eq!(times, [0, 200, 200, 100, 400]);
        let moved = shifted(lines, HOUR);
        assert!(moved[0].starts_with("$GPRMC,005959.800,") && moved[0].contains(",010127,"));
        assert!(moved[1].starts_with("$GPGGA,010000.000,"));
        assert!(moved[3].contains(",005959.900,A"));
    }

    #[test]
    fn fractions_of_a_second_are_kept() {
        let lines = "#SD#311226;235959.25;5;N;6;E;1;2;3;4\n#SD#311226;235959.75;5;N;6;E;1;2;3;4\n";
        let recording = Recording::parse(lines.as_bytes(), None).unwrap();
        let (first, last) = recording.span();
        assert_eq!(last.0 - first.0, 500);
        let moved = shifted(lines, 1);
        assert_eq!(moved[0], "#SD#010127;000000.25;5;N;6;E;1;2;3;4\r\n");
        assert_eq!(moved[1], "#SD#010127;000000.75;5;N;6;E;1;2;3;4\r\n");
    }

    #[test]
    fn lines_of_no_known_kind_are_counted_and_named() {
        let wialon = "#L#1;NA\n#SD#311226;235959;5;N;6;E;1;2;3;4\nwhat\n#US#1\n\n#P#\n";
        let recording = Recording::parse(wialon.as_bytes(), None).unwrap();
        assert_eq!((recording.lines.len(), recording.n_left_out), (2, 1));
        assert_eq!(
            recording.unknown,
            Unknown {
                n_lines: 2,
                first: 3
            }
        );
        let nmea = "# a drive\nIMEI 490154203237534\nnoise\n\
            $GPRMC,235959,A,4916.45,N,12311.12,W,0,0,311226,,*00\n";
        let recording = Recording::parse(nmea.as_bytes(), None).unwrap();
        assert_eq!((recording.lines.len(), recording.n_left_out), (1, 2));
        assert_eq!(
            recording.unknown,
            Unknown {
                n_lines: 1,
                first: 3
            }
        );
    }

    #[test]
    fn a_file_without_sense_is_no_recording() {
        let parse = |text: &str| Recording::parse(text.as_bytes(), None);
        assert!(matches!(
            parse("hello\n"),
            Err(RecordingError::UnknownProtocol)
        ));
        assert!(matches!(parse("#P#\n"), Err(RecordingError::NoTime)));
    }
}
