//! Attributes: what a device reports besides the core fields, as a small typed map.

use std::borrow::Cow;

/// Name of an attribute: from the table in `protocol::attributes`, or the device's own.
pub type AttributeName = Cow<'static, str>;

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction; always finite.
    Float(f64),
    /// A text.
    Text(Cow<'static, str>),
}

/// A map of few entries in the order of their names; an empty one owns no memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(Vec<(AttributeName, Value)>);

impl Attributes {
    /// An empty map.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets `name` to `value`, over an earlier value. A float that is not finite is left out.
    pub fn insert(&mut self, name: impl Into<AttributeName>, value: Value) {
        if matches!(value, Value::Float(number) if !number.is_finite()) {
            return;
        }
        let name = name.into();
        match self.0.binary_search_by(|(present, _)| present.cmp(&name)) {
            Ok(idx) => {
                if let Some(entry) = self.0.get_mut(idx) {
                    entry.1 = value;
                }
            }
            Err(idx) => self.0.insert(idx, (name, value)),
        }
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let idx = self
            .0
            .binary_search_by(|(present, _)| present.as_ref().cmp(name))
            .ok()?;
        self.0.get(idx).map(|(_, value)| value)
    }

    /// All entries in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(AttributeName, Value)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (AttributeName, Value)>>(entries: I) -> Self {
        let mut attributes = Self::new();
        for (name, value) in entries {
            attributes.insert(name, value);
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_ordered_and_unique() {
        let mut attributes = Attributes::new();
        attributes.insert("b", Value::Integer(1));
        attributes.insert("a", Value::Bool(true));
        attributes.insert("b", Value::Integer(2));
        attributes.insert("c", Value::Float(f64::NAN));
        let names: Vec<_> = attributes.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(attributes.value("b"), Some(&Value::Integer(2)));
    }
}
