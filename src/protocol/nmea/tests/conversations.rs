//! Conversations: lines in, records and outcomes out.

use super::*;
use crate::protocol::RejectReason;

use Outcome::{Held, Merged, NoPosition, Positions, Rejected};

#[test]
fn every_form_of_identity_names_the_vehicle() {
    let forms = [
        (sentence("PGID,490154203237518"), "490154203237518"),
        (sentence("DEVID,0xA1B2C3D4E5F60718"), "0xA1B2C3D4E5F60718"),
        ("$PCPTI,Lorry 7,081500,081500.0,1A".into(), "Lorry 7"),
        (sentence("PCPTI,Lorry 7,081500,081500.0,1A"), "Lorry 7"),
        ("IMEI 490154203237526".into(), "490154203237526"),
        ("$IMEI=490154203237534".into(), "490154203237534"),
        ("$PSIWMDID,7K0420119933C0DE*".into(), "7K0420119933C0DE"),
        (sentence("PSIWMDID,7K0420119933C0DE"), "7K0420119933C0DE"),
        (
            "$CONNECT,490154203237542,NETWORK,\"x\"".into(),
            "490154203237542",
        ),
        (sentence("GPTXT,NET,2041,A1,-53"), "2041"),
        ("00A0C914C829".into(), "00A0C914C829"),
        ("490154203237559 \r".into(), "490154203237559"),
        ("$GPFID,TAG98765XYZ".into(), "TAG98765XYZ"),
    ];
    for (line, vehicle) in forms {
        let mut conversation = Conversation::new();
        conversation.expect(&line, NoPosition);
        conversation.expect(rmc(1), Positions);
        conversation.flush(FlushReason::End);
        assert_eq!(
            conversation.summary(),
            [format!("{vehicle} 12:00:01")],
            "{line}"
        );
    }
}

#[test]
fn an_identity_may_stand_in_front_of_each_sentence() {
    for (front, vehicle) in [
        ("490154203237567,", "490154203237567"),
        ("4F3E2D1C0B0A9988", "4F3E2D1C0B0A9988"),
        ("gateway/3/lorry_7/", "lorry_7"),
    ] {
        let mut conversation = Conversation::new();
        conversation.expect(format!("{front}{}", rmc(1)), Positions);
        conversation.expect(format!("{front}{}", gga(1)), Merged);
        conversation.flush(FlushReason::End);
        let records = conversation.records();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].key.vehicle.as_str(), vehicle);
        assert_eq!(records[0].fix().unwrap().satellites, Some(9));
    }
}

#[test]
fn a_changed_identity_completes_what_the_old_one_sent() {
    let mut conversation = Conversation::new();
    conversation.expect(format!("lorry-1,{}", rmc(1)), Positions);
    conversation.expect(format!("lorry-2,{}", rmc(1)), Positions);
    assert_eq!(conversation.summary(), ["lorry-1 12:00:01"]);
    conversation.expect(sentence("PGID,lorry-3"), NoPosition);
    assert_eq!(conversation.summary(), ["lorry-2 12:00:01"]);
    conversation.expect(sentence("PGID,lorry-3"), NoPosition);
    assert_eq!(conversation.released(), []);
}

#[test]
fn an_identity_after_the_position_releases_it() {
    let mut conversation = Conversation::new();
    conversation.expect(gga(1), Held).expect(rmc(1), Held);
    conversation.now += 60_000;
    conversation.flush(FlushReason::Deadline);
    assert_eq!(conversation.summary(), [""; 0]);
    conversation.expect("$GPFID,TAG98765XYZ", NoPosition);
    assert_eq!(conversation.released(), [Positions, Merged]);
    let records = conversation.records();
    assert_eq!(records[0].key.vehicle.as_str(), "TAG98765XYZ");
    assert_eq!(records[0].fix().unwrap().satellites, Some(9));
}

#[test]
fn an_identity_amid_a_time_stamp_does_not_end_its_merge() {
    let mut conversation = Conversation::new();
    conversation.expect(rmc(1), Held);
    conversation.expect("IMEI 490154203237526", NoPosition);
    assert_eq!(conversation.released(), [Positions]);
    conversation.expect(gga(1), Merged);
    conversation.flush(FlushReason::End);
    assert_eq!(conversation.records()[0].fix().unwrap().satellites, Some(9));
}

#[test]
fn an_identity_after_each_position_is_that_of_the_position() {
    let mut conversation = Conversation::new();
    conversation
        .expect(rmc(1), Held)
        .expect("$GPFID,lorry-1", NoPosition);
    conversation
        .expect(rmc(2), Positions)
        .expect("$GPFID,lorry-2", NoPosition);
    conversation.flush(FlushReason::End);
    assert_eq!(
        conversation.summary(),
        ["lorry-1 12:00:01", "lorry-2 12:00:02"]
    );
}

