//! The edges of time and place, the same for every protocol that writes them as digits.

use waymesh::{
    base::time::Instant,
    protocol::{
        AdmitAll, Context, Decoded, DecoderOptions, FlushReason, Outcome, Registry, RejectReason,
    },
    types::{record::Record, time::UnixMillis},
};

const PLACE: [&str; 4] = ["5926.2320", "N", "02445.2100", "E"];
const DATE: &str = "201126";
const CLOCK: &str = "090501";

/// What a Wialon and an NMEA line of the same date, clock and place give: one answer for both.
#[track_caller]
fn report(date: &str, clock: &str, place: [&str; 4]) -> Result<Record, RejectReason> {
    let place_of = |separator: &str| place.join(separator);
    let wialon = format!("#SD#{date};{clock};{};10;181;NA;9", place_of(";"));
    let content = format!("GPRMC,{clock},A,{},,,{date},,,A", place_of(","));
    let sum = content.bytes().fold(0, |sum, byte| sum ^ byte);
    let nmea = format!("${content}*{sum:02X}");
    let short = decode("wialon", "#L#bus-7;NA", &wialon);
    let sentence = decode("nmea", "$IMEI=bus-7", &nmea);
    match (&short, &sentence) {
        (Ok(one), Ok(other)) => {
            let (here, there) = (one.fix().unwrap(), other.fix().unwrap());
            assert_eq!(one.key.time, other.key.time);
            assert_eq!(
                (here.latitude, here.longitude),
                (there.latitude, there.longitude)
            );
        }
        (one, other) => assert_eq!(one.as_ref().err(), other.as_ref().err()),
    }
    short
}

fn decode(protocol: &str, login: &str, line: &str) -> Result<Record, RejectReason> {
    let registry = Registry::built_in();
    let mut decoder = registry
        .by_name(protocol)
        .unwrap()
        .decoder(DecoderOptions::default());
    let context = Context {
        now: Instant::from_millis(0),
        received: UnixMillis::parse("2026-11-20T12:00:00Z").unwrap(),
        admission: &AdmitAll,
    };
    let mut out = Decoded::default();
    assert_eq!(
        decoder.line(&context, login.as_bytes(), &mut out),
        Outcome::NoPosition
    );
    let outcome = decoder.line(&context, line.as_bytes(), &mut out);
    decoder.flush(&context, FlushReason::End, &mut out);
    match outcome {
        Outcome::Rejected(reason) => {
            assert!(out.records.is_empty());
            Err(reason)
        }
        outcome => {
            assert_eq!((outcome, out.records.len()), (Outcome::Positions, 1));
            Ok(out.records.remove(0))
        }
    }
}

#[test]
fn a_day_is_one_of_the_calendar_since_1990() {
    let cases = [
        ("290224", Some("2024-02-29")),
        ("290200", Some("2000-02-29")),
        ("311226", Some("2026-12-31")),
        ("010190", Some("1990-01-01")),
        ("311269", Some("2069-12-31")),
        ("290223", None),
        ("290226", None),
        ("300224", None),
        ("310226", None),
        ("310426", None),
        ("000126", None),
        ("010026", None),
        ("011326", None),
        ("320126", None),
        ("311289", None),
        ("060180", None),
        ("010170", None),
        ("20112026", None),
        ("2O1126", None),
        ("-10126", None),
    ];
    for (date, expected) in cases {
        let time = report(date, CLOCK, PLACE).map(|record| record.key.time.to_string());
        match expected {
            Some(day) => assert_eq!(time, Ok(format!("{day}T09:05:01.000Z")), "{date}"),
            None => assert_eq!(time, Err(RejectReason::TimeImpossible), "{date}"),
        }
    }
}

#[test]
fn a_clock_goes_from_midnight_to_a_millisecond_before_it() {
    let cases = [
        ("000000", Some("00:00:00.000")),
        ("000000.000", Some("00:00:00.000")),
        ("235959", Some("23:59:59.000")),
        ("235959.9999999", Some("23:59:59.999")),
        ("240000", None),
        ("236000", None),
        ("235960", None),
        ("235960.500", None),
        ("-00001", None),
        ("0905", None),
        ("09:05:01", None),
        ("090501.5.5", None),
    ];
    for (clock, expected) in cases {
        let time = report(DATE, clock, PLACE).map(|record| record.key.time.to_string());
        match expected {
            Some(expected) => assert_eq!(time, Ok(format!("2026-11-20T{expected}Z")), "{clock}"),
            None => assert_eq!(time, Err(RejectReason::TimeImpossible), "{clock}"),
        }
    }
}

#[test]
fn a_place_is_on_earth_its_poles_and_its_date_line_included() {
    let cases = [
        (["9000.0000", "N", "18000.0000", "E"], Some((90.0, 180.0))),
        (["9000.0000", "S", "18000.0000", "W"], Some((-90.0, -180.0))),
        (["0000.0000", "S", "00000.0000", "W"], Some((0.0, 0.0))),
        (["-0", "N", "-0.0", "E"], Some((0.0, 0.0))),
        (
            ["8959.99999999", "N", "17959.99999999", "W"],
            Some((90.0, -180.0)),
        ),
        (["0", "N", "0", "E"], Some((0.0, 0.0))),
        (
            ["0059.9999", "N", "00100.0000", "E"],
            Some((0.999_998_3, 1.0)),
        ),
        (["9000.0001", "N", "00000.0000", "E"], None),
        (["9001.0000", "S", "00000.0000", "E"], None),
        (["0000.0000", "N", "18000.0001", "E"], None),
        (["0000.0000", "N", "18100.0000", "W"], None),
        (["5960.0000", "N", "02445.2100", "E"], None),
        (["-5926.2320", "N", "02445.2100", "E"], None),
        (["5926.2320", "E", "02445.2100", "N"], None),
        (["5926.2320", "n", "02445.2100", "e"], None),
        (["5926.2320", "", "02445.2100", "E"], None),
        (["NaN", "N", "inf", "E"], None),
        (["5.9e3", "N", "02445.2100", "E"], None),
        (["99999999999999999999", "N", "02445.2100", "E"], None),
        (["5926..2320", "N", "02445.2100", "E"], None),
        ([".", "N", "-", "E"], None),
    ];
    for (place, expected) in cases {
        let found = report(DATE, CLOCK, place).map(|record| {
            let fix = record.fix().unwrap();
            (fix.latitude.as_f64(), fix.longitude.as_f64())
        });
        match expected {
            Some(expected) => {
                let (latitude, longitude) = found.unwrap();
                assert_eq!((latitude, longitude), expected, "{place:?}");
                let is_plain = |degrees: f64| degrees != 0.0 || degrees.is_sign_positive();
                assert!(
                    is_plain(latitude) && is_plain(longitude),
                    "no -0: {place:?}"
                );
            }
            None => assert_eq!(found, Err(RejectReason::CoordinatesImpossible), "{place:?}"),
        }
    }
}
