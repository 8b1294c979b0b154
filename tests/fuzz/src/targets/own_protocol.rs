//! Protocols of the user's own: any file gives faults that point into it, or protocols that take any
//! line without harm, each line like another protocol of the same description would.

use waymesh::{
    base::time::Instant,
    config::Environment,
    delivery::frame::encode_record,
    protocol::{
        Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, Protocol as _,
        Recognition, Registry, RejectReason,
        framing::{Framed, FramerState},
        own::{LINE_BYTES_MAX, OwnProtocol, OwnSpec},
    },
    types::record::Record,
};

use super::{
    configuration::check_file,
    decoder::{Doorman, GROWTH_MAX, RECEIVED, RECORD_BYTES_MAX},
    possible,
};

/// Longest line that comes out of the stream.
const CAP: usize = 4_096;

/// Bytes of the stream by which a protocol is looked for, once for each of them.
const HEAD_BYTES_MAX: usize = 100;

/// Longest id of a vehicle, which an answer may name.
const VEHICLE_BYTES_MAX: usize = 64;

/// What one line did.
#[derive(Debug, PartialEq)]
struct Told {
    outcome: Outcome,
    records: Vec<Record>,
    replies: Vec<u8>,
    is_login_refused: bool,
}

/// The input: a file of settings, and behind a zero byte a byte of options and a stream of lines.
pub(crate) fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let file = parts.next().unwrap_or_default();
    let (options, stream) = match parts.next().unwrap_or_default().split_first() {
        Some((switches, stream)) => {
            let is_lenient = switches & 1 == 1;
            let keeps_raw = switches >> 1 & 1 == 1;
            let options = DecoderOptions {
                is_lenient,
                keeps_raw,
            };
            (options, stream)
        }
        None => (DecoderOptions::default(), [].as_slice()),
    };
    let text = String::from_utf8_lossy(input);
    let loaded = check_file(file, Environment::default(), &text);
    if let Some(loaded) = &loaded {
        check_recognition(&loaded.config.protocols, stream);
    }
    for protocol in loaded.iter().flat_map(|loaded| &loaded.config.protocols) {
        check_first_lines(protocol);
        check_lines(protocol, options, stream);
    }
}

/// Which protocol a connection speaks does not depend on how its bytes come.
fn check_recognition(protocols: &[OwnProtocol], stream: &[u8]) {
    let registry = Registry::built_in().with_own(protocols);
    let head = &stream[..stream.len().min(HEAD_BYTES_MAX)];
    let name = |end: usize| registry.recognise(&head[..end]).map(|found| found.name());
    let one_by_one = (0..=head.len()).map(name).find(|found| *found != Err(true));
    assert_eq!(
        one_by_one.unwrap_or(Err(true)),
        name(head.len()),
        "{:?}",
        head.escape_ascii()
    );
}

/// A line that a protocol makes up is one of its own, and is not given up while it comes.
fn check_first_lines(protocol: &OwnProtocol) {
    for (idx, line) in protocol.first_lines() {
        assert!(idx < protocol.spec().lines.len());
        assert!(line.len() <= LINE_BYTES_MAX + 1, "{} bytes", line.len());
        // One that begins with what stands between lines is never seen whole.
        if matches!(protocol.recognise(&line), Recognition::Line { .. }) {
            for end in 0..line.len() {
                let seen = protocol.recognise(&line[..end]);
                assert_ne!(seen, Recognition::No, "{:?}", line.escape_ascii());
            }
        }
    }
}

fn check_lines(protocol: &OwnProtocol, options: DecoderOptions, stream: &[u8]) {
    let again = OwnProtocol::compile(protocol.spec().clone()).expect("it compiled before");
    let mut decoder = protocol.decoder(options);
    let mut other = again.decoder(options);
    let lines = lines(protocol, stream);
    for line in &lines {
        let copy = decoder.snapshot();
        let told = tell(&mut decoder, line);
        check_told(protocol.spec(), line, &told);
        check_refusal(protocol.spec(), &*copy, line);
        assert_eq!(tell(&mut other, line), told, "{:?}", line.escape_ascii());
        assert_eq!(tell(&mut { copy }, line), told, "a copy");
        assert_eq!(other.vehicle(), decoder.vehicle());
        let is_fitting = told.outcome != Outcome::Rejected(RejectReason::Malformed);
        let mut head = line.to_vec();
        head.push(protocol.spec().terminator);
        let recognised = protocol.recognise(&head);
        let is_recognised = matches!(recognised, Recognition::Line { .. });
        assert!(!is_fitting || is_recognised, "{head:?}");
    }
    if let Some(line) = lines.first() {
        let long: Vec<u8> = line
            .iter()
            .copied()
            .cycle()
            .take(LINE_BYTES_MAX + 1)
            .collect();
        let outcome = tell(&mut decoder, &long).outcome;
        assert_eq!(outcome, Outcome::Rejected(RejectReason::Malformed));
    }
    let mut out = Decoded::default();
    decoder.flush(&context(), FlushReason::End, &mut out);
    assert!(out.records.is_empty() && out.replies.is_empty() && out.released.is_empty());
    assert_eq!(decoder.next_deadline(), None);
}

