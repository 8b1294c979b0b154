//! The inputs that the fuzzer kept, and damaged copies of them, against what must hold for any.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test"
)]

#[path = "fuzz/src/targets/mod.rs"]
mod targets;

use targets::TARGETS;

#[test]
fn t() {
    for (name, target) in TARGETS {
        println!("{name}");
        target(b"");
        target(b"\0\0\0\0\0\0\0\0\0");
        target(b"\x01#L#353976013445485;NA\r\n#SD#201126;090501;5926.2320;N;02445.2100;E;42;181;34;9\r\n");
    }
}
