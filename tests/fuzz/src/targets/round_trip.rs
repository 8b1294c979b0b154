//! What is written is read again: a position of whatever protocol, as Wialon IPS in both versions
//! and as NMEA, as far as the format can say it.

use waymesh::{
    base::time::Instant,
    protocol::{
        AdmitAll, Context, Decoded, DecoderOptions, FlushReason, Outcome, Protocol,
        nmea::{Nmea, encode_gga, encode_identity, encode_rmc},
        wialon::{Reading, Version, Wialon, encode_batch, encode_login, encode_position},
    },
    types::{
        attributes::{Attributes, Value},
        record::{Fix, Record},
        time::UnixMillis,
    },
};

/// Who says it.
const VEHICLE: &str = "bus-7";

/// The first time that two digits of a year take for one of the last century: the start of 2070.
const TIME_END: UnixMillis = UnixMillis(3_155_760_000_000);

/// Fewest satellites of a fix that is taken for valid from Wialon, where nothing else says so.
const SATELLITES_MIN: u8 = 3;

/// That `record` comes back from what a device would have to send for it.
pub(crate) fn check(record: &Record) {
    if record.key.time >= TIME_END {
        return;
    }
    check_wialon(record);
    if let Some(fix) = record.fix().filter(|fix| fix.valid) {
        check_nmea(record.key.time, fix);
    }
}

fn check_wialon(record: &Record) {
    let Some(attributes) = as_written(&record.attributes) else {
        return;
    };
    let fix = record.fix().map(|fix| Fix {
        valid: fix.satellites.is_some_and(|n| n >= SATELLITES_MIN),
        ..*fix
    });
    let reading = Reading {
        time: Some(record.key.time),
        fix,
        attributes: &record.attributes,
    };
    for version in [Version::One, Version::Two] {
        for is_batch in [false, true] {
            let mut lines = Vec::new();
            encode_login(version, VEHICLE, None, &mut lines);
            if is_batch {
                encode_batch(version, &[reading], &mut lines);
            } else {
                encode_position(version, &reading, &mut lines);
            }
            let again = decoded(&Wialon, &lines);
            let shown = String::from_utf8_lossy(&lines);
            assert_eq!(again.key.time, record.key.time, "{shown}");
            assert_eq!(again.fix(), fix.as_ref(), "{shown}");
            assert_eq!(again.attributes, attributes, "{shown}");
        }
    }
}

fn check_nmea(time: UnixMillis, fix: &Fix) {
    let mut lines = Vec::new();
    encode_identity(VEHICLE, &mut lines);
    encode_gga(time, fix, &mut lines);
    encode_rmc(time, fix, &mut lines);
    let again = decoded(&Nmea, &lines);
    let shown = String::from_utf8_lossy(&lines);
    assert_eq!((again.key.time, again.fix()), (time, Some(fix)), "{shown}");
}

/// The one record of these lines.
#[track_caller]
fn decoded(protocol: &dyn Protocol, lines: &[u8]) -> Record {
    let context = Context {
        now: Instant::from_millis(0),
        received: UnixMillis(0),
        admission: &AdmitAll,
    };
    let mut decoder = protocol.decoder(DecoderOptions::default());
    let mut out = Decoded::default();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            let outcome = decoder.line(&context, line, &mut out);
            let shown = String::from_utf8_lossy(lines);
            assert!(
                !matches!(outcome, Outcome::Rejected(_)),
                "{outcome:?}: {shown}"
            );
        }
    }
    decoder.flush(&context, FlushReason::End, &mut out);
    let n_records = out.records.len();
    assert_eq!(n_records, 1, "{}", String::from_utf8_lossy(lines));
    out.records.remove(0)
}

/// Attributes as a Wialon device can say them: without the bytes that the format keeps for itself in
/// a text, and without a text that says there is none. `None` where such bytes stand in a name, which
/// may then be that of another.
fn as_written(attributes: &Attributes) -> Option<Attributes> {
    let is_kept = |letter: char| ";,|:\r\n".contains(letter);
    let mut written = Attributes::new();
    for (name, value) in attributes.iter() {
        if name.contains(is_kept) {
            return None;
        }
        let value = match value {
            Value::Text(text) if matches!(text.as_ref(), "" | "NA") => continue,
            Value::Text(text) => Value::Text(text.replace(is_kept, "_").into()),
            other => other.clone(),
        };
        written.insert(name.to_owned(), value);
    }
    Some(written)
}
