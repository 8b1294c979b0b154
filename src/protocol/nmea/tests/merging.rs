//! Sentences of one time stamp become one record, in whatever order they come.

use super::*;
use crate::{base::prng::Prng, types::key::position_hash};

use Outcome::{Held, Merged, NoPosition, Positions};

/// All sentences of one time stamp; the RMC has neither speed nor course.
fn burst(second: u32) -> [String; 5] {
    let time = format!("1200{second:02}.00");
    let place = "5926.2320,N,02445.2100,E";
    [
        format!("GNRMC,{time},A,{place},,,060524,,,A"),
        format!("GNGGA,{time},{place},1,09,0.9,34.0,M,18.0,M,,"),
        format!("GNGLL,{place},{time},A,A"),
        "GNGSA,A,3,01,02,03,,,,,,,,,,1.6,1.1,1.3,1".into(),
        "GNVTG,181.0,T,,M,10.0,N,18.5,K,A".into(),
    ]
    .map(|content| sentence(&content))
}

fn shuffled<const N: usize>(prng: &mut Prng, mut items: [String; N]) -> [String; N] {
    for idx in (1..N).rev() {
        let bound = u64::try_from(idx).unwrap() + 1;
        items.swap(idx, usize::try_from(prng.below(bound)).unwrap());
    }
    items
}

#[test]
fn the_sentences_of_a_time_stamp_merge_in_any_order() {
    let mut prng = Prng::new(11);
    let mut expected = None;
    for _ in 0..200 {
        let mut conversation = Conversation::new();
        conversation.expect(sentence("PGID,bus"), NoPosition);
        // Sentences without a time need one with a time before them.
        let [first, rest @ ..] = shuffled(&mut prng, burst(1));
        let mut outcomes: Vec<Outcome> = Vec::new();
        let is_timed = !first.contains("GSA") && !first.contains("VTG");
        let [rmc, ..] = burst(1);
        let opener = if is_timed { first } else { rmc.clone() };
        let all: Vec<String> = burst(1)
            .into_iter()
            .filter(|line| *line != opener)
            .collect();
        outcomes.push(conversation.line(&opener));
        let ordered = rest.iter().filter(|line| all.contains(line));
        let missing = all.iter().filter(|line| !rest.contains(line));
        for line in ordered.chain(missing) {
            outcomes.push(conversation.line(line));
        }
        conversation.flush(FlushReason::End);
        outcomes.extend(conversation.released());
        let count = |outcome| outcomes.iter().filter(|known| **known == outcome).count();
        assert_eq!((count(Positions), count(Merged)), (1, 4), "{outcomes:?}");
        assert_eq!(outcomes.len() - count(Held), 5);
        let records = conversation.records();
        let first = expected.get_or_insert_with(|| records.clone());
        assert_eq!((&records, records.len()), (&*first, 1));
    }
    let record = &expected.unwrap()[0];
    let fix = record.fix().unwrap();
    let thousandths = [fix.speed_kmh, fix.course_deg, fix.altitude_m, fix.hdop]
        .map(|quantity| quantity.unwrap().as_thousandths());
    assert_eq!(thousandths, [18_520, 181_000, 34_000, 900]);
    assert_eq!(fix.satellites, Some(9));
}

#[test]
fn the_key_is_that_of_the_rmc_alone() {
    let keys = [&burst(1)[..], &burst(1)[..1]].map(|lines| {
        let mut conversation = Conversation::new();
        conversation.expect(sentence("PGID,bus"), NoPosition);
        for line in lines {
            conversation.line(line);
        }
        conversation.flush(FlushReason::End);
        let record = conversation.records().remove(0);
        (record.key.clone(), position_hash(record.fix().unwrap(), ""))
    });
    assert_eq!(keys[0].0, keys[1].0);
    assert_eq!(keys[1].0.hash, keys[1].1);
    assert_ne!(keys[0].0.hash, keys[0].1);
}

#[test]
fn the_next_time_stamp_completes_the_one_before() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,bus"), NoPosition);
    conversation
        .expect(rmc(1), Positions)
        .expect(gga(1), Merged);
    assert_eq!(conversation.summary(), [""; 0]);
    conversation.expect(gga(2), Held);
    assert_eq!(conversation.summary(), ["bus 12:00:01"]);
    conversation.expect(rmc(2), Positions);
    assert_eq!(conversation.released(), [Merged]);
    conversation.expect(rmc(3), Positions);
    assert_eq!(conversation.summary(), ["bus 12:00:02"]);
    conversation.expect(sentence("GPRMC,120004.00,V,,,,,,,060524,,,N"), NoPosition);
    assert_eq!(conversation.summary(), ["bus 12:00:03"]);
}

