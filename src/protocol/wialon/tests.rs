//! Conversations with a device, the way back through the encoder, and noise.

use proptest::prelude::*;

use super::*;
use crate::{
    base::prng::Prng,
    protocol::{Admission, Registry, framing},
    types::{number::Degrees, record::Kind, time::UnixMillis},
};

const RECEIVED: UnixMillis = UnixMillis(1_795_176_000_000);
const SHORT: &str = "201126;090501;5926.2320;N;02445.2100;E;42.5;181;34;9";

/// Knows one vehicle with a password and refuses strangers.
#[derive(Debug)]
struct Gate;

impl Admission for Gate {
    fn admit(&self, vehicle: &str, password: Option<&str>) -> Admittance {
        match (vehicle, password) {
            ("bus-7", Some("s3cret")) | ("tram-2", Some("")) => Admittance::Welcome,
            ("bus-7" | "tram-2", _) => Admittance::WrongPassword,
            _ => Admittance::Unknown,
        }
    }
}

/// One connection.
struct Device {
    decoder: Box<dyn Decoder>,
    out: Decoded,
}

impl Device {
    fn new(is_lenient: bool) -> Self {
        Self::with(DecoderOptions {
            is_lenient,
            ..DecoderOptions::default()
        })
    }

    fn with(options: DecoderOptions) -> Self {
        Self {
            decoder: Wialon.decoder(options),
            out: Decoded::default(),
        }
    }

    fn logged_in() -> Self {
        let mut device = Self::new(false);
        device.expect("#L#tram-2;NA", "#AL#1\r\n", Outcome::NoPosition);
        device
    }

    fn say(&mut self, line: &[u8]) -> Outcome {
        self.out = Decoded::default();
        let context = Context {
            now: Instant::from_millis(5),
            received: RECEIVED,
            admission: &Gate,
        };
        self.decoder.line(&context, line, &mut self.out)
    }

    #[track_caller]
    fn expect(&mut self, line: &str, replies: &str, outcome: Outcome) {
        let got = self.say(line.as_bytes());
        let answered = String::from_utf8_lossy(&self.out.replies);
        assert_eq!((answered.as_ref(), got), (replies, outcome), "{line}");
    }

    #[track_caller]
    fn reject(&mut self, line: &str, replies: &str, reason: RejectReason) {
        self.expect(line, replies, Outcome::Rejected(reason));
        assert!(self.out.records.is_empty());
    }
}

/// `#kind#body` with the checksum behind a separator.
fn sealed(kind: &str, body: &str, separator: char) -> String {
    let crc = checksum::crc16(format!("{body}{separator}").as_bytes());
    format!("#{kind}#{body}{separator}{crc:04X}")
}

#[test]
fn a_login_is_answered_by_what_the_admission_says() {
    let cases = [
        ("#L#bus-7;s3cret", "#AL#1\r\n", Outcome::NoPosition),
        ("#L#tram-2;NA", "#AL#1\r\n", Outcome::NoPosition),
        ("#L#tram-2;", "#AL#1\r\n", Outcome::NoPosition),
        ("#L#tram-2", "#AL#1\r\n", Outcome::NoPosition),
        (
            "#L#bus-7;guess",
            "#AL#01\r\n",
            Outcome::Rejected(RejectReason::WrongPassword),
        ),
        (
            "#L#bus-7;NA",
            "#AL#01\r\n",
            Outcome::Rejected(RejectReason::WrongPassword),
        ),
        (
            "#L#stranger;NA",
            "#AL#0\r\n",
            Outcome::Rejected(RejectReason::UnknownVehicle),
        ),
        (
            "#L#;NA",
            "#AL#0\r\n",
            Outcome::Rejected(RejectReason::Malformed),
        ),
        (
            "#L#tram-2;NA;more",
            "#AL#0\r\n",
            Outcome::Rejected(RejectReason::Malformed),
        ),
    ];
    for (line, replies, outcome) in cases {
        let mut device = Device::new(false);
        device.expect(line, replies, outcome);
        let is_welcome = outcome == Outcome::NoPosition;
        assert_eq!(device.out.is_login_refused, !is_welcome, "{line}");
        assert_eq!(device.decoder.vehicle().is_some(), is_welcome, "{line}");
    }
}

