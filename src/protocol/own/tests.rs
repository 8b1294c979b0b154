//! Protocols described, and what their lines give.

use std::{collections::BTreeMap, ops::Range};

use proptest::prelude::*;

use super::*;
use crate::{
    base::time::Instant,
    protocol::{
        Admission, Admittance, Context, Decoded, Outcome, Registry, RejectReason,
        attributes::ValueType,
    },
    types::{
        attributes::Value,
        record::{Flags, Record},
        time::UnixMillis,
    },
};

const LOGIN: &str = r"\$LOGIN,(?<vehicle>\w+)(?:,(?<password>\w*))?";
const BEAT: &str = r"\$BEAT(?:,(?<_seq>\d+))?";
const POSITION: &str = concat!(
    r"^\$POS,(?:(?<vehicle>v\w+),)?(?<time>\d{14}),(?<lat>-?[\d.]*),(?<lon>-?[\d.]*),",
    r"(?<valid>\w),(?<speed_kmh>[\d.-]*),(?<course_deg>[\d.]*)(?:,(?<ignition>\w*))?",
    r"(?:,(?<event>\w*),(?<fuel>[\w.]*))?$"
);

fn spec(lines: &[&str]) -> OwnSpec {
    let line = |expression: &&str| LineSpec {
        expression: (*expression).to_owned(),
        reply: None,
    };
    OwnSpec {
        name: "acme".into(),
        lines: lines.iter().map(line).collect(),
        terminator: b'\n',
        time_format: None,
        valid: None,
        reply: String::new(),
        refusal: String::new(),
        attributes: BTreeMap::new(),
    }
}

fn acme() -> OwnSpec {
    let mut spec = spec(&[LOGIN, BEAT, POSITION]);
    spec.lines[1].reply = Some("BEAT {_seq}\r\n".into());
    spec.time_format = Some("%Y%m%d%H%M%S".into());
    spec.reply = "OK {vehicle}\r\n".into();
    spec.refusal = "ERR {vehicle}\r\n".into();
    spec.attributes.insert("fuel".into(), ValueType::Float);
    spec
}

/// Knows the bus 7 by its password and the van `van` without, and nobody else.
#[derive(Debug)]
struct Gate;

impl Admission for Gate {
    fn admit(&self, vehicle: &str, password: Option<&str>) -> Admittance {
        match (vehicle, password) {
            ("v7", Some("secret")) | ("van", _) => Admittance::Welcome,
            ("v7", _) => Admittance::WrongPassword,
            _ => Admittance::Unknown,
        }
    }
}

/// A connection that says one line after the other.
struct Talk {
    decoder: Box<dyn Decoder>,
    admission: Box<dyn Admission>,
}

struct Said {
    outcome: Outcome,
    records: Vec<Record>,
    reply: String,
    is_login_refused: bool,
}

impl Talk {
    fn new(spec: OwnSpec) -> Self {
        let protocol = OwnProtocol::compile(spec).unwrap();
        Self {
            decoder: protocol.decoder(DecoderOptions::default()),
            admission: Box::new(crate::protocol::AdmitAll),
        }
    }

    fn at_the_gate(spec: OwnSpec) -> Self {
        let admission = Box::new(Gate);
        Self {
            admission,
            ..Self::new(spec)
        }
    }

    fn say(&mut self, line: &str) -> Said {
        let context = Context {
            now: Instant::from_millis(0),
            received: UnixMillis::parse("2026-11-20T12:00:00Z").unwrap(),
            admission: &*self.admission,
        };
        let mut out = Decoded::default();
        let outcome = self.decoder.line(&context, line.as_bytes(), &mut out);
        Said {
            outcome,
            records: out.records,
            reply: String::from_utf8(out.replies).unwrap(),
            is_login_refused: out.is_login_refused,
        }
    }

    #[track_caller]
    fn expect(&mut self, line: &str, outcome: Outcome, reply: &str) -> Vec<Record> {
        let said = self.say(line);
        assert_eq!(
            (said.outcome, said.reply.as_str()),
            (outcome, reply),
            "{line}"
        );
        said.records
    }

    #[track_caller]
    fn reject(&mut self, line: &str, reason: RejectReason) {
        let records = self.expect(line, Outcome::Rejected(reason), &self.refusal());
        assert!(records.is_empty(), "{line}");
    }