#[test]
fn a_position_before_an_identity_that_may_not_speak_is_given_to_nobody() {
    let mut conversation = Conversation::with_only_buses();
    conversation
        .expect(rmc(1), Held)
        .expect("$GPFID,bus-1", NoPosition);
    conversation
        .expect(rmc(2), Positions)
        .expect("$GPFID,stranger", Rejected(RejectReason::UnknownVehicle));
    conversation.flush(FlushReason::End);
    assert_eq!(conversation.summary(), ["bus-1 12:00:01"]);
}

#[test]
fn what_a_refused_vehicle_says_enriches_nobody() {
    let mut conversation = Conversation::with_only_buses();
    conversation.expect(
        sentence("PGID,stranger"),
        Rejected(RejectReason::UnknownVehicle),
    );
    conversation.expect(gga(1), NoPosition);
    conversation.expect(sentence("PGID,bus-1"), NoPosition);
    conversation.expect(rmc(1), Positions);
    conversation.flush(FlushReason::End);
    assert_eq!(conversation.records()[0].fix().unwrap().satellites, None);
}

/// A tracker that reports once a day, from its memory.
#[test]
fn the_same_time_of_another_day_shares_nothing() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,asset"), NoPosition);
    let of_day = |day: u32| {
        sentence(&format!(
            "GPRMC,120001.00,A,5926.2320,N,02445.2100,E,10.0,181.0,{day:02}0524,,,A"
        ))
    };
    conversation
        .expect(gga(1), Held)
        .expect(of_day(6), Positions);
    conversation.expect(of_day(7), Positions);
    conversation.flush(FlushReason::End);
    let records = conversation.records();
    let satellites = records
        .iter()
        .map(|record| record.fix().unwrap().satellites);
    assert_eq!(satellites.collect::<Vec<_>>(), [Some(9), None]);
}

#[test]
fn at_most_one_position_is_held_for_want_of_an_identity() {
    let mut conversation = Conversation::new();
    conversation.expect(rmc(1), Held).expect(rmc(2), Held);
    assert_eq!(
        conversation.released(),
        [Rejected(RejectReason::NoIdentity)]
    );
    conversation.expect(gga(2), Held).expect(rmc(2), Held);
    conversation.flush(FlushReason::End);
    assert_eq!(
        conversation.released(),
        [Rejected(RejectReason::NoIdentity), NoPosition, NoPosition]
    );
    assert_eq!(conversation.summary(), [""; 0]);
}

#[test]
fn a_vehicle_that_may_not_speak_has_no_positions() {
    let mut conversation = Conversation::with_only_buses();
    conversation.expect(rmc(1), Held);
    conversation.expect(
        sentence("PGID,lorry"),
        Rejected(RejectReason::UnknownVehicle),
    );
    assert_eq!(
        conversation.released(),
        [Rejected(RejectReason::NoIdentity)]
    );
    conversation.expect(rmc(2), Rejected(RejectReason::NoIdentity));
    conversation.expect(gga(2), NoPosition);
    let named = format!("lorry,{}", rmc(3));
    conversation.expect(named, Rejected(RejectReason::UnknownVehicle));
    conversation.expect(sentence("PGID,bus 7"), NoPosition);
    conversation.expect(rmc(3), Positions);
    conversation.expect(
        sentence("PGID,lorry"),
        Rejected(RejectReason::UnknownVehicle),
    );
    assert_eq!(conversation.summary(), ["bus 7 12:00:03"]);
    assert!(conversation.decoder.vehicle().is_none());
}

#[test]
fn an_rmc_is_read_to_the_last_digit() {
    let mut conversation = Conversation::new();
    conversation.expect("IMEI 490154203237526", NoPosition);
    let line = sentence(
        "GNRMC,235959.0799,A,4807.03812345,N,01131.00000,W,022.4,084.4,310599,003.1,W,D,V",
    );
    conversation.expect(line, Positions);
    conversation.flush(FlushReason::End);
    let records = conversation.records();
    let fix = records[0].fix().unwrap();
    assert_eq!(records[0].key.time.to_string(), "1999-05-31T23:59:59.079Z");
    assert_eq!(fix.latitude.as_e7(), 481_173_021);
    assert_eq!(fix.longitude.as_e7(), -115_166_667);
    assert_eq!(fix.speed_kmh.unwrap().as_thousandths(), 41_485);
    assert_eq!(fix.course_deg.unwrap().as_thousandths(), 84_400);
    assert!(fix.valid && fix.altitude_m.is_none());
    assert_eq!(records[0].received, conversation.received);
    assert_eq!(records[0].flags.0, 0);
}

