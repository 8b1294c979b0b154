//! One kind of line: its expression, what its groups are for, and its answer.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Problem,
    expression::{Expression, Group},
    group::{Core, Meaning, meaning},
    template::Template,
};
use crate::{protocol::attributes::ValueType, types::attributes::AttributeName};

/// A kind of line.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) expression: Expression,
    /// Numbers of the groups that hold fields.
    pub(super) fields: Vec<(usize, Core)>,
    /// Numbers of the groups that hold attributes.
    pub(super) attributes: Vec<(usize, AttributeName, ValueType)>,
    pub(super) reply: Template,
}

impl Shape {
    /// The kind of line that `expression` matches, without an answer.
    ///
    /// # Errors
    /// Everything that is wrong with its groups, and where in the expression.
    pub(super) fn new(
        expression: Expression,
        declared: &BTreeMap<String, ValueType>,
    ) -> Result<Self, Vec<(Problem, Range<usize>)>> {
        let (mut fields, mut attributes, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        let mut named: Vec<(&Group, Core)> = Vec::new();
        for group in expression.groups() {
            match meaning(&group.name, declared.get(&group.name).copied()) {
                None => {
                    let problem = Problem::UnknownGroup(group.name.clone());
                    wrong.push((problem, group.span.clone()));
                }
                Some(Meaning::Unread) => {}
                Some(Meaning::Attribute(name, value_type)) => {
                    attributes.push((group.idx, name, value_type));
                }
                Some(Meaning::Core(core)) => {
                    let other = named.iter().find(|(_, other)| other.says_the_same(core));
                    if let Some((other, _)) = other {
                        let problem = Problem::TwiceTheSame(other.name.clone(), group.name.clone());
                        wrong.push((problem, group.span.clone()));
                    }
                    named.push((group, core));
                    fields.push((group.idx, core));
                }
            }
        }
        wrong.extend(lonely(&named));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            expression,
            fields,
            attributes,
            reply: Template::default(),
        })
    }

    /// Whether a group holds a field like that.
    pub(super) fn has(&self, is_it: impl Fn(Core) -> bool) -> bool {
        self.fields.iter().any(|(_, core)| is_it(*core))
    }

    /// Whether such a line says who speaks.
    pub(super) fn has_vehicle(&self) -> bool {
        self.has(|core| core == Core::Vehicle)
    }

    /// Whether such a line may say where it is.
    pub(super) fn has_place(&self) -> bool {
        self.has(|core| matches!(core, Core::Latitude(_)))
    }
}

/// Groups that mean nothing without another one.
fn lonely(named: &[(&Group, Core)]) -> Vec<(Problem, Range<usize>)> {
    let has = |is_it: fn(&Core) -> bool| named.iter().any(|(_, core)| is_it(core));
    let has_latitude = has(|core| matches!(core, Core::Latitude(_)));
    let has_longitude = has(|core| matches!(core, Core::Longitude(_)));
    let lonely = named.iter().filter_map(|(group, core)| {
        let (is_there, needs) = match core {
            Core::Latitude(_) => (has_longitude, "lon"),
            Core::Longitude(_) => (has_latitude, "lat"),
            Core::NorthSouth => (has_latitude, "lat"),
            Core::EastWest => (has_longitude, "lon"),
            Core::Date => (has(|core| *core == Core::Time), "time"),
            Core::Password => (has(|core| *core == Core::Vehicle), "vehicle"),
            Core::Valid => (has_latitude, "lat"),
            _ => return None,
        };
        let group_name = group.name.clone();
        let problem = Problem::Needs {
            group: group_name,
            needs,
        };
        (!is_there).then(|| (problem, group.span.clone()))
    });
    lonely.collect()
}