    fn refusal(&self) -> String {
        let vehicle = self
            .decoder
            .vehicle()
            .map_or("", |vehicle| vehicle.as_str());
        format!("ERR {vehicle}\r\n")
    }
}

#[test]
fn a_login_names_the_vehicle_of_the_lines_after_it() {
    let mut talk = Talk::new(acme());
    assert!(
        talk.expect("$LOGIN,v7", Outcome::NoPosition, "OK v7\r\n")
            .is_empty()
    );
    assert!(
        talk.expect("$BEAT,41", Outcome::NoPosition, "BEAT 41\r\n")
            .is_empty()
    );
    let line = "$POS,20261120090501,59.4372,24.7535,A,42.5,181,on,12,0.75";
    let records = talk.expect(line, Outcome::Positions, "OK v7\r\n");
    let [record] = &*records else {
        panic!("{records:?}")
    };
    assert_eq!(record.key.vehicle.as_str(), "v7");
    assert_eq!(record.key.time.to_string(), "2026-11-20T09:05:01.000Z");
    assert_eq!((&*record.protocol, &*record.code), ("acme", "12"));
    let fix = record.fix().unwrap();
    let place = (fix.latitude.as_f64(), fix.longitude.as_f64());
    assert_eq!((place, fix.valid), ((59.4372, 24.7535), true));
    assert_eq!(fix.speed_kmh.unwrap().as_f64(), 42.5);
    assert_eq!(fix.course_deg.unwrap().as_f64(), 181.0);
    assert_eq!(
        record.attributes.value("ignition"),
        Some(&Value::Bool(true))
    );
    assert_eq!(record.attributes.value("fuel"), Some(&Value::Float(0.75)));
}

#[test]
fn a_line_may_name_another_vehicle_and_the_next_ones_are_of_that() {
    let mut talk = Talk::new(acme());
    let line = |vehicle: &str| format!("$POS,{vehicle}20261120090501,1,2,A,,");
    for (said, vehicle) in [("v1,", "v1"), ("v2,", "v2"), ("", "v2"), ("v1,", "v1")] {
        let reply = format!("OK {vehicle}\r\n");
        let records = talk.expect(&line(said), Outcome::Positions, &reply);
        assert_eq!(records[0].key.vehicle.as_str(), vehicle);
    }
}

#[test]
fn before_a_login_there_are_no_records_and_beats_are_answered() {
    let mut talk = Talk::new(acme());
    talk.reject("$POS,20261120090501,1,2,A,,", RejectReason::NotLoggedIn);
    talk.reject("$POS,20261120090501,,,A,,,1", RejectReason::NotLoggedIn);
    talk.expect("$BEAT", Outcome::NoPosition, "BEAT \r\n");
}

#[test]
fn what_no_expression_matches_as_a_whole_is_malformed() {
    let mut talk = Talk::new(acme());
    for line in [
        "$LOGIN",
        "x$LOGIN,v7",
        "$LOGIN,v7 ",
        "$BEAT,",
        "\u{0}",
        "$POS,,,,,,",
    ] {
        talk.reject(line, RejectReason::Malformed);
    }
    assert_eq!(talk.decoder.vehicle(), None);
}

#[test]
fn a_wrong_value_is_told_by_its_reason() {
    let mut talk = Talk::new(acme());
    talk.say("$LOGIN,v7");
    let cases = [
        ("20260230090501,1,2,A,,", RejectReason::TimeImpossible),
        ("19800106000000,1,2,A,,", RejectReason::TimeImpossible),
        (
            "20261120090501,91,2,A,,",
            RejectReason::CoordinatesImpossible,
        ),
        (
            "20261120090501,1,181,A,,",
            RejectReason::CoordinatesImpossible,
        ),
        ("20261120090501,1,,A,,", RejectReason::CoordinatesImpossible),
        (
            "20261120090501,1..2,3,A,,",
            RejectReason::CoordinatesImpossible,
        ),
        ("20261120090501,1,2,A,-1,", RejectReason::ValueImpossible),
        ("20261120090501,1,2,A,,361", RejectReason::ValueImpossible),
        (
            "20261120090501,1,2,A,,,maybe",
            RejectReason::ValueImpossible,
        ),
        (
            "20261120090501,1,2,A,,,,,half",
            RejectReason::ValueImpossible,
        ),
        (
            "20261120090501,1,2,A,,,,,inf",
            RejectReason::ValueImpossible,
        ),
    ];
    for (rest, reason) in cases {
        talk.reject(&format!("$POS,{rest}"), reason);
    }
}

