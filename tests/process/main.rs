//! The program as its users meet it: started, fed over sockets, killed with -9, started again,
//! asked over HTTP. The vehicles here speak Wialon by hand and share no code with the node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::string_slice,
    missing_docs,
    unreachable_pub,
    reason = "test"
)]

mod books;
mod namespace;
mod node;
mod preloaded;
mod reference;
mod skipped;
mod vehicle;

mod attack;
mod cluster;
mod disk;
mod hostile;
mod kill;
mod nmea;
mod own_protocol;
mod power_cut;
mod recognition;
mod retention;
mod stop;
mod vectors;
