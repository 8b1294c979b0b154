//! One core in conversation: links that are admitted, chosen, lost; claims that are believed or not.

use std::time::Duration;

use bytes::Bytes;

use super::{testing, *};
use crate::{
    cluster::proto::{
        ClusterEvent, DialId, DownReason, Forgotten, InterfaceIndex, LinkId, MemberState,
        MinConnections, NameMatch, PeerAddress, RememberedMember, RunNumber, Transport,
        discovery::Sighting,
        link::outcome::{CloseReason, DialFailure, LinkEnd},
        membership::{Claim, Record, Standing},
        wire::Said,
    },
    types::ids::NodeId,
};

mod telling;

/// Node 5, and what it did.
struct Talk {
    cluster: Cluster,
    now: u64,
    out: Vec<ClusterOutput>,
}

impl Talk {
    fn new() -> Self {
        Self::with(testing::config(5, "me"))
    }

    fn with(config: ClusterConfig) -> Self {
        let mut talk = Self {
            cluster: Cluster::new(Instant::from_millis(0), config),
            now: 1_000,
            out: Vec::new(),
        };
        talk.tells(ClusterInput::Tick);
        talk.out.clear();
        talk
    }

    /// An input, and the outputs it leads to.
    fn tells(&mut self, input: ClusterInput) {
        let now = Instant::from_millis(self.now);
        self.cluster.handle(now, input, &mut self.out);
    }

    /// Time passes, and every deadline on the way.
    fn waits(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(next) = self.cluster.next_deadline() {
            if next.as_millis() > end {
                break;
            }
            self.now = next.as_millis().max(self.now);
            self.tells(ClusterInput::Tick);
        }
        self.now = end;
    }

    fn link_up(&mut self, link: u64, id: u64, dialled: Option<DialId>) {
        self.tells(ClusterInput::LinkUp {
            link: LinkId(link),
            dialled,
            card: testing::card(id, &format!("n{id}")),
            observed: observed(id),
        });
    }

    /// A link with its table: the node can be used.
    fn links(&mut self, link: u64, id: u64) {
        self.link_up(link, id, None);
        let records = Vec::new();
        let is_last = true;
        self.frame(link, &Said::Table { records, is_last });
    }

    fn frame(&mut self, link: u64, said: &Said) {
        self.tells(ClusterInput::MemberFrame {
            link: LinkId(link),
            bytes: said.to_message().into_bytes(),
        });
    }

    fn loses(&mut self, link: u64, reason: LinkEnd) {
        self.loses_after(link, reason, Duration::ZERO);
    }

    fn loses_after(&mut self, link: u64, reason: LinkEnd, silence: Duration) {
        let link = LinkId(link);
        self.tells(ClusterInput::LinkDown {
            link,
            reason,
            silence,
        });
    }

    fn state(&self, id: u64) -> Option<MemberState> {
        let members = self.cluster.members();
        let member = members.into_iter().find(|member| member.id == NodeId(id));
        member.map(|member| member.state)
    }

    /// The events since they were last taken, as words.
    fn events(&mut self) -> Vec<String> {
        let out = std::mem::take(&mut self.out);
        let word = |output: &ClusterOutput| match output {
            ClusterOutput::Notify(ClusterEvent::NodeUp(node)) => Some(format!("up {}", node.name)),
            ClusterOutput::Notify(ClusterEvent::NodeDown(node, reason)) => {
                Some(format!("down {} {reason}", node.name))
            }
            _ => None,
        };
        out.iter().filter_map(word).collect()
    }

    fn dialled(&self) -> Option<DialId> {
        self.out.iter().rev().find_map(|output| match output {
            ClusterOutput::Dial { dial, .. } => Some(*dial),
            _ => None,
        })
    }

    fn closed(&self) -> Vec<(u64, CloseReason)> {
        let closed = self.out.iter().filter_map(|output| match output {
            ClusterOutput::CloseLink { link, reason } => Some((link.0, reason.clone())),
            _ => None,
        });
        closed.collect()
    }
}

