//! Standard output of the commands: one place that writes, and that takes a closed pipe for the
//! quiet end it is.

use std::{
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
};

/// Exit code for wrong arguments or a wrong configuration.
pub const EXIT_USAGE: u8 = 64;

/// Exit code for what could not start or was answered with an error.
pub const EXIT_FAILURE: u8 = 1;

/// Exit code for a bug or a store that failed.
pub const EXIT_BUG: u8 = 70;

/// Runs a command that writes to standard output; a reader that went away is no error.
pub fn with_stdout(
    command: impl FnOnce(&mut dyn Write) -> Result<ExitCode, io::Error>,
) -> ExitCode {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    match command(&mut stdout).and_then(|code| stdout.flush().map(|()| code)) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error, EXIT_FAILURE),
    }
}

/// Says on standard error why a command ended, and gives its exit code.
pub fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let mut stderr = io::stderr().lock();
    let is_written = writeln!(stderr, "waymesh: {error}").is_ok();
    debug_assert!(
        is_written || !io::stderr().is_terminal(),
        "a terminal takes what is written"
    );
    ExitCode::from(code)
}
