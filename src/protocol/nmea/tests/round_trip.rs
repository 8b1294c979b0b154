//! What the encoder writes, the decoder reads.

use proptest::prelude::*;

use super::*;
use crate::{
    protocol::nmea::{encode_gga, encode_identity, encode_rmc},
    types::{
        number::{Degrees, Milli},
        record::Fix,
    },
};

fn fixes() -> impl Strategy<Value = Fix> {
    let milli = |range: std::ops::RangeInclusive<i32>| {
        proptest::option::of(range.prop_map(Milli::from_thousandths))
    };
    (
        (
            -900_000_000..=900_000_000_i32,
            -1_800_000_000..=1_800_000_000_i32,
        ),
        (milli(0..=2_000_000), milli(0..=359_999)),
        (
            milli(-500_000..=20_000_000),
            proptest::option::of(0..=99_u8),
            milli(0..=99_990),
        ),
    )
        .prop_map(
            |((latitude, longitude), (speed_kmh, course_deg), extras)| Fix {
                latitude: Degrees::from_e7(latitude),
                longitude: Degrees::from_e7(longitude),
                valid: true,
                speed_kmh,
                course_deg,
                altitude_m: extras.0,
                satellites: extras.1,
                hdop: extras.2,
            },
        )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        fix in fixes(),
        time in 631_152_000_000..3_155_760_000_000_i64,
        vehicle in "[A-Za-z0-9_-]{1,64}",
    ) {
        let mut bytes = Vec::new();
        encode_identity(&vehicle, &mut bytes);
        encode_gga(UnixMillis(time), &fix, &mut bytes);
        encode_rmc(UnixMillis(time), &fix, &mut bytes);
        let mut conversation = Conversation::new();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let outcome = conversation.line(line);
            prop_assert!(!matches!(outcome, Outcome::Rejected(_)));
        }
        conversation.flush(FlushReason::End);
        let records = conversation.records();
        prop_assert_eq!(records.len(), 1);
        prop_assert_eq!(records[0].fix(), Some(&fix));
        prop_assert_eq!(records[0].key.time, UnixMillis(time));
        prop_assert_eq!(records[0].key.vehicle.as_str(), vehicle);
    }

    #[test]
    fn noise_never_panics(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..20),
    ) {
        let mut conversation = Conversation::lenient();
        for line in &lines {
            conversation.line(line);
        }
        conversation.flush(FlushReason::End);
    }

    #[test]
    fn nearly_right_lines_never_panic_and_each_has_one_outcome(
        lines in proptest::collection::vec(
            "(lorry|7,)?\\$(GP|GN|P)?(RMC|GGA|GSA|VTG|GLL|GID|TRCCR|ID)?(,[0-9.ANSEWVT-]{0,9}){0,14}\
             (\\*[0-9A-F]{0,2})?",
            0..20,
        ),
        is_named in any::<bool>(),
    ) {
        let mut conversation = Conversation::lenient();
        if is_named {
            conversation.line("IMEI 490154203237526");
        }
        let mut n_open = 0_usize;
        for line in &lines {
            n_open += usize::from(conversation.line(line) == Outcome::Held);
        }
        conversation.flush(FlushReason::End);
        let released = conversation.released();
        prop_assert_eq!(released.len(), n_open);
        prop_assert!(!released.contains(&Outcome::Held));
    }
}
