//! What a device says: a plan, put into the words of its protocol.

use waymesh::{
    protocol::{
        nmea,
        wialon::{self, Answer, Fault, Reading, Version},
    },
    types::{
        attributes::{Attributes, Value},
        number::Degrees,
    },
};

use super::{Event, Expect, Message};
use crate::fleet::{Planned, Report, Spoil, What};

/// Degrees of latitude that are none on earth.
const LATITUDE_IMPOSSIBLE: i32 = 950_000_000;

/// The protocol of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Wialon IPS 1.1.
    WialonOne,
    /// Wialon IPS 2.0.
    WialonTwo,
    /// NMEA 0183.
    Nmea,
}

/// A protocol that devices can speak here, by its name in options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// Wialon IPS, 1.1 and 2.0
    Wialon,
    /// NMEA 0183 with an identity
    Nmea,
}

impl Protocol {
    /// Its languages; the first is the one that recordings are sent in.
    pub(crate) const fn languages(self) -> &'static [Language] {
        match self {
            Self::Wialon => &[Language::WialonOne, Language::WialonTwo],
            Self::Nmea => &[Language::Nmea],
        }
    }
}

impl Language {
    /// Whether lines are answered.
    pub(crate) const fn is_answered(self) -> bool {
        !matches!(self, Self::Nmea)
    }

    /// What the device says first on each connection.
    pub(crate) fn greeting(self, vehicle: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::WialonOne => wialon::encode_login(Version::One, vehicle, None, &mut bytes),
            Self::WialonTwo => wialon::encode_login(Version::Two, vehicle, None, &mut bytes),
            Self::Nmea => nmea::encode_identity(vehicle, &mut bytes),
        }
        bytes
    }
}

/// When the events of a plan are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Milliseconds of the run before the plan begins.
    pub(crate) begins_millis: u64,
    /// How many times as fast as the plan has them.
    pub(crate) speed: f64,
}

impl Timing {
    /// At once, and as fast as the plan has them.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self {
        begins_millis: 0,
        speed: 1.0,
    };
}

/// The events of a plan.
pub(crate) fn messages(
    language: Language,
    plan: impl Iterator<Item = Planned>,
    timing: Timing,
) -> impl Iterator<Item = Event> {
    let mut n_messages = 0_i64;
    plan.map(move |planned| {
        let due_millis = timing.begins_millis + (planned.at_millis as f64 / timing.speed) as u64;
        n_messages += 1;
        let version = match language {
            Language::WialonOne => Version::One,
            Language::WialonTwo => Version::Two,
            Language::Nmea => return nmea_event(due_millis, planned.what),
        };
        match planned.what {
            What::Live(report) => live(version, due_millis, report, n_messages),
            What::Archive(reports) => archive(version, due_millis, reports),
            What::Spoiled(report, spoil) => spoiled(version, due_millis, report, spoil),
            What::Reconnect => Event::Reconnect(due_millis),
        }
    })
}

/// Short and full lines in turn, so that an answer to another line shows.
fn live(version: Version, due_millis: u64, report: Report, number: i64) -> Event {
    let mut attributes = Attributes::new();
    let is_full = number % 2 == 0;
    if is_full {
        attributes.insert("count", Value::Integer(number));
    }
    let mut bytes = Vec::new();
    wialon::encode_position(version, &reading(&report, &attributes), &mut bytes);
    let answer = if is_full {
        Answer::Full(Ok(()))
    } else {
        Answer::Short(Ok(()))
    };
    let expects = Some(Expect::Exactly(answer));
    Event::Send(Message {
        due_millis,
        bytes,
        expects,
        reports: vec![report],
        is_spoiled: false,
    })
}

fn archive(version: Version, due_millis: u64, reports: Vec<Report>) -> Event {
    let attributes = Attributes::new();
    let readings: Vec<_> = reports
        .iter()
        .map(|report| reading(report, &attributes))
        .collect();
    let mut bytes = Vec::new();
    wialon::encode_batch(version, &readings, &mut bytes);
    let answer = Answer::Batch(u32::try_from(reports.len()).ok());
    let expects = Some(Expect::Exactly(answer));
    Event::Send(Message {
        due_millis,
        bytes,
        expects,
        reports,
        is_spoiled: false,
    })
}

