//! What a server answers in Wialon IPS: written by the decoder, read by a simulated device.

use std::io::Write as _;

use super::split;
use crate::protocol::RejectReason;

/// What is wrong with a report, told by a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The fields are not those of its kind, or there was no login.
    Structure,
    /// Date and time are none, or before 1990.
    Time,
    /// The coordinates are none on earth.
    Coordinates,
    /// Speed, course or height is none.
    Motion,
    /// The number of satellites or the dilution is none.
    Satellites,
    /// Digital inputs or outputs are none.
    Inputs,
    /// An analogue input is none.
    Adc,
    /// A parameter is none.
    Params,
    /// The checksum is wrong or missing.
    Checksum,
}

/// Why a login was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFault {
    /// The device may not speak.
    Refused,
    /// The device is known by another password.
    WrongPassword,
    /// The checksum is wrong or missing.
    Checksum,
}

/// Why a message of the driver was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFault {
    /// It is empty, or there was no login.
    Refused,
    /// The checksum is wrong or missing.
    Checksum,
}

/// An answer to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// To a login.
    Login(Result<(), LoginFault>),
    /// To a short report, `SD`.
    Short(Result<(), Fault>),
    /// To a full report, `D`.
    Full(Result<(), Fault>),
    /// To a batch: how many reports of it were taken; `None` if its checksum is wrong.
    Batch(Option<u32>),
    /// To a ping.
    Ping,
    /// To a message of the driver.
    Message(Result<(), MessageFault>),
    /// To a line of a kind that is not taken in.
    Unsupported,
}

type Code<E> = (&'static str, Result<(), E>);

const LOGIN_CODES: [Code<LoginFault>; 4] = [
    ("1", Ok(())),
    ("0", Err(LoginFault::Refused)),
    ("01", Err(LoginFault::WrongPassword)),
    ("10", Err(LoginFault::Checksum)),
];

const SHORT_CODES: [Code<Fault>; 7] = [
    ("1", Ok(())),
    ("-1", Err(Fault::Structure)),
    ("0", Err(Fault::Time)),
    ("10", Err(Fault::Coordinates)),
    ("11", Err(Fault::Motion)),
    ("12", Err(Fault::Satellites)),
    ("13", Err(Fault::Checksum)),
];

const FULL_CODES: [Code<Fault>; 10] = [
    ("1", Ok(())),
    ("-1", Err(Fault::Structure)),
    ("0", Err(Fault::Time)),
    ("10", Err(Fault::Coordinates)),
    ("11", Err(Fault::Motion)),
    ("12", Err(Fault::Satellites)),
    ("13", Err(Fault::Inputs)),
    ("14", Err(Fault::Adc)),
    ("15", Err(Fault::Params)),
    ("16", Err(Fault::Checksum)),
];

const MESSAGE_CODES: [Code<MessageFault>; 3] = [
    ("1", Ok(())),
    ("0", Err(MessageFault::Refused)),
    ("01", Err(MessageFault::Checksum)),
];

impl Answer {
    /// Reads a line that a server sent, without its end; `None` if it is no answer.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (kind, body) = split(line)?;
        let answer = match kind {
            b"AL" => Self::Login(result_of(&LOGIN_CODES, body)?),
            b"ASD" => Self::Short(result_of(&SHORT_CODES, body)?),
            b"AD" => Self::Full(result_of(&FULL_CODES, body)?),
            b"AB" if body.is_empty() => Self::Batch(None),
            b"AB" => Self::Batch(Some(std::str::from_utf8(body).ok()?.parse().ok()?)),
            b"AP" => Self::Ping,
            b"AM" => Self::Message(result_of(&MESSAGE_CODES, body)?),
            [b'A', _, ..] => Self::Unsupported,
            _ => return None,
        };
        Some(answer)
    }

    /// How many reports the answer confirms: they are durable.
    pub const fn n_confirmed(&self) -> u32 {
        match self {
            Self::Short(Ok(())) | Self::Full(Ok(())) => 1,
            Self::Batch(Some(n_taken)) => *n_taken,
            _ => 0,
        }
    }

    /// Appends the answer as a line with its end; [`Answer::Unsupported`] is written by
    /// [`refuse`], since it needs the kind of the line, and is nothing here.
    #[inline]
    pub(super) fn write(self, replies: &mut Vec<u8>) {
        match self {
            // As a whole, since nearly all are these.
            Self::Short(Ok(())) => replies.extend_from_slice(b"#ASD#1\r\n"),
            Self::Full(Ok(())) => replies.extend_from_slice(b"#AD#1\r\n"),
            answer => answer.write_parts(replies),
        }
    }

    fn write_parts(self, replies: &mut Vec<u8>) {
        let (kind, code) = match self {
            Self::Login(result) => ("AL", code_of(&LOGIN_CODES, result)),
            Self::Short(result) => ("ASD", code_of(&SHORT_CODES, result)),
            Self::Full(result) => ("AD", code_of(&FULL_CODES, result)),
            Self::Batch(None) => ("AB", ""),
            Self::Batch(Some(n_taken)) => {
                // Writing to a vector cannot fail.
                write!(replies, "#AB#{n_taken}\r\n").ok();
                return;
            }
            Self::Ping => ("AP", ""),
            Self::Message(result) => ("AM", code_of(&MESSAGE_CODES, result)),
            Self::Unsupported => return,
        };
        for part in ["#", kind, "#", code, "\r\n"] {
            replies.extend_from_slice(part.as_bytes());
        }
    }
}

