//! The wiring: the parts of a node put together, and the traits of the lower rooms implemented.
//!
//! ```text
//! ingest ─Route─▶ router ─▶ store           api ─Answers─▶ query ─▶ reading ─▶ store's index
//!                                                           ├────▶ asking ─▶ other nodes
//!                                                           ├────▶ members, discovery ─▶ cluster
//!                                                           └────▶ status
//! ```
//!
//! A node alone stores every record and answers every question from its own store; the router, with
//! [`forward`] behind it, and the queries are the two places where other nodes come in.

mod asking;
mod clock;
pub mod cluster;
mod discovery;
mod export;
pub mod forward;
pub mod identity;
pub mod members;
pub mod members_file;
pub mod query;
mod reading;
pub mod router;
pub mod status;