#[test]
fn a_line_without_a_place_is_an_event_if_it_says_anything() {
    let mut talk = Talk::new(acme());
    talk.say("$LOGIN,v7");
    let nothing = "$POS,20261120090501,,,V,,";
    assert!(
        talk.expect(nothing, Outcome::NoPosition, "OK v7\r\n")
            .is_empty()
    );
    let events = talk.expect(
        "$POS,20261120090501,,,V,5,,0,sos,",
        Outcome::NoPosition,
        "OK v7\r\n",
    );
    assert_eq!((events[0].fix(), &*events[0].code), (None, "sos"));
    let speed = events[0].attributes.value("speed_kmh");
    assert_eq!(speed, Some(&Value::Float(5.0)));
    assert_eq!(
        events[0].attributes.value("ignition"),
        Some(&Value::Bool(false))
    );
}

#[test]
fn a_place_is_valid_where_its_group_says_so_or_there_is_none() {
    let valid = |spec: OwnSpec, line: &str| {
        let records = Talk::new(spec).say(line).records;
        records[0].fix().unwrap().valid
    };
    let mut spec = spec(&[r"(?<vehicle>\d+),(?<lat>\d+),(?<lon>\d+)(?:,(?<valid>\w*))?"]);
    assert!(valid(spec.clone(), "7,1,2,A") && valid(spec.clone(), "7,1,2,1"));
    assert!(!valid(spec.clone(), "7,1,2,V") && !valid(spec.clone(), "7,1,2"));
    spec.valid = Some(vec!["V".into(), "3D".into()]);
    assert!(valid(spec.clone(), "7,1,2,3D") && valid(spec.clone(), "7,1,2,V"));
    assert!(!valid(spec.clone(), "7,1,2,A"));
    spec.valid = None;
    spec.lines[0].expression = r"(?<vehicle>\d+),(?<lat>\d+),(?<lon>\d+)".into();
    assert!(valid(spec, "7,1,2"));
}

#[test]
fn quantities_are_read_in_their_units() {
    let fix = |groups: &str, line: &str| {
        let spec = spec(&[&format!("(?<vehicle>v);(?<lat>1);(?<lon>2);{groups}")]);
        let said = Talk::new(spec).say(&format!("v;1;2;{line}"));
        *said.records[0].fix().unwrap()
    };
    let speed = |groups, line| fix(groups, line).speed_kmh.unwrap().as_thousandths();
    assert_eq!(speed("(?<speed_kmh>.*)", "42.5"), 42_500);
    assert_eq!(speed("(?<speed_knots>.*)", "22.4"), 41_485);
    assert_eq!(speed("(?<speed_mph>.*)", "60"), 96_561);
    assert_eq!(speed("(?<speed_mps>.*)", "10.5"), 37_800);
    let altitude = |groups, line| fix(groups, line).altitude_m.unwrap().as_thousandths();
    assert_eq!(altitude("(?<altitude_m>.*)", "-12.5"), -12_500);
    assert_eq!(altitude("(?<altitude_ft>.*)", "100"), 30_480);
    let fix = fix(
        "(?<course_deg>.*);(?<satellites>.*);(?<hdop>.*)",
        "360;9;0.9",
    );
    assert_eq!(fix.course_deg.unwrap().as_thousandths(), 0);
    assert_eq!(
        (fix.satellites, fix.hdop.unwrap().as_thousandths()),
        (Some(9), 900)
    );
}

