//! How two ends of a connection become a link: call, answer, Noise, a hello each.
//!
//! Every length is fixed or capped before it is read, and nothing is made for who has not shown the
//! secret but one handshake. Deadlines are the caller's. Who is welcome is said elsewhere.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::noise::{Forged, HANDSHAKE_BYTES, Handshake, LENGTH_BYTES, Opener, Sealer, TAG_BYTES};
use crate::cluster::proto::link::{
    frame::{FrameKind, FrameReader, Item, write_frame},
    hello::Hello,
    keys::LinkKeys,
    outcome::CloseReason,
    preamble::{ANSWER_BYTES, Answer, CALL_BYTES, Call, MAGIC, Rubbish, Verdict, WireVersions},
};

/// Bytes of the longest message with a hello or a refusal in it.
const FIRST_BYTES_MAX: usize = 2_048;

/// Bytes of a handshake message with its length before it.
const FRAMED_BYTES: usize = LENGTH_BYTES + HANDSHAKE_BYTES;

/// Who this end is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// What it says about itself.
    pub(crate) hello: Hello,
    /// The first dials, all are accepted; at least one.
    pub(crate) keys: Vec<LinkKeys>,
}

/// What kept a connection from becoming a link.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It ended or was torn.
    Broken,
    /// The other end is no node.
    Rubbish,
    /// No version is spoken by both.
    OtherVersion,
    /// The secret is the same, the cluster's name is not.
    OtherCluster,
    /// The secret is another one.
    WrongSecret,
    /// What came behind the handshake is not of who began it: played back, or altered.
    Forged,
    /// It broke the rules; which one.
    Protocol(&'static str),
}

/// Both directions of a connection that is encrypted.
#[derive(Debug)]
pub(crate) struct Session<S> {
    /// The connection.
    pub(crate) stream: S,
    /// Writes.
    pub(crate) sealer: Sealer,
    /// Reads.
    pub(crate) opener: Opener,
    /// What the other end said that it speaks.
    versions: WireVersions,
}

/// What the other end says first.
#[derive(Debug)]
pub(crate) enum First {
    /// Who it is.
    Hello(Box<Hello>),
    /// Why there will be no link.
    Refusal(CloseReason),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl From<Rubbish> for Fault {
    fn from(_: Rubbish) -> Self {
        Self::Rubbish
    }
}

/// The end that dialled. Not cancel safe: a connection on which it was broken off is of no use.
///
/// # Errors
/// What the other end answered, or failed to.
pub(crate) async fn dial<S>(mut stream: S, ours: &Identity) -> Result<Session<S>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let keys = ours.keys.first().ok_or(Fault::WrongSecret)?;
    let call = Call {
        versions: ours.hello.versions,
        tag: keys.tag(),
    };
    let prologue = call.encode();
    let mut handshake = Handshake::dialling(keys.psk(), &prologue);
    let message = handshake.write().map_err(|_| Fault::WrongSecret)?;
    let mut bytes = prologue.to_vec();
    bytes.extend(framed(&message));
    stream.write_all(&bytes).await?;

    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).await?;
    let answer = Answer::decode(&answer)?;
    match answer.verdict {
        Verdict::GoOn => {}
        Verdict::OtherVersion => return Err(Fault::OtherVersion),
        Verdict::OtherCluster => return Err(Fault::OtherCluster),
        Verdict::WrongSecret => return Err(Fault::WrongSecret),
    }
    if answer.versions.common(ours.hello.versions).is_none() {
        return Err(Fault::OtherVersion);
    }
    let message = read_handshake(&mut stream).await?;
    // It has not shown the secret.
    handshake.read(&message).map_err(|_| Fault::WrongSecret)?;
    let (sealer, opener) = handshake.split().map_err(|_| Fault::Forged)?;
    Ok(Session {
        stream,
        sealer,
        opener,
        versions: answer.versions,
    })
}

/// The end that was called. Not cancel safe, as [`dial`].
///
/// Whoever called has not shown who he is when this returns: what he said may have been played back.
/// Only his first message, read by [`Session::receive_first`], shows it.
///
/// # Errors
/// Why he was refused, as he was told.
pub(crate) async fn answer<S>(mut stream: S, ours: &Identity) -> Result<Session<S>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = [0; CALL_BYTES];
    // What speaks another protocol is known by its first bytes.
    let (magic, rest) = bytes.split_at_mut(MAGIC.len());
    stream.read_exact(magic).await?;
    if *magic != MAGIC {
        return Err(Fault::Rubbish);
    }
    stream.read_exact(rest).await?;
    let call = Call::decode(&bytes)?;
    let message = read_handshake(&mut stream).await?;
    let versions = ours.hello.versions;
    let outcome = match versions.common(call.versions) {
        Some(_) => admit(&call, &message, ours),
        None => Err(Fault::OtherVersion),
    };
    let verdict = match &outcome {
        Ok(_) => Verdict::GoOn,
        Err(Fault::OtherVersion) => Verdict::OtherVersion,
        Err(Fault::OtherCluster) => Verdict::OtherCluster,
        Err(_) => Verdict::WrongSecret,
    };
    let mut reply = Answer { versions, verdict }.encode().to_vec();
    let mut handshake = match outcome {
        Ok(handshake) => handshake,
        Err(fault) => {
            stream.write_all(&reply).await?;
            stream.shutdown().await?;
            return Err(fault);
        }
    };
    // Fails for a one-time key that no node makes.
    let message = handshake.write().map_err(|_| Fault::Rubbish)?;
    reply.extend(framed(&message));
    stream.write_all(&reply).await?;
    let (sealer, opener) = handshake.split().map_err(|_| Fault::Forged)?;
    Ok(Session {
        stream,
        sealer,
        opener,
        versions: call.versions,
    })
}

