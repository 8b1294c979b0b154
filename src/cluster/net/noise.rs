//! The encryption of links: Noise, pattern `NNpsk0`, with a key that follows from the secret.
//!
//! <https://noiseprotocol.org/noise.html>. Both ends prove that they know the secret, and every link
//! has keys of its own that nobody can compute later, not even with the secret. After the handshake
//! each direction counts its own messages, so reader and writer are tasks of their own. This file
//! must not know what is said.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::BytesMut;
use snow::{Builder, HandshakeState, StatelessTransportState};

/// Pattern and primitives; all of them come from ring but the key agreement.
pub(crate) const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";

/// Bytes of each of the two messages of the handshake.
pub(crate) const HANDSHAKE_BYTES: usize = 48;

/// Bytes of the longest message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 65_535;

/// Bytes of the tag that ends a message.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of the length before a message, big-endian.
pub(crate) const LENGTH_BYTES: usize = 2;

/// Messages of one direction after which its key changes.
const REKEY_MESSAGES: u64 = 1 << 20;

/// What came is not of whoever holds the keys, or not in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forged;

/// One end of a handshake.
#[derive(Debug)]
pub(crate) struct Handshake(HandshakeState);

/// The direction in which this end writes.
#[derive(Debug)]
pub(crate) struct Sealer {
    transport: Arc<RwLock<StatelessTransportState>>,
    n_messages: u64,
    rekey_messages: u64,
}

/// The direction in which this end reads.
#[derive(Debug)]
pub(crate) struct Opener {
    transport: Arc<RwLock<StatelessTransportState>>,
    n_messages: u64,
    rekey_messages: u64,
}

impl Handshake {
    /// The end that dialled.
    pub(crate) fn dialling(psk: &[u8; 32], prologue: &[u8]) -> Self {
        let state = builder(psk, prologue).build_initiator();
        Self(state.expect("the pattern needs nothing else"))
    }

    /// The end that was called.
    pub(crate) fn called(psk: &[u8; 32], prologue: &[u8]) -> Self {
        let state = builder(psk, prologue).build_responder();
        Self(state.expect("the pattern needs nothing else"))
    }

    /// The message that this end has to send now.
    pub(crate) fn write(&mut self) -> Result<[u8; HANDSHAKE_BYTES], Forged> {
        let mut message = [0; HANDSHAKE_BYTES];
        let written = self.0.write_message(&[], &mut message);
        let n_bytes = written.map_err(|_| Forged)?;
        assert_eq!(n_bytes, HANDSHAKE_BYTES, "both messages have one length");
        Ok(message)
    }

    /// Takes the other end's message.
    pub(crate) fn read(&mut self, message: &[u8; HANDSHAKE_BYTES]) -> Result<(), Forged> {
        let mut payload = [0; HANDSHAKE_BYTES];
        let n_bytes = self.0.read_message(message, &mut payload);
        (n_bytes == Ok(0)).then_some(()).ok_or(Forged)
    }

    /// The two directions, after both messages.
    pub(crate) fn split(self) -> Result<(Sealer, Opener), Forged> {
        let transport = self.0.into_stateless_transport_mode();
        let transport = Arc::new(RwLock::new(transport.map_err(|_| Forged)?));
        let sealer = Sealer {
            transport: Arc::clone(&transport),
            n_messages: 0,
            rekey_messages: REKEY_MESSAGES,
        };
        let opener = Opener {
            transport,
            n_messages: 0,
            rekey_messages: REKEY_MESSAGES,
        };
        Ok((sealer, opener))
    }
}

fn builder<'a>(psk: &'a [u8; 32], prologue: &'a [u8]) -> Builder<'a> {
    let pattern = PATTERN.parse().expect("the pattern is well formed");
    Builder::new(pattern)
        .psk(0, psk)
        .and_then(|builder| builder.prologue(prologue))
        .expect("key and prologue are set once")
}

impl Sealer {
    /// Writes `plain`, as messages with their lengths, behind what is in `out`.
    ///
    /// # Panics
    /// After 2^64 messages.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut BytesMut) {
        for piece in plain.chunks(MESSAGE_BYTES_MAX - TAG_BYTES) {
            let n_bytes = piece.len() + TAG_BYTES;
            let length = u16::try_from(n_bytes).expect("pieces are cut so that it fits");
            out.extend_from_slice(&length.to_be_bytes());
            let start = out.len();
            out.resize(start + n_bytes, 0);
            let message = out.get_mut(start..).unwrap_or_default();
            self.seal_one(piece, message);
        }
    }

    fn seal_one(&mut self, piece: &[u8], message: &mut [u8]) {
        if is_time(self.n_messages, self.rekey_messages) {
            let mut transport = self.transport.write();
            let transport = transport.as_deref_mut();
            transport
                .unwrap_or_else(|poisoned| poisoned.get_mut())
                .rekey_outgoing();
        }
        let transport = self
            .transport
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let written = transport.write_message(self.n_messages, piece, message);
        let n_bytes = written.expect("a message of that length can be written");
        assert_eq!(n_bytes, message.len(), "a message has one length");
        self.n_messages += 1;
    }
}

impl Opener {
    /// Writes what a message says behind what is in `plain`.
    pub(crate) fn open(&mut self, message: &[u8], plain: &mut BytesMut) -> Result<(), Forged> {
        if is_time(self.n_messages, self.rekey_messages) {
            let mut transport = self.transport.write();
            let transport = transport.as_deref_mut();
            transport
                .unwrap_or_else(|poisoned| poisoned.get_mut())
                .rekey_incoming();
        }
        let start = plain.len();
        // As long as the message, since it is decrypted in place there.
        plain.resize(start + message.len(), 0);
        let room = plain.get_mut(start..).unwrap_or_default();
        let transport = self
            .transport
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let opened = transport.read_message(self.n_messages, message, room);
        let n_bytes = opened.map_err(|_| Forged)?;
        plain.truncate(start + n_bytes);
        self.n_messages += 1;
        Ok(())
    }
}