#[test]
fn a_vehicle_id_that_is_none_is_refused() {
    let mut device = Device::new(false);
    let long = format!("#L#{};NA", "7".repeat(65));
    device.reject(&long, "#AL#0\r\n", RejectReason::Malformed);
    assert!(device.out.is_login_refused);
    assert_eq!(
        device.say(b"#L#\xff\xfe;NA"),
        Outcome::Rejected(RejectReason::Malformed)
    );
}

#[test]
fn a_login_of_version_2_needs_its_checksum_and_may_try_again() {
    let mut device = Device::new(false);
    for line in [
        "#L#2.0;bus-7;s3cret;0000",
        "#L#2.0;bus-7;s3cret",
        "#L#2.0;353451044508750",
        "#L#2.1;bus-7;s3cret;",
    ] {
        device.reject(line, "#AL#10\r\n", RejectReason::Checksum);
        assert!(!device.out.is_login_refused);
    }
    let line = sealed("L", "2.0;bus-7", ';');
    device.reject(&line, "#AL#0\r\n", RejectReason::Malformed);
    let line = sealed("L", "2.0;bus-7;s3cret", ';');
    device.expect(&line, "#AL#1\r\n", Outcome::NoPosition);
}

#[test]
fn a_checksum_is_demanded_where_the_login_promised_it() {
    let mut device = Device::new(false);
    let login = sealed("L", "2.0;bus-7;s3cret", ';');
    device.expect(&login, "#AL#1\r\n", Outcome::NoPosition);
    let plain = format!("#SD#{SHORT}");
    device.reject(&plain, "#ASD#13\r\n", RejectReason::Checksum);
    device.reject(
        &format!("#D#{SHORT};NA;NA;NA;NA;NA;NA;BEEF"),
        "#AD#16\r\n",
        RejectReason::Checksum,
    );
    device.reject(
        &format!("#B#{SHORT}|{SHORT}|BEEF"),
        "#AB#\r\n",
        RejectReason::Checksum,
    );
    device.reject("#M#hello", "#AM#01\r\n", RejectReason::Checksum);
    device.expect(&sealed("SD", SHORT, ';'), "#ASD#1\r\n", Outcome::Positions);
    device.expect(
        &sealed("B", &format!("{SHORT}|{SHORT}"), '|'),
        "#AB#2\r\n",
        Outcome::Positions,
    );
}

#[test]
fn a_checksum_that_was_not_promised_may_come_if_it_is_right() {
    let mut device = Device::logged_in();
    device.expect(&sealed("SD", SHORT, ';'), "#ASD#1\r\n", Outcome::Positions);
    device.expect(&sealed("B", SHORT, '|'), "#AB#1\r\n", Outcome::Positions);
    device.reject(
        &format!("#SD#{SHORT};BEEF"),
        "#ASD#-1\r\n",
        RejectReason::Malformed,
    );
}

#[test]
fn a_lenient_decoder_takes_wrong_checksums_and_carries_minutes() {
    let mut device = Device::new(true);
    let odd = "110315;045857;5364.0167;N;06127.8262;E;0;155;965;7";
    device.expect("#L#2.0;bus-7;s3cret;0000", "#AL#1\r\n", Outcome::NoPosition);
    device.expect(&format!("#SD#{odd};0000"), "#ASD#1\r\n", Outcome::Positions);
    let fix = *device.out.records[0].fix().unwrap();
    assert_eq!(fix.latitude, Degrees::from_e7(540_669_450));
    device.expect(&format!("#SD#{SHORT}"), "#ASD#1\r\n", Outcome::Positions);
    device.expect(&format!("#B#{SHORT}|0000"), "#AB#1\r\n", Outcome::Positions);
    Device::logged_in().reject(
        &format!("#SD#{odd}"),
        "#ASD#10\r\n",
        RejectReason::CoordinatesImpossible,
    );
}

