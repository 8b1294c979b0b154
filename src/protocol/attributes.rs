//! The table of attributes: name, type and unit. It is extended and never renamed.
//!
//! What a device reports besides the core fields goes under a name of this table where one fits,
//! so that a query does not depend on who made the device; else under the device's own name. The
//! table must not know any protocol.
//!
//! Invariant: a value under a name of the table has the type that the table says.

use std::borrow::Cow;

use crate::types::attributes::{AttributeName, Attributes, Value};

/// Ignition is on.
pub const IGNITION: &str = "ignition";
/// What the device raises alarm for, for example `sos`.
pub const ALARM: &str = "alarm";
/// Text that a driver or the device sent.
pub const MESSAGE: &str = "message";
/// Id of the driver's key or card, as the device writes it.
pub const DRIVER_ID: &str = "driver_id";
/// Digital inputs, the first in the lowest bit.
pub const INPUTS: &str = "inputs";
/// Digital outputs, the first in the lowest bit.
pub const OUTPUTS: &str = "outputs";
/// Speed of a report that has no place.
pub const SPEED_KMH: &str = "speed_kmh";
/// Course of a report that has no place.
pub const COURSE_DEG: &str = "course_deg";
/// Height of a report that has no place.
pub const ALTITUDE_M: &str = "altitude_m";
/// Satellites of a report that has no place.
pub const SATELLITES: &str = "satellites";
/// Dilution of a report that has no place.
pub const HDOP: &str = "hdop";

/// Analogue inputs that have a name in the table: `adc1` to `adc16`.
const ADC: [&str; 16] = [
    "adc1", "adc2", "adc3", "adc4", "adc5", "adc6", "adc7", "adc8", "adc9", "adc10", "adc11",
    "adc12", "adc13", "adc14", "adc15", "adc16",
];

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Yes or no.
    Bool,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Float,
    /// A text.
    Text,
}

impl ValueType {
    /// Its word in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Text => "text",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Name of the attribute; where it ends in `{n}`, a number from 1 on stands there.
    pub name: &'static str,
    /// Type of its values.
    pub value_type: ValueType,
    /// Unit of its values; empty where they have none.
    pub unit: &'static str,
}

/// All names that mean the same whatever the device.
pub const TABLE: [Row; 12] = [
    row("adc{n}", ValueType::Float, "as the device scales it"),
    row(ALARM, ValueType::Text, ""),
    row(ALTITUDE_M, ValueType::Float, "m"),
    row(COURSE_DEG, ValueType::Float, "degrees"),
    row(DRIVER_ID, ValueType::Text, ""),
    row(HDOP, ValueType::Float, ""),
    row(IGNITION, ValueType::Bool, ""),
    row(INPUTS, ValueType::Integer, "bits"),
    row(MESSAGE, ValueType::Text, ""),
    row(OUTPUTS, ValueType::Integer, "bits"),
    row(SATELLITES, ValueType::Integer, ""),
    row(SPEED_KMH, ValueType::Float, "km/h"),
];

/// Name of the analogue input `number`, counted from 1.
pub fn adc(number: usize) -> AttributeName {
    number
        .checked_sub(1)
        .and_then(|idx| ADC.get(idx))
        .map_or_else(
            || Cow::Owned(format!("adc{number}")),
            |name| Cow::Borrowed(*name),
        )
}

/// Number of the analogue input that is called `name`.
pub fn adc_number(name: &str) -> Option<usize> {
    name.strip_prefix("adc")
        .filter(|digits| !digits.starts_with(['0', '+']))
        .and_then(|digits| digits.parse().ok())
}

/// The type that the table gives `name`; `None` for a device's own name.
pub fn table_type(name: &str) -> Option<ValueType> {
    if adc_number(name).is_some() {
        return Some(ValueType::Float);
    }
    TABLE
        .iter()
        .find(|row| row.name == name)
        .map(|row| row.value_type)
}

/// Sets what a device reports under a `name` of its own choice.
///
/// Where that is a name of the table the value is converted to the table's type; one that cannot
/// be is kept under `own_` and the name.
pub fn insert_own(attributes: &mut Attributes, name: AttributeName, value: Value) {
    let Some(value_type) = table_type(&name) else {
        attributes.insert(name, value);
        return;
    };
    match converted(value, value_type) {
        Ok(value) => attributes.insert(name, value),
        Err(value) => attributes.insert(format!("own_{name}"), value),
    }
}

/// `value` as `value_type`; `Err` with the value where that would change what it says.
fn converted(value: Value, value_type: ValueType) -> Result<Value, Value> {
    match (value_type, value) {
        (ValueType::Bool, Value::Integer(number @ (0 | 1))) => Ok(Value::Bool(number == 1)),
        (ValueType::Float, Value::Integer(number)) => Ok(Value::Float(number as f64)),
        (ValueType::Bool, value @ Value::Bool(_))
        | (ValueType::Integer, value @ Value::Integer(_))
        | (ValueType::Float, value @ Value::Float(_))
        | (ValueType::Text, value @ Value::Text(_)) => Ok(value),
        (_, value) => Err(value),
    }
}

const fn row(name: &'static str, value_type: ValueType, unit: &'static str) -> Row {
    Row {
        name,
        value_type,
        unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_and_unique() {
        assert!(TABLE.is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn analogue_inputs_are_numbered_from_one() {
        assert_eq!(adc(1), "adc1");
        assert_eq!(adc(17), "adc17");
        assert_eq!(adc_number("adc17"), Some(17));
        assert_eq!(adc_number("adc"), None);
        assert_eq!(adc_number("adc01"), None);
    }

    #[test]
    fn a_name_of_the_table_keeps_its_type() {
        let mut attributes = Attributes::new();
        insert_own(&mut attributes, IGNITION.into(), Value::Integer(1));
        insert_own(&mut attributes, "adc1".into(), Value::Integer(3));
        insert_own(&mut attributes, INPUTS.into(), Value::Text("on".into()));
        insert_own(&mut attributes, "fuel".into(), Value::Text("half".into()));
        let expected: Attributes = [
            (IGNITION.into(), Value::Bool(true)),
            ("adc1".into(), Value::Float(3.0)),
            ("own_inputs".into(), Value::Text("on".into())),
            ("fuel".into(), Value::Text("half".into())),
        ]
        .into_iter()
        .collect();
        assert_eq!(attributes, expected);
    }
}