fn observed(id: u64) -> SocketAddr {
    SocketAddr::new([192, 0, 2, u8::try_from(id).unwrap()].into(), 40_000)
}

fn record(id: u64, refutation: u32, standing: Standing) -> Record {
    let card = testing::card(id, &format!("n{id}"));
    Record {
        id: card.id,
        name: card.name,
        claim: Claim {
            incarnation: card.incarnation,
            refutation,
            standing,
            run: std::cmp::Reverse(card.run),
        },
        reason: DownReason::Silent,
        roles: card.roles,
        link: None,
        http: None,
    }
}

fn delta(record: Record) -> Said {
    let records = vec![record];
    Said::Delta { records }
}

#[test]
fn a_node_is_up_when_its_table_is_in_and_this_node_is_the_first() {
    let mut talk = Talk::new();
    assert_eq!(talk.cluster.announced()[0].id, NodeId(5));
    talk.link_up(1, 9, None);
    assert_eq!(talk.events(), [""; 0]);
    let (records, is_last) = (Vec::new(), true);
    talk.frame(1, &Said::Table { records, is_last });
    assert_eq!(talk.events(), ["up n9"]);
    let announced = talk.cluster.announced();
    assert_eq!(announced.len(), 2);
    let link = talk.cluster.members()[1].link;
    assert_eq!(
        link,
        Some("192.0.2.9:5001".parse().unwrap()),
        "as it was seen"
    );
}

#[test]
fn a_closed_link_and_a_refused_dial_are_a_death_at_once() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.events();
    talk.loses(1, LinkEnd::Closed);
    assert_eq!(talk.state(9), Some(MemberState::Suspect));
    let dial = talk.dialled().unwrap();
    assert_eq!(talk.events(), [""; 0]);
    let why = DialFailure::Refused;
    talk.tells(ClusterInput::DialFailed { dial, why });
    assert_eq!(talk.events(), ["down n9 closed"]);
    assert_eq!(talk.state(9), Some(MemberState::Down));
}

#[test]
fn a_link_that_broke_alone_is_dialled_again_and_not_mourned() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.events();
    // However long nothing but the same heartbeats came over it.
    talk.waits(60_000);
    talk.loses(1, LinkEnd::Reset);
    let dial = talk.dialled();
    talk.waits(30);
    talk.link_up(2, 9, dial);
    let (records, is_last) = (Vec::new(), true);
    talk.frame(2, &Said::Table { records, is_last });
    talk.waits(5_000);
    assert_eq!(talk.events(), [""; 0]);
    assert_eq!(talk.state(9), Some(MemberState::Up));
}

#[test]
fn no_answer_falls_under_the_rule_of_silence() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.events();
    talk.loses(1, LinkEnd::Reset);
    talk.waits(1_399);
    assert_eq!(talk.events(), [""; 0]);
    talk.waits(1);
    assert_eq!(talk.events(), ["down n9 silent"]);
}

#[test]
fn what_was_silent_before_the_link_broke_counts() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.events();
    talk.waits(60_000);
    talk.loses_after(1, LinkEnd::Reset, Duration::from_millis(600));
    talk.waits(799);
    assert_eq!(talk.events(), [""; 0]);
    talk.waits(1);
    assert_eq!(talk.events(), ["down n9 silent"]);
}

#[test]
fn a_neighbour_s_link_makes_a_silent_node_suspect_and_its_end_kills_it() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.links(2, 8);
    let report = |ids: &[u64]| Said::Report {
        hops: ids.iter().map(|id| (NodeId(*id), 1)).collect(),
        is_storing: true,
    };
    talk.frame(2, &report(&[9]));
    talk.events();
    talk.loses(1, LinkEnd::Silent);
    talk.waits(5_000);
    assert_eq!(talk.events(), [""; 0]);
    assert_eq!(talk.state(9), Some(MemberState::Suspect));
    assert_eq!(
        talk.cluster.storing().len(),
        2,
        "not without a link of our own"
    );
    talk.frame(2, &report(&[]));
    talk.waits(50);
    assert_eq!(talk.events(), ["down n9 silent"]);
}

