//! The fuzzer: libFuzzer's loop around the target that the variable `TARGET` names.

#![no_main]

mod targets;

use std::sync::OnceLock;

use targets::{TARGETS, Target};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    CHOSEN.get_or_init(chosen)(input);
});

fn chosen() -> Target {
    let name = std::env::var("TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = found else {
        let known: Vec<&str> = TARGETS.iter().map(|(known, _)| *known).collect();
        panic!("TARGET is `{name}`; known are {}", known.join(", "));
    };
    *target
}