/// The lines of the stream as the protocol frames them.
fn lines<'a>(protocol: &OwnProtocol, stream: &'a [u8]) -> Vec<&'a [u8]> {
    let mut lines = Vec::new();
    let mut rest = stream;
    loop {
        let found = protocol
            .framing()
            .next(&mut FramerState::default(), rest, CAP);
        let consumed = match found {
            Framed::Line { line, consumed } => {
                lines.push(&rest[line]);
                consumed
            }
            Framed::TooLong { consumed, .. } => consumed,
            Framed::Incomplete { .. } => return lines,
        };
        rest = &rest[consumed..];
    }
}

const fn context() -> Context<'static> {
    Context {
        now: Instant::from_millis(0),
        received: RECEIVED,
        admission: &Doorman,
    }
}

fn tell(decoder: &mut Box<dyn Decoder>, line: &[u8]) -> Told {
    let mut out = Decoded::default();
    let outcome = decoder.line(&context(), line, &mut out);
    assert!(out.released.is_empty(), "nothing is held");
    Told {
        outcome,
        records: out.records,
        replies: out.replies,
        is_login_refused: out.is_login_refused,
    }
}

fn check_told(spec: &OwnSpec, line: &[u8], told: &Told) {
    let is_rejected = matches!(told.outcome, Outcome::Rejected(_));
    assert_ne!(told.outcome, Outcome::Held);
    assert!(told.records.len() <= 1, "{told:?}");
    assert!(!is_rejected || told.records.is_empty(), "{told:?}");
    assert!(is_rejected || !told.is_login_refused, "{told:?}");
    assert!(
        told.replies.len() <= reply_bytes_max(spec, line),
        "{told:?}"
    );
    for record in &told.records {
        assert_eq!(record.protocol, spec.name.as_str());
        let is_position = told.outcome == Outcome::Positions;
        assert_eq!(record.fix().is_some(), is_position, "{record:?}");
        possible::check(record, RECEIVED);
        let mut bytes = Vec::new();
        encode_record(record, &mut bytes);
        let names = spec.lines.iter().map(|line| line.expression.len());
        let n_bytes_max =
            RECORD_BYTES_MAX + GROWTH_MAX * (line.len() + names.max().unwrap_or_default());
        assert!(bytes.len() <= n_bytes_max, "{} of {line:?}", bytes.len());
    }
}

/// What an answer can take: its text, and for each name in it the line or a vehicle.
fn reply_bytes_max(spec: &OwnSpec, line: &[u8]) -> usize {
    let own = spec.lines.iter().filter_map(|line| line.reply.as_ref());
    let replies = own.chain([&spec.reply, &spec.refusal]);
    let bytes_max = |reply: &String| {
        let n_names = reply.matches('{').count();
        reply.len() + n_names * line.len().max(VEHICLE_BYTES_MAX)
    };
    replies.map(bytes_max).max().unwrap_or_default()
}

/// A line that could not be stored is answered with the refusal, or leaves a gap.
fn check_refusal(spec: &OwnSpec, decoder: &dyn Decoder, line: &[u8]) {
    let mut refusal = Vec::new();
    let goes_on = decoder.refuse(line, &mut refusal);
    assert!(refusal.len() <= reply_bytes_max(spec, line));
    assert!(goes_on || refusal.is_empty());
    assert_eq!(
        refusal.is_empty(),
        is_silent(&spec.refusal, decoder),
        "{refusal:?}"
    );
}

/// Whether nothing is left of an answer: it is empty, or names a vehicle that is not known.
fn is_silent(reply: &str, decoder: &dyn Decoder) -> bool {
    let rest = match decoder.vehicle() {
        Some(_) => reply.to_owned(),
        None => reply.replace("{vehicle}", ""),
    };
    rest.is_empty()
}