#[test]
fn our_own_link_counts_more_than_what_others_say_and_the_member_is_told() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.links(2, 8);
    talk.waits(50);
    talk.events();
    talk.frame(2, &delta(record(9, 0, Standing::Down)));
    let told = talk.out.iter().any(|output| match output {
        ClusterOutput::SendFrame { link, message, .. } => {
            let said = Said::read(message.as_bytes());
            *link == LinkId(1) && said == Some(delta(record(9, 0, Standing::Down)))
        }
        _ => false,
    });
    assert!(told, "{:?}", talk.out);
    assert_eq!(talk.state(9), Some(MemberState::Up));
    talk.frame(1, &delta(record(9, 1, Standing::Up)));
    assert_eq!(talk.events(), [""; 0]);
    talk.frame(1, &delta(record(9, 1, Standing::Left)));
    assert_eq!(
        talk.events(),
        ["down n9 silent"],
        "its own word, with its reason"
    );
}

#[test]
fn a_node_that_is_called_down_speaks_up() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.waits(50);
    talk.out.clear();
    let mut me = record(5, 3, Standing::Down);
    me.name = testing::card(5, "me").name;
    talk.frame(1, &delta(me));
    talk.waits(20);
    let refuted = talk.out.iter().any(|output| match output {
        ClusterOutput::SendFrame { message, .. } => match Said::read(message.as_bytes()) {
            Some(Said::Delta { records }) => records.iter().any(|record| {
                record.id == NodeId(5) && record.is_up() && record.claim.refutation == 4
            }),
            _ => false,
        },
        _ => false,
    });
    assert!(refuted, "{:?}", talk.out);
}

#[test]
fn the_lower_identity_keeps_the_link_it_had_first() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.out.clear();
    talk.link_up(2, 9, Some(DialId(77)));
    assert_eq!(talk.closed(), [(2, CloseReason::Duplicate)]);
    let card = testing::card(9, "n9");
    let now = Instant::from_millis(talk.now);
    let mut out = Vec::new();
    let refusal = talk.cluster.admit(now, &card, observed(9), &mut out);
    assert_eq!(refusal, Err(Refusal::Duplicate));
    // A quiet one is worth less than a new one.
    talk.out.clear();
    talk.tells(ClusterInput::LinkQuiet { link: LinkId(1) });
    assert_eq!(talk.state(9), Some(MemberState::Suspect));
    talk.link_up(3, 9, None);
    assert_eq!(talk.closed(), [(1, CloseReason::Duplicate)]);
    assert_eq!(talk.events(), [""; 0]);
}

#[test]
fn the_higher_identity_holds_both_until_the_lower_has_chosen() {
    let mut talk = Talk::new();
    talk.links(1, 2);
    talk.link_up(2, 2, Some(DialId(77)));
    assert_eq!(talk.closed(), []);
    talk.events();
    talk.loses(1, LinkEnd::Closed);
    talk.waits(5_000);
    assert_eq!(talk.events(), [""; 0], "a surplus link is no death");
}

#[test]
fn a_restart_is_a_death_and_a_birth() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.loses(1, LinkEnd::Closed);
    talk.events();
    let mut card = testing::card(9, "n9");
    card.incarnation = crate::cluster::proto::Incarnation(2);
    card.run = RunNumber(1);
    talk.tells(ClusterInput::LinkUp {
        link: LinkId(2),
        dialled: None,
        card,
        observed: observed(9),
    });
    assert_eq!(talk.events(), ["down n9 restarted"]);
    let (records, is_last) = (Vec::new(), true);
    talk.frame(2, &Said::Table { records, is_last });
    assert_eq!(talk.events(), ["up n9"]);
}

