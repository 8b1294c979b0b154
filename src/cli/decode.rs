//! `waymesh decode`: device lines in, one JSON object for each out.
//!
//! Works alone, without a node. The lines of one input are one connection: a login counts for those
//! after it, and an empty line begins a new connection. A text line holds one frame or, for
//! protocols that do not end their frames with a line break, several; it always ends the last one,
//! so that frames may be given with or without their end. What is printed depends on the input
//! and the options alone: the clock is a count of lines, and a deadline never passes.

use std::{
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use serde::Serialize;

use super::out::{EXIT_FAILURE, EXIT_USAGE, fail};
use crate::{
    base::time::{Instant, wall_millis},
    config::{Environment, Faults, Paint, Sources, load},
    protocol::{
        AdmitAll, Context, Decoded, Decoder, DecoderOptions, FlushReason, Outcome, Protocol,
        Registry, RejectReason,
        framing::{Framed, FramerState, Framing},
    },
    types::{
        json::RecordJson,
        record::{Kind, Record},
        time::UnixMillis,
    },
};

/// Longest line in bytes, as a node's default has it.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What `decode` is told besides the lines.
#[derive(Debug, Clone, Copy)]
pub struct DecodeOptions<'a> {
    /// Name of the protocol of all lines; recognised for each connection where it is absent.
    pub protocol: Option<&'a str>,
    /// Takes lines whose checksum is wrong.
    pub is_lenient: bool,
    /// When the lines count as received.
    pub received: UnixMillis,
}

/// Options of the command.
#[derive(Debug, Clone, Args)]
pub struct DecodeArgs {
    /// Protocol of all lines [default: recognised from the first line of each connection]
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    /// Take lines whose checksum is wrong
    #[arg(long)]
    lenient: bool,
    /// Configuration file with protocols of one's own [default: none; those built in alone]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command on standard input and output; gives its exit code.
pub fn run(args: &DecodeArgs) -> ExitCode {
    let options = DecodeOptions {
        protocol: args.protocol.as_deref(),
        is_lenient: args.lenient,
        received: UnixMillis(wall_millis()),
    };
    let registry = match registry(args.config.as_deref()) {
        Ok(registry) => registry,
        Err(faults) => return fail(&faults.render(Paint::Plain), EXIT_USAGE),
    };
    let (input, output) = (io::stdin().lock(), io::BufWriter::new(io::stdout().lock()));
    match decode(input, output, &registry, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ DecodeError::UnknownProtocol { .. }) => fail(&error, EXIT_USAGE),
        Err(DecodeError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, EXIT_FAILURE),
    }
}

/// The protocols that are built in, and those of a configuration as a node would take it.
///
/// # Errors
/// All that is wrong with the configuration.
pub fn registry(config: Option<&Path>) -> Result<Registry, Faults> {
    let registry = Registry::built_in();
    let Some(file) = config else {
        return Ok(registry);
    };
    let names: Vec<_> = registry.iter().map(|protocol| protocol.name()).collect();
    let loaded = load(&Sources {
        file: Some(file),
        environment: Environment::of_process(),
        protocols: &names.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        ..Sources::default()
    })?;
    Ok(registry.with_own(&loaded.config.protocols))
}

/// Why `decode` ended before its input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No protocol is called so; nothing was read or written.
    #[error("unknown protocol `{name}`; known are {}", known.join(", "))]
    UnknownProtocol {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The input could not be read; what came before it was written.
    #[error("cannot read the lines: {0}")]
    Read(#[source] io::Error),
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

/// Decodes the lines of `input` and writes one JSON object a line to `output`.
///
/// # Errors
/// [`DecodeError::UnknownProtocol`] before anything is read; otherwise only what the streams say.
/// A line that cannot be decoded is no error: its object says why.
pub fn decode(
    mut input: impl BufRead,
    output: impl Write,
    registry: &Registry,
    options: &DecodeOptions<'_>,
) -> Result<(), DecodeError> {
    let mut session = Session {
        output,
        registry,
        pinned: pinned(registry, options.protocol)?,
        options: *options,
        n_lines: 0,
        connection: None,
    };
    let mut text = Vec::new();
    loop {
        text.clear();
        let n_bytes = input
            .read_until(b'\n', &mut text)
            .map_err(DecodeError::Read)?;
        let is_end = n_bytes == 0;
        if is_end || text.trim_ascii().is_empty() {
            session.end_connection().map_err(DecodeError::Write)?;
        } else {
            session.text_line(&text).map_err(DecodeError::Write)?;
        }
        if is_end {
            return session.output.flush().map_err(DecodeError::Write);
        }
    }
}

/// What one line of the output says; absent fields are left out. A line with an error says no more,
/// unless it was answered or completed a record of lines before it.
#[derive(Debug, Serialize)]
struct LineJson<'a> {
    line: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    positions: Option<Vec<RecordJson<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<RecordJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replies: Option<Vec<String>>,
}

/// The state between two lines of the input.
struct Session<'a, W> {
    output: W,
    registry: &'a Registry,
    /// The protocol that was named.
    pinned: Option<&'a dyn Protocol>,
    options: DecodeOptions<'a>,
    n_lines: u64,
    connection: Option<Connection<'a>>,
}

