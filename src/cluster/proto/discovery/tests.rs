//! Discovery as a conversation: what a datagram leads to, and what it does not.

use std::time::Duration;

use super::{super::cluster::testing, *};
use crate::cluster::proto::{BeaconKeys, InterfaceIndex, NodeCard, Transport, keys::TAG_BYTES};

/// A node that is alone, or reaches whom it is told to.
struct Around {
    reached: Vec<NodeId>,
    linked: Vec<(NodeId, RunNumber)>,
    company: Company,
}

impl Surroundings for Around {
    fn introduction(&self) -> Introduction {
        Introduction {
            incarnation: Incarnation(1),
            is_settled: true,
            digest: ViewDigest(5),
        }
    }

    fn n_members(&self) -> usize {
        self.linked.len()
    }

    fn is_linked(&self, id: NodeId, run: RunNumber) -> bool {
        self.linked.contains(&(id, run))
    }

    fn has_path(&self, id: NodeId) -> bool {
        let mut linked = self.linked.iter();
        self.reached.contains(&id) || linked.any(|(linked, _)| *linked == id)
    }

    fn is_wanted(&self, _: NodeId, name: &NodeName) -> bool {
        name.as_str() != "unwanted"
    }

    fn company(&self) -> Company {
        self.company
    }
}

const PLACE: SocketPlace = SocketPlace {
    interface: InterfaceIndex(2),
    transport: Transport::Multicast,
};

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Node 5 in conversation with others.
struct Talk {
    config: ClusterConfig,
    discovery: Discovery,
    around: Around,
}

impl Talk {
    fn new() -> Self {
        let config = testing::config(5, "me");
        let discovery = Discovery::new(at(0), &config, Prng::new(1));
        let around = Around {
            reached: Vec::new(),
            linked: Vec::new(),
            company: Company::Complete,
        };
        Self {
            config,
            discovery,
            around,
        }
    }

    /// Past the first series, with an open socket.
    fn at_rest() -> Self {
        let mut talk = Self::new();
        talk.discovery.socket_opened(at(0), PLACE);
        talk.said(1_000);
        talk
    }

    fn beacon(&self, id: u64, kind: BeaconKind) -> Beacon {
        let card: NodeCard = testing::card(id, &format!("n{id}"));
        Beacon {
            kind,
            id: card.id,
            name: card.name,
            incarnation: card.incarnation,
            run: card.run,
            is_settled: true,
            wants_few: false,
            digest: ViewDigest(5),
            link_port: 5_001,
            advertised: None,
        }
    }

    fn hears_bytes(&mut self, millis: u64, bytes: &[u8]) -> Option<Sighting> {
        self.hears_from("192.0.2.9:50337", millis, bytes)
    }

    fn hears_from(&mut self, from: &str, millis: u64, bytes: &[u8]) -> Option<Sighting> {
        let from = from.parse().unwrap();
        let arrival = Arrival {
            bytes,
            from,
            place: PLACE,
        };
        let Self {
            config,
            discovery,
            around,
        } = self;
        discovery.datagram(at(millis), arrival, config, around)
    }

    fn hears(&mut self, millis: u64, beacon: &Beacon) -> Option<Sighting> {
        let bytes = beacon.to_bytes(&self.config.keys);
        self.hears_bytes(millis, &bytes)
    }

    /// What it sends up to a time, and when.
    fn said(&mut self, until: u64) -> Vec<(u64, BeaconKind)> {
        let mut said = Vec::new();
        while let Some(now) = self
            .discovery
            .next_deadline()
            .filter(|next| *next <= at(until))
        {
            let mut out = Vec::new();
            self.discovery
                .poll(now, &self.config, &self.around, &mut out);
            for output in out {
                if let ClusterOutput::SendBeacon { bytes, .. } = output {
                    let beacon = Beacon::read(&bytes, &self.config.keys).unwrap();
                    said.push((now.as_millis(), beacon.kind));
                }
            }
        }
        said
    }

    fn rejected(&self, reason: BeaconRejection) -> u64 {
        let place = BeaconRejection::ALL.iter().position(|one| *one == reason);
        self.discovery.counts.n_rejected[place.unwrap()]
    }
}

