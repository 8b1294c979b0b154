//! Attacks on a node, each beside a good vehicle that must not notice: it gets every answer over its
//! one connection, and all it sent is stored exactly once. After each attack what was wrong is
//! counted by its reason, the books balance, the node is ready, and its memory never was more than
//! [`arena::GROWTH_BYTES_MAX`] above what it was before.
//!
//! `ATTACK=full` runs each at its full size (with a release build, or some patience); otherwise
//! most numbers are divided by [`DIVISOR`]. What ran is said on standard error.

mod arena;
mod connections;
mod http;
mod identities;
mod lines;
mod strangers;

/// By what the numbers of an attack are divided where it does not run at its full size.
const DIVISOR: usize = 40;

/// Whether the attacks run at their full size.
fn is_full() -> bool {
    std::env::var_os("ATTACK").is_some_and(|size| size == "full")
}

/// A number of an attack, of which `full` is the full size.
fn scaled(full: usize) -> usize {
    if is_full() { full } else { full / DIVISOR }
}