#[test]
fn nothing_is_taken_before_a_login_or_after_a_refused_one() {
    let lines = [
        (format!("#SD#{SHORT}"), "#ASD#-1\r\n"),
        (format!("#D#{SHORT};NA;NA;NA;NA;NA;NA"), "#AD#-1\r\n"),
        (format!("#B#{SHORT}"), "#AB#0\r\n"),
        ("#M#hello".into(), "#AM#0\r\n"),
        ("#I#1;2".into(), "#AI#NA;0\r\n"),
        ("#P#".into(), ""),
    ];
    let mut device = Device::new(false);
    for (line, replies) in &lines {
        device.reject(line, replies, RejectReason::NotLoggedIn);
    }
    let mut device = Device::logged_in();
    device.reject("#L#stranger;NA", "#AL#0\r\n", RejectReason::UnknownVehicle);
    for (line, replies) in &lines {
        device.reject(line, replies, RejectReason::NotLoggedIn);
    }
}

#[test]
fn a_wrong_report_in_a_batch_spoils_no_other() {
    let mut device = Device::logged_in();
    let event = "201126;090502;NA;NA;NA;NA;NA;NA;NA;NA";
    let wrong = "201126;090503;9926.2320;N;02445.2100;E;0;0;0;9";
    device.expect(
        &format!("#B#{SHORT}|{wrong}|{event}|rubbish"),
        "#AB#2\r\n",
        Outcome::Positions,
    );
    let kinds: Vec<Kind> = device.out.records.iter().map(Record::kind).collect();
    assert_eq!(kinds, [Kind::Position, Kind::Event]);
    assert!(
        device
            .out
            .records
            .iter()
            .all(|record| record.flags == Flags::ARCHIVED)
    );
    device.expect(&format!("#B#{event}|"), "#AB#1\r\n", Outcome::NoPosition);
    device.reject(
        &format!("#B#{wrong}|rubbish"),
        "#AB#0\r\n",
        RejectReason::CoordinatesImpossible,
    );
}

#[test]
fn a_fix_is_the_same_record_alone_and_in_a_batch() {
    let mut device = Device::logged_in();
    device.say(format!("#SD#{SHORT}").as_bytes());
    let alone = device.out.records[0].key.clone();
    device.say(format!("#B#{SHORT};0.9;1;0;3.3;NA;fuel:1:7").as_bytes());
    assert_eq!(device.out.records[0].key, alone);
}

#[test]
fn satellites_vouch_for_a_fix_from_three_on() {
    let mut device = Device::logged_in();
    for (n_satellites, is_valid) in [("NA", false), ("", false), ("2", false), ("3", true)] {
        let body = SHORT.strip_suffix('9').unwrap();
        device.say(format!("#SD#{body}{n_satellites}").as_bytes());
        assert_eq!(device.out.records[0].fix().unwrap().valid, is_valid);
    }
}

#[test]
fn too_many_parameters_are_a_fault_of_the_parameters() {
    let mut device = Device::logged_in();
    let params = |count: usize| {
        let items: Vec<String> = (0..count).map(|idx| format!("p{idx}:1:{idx}")).collect();
        format!("#D#{SHORT};NA;NA;NA;NA;NA;{}", items.join(","))
    };
    device.expect(&params(256), "#AD#1\r\n", Outcome::Positions);
    device.reject(&params(257), "#AD#15\r\n", RejectReason::ValueImpossible);
}

#[test]
fn a_line_that_could_not_be_processed_gets_the_error_of_its_kind() {
    let cases = [
        ("#SD#2011", "#ASD#-1\r\n"),
        ("#D#2011", "#AD#-1\r\n"),
        ("#B#2011", "#AB#0\r\n"),
        ("#M#hello", "#AM#0\r\n"),
        ("#L#bus-7", "#AL#0\r\n"),
        ("#P#", "#AP#\r\n"),
        ("#IT#1", "#AIT#0\r\n"),
        ("#AM#1", ""),
        ("no type", ""),
        ("#NO", ""),
        ("#D1#", ""),
        ("##", ""),
    ];
    for (line, expected) in cases {
        let mut replies = Vec::new();
        let is_answered = Wialon
            .decoder(DecoderOptions::default())
            .refuse(line.as_bytes(), &mut replies);
        assert!(is_answered, "{line}");
        assert_eq!(replies, expected.as_bytes(), "{line}");
    }
}

