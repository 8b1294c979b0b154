//! What is packed reads back, and the layout stays.

use proptest::prelude::*;

use super::*;

fn any_number() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), -2..3_i32]
}

fn any_milli() -> impl Strategy<Value = Option<Milli>> {
    prop::option::of(any_number().prop_map(Milli::from_thousandths))
}

fn any_fix() -> impl Strategy<Value = Fix> {
    let place = (any_number(), any_number(), any::<bool>());
    let millis = (any_milli(), any_milli(), any_milli(), any_milli());
    let satellites = prop::option::of(any::<u8>());
    (place, millis, satellites).prop_map(|(place, millis, satellites)| Fix {
        latitude: Degrees::from_e7(place.0),
        longitude: Degrees::from_e7(place.1),
        valid: place.2,
        speed_kmh: millis.0,
        course_deg: millis.1,
        altitude_m: millis.2,
        satellites,
        hdop: millis.3,
    })
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Float),
        "[a-z]{0,9}".prop_map(|text| Value::Text(text.into())),
    ];
    let entry = ("[a-c]{1,2}".prop_map(Into::into), value);
    prop::collection::vec(entry, 0..4).prop_map(|entries| entries.into_iter().collect())
}

fn vehicle() -> VehicleId {
    VehicleId::parse(b"12").unwrap()
}

fn any_record() -> impl Strategy<Value = Record> {
    let key = (prop_oneof![any::<i64>(), 0..9_i64], any::<u64>());
    let texts = (
        "(wialon|nmea)",
        "[a-z]{0,2}",
        prop::option::of("[a-z]{0,20}"),
    );
    let received = prop_oneof![any::<i64>(), 0..9_i64];
    let rest = (received, any::<u8>(), any_attributes(), any_fix());
    (key, texts, rest).prop_map(|(key, texts, (received, flags, attributes, fix))| Record {
        key: RecordKey {
            vehicle: vehicle(),
            time: UnixMillis(key.0),
            hash: key.1,
        },
        received: UnixMillis(received),
        protocol: texts.0.into(),
        flags: Flags(flags),
        code: texts.1.into(),
        attributes,
        raw: texts.2.map(Bytes::from),
        body: Body::Position(fix),
    })
}

fn read(block: &[u8], kind: Kind) -> Option<Vec<Record>> {
    BlockReader::new(block)
        .map(|entry| entry?.to_record(&vehicle(), kind))
        .collect()
}

proptest! {
    #[test]
    fn what_is_packed_reads_back_and_stays_within_its_bounds(
        mut records in prop::collection::vec(any_record(), 1..30),
        is_event in any::<bool>(),
        bytes_max in 0_usize..600,
    ) {
        let kind = if is_event { Kind::Event } else { Kind::Position };
        records.sort_by_key(spot_of);
        for record in &mut records {
            if is_event {
                record.body = Body::Event;
            }
        }
        let mut writer = BlockWriter::default();
        writer.begin(7);
        let mut scratch = Vec::new();
        let packed: Vec<Record> = records
            .into_iter()
            .filter(|record| writer.push(record, bytes_max, &mut scratch))
            .collect();
        prop_assert!(packed.is_empty() || writer.bytes().len() <= bytes_max);
        let ends = packed.first().zip(packed.last());
        prop_assert_eq!(writer.ends(), ends.map(|(one, other)| (spot_of(one), spot_of(other))));
        let (head, block) = writer.bytes().split_first().unwrap();
        prop_assert_eq!(*head, 7);
        prop_assert_eq!(read(block, kind), Some(packed));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        drop(read(&bytes, Kind::Position));
        drop(read(&bytes, Kind::Event));
    }
}

#[test]
fn the_layout_is_frozen() {
    let record = |time: i64, hash: u64| Record {
        key: RecordKey {
            vehicle: vehicle(),
            time: UnixMillis(time),
            hash,
        },
        received: UnixMillis(time + 5),
        protocol: "nmea".into(),
        flags: Flags(1),
        code: "".into(),
        attributes: [("a".into(), Value::Bool(true))].into_iter().collect(),
        raw: None,
        body: Body::Position(Fix {
            latitude: Degrees::from_e7(-1),
            valid: true,
            satellites: Some(9),
            ..Fix::default()
        }),
    };
    let mut writer = BlockWriter::default();
    writer.begin(2);
    let mut scratch = Vec::new();
    assert!(writer.push(&record(300, 3), 512, &mut scratch));
    assert!(writer.push(&record(301, 4), 512, &mut scratch));
    let block = b"\x02\x6b\x21\xac\x02\x03\0\0\0\0\0\0\0\x04nmea\x01\x03\x01a\x01\x0a\x11\x01\x12\
                  \0\0\x01\x04\0\0\0\0\0\0\0";
    assert_eq!(writer.bytes(), block);
}

#[test]
fn a_record_that_is_too_large_leaves_no_room_behind() {
    let text = "x".repeat(60_000);
    let plain = Record {
        key: RecordKey {
            vehicle: vehicle(),
            time: UnixMillis(1),
            hash: 1,
        },
        received: UnixMillis(1),
        protocol: "nmea".into(),
        flags: Flags(0),
        code: "".into(),
        attributes: Attributes::new(),
        raw: None,
        body: Body::Event,
    };
    let with_code = Record {
        code: text.clone().into(),
        ..plain.clone()
    };
    let with_attribute = Record {
        attributes: [("a".into(), Value::Text(text.into()))]
            .into_iter()
            .collect(),
        ..plain
    };
    for record in [with_code, with_attribute] {
        let mut writer = BlockWriter::default();
        writer.begin(2);
        assert!(!writer.push(&record, 512, &mut Vec::new()));
        assert!(
            writer.bytes.capacity() < 1_024,
            "{}",
            writer.bytes.capacity()
        );
    }
}
