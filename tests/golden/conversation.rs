//! One connection's lines driven through a decoder, printed as `waymesh decode` prints them.

use serde::Serialize;
use waymesh::{
    base::time::Instant,
    protocol::{
        AdmitAll, Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, Protocol,
    },
    types::{
        json::RecordJson,
        record::{Kind, Record},
        time::UnixMillis,
    },
};

/// The time at which all lines here are received.
pub(crate) const RECEIVED: &str = "2026-11-20T12:00:00Z";

/// What one line, or the end of the connection, gave.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) line: Vec<u8>,
    pub(crate) outcome: Outcome,
    pub(crate) decoded: Decoded,
}

#[derive(Serialize)]
struct TurnJson<'a> {
    line: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    positions: Option<Vec<RecordJson<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<RecordJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replies: Option<Vec<String>>,
}

/// The turns of a connection on which `lines` come, and then its end if that gives anything.
pub(crate) fn converse<'l>(
    protocol: &dyn Protocol,
    options: DecoderOptions,
    lines: impl IntoIterator<Item = &'l [u8]>,
) -> Vec<Turn> {
    let mut decoder = protocol.decoder(options);
    let context = Context {
        now: Instant::from_millis(0),
        received: UnixMillis::parse(RECEIVED).unwrap(),
        admission: &AdmitAll,
    };
    let mut turns: Vec<Turn> = lines
        .into_iter()
        .map(|line| take(decoder.as_mut(), &context, line))
        .collect();
    let mut decoded = Decoded::default();
    decoder.flush(&context, FlushReason::End, &mut decoded);
    if !decoded.records.is_empty() || !decoded.replies.is_empty() {
        turns.push(Turn {
            line: Vec::new(),
            outcome: Outcome::NoPosition,
            decoded,
        });
    }
    turns
}

fn take(decoder: &mut dyn Decoder, context: &Context<'_>, line: &[u8]) -> Turn {
    let mut decoded = Decoded::default();
    let outcome = decoder.line(context, line, &mut decoded);
    Turn {
        line: line.to_vec(),
        outcome,
        decoded,
    }
}

impl Turn {
    /// The answers, each with its end.
    pub(crate) fn replies(&self) -> Vec<String> {
        self.decoded
            .replies
            .split_inclusive(|byte| *byte == b'\n')
            .map(|reply| String::from_utf8_lossy(reply).into_owned())
            .collect()
    }

    /// The positions.
    pub(crate) fn positions(&self) -> impl Iterator<Item = &Record> {
        self.of_kind(Kind::Position)
    }

    /// One object as `waymesh decode` prints it.
    pub(crate) fn to_json(&self, protocol: &str) -> String {
        let line = String::from_utf8_lossy(&self.line);
        let error = match self.outcome {
            Outcome::Rejected(reason) => Some(reason.as_str()),
            _ => None,
        };
        let json = |kind| self.of_kind(kind).map(RecordJson::new).collect();
        let is_right = error.is_none();
        let replies = self.replies();
        let turn = TurnJson {
            line: &line,
            protocol: is_right.then_some(protocol),
            error,
            positions: is_right.then(|| json(Kind::Position)),
            events: json(Kind::Event),
            replies: (is_right || !replies.is_empty()).then_some(replies),
        };
        serde_json::to_string(&turn).unwrap()
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Record> {
        self.decoded
            .records
            .iter()
            .filter(move |record| record.kind() == kind)
    }
}