#[test]
fn a_connection_is_recognised_by_its_first_bytes() {
    let cases = [
        ("#", Recognition::More),
        ("#L", Recognition::More),
        ("#L#", Recognition::Yes),
        ("#SD#2011", Recognition::Yes),
        ("\r\n", Recognition::More),
        ("\r\n#L#", Recognition::Yes),
        ("##,imei:359710", Recognition::No),
        ("#8614#", Recognition::No),
        ("#ABCDEFGHI", Recognition::No),
        ("$GPRMC", Recognition::No),
        ("L#", Recognition::No),
    ];
    for (head, expected) in cases {
        assert_eq!(Wialon.recognise(head.as_bytes()), expected, "{head:?}");
    }
    let registry = Registry::built_in();
    let protocol = registry.recognise(b"#L#tram-2;NA\r\n").unwrap();
    assert_eq!(protocol.name(), NAME);
}

#[test]
fn a_snapshot_goes_on_as_the_original_would() {
    let device = Device::logged_in();
    let mut copy = Device {
        decoder: device.decoder.snapshot(),
        out: Decoded::default(),
    };
    drop(device);
    copy.expect(&format!("#SD#{SHORT}"), "#ASD#1\r\n", Outcome::Positions);
}

#[test]
fn noise_never_panics_and_never_passes_unanswered_for_a_report() {
    let mut prng = Prng::new(20_261_120);
    let alphabet = b"#;|:,.NASDBLMPEW0123456789-\xff\xd0x";
    let mut pick = |bound: usize| {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(prng.below(bound)).unwrap()
    };
    for round in 0..20_000 {
        let mut device = Device::new(round % 2 == 0);
        device.say(b"#L#tram-2;NA");
        let mut line = match round % 4 {
            0 => b"#SD#".to_vec(),
            1 => b"#D#".to_vec(),
            2 => b"#B#".to_vec(),
            _ => format!("#D#{SHORT};0.9;1;0;3.3,4;AB;a:1:2,b:3:c").into_bytes(),
        };
        for _ in 0..pick(60) {
            let byte = alphabet[pick(alphabet.len())];
            let place = 3 + pick(line.len() - 2);
            line.insert(place, byte);
        }
        let outcome = device.say(&line);
        let has_position = device
            .out
            .records
            .iter()
            .any(|record| record.kind() == Kind::Position);
        assert_eq!(outcome == Outcome::Positions, has_position);
        let reply = device.out.replies.strip_suffix(b"\r\n");
        let n_confirmed = reply
            .and_then(Answer::parse)
            .map_or(0, |answer| answer.n_confirmed());
        assert_eq!(
            usize::try_from(n_confirmed).unwrap(),
            device.out.records.len() - n_messages(&line, outcome),
        );
    }
}

/// Noise may have made a message of a report; its event is confirmed by another answer.
fn n_messages(line: &[u8], outcome: Outcome) -> usize {
    let is_message = split(line).is_some_and(|(kind, _)| kind == b"M");
    usize::from(is_message && outcome == Outcome::NoPosition)
}

fn milli(range: std::ops::Range<i32>) -> impl Strategy<Value = Option<Milli>> {
    prop::option::of(range.prop_map(Milli::from_thousandths))
}

fn fix() -> impl Strategy<Value = Fix> {
    let place = (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000);
    let motion = (
        milli(0..400_000),
        milli(0..360_000),
        milli(-500_000..9_000_000),
    );
    (place, motion, prop::option::of(0_u8..60), milli(0..99_000)).prop_map(
        |((latitude, longitude), motion, satellites, hdop)| Fix {
            latitude: Degrees::from_e7(latitude),
            longitude: Degrees::from_e7(longitude),
            valid: satellites.is_some_and(|n_satellites| n_satellites >= 3),
            speed_kmh: motion.0,
            course_deg: motion.1,
            altitude_m: motion.2,
            satellites,
            hdop,
        },
    )
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let own = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        (-1e9..1e9).prop_map(Value::Float),
        "[a-zA-Zа-я0-9 .%#-]{1,12}"
            .prop_filter("absent", |text| text != "NA")
            .prop_map(|text| Value::Text(text.into())),
    ];
    let table = prop_oneof![
        Just((attributes::IGNITION.into(), Value::Bool(true))),
        (0..i64::MAX).prop_map(|bits| (attributes::INPUTS.into(), Value::Integer(bits))),
        (1_usize..20, -100.0..100.0)
            .prop_map(|(number, value)| (attributes::adc(number), Value::Float(value))),
        "[A-F0-9]{16}".prop_map(|key| (attributes::DRIVER_ID.into(), Value::Text(key.into()))),
    ];
    let entry = prop_oneof![
        ("own[a-z0-9_]{0,8}", own).prop_map(|(name, value)| (name.into(), value)),
        table,
    ];
    prop::collection::vec(entry, 0..8).prop_map(|entries| entries.into_iter().collect())
}

