//! NMEA 0183 with an identity: what routers, loggers and bare GNSS receivers send over TCP.
//!
//! Follows NMEA 0183 (v2 to v4.11) for the sentences; the identity forms are those in use, a
//! sentence or a line of its own before the sentences, a text in front of each, or a sentence after
//! the position.
//!
//! The sentences of one time stamp are **one** record. Only RMC has a date, so a record exists where
//! a valid RMC does; GGA adds satellites, dilution and altitude, GSA dilution, VTG speed and course
//! where the RMC has none. They may stand before or after their RMC. A merge is complete at the next
//! time stamp, one second after it began, or when the connection ends. A record's key covers the
//! RMC's fields only, so that it does not depend on which other sentences came through.
//!
//! Checksums are checked strictly unless the decoder is lenient. There are no acknowledgements.

mod decoder;
mod encode;
mod extras;
mod kind;
mod line;
mod merge;
mod reading;
mod recognise;
mod sentence;
mod values;

#[cfg(test)]
mod tests;

pub use encode::{encode_gga, encode_identity, encode_rmc};

use std::borrow::Cow;

use super::{Decoder, DecoderOptions, Protocol, Recognition, framing::Framing};
use crate::types::record::ProtocolName;

/// The name in configuration, records and answers.
const NAME: &str = "nmea";

/// NMEA 0183 with an identity.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nmea;

impl Protocol for Nmea {
    fn name(&self) -> ProtocolName {
        Cow::Borrowed(NAME)
    }

    fn framing(&self) -> Framing {
        Framing::Terminated(b"\n")
    }

    fn recognise(&self, head: &[u8]) -> Recognition {
        recognise::recognise(head)
    }

    fn decoder(&self, options: DecoderOptions) -> Box<dyn Decoder> {
        Box::new(decoder::NmeaDecoder::new(options))
    }
}