#[test]
fn a_line_is_judged_by_what_is_wrong_with_it() {
    let place = "A,4807.038,N,01131.000,E,022.4,084.4";
    let cases = [
        (
            sentence(&format!("GPRMC,123519,{place},230394,003.1,W")),
            Positions,
        ),
        (sentence("GPRMC,123519,V,,,,,,,230394,003.1,W"), NoPosition),
        (sentence("GPRMC,,V,,,,,,,,,,N"), NoPosition),
        (
            sentence(&format!("GPRMC,123519,{place},230394,,,N")),
            NoPosition,
        ),
        (sentence("GPRMC,123519,A,,,,,,,230394,,,A"), NoPosition),
        (
            format!("$GPRMC,123519,{place},230394,003.1,W"),
            Rejected(RejectReason::Checksum),
        ),
        (
            format!("$GPRMC,123519,{place},230394,003.1,W*00"),
            Rejected(RejectReason::Checksum),
        ),
        ("$GPRMC,235960,A*".into(), Rejected(RejectReason::Checksum)),
        (
            sentence("GPRMC,123519,A"),
            Rejected(RejectReason::Malformed),
        ),
        (
            sentence("GPRMC,123519,X,4807.038,N,01131.000,E,1,1,230394"),
            Rejected(RejectReason::Malformed),
        ),
        (
            sentence(&format!("GPRMC,123519,{place},230389,,")),
            Rejected(RejectReason::TimeImpossible),
        ),
        (
            sentence(&format!("GPRMC,123519,{place},310294,,")),
            Rejected(RejectReason::TimeImpossible),
        ),
        (
            sentence(&format!("GPRMC,253519,{place},230394,,")),
            Rejected(RejectReason::TimeImpossible),
        ),
        (
            sentence(&format!("GPRMC,123519,{place},,,")),
            Rejected(RejectReason::TimeImpossible),
        ),
        (
            sentence("GPRMC,123519,A,4860.000,N,01131.000,E,1,1,230394,,"),
            Rejected(RejectReason::CoordinatesImpossible),
        ),
        (
            sentence("GPRMC,123519,A,9000.001,N,01131.000,E,1,1,230394,,"),
            Rejected(RejectReason::CoordinatesImpossible),
        ),
        (
            sentence("GPRMC,123519,A,4807.038,N,18000.001,E,1,1,230394,,"),
            Rejected(RejectReason::CoordinatesImpossible),
        ),
        (sentence("GPGSV,1,1,00"), NoPosition),
        ("$PVENDOR,no checksum".into(), NoPosition),
        ("$PMADE,A,017.5*00".into(), Rejected(RejectReason::Checksum)),
        (sentence("PGRMC,A,1,2,3"), NoPosition),
        (
            sentence("GNGNS,123519,4807.038,N,01131.000,E,AA,11,1.0,34.5,18.0,,,V"),
            NoPosition,
        ),
        (
            sentence("AIVDM,1,1,,A,1made,0").replace('$', "!"),
            NoPosition,
        ),
        (
            "$PGID,490154203237518".into(),
            Rejected(RejectReason::Checksum),
        ),
        (
            "$PGID,490154203237518*7F".into(),
            Rejected(RejectReason::Checksum),
        ),
        (sentence("PGID,"), Rejected(RejectReason::Malformed)),
        ("hello".into(), Rejected(RejectReason::Malformed)),
        ("a car$foo".into(), Rejected(RejectReason::Malformed)),
        ("othercar$foo".into(), Rejected(RejectReason::Checksum)),
    ];
    for (line, expected) in cases {
        let mut conversation = Conversation::new();
        conversation.expect(sentence("PGID,bus"), NoPosition);
        conversation.expect(&line, expected);
        assert_eq!(
            conversation.decoder.vehicle().unwrap().as_str(),
            "bus",
            "{line}"
        );
    }
}

#[test]
fn a_lenient_decoder_takes_what_was_edited() {
    let cases = [
        (
            "$GPRMC,081500,A,5926.23,N,2445.21,E,0.00,0.00,060524,009.3,E*00",
            Positions,
        ),
        (
            "$GPRMC,081500,A,5926.23,N,2445.21,E,0.00,0.00,060524,009.3,E",
            Positions,
        ),
        (
            "$GPRMC,081501.0,A,5926.232001,N,02445.210002,E,0.0,335.4,060524,,,A * 11",
            Positions,
        ),
        (
            "$GPGGA,081502.000,5926.2320,N,02445.2100,E,0,07,1.7,21.0,M,0.0,M,0.0,0000",
            NoPosition,
        ),
        ("$PGID,otherbus*00", NoPosition),
    ];
    for (line, expected) in cases {
        Conversation::lenient()
            .expect("IMEI 490154203237526", NoPosition)
            .expect(line, expected);
        let mut strict = Conversation::new();
        strict.expect("IMEI 490154203237526", NoPosition);
        strict.expect(line, Rejected(RejectReason::Checksum));
    }
}

