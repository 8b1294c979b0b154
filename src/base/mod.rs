//! Small tools that every floor may use: the clock, seeded randomness, back-off, queues, tasks.
//!
//! This room must not know any word of the field (vehicle, record, node): it would pull the house
//! down to the ground floor. It is the only place that reads a clock.

pub mod accept;
pub mod backoff;
pub mod folder;
pub mod machine;
pub mod prng;
pub mod queue;
pub mod rate;
pub mod room;
pub mod task;
pub mod time;
pub mod verdict;
