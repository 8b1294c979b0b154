//! A small language, made for tests of what surrounds a decoder.

use super::super::*;
use crate::{
    base::time::Instant,
    protocol::{
        Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, Protocol, Recognition,
        framing::Framing,
    },
    types::{
        attributes::Attributes,
        record::{Body, Fix, Flags, RecordKey},
    },
};

/// A language for tests: `id NAME` names the vehicle, `at N` is a position at N ms, `hi` wants an
/// answer at once, `later N` is a position that comes with the end, `bang` makes the decoder panic, `bang twice` its refusal too.
#[derive(Debug)]
pub(super) struct Toy;

#[derive(Debug, Clone, Default)]
struct ToyDecoder {
    vehicle: Option<VehicleId>,
    later: Option<UnixMillis>,
}

impl Protocol for Toy {
    fn name(&self) -> ProtocolName {
        "toy".into()
    }

    fn framing(&self) -> Framing {
        Framing::Terminated(b"\n")
    }

    fn recognise(&self, head: &[u8]) -> Recognition {
        match head {
            [b'i', b'd', ..] => Recognition::Yes,
            [b'i'] => Recognition::More,
            _ => Recognition::No,
        }
    }

    fn decoder(&self, _: DecoderOptions) -> Box<dyn Decoder> {
        Box::new(ToyDecoder::default())
    }
}

impl Decoder for ToyDecoder {
    fn line(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome {
        let text = String::from_utf8_lossy(line).into_owned();
        match (text.split_once(' '), &self.vehicle) {
            (Some(("id", name)), _) => {
                self.vehicle = VehicleId::parse(name.as_bytes()).ok();
                Outcome::NoPosition
            }
            (Some(("at", millis)), Some(vehicle)) => {
                let time = UnixMillis(millis.parse().unwrap());
                out.records
                    .push(position(vehicle.clone(), time, context.received));
                out.replies
                    .extend_from_slice(format!("ok {millis}\n").as_bytes());
                Outcome::Positions
            }
            (Some(("later", millis)), Some(_)) => {
                self.later = Some(UnixMillis(millis.parse().unwrap()));
                Outcome::Held
            }
            (None, _) if text == "hi" => {
                out.replies.extend_from_slice(b"hello\n");
                Outcome::NoPosition
            }
            _ if text.starts_with("bang") => panic!("{text}"),
            _ => Outcome::Rejected(RejectReason::Malformed),
        }
    }

    fn flush(&mut self, context: &Context<'_>, _: FlushReason, out: &mut Decoded) {
        if let (Some(vehicle), Some(time)) = (&self.vehicle, self.later.take()) {
            let record = position(vehicle.clone(), time, context.received);
            out.records.push(record);
            out.released.push(Outcome::Positions);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn refuse(&self, line: &[u8], replies: &mut Vec<u8>) -> bool {
        // Of a line over the limit these are the bytes that are kept.
        assert!(!line.starts_with(b"bang twi"), "the refusal too");
        replies.extend_from_slice(b"error\n");
        true
    }

    fn vehicle(&self) -> Option<&VehicleId> {
        self.vehicle.as_ref()
    }

    fn snapshot(&self) -> Box<dyn Decoder> {
        Box::new(self.clone())
    }
}

fn position(vehicle: VehicleId, time: UnixMillis, received: UnixMillis) -> Record {
    Record {
        key: RecordKey {
            vehicle,
            time,
            hash: 0,
        },
        received,
        protocol: "toy".into(),
        flags: Flags::default(),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Position(Fix::default()),
    }
}