#[test]
fn callers_are_refused_with_the_reason() {
    let mut config = testing::config(5, "me");
    config.accept = NameMatch::Pattern(regex::Regex::new("^(n|me)").unwrap());
    let mut talk = Talk::with(config);
    talk.waits(1_000);
    talk.links(1, 9);
    talk.waits(1_000);
    let mut admit = |id: u64, name: &str| {
        let now = Instant::from_millis(talk.now);
        let mut out = Vec::new();
        let card = testing::card(id, name);
        talk.cluster.admit(now, &card, observed(id), &mut out)
    };
    assert_eq!(admit(7, "n7"), Ok(()));
    assert_eq!(admit(7, "stranger"), Err(Refusal::NotAccepted));
    assert_eq!(admit(5, "me"), Err(Refusal::Itself));
    let by_n9 = "192.0.2.9:5001".parse().unwrap();
    assert_eq!(admit(7, "n9"), Err(Refusal::NameTaken { by: by_n9 }));
    let by_me = "0.0.0.0:5001".parse().unwrap();
    assert_eq!(admit(7, "me"), Err(Refusal::NameTaken { by: by_me }));
}

#[test]
fn rubbish_frames_are_counted_and_change_nothing() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    talk.events();
    let link = LinkId(1);
    for bytes in [&b""[..], &[9, 9], &[0xff; 300]] {
        let bytes = Bytes::copy_from_slice(bytes);
        let heartbeat = bytes.clone();
        talk.tells(ClusterInput::MemberFrame { link, bytes });
        let bytes = heartbeat;
        talk.tells(ClusterInput::Heartbeat { link, bytes });
    }
    assert!(talk.cluster.counts().n_frames_malformed >= 4);
    assert_eq!(talk.events(), [""; 0]);
    talk.tells(ClusterInput::MemberFrame {
        link: LinkId(99),
        bytes: Bytes::new(),
    });
    talk.loses(99, LinkEnd::Closed);
}

/// Found by the fuzzer: the end was told under the name that nobody had heard of.
#[test]
fn a_node_that_has_another_name_is_the_end_of_the_one_before() {
    for run in [900, 901] {
        let mut talk = Talk::new();
        talk.links(1, 9);
        talk.loses(1, LinkEnd::Closed);
        let mut card = testing::card(9, "other");
        (card.incarnation.0, card.run.0) = (2, run);
        talk.tells(ClusterInput::LinkUp {
            link: LinkId(2),
            dialled: None,
            card,
            observed: observed(9),
        });
        let (records, is_last) = (Vec::new(), true);
        talk.frame(2, &Said::Table { records, is_last });
        let events = talk.events();
        assert_eq!(events, ["up n9", "down n9 restarted", "up other"]);
        assert_eq!(talk.cluster.announced()[1].name.as_str(), "other");
    }
}

#[test]
fn members_beyond_the_cap_are_counted_and_refused() {
    let mut talk = Talk::new();
    for id in 10..40 {
        talk.links(id, id);
    }
    assert_eq!(talk.cluster.sizes().n_members, 16);
    assert_eq!(talk.cluster.sizes().n_links, 16);
    let refused = CloseReason::NotReady;
    assert_eq!(talk.closed().len(), 14);
    assert!(talk.closed().iter().all(|(_, reason)| *reason == refused));
    talk.frame(10, &delta(record(200, 0, Standing::Up)));
    assert_eq!(talk.cluster.counts().n_full[0], ("members", 1));
}

/// Node 5, `me`, a moment after its start.
fn newcomer() -> Talk {
    Talk {
        cluster: Cluster::new(Instant::from_millis(0), testing::config(5, "me")),
        now: 10,
        out: Vec::new(),
    }
}

