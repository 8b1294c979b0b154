//! The digest in a record's key, version 1.
//!
//! A frozen list of core fields in fixed-point form, hashed by XXH3-64 with seed 0 over this
//! layout, all integers little-endian:
//!
//! ```text
//! position: kind 0 (u8), latitude 1e-7 (i32), longitude 1e-7 (i32), valid (u8),
//!           speed, course, altitude in thousandths (i32 each, i32::MIN if absent), code (UTF-8)
//! event:    kind 1 (u8), length of code (u32), code, then for each attribute in order of name:
//!           length of name (u32), name, type (u8: 0 bool, 1 integer, 2 float, 3 text),
//!           value (u8, i64, bits of f64, or length (u32) and UTF-8)
//! ```
//!
//! Flags, time of reception, serial numbers, the container a record came in and, for positions,
//! satellites, dilution and attributes are left out on purpose: a fix sent alone and again in an
//! archive is one record. A merged NMEA fix hashes the fields of its RMC sentence only. A change
//! to any of this is a new key version.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    attributes::{Attributes, Value},
    number::Milli,
    record::Fix,
};

/// Version of the list of fields and of the layout above.
pub const KEY_VERSION: u8 = 1;

/// Longest event code that takes part in a position's digest, in bytes; protocols send a few.
const CODE_BYTES_MAX: usize = 40;

/// Bytes of a position's layout before its code.
const FIELDS_BYTES: usize = 22;

/// The digest of a position with the event code `code`. Does not allocate.
pub fn position_hash(fix: &Fix, code: &str) -> u64 {
    let quantity = |quantity: Option<Milli>| {
        quantity
            .map_or(i32::MIN, Milli::as_thousandths)
            .to_le_bytes()
    };
    let mut fields = [0_u8; FIELDS_BYTES + CODE_BYTES_MAX];
    // Byte 0 is the kind.
    fields[1..5].copy_from_slice(&fix.latitude.as_e7().to_le_bytes());
    fields[5..9].copy_from_slice(&fix.longitude.as_e7().to_le_bytes());
    fields[9] = u8::from(fix.valid);
    fields[10..14].copy_from_slice(&quantity(fix.speed_kmh));
    fields[14..18].copy_from_slice(&quantity(fix.course_deg));
    fields[18..22].copy_from_slice(&quantity(fix.altitude_m));
    let code = code.as_bytes();
    let code = code.get(..CODE_BYTES_MAX).unwrap_or(code);
    let end = FIELDS_BYTES + code.len();
    if let Some(place) = fields.get_mut(FIELDS_BYTES..end) {
        place.copy_from_slice(code);
    }
    xxh3_64(fields.get(..end).unwrap_or_default())
}

/// The digest of an event.
pub fn event_hash(code: &str, attributes: &Attributes) -> u64 {
    let mut bytes = vec![1];
    put_text(&mut bytes, code);
    for (name, value) in attributes.iter() {
        put_text(&mut bytes, name);
        match value {
            Value::Bool(yes) => bytes.extend([0, u8::from(*yes)]),
            Value::Integer(number) => {
                bytes.push(1);
                bytes.extend(number.to_le_bytes());
            }
            Value::Float(number) => {
                bytes.push(2);
                bytes.extend(number.to_bits().to_le_bytes());
            }
            Value::Text(text) => {
                bytes.push(3);
                put_text(&mut bytes, text);
            }
        }
    }
    xxh3_64(&bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::number::Degrees;

    fn fix() -> Fix {
        Fix {
            latitude: Degrees::from_e7(594_372_000),
            longitude: Degrees::from_e7(247_535_000),
            valid: true,
            speed_kmh: Some(Milli::from_thousandths(42_500)),
            ..Fix::default()
        }
    }

    #[test]
    fn the_digest_is_frozen() {
        assert_eq!(position_hash(&fix(), ""), POSITION_DIGEST);
        let mut attributes = Attributes::new();
        attributes.insert("message", Value::Text("on my way".into()));
        assert_eq!(event_hash("", &attributes), EVENT_DIGEST);
    }

    #[test]
    fn core_fields_count_and_others_do_not() {
        let digest = position_hash(&fix(), "");
        assert_ne!(
            digest,
            position_hash(
                &Fix {
                    valid: false,
                    ..fix()
                },
                ""
            )
        );
        assert_ne!(
            digest,
            position_hash(
                &Fix {
                    speed_kmh: None,
                    ..fix()
                },
                ""
            )
        );
        assert_ne!(digest, position_hash(&fix(), "SOS"));
        assert_eq!(
            digest,
            position_hash(
                &Fix {
                    satellites: Some(9),
                    ..fix()
                },
                ""
            )
        );
        assert_eq!(
            digest,
            position_hash(
                &Fix {
                    hdop: Some(Milli::default()),
                    ..fix()
                },
                ""
            )
        );
    }

    const POSITION_DIGEST: u64 = 9_385_070_674_512_160_616;
    const EVENT_DIGEST: u64 = 1_177_716_534_580_064_195;
}
