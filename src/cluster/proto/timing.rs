//! Every fixed time and cap of the core, once. Where they come from: the measurements of the
//! prototype (a dial on a LAN takes a few milliseconds, a busy machine delays a task by less than a
//! second) and the goals they have to meet.

use std::time::Duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Between the first and the second PING of a series; doubles from there.
pub(crate) const SERIES_FIRST_DELAY: Duration = millis(50);
/// PINGs that every series has, so that a lost datagram costs little.
pub(crate) const SERIES_PINGS_MIN: u32 = 3;
/// PINGs of the series of a node that knows of nobody: they span some six seconds.
pub(crate) const SERIES_PINGS_ALONE: u32 = 8;
/// A series whose delay is not above this is still quick: a reason to start one changes nothing.
pub(crate) const SERIES_QUICK: Duration = millis(400);
/// A series that is no node's first begins so much later at most, so that not all begin at once: of those
/// who lost the same node one asks, and the others need not.
pub(crate) const SERIES_JITTER_MS: u64 = 50;
/// Series that a node starts because it lost somebody are at least so far apart.
pub(crate) const SERIES_SPACING: Duration = millis(500);
/// Series that beats start are so far apart, whoever sent them.
pub(crate) const BEAT_SERIES_SPACING: Duration = millis(1_000);
/// Sockets that open within this time of each other share one PING.
pub(crate) const SOCKETS_TOGETHER: Duration = millis(2);
/// The first series counts as over this long after its first PING.
pub(crate) const FIRST_SERIES: Duration = millis(250);
/// Without any socket it counts as over this long after the start.
pub(crate) const FIRST_SERIES_WITHOUT_NETWORK: Duration = millis(400);
/// Longest random delay of a PONG.
pub(crate) const PONG_JITTER_MS: u64 = 10;
/// Where some answers will do, so many of nodes that this one is linked with are enough.
pub(crate) const ANSWERS_ENOUGH: usize = 8;
/// What the longest delay is longer then for each member beyond these, so that the first answers are heard
/// before the others leave.
pub(crate) const PONG_JITTER_PER_MEMBER_MS: u64 = 2;
/// The longest it becomes.
pub(crate) const PONG_JITTER_MAX_MS: u64 = 200;
/// Two PONGs are at least so far apart.
pub(crate) const PONG_SPACING: Duration = millis(50);
/// What it is instead for each member, where that is more: many that ask at once would each have an
/// answer from all. Only members count, so that no stranger and no recording delays an answer.
pub(crate) const PONG_SPACING_PER_MEMBER: Duration = millis(5);
/// The longest it becomes.
pub(crate) const PONG_SPACING_MAX: Duration = millis(400);
/// A nonce can be answered this long.
pub(crate) const NONCE_LIFE: Duration = millis(1_000);
/// Nonces remembered, of all senders.
pub(crate) const NONCES_MAX: usize = 1_024;
/// Nonces remembered of one sender, and of this node.
pub(crate) const NONCES_OF_ONE_MAX: usize = 32;
/// Senders in the table of verdicts.
pub(crate) const SENDERS_MAX: usize = 256;
/// Sockets of discovery that are watched.
pub(crate) const PLACES_MAX: usize = 256;
/// Own beacons that must have gone unheard before an interface counts as deaf.
pub(crate) const UNHEARD_MIN: u32 = 3;

/// The node with the higher identity dials this long after it learned of a peer.
pub(crate) const HIGHER_WAITS: Duration = millis(100);
/// Other peers that are to be linked still, of which it takes no account.
pub(crate) const HIGHER_WAITS_FREE: usize = 4;
/// What it waits longer for each of more: where many start at once, the
/// handshakes of the lower identities take their time, and doubles of them would take as much again.
pub(crate) const HIGHER_WAITS_PER_PEER: Duration = millis(40);
/// The longest it becomes.
pub(crate) const HIGHER_WAITS_MAX: Duration = millis(2_000);
/// A node that does not listen yet is tried again after these.
pub(crate) const RETRIES: [Duration; 3] = [millis(10), millis(20), millis(40)];
/// Between two dials of a member that is down.
pub(crate) const REDIAL: Duration = millis(250);