fn admits(talk: &mut Talk, id: u64, name: &str) -> Result<(), Refusal> {
    let now = Instant::from_millis(talk.now);
    let card = testing::card(id, name);
    let mut out = std::mem::take(&mut talk.out);
    let answer = talk.cluster.admit(now, &card, observed(id), &mut out);
    talk.out = out;
    answer
}

#[test]
fn of_two_that_have_just_started_the_one_that_is_linked_holds_the_name() {
    let by_me = testing::card(5, "me").link;
    let mut talk = newcomer();
    assert_eq!(admits(&mut talk, 2, "me"), Err(Refusal::NotReady));
    let gave_up = |output: &ClusterOutput| matches!(output, ClusterOutput::NameTaken { .. });
    assert!(talk.out.iter().any(gave_up), "the lower identity has it");

    let mut talk = newcomer();
    talk.link_up(1, 9, None);
    talk.tells(ClusterInput::Tick);
    assert!(!talk.cluster.core.is_settled(), "nobody took it in yet");
    let (records, is_last) = (Vec::new(), true);
    talk.frame(1, &Said::Table { records, is_last });
    assert!(talk.cluster.core.is_settled(), "and its beacons say so");
    let taken = Err(Refusal::NameTaken { by: by_me });
    assert_eq!(admits(&mut talk, 2, "me"), taken);
    assert_eq!(talk.state(5), Some(MemberState::Up));
}

/// The holder dials, too: it must not be taken for refused by who was refused.
#[test]
fn who_has_given_its_name_up_refuses_it_to_nobody() {
    let mut talk = newcomer();
    assert_eq!(admits(&mut talk, 2, "me"), Err(Refusal::NotReady));
    assert_eq!(talk.state(5), Some(MemberState::Left));
    for id in [2, 9] {
        assert_eq!(admits(&mut talk, id, "me"), Err(Refusal::NotReady), "{id}");
    }
}

/// Two that claim one identity at two hubs would drive each other out for ever.
#[test]
fn a_copy_of_a_member_that_is_reached_elsewhere_is_refused_until_it_is_not() {
    let mut talk = newcomer();
    talk.links(1, 9);
    talk.frame(1, &delta(record(8, 0, Standing::Up)));
    let report = |hops: &[u64]| {
        let hops = hops.iter().map(|id| (NodeId(*id), 1)).collect();
        Said::Report {
            hops,
            is_storing: true,
        }
    };
    talk.frame(1, &report(&[8]));
    let admits_run = |talk: &mut Talk, run: u64| {
        let card = NodeCard {
            run: RunNumber(run),
            ..testing::card(8, "n8")
        };
        let now = Instant::from_millis(talk.now);
        let mut out = Vec::new();
        talk.cluster.admit(now, &card, observed(8), &mut out)
    };
    assert_eq!(admits_run(&mut talk, 800), Ok(()), "itself");
    assert!(matches!(
        admits_run(&mut talk, 900),
        Err(Refusal::NameTaken { .. })
    ));
    talk.frame(1, &report(&[]));
    assert_eq!(admits_run(&mut talk, 900), Ok(()));
}

#[test]
fn whoever_sees_a_member_reached_refuses_others_its_name() {
    let mut talk = newcomer();
    // Their first beacons said that they had just started.
    for id in [8, 9] {
        beacon_of(&mut talk, id, false, &format!("192.0.2.{id}:5001"));
    }
    talk.links(1, 9);
    let by_n9 = "192.0.2.9:5001".parse().unwrap();
    let taken = Err(Refusal::NameTaken { by: by_n9 });
    assert_eq!(admits(&mut talk, 2, "n9"), taken, "over our own link");
    talk.frame(1, &delta(record(8, 0, Standing::Up)));
    let (hops, is_storing) = (vec![(NodeId(8), 1)], true);
    talk.frame(1, &Said::Report { hops, is_storing });
    assert!(
        matches!(admits(&mut talk, 2, "n8"), Err(Refusal::NameTaken { .. })),
        "over another's"
    );
}

