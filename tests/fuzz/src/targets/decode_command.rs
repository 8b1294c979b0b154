//! `waymesh decode`: any text gives one JSON object a line, and the positions in it are those of the
//! contract.

use waymesh::{
    cli::decode::{DecodeOptions, decode},
    protocol::Registry,
    types::time::UnixMillis,
};

use super::{choices::Choices, seal::sealed};

/// The input: options, then what stands on standard input.
pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let switches = choices.byte();
    let options = DecodeOptions {
        protocol: [None, Some("wialon"), Some("nmea")][choices.below(3)],
        is_lenient: switches & 1 == 1,
        received: UnixMillis(1_795_176_000_000),
    };
    let text = sealed(choices.rest());
    let mut output = Vec::new();
    let decoded = decode(
        text.as_slice(),
        &mut output,
        &Registry::built_in(),
        &options,
    );
    assert!(decoded.is_ok(), "{decoded:?}");
    let output = String::from_utf8(output).expect("the output is text");
    assert!(output.is_empty() || output.ends_with('\n'));
    let n_lines = output.lines().count();
    let n_ends = text.iter().filter(|byte| **byte == b'\n').count();
    // A line may be told of twice: itself, and as one that was held; a connection ends with one more.
    assert!(n_lines <= 3 * (n_ends + 1), "{n_lines} of {n_ends}");
    for line in output.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        assert!(object["line"].is_string(), "{line}");
        let positions = object["positions"].as_array().into_iter().flatten();
        for position in positions {
            assert!(position["vehicle"].is_string(), "{line}");
            let latitude = position["lat"].as_f64().expect("a position has a place");
            assert!(latitude.abs() <= 90.0, "{line}");
            assert!(position["protocol"].is_string() && position["received"].is_string());
        }
        let has_error = object["error"].is_string();
        assert!(has_error || object["protocol"].is_string(), "{line}");
    }
}
