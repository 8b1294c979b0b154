//! Checksums for inputs that ask for them: nobody finds the right one by chance, and what stands
//! behind a check would never be reached.

/// The stream with each line that ends in `*` sealed: behind an NMEA sentence the checksum is added,
/// in a Wialon line it takes the place of the `*`.
pub(crate) fn sealed(stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stream.len() + 64);
    for piece in stream.split_inclusive(|byte| *byte == b'\n') {
        let end = piece
            .iter()
            .rposition(|byte| !matches!(byte, b'\r' | b'\n'))
            .map_or(0, |last| last + 1);
        let (line, line_end) = piece.split_at(end);
        match line {
            [b'#', rest @ .., b'*'] => out.extend(sealed_wialon(line, rest)),
            [content @ .., b'*'] => {
                let start = content.iter().rposition(|byte| *byte == b'$');
                let sum = content[start.map_or(0, |start| start + 1)..]
                    .iter()
                    .fold(0, |sum, byte| sum ^ byte);
                out.extend(line);
                out.extend(format!("{sum:02X}").bytes());
            }
            line => out.extend(line),
        }
        out.extend(line_end);
    }
    out
}

/// The checksum covers what stands behind the second `#`.
fn sealed_wialon(line: &[u8], rest: &[u8]) -> Vec<u8> {
    let without_star = &line[..line.len() - 1];
    let start = rest.iter().position(|byte| *byte == b'#');
    let body = &without_star[start.map_or(1, |start| start + 2)..];
    let mut sealed = without_star.to_vec();
    sealed.extend(format!("{:04X}", crc16(body)).bytes());
    sealed
}

/// CRC-16/ARC, bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xA001 } else { 0 }
        })
    })
}
