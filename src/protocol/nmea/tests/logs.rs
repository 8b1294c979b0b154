//! Real receivers' logs, where the reference data is there, against a second reading of the same
//! lines that shares no code with the decoder.

use std::{collections::BTreeSet, fs};

use super::*;

/// Time and place of a record, in units that both readings reach by different ways.
type Seen = (String, i64, i64);

/// The checksum of a whole line is right.
fn is_intact(line: &str) -> bool {
    let Some((content, given)) = line.trim().trim_start_matches('$').rsplit_once('*') else {
        return false;
    };
    let mut sum = 0;
    for byte in content.bytes() {
        sum ^= byte;
    }
    u8::from_str_radix(given, 16).is_ok_and(|given| given == sum)
}

fn is_rmc(line: &str) -> bool {
    line.trim().get(3..6) == Some("RMC")
}

/// The second reading: an intact RMC with status `A` and a place.
fn read(line: &str) -> Option<Seen> {
    let parts: Vec<&str> = line.trim().split([',', '*']).collect();
    let has_fix =
        is_rmc(line) && is_intact(line) && parts[2] == "A" && parts[12..].first() != Some(&"N");
    if !has_fix {
        return None;
    }
    let degrees = |text: &str, hemisphere: &str| {
        let point = text.find('.').unwrap_or(text.len());
        let (whole, minutes) = text.split_at(point - 2);
        let degrees = whole.parse::<f64>().unwrap() + minutes.parse::<f64>().unwrap() / 60.0;
        let signed = if "SW".contains(hemisphere) {
            -degrees
        } else {
            degrees
        };
        (signed * 1e6).round() as i64
    };
    let (date, time) = (parts[9], parts[1]);
    let fraction = time.get(7..).unwrap_or("");
    let time = format!(
        "20{}-{}-{}T{}:{}:{}.{fraction:0<3}Z",
        &date[4..],
        &date[2..4],
        &date[..2],
        &time[..2],
        &time[2..4],
        &time[4..6],
    );
    Some((
        time,
        degrees(parts[3], parts[4]),
        degrees(parts[5], parts[6]),
    ))
}

/// The decoder's reading of all lines of one connection; no key occurs twice.
fn decoded(lines: &[String]) -> BTreeSet<Seen> {
    let mut conversation = Conversation::new();
    conversation.expect("490154203237559", Outcome::NoPosition);
    for line in lines {
        conversation.line(line);
    }
    conversation.flush(FlushReason::End);
    let records = conversation.records();
    let keys: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
    assert_eq!(keys.len(), records.len(), "each key once");
    let rounded = |e7: i32| (f64::from(e7) / 10.0).round() as i64;
    let seen = records.iter().map(|record| {
        let fix = record.fix().unwrap();
        let (latitude, longitude) = (fix.latitude.as_e7(), fix.longitude.as_e7());
        (
            record.key.time.to_string(),
            rounded(latitude),
            rounded(longitude),
        )
    });
    seen.collect()
}

/// Equal, where a place that lies between two units may be rounded either way.
#[track_caller]
fn check(name: &str, decoded: &BTreeSet<Seen>, expected: &BTreeSet<Seen>) {
    assert_eq!(decoded.len(), expected.len(), "{name}");
    for (one, other) in decoded.iter().zip(expected) {
        let is_near = (one.1 - other.1).abs() <= 1 && (one.2 - other.2).abs() <= 1;
        assert!(one.0 == other.0 && is_near, "{name}: {one:?} {other:?}");
    }
}

/// Changes one digit of the checksum.
fn spoil(line: &str) -> String {
    let (content, sum) = line.trim_end().rsplit_once('*').unwrap();
    let sum = u8::from_str_radix(sum.trim(), 16).unwrap() ^ 1;
    format!("{content}*{sum:02X}")
}

fn logs() -> Vec<(String, Vec<String>)> {
    let Some(folder) = reference("nmea") else {
        return Vec::new();
    };
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    let read_lines = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .map(String::from_utf8_lossy);
        lines
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.into_owned())
            .collect()
    };
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files
        .iter()
        .map(|path| (name(path), read_lines(path)))
        .collect()
}

#[test]
fn each_valid_rmc_of_a_real_receiver_is_one_record() {
    let logs = logs();
    let mut n_records = 0;
    for (name, lines) in &logs {
        let expected: BTreeSet<Seen> = lines.iter().filter_map(|line| read(line)).collect();
        let decoded = decoded(lines);
        check(name, &decoded, &expected);
        n_records += decoded.len();
    }
    assert!(logs.is_empty() || n_records > 1_000, "{n_records}");
}

#[test]
fn a_spoiled_checksum_takes_away_that_record_and_no_other() {
    for (name, mut lines) in logs() {
        let with_fix = lines.iter_mut().filter(|line| read(line).is_some());
        for line in with_fix.step_by(5) {
            *line = spoil(line);
        }
        let expected = lines.iter().filter_map(|line| read(line)).collect();
        check(&name, &decoded(&lines), &expected);
    }
}