#[test]
fn a_fix_far_ahead_of_the_clock_is_marked() {
    let mut conversation = Conversation::new();
    conversation.expect(sentence("PGID,bus"), NoPosition);
    conversation.expect(
        sentence("GPRMC,090502,A,4807.038,N,01131.000,E,,,211126,,,A"),
        Positions,
    );
    conversation.flush(FlushReason::End);
    let records = conversation.records();
    assert_eq!(records[0].flags, crate::types::record::Flags::FUTURE);
    assert_eq!(records[0].fix().unwrap().speed_kmh, None);
}

#[test]
fn reports_in_decimal_degrees_are_positions_of_their_own() {
    let mut conversation = Conversation::new();
    let trccr = sentence("TRCCR,20240506081500.333,V,59.4372,-24.7535,1.1,2.2,3.3,4.4,");
    conversation.expect(&trccr, Held);
    conversation.expect("IMEI 490154203237526", NoPosition);
    conversation.expect(
        "QZE,490154203237575,41,06052024,081502,-33.92487,18.42406,50,22,A,1",
        Positions,
    );
    let id_report =
        "$ID,490154203237542,4,GPSEX,A,D,060524,T,081504,S,9:5,La,59.43721,N,Lo,24.75350,W,DD,0";
    conversation.expect(id_report, Positions);
    conversation.expect("$ID,490154203237542,4", NoPosition);
    let records = conversation.records();
    let lines: Vec<_> = records
        .iter()
        .map(|record| {
            let fix = record.fix().unwrap();
            let (lat, lon) = (fix.latitude.as_e7(), fix.longitude.as_e7());
            format!(
                "{} {} {lat} {lon} {}",
                record.key.vehicle, record.key.time, fix.valid
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "490154203237526 2024-05-06T08:15:00.333Z 594372000 -247535000 false",
            "490154203237575 2024-05-06T08:15:02.000Z -339248700 184240600 true",
            "490154203237542 2024-05-06T08:15:04.000Z 594372100 -247535000 true",
        ]
    );
    assert_eq!(
        records[0]
            .fix()
            .unwrap()
            .altitude_m
            .unwrap()
            .as_thousandths(),
        3_300
    );
    assert_eq!(records[1].code, "41");
    assert_eq!(
        records[1]
            .fix()
            .unwrap()
            .speed_kmh
            .unwrap()
            .as_thousandths(),
        50_000
    );
    assert_eq!(
        records[1].attributes.value("ignition"),
        Some(&crate::types::attributes::Value::Bool(true))
    );
}

#[test]
fn a_rejected_report_names_no_vehicle() {
    let rejected = [
        ("QZE,86,41,06052024,081502,-33.9", RejectReason::Malformed),
        (
            "$ID,86,4,GPSEX,A,D,060524,T,081560,La,59.4,N,Lo,24.7,E",
            RejectReason::TimeImpossible,
        ),
    ];
    for (line, reason) in rejected {
        let mut conversation = Conversation::new();
        conversation.expect(sentence("PGID,bus"), NoPosition);
        conversation.expect(line, Rejected(reason));
        conversation.expect(rmc(1), Positions);
        conversation.flush(FlushReason::End);
        assert_eq!(conversation.summary(), ["bus 12:00:01"], "{line}");
    }
}

#[test]
fn a_speed_or_course_that_is_none_is_left_out() {
    for (speed, course) in [("-1.0", "-0.1"), ("fast", "360.1"), ("9999999", "north")] {
        let mut conversation = Conversation::new();
        conversation.expect(sentence("PGID,bus"), NoPosition);
        let place = "5926.2320,N,02445.2100,E";
        let line = format!("GPRMC,120001,A,{place},{speed},{course},060524,,,A");
        conversation.expect(sentence(&line), Positions);
        let report = format!("TRCCR,20240506081500,A,59.4372,-24.7535,{speed},{course},3.3,4.4,");
        conversation.expect(sentence(&report), Positions);
        conversation.flush(FlushReason::End);
        for record in conversation.records() {
            let fix = record.fix().unwrap();
            assert_eq!((fix.speed_kmh, fix.course_deg), (None, None), "{line}");
        }
    }
}

#[test]
fn nothing_is_ever_answered() {
    let mut conversation = Conversation::new();
    conversation.line(sentence("PGID,bus"));
    conversation.line(rmc(1));
    conversation.line("nonsense");
    assert!(
        conversation
            .decoder
            .refuse(b"nonsense", &mut conversation.out.replies)
    );
    conversation.flush(FlushReason::End);
    assert!(conversation.out.replies.is_empty() && !conversation.out.is_login_refused);
}
