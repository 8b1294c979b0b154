//! The decode command in memory: what goes in, what comes out.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::*;
use crate::{
    protocol::{
        Recognition,
        own::{LineSpec, OwnProtocol, OwnSpec},
    },
    types::{
        attributes::{Attributes, Value as Attribute},
        ids::VehicleId,
        key::event_hash,
        record::{Body, Flags, ProtocolName, RecordKey},
    },
};

const RMC: &str = "$GPRMC,081501.00,A,5926.2320,N,02445.2100,E,10.0,181.0,060524,,,A*60";
const GGA: &str = "$GPGGA,081501.00,5926.2320,N,02445.2100,E,1,09,0.9,34.0,M,18.0,M,,*50";
const NEXT_RMC: &str = "$GPRMC,081502.00,A,5926.2320,N,02445.2100,E,10.0,181.0,060524,,,A*63";
const IDENTITY: &str = "IMEI 490154203237518";

/// A protocol of the test: `@name` logs in, `@` greets; each is answered and gives an event.
#[derive(Debug)]
struct Greeting;

#[derive(Debug, Clone, Default)]
struct GreetingDecoder(Option<VehicleId>);

impl Protocol for Greeting {
    fn name(&self) -> ProtocolName {
        Cow::Borrowed("greeting")
    }

    fn framing(&self) -> Framing {
        Framing::Terminated(b"\n")
    }

    fn recognise(&self, head: &[u8]) -> Recognition {
        match head {
            [b'@', ..] => Recognition::Yes,
            _ => Recognition::No,
        }
    }

    fn decoder(&self, _: DecoderOptions) -> Box<dyn Decoder> {
        Box::new(GreetingDecoder::default())
    }
}

impl Decoder for GreetingDecoder {
    fn line(&mut self, context: &Context<'_>, line: &[u8], out: &mut Decoded) -> Outcome {
        if line.len() > 1 {
            self.0 = VehicleId::parse(&line[1..]).ok();
        }
        let Some(vehicle) = self.0.clone() else {
            out.replies.extend(b"who?\r\n");
            return Outcome::Rejected(RejectReason::NotLoggedIn);
        };
        out.replies.extend(b"hello\r\n");
        let mut attributes = Attributes::new();
        attributes.insert(
            "at_ms",
            Attribute::Integer(i64::try_from(context.now.as_millis()).unwrap()),
        );
        out.records.push(Record {
            key: RecordKey {
                vehicle,
                time: context.received,
                hash: event_hash("hi", &attributes),
            },
            received: context.received,
            protocol: Cow::Borrowed("greeting"),
            flags: Flags(0),
            code: Cow::Borrowed("hi"),
            attributes,
            raw: None,
            body: Body::Event,
        });
        Outcome::NoPosition
    }

    fn flush(&mut self, _: &Context<'_>, _: FlushReason, _: &mut Decoded) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn refuse(&self, _: &[u8], _: &mut Vec<u8>) -> bool {
        true
    }

    fn vehicle(&self) -> Option<&VehicleId> {
        self.0.as_ref()
    }

    fn snapshot(&self) -> Box<dyn Decoder> {
        Box::new(self.clone())
    }
}

fn registry() -> Registry {
    Registry::built_in().with(Arc::new(Greeting))
}

fn options(protocol: Option<&str>) -> DecodeOptions<'_> {
    DecodeOptions {
        protocol,
        is_lenient: false,
        received: UnixMillis::parse("2026-11-20T09:05:01Z").unwrap(),
    }
}

