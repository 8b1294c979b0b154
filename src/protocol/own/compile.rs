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
            faults: Vec::new(),
        };
        let shapes = compiler.shapes();
        let time_format = compiler.time_format(&shapes);
        let refusal = compiler.refusal();
        compiler.check_valid(&shapes);
        compiler.check_attributes(&shapes);
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

/// Goes through a description and gathers what is wrong. A line that is wrong is absent from the
/// shapes, and nothing is said about what might have been in it.
struct Compiler<'a> {
    spec: &'a OwnSpec,
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
        let is_named = |shape: &Option<Shape>| shape.as_ref().is_none_or(Shape::has_vehicle);
        if !shapes.iter().any(is_named) {
            self.fault(Part::Lines, None, Problem::NoVehicle);
        }
        shapes
    }

    fn shape(&mut self, idx: usize, reply: &Written) -> Option<Shape> {
        let line = self.spec.lines.get(idx)?;
        let expression = match Expression::compile(&line.expression) {
            Ok(expression) => expression,
            Err((problem, span)) => {
                self.fault(Part::Line(idx), span, problem);
                return None;
            }
        };
        let mut shape = match Shape::new(expression, &self.spec.attributes) {
            Ok(shape) => shape,
            Err(wrong) => {
                for (problem, span) in wrong {
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

    fn time_format(&mut self, shapes: &[Option<Shape>]) -> Option<TimeFormat> {
        let has_time = |shape: &Shape| shape.has(|core| core == Core::Time);
        let is_used = shapes.iter().flatten().any(has_time);
        let Some(text) = &self.spec.time_format else {
            if is_used {
                self.fault(Part::TimeFormat, None, Problem::TimeFormatMissing);
            }
            return None;
        };
        if !is_used && shapes.iter().all(Option::is_some) {
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

    fn check_valid(&mut self, shapes: &[Option<Shape>]) {
        let has_valid = |shape: &Option<Shape>| match shape {
            Some(shape) => shape.has(|core| core == Core::Valid),
            None => true,
        };
        if self.spec.valid.is_some() && !shapes.iter().any(has_valid) {
            self.fault(Part::Valid, None, Problem::ValidUnused);
        }
    }

    fn check_attributes(&mut self, shapes: &[Option<Shape>]) {
        let is_given = |name: &str| {
            let gives = |shape: &Option<Shape>| match shape {
                Some(shape) => {
                    let mut groups = shape.expression.groups().iter();
                    groups.any(|group| group.name == name)
                }
                None => true,
            };
            shapes.iter().any(gives)
        };
        for (name, value_type) in &self.spec.attributes {
            let problem = match table_type(name) {
                _ if core(name).is_some() || name.starts_with('_') => {
                    Problem::AttributeTaken(name.clone())
                }
                Some(of_table) if of_table != *value_type => Problem::AttributeType {
                    name: name.clone(),
                    value_type: of_table,
                },
                _ if !is_given(name) => Problem::AttributeUnused(name.clone()),
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
