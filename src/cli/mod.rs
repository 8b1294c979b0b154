//! The commands of the command line, one file a group. Each is a function over streams, so that a
//! test drives it in memory; what a command prints is the contract's, and goes to the stream it is
//! given. This room must not know how arguments are read: `main` does that.

pub mod decode;
