//! What a node tells over its links, to whom, and when.

use super::*;
use crate::cluster::proto::{
    ConnectMode, Haste,
    view::{Epoch, ViewDigest},
    wire::Heartbeat,
};

#[test]
fn who_is_linked_over_a_segment_is_told_of_where_others_reach_it() {
    let mut talk = Talk::new();
    heard(&mut talk, 7, "192.0.2.7:5001");
    talk.tells(ClusterInput::LinkUp {
        link: LinkId(1),
        dialled: None,
        card: testing::card(7, "n7"),
        observed: "[fe80::7%2]:40000".parse().unwrap(),
    });
    talk.out.clear();
    talk.links(2, 2);
    let mut told = Vec::new();
    for output in &talk.out {
        if let ClusterOutput::SendFrame { message, .. } = output
            && let Some(Said::Table { records, .. }) = Said::read(message.as_bytes())
        {
            told.extend(records.into_iter().filter(|record| record.id == NodeId(7)));
        }
    }
    let told: Vec<_> = told.into_iter().map(|record| record.link).collect();
    assert_eq!(told, [Some("192.0.2.7:5001".parse().unwrap())]);
}

#[test]
fn who_is_reached_is_told_on_though_the_way_came_before_the_member() {
    let mut talk = Talk::new();
    talk.links(1, 2);
    talk.links(2, 3);
    talk.waits(1_000);
    talk.out.clear();
    let hops = vec![(NodeId(7), 1)];
    let is_storing = true;
    talk.frame(1, &Said::Report { hops, is_storing });
    talk.waits(100);
    talk.frame(1, &delta(record(7, 0, Standing::Up)));
    talk.waits(100);
    let told = talk.out.iter().any(|output| match output {
        ClusterOutput::SendFrame { link, message, .. } if link.0 == 2 => matches!(
            Said::read(message.as_bytes()),
            Some(Said::Report { hops, .. }) if hops.contains(&(NodeId(7), 2))
        ),
        _ => false,
    });
    assert!(told);
}

/// What a link was told of the way to node 9, in links, report by report; 0 for none.
fn told_of_9(talk: &mut Talk, link: u64) -> Vec<u8> {
    let out = std::mem::take(&mut talk.out);
    let told = out.iter().filter_map(|output| match output {
        ClusterOutput::SendFrame {
            link: to, message, ..
        } if to.0 == link => Said::read(message.as_bytes()),
        _ => None,
    });
    let way = |said| match said {
        Said::Report { hops, .. } => {
            let way = hops.into_iter().find(|(id, _)| *id == NodeId(9));
            Some(way.map_or(0, |(_, n_hops)| n_hops))
        }
        _ => None,
    };
    told.filter_map(way).collect()
}

/// The neighbours had links to a node that is gone, and hear of it from each other.
#[test]
fn the_echo_of_a_way_that_is_lost_is_not_told_but_a_detour_is() {
    for is_echo in [true, false] {
        let mut talk = Talk::new();
        for (link, id) in [(1, 9), (2, 8), (3, 7)] {
            talk.links(link, id);
        }
        let reports = |talk: &mut Talk, link, n_hops| {
            let (hops, is_storing) = (vec![(NodeId(9), n_hops)], true);
            talk.frame(link, &Said::Report { hops, is_storing });
        };
        reports(&mut talk, 2, 1);
        talk.waits(1_000);
        talk.out.clear();
        talk.loses(1, LinkEnd::Silent);
        talk.waits(50);
        assert_eq!(told_of_9(&mut talk, 3), [2], "a neighbour has a link");
        reports(&mut talk, 2, 2);
        talk.waits(100);
        assert_eq!(told_of_9(&mut talk, 3), [0], "it may be us it speaks of");
        assert_eq!(talk.state(9), Some(MemberState::Suspect));
        if is_echo {
            let (hops, is_storing) = (Vec::new(), true);
            talk.frame(2, &Said::Report { hops, is_storing });
            talk.waits(10);
            assert_eq!(talk.events().last().unwrap(), "down n9 silent");
        }
        talk.waits(1_000);
        let later: &[u8] = if is_echo { &[] } else { &[3] };
        assert_eq!(told_of_9(&mut talk, 3), later);
    }
}