#[test]
fn a_stranger_s_ping_is_answered_once_and_leads_to_a_sighting() {
    let mut talk = Talk::at_rest();
    let ping = talk.beacon(9, BeaconKind::Ping(Nonce(7)));
    let sighting = talk.hears(2_000, &ping).unwrap();
    assert_eq!(sighting.address, "192.0.2.9:5001".parse().unwrap());
    let said = talk.said(2_500);
    let pong = BeaconKind::Pong {
        nonce: Nonce(7),
        pinger: NodeId(9),
    };
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].1, pong);
    assert!((2_000..=2_010).contains(&said[0].0));
}

#[test]
fn an_advertised_address_counts_more_than_the_source() {
    let mut talk = Talk::at_rest();
    let mut ping = talk.beacon(9, BeaconKind::Ping(Nonce(7)));
    ping.advertised = Some("198.51.100.1:15001".parse().unwrap());
    let sighting = talk.hears(2_000, &ping).unwrap();
    assert_eq!(Some(sighting.address), ping.advertised);
}

#[test]
fn who_is_reached_and_agrees_gets_no_answer() {
    let mut talk = Talk::at_rest();
    talk.around.reached.push(NodeId(9));
    let ping = talk.beacon(9, BeaconKind::Ping(Nonce(7)));
    let beat = talk.beacon(9, BeaconKind::Beat(Nonce(8)));
    talk.hears(2_000, &ping);
    talk.hears(2_000, &beat);
    assert_eq!(talk.said(3_000), []);
    let differs = Beacon {
        digest: ViewDigest(6),
        ..ping
    };
    talk.hears(3_000, &differs);
    assert_eq!(talk.said(4_000).len(), 1, "its view differs");
}

/// Whether a PING is answered that others have answered before, heard from some addresses.
fn answers_after(talk: &mut Talk, ping: &Beacon, from: &[&str], n_answers: u64) -> bool {
    let bytes = ping.to_bytes(&talk.config.keys);
    for from in from {
        talk.hears_from(from, 2_000, &bytes);
    }
    let (nonce, pinger) = (ping.kind.nonce(), ping.id);
    for id in 100..100 + n_answers {
        let pong = talk.beacon(id, BeaconKind::Pong { nonce, pinger });
        talk.hears(2_000, &pong);
    }
    talk.said(2_999).len() == 1
}

#[test]
fn answers_of_eight_linked_nodes_are_enough_for_who_takes_their_word() {
    const HERE: &str = "192.0.2.9:50337";
    const SEGMENT: &str = "[fe80::9%2]:50337";
    let talk = |n_linked: u64| {
        let mut talk = Talk::at_rest();
        for id in 100..100 + n_linked {
            let run = talk.beacon(id, BeaconKind::Ping(Nonce(1))).run;
            talk.around.linked.push((NodeId(id), run));
        }
        talk
    };
    let few = Beacon {
        wants_few: true,
        ..talk(0).beacon(9, BeaconKind::Ping(Nonce(7)))
    };
    let all = Beacon {
        wants_few: false,
        ..few.clone()
    };
    assert!(!answers_after(&mut talk(8), &few, &[HERE], 8));
    assert!(!answers_after(&mut talk(8), &few, &[SEGMENT, HERE], 8));
    assert!(
        answers_after(&mut talk(8), &few, &[HERE], 7),
        "one is missing"
    );
    assert!(
        answers_after(&mut talk(7), &few, &[HERE], 8),
        "one is a stranger"
    );
    assert!(
        answers_after(&mut talk(8), &all, &[HERE], 8),
        "it wants all"
    );
    assert!(
        answers_after(&mut talk(8), &few, &[SEGMENT], 8),
        "others cannot tell where it is"
    );
    let mut hidden = talk(8);
    hidden.config.connect_mode = ConnectMode::Hidden;
    assert!(
        answers_after(&mut hidden, &few, &[HERE], 8),
        "others do not tell of us"
    );
}

#[test]
fn who_tells_of_others_asks_for_few_answers() {
    for mode in [ConnectMode::Visible, ConnectMode::Hidden] {
        let mut talk = Talk::new();
        talk.config.connect_mode = mode;
        talk.discovery.socket_opened(at(0), PLACE);
        let mut out = Vec::new();
        let first = talk.discovery.next_deadline().unwrap();
        talk.discovery
            .poll(first, &talk.config, &talk.around, &mut out);
        let asks = out.iter().find_map(|output| match output {
            ClusterOutput::SendBeacon { bytes, .. } => {
                Some(Beacon::read(bytes, &talk.config.keys).unwrap().wants_few)
            }
            _ => None,
        });
        assert_eq!(asks, Some(mode == ConnectMode::Visible));
    }
}

