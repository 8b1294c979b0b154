//! What a device says in Wialon IPS: for tests and for simulated vehicles.
//!
//! What is written here is decoded to what was given, to the last unit. Bytes that the format
//! keeps for itself are written as `_` where they stand in a name or a text, since it knows no
//! escape; a text `NA` is read as none.

use std::io::Write as _;

use super::checksum::crc16;
use crate::{
    protocol::attributes,
    types::{
        attributes::{Attributes, Value},
        number::{Degrees, Milli},
        record::Fix,
        time::UnixMillis,
    },
};

/// Which version of the format a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.1: no checksums.
    One,
    /// 2.0: a checksum on every line but a ping.
    Two,
}

/// What a device reports at one moment. An absent field is written as `NA`.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// When it was; absent, the server's time counts.
    pub time: Option<UnixMillis>,
    /// Where it was; its `valid` follows from its satellites and is not written.
    pub fix: Option<Fix>,
    /// What is reported besides.
    pub attributes: &'a Attributes,
}

/// Appends the login of `vehicle`.
pub fn encode_login(version: Version, vehicle: &str, password: Option<&str>, out: &mut Vec<u8>) {
    let password = password.filter(|password| !password.is_empty());
    line(b"L", out, |out| {
        let start = out.len();
        if version == Version::Two {
            out.extend_from_slice(b"2.0;");
        }
        out.extend_from_slice(vehicle.as_bytes());
        out.push(b';');
        out.extend_from_slice(password.unwrap_or("NA").as_bytes());
        seal(version, b';', start, out);
    });
}

/// Appends `reading` as a line of its own: short, or full where it has a dilution or attributes.
pub fn encode_position(version: Version, reading: &Reading<'_>, out: &mut Vec<u8>) {
    let kind: &[u8] = if is_full(reading) { b"D" } else { b"SD" };
    line(kind, out, |out| {
        let start = out.len();
        put_reading(reading, out);
        seal(version, b';', start, out);
    });
}

/// Appends `readings` as one batch.
pub fn encode_batch(version: Version, readings: &[Reading<'_>], out: &mut Vec<u8>) {
    line(b"B", out, |out| {
        let start = out.len();
        for (idx, reading) in readings.iter().enumerate() {
            if idx > 0 {
                out.push(b'|');
            }
            put_reading(reading, out);
        }
        seal(version, b'|', start, out);
    });
}

/// Appends a ping.
pub fn encode_ping(out: &mut Vec<u8>) {
    line(b"P", out, |_| {});
}

fn line(kind: &[u8], out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'#');
    out.extend_from_slice(kind);
    out.push(b'#');
    body(out);
    out.extend_from_slice(b"\r\n");
}

/// Ends the body that begins at `start` with a separator and the checksum, where there is one.
fn seal(version: Version, separator: u8, start: usize, out: &mut Vec<u8>) {
    if version == Version::Two {
        out.push(separator);
        let crc = crc16(out.get(start..).unwrap_or_default());
        put(out, format_args!("{crc:04X}"));
    }
}

fn is_full(reading: &Reading<'_>) -> bool {
    !reading.attributes.is_empty() || reading.fix.is_some_and(|fix| fix.hdop.is_some())
}

fn put_reading(reading: &Reading<'_>, out: &mut Vec<u8>) {
    match reading.time {
        None => out.extend_from_slice(b"NA;NA"),
        Some(time) => put_time(time, out),
    }
    match reading.fix {
        None => out.extend_from_slice(b";NA;NA;NA;NA"),
        Some(fix) => {
            put_degrees(fix.latitude, 2, ["N", "S"], out);
            put_degrees(fix.longitude, 3, ["E", "W"], out);
        }
    }
    let fix = reading.fix.unwrap_or_default();
    for quantity in [fix.speed_kmh, fix.course_deg, fix.altitude_m] {
        put_quantity(quantity, out);
    }
    out.push(b';');
    match fix.satellites {
        None => out.extend_from_slice(b"NA"),
        Some(n_satellites) => put(out, format_args!("{n_satellites}")),
    }
    if is_full(reading) {
        put_quantity(fix.hdop, out);
        put_attributes(reading.attributes, out);
    }
}

