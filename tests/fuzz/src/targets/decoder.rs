//! Decoders: no line panics, each has one outcome, a copy of the decoder does the same, and what
//! comes out is possible, of bounded size, and the same again when it is written and read.

use std::time::Duration;

use waymesh::{
    base::time::Instant,
    delivery::frame::encode_record,
    protocol::{
        Admission, Admittance, Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome,
        Protocol, nmea::Nmea, wialon::Wialon,
    },
    types::{record::Record, time::UnixMillis},
};

use super::{choices::Choices, possible, round_trip, seal::sealed};

/// When all lines are read.
pub(crate) const RECEIVED: UnixMillis = UnixMillis(1_795_176_000_000);

/// Time between two lines, by choice; a merge waits for a second.
const STEPS_MILLIS: [u64; 4] = [0, 100, 400, 1_100];

/// Bytes that a line answers at most.
const REPLY_BYTES_MAX: usize = 64;

/// Bytes of a record as it is stored, what the line says itself aside.
pub(crate) const RECORD_BYTES_MAX: usize = 256;

/// Bytes of a record for one byte of its line: a name of one byte more with a number of eight, or
/// three for a byte that is no text.
pub(crate) const GROWTH_MAX: usize = 12;

/// Longest input.
const INPUT_BYTES_MAX: usize = 4_000;

/// Shortest report: the separators of a short one, and the one to the next.
const REPORT_BYTES_MIN: usize = 10;

pub(crate) fn check_wialon(input: &[u8]) {
    check(&Wialon, input);
}

pub(crate) fn check_nmea(input: &[u8]) {
    check(&Nmea, input);
}

/// Admits everyone but those whose name or password begins with `x`.
#[derive(Debug)]
pub(crate) struct Doorman;

impl Admission for Doorman {
    fn admit(&self, vehicle: &str, password: Option<&str>) -> Admittance {
        if vehicle.starts_with('x') {
            Admittance::Unknown
        } else if password.is_some_and(|password| password.starts_with('x')) {
            Admittance::WrongPassword
        } else {
            Admittance::Welcome
        }
    }
}

/// The input: options, then lines.
fn check(protocol: &dyn Protocol, input: &[u8]) {
    let mut choices = Choices::new(input);
    let switches = choices.byte();
    let options = DecoderOptions {
        is_lenient: switches & 1 == 1,
        keeps_raw: switches >> 3 & 1 == 1,
    };
    let step_millis = STEPS_MILLIS[usize::from(switches >> 1 & 3)];
    let mut conversation = Conversation {
        protocol,
        decoder: protocol.decoder(options),
        keeps_raw: options.keeps_raw,
        now: Instant::from_millis(0),
        n_held: 0,
        n_released: 0,
    };
    for line in sealed(choices.rest()).split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            conversation.pass(Duration::from_millis(step_millis));
            conversation.line(line);
        }
    }
    conversation.end();
}

struct Conversation<'a> {
    protocol: &'a dyn Protocol,
    decoder: Box<dyn Decoder>,
    keeps_raw: bool,
    now: Instant,
    n_held: usize,
    n_released: usize,
}

impl Conversation<'_> {
    const fn context(&self) -> Context<'static> {
        Context {
            now: self.now,
            received: RECEIVED,
            admission: &Doorman,
        }
    }

    fn line(&mut self, line: &[u8]) {
        let context = self.context();
        let mut copy = self.decoder.snapshot();
        let mut out = Decoded::default();
        let outcome = self.decoder.line(&context, line, &mut out);
        self.n_held += usize::from(outcome == Outcome::Held);
        self.check_output(line.len(), &out);
        let mut again = Decoded::default();
        assert_eq!(copy.line(&context, line, &mut again), outcome);
        assert_eq!(
            (&again.records, &again.replies, &again.released),
            (&out.records, &out.replies, &out.released)
        );
        assert_eq!(again.is_login_refused, out.is_login_refused);
        assert_eq!(copy.vehicle(), self.decoder.vehicle());
        assert_eq!(copy.next_deadline(), self.decoder.next_deadline());
        let mut refusal = Vec::new();
        let is_answered = copy.refuse(line, &mut refusal);
        assert!(is_answered || refusal.is_empty());
        assert!(refusal.len() <= REPLY_BYTES_MAX);
    }

    /// Time passes, and with it the deadlines in it.
    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let due = self.decoder.next_deadline().filter(|due| *due <= self.now);
        if due.is_some() {
            self.flush(FlushReason::Deadline);
            let next = self.decoder.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "{next:?}");
        }
    }

    fn flush(&mut self, reason: FlushReason) {
        let mut out = Decoded::default();
        self.decoder.flush(&self.context(), reason, &mut out);
        self.check_output(0, &out);
    }

    fn end(&mut self) {
        self.flush(FlushReason::End);
        assert_eq!(self.n_released, self.n_held, "each held line is released");
        assert_eq!(self.decoder.next_deadline(), None);
    }

    /// Checks what came of a line of `n_bytes`, and of those that were merged with it.
    fn check_output(&mut self, n_bytes: usize, out: &Decoded) {
        self.n_released += out.released.len();
        assert!(self.n_released <= self.n_held, "released and never held");
        assert!(out.released.iter().all(|outcome| *outcome != Outcome::Held));
        assert!(out.replies.is_empty() || out.replies.ends_with(b"\r\n"));
        assert!(out.replies.len() <= REPLY_BYTES_MAX, "{:?}", out.replies);
        // One that was held before, and one that was being merged, may come with those of the line.
        assert!(out.records.len() <= 3 + n_bytes / REPORT_BYTES_MIN);
        let raw = out.records.iter().map(|record| record.raw.as_deref());
        assert!(raw.clone().all(|raw| raw.is_some() == self.keeps_raw));
        // Their own lines, which came before, and parts of this one.
        let raw_bytes: usize = raw.flatten().map(<[u8]>::len).sum();
        assert!(raw_bytes <= 3 * INPUT_BYTES_MAX + n_bytes, "{raw_bytes}");
        let mut bytes = Vec::new();
        out.records
            .iter()
            .for_each(|record| encode_record(record, &mut bytes));
        let n_bytes_max = RECORD_BYTES_MAX * out.records.len() + GROWTH_MAX * n_bytes + raw_bytes;
        assert!(bytes.len() <= n_bytes_max, "{} of {n_bytes}", bytes.len());
        for record in &out.records {
            self.check_record(record);
        }
    }

    fn check_record(&self, record: &Record) {
        assert_eq!(record.protocol, self.protocol.name());
        possible::check(record, RECEIVED);
        round_trip::check(record);
    }
}