#[test]
fn who_is_linked_gets_no_answer_whatever_its_view_and_a_new_run_of_it_does() {
    let mut talk = Talk::at_rest();
    let other = Beacon {
        digest: ViewDigest(6),
        ..talk.beacon(9, BeaconKind::Beat(Nonce(7)))
    };
    talk.around.linked.push((other.id, other.run));
    talk.hears(2_000, &other);
    assert_eq!(talk.said(3_000), [], "over the link more is told");
    let anew = Beacon {
        kind: BeaconKind::Ping(Nonce(8)),
        run: RunNumber(other.run.0 + 1),
        ..other.clone()
    };
    talk.hears(3_000, &anew);
    assert_eq!(talk.said(4_000).len(), 1, "nothing leads to this run");
    let stranger = talk.beacon(8, BeaconKind::Ping(Nonce(9)));
    talk.hears(5_000, &stranger);
    talk.around.linked.push((stranger.id, stranger.run));
    assert_eq!(
        talk.said(6_000),
        [],
        "a link came to stand before the answer left"
    );
}

#[test]
fn a_beat_from_beyond_starts_a_series_and_a_ping_starts_none() {
    let mut talk = Talk::at_rest();
    let ping = talk.beacon(9, BeaconKind::Ping(Nonce(7)));
    talk.hears(2_000, &ping);
    let is_ping = |(_, kind): &(u64, BeaconKind)| matches!(kind, BeaconKind::Ping(_));
    assert!(!talk.said(4_000).iter().any(is_ping));
    let beat = talk.beacon(9, BeaconKind::Beat(Nonce(8)));
    talk.hears(5_000, &beat);
    let said = talk.said(6_000);
    let pings: Vec<u64> = said
        .iter()
        .filter(|one| is_ping(one))
        .map(|one| one.0)
        .collect();
    assert_eq!(pings.len(), 3, "{said:?}");
    assert!(pings[0] <= 5_050);
    let unwanted = Beacon {
        name: NodeName::parse("unwanted").unwrap(),
        ..talk.beacon(8, BeaconKind::Beat(Nonce(9)))
    };
    talk.hears(7_000, &unwanted);
    assert_eq!(talk.said(7_900), [], "no link to it is sought");
}

#[test]
fn a_pong_counts_only_if_it_echoes_what_was_heard_within_a_second() {
    let mut talk = Talk::at_rest();
    let pong = talk.beacon(
        9,
        BeaconKind::Pong {
            nonce: Nonce(7),
            pinger: NodeId(8),
        },
    );
    assert!(talk.hears(2_000, &pong).is_none(), "out of the blue");
    let ping = talk.beacon(8, BeaconKind::Ping(Nonce(7)));
    talk.hears(2_000, &ping);
    assert!(talk.hears(3_000, &pong).is_some());
    assert!(talk.hears(3_001, &pong).is_none(), "a recording");
    // Played back together with its PING it is one more sighting, and no more than that.
    talk.hears(9_000, &ping);
    assert!(talk.hears(9_001, &pong).is_some());
    assert_eq!(talk.rejected(BeaconRejection::StaleNonce), 2);
}

#[test]
fn an_answer_to_our_own_ping_counts() {
    let mut talk = Talk::new();
    talk.discovery.socket_opened(at(0), PLACE);
    let said = talk.said(2);
    let BeaconKind::Ping(nonce) = said[0].1 else {
        panic!("{said:?}");
    };
    let pinger = NodeId(5);
    let pong = talk.beacon(9, BeaconKind::Pong { nonce, pinger });
    assert!(talk.hears(10, &pong).is_some());
}