/// What was said over a link since it was last asked for, with its haste.
fn said_over(talk: &mut Talk, link: u64) -> Vec<(Said, Haste)> {
    let out = std::mem::take(&mut talk.out);
    let said = out.into_iter().filter_map(|output| match output {
        ClusterOutput::SendFrame {
            link: to,
            message,
            haste,
        } if to.0 == link => Some((Said::read(message.as_bytes())?, haste)),
        _ => None,
    });
    said.collect()
}

/// A node with as many links, to nodes 100 and up, that has told all it knows.
fn crowd(n_links: u64, mode: ConnectMode) -> Talk {
    let mut config = testing::config(5, "me");
    config.connect_mode = mode;
    config.members_max = 64;
    let mut talk = Talk::with(config);
    for link in 0..n_links {
        talk.links(link, 100 + link);
    }
    talk.waits(2_000);
    talk.out.clear();
    talk
}

#[test]
fn in_a_mesh_of_many_what_is_not_urgent_goes_with_heartbeats() {
    for (n_links, mode, expected) in [
        (7, ConnectMode::Visible, Haste::AtOnce),
        (9, ConnectMode::Visible, Haste::WithBeat),
        (9, ConnectMode::Hidden, Haste::AtOnce),
    ] {
        let mut talk = crowd(n_links, mode);
        talk.links(50, 50);
        talk.waits(200);
        let beats = talk.out.iter().filter_map(|output| match output {
            ClusterOutput::SetHeartbeat { haste, .. } => Some(*haste),
            _ => None,
        });
        assert!(beats.clone().count() > 0 && beats.into_iter().all(|haste| haste == expected));
        let told = said_over(&mut talk, 0);
        let is_of_50 = |said: &Said| match said {
            Said::Delta { records } => records.iter().any(|record| record.id == NodeId(50)),
            Said::Report { hops, .. } => hops.contains(&(NodeId(50), 1)),
            Said::Table { .. } => false,
        };
        let haste: Vec<Haste> = told
            .iter()
            .filter_map(|(said, haste)| is_of_50(said).then_some(*haste))
            .collect();
        assert_eq!(haste, [expected; 2], "{n_links} links");
        talk.loses(50, LinkEnd::Closed);
        talk.waits(20);
        let told = said_over(&mut talk, 0);
        assert!(!told.is_empty(), "a loss is told");
        assert!(told.iter().all(|(_, haste)| *haste == Haste::AtOnce));
    }
}

#[test]
fn who_has_said_it_meanwhile_is_not_told() {
    let mut talk = crowd(20, ConnectMode::Visible);
    let news = Record {
        link: Some("192.0.2.50:5001".parse().unwrap()),
        ..record(50, 0, Standing::Up)
    };
    talk.frame(0, &delta(news.clone()));
    talk.frame(1, &delta(news.clone()));
    let placeless = Record {
        link: None,
        ..news.clone()
    };
    talk.frame(2, &delta(placeless));
    talk.waits(200);
    let out = std::mem::take(&mut talk.out);
    let told = out.iter().filter_map(|output| match output {
        ClusterOutput::SendFrame { link, message, .. } => match Said::read(message.as_bytes())? {
            Said::Delta { records } if records[0].id == NodeId(50) => Some(link.0),
            _ => None,
        },
        _ => None,
    });
    let told: Vec<u64> = told.collect();
    let expected: Vec<u64> = (2..20).collect();
    assert_eq!(told, expected, "the third does not know where it is");
}

#[test]
fn views_of_many_are_given_the_time_that_telling_takes() {
    for (n_links, mode, patience) in [
        (3, ConnectMode::Visible, 200),
        (20, ConnectMode::Visible, 200 + 4 * 36 + 500),
        (20, ConnectMode::Hidden, 200 + 4 * 36),
    ] {
        let mut talk = crowd(n_links, mode);
        let heartbeat = Heartbeat {
            is_storing: true,
            epoch: Epoch(1),
            digest: ViewDigest(1),
        };
        talk.tells(ClusterInput::Heartbeat {
            link: LinkId(0),
            bytes: heartbeat.to_bytes(),
        });
        let is_table = |told: &[(Said, Haste)]| {
            told.iter()
                .any(|(said, _)| matches!(said, Said::Table { .. }))
        };
        talk.waits(patience - 1);
        assert!(!is_table(&said_over(&mut talk, 0)), "{n_links} links");
        talk.waits(1);
        assert!(is_table(&said_over(&mut talk, 0)), "{n_links} links");
    }
}