/// How long after its loss a node that takes dials and breaks them off may be dying.
pub(crate) const DYING: Duration = millis(100);

/// When a node that may be dying is dialled again: most have closed their port by then.
pub(crate) const RETRY_DYING: Duration = millis(1);
/// From here on a member that is down is dialled once an interval.
pub(crate) const REDIAL_LONG_AFTER: Duration = Duration::from_secs(60);
/// How long the network may take to open a connection to a node of the LAN. A busy node answers
/// sooner: its system does that.
pub(crate) const PATIENCE_NEAR: Duration = millis(400);
/// The same for a peer given by hand, which may be far away.
pub(crate) const PATIENCE_FAR: Duration = millis(3_000);
/// A dial that nobody reports about counts as failed.
pub(crate) const DIAL_LIFE: Duration = Duration::from_secs(15);
/// Dials under way.
pub(crate) const DIALS_MAX: usize = 256;
/// Dials that beacons may cause, a second.
pub(crate) const BEACON_DIALS_PER_SECOND: u32 = 256;
/// A refused name is tried again after this, doubling up to [`NAME_RETRY_MAX`].
pub(crate) const NAME_RETRY: Duration = millis(50);
/// Longest time between two tries of a refused name.
pub(crate) const NAME_RETRY_MAX: Duration = millis(1_000);
/// A name that nobody has refused for this long is tried again.
pub(crate) const NAME_FREE_AFTER: Duration = millis(5_000);
/// Addresses remembered of one peer.
pub(crate) const ADDRESSES_MAX: usize = 4;
/// Peers given by hand, in the configuration and later.
pub(crate) const STATIC_PEERS_MAX: usize = 256;

/// A link that was not heard for this long is dead.
pub(crate) const SILENCE: Duration = millis(1_400);
/// Changes of members, of reports and of heartbeats are told at once, but not twice within this.
pub(crate) const TELL_SPACING: Duration = millis(10);
/// How long a way that became longer is not told: longer than news take through the neighbours.
pub(crate) const HOLD: Duration = millis(200);
/// Links up to which nothing waits besides.
pub(crate) const GATHER_FREE: usize = 8;
/// How long what is not urgent is gathered, for each link beyond these: while many nodes form a
/// cluster, all of them have news for all others at each moment, and telling must not take the time
/// in which links come to stand.
pub(crate) const GATHER_PER_LINK: Duration = millis(3);
/// The longest that becomes.
pub(crate) const GATHER_MAX: Duration = millis(150);
/// The longest it becomes for what is urgent. Where many have links of their own to a node that dies, each
/// of them sees it within some milliseconds, and is not to read in these what all others saw.
pub(crate) const GATHER_URGENT_MAX: Duration = millis(15);
/// Views that differ this long, and have stood still meanwhile, make two nodes exchange their tables.
pub(crate) const TABLES_AFTER: Duration = millis(200);
/// And as many times the gathering longer: tables that all exchange with all are the last thing that
/// many nodes need which are busy with telling.
pub(crate) const GATHERS_UNTIL_TABLES: u32 = 4;
/// And so much longer where news go with heartbeats: longer than these take.
pub(crate) const BEAT_UNTIL_TABLES: Duration = millis(500);
/// As many times as long for views that do not stand still: what moves is being told anyway.
pub(crate) const TABLES_AFTER_MOVING: u32 = 10;
/// Pairs of digests remembered of a link, for which tables were exchanged.
pub(crate) const DIGEST_PAIRS_MAX: usize = 8;
/// Links of one node that are kept; of more the oldest is closed.
pub(crate) const LINKS_OF_ONE_MAX: usize = 4;
/// Members in one message; a table of more takes several.
pub(crate) const RECORDS_PER_MESSAGE: usize = 128;
/// Farthest member that is reported, in links.
pub(crate) const HOPS_MAX: u8 = 8;
