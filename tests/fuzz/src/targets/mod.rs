//! What is fuzzed: each target takes any bytes and panics where something does not hold.
//!
//! The fuzzer (`tests/fuzz`) drives them with inputs that it makes up, `tests/corpus.rs` with those
//! that were kept. They use what the crate shows to everybody and nothing else. **Adding a target**
//! is one file here, one line in [`TARGETS`], one folder of inputs in `tests/fuzz/corpus` and one
//! test in `tests/corpus.rs`, which says so if that is forgotten.

mod beacons;
mod choices;
mod configuration;
mod connection;
mod decode_command;
mod decoder;
mod disk;
mod framing;
mod links;
mod log;
mod own_protocol;
mod possible;
mod record;
mod recovery;
mod round_trip;
mod seal;
mod segments;
mod siblings;
mod whole;

/// Takes any bytes; panics where something does not hold.
pub(crate) type Target = fn(&[u8]);

/// All targets by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("framing", framing::check),
    ("wialon", decoder::check_wialon),
    ("nmea", decoder::check_nmea),
    ("own-protocol", own_protocol::check),
    ("connection", connection::check),
    ("decode", decode_command::check),
    ("record", record::check),
    ("recovery", recovery::check),
    ("segments", segments::check),
    ("configuration", configuration::check),
    ("link-hello", links::check_hello),
    ("link-frames", links::check_frames),
    ("beacons", beacons::check),
    ("siblings", siblings::check),
];
