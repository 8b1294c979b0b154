//! What a connection's bytes mean, worked out in one piece from the parts that a line buffer is made
//! of: recognition, framing, decoder.

use waymesh::{
    base::time::Instant,
    protocol::{
        Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, Registry, RejectReason,
        framing::{Framed, FramerState, Framing, LineHead},
    },
    types::{record::Record, time::UnixMillis},
};

use super::connection::{LINE_BYTES_MAX, Outcomes, vehicles};

/// What becomes of these bytes.
pub(crate) fn outcomes(stream: &[u8]) -> Outcomes {
    let registry = Registry::built_in();
    let vehicles = vehicles();
    let context = Context {
        now: Instant::from_millis(0),
        received: UnixMillis(waymesh::base::time::wall_millis()),
        admission: &vehicles,
    };
    let mut connection = Whole {
        context,
        registry: &registry,
        language: None,
        decoded: Decoded::default(),
        outcomes: Outcomes::default(),
    };
    connection.lines(stream);
    let mut outcomes = connection.outcomes;
    outcomes.records = connection.decoded.records;
    outcomes.replies = connection.decoded.replies;
    outcomes.records.iter_mut().for_each(forget_reception);
    outcomes
}

/// Takes out of a record what tells when it was received.
pub(crate) fn forget_reception(record: &mut Record) {
    if record.key.time == record.received {
        record.key.time = UnixMillis(0);
    }
    record.received = UnixMillis(0);
}

struct Whole<'a> {
    context: Context<'a>,
    registry: &'a Registry,
    language: Option<(Framing, Box<dyn Decoder>)>,
    decoded: Decoded,
    outcomes: Outcomes,
}

impl Whole<'_> {
    fn lines(&mut self, stream: &[u8]) {
        let mut rest = stream;
        while !rest.is_empty() && self.recognise(rest) {
            let framing = self
                .language
                .as_ref()
                .map_or(Framing::Terminated(b"\n"), |(framing, _)| *framing);
            let mut state = FramerState::default();
            let consumed = match framing.next(&mut state, rest, LINE_BYTES_MAX as usize) {
                Framed::Line { line, consumed } => {
                    self.line(&rest[line]);
                    consumed
                }
                Framed::TooLong { head, consumed, .. } => {
                    if !self.refuse(head) {
                        return;
                    }
                    consumed
                }
                Framed::Incomplete { consumed } => {
                    rest = &rest[consumed..];
                    self.reject_cut(rest, state.discarded.is_some());
                    return self.flush();
                }
            };
            rest = &rest[consumed..];
            if self.decoded.is_login_refused {
                return self.flush();
            }
        }
        self.reject_cut(rest, false);
        self.flush();
    }

    /// What is left is a line without its end, line breaks aside.
    fn reject_cut(&mut self, rest: &[u8], is_dropping: bool) {
        let has_begun = rest.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if has_begun || is_dropping {
            self.reject(RejectReason::Cut, rest);
        }
    }

    /// Whether it is known how to set lines apart.
    fn recognise(&mut self, rest: &[u8]) -> bool {
        if self.language.is_some() {
            return true;
        }
        match self.registry.recognise(rest) {
            Ok(protocol) => {
                let decoder = protocol.decoder(DecoderOptions::default());
                self.language = Some((protocol.framing(), decoder));
                true
            }
            Err(wants_more) => !wants_more,
        }
    }

    fn line(&mut self, line: &[u8]) {
        let outcome = match &mut self.language {
            Some((_, decoder)) => decoder.line(&self.context, line, &mut self.decoded),
            None => Outcome::Rejected(RejectReason::UnknownProtocol),
        };
        match outcome {
            Outcome::Rejected(reason) => self.reject(reason, line),
            other => self.count(other),
        }
        self.count_released();
    }

    fn reject(&mut self, reason: RejectReason, line: &[u8]) {
        self.count(Outcome::Rejected(reason));
        self.outcomes.rejected.push((reason, line.to_vec()));
    }

    fn count(&mut self, outcome: Outcome) {
        let idx = match outcome {
            Outcome::Positions => 0,
            Outcome::Merged => 1,
            Outcome::NoPosition => 2,
            Outcome::Rejected(_) => 3,
            Outcome::Held => return,
        };
        self.outcomes.counts[idx] += 1;
    }

    fn count_released(&mut self) {
        for outcome in std::mem::take(&mut self.decoded.released) {
            self.count(outcome);
        }
    }

    /// Refuses a line over the cap; false if that leaves a gap.
    fn refuse(&mut self, head: LineHead) -> bool {
        self.reject(RejectReason::TooLong, b"");
        match &self.language {
            Some((_, decoder)) => decoder.refuse(&head, &mut self.decoded.replies),
            None => true,
        }
    }

    fn flush(&mut self) {
        if let Some((_, decoder)) = &mut self.language {
            decoder.flush(&self.context, FlushReason::End, &mut self.decoded);
        }
        self.count_released();
    }
}
