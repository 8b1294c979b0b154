//! A recording: the lines of one vehicle, and how they are shifted in time; pure.
//!
//! Lines that say who speaks are left out: each simulated vehicle greets with an identity of its
//! own. Of the others those with a time of their own are rewritten for the new time, with a right
//! checksum; the rest is sent as it stands, right behind the line before it.

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
    /// Lines of a kind that is not known; they are sent as they are.
    pub(super) n_unknown: usize,
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
            n_unknown: 0,
        };
        let has_checksums = lines().any(|line| line.starts_with(b"#L#2."));
        let mut date = None;
        for line in lines().filter(|line| !line.is_empty()) {
            let text = match language {
                Language::Nmea => nmea_text(line),
                _ => wialon_text(line, has_checksums),
            };
            let Some(text) = text else {
                recording.n_left_out += 1;
                continue;
            };
            let own_time = match language {
                Language::Nmea => nmea_time(&text, &mut date),
                _ => wialon_time(&text),
            };
            let time = own_time.or_else(|| recording.lines.last().map(|line| line.time));
            recording.n_unknown += usize::from(own_time.is_none() && !is_known(language, &text));
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

    /// The bytes of a line, `shift_millis` later than recorded, with their end; and its answer.
    pub(super) fn shifted(&self, line: &Line, shift_millis: i64) -> (Vec<u8>, Option<Expect>) {
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

fn guess(line: &[u8]) -> Option<Language> {
    match line {
        [b'#', b'A'..=b'Z', ..] => Some(Language::WialonOne),
        _ if line.windows(2).any(|pair| pair == b"$G") => Some(Language::Nmea),
        _ => None,
    }
}

fn is_known(language: Language, text: &[u8]) -> bool {
    match language {
        Language::Nmea => text.starts_with(b"$"),
        _ => expected(language, text).is_some(),
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
        b"B" => Answer::Batch(None),
        b"M" => Answer::Message(Ok(())),
        b"P" => Answer::Ping,
        _ => return None,
    };
    Some(Expect::KindOf(answer))
}

/// The line without its checksum (it is sent in version 1.1); none for logins.
fn wialon_text(line: &[u8], has_checksum: bool) -> Option<Vec<u8>> {
    let is_login = line.starts_with(b"#L#");
    let is_line = line.starts_with(b"#") && expected(Language::WialonOne, line).is_some();
    if is_login || !is_line {
        return None;
    }
    let is_checked = has_checksum && !line.starts_with(b"#P#");
    let cut = line
        .iter()
        .rposition(|byte| matches!(byte, b';' | b'|'))
        .filter(|_| is_checked);
    line.get(..cut.unwrap_or(line.len())).map(<[u8]>::to_vec)
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
    let ([day, month, year], clock) = (digits(fields.next()?)?, digits(fields.next()?)?);
    civil([year, month, day], clock)
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
        let rest = body
            .splitn(3, |byte| *byte == b';')
            .nth(2)
            .unwrap_or_default();
        out.extend_from_slice(format!("{day};{clock};").as_bytes());
        out.extend_from_slice(rest);
    }
}

/// The sentence of a line; none for a line that holds none, or that says who speaks.
fn nmea_text(line: &[u8]) -> Option<Vec<u8>> {
    let start = line.iter().rposition(|byte| *byte == b'$')?;
    let sentence = line.get(start..)?;
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
    (!is_identity && !line.starts_with(b"#")).then(|| sentence.to_vec())
}

/// The time of a sentence; an RMC brings the date, the others count from it.
fn nmea_time(text: &[u8], date: &mut Option<UnixMillis>) -> Option<UnixMillis> {
    let kind = text.get(3..6)?;
    let fields: Vec<&[u8]> = text.split(|byte| matches!(byte, b',' | b'*')).collect();
    let clock_field = match kind {
        b"RMC" | b"GGA" => 1,
        b"GLL" => 5,
        _ => return None,
    };
    let clock = digits(fields.get(clock_field)?)?;
    if kind == b"RMC" {
        let [day, month, year] = digits(fields.get(9)?)?;
        let time = civil([year, month, day], clock)?;
        *date = Some(UnixMillis(time.0 - time.0.rem_euclid(DAY_MILLIS)));
        return Some(time);
    }
    let of_day = clock
        .iter()
        .fold(0, |sum, part| sum * 60 + i64::from(*part))
        * 1_000;
    date.map(|date| UnixMillis(date.0 + of_day))
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
        // The fraction of a second stays.
        let fraction = field.iter().position(|byte| *byte == b'.');
        let fraction = field.split_off(fraction.unwrap_or(field.len()));
        *field = [clock.as_bytes(), &fraction].concat();
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

    const HOUR: i64 = 3_600_000;

    fn shifted(content: &str, shift_millis: i64) -> Vec<String> {
        let recording = Recording::parse(content.as_bytes(), None).unwrap();
        let text = |line| String::from_utf8(recording.shifted(line, shift_millis).0).unwrap();
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
    fn a_file_without_sense_is_no_recording() {
        let parse = |text: &str| Recording::parse(text.as_bytes(), None);
        assert!(matches!(
            parse("hello\n"),
            Err(RecordingError::UnknownProtocol)
        ));
        assert!(matches!(parse("#P#\n"), Err(RecordingError::NoTime)));
    }
}
