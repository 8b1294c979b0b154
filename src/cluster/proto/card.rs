//! Who a node says it is. Values only; how they are written on the wire is said elsewhere.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::types::ids::NodeId;

/// Bytes of the longest name; two of them fit into a beacon.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// Name of a node or of a cluster: 1 to 64 bytes of UTF-8 without control
/// characters. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeNameError {
    /// It is empty.
    #[error("a name must not be empty")]
    Empty,
    /// It is longer than 64; its length in bytes.
    #[error("a name of {0} bytes is over the {NAME_BYTES_MAX} limit")]
    TooLong(usize),
    /// It holds a control character.
    #[error("a name must not hold control characters")]
    Control,
}

impl NodeName {
    /// A name that is fit to be shown and sent.
    ///
    /// # Errors
    /// [`NodeNameError`], by what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NodeNameError> {
        if text.is_empty() {
            return Err(NodeNameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NodeNameError::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(NodeNameError::Control);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Orders the starts of a node on its data folder: raised and synced before it says anything, and
/// once more if others know a later start than the folder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Random number of one run of a node: tells two processes apart that claim one id (a copied data
/// folder). It orders nothing, but of two living claimants the lower keeps the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunNumber(pub u64);

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roles {
    /// Takes vehicles' connections.
    pub is_ingest: bool,
    /// Keeps records.
    pub is_store: bool,
}

/// Who a node says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCard {
    /// Identity, kept in its data folder.
    pub id: NodeId,
    /// Label, and key of the shards it owns.
    pub name: NodeName,
    /// Of this start.
    pub incarnation: Incarnation,
    /// Of this run.
    pub run: RunNumber,
    /// What it does.
    pub roles: Roles,
    /// Where it takes links, as the one who says this reaches it.
    pub link: SocketAddr,
    /// Where it answers HTTP; absent where that is not published.
    pub http: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_printable() {
        assert_eq!(NodeName::parse("bus-17").unwrap().as_str(), "bus-17");
        assert_eq!(NodeName::parse(""), Err(NodeNameError::Empty));
        let long = "é".repeat(33);
        assert_eq!(NodeName::parse(&long), Err(NodeNameError::TooLong(66)));
        assert_eq!(NodeName::parse("a\u{1b}[2J"), Err(NodeNameError::Control));
    }
}