#[test]
fn places_are_degrees_or_minutes_with_a_sign_or_a_side() {
    let place = |groups: &str, line: &str| {
        let said = Talk::new(spec(&[&format!("(?<vehicle>v) {groups}")])).say(&format!("v {line}"));
        match said.outcome {
            Outcome::Positions => {
                let fix = said.records[0].fix().unwrap();
                Some((fix.latitude.as_f64(), fix.longitude.as_f64()))
            }
            outcome => {
                let impossible = Outcome::Rejected(RejectReason::CoordinatesImpossible);
                assert_eq!(outcome, impossible, "{line}");
                None
            }
        }
    };
    let signed = "(?<lat>.*) (?<lon>.*)";
    assert_eq!(place(signed, "-33.92487 18.42"), Some((-33.924_87, 18.42)));
    let sided = "(?<ns>.*) (?<lat>.*) (?<ew>.*) (?<lon>.*)";
    assert_eq!(place(sided, "S 33.5 w 18.25"), Some((-33.5, -18.25)));
    for line in [
        "S -33.5 W 18.25",
        " 33.5 W 18.25",
        "E 33.5 N 18.25",
        "X 33.5 W 1",
    ] {
        assert_eq!(place(sided, line), None, "{line}");
    }
    let minutes = "(?<lat_ddmm>.*) (?<ns>.) (?<lon_dddmm>.*) (?<ew>.)";
    assert_eq!(
        place(minutes, "5926.2320 N 02445.2100 E"),
        Some((59.4372, 24.7535))
    );
    assert_eq!(place(minutes, "5960.0 N 02445.2100 E"), None);
    let signed_minutes = "(?<lat_ddmm>.*) (?<lon_dddmm>.*)";
    assert_eq!(
        place(signed_minutes, "-5926.2320 02445.2100"),
        Some((-59.4372, 24.7535))
    );
}

#[test]
fn a_date_and_a_time_that_stand_apart_are_read_with_a_space_between() {
    let mut spec = spec(&[r"(?<vehicle>v),(?<time>\d*),(?<lat>1),(?<lon>2),(?<date>\d*)"]);
    spec.time_format = Some("%d%m%y %H%M%S".into());
    let mut talk = Talk::new(spec);
    let records = talk.say("v,090501,1,2,201126").records;
    assert_eq!(records[0].key.time.to_string(), "2026-11-20T09:05:01.000Z");
    let records = talk.say("v,,1,2,").records;
    assert_eq!(records[0].key.time.to_string(), "2026-11-20T12:00:00.000Z");
    assert!(records[0].flags.contains(Flags::TIME_FROM_SERVER));
    for line in ["v,090501,1,2,", "v,,1,2,201126"] {
        let outcome = talk.say(line).outcome;
        assert_eq!(outcome, Outcome::Rejected(RejectReason::TimeImpossible));
    }
}

#[test]
fn a_refused_login_ends_the_connection_and_a_refused_line_does_not() {
    let mut talk = Talk::at_the_gate(acme());
    for (line, reason) in [
        ("$LOGIN,stranger", RejectReason::UnknownVehicle),
        ("$LOGIN,v7,wrong", RejectReason::WrongPassword),
        ("$LOGIN,v7", RejectReason::WrongPassword),
    ] {
        let said = talk.say(line);
        assert_eq!(said.outcome, Outcome::Rejected(reason), "{line}");
        assert!(said.is_login_refused && said.reply == "ERR \r\n", "{line}");
    }
    let said = talk.say("$POS,vx,20261120090501,1,2,A,,");
    assert_eq!(
        said.outcome,
        Outcome::Rejected(RejectReason::UnknownVehicle)
    );
    assert!(!said.is_login_refused);
    // A password that a line has no room for counts as left out, or the login could be skipped.
    talk.reject(
        "$POS,v7,20261120090501,1,2,A,,",
        RejectReason::WrongPassword,
    );
    talk.expect("$LOGIN,v7,secret", Outcome::NoPosition, "OK v7\r\n");
    talk.expect(
        "$POS,v7,20261120090501,1,2,A,,",
        Outcome::Positions,
        "OK v7\r\n",
    );
    talk.expect(
        "$POS,van,20261120090501,1,2,A,,",
        Outcome::Positions,
        "OK van\r\n",
    );
    // What follows a refusal is of nobody.
    talk.say("$POS,vx,20261120090501,1,2,A,,");
    talk.reject("$POS,20261120090501,1,2,A,,", RejectReason::NotLoggedIn);
}

