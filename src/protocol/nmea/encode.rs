//! Records to sentences, for tests and for made-up fleets. What is decoded from them is what was
//! given, to the last unit.

use std::io::Write as _;

use super::sentence::xor;
use crate::types::{
    number::{Degrees, Milli},
    record::Fix,
    time::UnixMillis,
};

/// Units of 1e-7 in a degree; seven decimals of a minute hold them exactly.
const UNITS_PER_DEGREE: u32 = 10_000_000;

/// Appends `$PGID,{vehicle}*hh` with its end of line.
pub fn encode_identity(vehicle: &str, out: &mut Vec<u8>) {
    sentence(out, format_args!("PGID,{vehicle}"));
}

/// Appends an RMC of `fix` at `time` with its end of line: place, speed, course. `time` must lie in
/// the years 1990 to 2069, which its two digits can tell apart; what an RMC has no field for
/// is left out.
pub fn encode_rmc(time: UnixMillis, fix: &Fix, out: &mut Vec<u8>) {
    let moment = time.to_civil();
    let status = if fix.valid { 'A' } else { 'V' };
    let place = Place(fix);
    let speed = Optional(fix.speed_kmh.map(knots));
    let course = Optional(fix.course_deg.map(Milli::as_f64));
    let date = format_args!(
        "{:02}{:02}{:02}",
        moment.day(),
        moment.month(),
        moment.year().rem_euclid(100)
    );
    let clock = Clock(time);
    sentence(
        out,
        format_args!("GPRMC,{clock},{status},{place},{speed},{course},{date},,,{status}"),
    );
}

/// Appends a GGA of `fix` at `time` with its end of line: place, satellites, dilution, altitude.
pub fn encode_gga(time: UnixMillis, fix: &Fix, out: &mut Vec<u8>) {
    let quality = u8::from(fix.valid);
    let place = Place(fix);
    let satellites = fix
        .satellites
        .map_or_else(String::new, |number| format!("{number:02}"));
    let hdop = Optional(fix.hdop.map(Milli::as_f64));
    let altitude = Optional(fix.altitude_m.map(Milli::as_f64));
    let clock = Clock(time);
    sentence(
        out,
        format_args!("GPGGA,{clock},{place},{quality},{satellites},{hdop},{altitude},M,,M,,"),
    );
}

/// Appends `$`, the content, its checksum and the end of the line.
pub(super) fn sentence(out: &mut Vec<u8>, content: std::fmt::Arguments<'_>) {
    out.push(b'$');
    let start = out.len();
    write(out, content);
    let checksum = xor(out.get(start..).unwrap_or_default());
    write(out, format_args!("*{checksum:02X}\r\n"));
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}

/// Knots to four decimals: enough that thousandths of km/h come back.
fn knots(speed: Milli) -> f64 {
    (f64::from(speed.as_thousandths()) / 1_852.0 * 1e4).round() / 1e4
}

struct Clock(UnixMillis);

struct Place<'a>(&'a Fix);

struct Optional(Option<f64>);

impl std::fmt::Display for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let moment = self.0.to_civil();
        let millis = moment.millisecond();
        let (hour, minute, second) = (moment.hour(), moment.minute(), moment.second());
        write!(formatter, "{hour:02}{minute:02}{second:02}.{millis:03}")
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = |degrees: Degrees| {
            let units = degrees.as_e7().unsigned_abs();
            let minutes = u64::from(units % UNITS_PER_DEGREE) * 60;
            let (whole, rest) = (minutes / 10_000_000, minutes % 10_000_000);
            (units / UNITS_PER_DEGREE, whole, rest)
        };
        let hemisphere = |degrees: Degrees, names: [char; 2]| {
            let [positive, negative] = names;
            if degrees.as_e7() < 0 {
                negative
            } else {
                positive
            }
        };
        let (degrees, minutes, rest) = parts(self.0.latitude);
        let side = hemisphere(self.0.latitude, ['N', 'S']);
        write!(formatter, "{degrees:02}{minutes:02}.{rest:07},{side},")?;
        let (degrees, minutes, rest) = parts(self.0.longitude);
        let side = hemisphere(self.0.longitude, ['E', 'W']);
        write!(formatter, "{degrees:03}{minutes:02}.{rest:07},{side}")
    }
}

impl std::fmt::Display for Optional {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |number| number.fmt(formatter))
    }
}
