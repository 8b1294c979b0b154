//! The layout on disk is frozen: segments as they were ever written, byte for byte.

use super::*;
use crate::{
    store::storage::StorageFile as _,
    types::{
        attributes::Value,
        number::{Degrees, Milli},
    },
};

/// Two groups and the closing mark, with records of layout 1.
const FIRST: &str = "
5741594d4c4f470a01000000000000000000000000000000000000000000000000000000d223d484fa5e47d101fb0000
00020000002800000000000000285382358c0000000100010f333533393736303133343435343835d0cfc1ffbe68efcd
ab89674523018215067769616c6f6e03025344040869676e6974696f6e00010a6f646f6d657465725f6d01a9b4de7507
706f7765725f7602000000000080294004746578740305c3bc626572010723534423ff0d0ae0bee8b604f5b786ec0101
0188950601fef82b01dfd403010801880e670000000101010f33353339373630313334343534383501ffffffffffffff
ffd4e4c1ffbe68067769616c6f6e04025344040869676e6974696f6e00010a6f646f6d657465725f6d01a9b4de750770
6f7765725f7602000000000080294004746578740305c3bc62657200fa5e47d10131000000010000003c010000000000
00a46215af2d0000000100010f3335333937363031333434353438350000000000000000001203746f79080000000000
000000000000fa5e47d10200000000000000008601000000000000228cd77b
";

/// The same with records of layout 2.
const SECOND: &str = "
5741594d4c4f470a01000000000000000000000000000000000000000000000000000000d223d484fa5e47d101110100
00020000002800000000000000c066549e95000000020001037f0f0602000000e833f8f7a1010000efcdab8967452301
4105000000000000b00f6d2305323ff144c500003f7e0500d08affff8403000008333533393736303133343435343835
7769616c6f6e5344040869676e6974696f6e00010a6f646f6d657465725f6d01a9b4de7507706f7765725f7602000000
000080294004746578740305c3bc626572010723534423ff0d0a7400000002010104400f0602000000ffffffffffffff
ffffffffffffffffff2a39f8f7a10100003335333937363031333434353438357769616c6f6e5344040869676e697469
6f6e00010a6f646f6d657465725f6d01a9b4de7507706f7765725f7602000000000080294004746578740305c3bc6265
7200fa5e47d10141000000010000005201000000000000366a08053d00000002000108000f0300000000000000000000
0000000000000000000009000000000000000000000000000000333533393736303133343435343835746f79fa5e47d1
020000000000000000ac010000000000001d9952ad
";

/// The records of those segments: all fields are used, and all kinds of values.
fn records() -> [Record; 3] {
    let vehicle = VehicleId::parse("353976013445485".as_bytes()).unwrap();
    let mut attributes = Attributes::new();
    attributes.insert("ignition", Value::Bool(true));
    attributes.insert("odometer_m", Value::Integer(-123_456_789));
    attributes.insert("power_v", Value::Float(12.75));
    attributes.insert("text", Value::Text("\u{fc}ber".into()));
    let fix = Fix {
        latitude: Degrees::from_e7(594_350_000),
        longitude: Degrees::from_e7(-247_516_667),
        valid: true,
        speed_kmh: Some(Milli::from_thousandths(50_500)),
        course_deg: Some(Milli::from_thousandths(359_999)),
        altitude_m: Some(Milli::from_thousandths(-30_000)),
        satellites: Some(8),
        hdop: Some(Milli::from_thousandths(900)),
    };
    let key = |millis, hash| RecordKey {
        vehicle: vehicle.clone(),
        time: UnixMillis(millis),
        hash,
    };
    let full = Record {
        key: key(1_795_161_601_000, 0x0123_4567_89ab_cdef),
        received: UnixMillis(1_795_161_602_345),
        protocol: "wialon".into(),
        flags: Flags::LATE.with(Flags::ARCHIVED),
        code: "SD".into(),
        attributes,
        raw: Some(b"#SD#\xff\r\n"[..].into()),
        body: Body::Position(fix),
    };
    let event = Record {
        key: key(-1, u64::MAX),
        body: Body::Event,
        flags: Flags::TIME_FROM_SERVER,
        raw: None,
        ..full.clone()
    };
    let bare = Record {
        key: key(0, 0),
        flags: Flags::FUTURE,
        ..record(0)
    };
    [full, event, bare]
}

fn bytes_of(segment: &str) -> Vec<u8> {
    let digits: Vec<u8> = segment
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn a_segment_of_any_layout_still_opens() {
    for bytes in [FIRST, SECOND].map(bytes_of) {
        let disk = SimDisk::new(1);
        let name = super::super::segments::file_name(0);
        disk.create(&name).unwrap();
        disk.alter(&name, |content| *content = bytes.clone());
        let mut found = Vec::new();
        let each = |_, record| found.push(record);
        let (log, recovery) = Log::open(Arc::new(disk), SMALL, LogOffset(0), each).unwrap();
        assert_eq!(found, records());
        assert_eq!(recovery.cut, None);
        assert_eq!(log.durable().0, bytes.len() as u64);
    }
}

#[test]
fn segments_are_still_written_like_that() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    let [full, event, bare] = records();
    log.append(&full);
    log.append(&event);
    log.commit().unwrap();
    log.append(&bare);
    log.commit().unwrap();
    log.close().unwrap();
    let file = disk.open(&disk.list().unwrap()[0]).unwrap();
    let mut written = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut written, 0).unwrap();
    let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        written,
        bytes_of(SECOND),
        "a new layout needs a new version: {hex}"
    );
}