#[test]
fn a_vehicle_that_is_no_id_is_malformed() {
    let mut spec = spec(&["(?<vehicle>.*)"]);
    spec.refusal = "ERR {vehicle}\r\n".into();
    let mut talk = Talk::new(spec);
    talk.reject(&"x".repeat(65), RejectReason::Malformed);
    talk.reject("a\u{7}b", RejectReason::Malformed);
}

#[test]
fn a_line_that_could_not_be_processed_is_refused_or_leaves_a_gap() {
    let refuse = |spec: OwnSpec| {
        let mut replies = Vec::new();
        let decoder = OwnProtocol::compile(spec)
            .unwrap()
            .decoder(DecoderOptions::default());
        (decoder.refuse(b"$POS", &mut replies), replies)
    };
    assert_eq!(refuse(acme()), (true, b"ERR \r\n".to_vec()));
    let mut without = acme();
    without.refusal.clear();
    assert_eq!(refuse(without.clone()), (false, Vec::new()));
    without.reply.clear();
    without.lines[1].reply = None;
    assert_eq!(
        refuse(without),
        (true, Vec::new()),
        "nothing is ever answered"
    );
}

#[test]
fn a_comment_at_the_end_of_an_expression_ends_with_it() {
    let spec = spec(&["(?x) (?<vehicle> \\d+ ) # who\n, (?<lat>1) , (?<lon>2) # where"]);
    assert_eq!(Talk::new(spec).say("7,1,2").outcome, Outcome::Positions);
}

#[test]
fn lines_are_bytes_and_digits_are_ascii() {
    let spec = spec(&[r"(?<vehicle>\d+) (?<message>.*)"]);
    let protocol = OwnProtocol::compile(spec).unwrap();
    let mut decoder = protocol.decoder(DecoderOptions::default());
    let context = Context {
        now: Instant::from_millis(0),
        received: UnixMillis(1_795_176_000_000),
        admission: &crate::protocol::AdmitAll,
    };
    let mut out = Decoded::default();
    let outcome = decoder.line(&context, b"7 caf\xc3\xa9 \xff", &mut out);
    assert_eq!(outcome, Outcome::NoPosition);
    let message = out.records[0].attributes.value("message");
    assert_eq!(message, Some(&Value::Text("café \u{fffd}".into())));
    let outcome = decoder.line(&context, "\u{661} x".as_bytes(), &mut out);
    assert_eq!(outcome, Outcome::Rejected(RejectReason::Malformed));
}

#[test]
fn an_expression_that_is_slow_elsewhere_is_not_slow_here() {
    let mut talk = Talk::new(spec(&["(?<vehicle>v)(?:(?:a+)+)+b"]));
    let malformed = Outcome::Rejected(RejectReason::Malformed);
    let line = |n_letters| format!("v{}", "a".repeat(n_letters));
    assert_eq!(talk.say(&line(LINE_BYTES_MAX - 1)).outcome, malformed);
    // A line over the limit is not even tried.
    let longest = line(LINE_BYTES_MAX - 2) + "b";
    assert_eq!(talk.say(&longest).outcome, Outcome::NoPosition);
    let too_long = line(LINE_BYTES_MAX - 1) + "b";
    assert_eq!(talk.say(&too_long).outcome, malformed);
}

/// Expects these faults, as (part, bytes of it, problem).
#[track_caller]
fn refuse(spec: OwnSpec, expected: &[(Part, Option<Range<usize>>, Problem)]) {
    let faults = OwnProtocol::compile(spec).unwrap_err();
    let faults: Vec<_> = faults
        .into_iter()
        .map(|fault| (fault.part, fault.span, fault.problem))
        .collect();
    assert_eq!(faults, expected);
}

#[test]
fn faults_of_groups_point_at_their_names() {
    let unknown = |name: &str| Problem::UnknownGroup(name.into());
    let needs = |group: &str, needs| Problem::Needs {
        group: group.into(),
        needs,
    };
    let line = |idx, span, problem| (Part::Line(idx), Some(span), problem);
    refuse(
        spec(&[
            "(?<vehicel>a)(?P<speed>b)",
            "(?<lat>1)",
            "(?<vehicle>v)(?<lon>1)(?<ns>N)",
        ]),
        &[
            line(0, 3..10, unknown("vehicel")),
            line(0, 17..22, unknown("speed")),
            line(1, 3..6, needs("lat", "lon")),
            line(2, 16..19, needs("lon", "lat")),
            line(2, 25..27, needs("ns", "lat")),
        ],
    );
    refuse(
        spec(&[
            "(?<vehicle>v)(?<speed_kmh>1)(?<speed_knots>2)",
            "(?<password>x)",
        ]),
        &[
            line(
                0,
                31..42,
                Problem::TwiceTheSame("speed_kmh".into(), "speed_knots".into()),
            ),
            line(1, 3..11, needs("password", "vehicle")),
        ],
    );
}

