//! The checksum of Wialon IPS 2.x: CRC-16/ARC (polynomial 0x8005 reflected, start 0).
//!
//! It covers what stands between `#TYPE#` and itself, the separator before it included.

/// Bytes that are taken together.
const WORD_BYTES: usize = 8;

/// The checksum of each byte, by its value, with as many zero bytes behind it as the table's number.
const TABLES: [[u16; 256]; WORD_BYTES] = tables();

/// CRC-16/ARC of `bytes`.
///
/// Eight bytes at a time, since each single one waits for the one before it: of a line of 60 bytes
/// the checksum takes 41 ns in place of 142 (the bench `decoders`, with and without one).
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    let crc = words.iter().fold(0, |crc: u16, word| {
        let word = (u64::from_le_bytes(*word) ^ u64::from(crc)).to_le_bytes();
        let tables = TABLES.iter().rev();
        word.iter()
            .zip(tables)
            .fold(0, |sum, (byte, table)| sum ^ entry(table, *byte))
    });
    let [single, ..] = &TABLES;
    rest.iter().fold(crc, |crc, byte| {
        let [low, _] = crc.to_le_bytes();
        (crc >> 8) ^ entry(single, low ^ byte)
    })
}

fn entry(table: &[u16; 256], byte: u8) -> u16 {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

/// The part of `body` before the last `separator`, if the checksum behind that is right.
pub(super) fn verified(body: &[u8], separator: u8) -> Option<&[u8]> {
    let (payload, written) = split_last(body, separator)?;
    let covered = body.get(..payload.len() + 1)?;
    (parse(written)? == crc16(covered)).then_some(payload)
}

/// Whether `text` is written like a checksum.
pub(super) fn is_checksum(text: &[u8]) -> bool {
    parse(text).is_some()
}

/// `body` before and behind its last `separator`.
pub(super) fn split_last(body: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let idx = memchr::memrchr(separator, body)?;
    Some((body.get(..idx)?, body.get(idx + 1..)?))
}

/// Reads one to four hexadecimal digits in either case; devices put `0x` before them.
fn parse(text: &[u8]) -> Option<u16> {
    let digits = match text {
        [b'0', b'x' | b'X', digits @ ..] => digits,
        digits => digits,
    };
    if !(1..=4).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0_u16, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some((value << 4) | u16::try_from(digit).ok()?)
    })
}

#[expect(
    clippy::indexing_slicing,
    reason = "an iterator cannot run at compile time; the index is below 256"
)]
const fn tables() -> [[u16; 256]; WORD_BYTES] {
    let mut tables = [[0; 256]; WORD_BYTES];
    let mut byte = 0_u16;
    while byte < 256 {
        let mut remainder = byte;
        let mut n_zeros = 0;
        while n_zeros < WORD_BYTES {
            let mut n_bits = 0;
            while n_bits < 8 {
                let carry = remainder & 1;
                remainder >>= 1;
                if carry == 1 {
                    remainder ^= 0xA001;
                }
                n_bits += 1;
            }
            tables[n_zeros][byte as usize] = remainder;
            n_zeros += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_algorithm_is_met() {
        assert_eq!(crc16(b"123456789"), 0xBB3D);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn words_and_single_bytes_give_the_same() {
        let text: Vec<u8> = (0..100_u8).map(|number| number.wrapping_mul(37)).collect();
        for n_bytes in 0..text.len() {
            let bitwise = text[..n_bytes].iter().fold(0, |crc, byte| {
                (0..8).fold(crc ^ u16::from(*byte), |crc: u16, _| {
                    (crc >> 1) ^ ((crc & 1) * 0xA001)
                })
            });
            assert_eq!(crc16(&text[..n_bytes]), bitwise);
        }
    }

    #[test]
    fn a_checksum_is_read_as_devices_write_it() {
        assert_eq!(parse(b"09B0"), Some(0x09B0));
        assert_eq!(parse(b"9b0"), Some(0x09B0));
        assert_eq!(parse(b"0x9b0"), Some(0x09B0));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"0x"), None);
        assert_eq!(parse(b"12345"), None);
        assert_eq!(parse(b"NA"), None);
    }

    #[test]
    fn the_separator_before_the_checksum_is_covered() {
        let body = format!("a;b;{:04X}", crc16(b"a;b;"));
        assert_eq!(verified(body.as_bytes(), b';'), Some(b"a;b".as_slice()));
        assert_eq!(verified(b"a;b;0000", b';'), None);
        assert_eq!(verified(b"0000", b';'), None);
    }
}