/// Whether the key changes before the message with this number.
const fn is_time(n_messages: u64, rekey_messages: u64) -> bool {
    n_messages > 0 && n_messages.is_multiple_of(rekey_messages)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const PSK: [u8; 32] = [7; 32];

    impl Handshake {
        /// An end whose one-time key is given, for recordings.
        pub(crate) fn fixed(
            is_dialling: bool,
            prologue: &[u8],
            psk: &[u8; 32],
            key: &[u8],
        ) -> Self {
            let builder = builder(psk, prologue).fixed_ephemeral_key_for_testing_only(key);
            let state = if is_dialling {
                builder.build_initiator()
            } else {
                builder.build_responder()
            };
            Self(state.unwrap())
        }
    }

    fn ends(prologues: [&[u8]; 2], psks: [&[u8; 32]; 2]) -> (Handshake, Handshake) {
        (
            Handshake::dialling(psks[0], prologues[0]),
            Handshake::called(psks[1], prologues[1]),
        )
    }

    pub(crate) fn linked() -> ((Sealer, Opener), (Sealer, Opener)) {
        let (mut one, mut other) = ends([b"p", b"p"], [&PSK, &PSK]);
        other.read(&one.write().unwrap()).unwrap();
        one.read(&other.write().unwrap()).unwrap();
        (one.split().unwrap(), other.split().unwrap())
    }

    /// The plain texts of a stream of messages.
    fn opened(opener: &mut Opener, mut stream: &[u8]) -> Result<Vec<u8>, Forged> {
        let mut plain = BytesMut::new();
        while let Some((length, rest)) = stream.split_first_chunk() {
            let (message, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
            opener.open(message, &mut plain)?;
            stream = rest;
        }
        Ok(plain.to_vec())
    }

    #[test]
    fn both_directions_carry_what_they_are_given() {
        let ((mut sealer, mut opener), (mut back, mut ahead)) = linked();
        for n_bytes in [0, 1, 65_519, 65_520, 200_000] {
            let plain = vec![n_bytes as u8; n_bytes];
            for (sealer, opener) in [(&mut sealer, &mut ahead), (&mut back, &mut opener)] {
                let mut stream = BytesMut::new();
                sealer.seal(&plain, &mut stream);
                assert_eq!(stream.len(), n_bytes + n_bytes.div_ceil(65_519) * 18);
                assert_eq!(opened(opener, &stream).unwrap(), plain);
            }
        }
    }

    #[test]
    fn another_secret_or_another_prologue_is_refused_at_the_first_message() {
        for (prologues, psks) in [
            ([b"p".as_slice(), b"q"], [&PSK, &PSK]),
            ([b"p", b"p"], [&PSK, &[8; 32]]),
        ] {
            let (mut one, mut other) = ends(prologues, psks);
            assert_eq!(other.read(&one.write().unwrap()), Err(Forged));
        }
    }

    #[test]
    fn a_recorded_first_message_gives_no_key() {
        let (mut one, mut other) = ends([b"p", b"p"], [&PSK, &PSK]);
        let recorded = one.write().unwrap();
        other.read(&recorded).unwrap();
        let answer = other.write().unwrap();
        // Who plays it back cannot have the one-time key behind it; with one of his own it is of no use.
        let mut thief = Handshake::dialling(&PSK, b"p");
        thief.write().unwrap();
        assert_eq!(thief.read(&answer), Err(Forged));
    }

    #[test]
    fn altered_repeated_and_displaced_messages_are_refused() {
        let ((mut sealer, _), (_, mut opener)) = linked();
        let mut stream = BytesMut::new();
        sealer.seal(b"one", &mut stream);
        let first = stream.split();
        sealer.seal(b"two", &mut stream);
        let mut plain = BytesMut::new();
        assert_eq!(opener.open(&stream[2..], &mut plain), Err(Forged));
        let mut altered = first[2..].to_vec();
        altered[0] ^= 1;
        plain.clear();
        assert_eq!(opener.open(&altered, &mut plain), Err(Forged));
        plain.clear();
        assert_eq!(opener.open(&first[2..], &mut plain), Ok(()));
        assert_eq!(opener.open(&first[2..], &mut plain), Err(Forged));
        assert_eq!(opener.open(b"short", &mut plain), Err(Forged));
    }

    #[test]
    fn keys_change_on_both_ends_at_the_same_message() {
        let ((mut sealer, mut other_opener), (mut other_sealer, mut opener)) = linked();
        (sealer.rekey_messages, opener.rekey_messages) = (3, 3);
        other_sealer.rekey_messages = 4;
        other_opener.rekey_messages = 5;
        for number in 0..10_u8 {
            let mut stream = BytesMut::new();
            sealer.seal(&[number], &mut stream);
            assert_eq!(opened(&mut opener, &stream).unwrap(), [number]);
        }
        // Where they do not, nothing can be read.
        let read = (0..10_u8).map(|number| {
            let mut stream = BytesMut::new();
            other_sealer.seal(&[number], &mut stream);
            opened(&mut other_opener, &stream)
        });
        let n_read = read.take_while(Result::is_ok).count();
        assert_eq!(n_read, 4);
    }
}
