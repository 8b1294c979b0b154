//! What cores tell each other over links: the content of frames of kind `Members` and of heartbeats,
//! in postcard (<https://postcard.jamesmunns.com/wire-format>). The page of [`link`](super::link) says under
//! *Members* what stands where, and what follows from it.
//!
//! A published type never changes: a new one gets a new frame kind.

use std::{cmp::Reverse, net::SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::ids::NodeId;

use super::{
    card::{Incarnation, NodeName, Roles, RunNumber},
    events::DownReason,
    membership::{Claim, Record, Standing},
    view::{Epoch, ViewDigest},
};

/// A frame of kind `Members`, encoded: bytes to all but the two cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMessage(Bytes);

impl MemberMessage {
    /// What goes into the frame.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// What goes into the frame.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// What a frame of kind `Members` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Table {
        records: Vec<Record>,
        is_last: bool,
    },
    Delta {
        records: Vec<Record>,
    },
    Report {
        hops: Vec<(NodeId, u8)>,
        is_storing: bool,
    },
}

/// What a heartbeat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) is_storing: bool,
    pub(crate) epoch: Epoch,
    pub(crate) digest: ViewDigest,
}

#[derive(Debug, Serialize, Deserialize)]
enum WireMessage {
    Table(Vec<WireRecord>, bool),
    Delta(Vec<WireRecord>),
    Report(Vec<(u64, u8)>, bool),
}

#[derive(Debug, Serialize, Deserialize)]
struct WireRecord {
    id: u64,
    name: String,
    incarnation: u64,
    refutation: u32,
    standing: u8,
    run: u64,
    reason: u8,
    is_ingest: bool,
    is_store: bool,
    link: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

const STANDINGS: [Standing; 4] = [
    Standing::Up,
    Standing::Down,
    Standing::Left,
    Standing::Forgotten,
];
const REASONS: [DownReason; 6] = [
    DownReason::Closed,
    DownReason::Silent,
    DownReason::Unreachable,
    DownReason::Left,
    DownReason::Restarted,
    DownReason::Forgotten,
];

impl Said {
    pub(crate) fn to_message(&self) -> MemberMessage {
        let write = |records: &[Record]| records.iter().map(WireRecord::from).collect();
        let message = match self {
            Self::Table { records, is_last } => WireMessage::Table(write(records), *is_last),
            Self::Delta { records } => WireMessage::Delta(write(records)),
            Self::Report { hops, is_storing } => {
                let hops = hops.iter().map(|(id, n_hops)| (id.0, *n_hops));
                WireMessage::Report(hops.collect(), *is_storing)
            }
        };
        MemberMessage(to_bytes(&message))
    }

    /// `None` where the bytes say nothing that can be.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let read = |records: Vec<WireRecord>| {
            let records = records.into_iter().map(WireRecord::into_record);
            records.collect::<Option<Vec<Record>>>()
        };
        Some(match postcard::from_bytes(bytes).ok()? {
            WireMessage::Table(records, is_last) => Self::Table {
                records: read(records)?,
                is_last,
            },
            WireMessage::Delta(records) => Self::Delta {
                records: read(records)?,
            },
            WireMessage::Report(hops, is_storing) => {
                let hops: Vec<_> = hops.into_iter().map(|(id, n)| (NodeId(id), n)).collect();
                let is_sorted = hops.is_sorted_by(|one, other| one.0 < other.0);
                is_sorted.then_some(Self::Report { hops, is_storing })?
            }
        })
    }
}

impl Heartbeat {
    pub(crate) fn to_bytes(self) -> Bytes {
        to_bytes(&(self.is_storing, self.epoch.0, self.digest.0))
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (is_storing, epoch, digest) = postcard::from_bytes(bytes).ok()?;
        Some(Self {
            is_storing,
            epoch: Epoch(epoch),
            digest: ViewDigest(digest),
        })
    }
}

impl From<&Record> for WireRecord {
    fn from(record: &Record) -> Self {
        let place = |found: Option<usize>| u8::try_from(found.unwrap_or_default()).unwrap_or(0);
        Self {
            id: record.id.0,
            name: record.name.as_str().to_owned(),
            incarnation: record.claim.incarnation.0,
            refutation: record.claim.refutation,
            standing: place(
                STANDINGS
                    .iter()
                    .position(|one| *one == record.claim.standing),
            ),
            run: record.run().0,
            reason: place(REASONS.iter().position(|one| *one == record.reason)),
            is_ingest: record.roles.is_ingest,
            is_store: record.roles.is_store,
            link: record.link,
            http: record.http,
        }
    }
}

impl WireRecord {
    fn into_record(self) -> Option<Record> {
        Some(Record {
            id: NodeId(self.id),
            name: NodeName::parse(&self.name).ok()?,
            claim: Claim {
                incarnation: Incarnation(self.incarnation),
                refutation: self.refutation,
                standing: *STANDINGS.get(usize::from(self.standing))?,
                run: Reverse(RunNumber(self.run)),
            },
            reason: *REASONS.get(usize::from(self.reason))?,
            roles: Roles {
                is_ingest: self.is_ingest,
                is_store: self.is_store,
            },
            link: self.link,
            http: self.http,
        })
    }
}

fn to_bytes<T: Serialize>(value: &T) -> Bytes {
    postcard::to_stdvec(value)
        .expect("plain values always encode")
        .into()
}

#[cfg(test)]
mod tests;
