//! The names of groups, and what stands in a group of that name.

use std::mem::discriminant;

use crate::{
    protocol::attributes::{self, TABLE, ValueType},
    types::attributes::AttributeName,
};

/// How an angle is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    /// Degrees with a fraction.
    Degrees,
    /// `degrees * 100 + minutes`.
    Minutes,
}

/// What a group holds that has a field of its own in a record, or that says how to read one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Core {
    Vehicle,
    Password,
    /// Stands before the time, with a space between.
    Date,
    Time,
    Latitude(Notation),
    Longitude(Notation),
    NorthSouth,
    EastWest,
    /// With millionths of a km/h in its unit.
    Speed(i64),
    Course,
    /// With millionths of a metre in its unit.
    Altitude(i64),
    Satellites,
    Hdop,
    Valid,
    Event,
}

/// Groups with a meaning of their own.
const CORE: [(&str, Core); 21] = [
    ("vehicle", Core::Vehicle),
    ("password", Core::Password),
    ("date", Core::Date),
    ("time", Core::Time),
    ("lat", Core::Latitude(Notation::Degrees)),
    ("lon", Core::Longitude(Notation::Degrees)),
    ("lat_ddmm", Core::Latitude(Notation::Minutes)),
    ("lon_dddmm", Core::Longitude(Notation::Minutes)),
    ("ns", Core::NorthSouth),
    ("ew", Core::EastWest),
    (attributes::SPEED_KMH, Core::Speed(1_000_000)),
    ("speed_knots", Core::Speed(1_852_000)),
    ("speed_mph", Core::Speed(1_609_344)),
    ("speed_mps", Core::Speed(3_600_000)),
    (attributes::COURSE_DEG, Core::Course),
    (attributes::ALTITUDE_M, Core::Altitude(1_000_000)),
    ("altitude_ft", Core::Altitude(304_800)),
    (attributes::SATELLITES, Core::Satellites),
    (attributes::HDOP, Core::Hdop),
    ("valid", Core::Valid),
    ("event", Core::Event),
];

/// How the names of groups begin that have no meaning but may stand in a reply.
const UNREAD: char = '_';

/// What a group is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A field of a record.
    Core(Core),
    /// An attribute.
    Attribute(AttributeName, ValueType),
    /// To be given back in a reply.
    Unread,
}

impl Core {
    /// Whether both say the same thing, be it in different units.
    pub(super) fn says_the_same(self, other: Self) -> bool {
        discriminant(&self) == discriminant(&other)
    }
}

/// The names of all groups that have a meaning: fields, then attributes. Of those that are
/// numbered, the first stands for all.
pub fn group_names() -> impl Iterator<Item = &'static str> {
    let fields = CORE.iter().map(|(name, _)| *name);
    let rows = TABLE.iter().map(|row| row.name);
    let rows = rows.filter(|name| !name.ends_with('}') && core(name).is_none());
    fields.chain(rows).chain(["adc1"])
}

/// The field that a group called `name` holds.
pub(super) fn core(name: &str) -> Option<Core> {
    let found = CORE.iter().find(|(known, _)| *known == name);
    found.map(|(_, core)| *core)
}

/// What a group called `name` is for; `declared` is the type of the attribute of that name.
pub(super) fn meaning(name: &str, declared: Option<ValueType>) -> Option<Meaning> {
    if name.starts_with(UNREAD) {
        return Some(Meaning::Unread);
    }
    if let Some(core) = core(name) {
        return Some(Meaning::Core(core));
    }
    let value_type = attributes::table_type(name).or(declared)?;
    Some(Meaning::Attribute(attribute_name(name), value_type))
}

/// The name of an attribute, without memory of its own where the table has it.
fn attribute_name(name: &str) -> AttributeName {
    if let Some(number) = attributes::adc_number(name) {
        return attributes::adc(number);
    }
    let row = TABLE.iter().find(|row| row.name == name);
    row.map_or_else(|| name.to_owned().into(), |row| row.name.into())
}