#[test]
fn faults_of_expressions_point_at_their_place() {
    let syntax = |text: &str| {
        let faults = OwnProtocol::compile(spec(&[text])).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            matches!(faults[0].problem, Problem::Syntax(_)),
            "{faults:?}"
        );
        faults[0].span.clone().unwrap()
    };
    assert_eq!(syntax(r"(?<vehicle>\d{15}"), 0..1);
    assert_eq!(syntax(r"(?<vehicle>[a)"), 11..12);
    assert_eq!(syntax(r"(?<vehicle>\y)"), 11..13);
    assert_eq!(syntax(r"(?<a>1)(?<a>2)"), 10..11);
    assert_eq!(syntax(r"a(?=b)"), 1..4);
    for text in [
        "(?<vehicle>[a&&b])",
        "(?<vehicle>v)\r",
        "(?<vehicle>v)\\s*?\n",
    ] {
        let nothing = (Part::Line(0), None, Problem::MatchesNothing);
        refuse(spec(&[text]), &[nothing]);
    }
    let large = r"(?<vehicle>(?:\d{1000}){1000})".to_owned();
    let long = "x".repeat(EXPRESSION_BYTES_MAX + 1);
    for text in [large, long] {
        let faults = OwnProtocol::compile(spec(&[&text])).unwrap_err();
        assert!(
            matches!(faults[0].problem, Problem::TooLarge(_)),
            "{faults:?}"
        );
    }
}

#[test]
fn all_faults_of_a_protocol_are_told_at_once() {
    let mut wrong = spec(&["(?<time>1)(?<ignition>0)", "(?<fule>2)"]);
    wrong.reply = "{seq} {".into();
    wrong.lines[0].reply = Some("{seq}{time}".into());
    wrong.refusal = "NO {time}".into();
    wrong.valid = Some(vec!["A".into()]);
    let mut attributes = BTreeMap::new();
    attributes.insert("inputs".into(), ValueType::Float);
    attributes.insert("lat".into(), ValueType::Float);
    wrong.attributes = attributes;
    let placeholder = |name: &str, line| Problem::UnknownPlaceholder {
        name: name.into(),
        line,
    };
    let of_table = Problem::AttributeType {
        name: "inputs".into(),
        value_type: ValueType::Integer,
    };
    refuse(
        wrong,
        &[
            (Part::Reply, Some(6..7), Problem::Brace),
            (Part::LineReply(0), Some(1..4), placeholder("seq", Some(0))),
            (
                Part::Line(1),
                Some(3..7),
                Problem::UnknownGroup("fule".into()),
            ),
            (Part::TimeFormat, None, Problem::TimeFormatMissing),
            (Part::Refusal, Some(4..8), placeholder("time", None)),
            (Part::Attribute("inputs".into()), None, of_table),
            (
                Part::Attribute("lat".into()),
                None,
                Problem::AttributeTaken("lat".into()),
            ),
        ],
    );
    refuse(spec(&["a"]), &[(Part::Lines, None, Problem::NoVehicle)]);
    refuse(spec(&[]), &[(Part::Lines, None, Problem::NumberOfLines(0))]);
    let mut unused = spec(&["(?<vehicle>v)"]);
    unused.time_format = Some("unix".into());
    unused.valid = Some(vec!["A".into()]);
    unused.attributes.insert("fuel".into(), ValueType::Float);
    refuse(
        unused,
        &[
            (Part::TimeFormat, None, Problem::TimeFormatUnused),
            (Part::Valid, None, Problem::ValidUnused),
            (
                Part::Attribute("fuel".into()),
                None,
                Problem::AttributeUnused("fuel".into()),
            ),
        ],
    );
}

