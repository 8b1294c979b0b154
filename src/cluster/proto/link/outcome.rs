//! How links end, and why a dial gives none: values that travel up, and the reasons that travel over
//! the wire.

use std::{fmt, net::SocketAddr};

/// Bytes of the longest text in a reason.
const TEXT_BYTES_MAX: usize = 200;

/// Why one end closes a link, or lets none come to stand, as it tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// It stops in order.
    Leaving,
    /// Another connection of the same two nodes is used. No death.
    Duplicate,
    /// Its configuration does not want links of a node of this name; not to be tried again until a
    /// configuration changes.
    NotAccepted,
    /// Another living node has the name.
    NameTaken {
        /// Where that node takes links.
        by: SocketAddr,
    },
    /// The other end is this very node.
    Itself,
    /// It leaves, has no name of its own at present, or has no room for more.
    NotReady,
    /// The node at the other end has started anew since.
    Superseded,
    /// What came over the link broke the rules; which one, for the log.
    Protocol(String),
    /// Nothing was heard for too long.
    Silent,
    /// No longer wanted, for a reason that is the closing node's own.
    Unwanted,
    /// A reason of a later version.
    Other(u8),
}

/// How a link that stood came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// The other end closed the connection without a word; a process that was killed does.
    Closed,
    /// The other end closed it and said why.
    ClosedFor(CloseReason),
    /// The connection was torn.
    Reset,
    /// Nothing was heard for too long, though we listened.
    Silent,
    /// What came broke the rules; which one.
    Protocol(&'static str),
    /// More came of what needs no credit than was worked off.
    Overrun,
    /// This end closed it.
    Local,
}

/// Why a dial gave no link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The connection ended before the exchange was done.
    Broken,
    /// Whoever answers there speaks something else.
    Foreign,
    /// It has another secret.
    WrongSecret,
    /// It has our secret, and belongs to a cluster of another name.
    OtherCluster,
    /// It speaks no version of the wire that this node speaks.
    OtherVersion,
    /// It does not want links of a node of our name.
    NotAccepted,
    /// It has another connection to us that it uses.
    Duplicate,
    /// It knows another living node that has our name.
    NameTaken {
        /// Where that node takes links.
        by: SocketAddr,
    },
    /// It is this very node.
    Itself,
    /// It leaves, has no name of its own at present, or has no room for more.
    NotReady,
    /// It refused for another reason.
    Declined(CloseReason),
    /// Our own admission did not want who answered.
    Unwanted(CloseReason),
}

impl CloseReason {
    /// The value of a label for metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Leaving => "leaving",
            Self::Duplicate => "duplicate",
            Self::NotAccepted => "not_accepted",
            Self::NameTaken { .. } => "name_taken",
            Self::Itself => "itself",
            Self::NotReady => "not_ready",
            Self::Superseded => "superseded",
            Self::Protocol(_) => "protocol",
            Self::Silent => "silent",
            Self::Unwanted => "unwanted",
            Self::Other(_) => "other",
        }
    }

    /// The reason as the payload of a close frame: a code, then text where it has one.
    pub fn encode(&self) -> Vec<u8> {
        let (code, text) = match self {
            Self::Leaving => (1, String::new()),
            Self::Duplicate => (2, String::new()),
            Self::NotAccepted => (3, String::new()),
            Self::NameTaken { by } => (4, by.to_string()),
            Self::Itself => (5, String::new()),
            Self::Protocol(text) => (6, text.clone()),
            Self::Silent => (7, String::new()),
            Self::Unwanted => (8, String::new()),
            Self::NotReady => (9, String::new()),
            Self::Superseded => (10, String::new()),
            Self::Other(code) => (*code, String::new()),
        };
        let mut bytes = vec![code];
        let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
        bytes.extend(text.bytes().take(cut));
        bytes
    }

    /// Reads the payload of a close frame. Text comes from the other end: control characters are
    /// taken out, so that it can be logged.
    pub fn decode(payload: &[u8]) -> Self {
        let Some((code, text)) = payload.split_first() else {
            return Self::Other(0);
        };
        let text = String::from_utf8_lossy(text);
        match code {
            1 => Self::Leaving,
            2 => Self::Duplicate,
            3 => Self::NotAccepted,
            4 => text
                .parse()
                .map_or(Self::Other(4), |by| Self::NameTaken { by }),
            5 => Self::Itself,
            6 => {
                let shown = text.chars().filter(|letter| !letter.is_control());
                let mut shown: String = shown.collect();
                shown.truncate(shown.floor_char_boundary(TEXT_BYTES_MAX));
                Self::Protocol(shown)
            }
            7 => Self::Silent,
            8 => Self::Unwanted,
            9 => Self::NotReady,
            10 => Self::Superseded,
            code => Self::Other(*code),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaving => formatter.write_str("it stops"),
            Self::Duplicate => formatter.write_str("another connection is used"),
            Self::NotAccepted => formatter.write_str("not accepted"),
            Self::NameTaken { by } => write!(formatter, "name taken by {by}"),
            Self::Itself => formatter.write_str("a node does not link itself"),
            Self::NotReady => formatter.write_str("not ready"),
            Self::Superseded => formatter.write_str("the node has started anew"),
            Self::Protocol(text) => write!(formatter, "protocol: {text}"),
            Self::Silent => formatter.write_str("silent for too long"),
            Self::Unwanted => formatter.write_str("not wanted any more"),
            Self::Other(code) => write!(formatter, "reason {code}"),
        }
    }
}