/// Date and time; the milliseconds only where there are some.
fn put_time(time: UnixMillis, out: &mut Vec<u8>) {
    let civil = time.to_civil();
    let (day, month, year) = (civil.day(), civil.month(), civil.year().rem_euclid(100));
    put(out, format_args!("{day:02}{month:02}{year:02};"));
    let (hour, minute, second) = (civil.hour(), civil.minute(), civil.second());
    put(out, format_args!("{hour:02}{minute:02}{second:02}"));
    let millis = civil.millisecond();
    if millis != 0 {
        put(out, format_args!(".{millis:03}"));
    }
}

/// Degrees and minutes with seven decimals, which is exact: a unit is 60 of the last place.
fn put_degrees(degrees: Degrees, n_digits: usize, signs: [&str; 2], out: &mut Vec<u8>) {
    let units = degrees.as_e7().unsigned_abs();
    let (whole, minutes_e7) = (units / 10_000_000, u64::from(units % 10_000_000) * 60);
    let (minutes, decimals) = (minutes_e7 / 10_000_000, minutes_e7 % 10_000_000);
    let [positive, negative] = signs;
    let sign = if degrees.as_e7() < 0 {
        negative
    } else {
        positive
    };
    put(
        out,
        format_args!(";{whole:0n_digits$}{minutes:02}.{decimals:07};{sign}"),
    );
}

fn put_quantity(quantity: Option<Milli>, out: &mut Vec<u8>) {
    match quantity.map(Milli::as_thousandths) {
        None => out.extend_from_slice(b";NA"),
        Some(thousandths) => {
            let sign = if thousandths < 0 { "-" } else { "" };
            let units = thousandths.unsigned_abs();
            put(
                out,
                format_args!(";{sign}{}.{:03}", units / 1_000, units % 1_000),
            );
        }
    }
}

/// The fields `inputs;outputs;adc;ibutton;params`.
fn put_attributes(attributes: &Attributes, out: &mut Vec<u8>) {
    for name in [attributes::INPUTS, attributes::OUTPUTS] {
        match attributes.value(name) {
            Some(Value::Integer(bits)) => put(out, format_args!(";{bits}")),
            _ => out.extend_from_slice(b";NA"),
        }
    }
    put_adc(attributes, out);
    out.push(b';');
    match attributes.value(attributes::DRIVER_ID) {
        Some(Value::Text(key)) => put_text(key, out),
        _ => out.extend_from_slice(b"NA"),
    }
    out.push(b';');
    let mut n_params = 0_usize;
    for (name, value) in attributes.iter().filter(|(name, _)| !has_field(name)) {
        if n_params > 0 {
            out.push(b',');
        }
        put_param(name, value, out);
        n_params += 1;
    }
    if n_params == 0 {
        out.extend_from_slice(b"NA");
    }
}

/// Analogue inputs up to the last that has a value, at most sixteen.
fn put_adc(attributes: &Attributes, out: &mut Vec<u8>) {
    let values = || (1..=ADC_MAX).map(|number| attributes.value(&attributes::adc(number)));
    let n_inputs = values()
        .zip(1..)
        .filter(|(value, _)| value.is_some())
        .map(|(_, number)| number)
        .max();
    let Some(n_inputs) = n_inputs else {
        out.extend_from_slice(b";NA");
        return;
    };
    for (idx, value) in values().take(n_inputs).enumerate() {
        out.push(if idx == 0 { b';' } else { b',' });
        match value {
            Some(Value::Float(number)) => put(out, format_args!("{number}")),
            _ => out.extend_from_slice(b"NA"),
        }
    }
}

/// Analogue inputs that are written to their own field; others are parameters.
const ADC_MAX: usize = 16;

/// Whether an attribute has a field of its own.
fn has_field(name: &str) -> bool {
    [
        attributes::INPUTS,
        attributes::OUTPUTS,
        attributes::DRIVER_ID,
    ]
    .contains(&name)
        || attributes::adc_number(name).is_some_and(|number| (1..=ADC_MAX).contains(&number))
}

fn put_param(name: &str, value: &Value, out: &mut Vec<u8>) {
    put_text(name, out);
    match value {
        Value::Bool(yes) => put(out, format_args!(":1:{}", u8::from(*yes))),
        Value::Integer(number) => put(out, format_args!(":1:{number}")),
        Value::Float(number) => put(out, format_args!(":2:{number}")),
        Value::Text(text) => {
            out.extend_from_slice(b":3:");
            put_text(text, out);
        }
    }
}

/// A name or a text without the bytes that the format keeps for itself.
fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().map(|byte| match byte {
        b';' | b',' | b'|' | b':' | b'\r' | b'\n' => b'_',
        byte => byte,
    }));
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    out.write_fmt(text).ok();
}
