//! Nodes that die, leave, fall silent and come back, and what the others say of them.

use super::sibling::{Family, print_time, wait_all_see_all};
use crate::namespace::{Host, Lan};

#[test]
fn a_kill_a_restart_and_a_goodbye_are_seen_as_what_they_are() {
    let Some(lan) = Lan::new() else { return };
    let hosts: Vec<Host> = (1..=3).map(|number| lan.host(number)).collect();
    let family = Family::new();
    let mut siblings = family.start_all(&hosts, "");
    wait_all_see_all(&siblings);

    let c = siblings.pop().unwrap();
    let killed = c.kill();
    for sibling in &siblings {
        let down = sibling.wait_down(0, "c");
        assert_eq!(down.text("reason"), "closed");
        print_time("a kill -9 seen", killed, down.at);
    }

    let marks = [siblings[0].mark(), siblings[1].mark()];
    siblings.push(family.start(&hosts[2], "c", ""));
    let started = siblings[2].started;
    print_time("restarted", started, wait_all_see_all(&siblings));
    for (sibling, mark) in siblings.iter().zip(marks) {
        let up = sibling.wait_for(mark, "node up");
        assert_eq!(
            (up.text("node"), &up.fields["incarnation"]),
            ("c", &2.into())
        );
    }

    let (asked, code) = siblings.pop().unwrap().stop();
    assert_eq!(code, Some(0));
    for (sibling, mark) in siblings.iter().zip(marks) {
        let down = sibling.wait_down(mark, "c");
        assert_eq!(down.text("reason"), "left");
        print_time("a goodbye seen", asked, down.at);
    }
}
