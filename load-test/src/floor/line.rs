//! One Wialon line to one record of fixed length. Knows the lines of the benches and no others.

use memchr::memchr;

/// Bytes of a record.
pub(super) const RECORD_BYTES: usize = 34;

/// What a line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// A login, answered at once.
    Login,
    /// A position, appended and answered after the sync.
    Position,
    /// Neither.
    Nothing,
}

/// Parses `line` (without its end) of the vehicle with the number `vehicle` and appends its record.
pub(super) fn take(line: &[u8], vehicle: u64, into: &mut Vec<u8>) -> Said {
    if let Some(fields) = line.strip_prefix(b"#SD#") {
        let mut fields = Fields(fields);
        let record = record(vehicle, &mut fields);
        return record.map_or(Said::Nothing, |record| {
            into.extend_from_slice(&record);
            Said::Position
        });
    }
    if line.starts_with(b"#L#") {
        Said::Login
    } else {
        Said::Nothing
    }
}

fn record(vehicle: u64, fields: &mut Fields<'_>) -> Option<[u8; RECORD_BYTES]> {
    let (date, time) = (digits(fields.next()?)?, digits(fields.next()?)?);
    let latitude = degrees(fields.next()?, 2)?;
    let latitude = if fields.next()? == b"S" {
        -latitude
    } else {
        latitude
    };
    let longitude = degrees(fields.next()?, 3)?;
    let longitude = if fields.next()? == b"W" {
        -longitude
    } else {
        longitude
    };
    let mut record = [0; RECORD_BYTES];
    let numbers: [&[u8]; 5] = [
        &vehicle.to_le_bytes(),
        &(date * 1_000_000 + time).to_le_bytes(),
        &latitude.to_le_bytes(),
        &longitude.to_le_bytes(),
        &(digits(fields.next()?)? as u16).to_le_bytes(),
    ];
    let mut rest = record.as_mut_slice();
    for number in numbers {
        let (head, tail) = rest.split_at_mut_checked(number.len())?;
        head.copy_from_slice(number);
        rest = tail;
    }
    for field in rest.chunks_exact_mut(2).take(2) {
        field.copy_from_slice(&(digits(fields.next()?)? as u16).to_le_bytes());
    }
    let satellites = digits(fields.next()?)? as u16;
    let numbers = [satellites.to_le_bytes(), shard(vehicle).to_le_bytes()];
    record
        .last_chunk_mut::<4>()?
        .copy_from_slice(numbers.as_flattened());
    Some(record)
}

/// One of 4,096 shards.
const fn shard(vehicle: u64) -> u16 {
    (vehicle.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as u16
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr(b';', self.0).unwrap_or(self.0.len());
        let (field, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..).unwrap_or_default();
        Some(field)
    }
}

fn digits(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

/// `DDMM.MMMM`, with `n_degrees` digits of degrees, in units of 1e-7 degrees.
fn degrees(field: &[u8], n_degrees: usize) -> Option<i32> {
    let (degrees, minutes) = field.split_at_checked(n_degrees)?;
    let (whole, fraction) = minutes.split_at_checked(2)?;
    let fraction = digits(fraction.strip_prefix(b".")?)?;
    let minutes = digits(whole)? * 10_000 + fraction;
    Some((digits(degrees)? * 10_000_000 + minutes * 1_000 / 60) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_becomes_a_record() {
        let mut records = Vec::new();
        let line = b"#SD#010124;000001;5926.2320;N;02445.2100;W;42;181;34;9";
        assert_eq!(take(line, 7, &mut records), Said::Position);
        assert_eq!(records.len(), RECORD_BYTES);
        assert_eq!(records[..8], 7_u64.to_le_bytes());
        assert_eq!(records[16..20], 594_372_000_i32.to_le_bytes());
        assert_eq!(records[20..24], (-247_535_000_i32).to_le_bytes());
        assert_eq!(records[24..30], [42, 0, 181, 0, 34, 0]);
    }

    #[test]
    fn what_is_no_line_of_the_benches_gives_nothing() {
        let mut records = Vec::new();
        assert_eq!(take(b"#L#v;NA", 7, &mut records), Said::Login);
        assert_eq!(take(b"#SD#x;y", 7, &mut records), Said::Nothing);
        assert_eq!(take(b"", 7, &mut records), Said::Nothing);
        assert!(records.is_empty());
    }
}
