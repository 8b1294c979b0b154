//! One regular expression: compiled, with its groups, how its lines begin, and a line of it.
//!
//! Built on the crate `regex`, whose expressions take time in proportion to line and expression.
//! They are read byte by byte: `\d` is `0` to `9`, `.` is any byte. The parser is asked besides for
//! the place of each fault and each group.

use std::{convert::Infallible, ops::Range};

use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::{
    ast::{self, Ast, GroupKind, Span},
    hir::{Class, Hir, HirKind, literal::Extractor, translate::TranslatorBuilder},
};

use super::{EXPRESSION_BYTES_MAX, LINE_BYTES_MAX, Problem, fault::TooLarge};

/// Largest compiled form in bytes; an expression of a common tracker takes 4 KiB. Together with
/// [`LINE_BYTES_MAX`] it bounds the time of a line: about 0.2 s for the worst expressions that were
/// found, where common ones take 0.3 µs.
const COMPILED_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of groups.
const NESTING_MAX: u32 = 64;
/// Signs with which a made-up line is filled, where a class has them.
const FILLINGS: [u8; 3] = [b'1', b'A', b'a'];

/// A compiled expression. It matches whole lines.
#[derive(Debug)]
pub(super) struct Expression {
    regex: Regex,
    groups: Vec<Group>,
    /// How a line must begin; absent: in any way.
    openings: Option<Vec<Vec<u8>>>,
    sample: Option<Vec<u8>>,
}

/// A named group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    /// Its number among all groups.
    pub(super) idx: usize,
    /// Where its name stands in the expression.
    pub(super) span: Range<usize>,
}

/// What is wrong with an expression, and where in it.
pub(super) type Wrong = (Problem, Option<Range<usize>>);

impl Expression {
    /// Compiles `text`, for lines that end with the byte `end`, which they do not hold.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn compile(text: &str, end: u8) -> Result<Self, Wrong> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err((Problem::TooLarge(TooLarge::Text(text.len())), None));
        }
        let parsed = ast::parse::ParserBuilder::new()
            .nest_limit(NESTING_MAX)
            .build()
            .parse_with_comments(text)
            .map_err(|error| syntax(error.kind(), error.span()))?;
        let hir = TranslatorBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .translate(text, &parsed.ast)
            .map_err(|error| syntax(error.kind(), error.span()))?;
        // A comment would swallow what follows it.
        let ends_in_comment = parsed
            .comments
            .last()
            .is_some_and(|comment| comment.span.end.offset == text.len());
        let break_after = if ends_in_comment { "\n" } else { "" };
        let regex = RegexBuilder::new(&format!("^(?:{text}{break_after})$"))
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| (not_built(&error), None))?;
        let sample = sample_of(&hir, end)
            .filter(|line| line.last() != Some(&b'\r'))
            .ok_or((Problem::MatchesNothing, None))?;
        let sample = Some(sample).filter(|line| regex.is_match(line));
        Ok(Self {
            groups: groups_of(&parsed.ast),
            openings: openings_of(&hir),
            sample,
            regex,
        })
    }

    /// The named groups in the order in which they begin.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether it matches all of `line`; it matches none over [`LINE_BYTES_MAX`].
    pub(super) fn fits(&self, line: &[u8]) -> bool {
        line.len() <= LINE_BYTES_MAX && self.regex.is_match(line)
    }

    /// The groups of `line`, if it [`fits`](Self::fits).
    pub(super) fn captures<'l>(&self, line: &'l [u8]) -> Option<Captures<'l>> {
        if line.len() > LINE_BYTES_MAX {
            return None;
        }
        self.regex.captures(line)
    }

    /// False if no line that begins with `head` can match.
    pub(super) fn may_begin(&self, head: &[u8]) -> bool {
        self.openings.as_ref().is_none_or(|openings| {
            let agrees = |opening: &Vec<u8>| opening.iter().zip(head).all(|(one, two)| one == two);
            openings.iter().any(agrees)
        })
    }

    /// Some line that it matches, if one could be made up.
    pub(super) fn sample(&self) -> Option<Vec<u8>> {
        self.sample.clone()
    }
}

fn syntax(kind: &impl ToString, span: &Span) -> Wrong {
    let span = span.start.offset..span.end.offset;
    (Problem::Syntax(kind.to_string()), Some(span))
}

fn not_built(error: &regex::Error) -> Problem {
    match error {
        regex::Error::CompiledTooBig(limit) => Problem::TooLarge(TooLarge::Compiled(*limit)),
        other => Problem::Syntax(other.to_string()),
    }
}

/// Collects the named groups of a syntax tree.
struct GroupVisitor(Vec<Group>);

impl ast::Visitor for GroupVisitor {
    type Output = Vec<Group>;
    type Err = Infallible;

    fn finish(self) -> Result<Vec<Group>, Infallible> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), Infallible> {
        if let Ast::Group(group) = tree
            && let GroupKind::CaptureName { name, .. } = &group.kind
        {
            self.0.push(Group {
                name: name.name.clone(),
                idx: name.index as usize,
                span: name.span.start.offset..name.span.end.offset,
            });
        }
        Ok(())
    }
}

fn groups_of(tree: &Ast) -> Vec<Group> {
    match ast::visit(tree, GroupVisitor(Vec::new())) {
        Ok(groups) => groups,
        Err(never) => match never {},
    }
}

fn openings_of(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let sequence = Extractor::new().extract(hir);
    let literals = sequence.literals()?.iter();
    Some(
        literals
            .map(|literal| literal.as_bytes().to_vec())
            .collect(),
    )
}

/// The shortest line of the first alternatives that can do without the byte `end`; `None` if none
/// can. Its length is bounded by that of the compiled form.
fn sample_of(hir: &Hir, end: u8) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    push_sample(hir, end, &mut line)?;
    Some(line)
}

fn push_sample(hir: &Hir, end: u8, line: &mut Vec<u8>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) if literal.0.contains(&end) => return None,
        HirKind::Literal(literal) => line.extend_from_slice(&literal.0),
        HirKind::Class(class) => push_filling(class, end, line)?,
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                push_sample(&repetition.sub, end, line)?;
            }
        }
        HirKind::Capture(capture) => push_sample(&capture.sub, end, line)?,
        HirKind::Concat(parts) => {
            for part in parts {
                push_sample(part, end, line)?;
            }
        }
        HirKind::Alternation(parts) => {
            let found = parts.iter().find_map(|part| sample_of(part, end))?;
            line.extend(found);
        }
    }
    Some(())
}

fn push_filling(class: &Class, end: u8, line: &mut Vec<u8>) -> Option<()> {
    match class {
        Class::Bytes(class) => {
            let is_in = |byte: u8| {
                let mut ranges = class.iter();
                ranges.any(|range| (range.start()..=range.end()).contains(&byte))
            };
            let has = |byte: &u8| *byte != end && is_in(*byte);
            let mut fillings = FILLINGS.into_iter().chain(0..=u8::MAX);
            line.push(fillings.find(has)?);
        }
        Class::Unicode(class) => {
            let mut letters = class.iter().map(|range| [range.start(), range.end()]);
            let is_it = |letter: &char| *letter != char::from(end);
            let letter = letters.find_map(|both| both.into_iter().find(is_it))?;
            line.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Some(())
}