/// The verdict that people read: what is told apart here helps to find the fault.
impl fmt::Display for DialFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut | Self::Broken | Self::Foreign => "no answer",
            Self::WrongSecret => "wrong secret",
            Self::OtherCluster => "other cluster",
            Self::OtherVersion => "other version",
            Self::NotAccepted => "not accepted",
            Self::Duplicate => "duplicate",
            Self::NameTaken { .. } => "name taken",
            Self::Itself => "itself",
            Self::NotReady | Self::Declined(_) | Self::Unwanted(_) => "not ready",
        })
    }
}

impl LinkEnd {
    /// The value of a label for metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClosedFor(reason) => reason.as_str(),
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::Protocol(_) => "protocol",
            Self::Overrun => "overrun",
            Self::Local => "local",
        }
    }
}

impl DialFailure {
    /// The failure that a refusal of the other end is.
    pub fn of_refusal(reason: CloseReason) -> Self {
        match reason {
            CloseReason::NotAccepted => Self::NotAccepted,
            CloseReason::Duplicate => Self::Duplicate,
            CloseReason::NameTaken { by } => Self::NameTaken { by },
            CloseReason::Itself => Self::Itself,
            CloseReason::NotReady => Self::NotReady,
            reason => Self::Declined(reason),
        }
    }

    /// The same, as the node knows it that was refused by a node at `observed`: that one may not
    /// know its own address, but then it speaks of itself.
    #[must_use]
    pub fn seen_from(self, observed: SocketAddr) -> Self {
        match self {
            Self::NameTaken { by } if by.ip().is_unspecified() => {
                let mut refuser = observed;
                refuser.set_port(by.port());
                Self::NameTaken { by: refuser }
            }
            failure => failure,
        }
    }

    /// The value of a label for metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
            Self::Foreign => "foreign",
            Self::WrongSecret => "wrong_secret",
            Self::OtherCluster => "other_cluster",
            Self::OtherVersion => "other_version",
            Self::NotAccepted => "not_accepted",
            Self::Duplicate => "duplicate",
            Self::NameTaken { .. } => "name_taken",
            Self::Itself => "itself",
            Self::NotReady => "not_ready",
            Self::Declined(_) => "declined",
            Self::Unwanted(_) => "unwanted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_as_it_was_written() {
        for reason in [
            CloseReason::Leaving,
            CloseReason::Duplicate,
            CloseReason::NotAccepted,
            CloseReason::NameTaken {
                by: "[fe80::1]:5001".parse().unwrap(),
            },
            CloseReason::Itself,
            CloseReason::NotReady,
            CloseReason::Superseded,
            CloseReason::Protocol("a frame is too long".into()),
            CloseReason::Silent,
            CloseReason::Unwanted,
            CloseReason::Other(200),
        ] {
            assert_eq!(CloseReason::decode(&reason.encode()), reason);
        }
    }

    #[test]
    fn what_no_version_of_ours_wrote_is_a_reason_too() {
        assert_eq!(CloseReason::decode(b""), CloseReason::Other(0));
        assert_eq!(CloseReason::decode(b"\x04rubbish"), CloseReason::Other(4));
        let CloseReason::Protocol(text) = CloseReason::decode(b"\x06a\x1b[2J\xff") else {
            panic!("another reason");
        };
        assert_eq!(text, "a[2J\u{fffd}");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = CloseReason::Protocol("é".repeat(150)).encode();
        assert_eq!(long.len(), 201);
        assert!(std::str::from_utf8(&long[1..]).is_ok());
    }
}
