//! Numbers and bytes at the front of bytes. Must not know what they mean.

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a number as zigzag.
pub(super) fn put_signed(number: i64, bytes: &mut Vec<u8>) {
    put_varint(((number << 1) ^ (number >> 63)).cast_unsigned(), bytes);
}

/// Takes a number; none where there is none whole.
pub(super) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes a number as zigzag.
pub(super) fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let number = take_varint(rest)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Takes bytes of a known length.
pub(super) fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.try_into().ok()
}

/// Takes bytes with their length before them.
pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n_bytes = usize::try_from(take_varint(rest)?).ok()?;
    rest.split_off(..n_bytes)
}