/// Lines that belong together.
struct Connection<'a> {
    protocol: &'a dyn Protocol,
    decoder: Box<dyn Decoder>,
}

fn pinned<'a>(
    registry: &'a Registry,
    name: Option<&str>,
) -> Result<Option<&'a dyn Protocol>, DecodeError> {
    let Some(name) = name else {
        return Ok(None);
    };
    let unknown = || DecodeError::UnknownProtocol {
        name: name.to_owned(),
        known: registry
            .iter()
            .map(|protocol| protocol.name().into_owned())
            .collect(),
    };
    let protocol = registry.by_name(name).ok_or_else(unknown)?;
    Ok(Some(&**protocol))
}

impl<'a, W: Write> Session<'a, W> {
    /// One line of the input, not empty.
    fn text_line(&mut self, text: &[u8]) -> io::Result<()> {
        // Frames that count their bytes count this end too, which editors are fond of changing.
        let bytes = [without_line_end(text), b"\r\n"].concat();
        let mut rest = bytes.as_slice();
        let protocol = loop {
            if let Some(protocol) = self.protocol(rest) {
                break protocol;
            }
            // As a node does, which asks anew behind every end that there is.
            let is_end = |byte: &u8| self.registry.line_ends().contains(byte);
            let is_content = |byte: &u8| *byte != b'\r' && !is_end(byte);
            let Some(begin) = rest.iter().position(is_content) else {
                return Ok(());
            };
            let n_line_bytes = rest.iter().skip(begin).position(is_end);
            let end = n_line_bytes.map_or(rest.len(), |n_bytes| begin + n_bytes + 1);
            let (line, after) = rest.split_at(end);
            self.print_error(line.trim_ascii_end(), RejectReason::UnknownProtocol)?;
            rest = after;
        };
        for frame in frames(protocol.framing(), rest) {
            match frame.line {
                Some(line) => self.frame(protocol, frame.shown, line)?,
                None => self.print_error(frame.shown, RejectReason::TooLong)?,
            }
        }
        Ok(())
    }

