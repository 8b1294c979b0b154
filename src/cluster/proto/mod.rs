//! What nodes say to each other, and what follows from it: pure state machines, driven by time and by what
//! came in. [`Cluster::handle`] is the one door: inputs (datagrams, links, dials that failed, commands) with
//! the time go in, outputs (send, dial, close, notify) come out, and [`Cluster::next_deadline`] says when to
//! knock again. No socket, clock or task is in here; the random numbers come from one seed, so that a
//! simulation (`tests/sim`) runs what a node runs.
//!
//! # Words
//!
//! - The **id** names a data folder: random, made once. The **incarnation** orders the starts on that folder:
//!   a later start has a higher one. The **run** is a random number of each start; it tells two processes on
//!   copies of one folder apart.
//! - A node **means** the names that its `connect_regex` matches. It **seeks** links with those and, where
//!   `connect_mode = "visible"`, with all other members but those that have said *not accepted*: the
//!   `accept_regex` of a node matches the names that may link it.
//! - A **link** is an encrypted TCP connection of two nodes. It is *quiet* after [`LinkTiming::quiet`]
//!   without a byte, and can be used once the table of the other end is in (4 below). A **neighbour** is who
//!   is at the other end of a link of ours. It reports which members it reaches and over how many links; if
//!   that makes at most [`HOPS_MAX`] from here, there is a **way** to the member. A **path** is a link of our
//!   own or a way; we **reach** whom we have a path to.
//! - A **member** is a node that anybody has linked. A **claim** is what is said of it: its incarnation; its
//!   **refutation**, a number that only it raises itself, to contradict those who call it away; its standing;
//!   its run. A standing is *up* or else *away*: *down*, *left* (it said goodbye) or **forgotten** (an
//!   administrator struck it off while it was away). Of two claims the greater counts, as the page of
//!   [`link`] says under *Members*.
//! - A **PING** is a datagram that asks who is there, a **PONG** answers it. A **series** is PINGs at growing
//!   distances, up to the **interval** (the setting `ping_interval`); a **beat** is the one PING an interval
//!   of who needs no series. The **first series** is the first [three](timing::SERIES_PINGS_MIN) PINGs of a
//!   process; it counts as over [`FIRST_SERIES`] after the first one, or [`FIRST_SERIES_WITHOUT_NETWORK`]
//!   after the start if none was sent.
//! - A node is **settled** when it holds its name: its first series is over or a link of it can be used, and
//!   it neither leaves nor has given the name up.
//!
//! # From a beacon to a member
//!
//! 1. **Beacon.** A datagram comes in. It is a beacon of this cluster if its tag is right under the cluster's
//!    secret. It counts if it is not our own and, if it is a PONG, answers a PING sent or heard within
//!    [`NONCE_LIFE`]; anything else is counted by reason. What is left is a *sighting*: who, and where it
//!    takes links. [`beacons`] is the page of all this, and of when beacons leave.
//! 2. **Dial.** A sighting of a node that we mean and have no link to becomes a dial, unless somebody else
//!    holds its name: at once if our id is the lower one; [`HIGHER_WAITS`] later (more where many are to be
//!    linked) if it is the higher one and no link stands by then. Members that neighbours tell of are dialled
//!    alike if we seek them; with `connect_mode = "hidden"` only if we heard them, too. Addresses given by
//!    hand are dialled at once, whoever lives there, and so is who keeps our name or id against us, since it tells us
//!    so. After the loss of a link both ends dial at once. What a
//!    dial that fails leads to is told in [`dialling`].
//! 3. **Link.** The handshake proves the secret on both sides and carries the hello. The side that is called
//!    asks [`Cluster::admit`]. Refused are this node *itself*; who claims a name, or an id, that another
//!    holds and keeps (*name taken*); a name that `accept_regex` does not match (*not accepted*); everybody,
//!    while this node has no name or leaves, and whom it does not know while it has no room, not even that
//!    of a member that is away (*not ready*); and, if this node's id is the lower
//!    one, a second link to the same run while the first is not quiet (*duplicate*). The side that dialled
//!    looks at id, name and room in the same way, and closes the link if they will not do. So of two links
//!    between two runs the lower id keeps the one it had first; a link to an earlier run is closed by either
//!    end.
//! 4. **Member.** The hello makes the node known. Over a new link each side tells whom it reaches and then
//!    all members it knows: its *table*. The member is *up* with the link; when the other side's table is in, the
//!    link can be used, and subscribers are told `node-up`. So they are of members that we do not seek and have a way to; one that
//!    we seek and have only a way to is *suspect*, without a `node-up`. From then on changes travel [at
//!    once](timing::TELL_SPACING), or a little [gathered](timing::GATHER_MAX) where links are many and it is
//!    not urgent. Heartbeats carry a digest of the members whose standing is *up*, suspects too: two nodes
//!    whose digests go on to differ exchange their tables.
//!
//! # From a link to a death
//!
//! ```text
//!                   link                 last link lost, or quiet        redial refused, or
//!                                                                        silence and no way
//!  (unknown) ──────────────────▶  up  ────────────────────────▶ suspect ───────────────────▶ down
//!                                ▲  ▲                              │                          │
//!                                │  └───── link again, or heard ───┘                          │
//!                                └────────────── link again, and its own word ────────────────┘
//! ```
//!
//! A *refused* redial, after the connection was closed, is death at once; a way holds it off only if the
//! member has refuted before. *Silence* is [`SILENCE`] since the last sign of life without a new link (a link
//! that was given up for silence has that behind it); a way holds it off as long as there is one: the
//! member stays suspect if we seek it, and else up. `judging`
//! has the whole table. Its own goodbye makes a member *left*, wherever it stood.
//!
//! *Suspect* is a view of one node and is told to nobody; subscribers hear `node-down` when the member is
//! away or another run takes its place. *Down* is told to the neighbours, and merged: the greater claim
//! counts. But who has a link to a member, even a quiet one, believes only the member itself that it is away,
//! and tells it what is said. A living node that hears it is away raises its refutation above what was said,
//! and is up everywhere again.
//!
//! # Where it stands
//!
//! `beacon` and `keys` are the datagrams; `discovery` asks and answers with them (`series`: when PINGs leave,
//! `pongs`: when answers do, `nonces`: what is fresh, `watchdog`: which sockets are deaf, `senders`: who was
//! heard). `dialling` knows whom to dial when; `links` what stands; `membership` who belongs, by claims;
//! `wire` how members travel. `cluster` ties them: `linking`, `judging` (life and death), `merging` (what
//! others say), `naming` (whose a name is), `telling` (what we say), `publishing` (what subscribers see),
//! `remembering` (who is missed after a restart), `views` (what people see). `timing` holds every fixed time
//! and cap of the core; those of one connection are in [`link`]. Sockets, handshake and encryption are
//! [`net`](super::net); the task that carries what happens there to the core and back is
//! [`node::cluster`](crate::node::cluster).
//!
//! # What must always hold
//!
//! 1. A beacon admits nobody: it leads to a dial, a PONG or a series, each at a limited rate, and is
//!    believed about addresses of known members and about who is settled.
//! 2. No beacon silences a node that needs company: its first series goes out whatever it hears, and while its need
//!    ([`beacons`]) is open, lower ids hold back a later PING for one interval at most.
//! 3. A member to which we have a link is never reported down, unless by its own word or by another run of
//!    it: a greater claim, or a hello of its id in another run.
//! 4. Subscribers hear of each change once: up and down in turn, this node first.
//! 5. Whoever has heard the same claims believes the same, in whatever order they came; but not of members
//!    that it has a link to, and not of those for which it has no room or that it never knew until they were
//!    forgotten.
//! 6. At rest nothing is sent but one beat an interval; one dial an interval to each member that is down and that we seek
//!    (hidden: and heard), and to each address given by hand where nobody answers; and heartbeats over idle links.
//! 7. Every table has a cap, and what finds it full has a name among the counters
//!    (`waymesh_cluster_tables_full_total`).
//! 8. A name has one holder: who is settled keeps it against who is not; of two that are alike in this the
//!    lower id does, of one id the lower run. The other gives the name up by itself and is *not ready* for
//!    its callers until it has one again.
//!
//! [`LinkTiming::quiet`]: link::silence::LinkTiming::quiet
//! [`HOPS_MAX`]: timing::HOPS_MAX
//! [`FIRST_SERIES`]: timing::FIRST_SERIES
//! [`FIRST_SERIES_WITHOUT_NETWORK`]: timing::FIRST_SERIES_WITHOUT_NETWORK
//! [`NONCE_LIFE`]: timing::NONCE_LIFE
//! [`HIGHER_WAITS`]: timing::HIGHER_WAITS
//! [`SILENCE`]: timing::SILENCE

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "this page is for those who read the source, and links what its numbers are"
)]

mod beacon;
mod card;
mod cluster;
mod config;
mod dialling;
mod discovery;
mod due;
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
    output::{BeaconTo, ClusterOutput, Haste, Refusal},
    place::{InterfaceIndex, SocketPlace, Transport},
    view::{Epoch, ViewDigest},
    wire::MemberMessage,
};