fn registry(specs: &[OwnSpec]) -> Registry {
    let protocols: Vec<_> = specs
        .iter()
        .map(|spec| OwnProtocol::compile(spec.clone()).unwrap())
        .collect();
    Registry::built_in().with_own(&protocols)
}

#[track_caller]
fn recognised(registry: &Registry, head: &str, expected: Result<&str, bool>) {
    let found = registry.recognise(head.as_bytes());
    let found = found.map(|protocol| protocol.name().into_owned());
    assert_eq!(found.as_deref().map_err(|more| *more), expected, "{head:?}");
}

#[test]
fn a_first_line_is_recognised_when_it_is_whole() {
    let registry = registry(&[acme()]);
    recognised(&registry, "$", Err(true));
    recognised(&registry, "$LOG", Err(true));
    recognised(&registry, "$LOGIN,v7", Err(true));
    recognised(&registry, "\r\n$LOGIN,v7\r\n$POS", Ok("acme"));
    recognised(&registry, "$LOGIN\n", Err(false));
    recognised(&registry, "$LOX", Err(false));
    recognised(&registry, "GET / HTTP/1.1\r\n", Err(false));
    recognised(&registry, "", Err(true));
}

#[test]
fn the_built_in_protocols_are_recognised_as_ever() {
    // It would match anything.
    let registry = registry(&[spec(&["(?<vehicle>.*)"])]);
    recognised(&registry, "$GPRMC,1\n", Ok("nmea"));
    recognised(&registry, "#L#7;NA\r\n", Ok("wialon"));
    recognised(&registry, "IMEI 490154203237518\n", Ok("nmea"));
    recognised(&registry, "$G", Ok("nmea"));
    recognised(&registry, "#", Err(true));
    recognised(&registry, "hello\n", Ok("acme"));
}

fn ended_by(name: &str, terminator: u8, expression: &str) -> OwnSpec {
    OwnSpec {
        name: name.into(),
        terminator,
        ..spec(&[expression])
    }
}

#[test]
fn protocols_of_ones_own_do_not_wait_for_each_other() {
    let registry = registry(&[
        ended_by("hashes", b'#', r"[*](?<vehicle>\w+),\w"),
        ended_by("lines", b'\n', r"[*](?<vehicle>\w+);\w"),
    ]);
    recognised(&registry, "*7;", Err(true));
    recognised(&registry, "*7;a\r\n", Ok("lines"));
    recognised(&registry, "*7,a\r\n", Err(true));
    recognised(&registry, "*7,a#*", Ok("hashes"));
    let hashes = registry.by_name("hashes").unwrap();
    assert_eq!(hashes.framing(), Framing::Terminated(b"#"));
}

#[test]
fn of_two_that_fit_the_one_whose_line_ends_first_is_meant() {
    let registry = registry(&[
        ended_by("hashes", b'#', r"[*](?<vehicle>\w+)\s*[^*]*"),
        ended_by("lines", b'\n', r"[*](?<vehicle>\w+)#?.*"),
        ended_by("more_lines", b'\n', r"[*](?<vehicle>\w+)#?.*"),
    ]);
    recognised(&registry, "*7\n*8#", Ok("lines"));
    recognised(&registry, "*7#*8\n", Ok("hashes"));
    // Of two that end alike, the one that stands first.
    recognised(&registry, "\r\n*7\n", Ok("lines"));
}

proptest! {
    #[test]
    fn recognition_does_not_depend_on_how_bytes_come(head in "[*#\r\n7a;,$G]{1,24}") {
        let registry = registry(&[
            ended_by("hashes", b'#', r"[*](?<vehicle>\w+)[;\s]*\w*"),
            ended_by("lines", b'\n', r"[*]?(?<vehicle>\w+)[#,]*\w*"),
            ended_by("stars", b'*', r"(?<vehicle>\w+)[#;]*"),
        ]);
        let name = |end: usize| {
            let found = registry.recognise(&head.as_bytes()[..end]);
            found.map(|protocol| protocol.name().into_owned())
        };
        let one_by_one = (0..=head.len()).map(name).find(|found| *found != Err(true));
        prop_assert_eq!(one_by_one.unwrap_or(Err(true)), name(head.len()));
    }
}

