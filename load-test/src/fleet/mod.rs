//! Who drives where, and what each vehicle reports: pure, and the same for the same seed.
//!
//! A vehicle drives a route with turns and stops, at speeds and headings that fit its movement. At
//! times it is in a dead spot: it goes on noting where it is, and reports late, as an archive. Some
//! of its lines are spoiled on purpose: they must be rejected, and never stored.

mod drive;
mod plan;

pub(crate) use plan::{Faults, Plan, PlanConfig, Planned, Report, Spoil, What};
