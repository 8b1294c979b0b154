//! What may be wrong where nodes do not find each other: a line for each common trouble, with what
//! to do about it. Pure: from the report alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{DiscoveryReportJson, PlaceReportJson};

/// What may be wrong; none where everybody who was heard is linked.
pub(super) fn hints(report: &DiscoveryReportJson) -> Vec<String> {
    let mut hints = Vec::new();
    if report.phase == "paused" {
        hints.push("the search is paused; `waymesh discovery resume` starts it".to_owned());
    }
    hints.extend(hints_of_places(report));
    let mut who: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sender in &report.senders {
        let name = sender.name.as_ref().unwrap_or(&sender.address);
        who.entry(&sender.verdict).or_default().insert(name);
    }
    for peer in &report.peers {
        let name = peer.node.as_ref().unwrap_or(&peer.address);
        who.entry(&peer.verdict).or_default().insert(name);
    }
    for (verdict, names) in who {
        if let Some(remedy) = remedy(verdict) {
            let names: Vec<&str> = names.into_iter().collect();
            hints.push(format!("{verdict}: {} {remedy}", names.join(", ")));
        }
    }
    hints
}

fn hints_of_places(report: &DiscoveryReportJson) -> Vec<String> {
    let places = &report.places;
    let is_still = report.phase == "paused";
    let has_peers = !report.peers.is_empty();
    if places.is_empty() {
        let hint = "no interface can carry multicast or broadcast, or only \"static\" is among the \
                    transports: bring a network up, or name nodes by hand ([discovery] peers, \
                    `waymesh discovery dial ADDR`)";
        return Some(hint.to_owned())
            .filter(|_| !has_peers)
            .into_iter()
            .collect();
    }
    if places.iter().all(|place| place.state == "closed") {
        return vec!["no socket of discovery is open: TROUBLE says why".to_owned()];
    }
    let is_deaf = |place: &&PlaceReportJson| {
        !is_still && place.state != "closed" && place.sent > 0 && place.own_heard.is_none()
    };
    let deaf: Vec<&PlaceReportJson> = places.iter().filter(is_deaf).collect();
    let mut hints: Vec<String> = deaf.iter().map(|place| hint_of_deaf(place)).collect();
    let hears_others = places.iter().any(|place| place.others_heard.is_some());
    let hears_itself = places.iter().any(|place| place.own_heard.is_some());
    if hears_itself && !hears_others && report.senders.is_empty() && !has_peers {
        hints.push(format!(
            "nobody else was heard: is another node running on this LAN, with the same [discovery] port \
             and group? Switches (IGMP snooping), isolated Wi-Fi, containers and firewalls (UDP port \
             {}) keep datagrams back; `waymesh discovery dial ADDR` goes around them",
            port(places)
        ));
    }
    hints
}

fn hint_of_deaf(place: &PlaceReportJson) -> String {
    format!(
        "own datagrams do not come back over {} ({}): a firewall drops UDP port {}, or the network \
         does not carry them",
        place.interface,
        place.transport,
        port(std::slice::from_ref(place))
    )
}

fn port(places: &[PlaceReportJson]) -> &str {
    let to = places.first().map_or("", |place| place.to.as_str());
    to.rsplit_once(':').map_or("50337", |(_, port)| port)
}

/// What to do about a verdict; none where nothing is wrong, or time alone helps.
fn remedy(verdict: &str) -> Option<&'static str> {
    Some(match verdict {
        "wrong secret" => {
            "has another secret: copy the secret file of one node to the other (the log names it at the \
             start), or leave strangers alone"
        }
        "other cluster" => {
            "has this secret and another cluster name: start both with the same --cluster"
        }
        "other version" => {
            "speaks a version that this node does not know: run the same release on both"
        }
        "not matching" => "is not meant by connect_regex of this node",
        "not accepted" => "does not accept this node's name: see accept_regex over there",
        "name taken" => {
            "knows another living node with this node's name: give one of the two another (--name)"
        }
        "refused" | "unreachable" => {
            "cannot be linked: does it run, and listen (--link) where others reach it? Behind address \
             translation it needs [advertise] link"
        }
        "no answer" => {
            "does not answer on its link port: a firewall between the two drops TCP (port 5001 unless \
             --link says another)"
        }
        "itself" => "is this node itself",
        "malformed" | "too long" => {
            "sends something else to this port: another program uses it; choose another [discovery] port \
             on all nodes"
        }
        "stale nonce" => {
            "sent something old: a recording played back, or a network that is very slow"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn moment() -> Value {
        json!({"at": "2026-11-20T09:05:01.000Z", "ago_ms": 1})
    }

    fn place(own: Value, others: Value, sent: u64) -> Value {
        json!({"interface": "eth0", "transport": "multicast", "state": "open", "address": "10.0.0.7",
            "to": "239.192.0.1:50338", "own_heard": own, "others_heard": others, "reopens": 0,
            "received": 0, "sent": sent})
    }

    fn sender(name: &str, verdict: &str) -> Value {
        json!({"address": "10.0.0.8:50337", "name": name, "heard": moment(), "verdict": verdict})
    }

    #[track_caller]
    fn expect(phase: &str, places: &[Value], senders: &[Value], parts: &[&str]) {
        let report = json!({"phase": phase, "places": places, "senders": senders, "peers": []});
        let hints = hints(&serde_json::from_value(report).unwrap());
        assert_eq!(hints.len(), parts.len(), "{hints:#?}");
        for (hint, part) in hints.iter().zip(parts) {
            assert!(hint.contains(part), "{part:?} is not in {hint:?}");
        }
    }

    #[test]
    fn nothing_is_said_where_nothing_is_wrong() {
        let well = [place(moment(), moment(), 5)];
        expect(
            "resting",
            &well,
            &[sender("b", "linked"), sender("c", "member")],
            &[],
        );
        expect("searching", &well, &[sender("b", "dialling")], &[]);
        expect("searching", &[place(Value::Null, Value::Null, 0)], &[], &[]);
    }

    #[test]
    fn sockets_that_hear_nothing_are_told_apart_from_a_lan_without_others() {
        expect("searching", &[], &[], &["no interface can carry"]);
        let deaf = place(Value::Null, Value::Null, 5);
        expect(
            "searching",
            std::slice::from_ref(&deaf),
            &[],
            &["do not come back over eth0 (multicast): a firewall drops UDP port 50338"],
        );
        expect("paused", &[deaf], &[], &["`waymesh discovery resume`"]);
        let alone = place(moment(), Value::Null, 5);
        expect("resting", &[alone], &[], &["nobody else was heard"]);
        let mut closed = place(Value::Null, Value::Null, 0);
        closed["state"] = json!("closed");
        expect(
            "searching",
            &[closed],
            &[],
            &["no socket of discovery is open"],
        );
    }

    #[test]
    fn each_verdict_has_its_remedy() {
        let well = [place(moment(), moment(), 5)];
        for (verdict, part) in [
            (
                "wrong secret",
                "wrong secret: b, c has another secret: copy the secret file",
            ),
            ("other cluster", "same --cluster"),
            ("other version", "same release"),
            ("not matching", "connect_regex"),
            ("not accepted", "accept_regex"),
            ("name taken", "--name"),
            ("refused", "[advertise] link"),
            ("unreachable", "[advertise] link"),
            ("no answer", "TCP (port 5001"),
            ("malformed", "another program"),
            ("stale nonce", "played back"),
        ] {
            let senders = [
                sender("c", verdict),
                sender("b", verdict),
                sender("d", "linked"),
            ];
            expect("resting", &well, &senders, &[part]);
        }
    }
}