fn decoded_with(lines: &[&str], options: &DecodeOptions<'_>) -> Vec<Value> {
    let mut output = Vec::new();
    let input = lines.join("\n");
    decode(input.as_bytes(), &mut output, &registry(), options).unwrap();
    let text = String::from_utf8(output).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn decoded(lines: &[&str]) -> Vec<Value> {
    decoded_with(lines, &options(None))
}

fn nothing(line: &str) -> Value {
    json!({"line": line, "protocol": "nmea", "positions": [], "replies": []})
}

fn position(time: &str) -> Value {
    json!({
        "vehicle": "490154203237518", "time": time, "lat": 59.4372, "lon": 24.7535,
        "valid": true, "speed_kmh": 18.52, "course_deg": 181.0, "protocol": "nmea",
        "received": "2026-11-20T09:05:01.000Z", "late": false,
    })
}

#[test]
fn what_the_end_completes_comes_with_an_empty_line() {
    let mut merged = position("2024-05-06T08:15:02.000Z");
    merged["altitude_m"] = json!(34.0);
    merged["satellites"] = json!(9);
    merged["hdop"] = json!(0.9);
    merged["time"] = json!("2024-05-06T08:15:01.000Z");
    assert_eq!(
        decoded(&[IDENTITY, RMC, GGA, NEXT_RMC]),
        [
            nothing(IDENTITY),
            nothing(RMC),
            nothing(GGA),
            json!({"line": NEXT_RMC, "protocol": "nmea", "positions": [merged], "replies": []}),
            json!({"line": "", "protocol": "nmea", "replies": [],
                   "positions": [position("2024-05-06T08:15:02.000Z")]}),
        ]
    );
}

#[test]
fn an_empty_line_begins_a_new_connection() {
    let objects = decoded(&[IDENTITY, RMC, "", RMC, " ", "@", "", "@7", "@"]);
    let errors: Vec<_> = objects
        .iter()
        .map(|object| object["error"].as_str())
        .collect();
    let at_end = Some("no_identity");
    let expected = [
        None,
        None,
        None,
        None,
        at_end,
        Some("not_logged_in"),
        None,
        None,
    ];
    assert_eq!(errors, expected, "{objects:?}");
    let lines: Vec<_> = objects
        .iter()
        .map(|object| object["line"].as_str().unwrap())
        .collect();
    assert_eq!(lines, [IDENTITY, RMC, "", RMC, "", "@", "@7", "@"]);
}

#[test]
fn records_without_a_fix_stand_under_events_and_answers_under_replies() {
    let event = |at_ms: i64| {
        json!({"vehicle": "7", "time": "2026-11-20T09:05:01.000Z", "code": "hi",
               "protocol": "greeting", "received": "2026-11-20T09:05:01.000Z",
               "attributes": {"at_ms": at_ms}})
    };
    assert_eq!(
        decoded(&["@", "@7", "@"]),
        [
            json!({"line": "@", "error": "not_logged_in",
                   "replies": ["who?\r\n"]}),
            json!({"line": "@7", "protocol": "greeting", "positions": [], "events": [event(2)],
                   "replies": ["hello\r\n"]}),
            json!({"line": "@", "protocol": "greeting", "positions": [], "events": [event(3)],
                   "replies": ["hello\r\n"]}),
        ]
    );
}

#[test]
fn a_line_of_no_protocol_is_an_error_and_the_next_one_is_tried() {
    assert_eq!(
        decoded(&["what is this", IDENTITY, "what is this"]),
        [
            json!({"line": "what is this", "error": "unknown_protocol"}),
            nothing(IDENTITY),
            json!({"line": "what is this", "error": "malformed"}),
        ]
    );
}

/// With a protocol of one's own whose lines end with `#`.
fn decoded_by_hashes(input: &str) -> Vec<Value> {
    let spec = OwnSpec {
        name: "hashes".into(),
        lines: vec![LineSpec {
            expression: r"\*POS,(?<vehicle>\w+),(?<event>\w+)".into(),
            reply: None,
        }],
        terminator: b'#',
        time_format: None,
        valid: None,
        reply: "OK {event}".into(),
        refusal: String::new(),
        attributes: Default::default(),
    };
    let protocol = OwnProtocol::compile(spec).unwrap();
    let registry = Registry::built_in().with_own(&[protocol]);
    let mut output = Vec::new();
    decode(input.as_bytes(), &mut output, &registry, &options(None)).unwrap();
    let text = String::from_utf8(output).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_frame_of_ones_own_protocol_may_come_without_its_end() {
    for input in ["*POS,v7,a", "*POS,v7,a\r\n", "*POS,v7,a#\n", "#*POS,v7,a#"] {
        let objects = decoded_by_hashes(input);
        assert_eq!(objects.len(), 1, "{input}");
        assert_eq!(objects[0]["replies"], json!(["OK a"]), "{input}");
    }
    let objects = decoded_by_hashes("*POS,v7,a#*POS,v7,b\n*POS,v7,c\n#L\n");
    let replies: Vec<_> = objects.iter().map(|object| &object["replies"]).collect();
    let all = [json!(["OK a"]), json!(["OK b"]), json!(["OK c"])];
    assert_eq!(replies[..3], all.iter().collect::<Vec<_>>());
    // That end makes no line of another protocol.
    let unknown = [json!({"line": "#L", "error": "unknown_protocol"})];
    assert_eq!(decoded_by_hashes("#L\n"), unknown);
}

#[test]
fn what_is_not_recognised_is_cut_at_the_ends_of_ones_own_protocols_too() {
    let objects = decoded_by_hashes("*HELLO#*POS,v7,a#\r\n");
    let unknown = json!({"line": "*HELLO#", "error": "unknown_protocol"});
    assert_eq!(objects[0], unknown);
    assert_eq!(objects[1]["replies"], json!(["OK a"]));
    assert_eq!(objects.len(), 2);
    assert_eq!(decoded_by_hashes("*HELLO#\n"), [unknown]);
}

#[test]
fn a_named_protocol_is_not_recognised_but_taken() {
    let objects = decoded_with(&["@7"], &options(Some("nmea")));
    assert_eq!(objects, [json!({"line": "@7", "error": "malformed"})]);
}

#[test]
fn an_unknown_name_is_refused_with_the_names_there_are() {
    let mut output = Vec::new();
    let result = decode(
        &b"@7\n"[..],
        &mut output,
        &registry(),
        &options(Some("morse")),
    );
    let message = result.unwrap_err().to_string();
    assert!(
        message.starts_with("unknown protocol `morse`; known are "),
        "{message}"
    );
    assert!(
        message.contains("nmea, ") && message.ends_with("greeting"),
        "{message}"
    );
    assert!(output.is_empty());
}

#[test]
fn leniency_takes_wrong_checksums() {
    let edited = RMC.replace("181.0", "182.0");
    let strict = decoded(&[IDENTITY, &edited]);
    assert_eq!(strict[1]["error"], "checksum");
    let lenient = DecodeOptions {
        is_lenient: true,
        ..options(None)
    };
    let objects = decoded_with(&[IDENTITY, &edited], &lenient);
    assert_eq!(objects[2]["positions"][0]["course_deg"], 182.0);
}

#[test]
fn a_line_may_end_in_any_way_and_hold_any_bytes() {
    let mut output = Vec::new();
    let input = [
        IDENTITY.as_bytes(),
        b"\r\n",
        RMC.as_bytes(),
        b"  \r\n\xff\xfe\n",
    ]
    .concat();
    decode(&*input, &mut output, &registry(), &options(None)).unwrap();
    let text = String::from_utf8(output).unwrap();
    let objects: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects[1]["line"], RMC);
    assert_eq!(objects[2]["line"], "\u{fffd}\u{fffd}");
    assert_eq!(objects[3]["positions"].as_array().unwrap().len(), 1);
}

#[test]
fn a_line_over_the_limit_is_too_long() {
    let long = format!("$GPTXT,{}", "x".repeat(LINE_BYTES_MAX));
    let objects = decoded(&[&long, IDENTITY]);
    assert_eq!(objects[0]["error"], "too_long");
    assert_eq!(objects[1], nothing(IDENTITY));
}

#[test]
fn no_input_gives_no_output() {
    assert_eq!(decoded(&["", "", ""]), [Value::Null; 0]);
}

#[test]
fn a_stream_that_fails_is_an_error() {
    let full = &mut [0_u8; 10][..];
    let result = decode(&b"@7\n"[..], full, &registry(), &options(None));
    assert!(matches!(result, Err(DecodeError::Write(_))));
}
