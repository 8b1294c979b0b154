//! Which line is kept with a record.

use super::*;

#[test]
fn each_record_keeps_the_sentence_that_it_was_read_from() {
    let mut conversation = Conversation::keeping_raw();
    let (identity, trccr) = (
        sentence("PGID,bus-1"),
        sentence("TRCCR,20240506120009,A,59.4372,24.7535,1.1,2.2,3.3,4.4,"),
    );
    let lines = [&rmc(0), &rmc(1), &identity, &gga(1), &rmc(2), &trccr];
    for line in lines {
        conversation.line(line);
    }
    conversation.line(format!("bus-2,{}", rmc(3)));
    conversation.line(gga(3));
    conversation.flush(FlushReason::End);
    let records = conversation.records();
    let kept = records.iter().map(|record| {
        let raw = record.raw.as_deref().unwrap();
        (
            record.key.time.0 / 1_000 % 60,
            std::str::from_utf8(raw).unwrap(),
        )
    });
    let kept: std::collections::BTreeMap<i64, &str> = kept.collect();
    let bus_2 = format!("bus-2,{}", rmc(3));
    let expected = [(1, &rmc(1)), (2, &rmc(2)), (3, &bus_2), (9, &trccr)];
    assert_eq!(kept, expected.map(|(at, line)| (at, line.as_str())).into());
}

#[test]
fn no_line_is_kept_unless_that_is_asked_for() {
    let mut conversation = Conversation::new();
    conversation.line("IMEI 490154203237567");
    conversation.line(rmc(1));
    conversation.flush(FlushReason::End);
    assert_eq!(conversation.records()[0].raw, None);
}

/// What waits for an identity may wait for as long as the connection lasts.
#[test]
fn of_a_long_line_the_beginning_is_kept() {
    let mut conversation = Conversation::keeping_raw();
    let long = format!(
        "GPRMC,120001.00,A,5926.2320,N,02445.2100,E,10.0,181.0,060524,,,A,{}",
        "x".repeat(2_000)
    );
    let line = sentence(&long);
    conversation.line(&line);
    conversation.line(sentence("PGID,bus-1"));
    conversation.flush(FlushReason::End);
    let records = conversation.records();
    assert_eq!(records[0].raw.as_deref(), line.as_bytes().get(..512));
}