#[test]
fn a_line_is_made_up_for_each_kind_that_names_a_vehicle() {
    let lines = |expressions: &[&str]| -> Vec<(usize, String)> {
        let protocol = OwnProtocol::compile(spec(expressions)).unwrap();
        let lines = protocol.first_lines();
        lines
            .map(|(idx, line)| (idx, String::from_utf8(line).unwrap()))
            .collect()
    };
    let made_up = lines(&[
        r"^\$ACME,(?<vehicle>\d{3}),(?:a|b)?x+[^,]*$",
        "beat",
        r"(?i)hi (?<vehicle>[xyz]{2,})\b",
    ]);
    assert_eq!(
        made_up,
        [(0, "$ACME,111,x\n".into()), (2, "HI XX\n".into())]
    );
}

proptest! {
    #[test]
    fn noise_panics_nowhere_and_has_one_outcome(
        lines in proptest::collection::vec(line_like(), 0..12)
    ) {
        let protocol = OwnProtocol::compile(acme()).unwrap();
        let mut decoder = protocol.decoder(DecoderOptions::default());
        let context = Context {
            now: Instant::from_millis(0),
            received: UnixMillis(1_795_176_000_000),
            admission: &Gate,
        };
        for line in lines {
            let mut copy = decoder.snapshot();
            let mut out = Decoded::default();
            let outcome = decoder.line(&context, &line, &mut out);
            prop_assert!(out.released.is_empty() && outcome != Outcome::Held);
            let is_fitting = protocol.0.fitting(&line).is_some();
            let is_malformed = outcome == Outcome::Rejected(RejectReason::Malformed);
            prop_assert!(is_fitting || is_malformed);
            let n_positions = out.records.iter().filter(|record| record.fix().is_some()).count();
            prop_assert_eq!(n_positions, usize::from(outcome == Outcome::Positions));
            prop_assert!(out.records.len() <= 1);
            if matches!(outcome, Outcome::Rejected(_)) {
                prop_assert!(out.records.is_empty());
            }
            let mut again = Decoded::default();
            prop_assert_eq!(copy.line(&context, &line, &mut again), outcome);
            prop_assert_eq!((again.records, again.replies), (out.records, out.replies));
        }
    }

    #[test]
    fn any_text_is_an_expression_or_a_fault(text in "[\\PC(){}\\[\\]?<>|*+.\\\\]{0,40}") {
        match OwnProtocol::compile(spec(&[&text])) {
            Ok(protocol) => {
                for (_, line) in protocol.first_lines() {
                    let line = line.strip_suffix(b"\n").unwrap();
                    prop_assert!(protocol.0.fitting(line).is_some());
                }
            }
            Err(faults) => for fault in faults {
                let is_within = |span: Range<usize>| text.get(span).is_some();
                prop_assert!(fault.span.is_none_or(is_within));
            },
        }
    }

    #[test]
    fn recognition_does_not_change_its_mind(line in line_like(), rest in any::<Vec<u8>>()) {
        let registry = registry(&[acme()]);
        let whole = [&line[..], b"\r\n", &rest].concat();
        let mut settled = None;
        for n_bytes in 1..=whole.len() {
            let found = registry.recognise(&whole[..n_bytes]);
            let found = found.map(|protocol| protocol.name().into_owned());
            if let Some(before) = &settled {
                prop_assert_eq!(&found, before);
            } else if found != Err(true) {
                settled = Some(found);
            }
        }
    }
}

/// Lines of the protocol with some of their fields replaced, and noise.
fn line_like() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("".to_owned()),
        Just("v7".to_owned()),
        Just("secret".to_owned()),
        Just("20261120090501".to_owned()),
        "[0-9]{14}",
        "-?[0-9]{1,3}(\\.[0-9]{0,9})?",
        "[AV1]",
        "\\PC{0,5}",
    ];
    let kind = prop_oneof![Just("$LOGIN"), Just("$POS"), Just("$BEAT"), Just("x")];
    let fields = (kind, proptest::collection::vec(field, 0..10));
    prop_oneof![
        4 => fields.prop_map(|(kind, fields)| {
            [vec![kind.to_owned()], fields].concat().join(",").into_bytes()
        }),
        1 => any::<Vec<u8>>(),
    ]
}