#[test]
fn a_node_that_opens_ever_more_links_has_four_and_stays_up() {
    let mut talk = Talk::new();
    for link in 1..=10 {
        talk.links(link, 2);
    }
    assert_eq!(talk.cluster.sizes().n_links, 4);
    let closed: Vec<u64> = talk.closed().into_iter().map(|(link, _)| link).collect();
    assert_eq!(closed, [1, 2, 3, 4, 5, 6], "the oldest");
    let is_it = |(_, reason): &(u64, CloseReason)| *reason == CloseReason::Duplicate;
    assert!(talk.closed().iter().all(is_it));
    assert!(talk.cluster.counts().n_full.contains(&("links", 6)));
    assert_eq!(talk.events(), ["up n2"]);
}

#[test]
fn a_report_of_more_members_than_there_may_be_is_cut() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    let (hops, is_storing) = ((100..200).map(|id| (NodeId(id), 1)).collect(), true);
    talk.frame(1, &Said::Report { hops, is_storing });
    let link = talk.cluster.core.links.main(NodeId(9)).unwrap();
    assert_eq!(link.hops.len(), 16);
    assert!(talk.cluster.counts().n_full.contains(&("reports", 1)));
}

#[test]
fn a_peer_given_later_is_dialled_at_once() {
    let mut talk = Talk::new();
    let address: SocketAddr = "192.0.2.77:5001".parse().unwrap();
    talk.tells(ClusterInput::DialAddress(PeerAddress::Address(address)));
    let is_it = |output: &ClusterOutput| matches!(output, ClusterOutput::Dial { address: found, peer: None, .. } if *found == address);
    assert!(talk.out.iter().any(is_it));
}

#[test]
fn a_link_that_is_missed_is_asked_for_at_once_though_its_node_left_in_order() {
    let mut config = testing::config(5, "me");
    config.min_connections = MinConnections::AtLeast(1);
    let mut talk = Talk::with(config);
    talk.tells(ClusterInput::SocketOpened(SocketPlace {
        interface: InterfaceIndex(2),
        transport: Transport::Multicast,
    }));
    talk.links(1, 8);
    talk.links(2, 9);
    talk.waits(2_000);
    let mut leaves = |link, id| {
        talk.out.clear();
        talk.frame(link, &delta(record(id, 0, Standing::Left)));
        talk.loses(link, LinkEnd::ClosedFor(CloseReason::Leaving));
        talk.waits(20);
        let is_beacon = |output: &ClusterOutput| matches!(output, ClusterOutput::SendBeacon { .. });
        talk.out.iter().any(is_beacon)
    };
    assert!(!leaves(1, 8), "one link is enough");
    assert!(leaves(2, 9));
}

#[test]
fn health_and_links_make_the_epoch() {
    let mut talk = Talk::new();
    talk.waits(100);
    let alone = talk.cluster.epoch();
    talk.links(1, 9);
    let report = Said::Report {
        hops: Vec::new(),
        is_storing: true,
    };
    talk.frame(1, &report);
    let both = talk.cluster.epoch();
    assert_ne!(alone, both);
    assert_eq!(talk.cluster.storing().len(), 2);
    talk.tells(ClusterInput::Health { is_storing: false });
    assert_eq!(talk.cluster.storing().len(), 1);
    talk.tells(ClusterInput::Health { is_storing: true });
    assert_eq!(talk.cluster.epoch(), both);
    talk.loses(1, LinkEnd::Reset);
    assert_eq!(talk.cluster.epoch(), both, "it may come back in a moment");
    talk.waits(1_600);
    assert_eq!(talk.cluster.epoch(), alone);
}

/// A node that no beacon asked for, heard at `address`.
fn heard(talk: &mut Talk, id: u64, address: &str) {
    beacon_of(talk, id, true, address);
}