/// The handshake with the secret that the caller has, if it is one of ours and for our cluster.
fn admit(
    call: &Call,
    message: &[u8; HANDSHAKE_BYTES],
    ours: &Identity,
) -> Result<Handshake, Fault> {
    let prologue = call.encode();
    let read = |keys: &LinkKeys| {
        let mut handshake = Handshake::called(keys.psk(), &prologue);
        handshake.read(message).map(|()| handshake)
    };
    if let Some(keys) = ours.keys.iter().find(|keys| keys.tag() == call.tag) {
        return read(keys).map_err(|_| Fault::WrongSecret);
    }
    if ours.keys.iter().any(|keys| read(keys).is_ok()) {
        return Err(Fault::OtherCluster);
    }
    Err(Fault::WrongSecret)
}

fn framed(message: &[u8; HANDSHAKE_BYTES]) -> [u8; FRAMED_BYTES] {
    let [high, low] = (HANDSHAKE_BYTES as u16).to_be_bytes();
    let all = [high, low].into_iter().chain(*message);
    let mut bytes = [0; FRAMED_BYTES];
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    bytes
}

async fn read_handshake<S>(stream: &mut S) -> Result<[u8; HANDSHAKE_BYTES], Fault>
where
    S: AsyncRead + Unpin,
{
    if usize::from(stream.read_u16().await?) != HANDSHAKE_BYTES {
        return Err(Fault::Rubbish);
    }
    let mut message = [0; HANDSHAKE_BYTES];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

impl<S> Session<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Says who this end is, as the first message of its direction.
    ///
    /// # Errors
    /// [`Fault::Broken`].
    pub(crate) async fn send_hello(&mut self, hello: &Hello) -> Result<(), Fault> {
        self.send(FrameKind::HELLO, &hello.encode()).await
    }

    /// Says why there will be no link, and that nothing follows.
    ///
    /// # Errors
    /// [`Fault::Broken`].
    pub(crate) async fn refuse(&mut self, reason: &CloseReason) -> Result<(), Fault> {
        self.send(FrameKind::CLOSE, &reason.encode()).await?;
        Ok(self.stream.shutdown().await?)
    }

    /// Reads the first message of the other end: a hello, or why there is none.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::Forged`] if it is not of who began the handshake.
    pub(crate) async fn receive_first(&mut self) -> Result<First, Fault> {
        let n_bytes = usize::from(self.stream.read_u16().await?);
        if !(TAG_BYTES..=FIRST_BYTES_MAX).contains(&n_bytes) {
            return Err(Fault::Forged);
        }
        let mut message = vec![0; n_bytes];
        self.stream.read_exact(&mut message).await?;
        let mut plain = BytesMut::new();
        let opened = self.opener.open(&message, &mut plain);
        opened.map_err(|Forged| Fault::Forged)?;
        let item = FrameReader::default().next(&mut plain);
        let item = item.map_err(|fault| Fault::Protocol(fault.0))?;
        let Some(Item::Frame(frame)) = item else {
            return Err(Fault::Protocol("the first message holds no hello"));
        };
        match frame.kind {
            FrameKind::CLOSE => Ok(First::Refusal(CloseReason::decode(&frame.payload))),
            FrameKind::HELLO if plain.is_empty() => {
                let hello = Hello::decode(&frame.payload);
                let hello = hello.map_err(|error| Fault::Protocol(error.0))?;
                if hello.versions != self.versions {
                    return Err(Fault::Protocol("the versions were altered on their way"));
                }
                Ok(First::Hello(Box::new(hello)))
            }
            FrameKind::HELLO => Err(Fault::Protocol("the hello is not alone in its message")),
            _ => Err(Fault::Protocol("the first frame is no hello")),
        }
    }

    async fn send(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), Fault> {
        let (mut plain, mut message) = (BytesMut::new(), BytesMut::new());
        write_frame(kind, payload, &mut plain);
        self.sealer.seal(&plain, &mut message);
        Ok(self.stream.write_all(&message).await?)
    }
}
