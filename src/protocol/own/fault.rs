//! What can be wrong with the description of a protocol, and in which part of it.

use std::ops::Range;

use super::{EXPRESSION_BYTES_MAX, LINES_MAX};
use crate::protocol::attributes::ValueType;

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFault {
    /// Where.
    pub part: Part,
    /// Bytes of the part's text; absent: all of it.
    pub span: Option<Range<usize>>,
    /// What.
    pub problem: Problem,
}

/// A part of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The lines as a whole.
    Lines,
    /// The expression of a line, counted from 0.
    Line(usize),
    /// The answer of a line, counted from 0.
    LineReply(usize),
    /// The answer to all lines.
    Reply,
    /// The answer to rejected lines.
    Refusal,
    /// How times are written.
    TimeFormat,
    /// Which texts mean a fix that can be believed.
    Valid,
    /// The attribute of this name.
    Attribute(String),
}

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no line, or there are too many.
    #[error("{0} expressions; it takes 1 to {LINES_MAX}")]
    NumberOfLines(usize),
    /// No expression can be made of the text.
    #[error("no regular expression: {0}")]
    Syntax(String),
    /// The expression is too long, or what it compiles to is too large.
    #[error("the expression is too large: {0}")]
    TooLarge(TooLarge),
    /// The expression asks for the byte that ends a line, or for what cannot be.
    #[error("no line can match, since it comes without its end")]
    MatchesNothing,
    /// A group has a name without a meaning.
    #[error("`{0}` is no group that has a meaning")]
    UnknownGroup(String),
    /// Two groups of an expression say the same thing.
    #[error("the groups `{0}` and `{1}` say the same")]
    TwiceTheSame(String, String),
    /// A group means nothing without another.
    #[error("the group `{group}` needs the group `{needs}`")]
    Needs {
        /// The group.
        group: String,
        /// What it needs.
        needs: &'static str,
    },
    /// No line says who speaks.
    #[error("no line has the group `vehicle`")]
    NoVehicle,
    /// There are times, and nothing says how they are written.
    #[error("is missing, and there is a group `time`")]
    TimeFormatMissing,
    /// It says how times are written, and there are none.
    #[error("no line has the group `time`")]
    TimeFormatUnused,
    /// No time can be read so.
    #[error("no format of times: {0}")]
    TimeFormat(String),
    /// It says what is valid, and no group asks.
    #[error("no line has the group `valid`")]
    ValidUnused,
    /// A brace that opens or closes nothing.
    #[error("a brace without its other half")]
    Brace,
    /// A name in braces that is none of the groups.
    #[error("`{name}` is no group of {}", of_line(*line))]
    UnknownPlaceholder {
        /// The name.
        name: String,
        /// The line, counted from 0; absent: it is for rejected lines, which have no groups.
        line: Option<usize>,
    },
    /// An attribute that no group gives.
    #[error("no line has the group `{0}`")]
    AttributeUnused(String),
    /// An attribute with the name of a group that has a meaning already.
    #[error("`{0}` has a meaning of its own")]
    AttributeTaken(String),
    /// An attribute of the table under another type.
    #[error("the table of attributes says that `{name}` is {}", value_type.as_str())]
    AttributeType {
        /// Its name.
        name: String,
        /// The type that the table gives it.
        value_type: ValueType,
    },
}

/// Which limit an expression is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// Its text.
    #[error("{0} bytes are over the {EXPRESSION_BYTES_MAX} limit")]
    Text(usize),
    /// What it compiles to.
    #[error("it compiles to more than {0} bytes")]
    Compiled(usize),
}

fn of_line(line: Option<usize>) -> String {
    match line {
        Some(idx) => format!("line {}", idx.saturating_add(1)),
        None => "a rejected line, which has none".into(),
    }
}