fn spoiled(version: Version, due_millis: u64, report: Report, spoil: Spoil) -> Event {
    let mut wrong = report;
    if spoil == Spoil::Place {
        wrong.fix.latitude = Degrees::from_e7(LATITUDE_IMPOSSIBLE);
    }
    let mut bytes = Vec::new();
    wialon::encode_position(version, &reading(&wrong, &Attributes::new()), &mut bytes);
    let fault = match (spoil, version) {
        (Spoil::Place, _) => Fault::Coordinates,
        (Spoil::Checksum, Version::Two) => {
            alter_checksum(&mut bytes);
            Fault::Checksum
        }
        (Spoil::Checksum, Version::One) => {
            // Without its second half the line is no report.
            bytes.truncate(bytes.len() / 2);
            bytes.extend_from_slice(b"\r\n");
            Fault::Structure
        }
    };
    let expects = Some(Expect::Exactly(Answer::Short(Err(fault))));
    Event::Send(Message {
        due_millis,
        bytes,
        expects,
        reports: vec![report],
        is_spoiled: true,
    })
}

/// Changes the last hexadecimal digit of a line.
fn alter_checksum(line: &mut [u8]) {
    if let Some(digit) = line.iter_mut().rev().find(|byte| byte.is_ascii_hexdigit()) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
}

fn nmea_event(due_millis: u64, what: What) -> Event {
    let reports = match what {
        What::Live(report) | What::Spoiled(report, _) => vec![report],
        What::Archive(reports) => reports,
        What::Reconnect => return Event::Reconnect(due_millis),
    };
    let mut bytes = Vec::new();
    for report in &reports {
        nmea::encode_rmc(report.time, &report.fix, &mut bytes);
        nmea::encode_gga(report.time, &report.fix, &mut bytes);
    }
    Event::Send(Message {
        due_millis,
        bytes,
        expects: None,
        reports,
        is_spoiled: false,
    })
}

const fn reading<'a>(report: &Report, attributes: &'a Attributes) -> Reading<'a> {
    Reading {
        time: Some(report.time),
        fix: Some(report.fix),
        attributes,
    }
}

#[cfg(test)]
mod tests {
    use waymesh::{
        base::time::Instant,
        protocol::{AdmitAll, Context, Decoded, DecoderOptions, Outcome, Registry},
        types::time::UnixMillis,
    };

    use super::*;
    use crate::fleet::{Faults, Plan, PlanConfig};

    /// What devices say is decoded by the node's own decoder, and answered as they expect.
    #[test]
    fn a_node_understands_what_devices_say_and_answers_as_they_expect() {
        for language in [Language::WialonOne, Language::WialonTwo] {
            let registry = Registry::built_in();
            let mut decoder = registry
                .by_name("wialon")
                .unwrap()
                .decoder(DecoderOptions::default());
            let context = Context {
                now: Instant::from_millis(0),
                received: UnixMillis(1_700_009_000_000),
                admission: &AdmitAll,
            };
            let config = PlanConfig {
                seed: 3,
                start: UnixMillis(1_700_000_000_000),
                n_seconds: 2_000,
                interval_seconds: 2,
                is_answered: true,
                faults: Faults::SOME,
            };
            let mut decoded = Decoded::default();
            let greeting = language.greeting("v");
            decoder.line(&context, greeting.trim_ascii_end(), &mut decoded);
            for event in messages(language, Plan::new(config), Timing::PLAIN) {
                let Event::Send(message) = event else {
                    continue;
                };
                let mut decoded = Decoded::default();
                let line = message.bytes.trim_ascii_end();
                let outcome = decoder.line(&context, line, &mut decoded);
                let answer = Answer::parse(decoded.replies.trim_ascii_end()).unwrap();
                assert!(
                    message.expects.unwrap().is_met(&answer),
                    "{answer:?} to {message:?}"
                );
                assert_eq!(matches!(outcome, Outcome::Rejected(_)), message.is_spoiled);
                let n_records = if message.is_spoiled {
                    0
                } else {
                    message.reports.len()
                };
                assert_eq!(decoded.records.len(), n_records);
            }
        }
    }
}