fn beacon_of(talk: &mut Talk, id: u64, is_settled: bool, address: &str) {
    let card = testing::card(id, &format!("n{id}"));
    talk.cluster.core.now = Instant::from_millis(talk.now);
    talk.cluster.core.sighted(&Sighting {
        id: card.id,
        name: card.name,
        run: card.run,
        is_settled,
        address: address.parse().unwrap(),
    });
    talk.tells(ClusterInput::Tick);
}

#[test]
fn a_member_that_others_cannot_place_is_dialled_where_it_is_heard() {
    let mut config = testing::config(5, "me");
    config.connect = NameMatch::Pattern(regex::Regex::new("n2").unwrap());
    for is_heard_first in [true, false] {
        let config = config.clone();
        let mut talk = Talk::with(config);
        talk.links(1, 2);
        if is_heard_first {
            heard(&mut talk, 7, "192.0.2.7:5001");
        }
        talk.frame(1, &delta(record(7, 0, Standing::Up)));
        if !is_heard_first {
            assert_eq!(talk.dialled(), None);
            heard(&mut talk, 7, "192.0.2.7:5001");
        }
        assert!(talk.dialled().is_some(), "heard first: {is_heard_first}");
    }
}

/// What the driver was last told to remember.
fn remembered(talk: &mut Talk) -> Option<Vec<u64>> {
    let out = std::mem::take(&mut talk.out);
    let told = out.into_iter().rev().find_map(|output| match output {
        ClusterOutput::Remember(members) => Some(members),
        _ => None,
    });
    told.map(|members| members.into_iter().map(|member| member.id.0).collect())
}

#[test]
fn storing_members_are_remembered_until_they_are_forgotten() {
    let mut talk = Talk::new();
    talk.links(1, 9);
    assert_eq!(remembered(&mut talk), Some(vec![9]));
    let mut relay = record(8, 0, Standing::Up);
    relay.roles.is_store = false;
    talk.frame(1, &delta(relay));
    assert_eq!(remembered(&mut talk), None, "it keeps no records");
    talk.frame(1, &delta(record(7, 0, Standing::Left)));
    assert_eq!(remembered(&mut talk), Some(vec![7, 9]));
    talk.loses(1, LinkEnd::Silent);
    talk.waits(2_000);
    assert_eq!(remembered(&mut talk), None, "away is not forgotten");
    talk.tells(ClusterInput::Forget(Forgotten::Id(NodeId(7))));
    assert_eq!(remembered(&mut talk), Some(vec![9]));
}

#[test]
fn who_was_remembered_is_down_and_dialled_and_any_word_of_it_counts_more() {
    let mut config = testing::config(5, "me");
    let known = |id: u64| RememberedMember {
        id: NodeId(id),
        name: testing::card(id, &format!("n{id}")).name,
        roles: testing::card(id, "n").roles,
        link: Some(SocketAddr::new([192, 0, 2, id as u8].into(), 5_001)),
    };
    config.remembered = vec![known(5), known(8), known(9)];
    let mut talk = Talk {
        cluster: Cluster::new(Instant::from_millis(0), config),
        now: 0,
        out: Vec::new(),
    };
    talk.tells(ClusterInput::Tick);
    assert_eq!(talk.events(), ["up me"], "nobody else is there");
    assert_eq!(talk.state(8), Some(MemberState::Down));
    talk.waits(300);
    let dialled = talk.out.iter().filter(|output| {
        matches!(output, ClusterOutput::Dial { peer: Some(peer), .. } if [8, 9].contains(&peer.0))
    });
    assert_eq!(dialled.count(), 2);
    talk.links(1, 8);
    assert_eq!(talk.state(8), Some(MemberState::Up));
    talk.frame(1, &delta(record(9, 0, Standing::Up)));
    assert_ne!(talk.state(9), Some(MemberState::Down));
    talk.frame(1, &delta(record(9, 0, Standing::Forgotten)));
    assert_eq!(talk.state(9), None);
}
