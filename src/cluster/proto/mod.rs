//! What nodes say to each other, and what follows from it: pure state machines, driven by time and
//! by what came in.

mod beacon;
mod card;
mod cluster;
mod config;
mod dialling;
mod discovery;
mod events;
mod input;
mod keys;
mod link_id;
mod links;
mod membership;
mod output;
mod place;
mod timing;
mod view;
mod wire;

#[doc = include_str!("beacons.md")]
pub mod beacons {}

pub use self::{
    beacon::{
        BEACON_BYTES_MAX, Beacon, BeaconKind, BeaconRejection, Nonce, Rejected, WIRE_VERSION,
    },
    card::{Incarnation, NodeCard, NodeName, NodeNameError, Roles, RunNumber},
    cluster::{
        Cluster, ClusterCounts, DiscoveryView, MemberState, MemberView, PeerView, PlaceView,
        SenderView, Storing, TableSizes, Verdict,
    },
    config::{ClusterConfig, ConnectMode, MinConnections, NameMatch, PeerAddress},
    discovery::{series::PingPhase, watchdog::PlaceState},
    events::{ClusterEvent, DownReason, NodeEvent},
    input::{ClusterInput, DialFailure, DialId, Forgotten, LinkEnd},
    keys::BeaconKeys,
    link_id::LinkId,
    output::{BeaconTo, CloseReason, ClusterOutput, Refusal},
    place::{InterfaceIndex, SocketPlace, Transport},
    view::{Epoch, ViewDigest},
    wire::MemberMessage,
};