#[test]
fn own_beacons_feed_the_watchdog_only_and_recordings_of_them_nothing() {
    let mut talk = Talk::new();
    talk.discovery.socket_opened(at(0), PLACE);
    let said = talk.said(2);
    let card = talk.config.card.clone();
    let own = Beacon {
        run: card.run,
        name: card.name,
        ..talk.beacon(5, said[0].1)
    };
    assert!(talk.hears(3, &own).is_none());
    let heard = |talk: &Talk| talk.discovery.watchdog.iter().next().unwrap().1.own_heard;
    assert_eq!(heard(&talk), Some(at(3)));
    assert!(talk.hears(5_000, &own).is_none());
    assert_eq!(heard(&talk), Some(at(3)), "played back");
    assert_eq!(talk.rejected(BeaconRejection::Own), 2);
    assert_eq!(talk.discovery.senders.iter().count(), 0);
}

#[test]
fn every_rejection_is_counted_by_its_name_and_strangers_are_listed() {
    let mut talk = Talk::at_rest();
    let ping = talk.beacon(9, BeaconKind::Ping(Nonce(7)));
    let name = |text: &str| NodeName::parse(text).unwrap();
    let wrong = ping.to_bytes(&BeaconKeys::new(&["guess"], &name("test")));
    let other = ping.to_bytes(&BeaconKeys::new(&["secret"], &name("elsewhere")));
    let mut newer = ping.to_bytes(&talk.config.keys).to_vec();
    newer[4] = 2;
    for bytes in [&wrong[..], &other, &newer, b"rubbish", &[0; 600]] {
        assert!(talk.hears_bytes(2_000, bytes).is_none());
    }
    for reason in [
        BeaconRejection::WrongSecret,
        BeaconRejection::OtherCluster,
        BeaconRejection::OtherVersion,
        BeaconRejection::Malformed,
        BeaconRejection::TooLong,
    ] {
        assert_eq!(talk.rejected(reason), 1, "{reason}");
    }
    assert_eq!(talk.said(3_000), [], "strangers get no answer");
    assert!(talk.discovery.senders.iter().count() >= 2);
}

/// Five thousand datagrams a second of a recording, and of noise: rates and tables stay bounded, and
/// the node's own beats go on.
#[test]
fn a_flood_changes_nothing() {
    let mut talk = Talk::at_rest();
    let mut prng = Prng::new(3);
    let recording: Vec<_> = (0..50)
        .map(|id| {
            talk.beacon(100 + id, BeaconKind::Beat(Nonce(id)))
                .to_bytes(&talk.config.keys)
        })
        .collect();
    let mut said = Vec::new();
    for step in 0_u64..50_000 {
        let millis = 2_000 + step / 5;
        if step % 2 == 0 {
            let at = usize::try_from(prng.below(50)).unwrap();
            talk.hears_bytes(millis, &recording[at]);
        } else {
            let mut noise = recording[0].to_vec();
            let end = noise.len() - TAG_BYTES;
            noise[end] ^= prng.next_u64() as u8 | 1;
            talk.hears_bytes(millis, &noise);
        }
        said.extend(talk.said(millis));
    }
    let n_pongs = said
        .iter()
        .filter(|(_, kind)| matches!(kind, BeaconKind::Pong { .. }))
        .count();
    let n_others = said.len() - n_pongs;
    assert!(n_pongs <= 10 * 20, "{n_pongs} in 10 s");
    assert!(n_others <= 10 * 3 + 2, "{n_others} PINGs and beats in 10 s");
    assert!(talk.discovery.nonces.len() <= 100);
    assert!(talk.discovery.senders.iter().count() <= 60);
}

#[test]
fn without_a_socket_nothing_is_sent_and_the_first_series_ends_all_the_same() {
    let mut talk = Talk::new();
    assert_eq!(talk.said(60_000), []);
    assert!(talk.discovery.is_first_series_over());
    talk.discovery.socket_opened(at(61_000), PLACE);
    assert_eq!(talk.said(61_002).len(), 1);
}

#[test]
fn a_paused_node_answers_and_asks_nothing() {
    let mut talk = Talk::at_rest();
    talk.discovery.pings.pause();
    let beat = talk.beacon(9, BeaconKind::Beat(Nonce(8)));
    assert!(talk.hears(2_000, &beat).is_some());
    let said = talk.said(60_000);
    assert_eq!(said.len(), 1, "{said:?}");
    talk.discovery.resume(at(60_000));
    assert_eq!(
        talk.said(60_000 + Duration::from_secs(1).as_millis() as u64)
            .len(),
        3
    );
}
