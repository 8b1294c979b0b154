//! Conversations with a decoder, merging, round trips, noise, and real receivers' logs.

#![allow(clippy::string_slice, clippy::too_many_lines, reason = "test")]

mod conversations;
mod logs;
mod merging;
mod raw;
mod round_trip;

use std::path::PathBuf;

use super::{Nmea, sentence::xor};
use crate::{
    base::time::Instant,
    protocol::{
        Admission, AdmitAll, Admittance, Context, Decoded, Decoder, DecoderOptions, FlushReason,
        Outcome, Protocol as _,
    },
    types::{record::Record, time::UnixMillis},
};

/// A connection in a test: feeds lines, keeps what came of them.
struct Conversation {
    decoder: Box<dyn Decoder>,
    admission: Box<dyn Admission>,
    now: u64,
    received: UnixMillis,
    out: Decoded,
}

/// Admits only vehicles whose name begins with `bus`.
#[derive(Debug)]
struct OnlyBuses;

impl Admission for OnlyBuses {
    fn admit(&self, vehicle: &str, _: Option<&str>) -> Admittance {
        if vehicle.starts_with("bus") {
            Admittance::Welcome
        } else {
            Admittance::Unknown
        }
    }
}

impl Conversation {
    fn new() -> Self {
        Self {
            decoder: Nmea.decoder(DecoderOptions::default()),
            admission: Box::new(AdmitAll),
            now: 1_000,
            received: UnixMillis::parse("2026-11-20T09:05:01.734Z").unwrap(),
            out: Decoded::default(),
        }
    }

    fn lenient() -> Self {
        Self {
            decoder: Nmea.decoder(DecoderOptions {
                is_lenient: true,
                ..DecoderOptions::default()
            }),
            ..Self::new()
        }
    }

    fn keeping_raw() -> Self {
        Self {
            decoder: Nmea.decoder(DecoderOptions {
                keeps_raw: true,
                ..DecoderOptions::default()
            }),
            ..Self::new()
        }
    }

    fn with_only_buses() -> Self {
        Self {
            admission: Box::new(OnlyBuses),
            ..Self::new()
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: Instant::from_millis(self.now),
            received: self.received,
            admission: &*self.admission,
        }
    }

    fn line(&mut self, line: impl AsRef<[u8]>) -> Outcome {
        let mut out = std::mem::take(&mut self.out);
        let mut decoder = self.decoder.snapshot();
        let outcome = decoder.line(&self.context(), line.as_ref(), &mut out);
        (self.decoder, self.out) = (decoder, out);
        outcome
    }

    #[track_caller]
    fn expect(&mut self, line: impl AsRef<[u8]>, expected: Outcome) -> &mut Self {
        let line = line.as_ref();
        let outcome = self.line(line);
        assert_eq!(outcome, expected, "{}", String::from_utf8_lossy(line));
        self
    }

    fn flush(&mut self, reason: FlushReason) {
        let mut out = std::mem::take(&mut self.out);
        let mut decoder = self.decoder.snapshot();
        decoder.flush(&self.context(), reason, &mut out);
        (self.decoder, self.out) = (decoder, out);
    }

    /// The records since the last call.
    fn records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.out.records)
    }

    /// The outcomes of held lines since the last call.
    fn released(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.out.released)
    }

    /// Vehicle and time of day of the records since the last call.
    fn summary(&mut self) -> Vec<String> {
        let of = |record: Record| {
            let time = record.key.time.to_string();
            format!("{} {}", record.key.vehicle, &time[11..19])
        };
        self.records().into_iter().map(of).collect()
    }
}

/// A sentence with its checksum.
fn sentence(content: &str) -> String {
    format!("${content}*{:02X}", xor(content.as_bytes()))
}

/// A valid RMC at a second of 2024-05-06 12:00.
fn rmc(second: u32) -> String {
    sentence(&format!(
        "GPRMC,1200{second:02}.00,A,5926.2320,N,02445.2100,E,10.0,181.0,060524,,,A"
    ))
}

fn gga(second: u32) -> String {
    sentence(&format!(
        "GPGGA,1200{second:02}.00,5926.2320,N,02445.2100,E,1,09,0.9,34.0,M,18.0,M,,"
    ))
}

/// A file of the reference data beside the package, if it is there.
fn reference(path: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared")
        .join(path);
    if !file.exists() {
        println!("SKIPPED: {} is not there", file.display());
        return None;
    }
    Some(file)
}
