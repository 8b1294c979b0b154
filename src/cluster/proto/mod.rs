//! What nodes say to each other, and what follows from it: pure state machines, driven by time and
//! by what came in. [`Cluster::handle`] is the one door: inputs (datagrams, links, dials that failed,
//! commands) with the time go in, outputs (send, dial, close, notify) come out, and
//! [`Cluster::next_deadline`] says when to knock again. No socket, clock or task is in here; the
//! random numbers come from one seed, so that a simulation (`tests/sim`) runs what a node runs.
//!
//! # From a beacon to a member
//!
//! 1. **Beacon.** A datagram comes in. It is a beacon of this cluster if its tag is right under the
//!    cluster's secret, not our own, and, if it answers a PING, answers one heard within the last
//!    second ([`beacons`] is its document). Anything else is counted by reason and stands in the table of
//!    senders. What comes through is a *sighting*: who, and where it takes links.
//! 2. **Dial.** A sighting of a node that `connect_regex` means becomes a dial: at once if our identity
//!    is the lower one, 100 ms later if it is the higher and no link stands by then. Members that
//!    others report are dialled in the same way (`connect_mode = "visible"`), and so are peers given by
//!    hand. A dial that fails is repeated by rule: after 10, 20 and 40 ms where a node may just not
//!    listen yet; where a member was lost, every 250 ms for a minute and then once an interval, and in the
//!    first 100 ms every 5 ms as long as somebody takes the call and breaks it off, as a dying
//!    process does.
//! 3. **Link.** The handshake proves the secret on both sides and carries the hello. The side that is
//!    called asks [`Cluster::admit`]: a name that a living node holds, a name that `accept_regex` does not
//!    mean, and a second link to the same node are refused there. Of two links to one node
//!    the lower identity keeps the one it had first. What links carry, byte by byte, is the page of
//!    [`link`].
//! 4. **Member.** The hello makes the node known. Over a new link each side tells whom it reaches and then
//!    all members it knows. When the other side's table is in, the node can be used, and subscribers
//!    are told `node-up`; so they are of members that others reach and this node does not link itself.
//!    From then on changes travel as they happen, and heartbeats carry digests: views that differ for
//!    200 ms make two nodes exchange their tables, once for each pair of digests.
//!
//! # From a link to a death
//!
//! ```text
//!              link and table                  link lost                    redial refused
//!   (unknown) ───────────────▶  up  ─────────────────────────▶ suspect ───────────────────────▶ down
//!                               ▲ │                              │ │    1.4 s without a sign       │
//!                               │ └── quiet for 1 s: suspect ────┘ │                               │
//!                               └──────── link again ──────────────┘◀── link again, and its word ──┘
//!        its own goodbye: left          while a neighbour has a link to it: suspect, not down
//! ```
//!
//! *Suspect* is a view of one node and is told to nobody. *Down* is told, and merged: of all that is said of a
//! member the greatest claim counts (incarnation, then refutation, then forgotten over left over
//! down over up). Who has a living link to a member keeps it up, whatever others say, and tells it;
//! a living node that hears it is away raises its refutation, and is up everywhere again.
//!
//! # Where it stands
//!
//! `beacon` and `keys` are the datagrams; `discovery` asks and answers with them (`series`: when PINGs
//! leave, `pongs`: when answers do, `nonces`: what is fresh, `watchdog`: which sockets are deaf, `senders`: who was
//! heard). `dialling` knows whom to dial when; `links` what stands; `membership` who belongs, by
//! claims; `wire` how members travel. `cluster` ties them: `linking`, `judging` (life and death), `merging`
//! (what others say), `naming` (whose a name is), `telling` (what we say), `publishing` (what subscribers
//! see), `remembering` (who is missed after a restart), `views` (what people see). `timing` holds every
//! fixed time and cap of the core; those of one connection are in [`link`]. Sockets, handshake and
//! encryption are [`net`](super::net); the task that carries what happens there to the core and back is
//! [`node::cluster`](crate::node::cluster).
//!
//! # What must always hold
//!
//! 1. No beacon does more than lead to a dial, an answer or a series of PINGs, each at a limited rate.
//! 2. No beacon silences a node: its first series goes on whatever it hears, and a later PING is held
//!    back by lower identities for one interval at most.
//! 3. A member to which we have a living link is never reported down, unless by its own word or that of
//!    a later run of it.
//! 4. Subscribers hear of each change once: up and down in turn, this node first.
//! 5. Whoever has heard the same claims believes the same, in whatever order they came.
//! 6. At rest nothing is sent but one beat an interval, and heartbeats over idle links.
//! 7. Every table has a cap, and what finds it full has a name among the counters
//!    (`waymesh_cluster_tables_full_total`).
//! 8. A name has one holder: a living holder keeps it against newcomers, of two holders the lower
//!    identity does, and the other gives it up by itself. Holder is whose first series is over, or who
//!    has a link in use.

mod beacon;
mod card;
mod cluster;
mod config;
mod dialling;
mod discovery;
mod events;
mod input;
mod keys;
pub mod link;
mod link_id;
mod links;
mod membership;
mod output;
mod place;
pub mod shard_map;
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
        Cluster, ClusterCounts, DiscoveryView, MemberState, MemberView, MemberWay, PeerView,
        PlaceView, SenderView, Storing, TableSizes, Verdict,
    },
    config::{
        ClusterConfig, ConnectMode, MinConnections, NameMatch, PeerAddress, RememberedMember,
    },
    discovery::{series::PingPhase, watchdog::PlaceState},
    events::{ClusterEvent, DownReason, NodeEvent},
    input::{ClusterInput, Forgotten},
    keys::BeaconKeys,
    link_id::{DialId, LinkId},
    output::{BeaconTo, ClusterOutput, Refusal},
    place::{InterfaceIndex, SocketPlace, Transport},
    view::{Epoch, ViewDigest},
    wire::MemberMessage,
};