/// Times from 1990 to 2069, which is what two digits of a year can tell.
fn time() -> impl Strategy<Value = UnixMillis> {
    (631_152_000_000_i64..3_155_760_000_000).prop_map(UnixMillis)
}

fn said(version: Version, encode: impl FnOnce(&mut Vec<u8>)) -> Decoded {
    let mut bytes = Vec::new();
    encode_login(version, "bus-7", Some("s3cret"), &mut bytes);
    encode(&mut bytes);
    encode_ping(&mut bytes);
    let mut device = Device::new(false);
    let mut state = framing::FramerState::default();
    let mut all = Decoded::default();
    let mut rest = bytes.as_slice();
    while let framing::Framed::Line { line, consumed } =
        Wialon.framing().next(&mut state, rest, 65_536)
    {
        let outcome = device.say(&rest[line]);
        assert!(!matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
        all.records.append(&mut device.out.records);
        all.replies.append(&mut device.out.replies);
        rest = &rest[consumed..];
    }
    assert!(rest.is_empty());
    all
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::One), Just(Version::Two)]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_to_the_same(
        version in versions(),
        time in time(),
        fix in fix(),
        attributes in attributes(),
    ) {
        let reading = Reading { time: Some(time), fix: Some(fix), attributes: &attributes };
        let all = said(version, |out| encode_position(version, &reading, out));
        let [record] = all.records.as_slice() else {
            panic!("{} records", all.records.len());
        };
        prop_assert_eq!(record.key.time, time);
        prop_assert_eq!(record.fix(), Some(&fix));
        prop_assert_eq!(&record.attributes, &attributes);
        prop_assert!(all.replies.ends_with(b"#1\r\n#AP#\r\n"));
    }

    #[test]
    fn a_batch_is_decoded_to_its_readings_in_order(
        version in versions(),
        readings in prop::collection::vec((time(), prop::option::of(fix()), attributes()), 1..6),
    ) {
        let given: Vec<Reading<'_>> = readings
            .iter()
            .map(|(time, fix, attributes)| Reading { time: Some(*time), fix: *fix, attributes })
            .collect();
        let all = said(version, |out| encode_batch(version, &given, out));
        prop_assert_eq!(all.records.len(), readings.len());
        for (record, (time, fix, attributes)) in all.records.iter().zip(&readings) {
            prop_assert_eq!(record.key.time, *time);
            prop_assert_eq!(record.fix(), fix.as_ref());
            prop_assert_eq!(&record.attributes, attributes);
            prop_assert!(record.flags.contains(Flags::ARCHIVED));
        }
        let answer = format!("#AL#1\r\n#AB#{}\r\n#AP#\r\n", readings.len());
        prop_assert_eq!(String::from_utf8(all.replies).unwrap(), answer);
    }
}

/// With the whole line for each, a batch of reports would take as much again for each of them.
#[test]
fn each_report_of_a_batch_keeps_its_own_part() {
    let mut device = Device::with(DecoderOptions {
        keeps_raw: true,
        ..DecoderOptions::default()
    });
    device.expect("#L#tram-2;NA", "#AL#1\r\n", Outcome::NoPosition);
    let line = format!("#SD#{SHORT}");
    device.expect(&line, "#ASD#1\r\n", Outcome::Positions);
    assert_eq!(device.out.records[0].raw.as_deref(), Some(line.as_bytes()));
    let other = SHORT.replacen("59", "58", 1);
    let batch = format!("#B#{SHORT}|wrong|{other}");
    device.expect(&batch, "#AB#2\r\n", Outcome::Positions);
    let kept = device
        .out
        .records
        .iter()
        .map(|record| record.raw.as_deref());
    let expected = [SHORT, &other].map(|part| Some(part.as_bytes()));
    assert_eq!(kept.collect::<Vec<_>>(), expected);
}
