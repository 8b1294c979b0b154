//! Lines as receivers and trackers write them, one a second, and a decoder that knows its vehicle.

use std::fmt::Write as _;

use waymesh::{
    base::time::Instant,
    protocol::{AdmitAll, Context, Decoded, Decoder, DecoderOptions, Registry},
    types::time::UnixMillis,
};

/// Lines before they repeat: an hour's worth, so that each differs from those around it.
const N_LINES: usize = 3_600;

/// `make` for each second of an hour, given as minute and second.
pub(crate) fn hour(make: impl Fn(usize, usize) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..N_LINES)
        .map(|second| make(second / 60, second % 60))
        .collect()
}

/// A sentence with its checksum, without the end of the line.
fn sentence(content: &str) -> Vec<u8> {
    let sum = content.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${content}*{sum:02X}").into_bytes()
}

/// The line that says who speaks.
pub(crate) fn identity() -> Vec<u8> {
    sentence("PGID,353976013445485")
}

/// An RMC of a moment.
pub(crate) fn rmc(minute: usize, second: usize) -> Vec<u8> {
    sentence(&format!(
        "GPRMC,09{minute:02}{second:02}.000,A,59{second:02}.2320,N,024{minute:02}.2100,E,22.40,181.00,201126,,,A"
    ))
}

/// The GGA of the same moment.
pub(crate) fn gga(minute: usize, second: usize) -> Vec<u8> {
    sentence(&format!(
        "GPGGA,09{minute:02}{second:02}.000,59{second:02}.2320,N,024{minute:02}.2100,E,1,09,0.9,34.0,M,17.4,M,,"
    ))
}

/// The ten fields of a Wialon report.
pub(crate) fn short_fields(minute: usize, second: usize) -> String {
    format!(
        "201126;09{minute:02}{second:02};59{second:02}.2320;N;024{minute:02}.2100;E;42;181;34;9"
    )
}

/// A line `SD`, `D` or `B` of version 1.1, or of 2.0 with its checksum.
pub(crate) fn wialon(kind: &str, body: &str, has_checksum: bool) -> Vec<u8> {
    let mut line = format!("#{kind}#{body}");
    if has_checksum {
        let covered = if kind == "B" {
            format!("{body}|")
        } else {
            format!("{body};")
        };
        let _ignored = write!(
            line,
            "{}{:04X}",
            &covered[body.len()..],
            crc16(covered.as_bytes())
        );
    }
    line.into_bytes()
}

/// CRC-16/ARC, bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xA001 } else { 0 }
        })
    })
}

/// A decoder of `protocol` to which `login` was said, and the lines that it is fed in turn.
pub(crate) struct Conversation {
    decoder: Box<dyn Decoder>,
    decoded: Decoded,
    lines: Vec<Vec<u8>>,
    next: usize,
    /// Records that came of all lines so far.
    pub(crate) n_records: usize,
}

impl Conversation {
    /// A conversation that is open.
    ///
    /// # Panics
    /// If a line or the login is rejected.
    pub(crate) fn new(protocol: &str, login: &[u8], lines: Vec<Vec<u8>>) -> Self {
        let registry = Registry::built_in();
        let protocol = registry
            .by_name(protocol)
            .expect("a protocol that is built in");
        let mut conversation = Self {
            decoder: protocol.decoder(DecoderOptions::default()),
            decoded: Decoded::default(),
            lines: vec![login.to_vec()],
            next: 0,
            n_records: 0,
        };
        conversation.say_next();
        assert!(
            conversation.decoder.vehicle().is_some(),
            "the login is taken"
        );
        conversation.lines = lines;
        conversation.next = 0;
        // Once through: all is warm, and all is right.
        for _ in 0..conversation.lines.len() {
            conversation.say_next();
        }
        assert!(conversation.n_records > 0, "the lines give records");
        conversation
    }

    /// Decodes the next line, and drops what came of it.
    pub(crate) fn say_next(&mut self) {
        let context = Context {
            now: Instant::from_millis(0),
            received: UnixMillis(1_795_170_000_000),
            admission: &AdmitAll,
        };
        let line = divan::black_box(&self.lines[self.next]);
        let outcome = self.decoder.line(&context, line, &mut self.decoded);
        assert!(
            !matches!(outcome, waymesh::protocol::Outcome::Rejected(_)),
            "{outcome:?}: {}",
            String::from_utf8_lossy(line)
        );
        self.next += 1;
        if self.next == self.lines.len() {
            self.next = 0;
        }
        self.n_records += self.decoded.records.len();
        self.decoded.records.clear();
        self.decoded.replies.clear();
        self.decoded.released.clear();
    }
}