/// Appends the error answer for a line of `kind`.
pub(super) fn refuse(kind: &[u8], replies: &mut Vec<u8>) {
    match kind {
        b"L" => Answer::Login(Err(LoginFault::Refused)).write(replies),
        b"SD" => Answer::Short(Err(Fault::Structure)).write(replies),
        b"D" => Answer::Full(Err(Fault::Structure)).write(replies),
        b"B" => Answer::Batch(Some(0)).write(replies),
        b"M" => Answer::Message(Err(MessageFault::Refused)).write(replies),
        // A ping has no error; its answer confirms nothing.
        b"P" => Answer::Ping.write(replies),
        // Block number and code; which block it was is not looked at.
        b"I" => replies.extend_from_slice(b"#AI#NA;0\r\n"),
        kind => {
            replies.extend_from_slice(b"#A");
            replies.extend_from_slice(kind);
            replies.extend_from_slice(b"#0\r\n");
        }
    }
}

impl Fault {
    /// Under which reason the line is counted.
    pub(super) const fn reason(self) -> RejectReason {
        match self {
            Self::Structure => RejectReason::Malformed,
            Self::Time => RejectReason::TimeImpossible,
            Self::Coordinates => RejectReason::CoordinatesImpossible,
            Self::Checksum => RejectReason::Checksum,
            Self::Motion | Self::Satellites | Self::Inputs | Self::Adc | Self::Params => {
                RejectReason::ValueImpossible
            }
        }
    }

    /// The fault that the shared checks found.
    pub(super) const fn from_reason(reason: RejectReason) -> Self {
        match reason {
            RejectReason::TimeImpossible => Self::Time,
            RejectReason::CoordinatesImpossible => Self::Coordinates,
            _ => Self::Motion,
        }
    }
}

fn code_of<E: PartialEq>(codes: &[Code<E>], result: Result<(), E>) -> &'static str {
    codes
        .iter()
        .find(|(_, meaning)| *meaning == result)
        .map_or("-1", |(code, _)| code)
}

fn result_of<E: Copy>(codes: &[Code<E>], body: &[u8]) -> Option<Result<(), E>> {
    codes
        .iter()
        .find(|(code, _)| code.as_bytes() == body)
        .map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let logins = LOGIN_CODES.map(|(_, result)| Answer::Login(result));
        let shorts = SHORT_CODES.map(|(_, result)| Answer::Short(result));
        let fulls = FULL_CODES.map(|(_, result)| Answer::Full(result));
        let messages = MESSAGE_CODES.map(|(_, result)| Answer::Message(result));
        let others = [Answer::Batch(None), Answer::Batch(Some(12)), Answer::Ping];
        for answer in [&logins[..], &shorts, &fulls, &messages, &others].concat() {
            let mut line = Vec::new();
            answer.write(&mut line);
            let line = line.strip_suffix(b"\r\n").unwrap();
            assert_eq!(Answer::parse(line), Some(answer));
        }
    }

    #[test]
    fn what_is_no_answer_is_not_read() {
        for line in [
            "", "#A#1", "#AD#2", "#AB#x", "AD#1", "#SD#1", "#AL#", "##AL#1",
        ] {
            assert_eq!(Answer::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Answer::parse(b"#AI#NA;0"), Some(Answer::Unsupported));
    }

    #[test]
    fn only_what_was_taken_is_confirmed() {
        assert_eq!(Answer::Batch(Some(7)).n_confirmed(), 7);
        assert_eq!(Answer::Batch(None).n_confirmed(), 0);
        assert_eq!(Answer::Full(Ok(())).n_confirmed(), 1);
        assert_eq!(Answer::Short(Err(Fault::Time)).n_confirmed(), 0);
        assert_eq!(Answer::Login(Ok(())).n_confirmed(), 0);
    }
}
