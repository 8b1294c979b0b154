//! From the description of a protocol to what decodes it, or to all that is wrong with it.

use std::ops::Range;

use super::{
    LINES_MAX, OwnSpec, Part, Problem, SpecFault, VALID,
    expression::Expression,
    group::{Core, core},
    shape::Shape,
    template::{Template, Written},
    time::TimeFormat,
};
use crate::protocol::attributes::table_type;

/// Every byte at the place of its value, to lend one of them for ever.
static BYTES: [u8; 256] = every_byte();

/// A protocol, ready to decode.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) spec: OwnSpec,
    pub(super) shapes: Vec<Shape>,
    /// Absent where no line has a time.
    pub(super) time_format: Option<TimeFormat>,
    pub(super) refusal: Template,
    /// Some line has a password: a vehicle that leaves it out has given an empty one.
    pub(super) has_passwords: bool,
}

impl Compiled {
    /// Compiles a description.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn new(spec: OwnSpec) -> Result<Self, Vec<SpecFault>> {
        let mut compiler = Compiler {
            spec: &spec,
            groups: Vec::new(),
            has_doubt: false,
            faults: Vec::new(),
        };
        let shapes = compiler.shapes();
        let time_format = compiler.time_format();
        let refusal = compiler.refusal();
        compiler.check_valid();
        compiler.check_attributes();
        let faults = compiler.faults;
        if !faults.is_empty() {
            return Err(faults);
        }
        let shapes: Vec<Shape> = shapes.into_iter().flatten().collect();
        Ok(Self {
            time_format,
            refusal,
            has_passwords: shapes
                .iter()
                .any(|shape| shape.has(|core| core == Core::Password)),
            shapes,
            spec,
        })
    }

    /// The byte that ends a line.
    pub(super) fn terminators(&self) -> &'static [u8] {
        let at = usize::from(self.spec.terminator);
        BYTES.get(at..=at).unwrap_or_default()
    }

    /// The first kind of line that `line` is.
    pub(super) fn fitting(&self, line: &[u8]) -> Option<&Shape> {
        self.shapes.iter().find(|shape| shape.expression.fits(line))
    }

    /// False if no line can begin with `head`.
    pub(super) fn may_begin(&self, head: &[u8]) -> bool {
        self.shapes
            .iter()
            .any(|shape| shape.expression.may_begin(head))
    }

    /// Whether a line that was taken may be answered.
    pub(super) fn answers(&self) -> bool {
        self.shapes.iter().any(|shape| !shape.reply.is_empty())
    }

    /// Texts of the group `valid` that mean a fix which can be believed.
    pub(super) fn is_valid(&self, text: &[u8]) -> bool {
        match &self.spec.valid {
            Some(valid) => valid.iter().any(|valid| valid.as_bytes() == text),
            None => VALID.iter().any(|valid| valid.as_bytes() == text),
        }
    }
}

/// Goes through a description and gathers what is wrong.
struct Compiler<'a> {
    spec: &'a OwnSpec,
    /// The names of the groups of all lines.
    groups: Vec<String>,
    /// A line is no expression, or has a group of which nobody knows what is meant: nothing is said
    /// to be missing then.
    has_doubt: bool,
    faults: Vec<SpecFault>,
}

impl Compiler<'_> {
    fn fault(&mut self, part: Part, span: Option<Range<usize>>, problem: Problem) {
        self.faults.push(SpecFault {
            part,
            span,
            problem,
        });
    }

    fn shapes(&mut self) -> Vec<Option<Shape>> {
        let n_lines = self.spec.lines.len();
        if !(1..=LINES_MAX).contains(&n_lines) {
            self.fault(Part::Lines, None, Problem::NumberOfLines(n_lines));
            return Vec::new();
        }
        let reply = self.written(&self.spec.reply, &Part::Reply);
        let shapes: Vec<_> = (0..n_lines).map(|idx| self.shape(idx, &reply)).collect();
        if !self.may_have("vehicle") {
            self.fault(Part::Lines, None, Problem::NoVehicle);
        }
        shapes
    }

    /// Whether a line has a group called `name`.
    fn has(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group == name)
    }

    /// Whether a line has a group called `name`, or could have.
    fn may_have(&self, name: &str) -> bool {
        self.has_doubt || self.has(name)
    }

    fn shape(&mut self, idx: usize, reply: &Written) -> Option<Shape> {
        let line = self.spec.lines.get(idx)?;
        let expression = match Expression::compile(&line.expression, self.spec.terminator) {
            Ok(expression) => expression,
            Err((problem, span)) => {
                self.fault(Part::Line(idx), span, problem);
                self.has_doubt = true;
                return None;
            }
        };
        let names = expression.groups().iter().map(|group| group.name.clone());
        self.groups.extend(names);
        let mut shape = match Shape::new(expression, &self.spec.attributes) {
            Ok(shape) => shape,
            Err(wrong) => {
                for (problem, span) in wrong {
                    self.has_doubt |= matches!(problem, Problem::UnknownGroup(_));
                    self.fault(Part::Line(idx), Some(span), problem);
                }
                return None;
            }
        };
        let own_reply = line
            .reply
            .as_ref()
            .map(|text| self.written(text, &Part::LineReply(idx)));
        let (written, part) = match &own_reply {
            Some(own) => (own, Part::LineReply(idx)),
            None => (reply, Part::Reply),
        };
        match written.bind(shape.expression.groups(), Some(idx)) {
            Ok(template) => shape.reply = template,
            Err(wrong) => {
                for (problem, span) in wrong {
                    self.fault(part.clone(), Some(span), problem);
                }
            }
        }
        Some(shape)
    }

    fn written(&mut self, text: &str, part: &Part) -> Written {
        Written::parse(text).unwrap_or_else(|(problem, span)| {
            self.fault(part.clone(), Some(span), problem);
            Written::default()
        })
    }

    fn refusal(&mut self) -> Template {
        let written = self.written(&self.spec.refusal, &Part::Refusal);
        written.bind(&[], None).unwrap_or_else(|wrong| {
            for (problem, span) in wrong {
                self.fault(Part::Refusal, Some(span), problem);
            }
            Template::default()
        })
    }

    fn time_format(&mut self) -> Option<TimeFormat> {
        let Some(text) = &self.spec.time_format else {
            if self.has("time") {
                self.fault(Part::TimeFormat, None, Problem::TimeFormatMissing);
            }
            return None;
        };
        if !self.may_have("time") {
            self.fault(Part::TimeFormat, None, Problem::TimeFormatUnused);
        }
        match text.parse() {
            Ok(format) => Some(format),
            Err(problem) => {
                self.fault(Part::TimeFormat, None, Problem::TimeFormat(problem));
                None
            }
        }
    }

    fn check_valid(&mut self) {
        if self.spec.valid.is_some() && !self.may_have("valid") {
            self.fault(Part::Valid, None, Problem::ValidUnused);
        }
    }

    fn check_attributes(&mut self) {
        for (name, value_type) in &self.spec.attributes {
            let problem = match table_type(name) {
                _ if core(name).is_some() || name.starts_with('_') => {
                    Problem::AttributeTaken(name.clone())
                }
                Some(of_table) if of_table != *value_type => Problem::AttributeType {
                    name: name.clone(),
                    value_type: of_table,
                },
                _ if !self.may_have(name) => Problem::AttributeUnused(name.clone()),
                _ => continue,
            };
            self.fault(Part::Attribute(name.clone()), None, problem);
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "the index is below the length")]
const fn every_byte() -> [u8; 256] {
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
}
