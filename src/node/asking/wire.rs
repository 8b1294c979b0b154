//! What nodes ask each other over links, byte by byte. Pure: it must not know links, tasks or stores.
//!
//! Five kinds of frames, all with the number that the asker gave the question first, in postcard
//! (<https://postcard.jamesmunns.com/wire-format>). Numbers are unique among the questions of one
//! link and one asker. The page beside this file says what is sent when: [asking.md](asking.md).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::proto::link::frame::{BULK_BYTES_MAX, FrameKind},
    types::{ids::VehicleId, record::Kind, time::UnixMillis},
};

/// A question.
const QUESTION: FrameKind = FrameKind::BULK;
/// A piece of an answer.
const PIECE: FrameKind = FrameKind(33);
/// The end of an answer.
const END: FrameKind = FrameKind(34);
/// The asker wants no more of an answer.
const CANCEL: FrameKind = FrameKind(35);
/// The asker has room for further pieces.
const MORE: FrameKind = FrameKind(36);

/// Bytes of the longest number.
const NUMBER_BYTES_MAX: usize = 10;

/// Bytes of records in a piece at most.
pub(super) const PIECE_BYTES_MAX: usize = BULK_BYTES_MAX - NUMBER_BYTES_MAX;

/// Pieces that may be on their way before the asker has said that it has room for more.
pub(super) const WINDOW_PIECES: u32 = 4;

/// What a node is asked by another one. Each is answered by records in an order of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// The last position of a vehicle; the end says whether the vehicle is connected there.
    Last(VehicleId),
    /// Last positions in order of vehicle, of the vehicles after `after`; `limit` at most.
    Vehicles {
        after: Option<VehicleId>,
        limit: Option<u32>,
    },
    /// Records of a vehicle in order of (time, hash), strictly after `after`; `limit` at most.
    Track {
        vehicle: VehicleId,
        part: Part,
        after: Option<(UnixMillis, u64)>,
        limit: Option<u32>,
    },
    /// All records in order of (vehicle, time, hash).
    Export(Part),
    /// Positions from now on, as they become durable; it has no end.
    Live,
}

/// Which records are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Of this kind.
    pub(super) kind: Kind,
    /// Not before.
    pub(super) from: Option<UnixMillis>,
    /// Before.
    pub(super) to: Option<UnixMillis>,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All was given. Of [`Question::Last`]: whether the vehicle is connected there.
    Whole { is_connected: bool },
    /// It is not whole.
    Failed(Failure),
}

/// Why an answer is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The index did not catch up in time.
    #[error("its index is behind its log")]
    Behind,
    /// The store could not be read, or the answer crashed.
    #[error("its store could not be read")]
    Store,
    /// As many questions are being answered as may be.
    #[error("it has too many questions to answer")]
    Busy,
    /// Live positions came faster than they could be sent.
    #[error("it could not send its live positions fast enough")]
    Lagged,
    /// The question is of a later version, or cannot be.
    #[error("it did not understand the question")]
    NotUnderstood,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Of the question that it is about.
    pub(super) number: u64,
    pub(super) content: Content,
}

/// What a frame says about its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// It is asked; `None` where it cannot be read.
    Question(Option<Question>),
    /// The next bytes of the answer. None at all: a sign of life.
    Piece(Bytes),
    /// The answer ends.
    End(End),
    /// No more is wanted.
    Cancel,
    /// So many further pieces may come.
    More(u32),
}

#[derive(Debug, Serialize, Deserialize)]
enum WireQuestion {
    Last(String),
    Vehicles(Option<String>, Option<u32>),
    Track(String, WirePart, Option<(i64, u64)>, Option<u32>),
    Export(WirePart),
    Live,
}

#[derive(Debug, Serialize, Deserialize)]
struct WirePart {
    is_event: bool,
    from: Option<i64>,
    to: Option<i64>,
}

const FAILURES: [Failure; 5] = [
    Failure::Behind,
    Failure::Store,
    Failure::Busy,
    Failure::Lagged,
    Failure::NotUnderstood,
];

impl Message {
    /// The frame of this message.
    pub(super) fn encode(&self) -> (FrameKind, Bytes) {
        let mut bytes = to_bytes(&self.number);
        let kind = match &self.content {
            Content::Question(question) => {
                let wire = question.as_ref().map(WireQuestion::from);
                bytes.extend(wire.as_ref().map(to_bytes).unwrap_or_default());
                QUESTION
            }
            Content::Piece(piece) => {
                bytes.extend_from_slice(piece);
                PIECE
            }
            Content::End(End::Whole { is_connected }) => {
                bytes.extend([0, u8::from(*is_connected)]);
                END
            }
            Content::End(End::Failed(failure)) => {
                let place = FAILURES.iter().position(|known| known == failure);
                let number = place.map_or(0, |place| place as u8 + 1);
                bytes.extend([number, 0]);
                END
            }
            Content::Cancel => CANCEL,
            Content::More(n_pieces) => {
                bytes.extend(to_bytes(n_pieces));
                MORE
            }
        };
        (kind, bytes.into())
    }

    /// Reads a frame; `None` where it is of another kind, or says nothing that can be.
    pub(super) fn read(kind: FrameKind, payload: &Bytes) -> Option<Self> {
        let (number, rest) = postcard::take_from_bytes::<u64>(payload).ok()?;
        let content = match kind {
            QUESTION => {
                let wire = postcard::from_bytes::<WireQuestion>(rest).ok();
                Content::Question(wire.and_then(WireQuestion::into_question))
            }
            PIECE => Content::Piece(payload.slice_ref(rest)),
            END => Content::End(End::read(rest)?),
            CANCEL => Content::Cancel,
            MORE => Content::More(postcard::from_bytes(rest).ok()?),
            _ => return None,
        };
        Some(Self { number, content })
    }
}

