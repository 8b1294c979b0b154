//! A text protocol of the user's own, described in the configuration.
//!
//! ```text
//! OwnSpec ──compile──▶ OwnProtocol ──decoder──▶ line ──first expression that fits──▶ groups
//!    (texts)     │                                                                    │
//!             faults, each with its place                     vehicle, record, reply ◀┘
//! ```
//!
//! A line is held against the expressions in their order; the first that matches all of it says
//! what it is, and the names of the groups say what stands where ([`group_names`]). What the line
//! means then follows from the groups that are not empty:
//!
//! - `vehicle` says who speaks, in this line and the next ones. A line that holds a vehicle and has
//!   no groups of a place is a login: if it is refused, the connection ends. Any other line of a
//!   vehicle that is refused is rejected alone, since many may speak over one gateway.
//! - `lat` and `lon` make it a position.
//! - Without a place an `event`, an attribute or a reading makes it an event.
//! - Everything else is right and gives nothing: it is merely answered.
//!
//! Values are checked as those of the other protocols ([`super::fix`]). An expression takes time in
//! proportion to the line, whatever stands in it, and its compiled size is limited.
//!
//! This room must not know a file or how a configuration is written; it says which part of a spec
//! is wrong, and whoever read that part knows where it stands.

mod compile;
mod decoder;
mod expression;
mod fault;
mod group;
mod line;
mod shape;
mod template;
mod time;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

pub use fault::{Part, Problem, SpecFault};
pub use group::group_names;

use super::{Decoder, DecoderOptions, Protocol, Recognition, attributes::ValueType};
use crate::{protocol::framing::Framing, types::record::ProtocolName};
use compile::Compiled;
use decoder::OwnDecoder;

/// Most protocols of one configuration.
pub const PROTOCOLS_MAX: usize = 32;
/// Most expressions of one protocol.
pub const LINES_MAX: usize = 32;
/// Longest expression in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
/// Longest line in bytes that an expression is tried on; a longer one is malformed.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// Texts of the group `valid` that mean a fix which can be believed, where the spec names none.
pub const VALID: [&str; 2] = ["A", "1"];

/// A protocol as its user describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSpec {
    /// Its name in configuration, records and answers.
    pub name: String,
    /// What its lines look like, in the order in which they are tried.
    pub lines: Vec<LineSpec>,
    /// The byte that ends a line.
    pub terminator: u8,
    /// How the group `time` is written: `unix`, `unix_ms`, `rfc3339`, or in the signs of
    /// `strptime`.
    pub time_format: Option<String>,
    /// Texts of the group `valid` that mean a fix which can be believed; absent: [`VALID`].
    pub valid: Option<Vec<String>>,
    /// What is answered to a line that was taken; empty for nothing.
    pub reply: String,
    /// What is answered to a line that was rejected; empty for nothing.
    pub refusal: String,
    /// Groups that become attributes of their own name, besides those of the table.
    pub attributes: BTreeMap<String, ValueType>,
}

/// One kind of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineSpec {
    /// The regular expression, which must match the line from its first byte to its last.
    pub expression: String,
    /// What is answered to it; absent: what the spec says for all.
    pub reply: Option<String>,
}

/// A protocol of the configuration, ready to decode. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OwnProtocol(Arc<Compiled>);

impl PartialEq for OwnProtocol {
    /// Equal descriptions are equal protocols.
    fn eq(&self, other: &Self) -> bool {
        self.spec() == other.spec()
    }
}

impl Eq for OwnProtocol {}

impl OwnProtocol {
    /// Makes a protocol of its description.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(spec: OwnSpec) -> Result<Self, Vec<SpecFault>> {
        Compiled::new(spec).map(|compiled| Self(Arc::new(compiled)))
    }

    /// The description.
    pub fn spec(&self) -> &OwnSpec {
        &self.0.spec
    }

    /// For each kind of line that names its vehicle: its position in the spec and some line of it,
    /// with its end. A kind for which none could be made up is left out.
    pub fn first_lines(&self) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let shapes = self.0.shapes.iter().enumerate();
        shapes.filter_map(|(idx, shape)| {
            let mut line = shape.has_vehicle().then(|| shape.expression.sample())??;
            line.push(self.0.spec.terminator);
            Some((idx, line))
        })
    }
}

impl Protocol for OwnProtocol {
    fn name(&self) -> ProtocolName {
        Cow::Owned(self.spec().name.clone())
    }

    fn framing(&self) -> Framing {
        Framing::Terminated(self.0.terminators())
    }

    /// By a first line that an expression matches, and by nothing else.
    fn recognise(&self, head: &[u8]) -> Recognition {
        let ends = self.0.terminators();
        let is_break = |byte: &&u8| matches!(byte, b'\r' | b'\n') || ends.contains(byte);
        let n_breaks = head.iter().take_while(is_break).count();
        let rest = head.get(n_breaks..).unwrap_or_default();
        let n_content = rest.iter().position(|byte| ends.contains(byte));
        let Some(n_content) = n_content else {
            return match self.0.may_begin(rest) {
                true => Recognition::More,
                false => Recognition::No,
            };
        };
        let first = rest.get(..n_content).unwrap_or_default();
        match self.0.fitting(without_returns(first)) {
            Some(_) => Recognition::Line {
                end: n_breaks + n_content + 1,
            },
            None => Recognition::No,
        }
    }

    fn decoder(&self, options: DecoderOptions) -> Box<dyn Decoder> {
        Box::new(OwnDecoder::new(Arc::clone(&self.0), options))
    }
}

/// The bytes before the carriage returns at their end, as framing gives a line.
fn without_returns(bytes: &[u8]) -> &[u8] {
    let is_content = |byte: &u8| *byte != b'\r';
    let n_bytes = bytes.iter().rposition(is_content).map_or(0, |idx| idx + 1);
    bytes.get(..n_bytes).unwrap_or_default()
}
