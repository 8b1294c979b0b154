//! A record: one thing a vehicle reported, as it is forwarded, stored and answered.
//!
//! A record has a kind from the first layout version on: a position (with a fix), or an event (what
//! a device reports without a fix). Its key is computed once, where its line came in
//! ([`crate::types::key`]), and travels with it.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    attributes::{AttributeName, Attributes, Value},
    ids::VehicleId,
    number::{Degrees, Milli},
    time::UnixMillis,
};

/// Name of a vehicles' protocol, for example `wialon`.
pub type ProtocolName = Cow<'static, str>;

/// One thing a vehicle reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Who reported it, since when it holds, and what sets it apart from others of that time.
    pub key: RecordKey,
    /// When the node that took it in read its line.
    pub received: UnixMillis,
    /// The language its line was in.
    pub protocol: ProtocolName,
    /// What is known about how it came; never part of the key.
    pub flags: Flags,
    /// The device's own code for what happened, as text; empty if none.
    pub code: Cow<'static, str>,
    /// What the device reported besides; never part of a position's key.
    pub attributes: Attributes,
    /// The line it was read from, where the configuration asks to keep it.
    pub raw: Option<Bytes>,
    /// What kind of record this is, with the fields of that kind.
    pub body: Body,
}

/// What makes a record itself and no other: two records with equal keys are one.
///
/// Ordered by vehicle, then time, then hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The vehicle that reported.
    pub vehicle: VehicleId,
    /// Time of the fix, or of the event.
    pub time: UnixMillis,
    /// Digest of the core fields; see [`crate::types::key`].
    pub hash: u64,
}

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A reading with a fix.
    Position,
    /// A report without a fix.
    Event,
}

/// The fields that depend on the kind of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A reading with a fix.
    Position(Fix),
    /// A report without a fix: its code and attributes say all.
    Event,
}

/// Where a vehicle was. An absent field was not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fix {
    /// -90 to 90 degrees, north is positive.
    pub latitude: Degrees,
    /// -180 to 180 degrees, east is positive.
    pub longitude: Degrees,
    /// Whether the device vouches for the place.
    pub valid: bool,
    /// Speed over ground in km/h, not negative.
    pub speed_kmh: Option<Milli>,
    /// Course over ground in degrees from true north, 0 up to 360.
    pub course_deg: Option<Milli>,
    /// Height above mean sea level in metres.
    pub altitude_m: Option<Milli>,
    /// Satellites used.
    pub satellites: Option<u8>,
    /// Horizontal dilution of precision.
    pub hdop: Option<Milli>,
}

/// What is known about how a record came. Bits that a later version adds are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// A newer record of the vehicle was known already when this one was stored.
    pub const LATE: Self = Self(1);
    /// The device sent it from its memory, not live.
    pub const ARCHIVED: Self = Self(2);
    /// The device gave no time; it is the time of reception.
    pub const TIME_FROM_SERVER: Self = Self(4);
    /// The time lies more than a day in the future of the clock of the node that took it in.
    pub const FUTURE: Self = Self(8);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Record {
    /// The kind of this record.
    pub const fn kind(&self) -> Kind {
        match self.body {
            Body::Position(_) => Kind::Position,
            Body::Event => Kind::Event,
        }
    }

    /// The fix, if this is a position.
    pub const fn fix(&self) -> Option<&Fix> {
        match &self.body {
            Body::Position(fix) => Some(fix),
            Body::Event => None,
        }
    }

    /// Bytes of memory that it takes, about: with its texts, without what an allocator adds.
    pub fn memory_bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| {
            let text = match value {
                Value::Text(text) => text.len(),
                Value::Bool(_) | Value::Integer(_) | Value::Float(_) => 0,
            };
            size_of::<(AttributeName, Value)>() + name.len() + text
        });
        let raw = self.raw.as_ref().map_or(0, Bytes::len);
        let texts = self.key.vehicle.as_str().len() + self.code.len() + raw;
        size_of::<Self>() + texts + attributes.sum::<usize>()
    }
}