impl End {
    /// Later versions may say more behind it.
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0, is_connected, ..] => Some(Self::Whole {
                is_connected: *is_connected != 0,
            }),
            [number, ..] => {
                let known = FAILURES.get(usize::from(*number).wrapping_sub(1));
                Some(Self::Failed(known.copied().unwrap_or(Failure::Store)))
            }
            [] => None,
        }
    }
}

impl From<&Question> for WireQuestion {
    fn from(question: &Question) -> Self {
        match question {
            Question::Last(vehicle) => Self::Last(vehicle.to_string()),
            Question::Vehicles { after, limit } => {
                Self::Vehicles(after.as_ref().map(ToString::to_string), *limit)
            }
            Question::Track {
                vehicle,
                part,
                after,
                limit,
            } => {
                let after = after.map(|(time, hash)| (time.0, hash));
                Self::Track(vehicle.to_string(), (*part).into(), after, *limit)
            }
            Question::Export(part) => Self::Export((*part).into()),
            Question::Live => Self::Live,
        }
    }
}

impl WireQuestion {
    fn into_question(self) -> Option<Question> {
        let parse = |text: String| VehicleId::parse(text.as_bytes()).ok();
        Some(match self {
            Self::Last(vehicle) => Question::Last(parse(vehicle)?),
            Self::Vehicles(after, limit) => Question::Vehicles {
                after: match after {
                    Some(vehicle) => Some(parse(vehicle)?),
                    None => None,
                },
                limit,
            },
            Self::Track(vehicle, part, after, limit) => Question::Track {
                vehicle: parse(vehicle)?,
                part: part.into(),
                after: after.map(|(time, hash)| (UnixMillis(time), hash)),
                limit,
            },
            Self::Export(part) => Question::Export(part.into()),
            Self::Live => Question::Live,
        })
    }
}

impl From<Part> for WirePart {
    fn from(part: Part) -> Self {
        Self {
            is_event: part.kind == Kind::Event,
            from: part.from.map(|time| time.0),
            to: part.to.map(|time| time.0),
        }
    }
}

impl From<WirePart> for Part {
    fn from(part: WirePart) -> Self {
        Self {
            kind: if part.is_event {
                Kind::Event
            } else {
                Kind::Position
            },
            from: part.from.map(UnixMillis),
            to: part.to.map(UnixMillis),
        }
    }
}

fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain values always encode")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vehicle(text: &str) -> VehicleId {
        VehicleId::parse(text.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(kind: u8, content: Content, golden: &[u8]) {
        let message = Message {
            number: 300,
            content,
        };
        let (encoded_kind, bytes) = message.encode();
        assert_eq!(encoded_kind, FrameKind(kind));
        let golden = [&[0xac, 2], golden].concat();
        assert_eq!(bytes, golden);
        assert_eq!(
            Message::read(FrameKind(kind), &golden.into()),
            Some(message)
        );
    }

    /// Published bytes: they never change.
    #[test]
    fn frames_have_their_golden_bytes() {
        let question = |question| Content::Question(Some(question));
        check(32, question(Question::Last(vehicle("ab"))), b"\0\x02ab");
        let vehicles = Question::Vehicles {
            after: None,
            limit: Some(1_000),
        };
        check(32, question(vehicles), &[1, 0, 1, 0xe8, 7]);
        let vehicles = Question::Vehicles {
            after: Some(vehicle("b")),
            limit: None,
        };
        check(32, question(vehicles), &[1, 1, 1, b'b', 0]);
        let part = Part {
            kind: Kind::Event,
            from: Some(UnixMillis(-1)),
            to: None,
        };
        let track = Question::Track {
            vehicle: vehicle("b"),
            part,
            after: Some((UnixMillis(2), 0x80)),
            limit: Some(5),
        };
        let golden = [2, 1, b'b', 1, 1, 1, 0, 1, 4, 0x80, 1, 1, 5];
        check(32, question(track), &golden);
        let part = Part {
            kind: Kind::Position,
            from: None,
            to: Some(UnixMillis(64)),
        };
        check(32, question(Question::Export(part)), &[3, 0, 0, 1, 0x80, 1]);
        check(32, question(Question::Live), &[4]);
        check(33, Content::Piece(Bytes::from_static(b"xyz")), b"xyz");
        check(33, Content::Piece(Bytes::new()), b"");
        for is_connected in [false, true] {
            let end = Content::End(End::Whole { is_connected });
            check(34, end, &[0, u8::from(is_connected)]);
        }
        for (number, failure) in (1..).zip(FAILURES) {
            check(34, Content::End(End::Failed(failure)), &[number, 0]);
        }
        check(35, Content::Cancel, &[]);
        check(36, Content::More(2), &[2]);
    }

    #[test]
    fn what_a_later_version_asks_is_told_from_noise_by_its_number() {
        let read =
            |kind: u8, bytes: &[u8]| Message::read(FrameKind(kind), &Bytes::copy_from_slice(bytes));
        let unknown = Message {
            number: 7,
            content: Content::Question(None),
        };
        assert_eq!(read(32, &[7, 99, 1]), Some(unknown.clone()));
        assert_eq!(
            read(32, &[7, 0, 1, 0]),
            Some(unknown),
            "a control character"
        );
        assert_eq!(read(32, &[]), None);
        assert_eq!(read(36, &[7]), None);
        assert_eq!(read(37, &[7, 1]), None);
        let failed = Content::End(End::Failed(Failure::Store));
        assert_eq!(read(34, &[7, 200, 0]).unwrap().content, failed);
    }

    proptest! {
        #[test]
        fn noise_never_panics(kind in 30_u8..40, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(Message::read(FrameKind(kind), &bytes.into()));
        }
    }
}
