//! What a sentence is for, by its address and its first fields.

use super::sentence::{Fields, Sentence};

/// What a sentence is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    Rmc,
    Gga,
    Gll,
    Gsa,
    Vtg,
    Trccr,
    IdReport,
    /// Names the vehicle of what follows.
    Identity(&'a [u8]),
    /// Names the vehicle of the position before it too.
    IdentityAfter(&'a [u8]),
    /// Any other: no position.
    Other,
}

impl<'a> Kind<'a> {
    /// What this one is for.
    pub(super) fn of(sentence: &Sentence<'a>, fields: &Fields<'a>) -> Self {
        if let Some(id) = sentence.content.strip_prefix(b"IMEI=") {
            return Self::Identity(id.trim_ascii());
        }
        match sentence.address() {
            b"PGID" | b"DEVID" | b"PCPTI" | b"PSIWMDID" | b"CONNECT" => {
                Self::Identity(fields.at(0))
            }
            b"GPTXT" if fields.at(0) == b"NET" => Self::Identity(fields.at(1)),
            b"GPFID" => Self::IdentityAfter(fields.at(0)),
            b"TRCCR" => Self::Trccr,
            b"ID" => Self::IdReport,
            // Addresses that begin with P are proprietary, whatever they end with.
            [b'A'..=b'O' | b'Q'..=b'Z', b'A'..=b'Z', formatter @ ..] => match formatter {
                b"RMC" => Self::Rmc,
                b"GGA" => Self::Gga,
                b"GLL" => Self::Gll,
                b"GSA" => Self::Gsa,
                b"VTG" => Self::Vtg,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// Whether the form of such a sentence has a checksum.
    pub(super) fn must_have_checksum(self, sentence: &Sentence<'_>) -> bool {
        match self {
            Self::Rmc | Self::Gga | Self::Gll | Self::Gsa | Self::Vtg | Self::Trccr => true,
            Self::Identity(_) => matches!(sentence.address(), b"PGID" | b"DEVID"),
            Self::IdentityAfter(_) | Self::IdReport | Self::Other => false,
        }
    }
}
