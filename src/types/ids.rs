//! Ids as types of their own, so that none is taken for another.

use std::fmt;

use smol_str::SmolStr;

/// Longest vehicle id in bytes.
pub const VEHICLE_ID_BYTES_MAX: usize = 64;

/// Name of a vehicle as its device gives it: 1 to 64 bytes of UTF-8 without control characters.
///
/// Cheap to clone: ids of up to 23 bytes, which are nearly all, lie in the value itself, so that
/// threads that hand records on share no counter. Equal and ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VehicleId(SmolStr);

/// Why a text is no vehicle id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VehicleIdError {
    /// No character at all.
    #[error("empty vehicle id")]
    Empty,
    /// More bytes than an id may have.
    #[error("vehicle id of {0} bytes is over the {VEHICLE_ID_BYTES_MAX} limit")]
    TooLong(usize),
    /// Not UTF-8, or with a control character.
    #[error("vehicle id holds characters that are not printable")]
    NotPrintable,
}

impl VehicleId {
    /// Checks and takes over a text.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &[u8]) -> Result<Self, VehicleIdError> {
        if text.is_empty() {
            return Err(VehicleIdError::Empty);
        }
        if text.len() > VEHICLE_ID_BYTES_MAX {
            return Err(VehicleIdError::TooLong(text.len()));
        }
        let text = std::str::from_utf8(text).map_err(|_| VehicleIdError::NotPrintable)?;
        if text.chars().any(char::is_control) {
            return Err(VehicleIdError::NotPrintable);
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VehicleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for VehicleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VehicleId({})", self.0)
    }
}

/// Identity of a node: random, made once for a data folder; printed as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Number of a connection, unique within one run of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_printable() {
        assert_eq!(
            VehicleId::parse(b"353976013445485").unwrap().as_str(),
            "353976013445485"
        );
        assert_eq!(VehicleId::parse(b""), Err(VehicleIdError::Empty));
        assert_eq!(
            VehicleId::parse(&[b'a'; 65]),
            Err(VehicleIdError::TooLong(65))
        );
        assert_eq!(VehicleId::parse(b"a\0b"), Err(VehicleIdError::NotPrintable));
        assert_eq!(
            VehicleId::parse(b"\xff\xfe"),
            Err(VehicleIdError::NotPrintable)
        );
    }
}