#[test]
fn a_line_that_is_rejected_completes_nothing() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,bus"), NoPosition);
    conversation.expect(rmc(1), Positions);
    let impossible = sentence("GPRMC,120002.00,A,9926.2320,N,02445.2100,E,,,060524,,,A");
    let reason = crate::protocol::RejectReason::CoordinatesImpossible;
    conversation.expect(impossible, Outcome::Rejected(reason));
    assert_eq!(conversation.summary(), [""; 0]);
    conversation.expect(gga(1), Merged);
}

#[test]
fn a_second_without_another_sentence_completes_a_merge() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,bus"), NoPosition);
    assert_eq!(conversation.decoder.next_deadline(), None);
    conversation.expect(gga(1), Held);
    conversation.now += 300;
    conversation.expect(rmc(1), Positions);
    let due = conversation.decoder.next_deadline().unwrap();
    assert_eq!(due.as_millis(), conversation.now + 1_000);
    conversation.now += 999;
    conversation.flush(FlushReason::Deadline);
    assert_eq!(conversation.summary(), [""; 0]);
    conversation.now += 1;
    conversation.flush(FlushReason::Deadline);
    assert_eq!(conversation.summary(), ["bus 12:00:01"]);
    assert_eq!(conversation.decoder.next_deadline(), None);
    conversation.expect(sentence("GPVTG,181.0,T,,M,10.0,N,18.5,K,A"), NoPosition);
}

#[test]
fn what_no_rmc_follows_has_no_position() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,bus"), NoPosition);
    conversation.expect(gga(1), Held).expect(gga(2), Held);
    assert_eq!(conversation.released(), [NoPosition]);
    conversation.now += 1_000;
    conversation.flush(FlushReason::Deadline);
    assert_eq!(conversation.released(), [NoPosition]);
    assert_eq!(conversation.summary(), [""; 0]);
}

#[test]
fn two_rmcs_of_a_time_stamp_are_one_record_if_they_agree() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,bus"), NoPosition);
    conversation.expect(gga(1), Held).expect(rmc(1), Positions);
    conversation.expect(rmc(1), Merged);
    let other = rmc(1).replace("5926.2320", "5926.2321");
    let other = sentence(&other[1..other.len() - 3]);
    conversation.expect(other, Positions);
    conversation.flush(FlushReason::End);
    let records = conversation.records();
    assert_eq!(records.len(), 2);
    assert_ne!(records[0].key, records[1].key);
    assert!(
        records
            .iter()
            .all(|record| record.fix().unwrap().satellites == Some(9))
    );
}

#[test]
fn a_flood_of_lines_that_wait_is_bounded() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,bus"), NoPosition);
    for _ in 0..64 {
        conversation.expect(gga(1), Held);
    }
    conversation.expect(gga(1), NoPosition);
    conversation.expect(rmc(1), Positions);
    assert_eq!(conversation.released(), [Merged; 64]);
}

#[test]
fn a_snapshot_goes_on_like_its_original() {
    let mut conversation = Conversation::new();
    let mut lines = vec![gga(1), rmc(1), sentence("PGID,bus"), gga(2), rmc(2), rmc(3)];
    lines.push(format!("lorry,{}", rmc(4)));
    for split in 0..lines.len() {
        let mut original = Conversation::new();
        for line in &lines[..split] {
            original.line(line);
        }
        conversation.decoder = original.decoder.snapshot();
        conversation.out = Decoded::default();
        original.out = Decoded::default();
        for line in &lines[split..] {
            assert_eq!(original.line(line), conversation.line(line));
        }
        original.flush(FlushReason::End);
        conversation.flush(FlushReason::End);
        assert_eq!(original.records(), conversation.records());
        assert_eq!(original.released(), conversation.released());
    }
}

#[test]
fn a_sentence_of_no_time_of_day_is_merged_into_no_time_stamp() {
    let place = "5926.2320,N,02445.2100,E";
    for time in ["", "235960.00", "246000", "12000"] {
        let mut conversation = Conversation::new();
        conversation.expect(sentence("PGID,bus"), NoPosition);
        conversation.expect(rmc(1), Positions);
        let gga = format!("GPGGA,{time},{place},1,09,0.9,34.0,M,18.0,M,,");
        conversation.expect(sentence(&gga), NoPosition);
        let gll = format!("GPGLL,{place},{time},A,A");
        conversation.expect(sentence(&gll), NoPosition);
        conversation.flush(FlushReason::End);
        assert_eq!(conversation.records()[0].fix().unwrap().satellites, None);
    }
}
