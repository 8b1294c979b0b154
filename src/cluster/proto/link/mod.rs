//! What two linked nodes say to each other, byte by byte, and the pure machines that say it.
//!
//! The sockets and the encryption are in [`net`](crate::cluster); nothing here knows of them.
#![doc = include_str!("links.md")]

pub mod credit;
pub mod frame;
pub mod hello;
pub mod keys;
pub mod outcome;
pub mod outgoing;
pub mod preamble;
pub mod silence;

/// The newest version of the wire that this program speaks.
pub const WIRE_VERSION: u8 = 1;

/// The oldest version of the wire that this program speaks: that of the release before.
pub const WIRE_VERSION_OLDEST: u8 = 1;