    /// The protocol of the connection, recognised by its first line, which may have come without the
    /// end that it has there.
    fn protocol(&self, head: &[u8]) -> Option<&'a dyn Protocol> {
        let known = self.connection.as_ref().map(|known| known.protocol);
        known.or(self.pinned).or_else(|| {
            let recognised = self.registry.recognise(head).ok();
            let recognised = recognised.or_else(|| {
                let mut ends = self.registry.line_ends().iter();
                ends.find_map(|end| self.recognise_ended(head, *end))
            });
            recognised.map(|protocol| &**protocol)
        })
    }

    /// The protocol whose lines end with `end`, if `head` is such a line but for that.
    fn recognise_ended(&self, head: &[u8], end: u8) -> Option<&'a Arc<dyn Protocol>> {
        if head.contains(&end) {
            return None;
        }
        let line = [without_line_end(head), &[end]].concat();
        let recognised = self.registry.recognise(&line).ok()?;
        let ends_so = |ends: &[u8]| ends.contains(&end);
        matches!(recognised.framing(), Framing::Terminated(ends) if ends_so(ends))
            .then_some(recognised)
    }

    fn frame(&mut self, protocol: &'a dyn Protocol, shown: &[u8], line: &[u8]) -> io::Result<()> {
        let options = DecoderOptions {
            is_lenient: self.options.is_lenient,
            ..DecoderOptions::default()
        };
        self.n_lines += 1;
        let context = context(&self.options, self.n_lines);
        let connection = self.connection.get_or_insert_with(|| Connection {
            protocol,
            decoder: protocol.decoder(options),
        });
        let mut out = Decoded::default();
        let outcome = connection.decoder.line(&context, line, &mut out);
        self.print_released(protocol, &out.released)?;
        self.print(protocol, shown, outcome, &out)
    }

    fn end_connection(&mut self) -> io::Result<()> {
        let Some(mut connection) = self.connection.take() else {
            return Ok(());
        };
        let context = context(&self.options, self.n_lines);
        let mut out = Decoded::default();
        connection
            .decoder
            .flush(&context, FlushReason::End, &mut out);
        self.print_released(connection.protocol, &out.released)?;
        if out.records.is_empty() && out.replies.is_empty() {
            return Ok(());
        }
        self.print(connection.protocol, b"", Outcome::NoPosition, &out)
    }

    fn print(
        &mut self,
        protocol: &dyn Protocol,
        line: &[u8],
        outcome: Outcome,
        out: &Decoded,
    ) -> io::Result<()> {
        let error = match outcome {
            Outcome::Rejected(reason) => Some(reason.as_str()),
            _ => None,
        };
        let of_kind = |kind| {
            let records = out
                .records
                .iter()
                .filter(move |record| record.kind() == kind);
            records.map(as_json).collect::<Vec<_>>()
        };
        let positions = of_kind(Kind::Position);
        let replies: Vec<_> = out
            .replies
            .split_inclusive(|byte| *byte == b'\n')
            .map(|reply| String::from_utf8_lossy(reply).into_owned())
            .collect();
        self.write(&LineJson {
            line: &String::from_utf8_lossy(line),
            protocol: error.is_none().then_some(&protocol.name()),
            error,
            positions: (error.is_none() || !positions.is_empty()).then_some(positions),
            events: of_kind(Kind::Event),
            replies: (error.is_none() || !replies.is_empty()).then_some(replies),
        })
    }

    /// Says of each line that was held before, and is rejected now, why.
    fn print_released(&mut self, protocol: &dyn Protocol, released: &[Outcome]) -> io::Result<()> {
        for outcome in released {
            if matches!(outcome, Outcome::Rejected(_)) {
                self.print(protocol, b"", *outcome, &Decoded::default())?;
            }
        }
        Ok(())
    }

    /// Says why a line never came to a decoder.
    fn print_error(&mut self, line: &[u8], reason: RejectReason) -> io::Result<()> {
        self.write(&LineJson {
            line: &String::from_utf8_lossy(line),
            protocol: None,
            error: Some(reason.as_str()),
            positions: None,
            events: Vec::new(),
            replies: None,
        })
    }

    fn write(&mut self, object: &LineJson<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, object)?;
        self.output.write_all(b"\n")
    }
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn as_json(record: &Record) -> RecordJson<'_> {
    RecordJson::new(record)
}

/// The present of the `n_lines`th line: they come a millisecond apart.
const fn context(options: &DecodeOptions<'_>, n_lines: u64) -> Context<'static> {
    Context {
        now: Instant::from_millis(n_lines),
        received: options.received,
        admission: &AdmitAll,
    }
}

/// One frame of a text line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame<'a> {
    /// The frame with its end, as it stands in the text.
    shown: &'a [u8],
    /// What the decoder gets; absent for a frame that is too long.
    line: Option<&'a [u8]>,
}

/// The frames of one text line in order; what its end leaves incomplete is one too.
fn frames(framing: Framing, bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    loop {
        let mut state = FramerState::default();
        let (line, consumed) = match framing.next(&mut state, rest, LINE_BYTES_MAX) {
            Framed::Line { line, consumed } => (rest.get(line), consumed),
            Framed::TooLong { consumed, .. } => (None, consumed),
            Framed::Incomplete { .. } => break,
        };
        let Some((shown, after)) = rest.split_at_checked(consumed).filter(|_| consumed > 0) else {
            break;
        };
        let shown = shown.trim_ascii();
        frames.push(Frame { shown, line });
        rest = after;
    }
    let tail = rest.trim_ascii();
    if !tail.is_empty() {
        frames.push(Frame {
            shown: tail,
            line: Some(tail).filter(|tail| tail.len() <= LINE_BYTES_MAX),
        });
    }
    frames
}

#[cfg(test)]
mod tests;
