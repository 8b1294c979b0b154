//! The values that all rooms speak of: ids, times, numbers, records, status.
//!
//! Values only, no behaviour beyond parse, print and compare. This room must not know how a record
//! came in, where it is kept or who asks for it. Serialised shapes exist in [`json`] alone.

pub mod attributes;
pub mod cluster;
pub mod dial;
pub mod ids;
pub mod json;
pub mod key;
pub mod number;
pub mod record;
pub mod status;
pub mod time;
