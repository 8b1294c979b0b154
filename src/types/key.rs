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
    if code.is_empty() {
        hash_without_code(fix)
    } else {
        hash_of_layout(fix, code)
    }
}

/// [`position_hash`] as the layout says it.
fn hash_of_layout(fix: &Fix, code: &str) -> u64 {
    let mut fields = [0_u8; FIELDS_BYTES + CODE_BYTES_MAX];
    // Byte 0 is the kind.
    fields[1..5].copy_from_slice(&fix.latitude.as_e7().to_le_bytes());
    fields[5..9].copy_from_slice(&fix.longitude.as_e7().to_le_bytes());
    fields[9] = u8::from(fix.valid);
    fields[10..14].copy_from_slice(&bits_of(fix.speed_kmh).to_le_bytes());
    fields[14..18].copy_from_slice(&bits_of(fix.course_deg).to_le_bytes());
    fields[18..22].copy_from_slice(&bits_of(fix.altitude_m).to_le_bytes());
    let code = code.as_bytes();
    let code = code.get(..CODE_BYTES_MAX).unwrap_or(code);
    let end = FIELDS_BYTES + code.len();
    if let Some(place) = fields.get_mut(FIELDS_BYTES..end) {
        place.copy_from_slice(code);
    }
    xxh3_64(fields.get(..end).unwrap_or_default())
}

/// [`position_hash`] of a position without a code, which is nearly every one: XXH3-64 of 22 bytes that
/// never stand in memory: written there by field and read by overlapping words they made the processor
/// wait, 8 ns of a line that then took 110.
fn hash_without_code(fix: &Fix) -> u64 {
    let low = |number: i32| u128::from(number.cast_unsigned());
    let low_of = |quantity| u128::from(bits_of(quantity));
    // The first 16 bytes, and the last 16.
    let first = (low(fix.latitude.as_e7()) << 8)
        | (low(fix.longitude.as_e7()) << 40)
        | (u128::from(fix.valid) << 72)
        | (low_of(fix.speed_kmh) << 80)
        | (low_of(fix.course_deg) << 112);
    let course_end = low_of(fix.course_deg) >> 16;
    let last = (first >> 48) | (course_end << 80) | (low_of(fix.altitude_m) << 96);
    let length = (FIELDS_BYTES as u64).wrapping_mul(0x9E37_79B1_85EB_CA87);
    let [secret_first, secret_last] = [
        0x1CAD_21F7_2C81_017C_BE4B_A423_396C_FEB8,
        0x1F67_B3B7_A4A4_4072_DB97_9083_E96D_D4DE,
    ];
    let sum = length
        .wrapping_add(folded(first ^ secret_first))
        .wrapping_add(folded(last ^ secret_last));
    let sum = (sum ^ (sum >> 37)).wrapping_mul(0x1656_6791_9E37_79F9);
    sum ^ (sum >> 32)
}

/// The two halves multiplied, and the halves of that laid over each other.
const fn folded(value: u128) -> u64 {
    let product = (value as u64 as u128) * (value >> 64);
    product as u64 ^ (product >> 64) as u64
}

/// A quantity as it stands in the layout.
#[inline]
fn bits_of(quantity: Option<Milli>) -> u32 {
    quantity
        .map_or(i32::MIN, Milli::as_thousandths)
        .cast_unsigned()
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn a_digest_without_a_code_is_that_of_the_layout(
            place: (i32, i32),
            quantities: [Option<i32>; 3],
            valid: bool,
        ) {
            let [speed_kmh, course_deg, altitude_m] =
                quantities.map(|quantity| quantity.map(Milli::from_thousandths));
            let fix = Fix {
                latitude: Degrees::from_e7(place.0),
                longitude: Degrees::from_e7(place.1),
                valid,
                speed_kmh,
                course_deg,
                altitude_m,
                ..Fix::default()
            };
            prop_assert_eq!(position_hash(&fix, ""), hash_of_layout(&fix, ""));
        }
    }

    const POSITION_DIGEST: u64 = 9_385_070_674_512_160_616;
    const EVENT_DIGEST: u64 = 1_177_716_534_580_064_195;
}
